#include "c1z/v3/reader.h"

#include <set>

#include "base/aside.h"
#include "base/bytes.h"
#include "c1z/v3/budget.h"
#include "c1z/v3/bytes.h"
#include "c1z/v3/checkpoint.h"
#include "c1z/v3/keys.h"
#include "c1z/v3/merge.h"
#include "c1z/v3/records.h"
#include "c1z/v3/version.h"
#include "sync/codec.h"

namespace vellum::c1z::v3 {
namespace {

using sync::RecordType;
using sync::RecordView;

constexpr std::uint32_t kKeyspaceVersion = 2;
constexpr std::uint32_t kStructuralIds = 2;

std::string After(const std::string& prefix) { return PrefixSuccessor(prefix).value_or(std::string()); }

/// A number under 03 FF.
Result<std::uint32_t> MetaNumber(std::string_view name, std::string_view value) {
  const auto number = value.size() == 4 ? ByteReader(value).ReadBe32() : std::nullopt;
  if (!number) return Damaged("the stamp " + Printable(name) + " has " + std::to_string(value.size()) + " bytes, not 4");
  return *number;
}

/// What a row is not a record for, without the parts that differ from row to row.
std::string ReasonOf(const Status& why) {
  const std::string& message = why.message();
  return message.substr(0, std::min(message.find(": "), message.find(" from record ")));
}

std::string TypeName(RecordType type) {
  static constexpr std::array<const char*, sync::kRecordTypes> kNames = {"resource types", "resources", "entitlements", "grants",
                                                                         "assets"};
  return kNames[static_cast<std::size_t>(type)];
}

}  // namespace

struct V3Reader::Impl {
  Impl(std::string opened, const OpenOptions& options)
      : path(std::move(opened)),
        budget({options.limits.memory_bytes_max, options.limits.entries_max, options.limits.time_max}),
        block_bytes_max(options.limits.block_bytes_max) {}

  const std::string path;
  Budget budget;
  const std::uint64_t block_bytes_max;
  Header header;
  std::unique_ptr<Checkpoint> checkpoint;
  Database database;
  std::unique_ptr<TableSet> tables;
  Identity identity = Identity::kStructural;
  std::vector<FileSync> syncs;
  std::optional<std::array<std::uint64_t, sync::kRecordTypes>> own_counts;  ///< By the file's statistics.
  std::map<std::uint8_t, std::uint64_t> unknown_keys;                       ///< By type byte.

