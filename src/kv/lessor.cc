#include "kv/lessor.h"

#include <algorithm>
#include <array>
#include <string>
#include <thread>
#include <utility>

#include "base/mutex.h"

namespace vellum::kv {
namespace {

/// A command may hold this many checkpoints.
constexpr std::size_t kCheckpointsPerCommand = 1000;

Status Stopped() { return Unavailable("the lessor has stopped", Reason::kStopped); }

/// A permutation of 64-bit numbers that leaves no visible order (the finalizer of SplitMix64).
std::uint64_t Scramble(std::uint64_t x) {
  x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9u;
  x = (x ^ (x >> 27)) * 0x94d049bb133111ebu;
  return x ^ (x >> 31);
}

struct LeaseMetrics {
  explicit LeaseMetrics(Metrics* m)
      : granted(m->AddCounter("etcd_debugging_lease_granted_total", "The total number of granted leases.")),
        renewed(m->AddCounter("etcd_debugging_lease_renewed_total", "The number of renewed leases.")),
        revoked(m->AddCounter("etcd_debugging_lease_revoked_total", "The total number of revoked leases.")),
        expired(m->AddCounter("etcd_debugging_server_lease_expired_total", "The total number of expired leases.")),
        ttl(m->AddHistogram("etcd_debugging_lease_ttl_total", "Bucketed histogram of lease TTLs, in seconds.",
                            ExponentialBuckets(1, 2, 24))) {}
  Counter& granted;
  Counter& renewed;
  Counter& revoked;
  Counter& expired;
  Histogram& ttl;
};

}  // namespace

struct Lessor::Impl : std::enable_shared_from_this<Impl> {
  Impl(Options opts, Propose prop)
      : options(std::move(opts)),
        propose(std::move(prop)),
        table({options.checkpoint_ttl_min, options.checkpoint_interval}),
        id_seed(static_cast<std::uint64_t>(options.clock->WallNow().time_since_epoch().count())),
        credit_at(options.clock->Now()) {
    if (options.metrics != nullptr) metrics.emplace(options.metrics);
  }

  void Run();
  void ProposeExpiries();
  void ProposeCheckpoints();
  void ProposeReset(LeaseId id, std::uint64_t incarnation);
  void ResetDone(LeaseId id, std::uint64_t incarnation, const Status& outcome);
  /// Ends an expiry; `expired` is how many leases went by it.
  void Decided(const std::vector<LeaseExpireCommand::Entry>& entries, const Status& outcome, std::size_t expired);
  static void Answer(const LeaseTable::Waiters& waiters, const Result<std::int64_t>& answer);

  // Constant after construction.
  const Options options;
  const Propose propose;
  std::optional<LeaseMetrics> metrics;

  mutable Mutex mu;
  CondVar wake;
  LeaseTable table VELLUM_GUARDED_BY(mu);
  std::uint64_t id_seed VELLUM_GUARDED_BY(mu);
  std::size_t expiries_in_flight VELLUM_GUARDED_BY(mu) = 0;
  bool checkpoint_in_flight VELLUM_GUARDED_BY(mu) = false;
  bool failing VELLUM_GUARDED_BY(mu) = false;  ///< The last expiry failed, and that has been logged.
  bool poked VELLUM_GUARDED_BY(mu) = false;    ///< There is work before the next tick.
  bool stopped VELLUM_GUARDED_BY(mu) = false;
  /// Checkpoints that may be written now, and since when that number holds.
  std::size_t credit VELLUM_GUARDED_BY(mu) = 0;
  Clock::TimePoint credit_at VELLUM_GUARDED_BY(mu);

