#pragma once

#include <rocksdb/db.h>
#include <rocksdb/env.h>
#include <rocksdb/rate_limiter.h>
#include <rocksdb/write_batch.h>
#include <rocksdb/write_buffer_manager.h>

#include <atomic>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "base/mutex.h"
#include "storage/database.h"
#include "storage/engine_file_system.h"

// What only the sources of this room see: the pieces of RocksDB behind the handles of database.h.
namespace vellum::storage {

/// Passes RocksDB's own log lines of level warn and above on to ours.
std::shared_ptr<rocksdb::Logger> MakeEngineLogger(Logger logger);

/// Everything that RocksDB is given and that has to outlive it.
struct EngineParts {
  std::shared_ptr<LogHealth> log_health;
  std::shared_ptr<rocksdb::FileSystem> files;
  std::unique_ptr<rocksdb::Env> env;
  std::shared_ptr<rocksdb::Cache> cache;
  std::shared_ptr<rocksdb::WriteBufferManager> memtables;
  std::shared_ptr<rocksdb::RateLimiter> limiter;
  std::shared_ptr<rocksdb::Statistics> statistics;
};

/// RocksDB's options for one database.
struct EngineOptions {
  rocksdb::DBOptions db;
  std::vector<rocksdb::ColumnFamilyDescriptor> families;
};

/// Fills `parts` and the options from ours. kInvalidArgument: DatabaseOptions::rocksdb_options is malformed or
/// touches what durability rests on.
Result<EngineOptions> MakeEngineOptions(const DatabaseOptions& options, EngineParts* parts);

/// RocksDB's number for DatabaseOptions::background_bytes_per_second.
std::int64_t LimiterBytesPerSecond(std::uint64_t bytes_per_second);

/// An open RocksDB. Database, snapshots, iterators and pinned values share it, and the last one closes it.
class Core {
 public:
  /// Opens RocksDB with what MakeEngineOptions made.
  static Result<std::shared_ptr<Core>> Open(const DatabaseOptions& options);
  Core(Logger logger, std::string path, bool sync_wal);
  ~Core();
  Core(const Core&) = delete;
  Core& operator=(const Core&) = delete;

  rocksdb::DB* db() const { return db_.get(); }
  rocksdb::ColumnFamilyHandle* family(Family family) const { return families_[family]; }
  std::size_t family_count() const { return families_.size(); }
  const EngineParts& parts() const { return parts_; }
  const Logger& logger() const { return logger_; }
  const std::string& path() const { return path_; }
  bool sync_wal() const { return sync_wal_; }

  /// What a read came to, as ours. Damage is logged with RocksDB's text, which names the file: the reader's client learns
  /// only that there is damage. The same damage is logged once in a row.
  Status ReadOutcome(const rocksdb::Status& status) const;

  /// No flush or compaction begins after this, and those that run stop soon. Reads go on; writes fail.
  void StopBackgroundWork();
  /// The same, and waits: afterwards no callback of the options is called any more.
  void FinishBackgroundWork();

 private:
  // Constant after Open.
  const Logger logger_;
  const std::string path_;
  const bool sync_wal_;
  EngineParts parts_;
  std::unique_ptr<rocksdb::DB> db_;
  std::vector<rocksdb::ColumnFamilyHandle*> families_;  // owned by db_, destroyed before it

  mutable Mutex damage_mu_;
  mutable std::string last_damage_ VELLUM_GUARDED_BY(damage_mu_);
};

class SnapshotHandle final : public Snapshot {
 public:
  explicit SnapshotHandle(std::shared_ptr<Core> core) : core_(std::move(core)), snapshot_(core_->db()->GetSnapshot()) {}
  ~SnapshotHandle() override { core_->db()->ReleaseSnapshot(snapshot_); }
  SnapshotHandle(const SnapshotHandle&) = delete;
  SnapshotHandle& operator=(const SnapshotHandle&) = delete;
  const rocksdb::Snapshot* get() const { return snapshot_; }

 private:
  const std::shared_ptr<Core> core_;
  const rocksdb::Snapshot* const snapshot_;
};

struct PinnedValue::Impl {
  std::shared_ptr<Core> core;  // before `slice`, which gives its block back to the core's cache
  rocksdb::PinnableSlice slice;
};

struct Batch::Impl {
  rocksdb::WriteBatch batch;
  rocksdb::Status status;  // the first Put or Delete that RocksDB refused
};

struct Iterator::Impl {
  std::shared_ptr<Core> core;
  rocksdb::Slice lower;
  rocksdb::Slice upper;
  std::unique_ptr<rocksdb::Iterator> iterator;
};

/// RocksDB's numbers as metrics, computed at each scrape; they stop when the handles go.
std::vector<Metrics::CallbackHandle> ExposeEngine(Metrics* metrics, const std::shared_ptr<Core>& core);

struct Database::Impl {
  std::shared_ptr<Core> core;

  // The first failure of a write or a sync. After it nothing is written, not even memtables to table files: what is in
  // the log is unknown, so a family that is flushed would be ahead of the others after a restart.
  std::atomic<bool> failed{false};
  mutable Mutex mu;
  Status failure VELLUM_GUARDED_BY(mu);

  std::atomic<bool> dirty{false};  // something was written since the last Sync
  std::atomic<bool> mark_due{false};  // the next batch is the first one after a sync: see kSyncedMark
  std::atomic<std::uint64_t> wal_bytes_written{0};

  // Null without metrics.
  Histogram* sync_seconds = nullptr;
  Histogram* write_seconds = nullptr;
  std::vector<Metrics::CallbackHandle> callbacks;

  Status Failure() const {
    MutexLock lock(&mu);
    return failure;
  }
  Status Fail(Status status);
  /// What goes behind the next batch, as a blob. Only the writer.
  std::string_view NextMark(const std::string& batch);
};

}  // namespace vellum::storage
