#include <sys/stat.h>

#include <set>

#include "base/bytes.h"
#include "storage/files.h"
#include "sync/store.h"
#include "sync/waste.h"

/// What a store knows of its own state: room for writers, writers that are alive, what it keeps and what that costs.
namespace vellum::sync {
namespace {

constexpr std::uint64_t kGenerationBytesMax = 64u << 20;

}  // namespace

Result<std::shared_ptr<const GenerationInfo>> Store::InfoOf(const GenerationId& id) const {
  {
    MutexLock lock(&facts_mu_);
    if (const auto found = infos_.find(id); found != infos_.end()) return found->second;
  }
  const std::string path = GenerationPath(id) + "/GENERATION";
  const auto bytes = storage::ReadSmallFile(files(), path, kGenerationBytesMax);
  if (!bytes.ok()) return DataLoss(path + " is missing or unreadable: " + bytes.error().message());
  auto decoded = GenerationInfo::Decode(*bytes);
  if (!decoded.ok()) return std::move(decoded).error().WithContext(path);
  auto info = std::make_shared<const GenerationInfo>(*std::move(decoded));
  MutexLock lock(&facts_mu_);
  infos_[id] = info;
  return info;
}

Status Store::AdmitWriter() const {
  const std::uint64_t bytes = storage::DirectoryBytes(files(), options_.data_dir + "/staging");
  if (bytes <= options_.staging_bytes_max) return {};
  metrics_->WriterRefused();
  return ResourceExhausted("syncs that are being written take " + std::to_string(bytes) + " bytes already, above the limit of " +
                           std::to_string(options_.staging_bytes_max) +
                           ": finish or delete open ones, or raise max-sync-staging-bytes");
}

Result<bool> Store::HasWriter(const SyncEntry& entry) const {
  if (entry.staging.empty()) return false;
  VELLUM_ASSIGN_OR_RETURN(const auto row, catalog_->Get(GenerationKey(entry.staging)));
  if (!row) return false;
  VELLUM_ASSIGN_OR_RETURN(const GenerationEntry generation, GenerationEntry::FromJson(entry.staging, row->value));
  return generation.state == GenerationState::kBuilding;
}

Status Store::RemoveOrphanedSessions() {
  VELLUM_ASSIGN_OR_RETURN(const auto syncs, List());
  std::set<std::string> known;
  for (const SyncEntry& sync : syncs) known.insert(SessionsPath(sync.run.id));
  const std::string directory = options_.data_dir + "/sessions/";
  VELLUM_ASSIGN_OR_RETURN(const auto names, storage::ListDirectory(files(), directory));
  for (const std::string& name : names) {
    // Left by a crash between the transaction that forgot a sync and the removal: another sync of its name must not get it.
    if (!known.contains(directory + name)) VELLUM_TRY(storage::RemoveFile(files(), directory + name));
  }
  return {};
}

Result<StoreFacts> Store::Survey() const {
  StoreFacts facts;
  VELLUM_ASSIGN_OR_RETURN(const auto generations, ListGenerations());
  VELLUM_ASSIGN_OR_RETURN(const auto syncs, List());
  std::set<GenerationId> referenced;
  for (const SyncEntry& sync : syncs) {
    ++(sync.state == SyncState::kOpen ? facts.syncs_open : facts.syncs_sealed);
    for (const HistoryEntry& each : sync.history) referenced.insert(each.generation);
  }
  std::set<std::pair<dev_t, ino_t>> seen;
  for (const GenerationEntry& entry : generations) {
    if (entry.state == GenerationState::kBuilding) ++facts.generations_building;
    if (entry.state == GenerationState::kDeleting) ++facts.generations_deleting;
    if (entry.state != GenerationState::kSealed) continue;
    ++facts.generations_sealed;
    if (!referenced.contains(entry.id)) ++facts.generations_unreferenced;
    const auto info = InfoOf(entry.id);
    if (!info.ok()) {
      ++facts.generations_unreadable;
      continue;
    }
    const Waste waste = WasteOf(**info);
    facts.overlays += waste.overlays;
    facts.bytes_dead += waste.dead_bytes;
    if (waste.past_limit()) ++facts.generations_wasteful;
    for (const GenerationFile& file : (*info)->files) {
      struct stat status {};
      if (::stat((GenerationPath(entry.id) + "/" + file.name).c_str(), &status) != 0) continue;
      const bool first = seen.emplace(status.st_dev, status.st_ino).second;
      (first ? facts.bytes : facts.bytes_shared) += file.bytes;
    }
  }
  facts.staging_bytes = storage::DirectoryBytes(files(), options_.data_dir + "/staging");
  facts.trash_bytes = storage::DirectoryBytes(files(), options_.data_dir + "/trash");
  metrics_->Surveyed(facts);
  metrics_->Readers(Readers());
  return facts;
}

}  // namespace vellum::sync
