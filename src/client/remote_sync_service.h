#pragma once

#include <chrono>
#include <memory>
#include <string>
#include <vector>

#include "service/sync_service.h"

namespace vellum::client {

struct RemoteSyncOptions {
  std::string endpoint;  ///< As ClientOptions::endpoints; one.
  std::chrono::milliseconds dial_timeout{5000};
};

/// The syncs of a running server, over vellum.sync.v1. Thread-safe; calls block for as long as the work takes, and end soon after
/// their Work is cancelled. Paths are this process's: files are sent and received.
///
/// Failures have the server's code and text. A change whose outcome is not known, because the connection ended first, is marked
/// maybe_applied and never repeated.
class RemoteSyncService final : public service::SyncService {
 public:
  /// kUnavailable, naming the endpoint, if nobody answers within the dial timeout.
  static Result<std::unique_ptr<RemoteSyncService>> Connect(RemoteSyncOptions options);
  ~RemoteSyncService() override;

  Result<std::vector<service::SyncDescription>> ListSyncs() override;
  Result<service::SyncDescription> DescribeSync(const std::string& sync_id) override;
  Result<service::SyncDescription> Rollback(const std::string& sync_id,
                                            const std::optional<sync::GenerationId>& to) override;
  Status Delete(const std::string& sync_id) override;
  Result<sync::Store::Swept> Sweep() override;

  Result<service::ListOutcome> ListRecords(const service::ListRequest& request,
                                           const service::RecordVisitor& visit) override;
  Result<service::ListOutcome> ListPrincipals(const service::ListRequest& request,
                                              const service::RecordVisitor& visit) override;
  Status FindRecords(const service::FindRequest& request, const service::RecordVisitor& visit) override;
  Result<sync::AccessSummary> Access(const service::AccessRequest& request,
                                     const service::AccessVisitor& visit) override;
  Result<sync::DiffSummary> Diff(const service::DiffRequest& request, const service::DiffVisitor& visit,
                                 const sync::Work& work) override;

  Result<std::vector<c1z::ImportedSync>> Import(const std::string& path, const c1z::ImportOptions& options,
                                                const sync::Work& work) override;
  Result<c1z::ExportReport> Export(const std::vector<std::string>& sync_ids, const std::string& path,
                                   const c1z::WriteOptions& options, const sync::Work& work) override;
  Result<std::unique_ptr<service::RecordWriter>> Write(const service::WriteRequest& request) override;

  Result<service::MergeReport> Merge(const service::MergeRequest& request, const sync::Work& work) override;
  Result<service::CompactReport> Compact(const service::CompactRequest& request, const sync::Work& work) override;
  Result<sync::VerifyReport> Verify(const std::string& sync_id, const sync::Work& work) override;

  Result<service::RepairReport> Repair(const std::string& sync_id, const sync::Work& work) override;
  Result<service::RetainReport> Retain(const service::RetainRequest& request, const sync::Work& work) override;
  Result<service::RollupReport> Rollup(const service::RollupRequest& request, const sync::Work& work) override;

 private:
  struct Impl;
  explicit RemoteSyncService(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace vellum::client