  Status Open(const OpenOptions& options);
  /// Looks at every key that is neither a record nor of a kind that is skipped.
  Status ReadAround();
  Status ReadMeta(std::string_view name, std::string_view value, std::optional<std::uint32_t>* keyspace,
                  std::optional<std::uint32_t>* ids);
  Status ReadRun();
  Status ForEach(std::string from, std::string until, const std::function<Status(std::string_view, std::string_view)>& visit);
  /// The records of one type under the keys from `from` to `until`.
  Status ReadRange(RecordType type, std::string from, std::string until, Invalid invalid, const Visit& visit, ReadReport* report);
  Status CheckFile(std::size_t file, const TableMeta& meta);
  std::vector<std::string> HeaderDifferences() const;
};

Status V3Reader::Impl::ForEach(std::string from, std::string until,
                               const std::function<Status(std::string_view, std::string_view)>& visit) {
  VELLUM_ASSIGN_OR_RETURN(const auto scan, MergedScan::Start(tables.get(), std::move(from), std::move(until)));
  for (;;) {
    VELLUM_ASSIGN_OR_RETURN(const bool any, scan->Next());
    if (!any) return {};
    VELLUM_TRY(visit(scan->key(), scan->value()));
  }
}

Status V3Reader::Impl::ReadMeta(std::string_view name, std::string_view value, std::optional<std::uint32_t>* keyspace,
                                std::optional<std::uint32_t>* ids) {
  if (name == "keyspace_version") {
    VELLUM_ASSIGN_OR_RETURN(*keyspace, MetaNumber(name, value));
    if (**keyspace != kKeyspaceVersion) {
      return Refused("the keys have the layout " + std::to_string(**keyspace) + ": " + std::to_string(kKeyspaceVersion) + " can be read");
    }
  } else if (name == "grant_entitlement_id_format") {
    VELLUM_ASSIGN_OR_RETURN(*ids, MetaNumber(name, value));
    if (**ids != kStructuralIds) {
      return Refused("grants are keyed in the format " + std::to_string(**ids) + ": " + std::to_string(kStructuralIds) + " can be read");
    }
  } else if (name == std::string_view("stats\0", 6)) {
    VELLUM_ASSIGN_OR_RETURN(own_counts, ParseSyncStats(value));
  }
  return {};
}

Status V3Reader::Impl::ReadAround() {
  const std::string meta = TypePrefix(KeyType::kMeta);
  std::optional<std::uint32_t> keyspace;
  std::optional<std::uint32_t> ids;
  const auto visit = [&](std::string_view key, std::string_view value) -> Status {
    if (key.empty() || key[0] != kKeySpace) return Refused("the key " + Printable(key) + " does not begin with 03 and is not known");
    if (key.starts_with(meta)) return ReadMeta(key.substr(meta.size()), value, &keyspace, &ids);
    ++unknown_keys[key.size() < 2 ? 0 : static_cast<std::uint8_t>(key[1])];
    return {};
  };
  VELLUM_TRY(ForEach("", TypePrefix(KeyType::kResourceType), visit));
  VELLUM_TRY(ForEach(After(TypePrefix(kLastKnownType)), "", visit));
  if (!keyspace) {
    VELLUM_ASSIGN_OR_RETURN(const auto any, MergedScan::Start(tables.get(), TypePrefix(KeyType::kResourceType), ""));
    VELLUM_ASSIGN_OR_RETURN(const bool populated, any->Next());
    if (populated) return Refused("the keys carry no stamp of their layout: it is one from before version 2, which is not read");
  }
  identity = !ids && header.engine == "pebble2" ? Identity::kExternal : Identity::kStructural;
  return {};
}

Status V3Reader::Impl::ReadRun() {
  const std::string run_key = TypePrefix(KeyType::kSyncRun);
  return ForEach(run_key, After(run_key), [&](std::string_view key, std::string_view value) -> Status {
    if (key != run_key) return Refused("the sync run's key is " + Printable(key) + ": it is of a layout with several syncs, which is not read");
    FileSync sync;
    VELLUM_ASSIGN_OR_RETURN(sync.run, ParseSyncRun(value));
    sync.grants_backfilled = true;
    syncs.push_back(std::move(sync));
    return {};
  });
}

Status V3Reader::Impl::Open(const OpenOptions& options) {
  if (header.engine == "pebble") {
    return Refused("engine not available: the payload is of the engine pebble, which keeps several syncs in one file; pebble2 and "
                   "pebble3 can be read");
  }
  VELLUM_ASSIGN_OR_RETURN(checkpoint, Checkpoint::Open(path, header, options, &budget));
  VELLUM_ASSIGN_OR_RETURN(database, OpenDatabase(*checkpoint, &budget));
  tables = std::make_unique<TableSet>(checkpoint.get(), &database, block_bytes_max, &budget);
  VELLUM_TRY(ReadAround());
  return ReadRun();
}

/// The header repeats what the sync run says; the run rules.
std::vector<std::string> V3Reader::Impl::HeaderDifferences() const {
  if (syncs.empty()) return {"the file holds no sync run: its records belong to no sync"};
  const sync::SyncRun& run = syncs.front().run;
  if (header.syncs.size() != 1) {
    return {"the file's head lists " + std::to_string(header.syncs.size()) + " syncs and its payload holds one, " + Printable(run.id)};
  }
  std::vector<std::string> differences;
  const sync::SyncRun& told = header.syncs.front().run;
  const auto compare = [&](const char* what, const std::string& in_head, const std::string& in_run) {
    if (in_head == in_run) return;
    differences.push_back(std::string("the file's head says ") + what + " " + Printable(in_head) + " and its sync run " + Printable(in_run));
  };
  compare("sync", told.id, run.id);
  compare("type", told.type, run.type);
  compare("parent", told.parent_id, run.parent_id);
  compare("start", std::to_string(told.started_at), std::to_string(run.started_at));
  compare("end", std::to_string(told.ended_at), std::to_string(run.ended_at));
  return differences;
}

V3Reader::V3Reader(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
V3Reader::~V3Reader() = default;

Result<std::unique_ptr<V3Reader>> V3Reader::Open(const std::string& path, const OpenOptions& options) {
  auto impl = std::make_unique<Impl>(path, options);
  VELLUM_ASSIGN_OR_RETURN(impl->header, ReadHeader(path, options.limits));
  if (Status opened = impl->Open(options); !opened.ok()) return std::move(opened).WithContext(path);
  std::unique_ptr<V3Reader> reader(new V3Reader(std::move(impl)));
  for (std::string& difference : reader->impl_->HeaderDifferences()) reader->Warn(std::move(difference));
  for (const auto& [type, keys] : reader->impl_->unknown_keys) {
    reader->Warn(std::to_string(keys) + " keys have the unknown type " + std::to_string(type) + ": they were not read");
  }
  return reader;
}

const std::vector<FileSync>& V3Reader::syncs() const { return impl_->syncs; }
const Header& V3Reader::header() const { return impl_->header; }
std::uint64_t V3Reader::memory_peak() const { return impl_->budget.memory_peak(); }

bool V3Reader::InIdentityOrder(RecordType type) const {
  return impl_->identity == Identity::kStructural || (type != RecordType::kEntitlement && type != RecordType::kGrant);
}

Status V3Reader::Impl::ReadRange(RecordType type, std::string from, std::string until, Invalid invalid, const Visit& visit,
                                 ReadReport* report) {
  RecordDecoder decoder(identity);
  RecordView record;
  Status from_visit;
  Status read = ForEach(std::move(from), std::move(until), [&](std::string_view key, std::string_view value) -> Status {
    ++report->rows;
    Status usable = decoder.Decode(type, key, value, &record, &report->unstamped);
    if (usable.ok()) usable = sync::CheckRecord(record);
    if (usable.ok()) {
      from_visit = visit(record);
      return from_visit;
    }
    ++report->invalid[TypeName(type) + ": " + ReasonOf(usable)];
    if (invalid == Invalid::kSkip) return {};
    return std::move(usable).WithContext(TypeName(type) + ", the record under the key " + Printable(key));
  });
  if (!from_visit.ok()) return from_visit;
  return std::move(read).WithContext(path);
}

Status V3Reader::ReadRecords(const FileSync& /*sync*/, RecordType type, Invalid invalid, const Visit& visit, ReadReport* report) {
  const std::string prefix = TypePrefix(KeyTypeOf(type));
  return impl_->ReadRange(type, prefix, After(prefix), invalid, visit, report);
}

Status V3Reader::ReadInParts(const FileSync& sync, RecordType type, Invalid invalid, const std::vector<Visit>& visits,
                             ReadReport* report) {
  const std::string prefix = TypePrefix(KeyTypeOf(type));
  auto cuts = FindCuts(impl_->tables.get(), prefix, After(prefix), visits.size());
  if (!cuts.ok()) return std::move(cuts).error().WithContext(impl_->path);
  if (cuts->empty()) return ReadRecords(sync, type, invalid, visits.front(), report);
  struct Part {
    ReadReport report;
    Status status;
  };
  std::vector<Part> parts(cuts->size() + 1);
  const auto read = [&](std::size_t i) {
    parts[i].status = impl_->ReadRange(type, i == 0 ? prefix : (*cuts)[i - 1], i == cuts->size() ? After(prefix) : (*cuts)[i],
                                       invalid, visits[i], &parts[i].report);
  };
  {
    std::vector<std::future<void>> others;
    for (std::size_t i = 1; i < parts.size(); ++i) others.push_back(DoAside([&read, i] { read(i); }));
    read(0);
  }
  for (Part& part : parts) {
    report->Add(part.report);
    VELLUM_TRY(std::move(part.status));
  }
  return {};
}

Status V3Reader::ReadSessions(const FileSync& sync, const std::function<Status(const Session&)>& visit) {
  const std::string prefix = TypePrefix(KeyType::kSession);
  return impl_
      ->ForEach(prefix, After(prefix),
                [&](std::string_view key, std::string_view value) -> Status {
                  auto session = ParseSession(value);
                  if (!session.ok()) return std::move(session).error().WithContext("the scratch pad's entry " + Printable(key));
                  if (session->sync_id != sync.run.id) return {};
                  return visit({std::string(session->key), std::string(session->value)});
                })
      .WithContext(impl_->path);
}

Result<std::uint64_t> V3Reader::CountOrphans() {
  if (!impl_->syncs.empty()) return std::uint64_t{0};
  std::uint64_t orphans = 0;
  Status read = impl_->ForEach(TypePrefix(KeyType::kResourceType), TypePrefix(KeyType::kSyncRun),
                               [&orphans](std::string_view, std::string_view) {
                                 ++orphans;
                                 return Status();
                               });
  if (!read.ok()) return std::move(read).WithContext(impl_->path);
  return orphans;
}

Status V3Reader::Impl::CheckFile(std::size_t file, const TableMeta& meta) {
  VELLUM_ASSIGN_OR_RETURN(const auto table, tables->Open(meta));
  TableMeta whole = meta;
  if (meta.is_virtual()) {  // the file, and not the window
    whole.smallest = {};
    whole.largest = {std::string(1, '\xFF'), 0};
    whole.has_sequences = false;
  }
  TableScan scan(table, &whole, "", "", &budget);
  for (;;) {
    VELLUM_ASSIGN_OR_RETURN(const bool any, scan.Next());
    if (!any) break;
  }
  VELLUM_TRY(table->ForEachRangeDeletion([](const StoredDeletion&) { return Status(); }));
  if (scan.rows_seen() + table->range_deletions() == table->entries()) return {};
  return Damaged(Printable(checkpoint->name(file)) + " claims " + std::to_string(table->entries()) + " entries and has " +
                 std::to_string(scan.rows_seen()) + " rows and " + std::to_string(table->range_deletions()) + " range deletions");
}

Status V3Reader::CheckRest() {
  std::set<std::size_t> seen;
  for (const auto& [number, meta] : impl_->database.version.tables()) {
    const std::size_t file = impl_->database.files.at(number);
    if (!seen.insert(file).second) continue;
    if (Status checked = impl_->CheckFile(file, meta); !checked.ok()) return std::move(checked).WithContext(impl_->path);
  }
  if (!impl_->own_counts) return {};
  for (int type = 0; type < sync::kRecordTypes; ++type) {
    std::uint64_t records = 0;
    const std::string prefix = TypePrefix(KeyTypeOf(static_cast<RecordType>(type)));
    Status read = impl_->ForEach(prefix, After(prefix), [&records](std::string_view, std::string_view) {
      ++records;
      return Status();
    });
    if (!read.ok()) return std::move(read).WithContext(impl_->path);
    const std::uint64_t told = (*impl_->own_counts)[static_cast<std::size_t>(type)];
    if (told == records) continue;
    Warn("the file's statistics count " + std::to_string(told) + " " + TypeName(static_cast<RecordType>(type)) + " and it has " +
         std::to_string(records));
  }
  return {};
}

}  // namespace vellum::c1z::v3
