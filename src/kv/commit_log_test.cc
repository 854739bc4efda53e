#include "kv/commit_log.h"

#include <gtest/gtest.h>

#include <future>
#include <thread>

#include "base/manual_clock.h"

namespace vellum::kv {
namespace {

Command Bytes(std::size_t size) { return PutCommand{{.key = "k", .value = std::string(size, 'v')}}; }

/// Answers groups when it is let.
class Gate final : public GroupHandler {
 public:
  void HandleGroup(std::vector<Proposal>&& group, Durability durability) override {
    EXPECT_EQ(durability, Durability::kSyncNeeded);
    {
      MutexLock lock(&mu_);
      sizes_.push_back(group.size());
      runner_ = std::this_thread::get_id();
      wake_.NotifyAll();
      while (!open_) wake_.Wait(&mu_);
    }
    for (Proposal& proposal : group) proposal.done(CommandResult(Applied{}));
  }
  void Open() {
    MutexLock lock(&mu_);
    open_ = true;
    wake_.NotifyAll();
  }
  void AwaitGroups(std::size_t count) {
    MutexLock lock(&mu_);
    while (sizes_.size() < count) wake_.Wait(&mu_);
  }
  std::thread::id runner() {
    MutexLock lock(&mu_);
    return runner_;
  }
  std::vector<std::size_t> sizes() {
    MutexLock lock(&mu_);
    return sizes_;
  }

 private:
  Mutex mu_;
  CondVar wake_;
  bool open_ VELLUM_GUARDED_BY(mu_) = false;
  std::thread::id runner_ VELLUM_GUARDED_BY(mu_);
  std::vector<std::size_t> sizes_ VELLUM_GUARDED_BY(mu_);
};

class KvCommitLog : public ::testing::Test {
 protected:
  KvCommitLog() { options_.metrics = &metrics_; }
  std::future<Status> Propose(CommitLog* log, Command command,
                              CommitLog::Admission admission = CommitLog::Admission::kLimited,
                              CommitLog::Caller caller = CommitLog::Caller::kMustNotBlock) {
    auto promise = std::make_shared<std::promise<Status>>();
    log->Propose(
        std::move(command), [promise](const Result<CommandResult>& result) { promise->set_value(result.error()); },
        admission, caller);
    return promise->get_future();
  }
  /// Proposes as one who may block until the log's thread has nothing else to do, and takes what comes. True: it ran here.
  bool RunsHere(LocalCommitLog* log, const Command& command) {
    Propose(log, command, CommitLog::Admission::kLimited, CommitLog::Caller::kMayBlock).get().IgnoreError("not asked");
    return gate_.runner() == std::this_thread::get_id();
  }
  /// The same again and again, because the thread may not have come to its rest yet.
  bool GetsToRunHere(LocalCommitLog* log, const Command& command) {
    const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(60);
    while (std::chrono::steady_clock::now() < deadline) {
      if (RunsHere(log, command)) return true;
    }
    return false;
  }

