#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <vector>

#include "base/log.h"
#include "base/metrics.h"
#include "kv/command.h"
#include "kv/lease_table.h"
#include "kv/schema.h"
#include "vellum/clock.h"

namespace vellum::kv {

/// Expiry of leases. Attachments are in the storage; who expires when is here, in memory: a heap over the remaining
/// time whose entries are re-inserted lazily when popped, so that a renewal touches no heap and writes nothing.
///
/// Never early, possibly late. Thread-safe. Proposes expiries and checkpoints itself, on its own thread.
class Lessor {
 public:
  struct Options {
    Clock* clock = SystemClock();
    std::chrono::milliseconds tick{500};
    std::int64_t ttl_min_s = 2;
    std::size_t expire_group_max = 500;          ///< Leases per expiry command.
    std::size_t expire_groups_in_flight_max = 4;  ///< Expiry commands at once, so that writes get their turn.
    std::size_t checkpoints_per_second_max = 1000;
    std::chrono::seconds checkpoint_ttl_min{300};  ///< Shorter leases are checkpointed only by a clean stop.
    std::chrono::seconds checkpoint_interval{300};
    Logger logger;
    Metrics* metrics = nullptr;  ///< Must outlive the lessor.
  };
  using Propose = ProposeFunction;

  /// `propose` is used until Stop has returned.
  Lessor(Options options, Propose propose);
  /// Stops.
  ~Lessor();
  void Start();
  /// Proposes nothing any more; keep-alives that wait, and those to come, get kUnavailable (kStopped). Idempotent.
  void Stop();

  /// At opening: one call per stored lease.
  void Restore(LeaseId id, const LeaseRecord& record);
  /// From the applier, after the group that granted or removed it has been published, but before the commands of the
  /// group are answered: a client that has its lease may renew it at once. A lease that ended by expiry is reported too.
  void OnGranted(LeaseId id, std::int64_t ttl_s, std::uint64_t incarnation);
  void OnRevoked(LeaseId id, std::uint64_t incarnation);

  /// The TTL that a request for `ttl_s` gets: raised to the minimum. kInvalidArgument (kLeaseTtlTooLarge) above
  /// kLeaseTtlMax.
  Result<std::int64_t> EffectiveTtl(std::int64_t ttl_s) const;
  /// A positive id that no lease has now, different each time.
  LeaseId PickId();

  /// Renews. `done` gets the full TTL, or 0 if there is no such lease (any more); it waits while the lease's expiry is
  /// being decided or while a needed reset is being logged, else it runs before this returns. Fails if the expiry or the
  /// reset could not be logged. O(1) expected.
  void KeepAlive(LeaseId id, std::function<void(Result<std::int64_t> ttl_s)> done);

  using Remaining = LeaseTable::Remaining;
  /// nullopt: no such lease.
  std::optional<Remaining> TimeToLive(LeaseId id) const;
  /// Ids, the one that expires first first. O(n log n), the sorting without the lock.
  std::vector<LeaseId> List() const;
  std::size_t size() const;

  /// Leases whose time is over, not yet proposed: at most `limit`. Marks them as being decided. For Compact.
  std::vector<LeaseExpireCommand::Entry> TakeExpired(std::size_t limit);
  /// The outcome of an expiry that TakeExpired's caller proposed; on failure they are due again.
  void ExpiryDecided(const std::vector<LeaseExpireCommand::Entry>& entries, const Status& outcome);

  /// The remainders of all leases, for a clean stop; those whose stored remainder is right already are left out. Call
  /// after Stop.
  std::vector<LeaseCheckpointCommand::Entry> Checkpoints() const;

  /// Runs what is due by the clock, now; the thread does it every tick. For tests with a manual clock.
  void Tick();

 private:
  struct Impl;
  std::shared_ptr<Impl> impl_;  // shared with the callbacks of proposals, which may come after this object has gone
};

}  // namespace vellum::kv
