#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "vellum/status.h"

namespace vellum::kv {

/// A store's directory: LOCK (held for the life of this object), FORMAT (one decimal number), kv/ (the database) and
/// RESERVE (see DiskGuard). Not thread-safe.
class DataDir {
 public:
  /// Makes the directory (and its parents) with mode 0700 unless it is there, and takes the lock. kFailedPrecondition if
  /// another process has it (the message names the directory and the process), if it is etcd's, if the format is newer
  /// than this program or if there is no store and `create_if_missing` is false; kDataLoss if FORMAT is no number.
  static Result<std::unique_ptr<DataDir>> Open(const std::string& path, bool create_if_missing);
  /// Lets go of the lock.
  ~DataDir();
  DataDir(const DataDir&) = delete;
  DataDir& operator=(const DataDir&) = delete;

  const std::string& path() const { return path_; }
  std::string database_path() const { return path_ + "/kv"; }
  std::string reserve_path() const { return path_ + "/RESERVE"; }

  /// True once FORMAT exists, which is written last: then the database must hold a store.
  bool initialized() const { return initialized_; }
  /// Writes FORMAT, durably.
  Status MarkInitialized();

 private:
  DataDir(std::string path, int lock_fd) : path_(std::move(path)), lock_fd_(lock_fd) {}
  Status ReadFormat();

  const std::string path_;
  const int lock_fd_;
  bool initialized_ = false;
};

}  // namespace vellum::kv
