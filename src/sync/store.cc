#include "sync/store.h"

#include <openssl/rand.h>
#include <sys/stat.h>

#include <algorithm>
#include <cstdio>
#include <set>

#include "base/bytes.h"
#include "base/check.h"
#include "storage/files.h"

namespace vellum::sync {
namespace {

Stamp WallStamp(Clock* clock) { return static_cast<Stamp>(clock->WallNow().time_since_epoch().count()); }

/// References of all syncs: what they point at or may be rolled back to, and what they are staged in.
struct References {
  std::set<GenerationId> generations;
  std::set<GenerationId> staging;
};

References Referenced(const std::vector<SyncEntry>& syncs) {
  References references;
  for (const SyncEntry& sync : syncs) {
    for (const HistoryEntry& entry : sync.history) references.generations.insert(entry.generation);
    if (!sync.staging.empty()) references.staging.insert(sync.staging);
  }
  return references;
}

}  // namespace

std::string NewKsuid(Clock* clock) {
  // https://github.com/segmentio/ksuid: four bytes of seconds since 1,400,000,000, sixteen random ones, in base 62.
  constexpr std::int64_t kEpoch = 1'400'000'000;
  constexpr char kDigits[] = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
  std::uint8_t bytes[20];
  const auto seconds = std::chrono::duration_cast<std::chrono::seconds>(clock->WallNow().time_since_epoch()).count();
  const auto since = static_cast<std::uint32_t>(seconds - kEpoch);
  for (int i = 0; i < 4; ++i) bytes[i] = static_cast<std::uint8_t>(since >> (24 - 8 * i));
  VELLUM_CHECK(RAND_bytes(bytes + 4, 16) == 1);
  std::string text(27, '0');
  for (std::size_t at = text.size(); at-- > 0;) {
    unsigned remainder = 0;
    for (std::uint8_t& byte : bytes) {
      const unsigned value = remainder * 256 + byte;
      byte = static_cast<std::uint8_t>(value / 62);
      remainder = value % 62;
    }
    text[at] = kDigits[remainder];
  }
  return text;
}

Store::Store(StoreOptions options, Catalog* catalog)
    : options_(std::move(options)),
      catalog_(catalog),
      cache_(options_.cache_bytes),
      metrics_(std::make_unique<StoreMetrics>(options_.metrics)) {
  metrics_->Limit("open_files", static_cast<double>(options_.open_files_max));
  metrics_->Limit("staging_bytes", static_cast<double>(options_.staging_bytes_max));
  metrics_->Limit("record_bytes", static_cast<double>(options_.record_bytes_max));
  metrics_->Limit("page_records", static_cast<double>(options_.page_records_max));
  metrics_->Limit("history", static_cast<double>(options_.history_max));
  metrics_->Limit("unreferenced_keep_seconds", static_cast<double>(options_.unreferenced_keep_s));
}

Result<std::unique_ptr<Store>> Store::Open(StoreOptions options, Catalog* catalog) {
  std::unique_ptr<Store> store(new Store(std::move(options), catalog));
  VELLUM_TRY(store->MakeDirectories());
  VELLUM_TRY(store->RetireEarlierWriters());
  VELLUM_TRY(store->MoveUnregisteredAside());
  VELLUM_TRY(store->RemoveOrphanedSessions());
  VELLUM_TRY(store->Sweep().error());
  store->opening_ = false;
  return store;
}

Store::~Store() {
  LeaseId writer = 0;
  {
    MutexLock lock(&writer_mu_);
    stopping_ = true;
    writer = writer_;
    stop_.NotifyAll();
  }
  if (renewer_.joinable()) renewer_.join();
  if (writer != 0) catalog_->RevokeLease(writer).IgnoreError("the next opening revokes it");
}

Status Store::MakeDirectories() {
  for (const char* name : {"generations", "sessions", "staging", "trash"}) {
    VELLUM_TRY(storage::CreateDirectories(files(), options_.data_dir + "/" + name));
  }
  return {};
}

Result<std::vector<GenerationEntry>> Store::ListGenerations() const {
  VELLUM_ASSIGN_OR_RETURN(const auto rows, catalog_->List(kGenerationPrefix));
  std::vector<GenerationEntry> entries;
  for (const Catalog::Row& row : rows) {
    VELLUM_ASSIGN_OR_RETURN(GenerationEntry entry,
                            GenerationEntry::FromJson(row.key.substr(kGenerationPrefix.size()), row.value));
    entry.mod_revision = row.mod_revision;
    entries.push_back(std::move(entry));
  }
  return entries;
}

Status Store::RetireEarlierWriters() {
  // The directory is ours alone, so whoever was writing is gone, whatever its lease says.
  VELLUM_ASSIGN_OR_RETURN(const auto generations, ListGenerations());
  std::set<LeaseId> writers;
  Swept swept;
  for (const GenerationEntry& entry : generations) {
    if (entry.state != GenerationState::kBuilding) continue;
    // Renamed into place, but the transaction that would have pointed at it never came.
    VELLUM_TRY(RemoveDirectory(GenerationPath(entry.id), &swept));
    if (entry.writer != 0) writers.insert(entry.writer);
  }
  for (const LeaseId writer : writers) VELLUM_TRY(catalog_->RevokeLease(writer));
  return {};
}

Status Store::MoveUnregisteredAside() {
  VELLUM_ASSIGN_OR_RETURN(const auto generations, ListGenerations());
  std::set<GenerationId> known;
  for (const GenerationEntry& entry : generations) known.insert(entry.id);
  VELLUM_ASSIGN_OR_RETURN(const auto names, storage::ListDirectory(files(), options_.data_dir + "/generations"));
  for (const std::string& name : names) {
    if (known.contains(name)) continue;
    // Its files are complete but no transaction ever named it, or the metadata plane is an older one: nobody's to delete.
    const std::string aside = options_.data_dir + "/unregistered";
    VELLUM_TRY(storage::CreateDirectories(files(), aside));
    VELLUM_TRY(storage::Rename(files(), GenerationPath(name), aside + "/" + name));
    VELLUM_LOG(options_.logger, kWarn, "a generation that the catalog does not know was moved aside",
               {{"generation", name}, {"to", aside}});
  }
  return {};
}

std::string Store::GenerationPath(const GenerationId& id) const { return options_.data_dir + "/generations/" + id; }

Result<std::vector<SyncEntry>> Store::List() const {
  VELLUM_ASSIGN_OR_RETURN(const auto rows, catalog_->List(kSyncPrefix));
  std::vector<SyncEntry> syncs;
  syncs.reserve(rows.size());
  for (const Catalog::Row& row : rows) {
    auto entry = SyncEntry::FromJson(row.value);
    if (!entry.ok()) return std::move(entry).error().WithContext(row.key);
    entry->mod_revision = row.mod_revision;
    syncs.push_back(*std::move(entry));
  }
  return syncs;
}

Result<std::optional<SyncEntry>> Store::Find(std::string_view sync_id) const {
  VELLUM_ASSIGN_OR_RETURN(const auto row, catalog_->Get(SyncKey(sync_id)));
  if (!row) return std::optional<SyncEntry>();
  auto entry = SyncEntry::FromJson(row->value);
  if (!entry.ok()) return std::move(entry).error().WithContext(row->key);
  entry->mod_revision = row->mod_revision;
  return std::optional<SyncEntry>(*std::move(entry));
}

Result<SyncEntry> Store::Get(std::string_view sync_id) const {
  VELLUM_ASSIGN_OR_RETURN(auto entry, Find(sync_id));
  if (!entry) return NotFound("there is no sync " + Printable(sync_id));
  return *std::move(entry);
}

Result<std::shared_ptr<const Generation>> Store::OpenGeneration(const GenerationId& id) const {
  {
    MutexLock lock(&cache_mu_);
    const auto found = open_.find(id);
    if (found != open_.end()) {
      recency_.splice(recency_.begin(), recency_, found->second.recency);
      metrics_->Opened(/*from_cache=*/true);
      return found->second.generation;
    }
    if (const auto found_evicted = evicted_.find(id); found_evicted != evicted_.end()) {
      if (auto generation = found_evicted->second.lock()) {
        metrics_->Opened(/*from_cache=*/true);
        return Cache(std::move(generation));
      }
    }
    if (being_removed_.contains(id)) return NotFound("generation " + Printable(id) + " is being removed");
    being_opened_.insert(id);
  }
  metrics_->Opened(/*from_cache=*/false);
  auto generation = OpenFiles(id);
  MutexLock lock(&cache_mu_);
  being_opened_.erase(being_opened_.find(id));
  if (!generation.ok()) return generation;
  return Cache(*std::move(generation));
}

Result<std::shared_ptr<const Generation>> Store::OpenFiles(const GenerationId& id) const {
  return Generation::Open(GenerationPath(id), cache_, Generation::Check::kTrust, options_.files);
}

std::shared_ptr<const Generation> Store::Cache(std::shared_ptr<const Generation> generation) const {
  const GenerationId& id = generation->info().id;
  // Two threads may open the same one at once: the second's handle is dropped.
  if (const auto found = open_.find(id); found != open_.end()) return found->second.generation;
  recency_.push_front(id);
  open_[id] = {generation, recency_.begin()};
  evicted_.erase(id);
  Evict();
  return generation;
}

void Store::Evict() const {
  std::size_t files = 0;
  for (const auto& [name, cached] : open_) files += cached.generation->tables().open_files();
  while (files > options_.open_files_max && recency_.size() > 1) {
    const auto oldest = open_.find(recency_.back());
    files -= oldest->second.generation->tables().open_files();
    std::erase_if(evicted_, [](const auto& each) { return each.second.expired(); });
    if (oldest->second.generation.use_count() > 1) evicted_[oldest->first] = oldest->second.generation;
    open_.erase(oldest);
    recency_.pop_back();
  }
  metrics_->OpenGenerations(open_.size(), files);
}

std::size_t Store::Readers() const {
  MutexLock lock(&cache_mu_);
  std::size_t readers = 0;
  for (const auto& [name, cached] : open_) readers += cached.generation.use_count() > 1 ? 1 : 0;
  for (const auto& [name, generation] : evicted_) readers += generation.expired() ? 0 : 1;
  return readers;
}

Result<std::shared_ptr<const Generation>> Store::OpenSync(std::string_view sync_id) const {
  for (GenerationId tried;;) {
    VELLUM_ASSIGN_OR_RETURN(const SyncEntry entry, Get(sync_id));
    if (entry.history.empty()) {
      return FailedPrecondition("sync " + Printable(sync_id) + " is still being written");
    }
    auto generation = OpenGeneration(entry.generation());
    if (generation.ok()) return generation;
    // Switched away from and swept between the look at the catalog and the opening: the sync is elsewhere now.
    if (entry.generation() == tried) return std::move(generation).error().WithContext("sync " + Printable(sync_id));
    tried = entry.generation();
  }
}

// ---- writers -----------------------------------------------------------------------------------------------------

Result<LeaseId> Store::WriterLease() {
  MutexLock lock(&writer_mu_);
  if (writer_ != 0) return writer_;
  VELLUM_ASSIGN_OR_RETURN(writer_, catalog_->GrantLease(options_.writer_ttl_s));
  shown_writer_.store(writer_, std::memory_order_relaxed);
  if (!renewer_.joinable()) renewer_ = std::thread([this] { RenewWriterLease(); });
  return writer_;
}

void Store::RenewWriterLease() {
  const auto interval = std::chrono::seconds(std::max<std::int64_t>(1, options_.writer_ttl_s / 3));
  MutexLock lock(&writer_mu_);
  while (!stopping_) {
    stop_.WaitFor(&writer_mu_, interval);
    if (stopping_ || writer_ == 0) continue;
    const LeaseId writer = writer_;
    writer_mu_.Unlock();
    const auto alive = catalog_->RenewLease(writer);
    writer_mu_.Lock();
    // A lease that ended takes its writers' registrations with it: they get kAborted when they seal. New ones get a new one.
    if (alive.ok() && !*alive && writer_ == writer) writer_ = 0;
  }
}

Store::Building::Building(Store* store, GenerationId id, LeaseId writer)
    : store_(store),
      id_(std::move(id)),
      writer_(writer),
      directory_(store->StagingPath(id_)),
      began_(store->options_.clock->Now()) {}

Store::Building::~Building() {
  if (fate_ != Fate::kAbandon && fate_ != Fate::kRelease) return;  // nothing is this object's any more, and the store may be gone
  store_->Abandon(*this);
  store_->Unclaim(id_);
}

Status Store::Building::SyncName() const {
  return storage::SyncDirectory(store_->files(), store_->options_.data_dir + "/staging");
}

MergeLimits Store::Building::Limits(const Work& work) const {
  MergeLimits limits;
  limits.scratch = directory_;
  limits.memory_bytes = store_->options_.memory_bytes;
  limits.file_bytes = store_->options_.file_bytes;
  limits.threads = store_->options_.threads;
  limits.cancel = work.cancel;
  limits.progress = work.progress;
  limits.files = store_->options_.files;
  return limits;
}

Result<std::unique_ptr<Store::Building>> Store::Enlist(const GenerationId& id, const std::string& taken) {
  if (!Claim(id)) return FailedPrecondition(taken);
  auto lease = PutRegistration(id);
  if (lease.error().reason() == Reason::kLeaseNotFound) lease = PutRegistration(id);  // it has ended, and is forgotten now
  if (!lease.ok()) {
    Unclaim(id);
    return lease.error().code() == Code::kAborted ? FailedPrecondition(taken) : std::move(lease).error();
  }
  return std::unique_ptr<Building>(new Building(this, id, *lease));
}

Result<LeaseId> Store::PutRegistration(const GenerationId& id) {
  VELLUM_ASSIGN_OR_RETURN(const LeaseId writer, WriterLease());
  const GenerationEntry entry{id, GenerationState::kBuilding, writer, 0};
  Catalog::Change change;
  change.expect.push_back({GenerationKey(id), 0});
  change.put.push_back({GenerationKey(id), entry.ToJson(), writer});
  Status committed = catalog_->Commit(change);
  if (committed.reason() == Reason::kLeaseNotFound) {
    MutexLock lock(&writer_mu_);
    if (writer_ == writer) writer_ = 0;
  }
  VELLUM_TRY(std::move(committed));
  return writer;
}

Result<std::unique_ptr<Store::Building>> Store::Register() {
  const GenerationId id = NewKsuid(options_.clock);
  VELLUM_ASSIGN_OR_RETURN(auto building, Enlist(id, "generation " + id + " exists already"));
  VELLUM_TRY(storage::CreateDirectory(files(), building->directory()));
  return building;
}

Result<std::unique_ptr<Store::Building>> Store::TakeOver(const GenerationId& id) {
  VELLUM_ASSIGN_OR_RETURN(auto building, Enlist(id, "generation " + id + " is being written by another writer"));
  building->Keep();  // The open sync owns the directory, whatever becomes of this attempt.
  return building;
}

Result<std::optional<Catalog::Row>> Store::Registration(const Building& building) const {
  VELLUM_ASSIGN_OR_RETURN(auto row, catalog_->Get(GenerationKey(building.id())));
  // Another lease: this writer was taken for dead, and somebody else has the directory.
  if (row && row->lease != building.writer_) row.reset();
  return row;
}

void Store::Abandon(const Building& building) {
  // What is left here on a failure is swept when the store opens again.
  const auto row = catalog_->Get(GenerationKey(building.id()));
  if (!row.ok()) return;
  const bool registered = *row && (*row)->lease == building.writer_;
  const bool checkpointed = building.fate_ == Building::Fate::kRelease;
  // Taken for dead. What is checkpointed may be another writer's by now; the rest has been nobody else's.
  if (!registered && (*row || checkpointed)) return;
  if (!checkpointed) {
    storage::RemoveTree(files(), building.directory()).IgnoreError("the next sweep removes it");
  }
  // The directory first: without the registration it would be a stranger's.
  Swept swept;
  if (!RemoveDirectory(GenerationPath(building.id()), &swept).ok() || !registered) return;
  Catalog::Change change;
  change.frees_space = true;
  change.expect.push_back({(*row)->key, (*row)->mod_revision});
  change.remove.push_back((*row)->key);
  catalog_->Commit(change).IgnoreError("the registration goes with the writer's lease");
}

Store::Scratch::Scratch(Store* store, std::string name)
    : store_(store), name_(std::move(name)), path_(store->StagingPath(name_)) {
  store_->Claim(name_);
}

Store::Scratch::~Scratch() {
  storage::RemoveTree(store_->files(), path_).IgnoreError("what is left of it is swept");
  store_->Unclaim(name_);
}

Result<std::unique_ptr<Store::Scratch>> Store::MakeScratch() {
  std::unique_ptr<Scratch> scratch(new Scratch(this, "scratch-" + NewKsuid(options_.clock)));
  VELLUM_TRY(storage::CreateDirectory(files(), scratch->path()));
  return scratch;
}

// ---- switching ---------------------------------------------------------------------------------------------------

Result<std::vector<Catalog::Change::Put>> Store::Switched(std::vector<Switch>* switches, const GenerationId& id,
                                                          const std::string& digest) const {
  std::vector<Catalog::Change::Put> puts;
  for (Switch& each : *switches) {
    SyncEntry& entry = each.entry;
    VELLUM_TRY(CheckSyncId(entry.run.id));
    HistoryEntry made = {id, digest, WallStamp(options_.clock), each.operation};
    if (each.in_place_of.empty()) {
      std::erase_if(entry.history, [&id](const HistoryEntry& old) { return old.generation == id; });
      entry.history.insert(entry.history.begin(), std::move(made));
      const std::size_t history_max = std::max<std::size_t>(1, options_.history_max);
      if (entry.history.size() > history_max) entry.history.resize(history_max);
    } else {
      const auto old = std::find_if(entry.history.begin(), entry.history.end(),
                                    [&](const HistoryEntry& have) { return have.generation == each.in_place_of; });
      if (old == entry.history.end()) {
        return Aborted("sync " + Printable(entry.run.id) + " has left generation " + each.in_place_of + " meanwhile");
      }
      *old = std::move(made);  // and nothing else of the sync changes
    }
    if (each.in_place_of.empty()) {
      entry.state = entry.run.ended_at == 0 ? SyncState::kOpen : SyncState::kSealed;
      entry.staging.clear();
    }
    puts.push_back({SyncKey(entry.run.id), entry.ToJson(), 0});
  }
  return puts;
}

Status Store::CommitSwitch(Catalog::Change change, const GenerationId& id, const std::vector<Switch>& switches,
                           const std::vector<SyncEntry>& removed) {
  for (const SyncEntry& each : removed) {
    change.expect.push_back({SyncKey(each.run.id), each.mod_revision});
    change.remove.push_back(SyncKey(each.run.id));
  }
  Status committed = catalog_->Commit(change);
  if (!committed.ok()) {
    if (!committed.maybe_applied()) return committed;
    // Nobody knows: what is stored now does. Nothing is deleted before that is read.
    for (const Switch& each : switches) {
      const auto found = Find(each.entry.run.id);
      if (!found.ok()) return committed;
      const std::optional<SyncEntry>& entry = *found;
      const bool applied = entry && entry->mod_revision != each.entry.mod_revision &&
                           std::any_of(entry->history.begin(), entry->history.end(),
                                       [&](const HistoryEntry& have) { return have.generation == id; });
      if (!applied || (each.in_place_of.empty() && entry->generation() != id)) return committed;
    }
    for (const SyncEntry& each : removed) {
      const auto found = Find(each.run.id);
      if (!found.ok() || found->has_value()) return committed;
    }
  }
  for (const Switch& each : switches) metrics_->Switched(each.operation);
  for (const SyncEntry& each : removed) ForgetSessions(each.run.id);
  return {};
}

Result<std::shared_ptr<const Generation>> Store::Publish(Building* building, Derived derived,
                                                         const std::vector<GenerationId>& parents,
                                                         std::vector<Switch> switches,
                                                         const std::vector<SyncEntry>& removed) {
  GenerationInfo info;
  info.id = building->id();
  info.operation = switches.empty() ? "build" : switches.front().operation;
  info.parents = parents;
  info.totals = std::move(derived.totals);
  info.layers = derived.layers;
  info.dead_bytes = derived.dead_bytes;
  const std::string made = building->directory() + "/generation";
  const std::string sealed = GenerationPath(building->id());
  std::uint64_t bytes_written = 0;
  for (const NewFile& each : derived.files) {
    struct stat status {};
    if (::stat(each.path.c_str(), &status) == 0 && status.st_nlink == 1) bytes_written += each.file.bytes;
  }
  const std::string taken_for_dead = "the writer of generation " + building->id() + " was declared dead";
  VELLUM_ASSIGN_OR_RETURN(const auto before, Registration(*building));
  if (!before) return Aborted(taken_for_dead);
  // Of an attempt that failed: nothing can refer to them.
  VELLUM_TRY(storage::RemoveTree(files(), made));
  VELLUM_TRY(storage::RemoveTree(files(), sealed));
  VELLUM_TRY(Assemble(made, std::move(derived.files), &info, options_.files));
  VELLUM_TRY(storage::Rename(files(), made, sealed));
  VELLUM_TRY(storage::SyncDirectory(files(), options_.data_dir + "/generations"));
  VELLUM_TRY(storage::SyncDirectory(files(), building->directory()));
  // Before anything points at it: what cannot be read is not switched to, and what was switched to is handed out.
  VELLUM_ASSIGN_OR_RETURN(auto generation, OpenFiles(building->id()));

  VELLUM_ASSIGN_OR_RETURN(const auto registered, Registration(*building));
  if (!registered) return Aborted(taken_for_dead);
  Catalog::Change change;
  for (const Switch& each : switches) change.expect.push_back({SyncKey(each.entry.run.id), each.entry.mod_revision});
  change.expect.push_back({registered->key, registered->mod_revision});
  VELLUM_ASSIGN_OR_RETURN(change.put, Switched(&switches, building->id(), info.Digest().ToHex()));
  change.put.push_back({registered->key, GenerationEntry{building->id(), GenerationState::kSealed, 0, 0}.ToJson(), 0});
  {
    // From the switch on a sweep may find it, and nothing that refers to it any more.
    MutexLock lock(&cache_mu_);
    std::erase_if(evicted_, [](const auto& each) { return each.second.expired(); });
    evicted_[building->id()] = generation;
  }
  if (Status committed = CommitSwitch(std::move(change), building->id(), switches, removed); !committed.ok()) {
    if (committed.maybe_applied()) {
      building->fate_ = Building::Fate::kUnknown;
      Unclaim(building->id());
    }
    return committed;
  }
  building->fate_ = Building::Fate::kPublished;
  storage::RemoveTree(files(), building->directory()).IgnoreError("the next sweep removes it");
  Unclaim(building->id());
  metrics_->Made(info.operation, info.records(), bytes_written,
                 std::chrono::duration<double>(options_.clock->Now() - building->began_).count());
  MutexLock cache_lock(&cache_mu_);
  return Cache(std::move(generation));
}

Status Store::SwitchTo(const GenerationId& generation, std::vector<Switch> switches,
                       const std::vector<SyncEntry>& removed) {
  VELLUM_ASSIGN_OR_RETURN(const auto row, catalog_->Get(GenerationKey(generation)));
  if (!row) return NotFound("there is no generation " + Printable(generation));
  VELLUM_ASSIGN_OR_RETURN(const GenerationEntry entry, GenerationEntry::FromJson(generation, row->value));
  if (entry.state != GenerationState::kSealed) return FailedPrecondition("generation " + generation + " is not sealed");
  const auto opened = OpenGeneration(generation);
  if (!opened.ok()) {
    VELLUM_ASSIGN_OR_RETURN(const auto now, catalog_->Get(row->key));
    if (!now || now->mod_revision != row->mod_revision) return Aborted("generation " + generation + " was swept meanwhile");
    return opened.error();
  }
  Catalog::Change change;
  for (const Switch& each : switches) change.expect.push_back({SyncKey(each.entry.run.id), each.entry.mod_revision});
  change.expect.push_back({row->key, row->mod_revision});
  VELLUM_ASSIGN_OR_RETURN(change.put, Switched(&switches, generation, (*opened)->info().Digest().ToHex()));
  // Stored anew, so that a sweep that found nobody pointing here a moment ago loses its compare. If the sweep was first, this
  // one loses.
  change.put.push_back({row->key, row->value, 0});
  return CommitSwitch(std::move(change), generation, switches, removed);
}

Status Store::PutOpen(SyncEntry* entry, const Building* building, bool writer_bound) {
  entry->state = SyncState::kOpen;
  entry->staging = building->id();
  VELLUM_ASSIGN_OR_RETURN(const auto registered, Registration(*building));
  if (!registered) return Aborted("the writer of sync " + Printable(entry->run.id) + " was declared dead");
  Catalog::Change change;
  change.expect.push_back({SyncKey(entry->run.id), entry->mod_revision});
  change.expect.push_back({registered->key, registered->mod_revision});
  change.put.push_back({SyncKey(entry->run.id), entry->ToJson(), writer_bound ? registered->lease : 0});
  VELLUM_TRY(catalog_->Commit(change));
  VELLUM_ASSIGN_OR_RETURN(const SyncEntry stored, Get(entry->run.id));
  entry->mod_revision = stored.mod_revision;
  return {};
}

Status Store::ForgetOpen(const SyncEntry& entry) {
  Catalog::Change change;
  change.frees_space = true;
  change.expect.push_back({SyncKey(entry.run.id), entry.mod_revision});
  change.remove.push_back(SyncKey(entry.run.id));
  return catalog_->Commit(change);
}

Result<SyncEntry> Store::Rollback(std::string_view sync_id, const std::optional<GenerationId>& to) {
  VELLUM_ASSIGN_OR_RETURN(SyncEntry entry, Get(sync_id));
  if (entry.history.size() < 2 && !to) {
    return FailedPrecondition("sync " + Printable(sync_id) + " has no earlier generation to go back to");
  }
  const GenerationId target = to ? *to : entry.history[1].generation;
  const bool known = std::any_of(entry.history.begin(), entry.history.end(),
                                 [&](const HistoryEntry& each) { return each.generation == target; });
  if (!known) return NotFound("generation " + Printable(target) + " is not in the history of sync " + Printable(sync_id));
  VELLUM_TRY(SwitchTo(target, {{entry, "rollback"}}));
  return Get(sync_id);
}

Status Store::Remove(const SyncEntry& entry, Writers writers) {
  Catalog::Change change;
  change.frees_space = true;
  change.expect.push_back({SyncKey(entry.run.id), entry.mod_revision});
  if (writers == Writers::kRefuse && !entry.staging.empty()) change.expect.push_back({GenerationKey(entry.staging), 0});
  change.remove.push_back(SyncKey(entry.run.id));
  VELLUM_TRY(catalog_->Commit(change));
  ForgetSessions(entry.run.id);
  return {};
}

Status Store::Delete(std::string_view sync_id) {
  VELLUM_ASSIGN_OR_RETURN(const SyncEntry entry, Get(sync_id));
  VELLUM_TRY(Remove(entry));
  return Sweep().error();
}

// ---- sweeping ----------------------------------------------------------------------------------------------------

Status Store::RemoveDirectory(const std::string& path, Swept* swept) {
  VELLUM_ASSIGN_OR_RETURN(const bool exists, storage::Exists(files(), path));
  if (!exists) return {};
  swept->bytes += storage::DirectoryBytes(files(), path);
  const auto slash = path.rfind('/');
  const std::string trash = options_.data_dir + "/trash/" + path.substr(slash + 1);
  VELLUM_TRY(storage::RemoveTree(files(), trash));
  VELLUM_TRY(storage::Rename(files(), path, trash));
  // Before its row goes: power loss must not bring back a directory that nobody registered.
  VELLUM_TRY(storage::SyncDirectory(files(), options_.data_dir + "/trash"));
  VELLUM_TRY(storage::SyncDirectory(files(), path.substr(0, slash)));
  return storage::RemoveTree(files(), trash);
}

bool Store::GraceEnded(const GenerationId& id) {
  if (opening_ || options_.unreferenced_keep_s <= 0) return true;
  const auto now = options_.clock->Now();
  const auto since = unreferenced_.try_emplace(id, now).first->second;
  return now - since >= std::chrono::seconds(options_.unreferenced_keep_s);
}

Status Store::SweepGeneration(const GenerationEntry& entry, Swept* swept) {
  if (entry.state != GenerationState::kDeleting && !GraceEnded(entry.id)) {
    ++swept->waiting;
    return {};
  }
  if (entry.state != GenerationState::kDeleting) {
    GenerationEntry deleting = entry;
    deleting.state = GenerationState::kDeleting;
    Catalog::Change change;
    change.frees_space = true;
    change.expect.push_back({GenerationKey(entry.id), entry.mod_revision});
    change.put.push_back({GenerationKey(entry.id), deleting.ToJson(), 0});
    Status marked = catalog_->Commit(change);
    if (marked.code() == Code::kAborted) return {};  // somebody points at it again
    VELLUM_TRY(std::move(marked));
  }
  if (!BeginRemoval(entry.id)) {
    ++swept->in_use;
    return {};
  }
  Status removed = RemoveDirectory(GenerationPath(entry.id), swept);
  {
    MutexLock lock(&cache_mu_);
    being_removed_.erase(entry.id);
  }
  VELLUM_TRY(std::move(removed));
  Catalog::Change change;
  change.frees_space = true;
  change.remove.push_back(GenerationKey(entry.id));
  VELLUM_TRY(catalog_->Commit(change));
  unreferenced_.erase(entry.id);
  {
    MutexLock facts(&facts_mu_);
    infos_.erase(entry.id);
  }
  ++swept->generations;
  return {};
}

/// Takes it out of the cache and keeps everybody from opening it. False: somebody reads it.
bool Store::BeginRemoval(const GenerationId& id) {
  MutexLock lock(&cache_mu_);
  const auto found = open_.find(id);
  const auto evicted = evicted_.find(id);
  if (being_opened_.contains(id) || (found != open_.end() && found->second.generation.use_count() > 1) ||
      (evicted != evicted_.end() && !evicted->second.expired())) {
    return false;
  }
  if (found != open_.end()) {
    recency_.erase(found->second.recency);
    open_.erase(found);
  }
  being_removed_.insert(id);
  return true;
}

/// False: somebody has it.
bool Store::Claim(const std::string& name) {
  MutexLock lock(&claims_mu_);
  return claims_.insert(name).second;
}

void Store::Unclaim(const std::string& name) {
  MutexLock lock(&claims_mu_);
  claims_.erase(name);
}

bool Store::Claimed(const std::string& name) {
  MutexLock lock(&claims_mu_);
  return claims_.contains(name);
}

/// What half-made generations left: the directories of `staged` but those of `kept`, and what was on its way out.
Status Store::SweepLeftovers(const std::vector<std::string>& staged, const std::set<GenerationId>& kept, Swept* swept) {
  const std::string staging = options_.data_dir + "/staging";
  for (const std::string& name : staged) {
    // Also of a generation that is sealed: its writer died between the switch and tidying up.
    if (kept.contains(name) || Claimed(name)) continue;
    VELLUM_TRY(RemoveDirectory(staging + "/" + name, swept));
    ++swept->directories;
  }
  const std::string trash = options_.data_dir + "/trash";
  VELLUM_ASSIGN_OR_RETURN(const auto thrown_away, storage::ListDirectory(files(), trash));
  for (const std::string& name : thrown_away) {
    if (Claimed(name)) continue;
    swept->bytes += storage::DirectoryBytes(files(), trash + "/" + name);
    VELLUM_TRY(storage::RemoveTree(files(), trash + "/" + name));
    ++swept->directories;
  }
  return {};
}

Result<Store::Swept> Store::Sweep() {
  Swept swept;
  MutexLock lock(&sweep_mu_);
  // In this order, because others register, write and switch meanwhile: a directory that is there now was registered before it
  // was made, and an open sync is stored before its writer lets the registration go. A sync that comes to refer to a generation
  // of this list after it was made changes the generation's row with it, so that SweepGeneration cannot mark it.
  VELLUM_ASSIGN_OR_RETURN(const auto staged, storage::ListDirectory(files(), options_.data_dir + "/staging"));
  VELLUM_ASSIGN_OR_RETURN(const auto generations, ListGenerations());
  VELLUM_ASSIGN_OR_RETURN(const auto syncs, List());
  const References references = Referenced(syncs);
  std::erase_if(unreferenced_, [&](const auto& each) { return references.generations.contains(each.first); });
  std::set<GenerationId> building;
  for (const GenerationEntry& entry : generations) {
    if (entry.state == GenerationState::kBuilding) building.insert(entry.id);
    if (entry.state == GenerationState::kBuilding || references.generations.contains(entry.id)) continue;
    VELLUM_TRY(SweepGeneration(entry, &swept));
  }
  building.insert(references.staging.begin(), references.staging.end());
  VELLUM_TRY(SweepLeftovers(staged, building, &swept));
  metrics_->Swept(swept.generations, swept.directories, swept.bytes);
  return swept;
}

}  // namespace vellum::sync
