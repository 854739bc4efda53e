#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>

#include "base/log.h"
#include "base/metrics.h"
#include "kv/command.h"
#include "kv/commit_log.h"
#include "kv/view.h"
#include "storage/database.h"
#include "vellum/clock.h"
#include "vellum/types.h"

namespace vellum::kv {

class WatchHub;
class Lessor;
class Reclaimer;

/// Everything that can be set about the metadata plane. Each default stands here and nowhere else.
struct EngineOptions {
  std::string data_dir;  ///< DATA: LOCK, FORMAT and kv/ are made in it, mode 0700.
  bool create_if_missing = true;
  bool read_only = false;
  bool unsafe_no_fsync = false;
  bool accept_wal_loss = false;  ///< The rescue: see storage::DatabaseOptions.
  std::string node_name = "default";

  std::size_t block_cache_bytes = 256u << 20;
  std::string rocksdb_options;
  std::shared_ptr<storage::FileSystem> file_system;

  std::size_t txn_ops_max = 128;
  std::size_t apply_batch_bytes_max = 64u << 20;   ///< Above it a delete range is applied in parts.
  std::size_t txn_bytes_max = 256u << 20;          ///< Above it a txn of several operations is refused.
  std::size_t group_commands_max = 4096;           ///< Commands per sync.
  std::size_t group_bytes_max = 16u << 20;         ///< Bytes of keys and values per sync; one command may be larger.
  std::size_t proposals_max = 65536;               ///< Waiting commands; beyond: kTooManyRequests.
  std::size_t proposals_bytes_max = 256u << 20;    ///< Bytes of keys and values that wait; beyond: the same.
  std::size_t event_ring_bytes = 64u << 20;
  std::size_t count_ring_bytes = 32u << 20;

  std::int64_t quota_backend_bytes = 0;            ///< <= 0: no quota; the floor below guards the disk instead.
  /// Below it NOSPACE is raised. On a disk of less than four times this, three fifths of the disk; 0: no floor.
  std::uint64_t free_space_floor_bytes = 256u << 20;

  std::chrono::seconds lease_ttl_min{2};
  std::chrono::milliseconds lease_tick{500};

  std::uint64_t reclaim_bytes_per_second = 64u << 20;
  std::chrono::milliseconds reclaim_delay{1000};   ///< From a logical compaction to the start of reclaiming.

  std::chrono::milliseconds watch_progress_interval{std::chrono::minutes(10)};  ///< For watches that asked for it.

  Clock* clock = SystemClock();
  LogSink* log_sink = nullptr;
  LogLevel log_level = LogLevel::kInfo;
  Metrics* metrics = nullptr;  ///< Null: the engine has its own.
};

/// The metadata plane: one store, with its applier, watch hub, lessor and reclaimer. Thread-safe.
///
/// Order of work for each group of commands: apply -> sync -> publish the view -> tell the lessor -> answer -> tell the
/// watch hub. Views must not outlive the engine.
class Engine {
 public:
  /// kFailedPrecondition: another process has the directory, or its format is newer. kDataLoss: damaged. Cost: leases and
  /// leaves of the count tree, whatever the number of keys; and what the write-ahead log has to say again.
  static Result<std::unique_ptr<Engine>> Open(EngineOptions options);
  /// Stops, and closes the database.
  ~Engine();
  Engine(const Engine&) = delete;
  Engine& operator=(const Engine&) = delete;

  /// Refuses new proposals, finishes those that wait, checkpoints leases, flushes. Reads go on until the engine is
  /// destroyed. Idempotent; the second call returns what the first did.
  Status Stop();

  /// Stateless checks run here, on the calling thread (`done` is then called before this returns); the rest on the
  /// applier. kUnavailable with kStopped once stopping, in a store opened read-only, or after the writer became terminal;
  /// kTooManyRequests when too much waits; kNoSpace for what needs room when there is none, once the alarm that says so
  /// can be seen.
  void Propose(Command command, ProposalDone done, CommitLog::Caller caller = CommitLog::Caller::kMustNotBlock);
  /// The same, waiting.
  Result<CommandResult> ProposeAndWait(Command command);

  /// The state of the last finished group. Never null. A mutex-guarded pointer copy.
  std::shared_ptr<const View> CurrentView() const;

  /// Validates (the library's texts), proposes expiry of up to 1,000 expired leases, compacts; with `physical` waits
  /// until the space has been reclaimed. `done` may run on any thread. A front end that speaks etcd's protocol passes
  /// kEtcd and maps the reasons kCompacted and kFutureRevision.
  void Compact(Revision revision, bool physical, std::function<void(Result<CompactResult>)> done,
               CompactRules rules = CompactRules::kLibrary);

  /// Returns what space garbage still takes, online: finishes a reclaim that is due, then rewrites `latest`. A call while
  /// one runs joins it. `done` runs on any thread.
  void Defragment(std::function<void(Status)> done);

  WatchHub& watch_hub();
  Lessor& lessor();
  Metrics& metrics();
  const EngineOptions& options() const;

  struct Info {
    std::uint64_t cluster_id = 0;
    std::uint64_t member_id = 0;
    std::uint64_t applied_index = 0;
    Revision revision = 0;
    Revision compacted = kNeverCompacted;
    std::int64_t keys = 0;
    storage::Database::Sizes sizes;
    std::vector<AlarmEntry> alarms;
    Status writer;  ///< Not OK: the writer is terminal, and why.
  };
  Info GetInfo() const;
  /// DiskGuard::ShownQuota.
  std::int64_t ShownQuota() const;

 private:
  struct Impl;
  explicit Engine(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace vellum::kv
