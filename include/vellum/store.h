#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "vellum/clock.h"
#include "vellum/log.h"
#include "vellum/status.h"
#include "vellum/types.h"

namespace vellum {

/// How a store is opened. None may change while it is open.
struct StoreOptions {
  std::string directory;          ///< Made with mode 0700 if missing. One process at a time.
  bool create_if_missing = true;
  bool read_only = false;         ///< Refuses everything that changes; needs a store that is there.
  bool sync_writes = true;        ///< False: what was acknowledged may be lost with the power.
  std::size_t block_cache_bytes = 256u << 20;
  std::size_t txn_ops_max = 128;  ///< Per list of a transaction; nested ones share what is left. At least 1.

  std::int64_t quota_bytes = 0;   ///< On disk; beyond it puts and grants are refused until an operator acts. <= 0: none.
  /// The same for free disk space. On a disk of less than four times this, three fifths of the disk. 0: no floor.
  std::uint64_t free_space_floor_bytes = 256u << 20;

  std::chrono::seconds lease_ttl_min{2};  ///< Shorter leases are raised to it. At least 1 s.

  Revision revisions_kept = 100'000;      ///< What automatic compaction leaves; 0: no automatic compaction.
  std::chrono::nanoseconds compaction_interval = std::chrono::hours(1);  ///< How often it looks.

  /// RocksDB's own options ("max_open_files=1000;..."), for tuning. Those that durability rests on are refused.
  std::string rocksdb_options;

  Clock* clock = SystemClock();   ///< Must outlive the store.
  LogSink* log_sink = nullptr;    ///< Must outlive the store. Null: silence.
  LogLevel log_level = LogLevel::kInfo;
};

/// What a watch should deliver.
struct WatchRequest {
  std::string key{};        ///< As in RangeRequest; must not be empty.
  std::string range_end{};
  Revision start = 0;       ///< First revision wanted; 0: what comes from now on. Later than now is allowed.
  bool no_put = false;
  bool no_delete = false;
  bool prev_kv = false;     ///< With the state before each change.
};

/// Whole revisions, in order; all events of a revision come together.
struct WatchEvents {
  Revision revision = 0;    ///< Everything up to here has been delivered.
  std::vector<Event> events{};
};

/// What a watch sees, without gap or repetition. May outlive the store. Safe from several threads, each event then goes
/// to one of them.
class WatchStream {
 public:
  virtual ~WatchStream() = default;
  /// Waits for events at most so long; nullopt if none came. A stream that is not read holds a few megabytes at most and
  /// then goes on from history. kOutOfRange (kCompacted) if what comes next was compacted: begin anew above it.
  /// kUnavailable (kStopped) after Store::Close, kCancelled after Cancel; what was delivered before is returned first.
  virtual Result<std::optional<WatchEvents>> Next(std::chrono::milliseconds wait) = 0;
  /// Ends the watch, and whoever waits in Next.
  virtual void Cancel() = 0;
};

struct CompactOptions {
  bool physical = false;  ///< Wait until the space has been returned.
  /// kDeadlineExceeded when it passes first; the compaction goes on all the same.
  std::optional<std::chrono::nanoseconds> timeout{};
};

/// etcd's hash over everything that is stored up to a revision: equal on any store with the same history.
struct StoreHash {
  std::uint32_t hash = 0;
  Revision revision = 0;
  Revision compacted = kNeverCompacted;
};

struct StoreInfo {
  Revision revision = 0;
  Revision compacted = kNeverCompacted;
  std::int64_t keys = 0;
  std::uint64_t disk_bytes = 0;      ///< Tables and write-ahead log.
  std::uint64_t in_use_bytes = 0;    ///< Estimate of what of it is no garbage.
  bool space_alarm = false;          ///< Puts and grants are refused until ClearSpaceAlarm.
  Status writer{};                   ///< Not OK: a write failed, nothing is written any more; reopen.
};

/// A store of its own in this process, without any server: keys and values with their history, transactions, leases,
/// watches, compaction. Thread-safe. Every call that changes something returns once that is durable; calls from several
/// threads share syncs.
///
/// A failed write tells by Status::maybe_applied whether it may have taken effect.
class Store {
 public:
  /// kFailedPrecondition: in use by another process, or of a newer format. kDataLoss: damaged, the message names the file.
  static Result<std::unique_ptr<Store>> Open(StoreOptions options);
  /// Closes.
  virtual ~Store() = default;
  /// Finishes what has begun, ends watches, flushes. Later calls return kUnavailable (kStopped). Idempotent.
  virtual Status Close() = 0;

  virtual Result<PutResponse> Put(PutRequest request) = 0;
  /// The key now; nullopt: there is none.
  virtual Result<std::optional<KeyValue>> Get(std::string_view key) = 0;
  /// kOutOfRange (kCompacted, kFutureRevision) for revisions that cannot be read.
  virtual Result<RangeResponse> Range(const RangeRequest& request) = 0;
  virtual Result<DeleteRangeResponse> DeleteRange(DeleteRangeRequest request) = 0;
  /// One that only reads is not logged.
  virtual Result<TxnResponse> Txn(TxnRequest request) = 0;

  /// Gives up everything before `revision`, which itself stays readable. The space comes back in the background.
  /// kInvalidArgument below 1; kOutOfRange at or below the compacted revision, and above the current one.
  virtual Status Compact(Revision revision, const CompactOptions& options) = 0;
  Status Compact(Revision revision) { return Compact(revision, {}); }
  /// Returns the space that garbage still takes. Online; waits.
  virtual Status Defragment() = 0;

  /// `id` 0: the store picks one. kAlreadyExists, kInvalidArgument for more than 9,000,000,000 seconds.
  virtual Result<LeaseGrantResponse> LeaseGrant(std::int64_t ttl_s, LeaseId id) = 0;
  Result<LeaseGrantResponse> LeaseGrant(std::int64_t ttl_s) { return LeaseGrant(ttl_s, 0); }
  /// Deletes its keys too, in one revision. kNotFound. Returns the store's revision.
  virtual Result<Revision> LeaseRevoke(LeaseId id) = 0;
  /// The full time to live from now on; 0: there is no such lease (any more).
  virtual Result<std::int64_t> LeaseKeepAlive(LeaseId id) = 0;
  enum class LeaseKeys : std::uint8_t { kOmit, kInclude };
  virtual Result<LeaseTimeToLiveResponse> LeaseTimeToLive(LeaseId id, LeaseKeys keys) = 0;
  /// The one that expires first is first.
  virtual Result<std::vector<LeaseId>> LeaseList() = 0;

  virtual Result<std::unique_ptr<WatchStream>> Watch(const WatchRequest& request) = 0;

  /// <= 0: of the current revision. Long: reads everything.
  virtual Result<StoreHash> Hash(Revision revision) = 0;
  virtual StoreInfo Info() = 0;
  /// Lets writes through again after room was made; they are refused again at once if there is none.
  virtual Status ClearSpaceAlarm() = 0;
  /// Everything it measures, in Prometheus' text format.
  virtual std::string Metrics() = 0;
};

}  // namespace vellum
