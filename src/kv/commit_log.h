#pragma once

#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <thread>
#include <vector>

#include "base/metrics.h"
#include "base/mutex.h"
#include "kv/command.h"
#include "vellum/clock.h"
#include "vellum/status.h"

namespace vellum::kv {

/// Called exactly once, on the applier's thread (or on the proposing one, if the proposal is refused at once or applied
/// there): hand over, do not work there.
using ProposalDone = std::function<void(Result<CommandResult>)>;

struct Proposal {
  Command command;
  ProposalDone done;
};

/// What a log drives: applies groups of commands in their order, one group at a time, and answers them.
class GroupHandler {
 public:
  virtual ~GroupHandler() = default;
  enum class Durability : std::uint8_t {
    kSyncNeeded,  ///< The batches are the log: nothing may be answered before they are synced.
    kInLog,       ///< The commands are durable elsewhere already.
  };
  virtual void HandleGroup(std::vector<Proposal>&& group, Durability durability) = 0;
};

/// Orders commands and decides about their durability. Thread-safe.
class CommitLog {
 public:
  virtual ~CommitLog() = default;
  /// `handler` must outlive the log. Call once.
  virtual void Start(GroupHandler* handler) = 0;
  enum class Admission : std::uint8_t {
    kLimited,  ///< Refused when too much waits: for what comes from outside.
    kAlways,   ///< For the store's own parts, which bound themselves, and whose commands must not starve.
  };
  enum class Caller : std::uint8_t {
    kMustNotBlock,
    kMayBlock,  ///< For about a sync: the log may apply the command on the calling thread, which saves changing threads twice.
  };
  /// kResourceExhausted (kTooManyRequests) when too much waits, kUnavailable (kStopped) after Stop.
  virtual void Propose(Command command, ProposalDone done, Admission admission,
                       Caller caller = Caller::kMustNotBlock) = 0;
  /// Refuses new commands, finishes those that wait. Idempotent.
  virtual void Stop() = 0;
};

/// The log of a store that stands alone: the database's write-ahead log, into which the handler's batches go, is all the
/// log there is. One thread takes whatever waits as one group; the next group forms meanwhile. A brief command of a caller
/// that may block is applied at once, on the calling thread, when nothing waits or runs and what ran lately was quick.
class LocalCommitLog final : public CommitLog {
 public:
  struct Options {
    std::size_t group_commands_max = 4096;
    std::size_t group_bytes_max = 16u << 20;
    std::size_t proposals_max = 65536;
    std::size_t proposals_bytes_max = 256u << 20;
    /// Callers are not held up while a group takes longer than this.
    std::chrono::nanoseconds caller_held_max = std::chrono::milliseconds(1);
    Clock* clock = SystemClock();
    Metrics* metrics = nullptr;  ///< Must not be null.
  };
  explicit LocalCommitLog(Options options);
  /// Stops.
  ~LocalCommitLog() override;
  LocalCommitLog(const LocalCommitLog&) = delete;
  LocalCommitLog& operator=(const LocalCommitLog&) = delete;

  void Start(GroupHandler* handler) override;
  void Propose(Command command, ProposalDone done, Admission admission,
               Caller caller = Caller::kMustNotBlock) override VELLUM_EXCLUDES(mu_);
  void Stop() override VELLUM_EXCLUDES(mu_);

  /// Commands that wait or are being worked on.
  std::size_t pending() const { return pending_.load(std::memory_order_relaxed); }

 private:
  struct Waiting {
    Proposal proposal;
    std::size_t bytes = 0;
  };
  void Run();
  std::vector<Proposal> TakeGroup() VELLUM_EXCLUDES(mu_);
  /// The caller has made itself the one that runs.
  void RunHere(Proposal proposal) VELLUM_EXCLUDES(mu_);
  void Handle(std::vector<Proposal>&& group);

  const Options options_;
  GroupHandler* handler_ = nullptr;  // constant after Start

  Mutex mu_;
  CondVar wake_;
  std::vector<Waiting> queue_ VELLUM_GUARDED_BY(mu_);
  std::size_t queue_head_ VELLUM_GUARDED_BY(mu_) = 0;  // those before it are taken
  std::size_t queue_bytes_ VELLUM_GUARDED_BY(mu_) = 0;
  bool idle_ VELLUM_GUARDED_BY(mu_) = false;  // the thread waits, so a push must wake it
  bool held_ VELLUM_GUARDED_BY(mu_) = false;  // a caller runs its own command, and wakes the thread if it has to
  bool stopping_ VELLUM_GUARDED_BY(mu_) = false;

  Mutex join_mu_;  // taken by Stop only, before mu_
  std::thread thread_ VELLUM_GUARDED_BY(join_mu_);

  std::chrono::nanoseconds lately_{0};  // how long groups took; whoever runs
  std::atomic<std::size_t> pending_{0};
  Histogram& group_commands_;
  Metrics::CallbackHandle pending_metric_;
};

}  // namespace vellum::kv
