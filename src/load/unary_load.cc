#include "load/unary_load.h"

#include <algorithm>
#include <utility>

namespace vellum::load {
namespace {

// The one call that no caller makes: a compaction, and the question for the revision to compact at.
constexpr std::uint64_t kCompactionTag = ~std::uint64_t{0};

constexpr std::chrono::milliseconds kIdleWait{100};

std::string PhaseName(Workload workload) {
  switch (workload) {
    case Workload::kFill: return "fill";
    case Workload::kPut: return "put";
    case Workload::kGet: return "get";
    case Workload::kPage: return "page";
    case Workload::kCount: return "count";
    case Workload::kTxn: return "txn";
    case Workload::kCas: return "cas";
    default: return "before";
  }
}

}  // namespace

UnaryLoad::UnaryLoad(const Plan& plan) : plan_(plan), maker_(plan), callers_(plan.clients) {
  for (std::uint32_t i = 0; i < plan_.clients; ++i) idle_.push_back(plan_.clients - 1 - i);
  if (plan_.workload == Workload::kCas) {
    const auto own = std::max<std::int64_t>(1, plan_.keys / plan_.clients);
    for (Caller& caller : callers_) caller.revisions.resize(static_cast<std::size_t>(own));
  }
  operations_ = plan_.workload == Workload::kFill ? (plan_.keys + plan_.txn_puts - 1) / plan_.txn_puts : plan_.operations;
}

std::string UnaryLoad::MakeRequest(Caller* caller, std::uint32_t number, const char** path) {
  *path = kRangePath;
  switch (plan_.workload) {
    case Workload::kGet: return maker_.Get(maker_.RandomKey());
    case Workload::kPage: return maker_.Page();
    case Workload::kCount: return maker_.Count();
    case Workload::kTxn: *path = kTxnPath; return maker_.Txn(begun_);
    case Workload::kCas: {
      *path = kTxnPath;
      caller->key = maker_.RandomKey() % static_cast<std::int64_t>(caller->revisions.size());
      return maker_.CompareAndSet(number + caller->key * plan_.clients,
                                  caller->revisions[static_cast<std::size_t>(caller->key)]);
    }
    case Workload::kFill: {
      *path = kTxnPath;
      const std::int64_t first = begun_ * plan_.txn_puts;
      const std::int64_t last = std::min(first + plan_.txn_puts, plan_.keys) - 1;
      caller->puts = last - first + 1;
      return maker_.Fill(first, last);
    }
    default: *path = kPutPath; return maker_.Put(maker_.RandomKey());
  }
}

bool UnaryLoad::MayBegin(TimePoint now) const {
  if (!running_) return false;
  if (operations_ > 0) return (open_ ? due_count_ : begun_) < operations_;
  return now < end_;
}

void UnaryLoad::Begin(std::uint32_t number, TimePoint due, bool measured) {
  Caller& caller = callers_[number];
  caller.measured = measured;
  caller.phase = phases_.size() - 1;
  caller.due = due;
  const char* path = nullptr;
  const std::string request = MakeRequest(&caller, number, &path);
  if (measured) ++begun_;
  ++active_;
  driver_->Start(number % plan_.connections, path, request, /*last=*/true, number);
}

void UnaryLoad::OnMessage(std::uint64_t tag, std::string_view message) {
  if (tag == kCompactionTag) {
    if (compaction_ == Compaction::kAsksRevision) revision_ = HeaderRevision(message);
    return;
  }
  if (plan_.workload != Workload::kCas) return;
  Caller& caller = callers_[tag];
  caller.revisions[static_cast<std::size_t>(caller.key)] = RevisionAfter(message);
}

void UnaryLoad::OnEnd(std::uint64_t tag, const Status& status) {
  const TimePoint now = SteadyClock::now();
  if (!status.ok() && report_.first_failure.empty()) report_.first_failure = status.ToString();
  if (tag == kCompactionTag) {
    if (compaction_ == Compaction::kRuns) {
      report_.compact_seconds = std::chrono::duration<double>(now - compaction_start_).count();
    }
    compaction_ = Compaction::kDone;
    return;
  }
  const auto number = static_cast<std::uint32_t>(tag);
  Caller& caller = callers_[number];
  --active_;
  if (caller.measured) {
    if (status.ok()) {
      phases_[caller.phase].Count(now - caller.due, caller.puts);
    } else {
      phases_[caller.phase].CountFailure();
    }
  }
  if (open_ && !backlog_.empty()) {
    const TimePoint due = backlog_.front();
    backlog_.pop_front();
    Begin(number, due, true);
  } else if (!open_ && MayBegin(now)) {
    Begin(number, now, true);
  } else {
    idle_.push_back(number);
  }
}

/// One call of every caller that counts for nothing: connections are settled, and caches as warm as they get.
Status UnaryLoad::WarmUp() {
  if (plan_.workload == Workload::kFill || plan_.workload == Workload::kCompact) return {};
  for (const std::uint32_t caller : std::exchange(idle_, {})) Begin(caller, SteadyClock::now(), false);
  while (active_ > 0) VELLUM_TRY(driver_->Poll(kIdleWait));
  return {};
}

void UnaryLoad::NextPhase(std::string name, TimePoint now) {
  if (!phases_.empty()) phases_.back().Stop(now);
  phases_.emplace_back(std::move(name), plan_.server_pid);
  phases_.back().Start(now);
}

Status UnaryLoad::RunClosed() {
  const TimePoint start = SteadyClock::now();
  end_ = start + plan_.time;
  running_ = true;
  NextPhase(PhaseName(plan_.workload), start);
  std::vector<std::uint32_t> idle = std::exchange(idle_, {});
  for (std::size_t i = 0; i < idle.size(); ++i) {
    if (MayBegin(start)) Begin(idle[i], start, true);
  }
  while (active_ > 0) VELLUM_TRY(driver_->Poll(kIdleWait));
  return {};
}

/// Begins all that is due by `now`.
void UnaryLoad::BeginDue(TimePoint now) {
  for (;;) {
    const auto since_first = std::chrono::duration<double>(static_cast<double>(due_count_) / plan_.rate);
    const TimePoint due = first_due_ + std::chrono::duration_cast<SteadyClock::duration>(since_first);
    if (due > now || !MayBegin(due)) return;
    ++due_count_;
    if (idle_.empty()) {
      backlog_.push_back(due);
      continue;
    }
    const std::uint32_t caller = idle_.back();
    idle_.pop_back();
    Begin(caller, due, true);
  }
}

/// Keeps the rate until the limit of operations, the end of the time, or (not `until_time`) the compaction's end.
Status UnaryLoad::RunOpen(bool until_time) {
  for (;;) {
    const TimePoint now = SteadyClock::now();
    BeginDue(now);
    const bool over = until_time ? !MayBegin(now) : compaction_ == Compaction::kDone;
    if (over) return {};
    const auto since_first = std::chrono::duration<double>(static_cast<double>(due_count_) / plan_.rate);
    const TimePoint due = first_due_ + std::chrono::duration_cast<SteadyClock::duration>(since_first);
    VELLUM_TRY(driver_->Poll(std::clamp<SteadyClock::duration>(due - now, {}, kIdleWait)));
  }
}

Status UnaryLoad::RunCompaction() {
  const auto call = [this](Compaction state, const char* path, const std::string& request) {
    compaction_ = state;
    compaction_start_ = SteadyClock::now();
    driver_->Start(plan_.connections, path, request, /*last=*/true, kCompactionTag);
  };
  running_ = true;
  TimePoint now = SteadyClock::now();
  NextPhase(plan_.rate > 0 ? "before" : "compact", now);
  if (plan_.rate > 0) {
    end_ = now + plan_.time;
    VELLUM_TRY(RunOpen(/*until_time=*/true));
  }
  call(Compaction::kAsksRevision, kRangePath, maker_.Count());
  while (compaction_ != Compaction::kDone) VELLUM_TRY(driver_->Poll(kIdleWait));
  call(Compaction::kRuns, kCompactPath, maker_.Compact(revision_));
  if (plan_.rate <= 0) {
    while (compaction_ != Compaction::kDone) VELLUM_TRY(driver_->Poll(kIdleWait));
    return {};
  }
  NextPhase("during", SteadyClock::now());
  end_ = TimePoint::max();
  VELLUM_TRY(RunOpen(/*until_time=*/false));
  now = SteadyClock::now();
  NextPhase("after", now);
  end_ = now + plan_.time;
  return RunOpen(/*until_time=*/true);
}

Result<Report> UnaryLoad::Run() {
  const bool compacts = plan_.workload == Workload::kCompact;
  VELLUM_ASSIGN_OR_RETURN(driver_, wire::CallDriver::Connect(plan_.endpoint, plan_.connections + (compacts ? 1 : 0), this));
  phases_.emplace_back("warm-up", 0);
  VELLUM_TRY(WarmUp());
  phases_.clear();
  open_ = plan_.rate > 0;
  first_due_ = SteadyClock::now();
  if (compacts) {
    VELLUM_TRY(RunCompaction());
  } else if (open_) {
    end_ = first_due_ + plan_.time;
    running_ = true;
    NextPhase(PhaseName(plan_.workload), first_due_);
    VELLUM_TRY(RunOpen(/*until_time=*/true));
  } else {
    VELLUM_TRY(RunClosed());
  }
  while (active_ > 0) VELLUM_TRY(driver_->Poll(kIdleWait));
  return Finish();
}

Result<Report> UnaryLoad::Finish() {
  phases_.back().Stop(SteadyClock::now());
  for (Meter& phase : phases_) report_.phases.push_back(phase.Finish());
  return std::move(report_);
}

}  // namespace vellum::load
