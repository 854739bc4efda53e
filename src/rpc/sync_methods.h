#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include "base/metrics.h"
#include "rpc/sync_call.h"
#include "rpc/sync_messages.h"
#include "service/local_sync_service.h"

/// The methods of vellum.sync.v1.Syncs, each as what a call's thread runs from beginning to end. Files by group:
/// sync_reads.cc, sync_questions.cc, sync_writes.cc, sync_files.cc, sync_deeds.cc, sync_keep.cc.
namespace vellum::rpc {

/// What the methods share, beside the store.
struct SyncEnvironment {
  SyncLimits limits;
  Counter& records_received;
  Gauge& spool_bytes;
  std::atomic<std::uint64_t> spooled{0};  ///< Bytes of files that are coming in or going out.
};

struct SyncMethodContext {
  SyncCall* call = nullptr;
  service::LocalSyncService* service = nullptr;
  SyncEnvironment* environment = nullptr;
};

Status ServeListSyncs(const SyncMethodContext& context);
Status ServeDescribeSync(const SyncMethodContext& context);

Status ServeListRecords(const SyncMethodContext& context);
Status ServeListPrincipals(const SyncMethodContext& context);
Status ServeFindRecords(const SyncMethodContext& context);
Status ServeAccess(const SyncMethodContext& context);
Status ServeDiff(const SyncMethodContext& context);

Status ServeWrite(const SyncMethodContext& context);

Status ServeImport(const SyncMethodContext& context);
Status ServeExport(const SyncMethodContext& context);
Status ServeCompact(const SyncMethodContext& context);

Status ServeMerge(const SyncMethodContext& context);
Status ServeRollback(const SyncMethodContext& context);
Status ServeDelete(const SyncMethodContext& context);
Status ServeSweep(const SyncMethodContext& context);
Status ServeVerify(const SyncMethodContext& context);

Status ServeRepair(const SyncMethodContext& context);
Status ServeRetain(const SyncMethodContext& context);
Status ServeRollup(const SyncMethodContext& context);

/// A file of a client's on its way in: chunks go to a scratch file that has the name it has at the client's.
class Spool {
 public:
  /// kInvalidArgument if `name` does not end in something that can be a file's name.
  static Result<std::unique_ptr<Spool>> Open(const SyncMethodContext& context, std::string name);
  ~Spool();
  Spool(const Spool&) = delete;
  Spool& operator=(const Spool&) = delete;

  /// kResourceExhausted above the limit of all spools, or when the disk is full.
  Status Append(std::string_view chunk);
  /// All is there.
  Status Close();
  const std::string& path() const { return path_; }
  /// A text or a failure with the client's own name for the file in place of the scratch file's.
  std::string Translate(std::string text) const;
  Status Translate(const Status& status) const;

 private:
  Spool(SyncEnvironment* environment, std::unique_ptr<sync::Store::Scratch> scratch, std::string name, std::string path);

  SyncEnvironment* const environment_;
  const std::unique_ptr<sync::Store::Scratch> scratch_;
  const std::string name_;
  const std::string path_;
  int fd_ = -1;
  std::uint64_t bytes_ = 0;
};

}  // namespace vellum::rpc
