#include "base/bytes.h"
#include "sync/operations.h"

namespace vellum::sync {

SyncWriter::SyncWriter(Store* store, SyncEntry entry, std::unique_ptr<Store::Building> building,
                       std::shared_ptr<Staging> staging)
    : store_(store), entry_(std::move(entry)), building_(std::move(building)), staging_(std::move(staging)) {}

Result<std::unique_ptr<SyncWriter>> SyncWriter::Begin(Store* store, SyncRun run, std::string connector,
                                                      IfExists if_exists, std::size_t lanes) {
  VELLUM_TRY(CheckSyncId(run.id));
  VELLUM_TRY(store->AdmitWriter());
  VELLUM_ASSIGN_OR_RETURN(auto present, store->Find(run.id));
  if (present && if_exists == IfExists::kRefuse) {
    return FailedPrecondition("sync " + Printable(run.id) + " exists already");
  }
  if (present && !present->staging.empty()) {
    return FailedPrecondition("sync " + Printable(run.id) + " is being written: resume or delete it first");
  }
  SyncEntry entry = present ? *std::move(present) : SyncEntry{};
  entry.run = std::move(run);
  if (!connector.empty()) entry.connector = std::move(connector);
  const bool replaces = entry.mod_revision != 0;
  VELLUM_ASSIGN_OR_RETURN(auto building, store->Register());
  VELLUM_ASSIGN_OR_RETURN(auto created, Staging::Create({building->directory(), store->options().memory_bytes,
                                                         store->options().files, lanes}));
  std::shared_ptr<Staging> staging = std::move(created);
  if (!replaces) {
    const Stamp ended_at = std::exchange(entry.run.ended_at, 0);
    VELLUM_TRY(store->PutOpen(&entry, building.get(), /*writer_bound=*/true));
    entry.run.ended_at = ended_at;
    store->open_syncs().Add(entry.run.id, staging);
  }
  std::unique_ptr<SyncWriter> writer(
      new SyncWriter(store, std::move(entry), std::move(building), std::move(staging)));
  writer->replaces_ = replaces;
  writer->row_is_mine_ = !replaces;
  return writer;
}

Result<std::unique_ptr<SyncWriter>> SyncWriter::Resume(Store* store, std::string_view sync_id) {
  VELLUM_ASSIGN_OR_RETURN(SyncEntry entry, store->Get(sync_id));
  if (entry.staging.empty()) {
    return FailedPrecondition("sync " + Printable(sync_id) + " is not being written: there is nothing to resume");
  }
  VELLUM_ASSIGN_OR_RETURN(auto building, store->TakeOver(entry.staging));
  VELLUM_ASSIGN_OR_RETURN(auto resumed, Staging::Resume({building->directory(), store->options().memory_bytes,
                                                         store->options().files, 1}));
  std::shared_ptr<Staging> staging = std::move(resumed);
  store->open_syncs().Add(sync_id, staging);
  return std::unique_ptr<SyncWriter>(
      new SyncWriter(store, std::move(entry), std::move(building), std::move(staging)));
}

SyncWriter::~SyncWriter() {
  if (row_is_mine_) store_->ForgetOpen(entry_).IgnoreError("it goes with the writer's lease at the latest");
}

Status SyncWriter::PutInLane(std::size_t lane, const RecordView& record) {
  const std::size_t bytes = record.id.size() + record.type_id.size() + record.resource_id.size() +
                            record.entitlement_id.size() + record.principal_type_id.size() + record.principal_id.size() +
                            record.expansion.size() + record.data.size();
  if (bytes > store_->options().record_bytes_max) {
    return InvalidArgument("a record of " + std::to_string(bytes) + " bytes is above the limit of " +
                           std::to_string(store_->options().record_bytes_max) + " (max-sync-record-bytes)");
  }
  return staging_->PutInLane(lane, record);
}

Status SyncWriter::Checkpoint(std::string_view token) {
  if (replaces_) return FailedPrecondition("a sync that replaces another cannot be checkpointed: it has no row of its own");
  VELLUM_TRY(staging_->Checkpoint(token));
  VELLUM_TRY(building_->SyncName());
  entry_.run.token = std::string(token);
  VELLUM_TRY(store_->PutOpen(&entry_, building_.get(), /*writer_bound=*/false));
  building_->Keep();
  row_is_mine_ = false;
  return {};
}

Result<Sum128> SyncWriter::Build(const Work& work) {
  VELLUM_ASSIGN_OR_RETURN(derived_, staging_->Seal(building_->Limits(work)));
  GenerationInfo info;
  info.totals = derived_->totals;
  return info.Digest();
}

Result<std::shared_ptr<const Generation>> SyncWriter::Seal(Stamp ended_at, std::string operation, const Work& work) {
  if (!derived_) VELLUM_TRY(Build(work).error());
  entry_.run.ended_at = ended_at;
  // What the checkpoint says counts: a crash may have come between it and its row.
  if (!staging_->token().empty()) entry_.run.token = staging_->token();
  // Its files stay until it is published, so a failed attempt can be repeated.
  auto published = store_->Publish(building_.get(), *derived_, {}, {{entry_, std::move(operation)}});
  // Where nobody knows whether the switch happened the row is left alone; in all others it is the sealed sync's, or still ours.
  if (published.ok() || published.error().maybe_applied()) row_is_mine_ = false;
  return published;
}

}  // namespace vellum::sync
