#include "kv/lease_table.h"

#include <algorithm>
#include <utility>

namespace vellum::kv {
namespace {

using std::chrono::seconds;

/// Heap entries looked at before the caller gets a chance to let go of its lock.
constexpr int kEntriesPerTurn = 4096;
/// Stale heap entries that are never worth a rebuild.
constexpr std::size_t kStaleEntriesMin = 1024;

std::int64_t ClampTtl(std::int64_t ttl_s) { return std::clamp<std::int64_t>(ttl_s, 1, kLeaseTtlMax); }

/// Whole seconds from `now` to `deadline`, rounded up, at least 1: a stored remainder must never end a lease early.
std::int64_t SecondsUp(Clock::TimePoint deadline, Clock::TimePoint now) {
  return std::max<std::int64_t>(1, std::chrono::ceil<seconds>(deadline - now).count());
}

void MoveAll(LeaseTable::Waiters* from, LeaseTable::Waiters* to) {
  std::move(from->begin(), from->end(), std::back_inserter(*to));
  from->clear();
}

}  // namespace

LeaseTable::Waiting& LeaseTable::Lease::waits() {
  if (waiting == nullptr) waiting = std::make_unique<Waiting>();
  return *waiting;
}

void LeaseTable::Lease::TakeWaiters(Waiters* out) {
  if (waiting == nullptr) return;
  MoveAll(&waiting->expiry, out);
  MoveAll(&waiting->reset, out);
  waiting.reset();
}

void LeaseTable::Push(Heap* heap, Entry entry) {
  heap->push_back(entry);
  std::push_heap(heap->begin(), heap->end(), [](const Entry& a, const Entry& b) { return a.when > b.when; });
}

LeaseTable::Entry LeaseTable::Pop(Heap* heap) {
  std::pop_heap(heap->begin(), heap->end(), [](const Entry& a, const Entry& b) { return a.when > b.when; });
  const Entry entry = heap->back();
  heap->pop_back();
  return entry;
}

LeaseTable::Lease* LeaseTable::Find(LeaseId id, std::uint64_t incarnation) {
  const auto it = leases_.find(id);
  return it != leases_.end() && it->second.incarnation == incarnation ? &it->second : nullptr;
}

bool LeaseTable::WantsCheckpoints(const Lease& lease) const {
  return seconds(lease.ttl_s) >= options_.checkpoint_ttl_min;
}

void LeaseTable::TrimHeaps() {
  const auto crowded = [this](const Heap& heap) { return heap.size() > 2 * leases_.size() + kStaleEntriesMin; };
  if (!crowded(expiries_) && !crowded(checkpoints_)) return;
  for (Heap* heap : {&expiries_, &checkpoints_}) {
    std::erase_if(*heap, [this](const Entry& entry) { return Find(entry.id, entry.incarnation) == nullptr; });
    std::make_heap(heap->begin(), heap->end(), [](const Entry& a, const Entry& b) { return a.when > b.when; });
  }
}

void LeaseTable::Add(LeaseId id, std::uint64_t incarnation, std::int64_t ttl_s, std::int64_t remaining_ttl_s, Time now,
                     Waiters* orphans) {
  Lease& lease = leases_[id];
  lease.TakeWaiters(orphans);
  lease.ttl_s = ClampTtl(ttl_s);
  lease.incarnation = incarnation;
  lease.stored_ttl_s = remaining_ttl_s > 0 && remaining_ttl_s < lease.ttl_s ? remaining_ttl_s : 0;
  lease.deadline = now + seconds(lease.stored_ttl_s != 0 ? lease.stored_ttl_s : lease.ttl_s);
  lease.deciding = false;
  Push(&expiries_, {lease.deadline, id, incarnation});
  if (WantsCheckpoints(lease)) Push(&checkpoints_, {now + options_.checkpoint_interval, id, incarnation});
  TrimHeaps();
}

bool LeaseTable::Remove(LeaseId id, std::uint64_t incarnation, Waiters* waiting) {
  const auto it = leases_.find(id);
  if (it == leases_.end() || it->second.incarnation != incarnation) return false;
  it->second.TakeWaiters(waiting);
  leases_.erase(it);
  TrimHeaps();
  return true;
}

LeaseTable::Renewal LeaseTable::Renew(LeaseId id, Time now, Waiter* waiter, std::int64_t* ttl_s,
                                      std::uint64_t* incarnation) {
  const auto it = leases_.find(id);
  if (it == leases_.end()) return Renewal::kUnknown;
  Lease& lease = it->second;
  *ttl_s = lease.ttl_s;
  *incarnation = lease.incarnation;
  if (lease.deciding || lease.deadline <= now) {
    lease.waits().expiry.push_back(std::move(*waiter));
    return Renewal::kExpired;
  }
  lease.deadline = now + seconds(lease.ttl_s);
  if (lease.stored_ttl_s == 0) return Renewal::kRenewed;
  // A crash after the answer would bring the lease back with the stored remainder, earlier than promised.
  Waiting& waits = lease.waits();
  waits.reset.push_back(std::move(*waiter));
  return std::exchange(waits.reset_in_flight, true) ? Renewal::kWaits : Renewal::kReset;
}

void LeaseTable::ResetDone(LeaseId id, std::uint64_t incarnation, bool stored, Time now, Waiters* waiting,
                           std::int64_t* ttl_s) {
  Lease* lease = Find(id, incarnation);
  if (lease == nullptr || lease->waiting == nullptr) return;
  lease->waiting->reset_in_flight = false;
  if (stored) lease->stored_ttl_s = 0;
  if (lease->deciding || lease->deadline <= now) {
    MoveAll(&lease->waiting->reset, &lease->waiting->expiry);
    return;
  }
  *ttl_s = lease->ttl_s;
  if (stored) lease->deadline = now + seconds(lease->ttl_s);
  MoveAll(&lease->waiting->reset, waiting);
  lease->waiting.reset();
}

bool LeaseTable::TakeExpired(Time now, std::size_t limit, std::vector<LeaseExpireCommand::Entry>* entries) {
  int looked_at = 0;
  while (!expiries_.empty() && expiries_.front().when <= now) {
    if (entries->size() >= limit || looked_at++ == kEntriesPerTurn) return true;
    Entry entry = Pop(&expiries_);
    Lease* lease = Find(entry.id, entry.incarnation);
    if (lease == nullptr || lease->deciding) continue;
    if (lease->deadline > now) {
      entry.when = lease->deadline;
      Push(&expiries_, entry);
      continue;
    }
    lease->deciding = true;
    entries->push_back({entry.id, entry.incarnation});
  }
  return false;
}

void LeaseTable::ExpiryFailed(const LeaseExpireCommand::Entry& entry, Time retry, Waiters* waiting) {
  Lease* lease = Find(entry.id, entry.incarnation);
  if (lease == nullptr || !lease->deciding) return;
  lease->deciding = false;
  if (lease->waiting != nullptr) {
    MoveAll(&lease->waiting->expiry, waiting);
    if (!lease->waiting->reset_in_flight) lease->waiting.reset();
  }
  Push(&expiries_, {retry, entry.id, entry.incarnation});
}

bool LeaseTable::TakeCheckpoints(Time now, std::size_t limit, std::vector<LeaseCheckpointCommand::Entry>* entries) {
  int looked_at = 0;
  while (!checkpoints_.empty() && checkpoints_.front().when <= now) {
    if (entries->size() >= limit || looked_at++ == kEntriesPerTurn) return true;
    Entry entry = Pop(&checkpoints_);
    Lease* lease = Find(entry.id, entry.incarnation);
    if (lease == nullptr) continue;
    const Time renewed = lease->deadline - seconds(lease->ttl_s);
    const bool busy = lease->deciding || lease->deadline <= now ||
                      (lease->waiting != nullptr && lease->waiting->reset_in_flight);
    if (!busy && renewed + options_.checkpoint_interval <= now) {
      // From here on a keep-alive has to log a reset, whatever becomes of the checkpoint.
      lease->stored_ttl_s = SecondsUp(lease->deadline, now);
      entries->push_back({entry.id, entry.incarnation, lease->stored_ttl_s});
      entry.when = now + options_.checkpoint_interval;
    } else {
      entry.when = std::max(renewed, now) + options_.checkpoint_interval;
      if (!busy) entry.when = renewed + options_.checkpoint_interval;
    }
    Push(&checkpoints_, entry);
  }
  return false;
}

std::vector<LeaseCheckpointCommand::Entry> LeaseTable::AllCheckpoints(Time now) const {
  std::vector<LeaseCheckpointCommand::Entry> entries;
  for (const auto& [id, lease] : leases_) {
    const std::int64_t left = SecondsUp(lease.deadline, now);
    const std::int64_t remaining = left >= lease.ttl_s ? 0 : left;
    if (remaining != lease.stored_ttl_s) entries.push_back({id, lease.incarnation, remaining});
  }
  return entries;
}

std::optional<LeaseTable::Remaining> LeaseTable::TimeToLive(LeaseId id, Time now) const {
  const auto it = leases_.find(id);
  if (it == leases_.end()) return std::nullopt;
  const auto left = std::chrono::floor<seconds>(it->second.deadline - now).count();
  return Remaining{std::max<std::int64_t>(0, left), it->second.ttl_s};
}

std::vector<std::pair<LeaseTable::Time, LeaseId>> LeaseTable::Deadlines() const {
  std::vector<std::pair<Time, LeaseId>> deadlines;
  deadlines.reserve(leases_.size());
  for (const auto& [id, lease] : leases_) deadlines.emplace_back(lease.deadline, id);
  return deadlines;
}

LeaseTable::Waiters LeaseTable::TakeAllWaiters() {
  Waiters all;
  for (auto& [id, lease] : leases_) lease.TakeWaiters(&all);
  return all;
}

}  // namespace vellum::kv
