#include <sys/stat.h>

#include "service/local_sync_service.h"

namespace vellum::service {
namespace {

GenerationFacts FactsOf(const sync::Generation& generation) {
  const sync::GenerationInfo& info = generation.info();
  GenerationFacts facts;
  facts.id = info.id;
  facts.made_by = info.operation;
  facts.records = info.records();
  for (const sync::GenerationFile& file : info.files) {
    struct stat status {};
    const bool shared = ::stat(generation.FilePath(file).c_str(), &status) == 0 && status.st_nlink > 1;
    (shared ? facts.bytes_shared : facts.bytes_own) += file.bytes;
  }
  facts.bytes_dead = info.dead_bytes;
  facts.overlays = info.layers - 1;
  facts.digest = info.Digest().ToHex();
  facts.digest_unstamped = info.DigestUnstamped().ToHex();
  facts.totals = info.totals;
  return facts;
}

SyncDescription Describe(const sync::Store& store, sync::SyncEntry entry) {
  SyncDescription description;
  description.entry = std::move(entry);
  if (description.entry.history.empty()) return description;
  const auto generation = store.OpenGeneration(description.entry.generation());
  if (generation.ok()) {
    description.generation = FactsOf(**generation);
  } else {
    description.problem = generation.error().message();
  }
  return description;
}

}  // namespace

Result<std::vector<SyncDescription>> LocalSyncService::ListSyncs() {
  VELLUM_ASSIGN_OR_RETURN(auto entries, store_->List());
  std::vector<SyncDescription> syncs;
  syncs.reserve(entries.size());
  for (sync::SyncEntry& entry : entries) syncs.push_back(Describe(*store_, std::move(entry)));
  return syncs;
}

Result<SyncDescription> LocalSyncService::DescribeSync(const std::string& sync_id) {
  VELLUM_ASSIGN_OR_RETURN(auto entry, store_->Get(sync_id));
  SyncDescription description = Describe(*store_, std::move(entry));
  for (const sync::HistoryEntry& each : description.entry.history) {
    const auto generation = store_->OpenGeneration(each.generation);
    description.history_records.push_back(generation.ok() ? std::optional((*generation)->info().records()) : std::nullopt);
  }
  return description;
}

Result<SyncDescription> LocalSyncService::Rollback(const std::string& sync_id,
                                                   const std::optional<sync::GenerationId>& to) {
  VELLUM_TRY(store_->Rollback(sync_id, to).error());
  return DescribeSync(sync_id);
}

Status LocalSyncService::Delete(const std::string& sync_id) { return store_->Delete(sync_id); }

Result<sync::Store::Swept> LocalSyncService::Sweep() { return store_->Sweep(); }

}  // namespace vellum::service
