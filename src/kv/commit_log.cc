#include "kv/commit_log.h"

#include <pthread.h>

#include <algorithm>
#include <utility>

#include "kv/validate.h"

namespace vellum::kv {

LocalCommitLog::LocalCommitLog(Options options)
    : options_(options),
      group_commands_(options_.metrics->AddHistogram("vellum_group_commands", "Commands per group, that is, per sync.",
                                                     ExponentialBuckets(1, 2, 13))) {
  const auto read = [this] { return static_cast<double>(pending()); };
  pending_metric_ = options_.metrics->AddCallback(Metrics::Kind::kGauge, "etcd_server_proposals_pending",
                                                  "Commands that wait or are being applied.", read);
}

LocalCommitLog::~LocalCommitLog() { Stop(); }

void LocalCommitLog::Start(GroupHandler* handler) {
  handler_ = handler;
  MutexLock lock(&join_mu_);
  thread_ = std::thread([this] { Run(); });
  pthread_setname_np(thread_.native_handle(), "vellum-applier");
}

void LocalCommitLog::Propose(Command command, ProposalDone done, Admission admission, Caller caller) {
  const std::size_t bytes = PayloadBytes(command);
  const bool brief = caller == Caller::kMayBlock && IsBrief(command);
  Status refused;
  bool wake = false;
  bool here = false;
  {
    MutexLock lock(&mu_);
    const std::size_t waiting = queue_.size() - queue_head_;
    if (stopping_) {
      refused = Unavailable("the store is stopping", Reason::kStopped);
    } else if (admission == Admission::kLimited &&
               (waiting >= options_.proposals_max ||
                (waiting > 0 && queue_bytes_ + bytes > options_.proposals_bytes_max))) {
      refused = ResourceExhausted("too many requests: " + std::to_string(waiting) + " commands of " +
                                      std::to_string(queue_bytes_) + " bytes wait already",
                                  Reason::kTooManyRequests);
    } else {
      pending_.fetch_add(1, std::memory_order_relaxed);
      // While the thread is idle and nobody is held, nobody runs, and nothing waits.
      here = brief && idle_ && !held_ && lately_ <= options_.caller_held_max;
      if (here) {
        held_ = true;
      } else {
        queue_.push_back({{std::move(command), std::move(done)}, bytes});
        queue_bytes_ += bytes;
        wake = !held_ && std::exchange(idle_, false);
      }
    }
  }
  if (here) return RunHere({std::move(command), std::move(done)});
  if (wake) wake_.NotifyOne();
  if (!refused.ok()) done(std::move(refused));
}

std::vector<Proposal> LocalCommitLog::TakeGroup() {
  std::vector<Proposal> group;
  MutexLock lock(&mu_);
  while (held_ || (queue_head_ == queue_.size() && !stopping_)) {
    idle_ = true;
    wake_.Wait(&mu_);
  }
  idle_ = false;
  std::size_t bytes = 0;
  while (queue_head_ < queue_.size() && group.size() < options_.group_commands_max) {
    Waiting& next = queue_[queue_head_];
    if (!group.empty() && bytes + next.bytes > options_.group_bytes_max) break;
    bytes += next.bytes;
    group.push_back(std::move(next.proposal));
    ++queue_head_;
  }
  queue_bytes_ -= bytes;
  if (queue_head_ == queue_.size()) {
    queue_.clear();
    queue_head_ = 0;
  } else if (queue_head_ > queue_.size() / 2) {
    queue_.erase(queue_.begin(), queue_.begin() + static_cast<std::ptrdiff_t>(queue_head_));
    queue_head_ = 0;
  }
  return group;
}

void LocalCommitLog::Handle(std::vector<Proposal>&& group) {
  const std::size_t size = group.size();
  group_commands_.Observe(static_cast<double>(size));
  const Clock::TimePoint start = options_.clock->Now();
  handler_->HandleGroup(std::move(group), GroupHandler::Durability::kSyncNeeded);
  // Rises at once and falls slowly: after a stall it takes some quick groups until callers are held again.
  lately_ = std::max<std::chrono::nanoseconds>(options_.clock->Now() - start, lately_ * 7 / 8);
  pending_.fetch_sub(size, std::memory_order_relaxed);
}

void LocalCommitLog::RunHere(Proposal proposal) {
  std::vector<Proposal> group;
  group.push_back(std::move(proposal));
  Handle(std::move(group));
  bool wake = false;
  {
    MutexLock lock(&mu_);
    held_ = false;
    wake = queue_head_ < queue_.size() || stopping_;
    if (wake) idle_ = false;
  }
  if (wake) wake_.NotifyOne();
}

void LocalCommitLog::Run() {
  for (std::vector<Proposal> group = TakeGroup(); !group.empty(); group = TakeGroup()) Handle(std::move(group));
}

void LocalCommitLog::Stop() {
  MutexLock join_lock(&join_mu_);
  {
    MutexLock lock(&mu_);
    stopping_ = true;
  }
  wake_.NotifyAll();
  if (thread_.joinable()) thread_.join();
}

}  // namespace vellum::kv
