#include "storage/engine_status.h"

#include <string>
#include <utility>

namespace vellum::storage {
namespace {

bool IsLockConflict(const rocksdb::Status& status, const std::string& text) {
  // RocksDB has no code of its own for this: an IOError that starts with one of these two texts, depending on whether
  // this process or another one holds the lock.
  return status.IsIOError() &&
         (text.find("While lock file") != std::string::npos || text.find("lock hold by current process") != std::string::npos);
}

}  // namespace

Status FromEngine(const rocksdb::Status& status) {
  if (status.ok()) return {};
  std::string text = status.ToString();
  if (status.IsNoSpace() || status.subcode() == rocksdb::Status::SubCode::kSpaceLimit) {
    return ResourceExhausted(std::move(text), Reason::kNoSpace);
  }
  if (status.IsMemoryLimit()) return ResourceExhausted(std::move(text));
  switch (status.code()) {
    case rocksdb::Status::Code::kNotFound: return NotFound(std::move(text));
    case rocksdb::Status::Code::kCorruption: return DataLoss(std::move(text), Reason::kCorrupt);
    case rocksdb::Status::Code::kNotSupported: return Unimplemented(std::move(text));
    case rocksdb::Status::Code::kInvalidArgument: return InvalidArgument(std::move(text));
    case rocksdb::Status::Code::kIOError:
      if (IsLockConflict(status, text)) return FailedPrecondition(std::move(text));
      return Status(Code::kInternal, std::move(text));
    case rocksdb::Status::Code::kIncomplete:
      if (status.IsManualCompactionPaused()) return Cancelled(std::move(text));
      return Unavailable(std::move(text));
    case rocksdb::Status::Code::kShutdownInProgress: return Unavailable(std::move(text), Reason::kStopped);
    case rocksdb::Status::Code::kTimedOut: return DeadlineExceeded(std::move(text));
    case rocksdb::Status::Code::kBusy:
    case rocksdb::Status::Code::kTryAgain:
    case rocksdb::Status::Code::kAborted: return Aborted(std::move(text));
    case rocksdb::Status::Code::kCompactionTooLarge:
      return ResourceExhausted(std::move(text));
    case rocksdb::Status::Code::kOk:
    case rocksdb::Status::Code::kMergeInProgress:
    case rocksdb::Status::Code::kExpired:
    case rocksdb::Status::Code::kColumnFamilyDropped:
    case rocksdb::Status::Code::kMaxCode: break;
  }
  return Internal(std::move(text));
}

}  // namespace vellum::storage