  std::thread thread;  ///< Touched by Start and Stop only.
};

Lessor::Lessor(Options options, Propose propose)
    : impl_(std::make_shared<Impl>(std::move(options), std::move(propose))) {}

Lessor::~Lessor() { Stop(); }

void Lessor::Start() {
  if (!impl_->thread.joinable()) impl_->thread = std::thread([impl = impl_.get()] { impl->Run(); });
}

void Lessor::Stop() {
  LeaseTable::Waiters waiters;
  {
    MutexLock lock(&impl_->mu);
    impl_->stopped = true;
    waiters = impl_->table.TakeAllWaiters();
    impl_->wake.NotifyAll();
  }
  if (impl_->thread.joinable()) impl_->thread.join();
  Impl::Answer(waiters, Stopped());
}

void Lessor::Impl::Run() {
  for (;;) {
    {
      MutexLock lock(&mu);
      if (!stopped && !poked) wake.WaitFor(&mu, options.tick);
      if (stopped) return;
      poked = false;
    }
    ProposeExpiries();
    ProposeCheckpoints();
  }
}

void Lessor::Impl::Answer(const LeaseTable::Waiters& waiters, const Result<std::int64_t>& answer) {
  for (const LeaseTable::Waiter& waiter : waiters) waiter(answer);
}

void Lessor::Impl::ProposeExpiries() {
  bool more = true;
  while (more) {
    std::vector<LeaseExpireCommand::Entry> entries;
    {
      MutexLock lock(&mu);
      if (stopped || expiries_in_flight >= options.expire_groups_in_flight_max) return;
      more = table.TakeExpired(options.clock->Now(), options.expire_group_max, &entries);
      if (entries.empty()) continue;
      ++expiries_in_flight;
    }
    propose(LeaseExpireCommand{entries}, [self = shared_from_this(), entries](const Result<CommandResult>& result) {
      std::size_t expired = entries.size();
      if (result.ok()) {
        const auto* outcome = std::get_if<LeaseExpireResult>(&*result);
        if (outcome != nullptr) expired = static_cast<std::size_t>(std::max<std::int64_t>(0, outcome->expired));
      }
      self->Decided(entries, result.ok() ? Status() : result.error(), expired);
      MutexLock lock(&self->mu);
      --self->expiries_in_flight;
      if (result.ok()) self->poked = true;
      self->wake.NotifyAll();
    });
  }
}

void Lessor::Impl::Decided(const std::vector<LeaseExpireCommand::Entry>& entries, const Status& outcome,
                           std::size_t expired) {
  LeaseTable::Waiters waiters;
  bool log_failure = false;
  {
    MutexLock lock(&mu);
    const Clock::TimePoint retry = options.clock->Now() + options.tick;
    for (const LeaseExpireCommand::Entry& entry : entries) {
      // Success means that this incarnation is gone from the store, whoever removed it.
      if (outcome.ok())
        static_cast<void>(table.Remove(entry.id, entry.incarnation, &waiters));
      else
        table.ExpiryFailed(entry, retry, &waiters);
    }
    log_failure = !outcome.ok() && !failing && !stopped;
    failing = !outcome.ok();
  }
  if (outcome.ok()) {
    if (metrics) metrics->expired.Increment(static_cast<double>(expired));
    Answer(waiters, std::int64_t{0});
    return;
  }
  if (log_failure) {
    VELLUM_LOG(options.logger, kWarn, "failed to expire leases; trying again",
               {{"leases", entries.size()}, {"error", outcome.ToString()}});
  }
  Answer(waiters, outcome);
}

void Lessor::Impl::ProposeCheckpoints() {
  bool more = true;
  while (more) {
    LeaseCheckpointCommand command;
    {
      MutexLock lock(&mu);
      if (stopped || checkpoint_in_flight) return;
      const Clock::TimePoint now = options.clock->Now();
      const std::size_t rate = options.checkpoints_per_second_max;
      const double earned = std::min(1.0, std::chrono::duration<double>(now - credit_at).count());
      const auto whole = static_cast<std::size_t>(earned * static_cast<double>(rate));
      if (whole > 0) {
        credit = std::min(rate, credit + whole);
        credit_at = now;
      }
      more = table.TakeCheckpoints(now, std::min(credit, kCheckpointsPerCommand), &command.entries);
      if (command.entries.empty()) {
        if (credit == 0) return;
        continue;
      }
      credit -= command.entries.size();
      checkpoint_in_flight = true;
    }
    propose(std::move(command), [self = shared_from_this()](const Result<CommandResult>& result) {
      if (!result.ok()) result.error().IgnoreError("a missing checkpoint only makes a lease longer after a restart");
      MutexLock lock(&self->mu);
      self->checkpoint_in_flight = false;
    });
  }
}

void Lessor::Impl::ProposeReset(LeaseId id, std::uint64_t incarnation) {
  propose(LeaseCheckpointCommand{{{id, incarnation, 0}}},
          [self = shared_from_this(), id, incarnation](const Result<CommandResult>& result) {
            self->ResetDone(id, incarnation, result.ok() ? Status() : result.error());
          });
}

void Lessor::Impl::ResetDone(LeaseId id, std::uint64_t incarnation, const Status& outcome) {
  LeaseTable::Waiters waiters;
  std::int64_t ttl_s = 0;
  {
    MutexLock lock(&mu);
    table.ResetDone(id, incarnation, outcome.ok(), options.clock->Now(), &waiters, &ttl_s);
  }
  if (!outcome.ok()) return Answer(waiters, outcome);
  if (metrics) metrics->renewed.Increment(static_cast<double>(waiters.size()));
  Answer(waiters, ttl_s);
}

void Lessor::Restore(LeaseId id, const LeaseRecord& record) {
  LeaseTable::Waiters nobody;
  MutexLock lock(&impl_->mu);
  impl_->table.Add(id, record.incarnation, record.granted_ttl_s, record.remaining_ttl_s, impl_->options.clock->Now(),
                   &nobody);
}

void Lessor::OnGranted(LeaseId id, std::int64_t ttl_s, std::uint64_t incarnation) {
  LeaseTable::Waiters orphans;
  {
    MutexLock lock(&impl_->mu);
    impl_->table.Add(id, incarnation, ttl_s, 0, impl_->options.clock->Now(), &orphans);
  }
  if (impl_->metrics) {
    impl_->metrics->granted.Increment();
    impl_->metrics->ttl.Observe(static_cast<double>(ttl_s));
  }
  Impl::Answer(orphans, std::int64_t{0});
}

void Lessor::OnRevoked(LeaseId id, std::uint64_t incarnation) {
  LeaseTable::Waiters waiters;
  {
    MutexLock lock(&impl_->mu);
    static_cast<void>(impl_->table.Remove(id, incarnation, &waiters));
  }
  if (impl_->metrics) impl_->metrics->revoked.Increment();
  Impl::Answer(waiters, std::int64_t{0});
}

Result<std::int64_t> Lessor::EffectiveTtl(std::int64_t ttl_s) const {
  if (ttl_s > kLeaseTtlMax) {
    return InvalidArgument("lease TTL " + std::to_string(ttl_s) + " s is above the limit of " +
                               std::to_string(kLeaseTtlMax) + " s",
                           Reason::kLeaseTtlTooLarge);
  }
  return std::max(ttl_s, impl_->options.ttl_min_s);
}

LeaseId Lessor::PickId() {
  constexpr std::uint64_t kStride = 0x9e3779b97f4a7c15u;
  MutexLock lock(&impl_->mu);
  for (;;) {
    impl_->id_seed += kStride;
    const auto id = static_cast<LeaseId>(Scramble(impl_->id_seed) >> 1);
    if (id != 0 && !impl_->table.Contains(id)) return id;
  }
}

void Lessor::KeepAlive(LeaseId id, std::function<void(Result<std::int64_t> ttl_s)> done) {
  LeaseTable::Renewal renewal = LeaseTable::Renewal::kUnknown;
  std::int64_t ttl_s = 0;
  std::uint64_t incarnation = 0;
  bool refused = false;
  {
    MutexLock lock(&impl_->mu);
    refused = impl_->stopped;
    if (!refused) renewal = impl_->table.Renew(id, impl_->options.clock->Now(), &done, &ttl_s, &incarnation);
    if (renewal == LeaseTable::Renewal::kExpired && !impl_->poked) {
      impl_->poked = true;
      impl_->wake.NotifyAll();
    }
  }
  if (refused) return done(Stopped());
  switch (renewal) {
    case LeaseTable::Renewal::kUnknown:
      return done(std::int64_t{0});
    case LeaseTable::Renewal::kRenewed:
      if (impl_->metrics) impl_->metrics->renewed.Increment();
      return done(ttl_s);
    case LeaseTable::Renewal::kReset:
      return impl_->ProposeReset(id, incarnation);
    case LeaseTable::Renewal::kExpired:
    case LeaseTable::Renewal::kWaits:
      return;
  }
}

std::optional<Lessor::Remaining> Lessor::TimeToLive(LeaseId id) const {
  MutexLock lock(&impl_->mu);
  return impl_->table.TimeToLive(id, impl_->options.clock->Now());
}

std::vector<LeaseId> Lessor::List() const {
  std::vector<std::pair<Clock::TimePoint, LeaseId>> deadlines;
  {
    MutexLock lock(&impl_->mu);
    deadlines = impl_->table.Deadlines();
  }
  std::sort(deadlines.begin(), deadlines.end());
  std::vector<LeaseId> ids;
  ids.reserve(deadlines.size());
  for (const auto& [deadline, id] : deadlines) ids.push_back(id);
  return ids;
}

std::size_t Lessor::size() const {
  MutexLock lock(&impl_->mu);
  return impl_->table.size();
}

std::vector<LeaseExpireCommand::Entry> Lessor::TakeExpired(std::size_t limit) {
  std::vector<LeaseExpireCommand::Entry> entries;
  bool more = true;
  while (more && entries.size() < limit) {
    MutexLock lock(&impl_->mu);
    more = impl_->table.TakeExpired(impl_->options.clock->Now(), limit, &entries);
  }
  return entries;
}

void Lessor::ExpiryDecided(const std::vector<LeaseExpireCommand::Entry>& entries, const Status& outcome) {
  impl_->Decided(entries, outcome, entries.size());
}

std::vector<LeaseCheckpointCommand::Entry> Lessor::Checkpoints() const {
  MutexLock lock(&impl_->mu);
  return impl_->table.AllCheckpoints(impl_->options.clock->Now());
}

void Lessor::Tick() {
  impl_->ProposeExpiries();
  impl_->ProposeCheckpoints();
}

}  // namespace vellum::kv
