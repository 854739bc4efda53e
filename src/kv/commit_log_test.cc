#include "kv/commit_log.h"

#include <gtest/gtest.h>

#include <future>

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
  std::vector<std::size_t> sizes() {
    MutexLock lock(&mu_);
    return sizes_;
  }

 private:
  Mutex mu_;
  CondVar wake_;
  bool open_ VELLUM_GUARDED_BY(mu_) = false;
  std::vector<std::size_t> sizes_ VELLUM_GUARDED_BY(mu_);
};

class KvCommitLog : public ::testing::Test {
 protected:
  KvCommitLog() { options_.metrics = &metrics_; }
  std::future<Status> Propose(CommitLog* log, Command command,
                              CommitLog::Admission admission = CommitLog::Admission::kLimited) {
    auto promise = std::make_shared<std::promise<Status>>();
    log->Propose(
        std::move(command), [promise](const Result<CommandResult>& result) { promise->set_value(result.error()); },
        admission);
    return promise->get_future();
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

}  // namespace
}  // namespace vellum::kv
