#pragma once

#include <rocksdb/env.h>
#include <rocksdb/file_system.h>
#include <rocksdb/system_clock.h>

#include <memory>
#include <utility>

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

/// Keeps write-ahead logs in order on the disk: before the first bytes go to a log, the log before it is synced.
///
/// RocksDB starts a new log when a memtable is full, in the midst of a group that nobody has synced yet. Without this,
/// power loss could keep the new log's bytes and lose the end of the old one, and recovery, which allows every log a
/// torn tail, would replay writes after a hole. It costs nothing in the long run: the group's own Sync would have had
/// to sync the old log too.
std::shared_ptr<rocksdb::FileSystem> OrderLogs(std::shared_ptr<rocksdb::FileSystem> target);

}  // namespace vellum::storage
