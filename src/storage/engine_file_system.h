#pragma once

#include <rocksdb/env.h>
#include <rocksdb/file_system.h>
#include <rocksdb/system_clock.h>

#include <atomic>
#include <memory>
#include <utility>

#include "base/mutex.h"
#include "storage/file_system.h"

namespace vellum::storage {

/// What every FileSystem of this room is underneath.
class EngineFileSystem final : public FileSystem {
 public:
  /// `clock` null: the machine's. The tests' one makes RocksDB's pauses after an error short.
  explicit EngineFileSystem(std::shared_ptr<rocksdb::FileSystem> target,
                            std::shared_ptr<rocksdb::SystemClock> clock = nullptr)
      : target_(std::move(target)), clock_(std::move(clock)) {}
  const std::shared_ptr<rocksdb::FileSystem>& target() const { return target_; }
  const std::shared_ptr<rocksdb::SystemClock>& clock() const { return clock_; }

 private:
  const std::shared_ptr<rocksdb::FileSystem> target_;
  const std::shared_ptr<rocksdb::SystemClock> clock_;
};

/// RocksDB's view of `file_system`; null: the machine's.
std::shared_ptr<rocksdb::FileSystem> EngineView(const std::shared_ptr<FileSystem>& file_system);

/// The surroundings of one database: its files, the clock of `file_system`, and the process's threads.
std::unique_ptr<rocksdb::Env> MakeEnv(const std::shared_ptr<FileSystem>& file_system,
                                      const std::shared_ptr<rocksdb::FileSystem>& files);

/// Whether the write-ahead log still says what was written to it, and how much of it is space for more. Shared with the files;
/// thread-safe.
class LogHealth {
 public:
  bool broken() const { return broken_.load(std::memory_order_acquire); }
  /// The first failure; OK while there is none.
  rocksdb::IOStatus failure() const;
  void Fail(const rocksdb::IOStatus& status);

  /// By how much the logs' files are larger than what was written to them.
  std::uint64_t bytes_ahead() const { return bytes_ahead_.load(std::memory_order_relaxed); }
  void AddAhead(std::uint64_t bytes) { bytes_ahead_.fetch_add(bytes, std::memory_order_relaxed); }
  void DropAhead(std::uint64_t bytes) { bytes_ahead_.fetch_sub(bytes, std::memory_order_relaxed); }

 private:
  std::atomic<std::uint64_t> bytes_ahead_{0};
  std::atomic<bool> broken_{false};
  mutable Mutex mu_;
  rocksdb::IOStatus failure_ VELLUM_GUARDED_BY(mu_);
};

/// Stands between RocksDB and the disk, for what RocksDB does not take care of when a log fails.
///
/// Order: before the first bytes go to a log, the log before it is synced. RocksDB starts a new log when a memtable is
/// full, in the midst of a group that nobody has synced yet. Otherwise power loss could keep the new log's bytes and
/// lose the end of the old one, and recovery, which allows every log a torn tail, would replay writes after a hole.
/// In the long run it costs nothing: the group's own Sync would have had to sync the old log too.
///
/// Failure: after the first failed append to a log, or the first failed sync of one, nothing is written to any file.
/// RocksDB would append the log's buffer a second time when it closes it, and could flush one family's memtable, whose
/// batches are not in the log, and not the next one's. A failed sync is told to `health` only: RocksDB syncs a log from
/// several threads, and its build with assertions aborts when it syncs one again that has failed.
std::shared_ptr<rocksdb::FileSystem> GuardLogs(std::shared_ptr<rocksdb::FileSystem> target,
                                               std::shared_ptr<LogHealth> health);

}  // namespace vellum::storage
