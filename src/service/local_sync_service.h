#pragma once

#include <memory>
#include <string>
#include <vector>

#include "service/sync_service.h"
#include "sync/store.h"

namespace vellum::service {

/// What is asked of the syncs of a store in this process. Thread-safe; holds nothing but the store, so that any number of calls
/// may run at once.
///
/// Each group of methods has a file of its own: local_catalog.cc (what there is), local_transfer.cc (in and out),
/// local_questions.cc (their records), local_deeds.cc (what changes syncs, or reads all of one), local_keep.cc (what keeps them
/// healthy).
class LocalSyncService final : public SyncService {
 public:
  /// `store` must outlive the service and every writer that it hands out.
  explicit LocalSyncService(sync::Store* store) : store_(store) {}
  sync::Store* store() const { return store_; }

  Result<std::vector<SyncDescription>> ListSyncs() override;
  Result<SyncDescription> DescribeSync(const std::string& sync_id) override;
  Result<SyncDescription> Rollback(const std::string& sync_id, const std::optional<sync::GenerationId>& to) override;
  Status Delete(const std::string& sync_id) override;
  Result<sync::Store::Swept> Sweep() override;

  Result<ListOutcome> ListRecords(const ListRequest& request, const RecordVisitor& visit) override;
  Result<ListOutcome> ListPrincipals(const ListRequest& request, const RecordVisitor& visit) override;
  Status FindRecords(const FindRequest& request, const RecordVisitor& visit) override;
  Result<sync::AccessSummary> Access(const AccessRequest& request, const AccessVisitor& visit) override;
  Result<sync::DiffSummary> Diff(const DiffRequest& request, const DiffVisitor& visit, const sync::Work& work) override;

  Result<std::vector<c1z::ImportedSync>> Import(const std::string& path, const c1z::ImportOptions& options,
                                                const sync::Work& work) override;
  Result<c1z::ExportReport> Export(const std::vector<std::string>& sync_ids, const std::string& path,
                                   const c1z::WriteOptions& options, const sync::Work& work) override;
  Result<std::unique_ptr<RecordWriter>> Write(const WriteRequest& request) override;

  Result<MergeReport> Merge(const MergeRequest& request, const sync::Work& work) override;
  Result<CompactReport> Compact(const CompactRequest& request, const sync::Work& work) override;
  /// Compact from a store that is open already; `from` of the request is for messages alone.
  Result<CompactReport> CompactFrom(sync::Store* source, const CompactRequest& request, const sync::Work& work);
  Result<sync::VerifyReport> Verify(const std::string& sync_id, const sync::Work& work) override;

  Result<RepairReport> Repair(const std::string& sync_id, const sync::Work& work) override;
  Result<RetainReport> Retain(const RetainRequest& request, const sync::Work& work) override;
  Result<RollupReport> Rollup(const RollupRequest& request, const sync::Work& work) override;

 private:
  sync::Store* const store_;
};

}  // namespace vellum::service