  Metrics metrics_;
  LocalCommitLog::Options options_;
  Gate gate_;
};

TEST_F(KvCommitLog, WhatWaitsBecomesOneGroup) {
  LocalCommitLog log(options_);
  log.Start(&gate_);
  std::vector<std::future<Status>> answers;
  answers.push_back(Propose(&log, Bytes(1)));
  gate_.AwaitGroups(1);
  for (int i = 0; i < 9; ++i) answers.push_back(Propose(&log, Bytes(1)));
  EXPECT_EQ(log.pending(), 10u);
  gate_.Open();
  for (auto& answer : answers) EXPECT_TRUE(answer.get().ok());
  EXPECT_EQ(gate_.sizes(), (std::vector<std::size_t>{1, 9}));
}

TEST_F(KvCommitLog, GroupsAreBoundedInCommandsAndBytes) {
  options_.group_commands_max = 3;
  options_.group_bytes_max = 1000;
  LocalCommitLog log(options_);
  log.Start(&gate_);
  std::vector<std::future<Status>> answers;
  answers.push_back(Propose(&log, Bytes(1)));
  gate_.AwaitGroups(1);
  for (const std::size_t size : {1, 1, 1, 1, 600, 600, 5000, 1}) answers.push_back(Propose(&log, Bytes(size)));
  gate_.Open();
  for (auto& answer : answers) EXPECT_TRUE(answer.get().ok());
  EXPECT_EQ(gate_.sizes(), (std::vector<std::size_t>{1, 3, 2, 1, 1, 1}));
}

TEST_F(KvCommitLog, TooMuchThatWaitsIsRefused) {
  options_.proposals_max = 3;
  options_.proposals_bytes_max = 1000;
  LocalCommitLog log(options_);
  log.Start(&gate_);
  std::vector<std::future<Status>> answers;
  answers.push_back(Propose(&log, Bytes(1)));
  gate_.AwaitGroups(1);
  answers.push_back(Propose(&log, Bytes(5000)));  // alone it may be larger than the bound
  EXPECT_EQ(Propose(&log, Bytes(1)).get().reason(), Reason::kTooManyRequests);
  answers.push_back(Propose(&log, Bytes(1), CommitLog::Admission::kAlways));
  gate_.Open();
  for (auto& answer : answers) EXPECT_TRUE(answer.get().ok());
}

TEST_F(KvCommitLog, StopFinishesWhatWaitsAndRefusesTheRest) {
  LocalCommitLog log(options_);
  log.Start(&gate_);
  std::vector<std::future<Status>> answers;
  answers.push_back(Propose(&log, Bytes(1)));
  gate_.AwaitGroups(1);
  for (int i = 0; i < 5; ++i) answers.push_back(Propose(&log, Bytes(1)));
  gate_.Open();
  log.Stop();
  for (auto& answer : answers) EXPECT_TRUE(answer.get().ok());
  EXPECT_EQ(Propose(&log, Bytes(1)).get().reason(), Reason::kStopped);
  log.Stop();
}

TEST_F(KvCommitLog, ACallerThatMayBlockRunsABriefCommandItself) {
  ManualClock clock;
  options_.clock = &clock;
  gate_.Open();
  LocalCommitLog log(options_);
  log.Start(&gate_);
  EXPECT_TRUE(GetsToRunHere(&log, Bytes(1)));
  // Not one that may take long, and nobody who must not block.
  EXPECT_FALSE(RunsHere(&log, Bytes(1u << 20)));
  EXPECT_FALSE(RunsHere(&log, DeleteRangeCommand{{.key = "k"}}));
  EXPECT_TRUE(Propose(&log, Bytes(1)).get().ok());
  EXPECT_NE(gate_.runner(), std::this_thread::get_id());
  EXPECT_TRUE(GetsToRunHere(&log, Bytes(1)));
  EXPECT_EQ(log.pending(), 0u);
}

TEST_F(KvCommitLog, AfterASlowGroupNobodyIsHeldForAWhile) {
  class Slow final : public GroupHandler {
   public:
    explicit Slow(ManualClock* clock) : clock_(clock) {}
    void HandleGroup(std::vector<Proposal>&& group, Durability) override {
      runner = std::this_thread::get_id();
      clock_->Advance(takes);
      for (Proposal& proposal : group) proposal.done(CommandResult(Applied{}));
    }
    std::thread::id runner;
    std::chrono::nanoseconds takes{0};

   private:
    ManualClock* const clock_;
  };
  ManualClock clock;
  Slow slow(&clock);
  options_.clock = &clock;
  LocalCommitLog log(options_);
  log.Start(&slow);
  const auto runs_here = [&] {
    Propose(&log, Bytes(1), CommitLog::Admission::kLimited, CommitLog::Caller::kMayBlock).get().IgnoreError("not asked");
    return slow.runner == std::this_thread::get_id();
  };
  const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(60);
  while (!runs_here() && std::chrono::steady_clock::now() < deadline) {
  }
  slow.takes = std::chrono::milliseconds(3);
  EXPECT_TRUE(runs_here());  // nobody knew
  slow.takes = std::chrono::nanoseconds(0);
  // 3 ms fall below one after nine quick groups.
  for (int i = 0; i < 9; ++i) EXPECT_FALSE(runs_here()) << i;
  bool here = false;
  while (!here && std::chrono::steady_clock::now() < deadline) here = runs_here();
  EXPECT_TRUE(here);
}

/// Proposes from within its own answer, and from another thread, while a caller runs its command.
TEST_F(KvCommitLog, WhatComesWhileACallerRunsIsTheThreadsNext) {
  LocalCommitLog log(options_);
  log.Start(&gate_);
  gate_.Open();
  ASSERT_TRUE(GetsToRunHere(&log, Bytes(1)));
  for (int round = 0; round < 200; ++round) {
    std::future<Status> inner;
    std::promise<Status> outer;
    std::future<Status> other;
    log.Propose(
        Bytes(1),
        [&](const Result<CommandResult>& result) {
          inner = Propose(&log, Bytes(1), CommitLog::Admission::kLimited, CommitLog::Caller::kMayBlock);
          std::thread([&] { other = Propose(&log, Bytes(1)); }).join();
          outer.set_value(result.error());
        },
        CommitLog::Admission::kLimited, CommitLog::Caller::kMayBlock);
    EXPECT_TRUE(outer.get_future().get().ok());
    EXPECT_TRUE(inner.get().ok());
    EXPECT_TRUE(other.get().ok());
  }
  log.Stop();
  EXPECT_EQ(log.pending(), 0u);
}

}  // namespace
}  // namespace vellum::kv
