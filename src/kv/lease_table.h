#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <unordered_map>
#include <vector>

#include "kv/command.h"
#include "kv/schema.h"
#include "vellum/clock.h"

namespace vellum::kv {

/// The longest TTL that a lease can have, in seconds.
inline constexpr std::int64_t kLeaseTtlMax = 9'000'000'000;

/// Which leases there are and when they end: the lessor's state without its thread, lock and clock. Not thread-safe.
///
/// A live lease has exactly one entry in the heap, at or before its deadline. A renewal moves the deadline only; the
/// entry is put back when it comes up too early. A lease whose expiry is being decided has no entry.
class LeaseTable {
 public:
  using Time = Clock::TimePoint;
  /// Answers a keep-alive: the full TTL, 0 (the lease is gone), or why it is not known.
  using Waiter = std::function<void(Result<std::int64_t>)>;
  using Waiters = std::vector<Waiter>;

  struct Options {
    std::chrono::seconds checkpoint_ttl_min{300};
    std::chrono::seconds checkpoint_interval{300};
  };
  explicit LeaseTable(Options options) : options_(options) {}

  /// Adds a lease that ends after `remaining_ttl_s` (0: after all of `ttl_s`), which is also what is stored of it.
  /// Whatever had the id before is replaced; `orphans` gets those who waited for it.
  void Add(LeaseId id, std::uint64_t incarnation, std::int64_t ttl_s, std::int64_t remaining_ttl_s, Time now,
           Waiters* orphans);
  /// False if there is no such incarnation. `waiting` gets everybody who waits for it.
  bool Remove(LeaseId id, std::uint64_t incarnation, Waiters* waiting);

  enum class Renewal : std::uint8_t {
    kUnknown,   ///< No such lease.
    kRenewed,   ///< Done.
    kExpired,   ///< Too late; `waiter` was kept for the outcome of the expiry.
    kWaits,     ///< Renewed; `waiter` was kept for the reset that is being logged.
    kReset,     ///< As kWaits, and the caller must log a reset and call ResetDone.
  };
  /// Renews. `ttl_s` and `incarnation` are set unless kUnknown; `waiter` is taken only where the result says so.
  Renewal Renew(LeaseId id, Time now, Waiter* waiter, std::int64_t* ttl_s, std::uint64_t* incarnation);
  /// The reset that Renew asked for was stored, or not. `waiting` gets those to be answered now, with `ttl_s` if stored.
  void ResetDone(LeaseId id, std::uint64_t incarnation, bool stored, Time now, Waiters* waiting, std::int64_t* ttl_s);

  /// Appends leases that ended, until `entries` holds `limit`, and marks them as being decided. Looks at a bounded
  /// number of heap entries: true means that there may be more at once.
  bool TakeExpired(Time now, std::size_t limit, std::vector<LeaseExpireCommand::Entry>* entries);
  /// The expiry of a lease failed: it is due again at `retry`. `waiting` gets those who waited for the outcome.
  void ExpiryFailed(const LeaseExpireCommand::Entry& entry, Time retry, Waiters* waiting);

  /// Appends checkpoints that are due, until `entries` holds `limit`. Bounded and true as TakeExpired.
  bool TakeCheckpoints(Time now, std::size_t limit, std::vector<LeaseCheckpointCommand::Entry>* entries);
  /// What a clean stop has to store: every lease whose stored remainder is not what remains.
  std::vector<LeaseCheckpointCommand::Entry> AllCheckpoints(Time now) const;

  struct Remaining {
    std::int64_t ttl_s = 0;  ///< Whole seconds, rounded down, at least 0.
    std::int64_t granted_ttl_s = 0;
  };
  std::optional<Remaining> TimeToLive(LeaseId id, Time now) const;
  /// In no order.
  std::vector<std::pair<Time, LeaseId>> Deadlines() const;
  bool Contains(LeaseId id) const { return leases_.contains(id); }
  std::size_t size() const { return leases_.size(); }
  /// Entries of both heaps; they stay within a small multiple of size().
  std::size_t heap_entries() const { return expiries_.size() + checkpoints_.size(); }
  /// Everybody who waits for anything; nobody does afterwards.
  Waiters TakeAllWaiters();

 private:
  struct Waiting {
    Waiters expiry;
    Waiters reset;
    bool reset_in_flight = false;
  };
  struct Lease {
    std::int64_t ttl_s = 0;
    std::uint64_t incarnation = 0;
    Time deadline;
    std::int64_t stored_ttl_s = 0;  ///< The remainder that may be stored; 0: certainly none.
    bool deciding = false;
    std::unique_ptr<Waiting> waiting;  ///< Null as long as nobody waits, which is nearly always.

    Waiting& waits();
    void TakeWaiters(Waiters* out);
  };
  struct Entry {
    Time when;
    LeaseId id = 0;
    std::uint64_t incarnation = 0;
  };
  using Heap = std::vector<Entry>;

  static void Push(Heap* heap, Entry entry);
  static Entry Pop(Heap* heap);
  Lease* Find(LeaseId id, std::uint64_t incarnation);
  bool WantsCheckpoints(const Lease& lease) const;
  /// Drops the entries of leases that are gone when they outnumber the others, so that granting and revoking long
  /// leases for ever does not fill the memory. Amortised O(1).
  void TrimHeaps();

  const Options options_;
  std::unordered_map<LeaseId, Lease> leases_;
  Heap expiries_;
  Heap checkpoints_;  ///< Only of leases long enough; an entry is never later than the next checkpoint.
};

}  // namespace vellum::kv
