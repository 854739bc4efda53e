#pragma once

#include <functional>
#include <string>
#include <string_view>

#include "service/sync_service.h"
#include "vellum/sync/v1/service.pb.h"

/// What travels between those who ask of syncs and the server, both ways: messages of vellum.sync.v1 and the structs of
/// service::SyncService. Shared by server and client. What comes in is hostile: whatever cannot be is kInvalidArgument.
namespace vellum::rpc {

namespace v1 = ::vellum::sync::v1;

void FillRecord(const sync::RecordView& record, v1::Record* message);
/// Views into `message`. kInvalidArgument for an unknown type; identities are checked by whoever stores the record.
Result<sync::RecordView> ViewRecord(const v1::Record& message);

void FillRun(const sync::SyncRun& run, v1::SyncRun* message);
sync::SyncRun TakeRun(const v1::SyncRun& message);

void FillDescription(const service::SyncDescription& sync, v1::SyncDescription* message);
/// kInternal for a bucket that is not known here: the server is newer.
Result<service::SyncDescription> TakeDescription(const v1::SyncDescription& message);

void FillFileOptions(const c1z::ImportOptions& options, v1::FileOptions* message);
Result<c1z::ImportOptions> TakeFileOptions(const v1::FileOptions& message);

void FillImported(const c1z::ImportedSync& imported, v1::ImportedSync* message);
c1z::ImportedSync TakeImported(const v1::ImportedSync& message);

void FillMerge(const service::MergeRequest& request, v1::MergeRequest* message);
Result<service::MergeRequest> TakeMerge(const v1::MergeRequest& message);
void FillMergeReport(const service::MergeReport& report, v1::MergeResponse::Report* message);
service::MergeReport TakeMergeReport(const v1::MergeResponse::Report& message);

void FillVerifyReport(const sync::VerifyReport& report, v1::VerifyResponse::Report* message);
sync::VerifyReport TakeVerifyReport(const v1::VerifyResponse::Report& message);

/// Gathers records into messages that stay below the limits of servers. Not thread-safe.
class RecordBatcher {
 public:
  /// `send_batch` may take the batch's contents away; `send_part` precedes the batch whose first record it belongs to.
  RecordBatcher(std::function<Status(v1::RecordBatch*)> send_batch, std::function<Status(std::string_view)> send_part)
      : send_batch_(std::move(send_batch)), send_part_(std::move(send_part)) {}
  Status Add(const sync::RecordView& record);
  /// Sends what waits.
  Status Flush();

 private:
  static constexpr std::size_t kBatchBytes = 256u << 10;
  static constexpr std::size_t kPartBytes = 512u << 10;
  static constexpr int kBatchRecords = 4096;

  const std::function<Status(v1::RecordBatch*)> send_batch_;
  const std::function<Status(std::string_view)> send_part_;
  v1::RecordBatch batch_;
  std::size_t bytes_ = 0;
};

/// The other side: puts batches and parts together again. Not thread-safe.
class RecordTaker {
 public:
  /// Parts that together are above `record_bytes_max` are refused; whole records are for the sink to check.
  explicit RecordTaker(std::size_t record_bytes_max) : record_bytes_max_(record_bytes_max) {}
  Status TakePart(std::string_view part);
  Status TakeBatch(const v1::RecordBatch& batch, sync::RecordSink* sink);
  /// kInvalidArgument if parts wait for a record that did not come: `before` is what came instead.
  Status CheckNothingWaits(std::string_view before) const;
  std::uint64_t records() const { return records_; }

 private:
  const std::size_t record_bytes_max_;
  std::string parts_;
  std::uint64_t records_ = 0;
};

}  // namespace vellum::rpc
