#include "kv/engine.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <set>
#include <thread>

#include "kv/engine_test_util.h"

namespace vellum::kv {
namespace {

class KvEngine : public EngineTest {};

TEST_F(KvEngine, WhatIsAnsweredCanBeReadAndSurvivesReopening) {
  const Engine::Info fresh = engine_->GetInfo();
  EXPECT_NE(fresh.cluster_id, 0u);
  EXPECT_NE(fresh.member_id, 0u);
  EXPECT_EQ(fresh.revision, 1);
  ASSERT_TRUE(Put("a", "1").ok());
  EXPECT_EQ(Get("a").kvs.at(0).value, "1");
  ASSERT_TRUE(Put("a", "2").ok());
  EXPECT_EQ(Get("a", 2).kvs.at(0).value, "1");
  Open();
  EXPECT_EQ(engine_->GetInfo().cluster_id, fresh.cluster_id);
  EXPECT_EQ(engine_->GetInfo().revision, 3);
  EXPECT_EQ(engine_->GetInfo().keys, 1);
  EXPECT_EQ(Get("a").kvs.at(0).value, "2");
}

TEST_F(KvEngine, ASecondOpenIsRefusedAndNamesTheDirectory) {
  const auto second = Engine::Open(options_);
  ASSERT_FALSE(second.ok());
  EXPECT_EQ(second.error().code(), Code::kFailedPrecondition);
  EXPECT_NE(second.error().message().find(options_.data_dir), std::string::npos);
  EXPECT_NE(second.error().message().find(std::to_string(::getpid())), std::string::npos);
}

TEST_F(KvEngine, ConcurrentProposalsGetDistinctRevisions) {
  constexpr int kThreads = 4;
  constexpr int kPuts = 200;
  std::vector<std::vector<Revision>> revisions(kThreads);
  std::vector<std::thread> threads;
  for (int t = 0; t < kThreads; ++t) {
    threads.emplace_back([&, t] {
      for (int i = 0; i < kPuts; ++i) {
        const auto result = Put("k" + std::to_string(t), std::to_string(i));
        ASSERT_TRUE(result.ok());
        revisions[static_cast<std::size_t>(t)].push_back(std::get<PutResponse>(*result).revision);
        // What was answered is published.
        ASSERT_GE(engine_->CurrentView()->revision(), revisions[static_cast<std::size_t>(t)].back());
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  std::set<Revision> all;
  for (const auto& list : revisions) {
    EXPECT_TRUE(std::is_sorted(list.begin(), list.end()));
    all.insert(list.begin(), list.end());
  }
  EXPECT_EQ(all.size(), static_cast<std::size_t>(kThreads * kPuts));
  EXPECT_EQ(*all.rbegin(), 1 + kThreads * kPuts);
}

TEST_F(KvEngine, StopIsIdempotentAndRefusesWhatComesLater) {
  ASSERT_TRUE(Put("a", "1").ok());
  EXPECT_TRUE(engine_->Stop().ok());
  EXPECT_TRUE(engine_->Stop().ok());
  const auto late = Put("a", "2");
  EXPECT_EQ(late.error().code(), Code::kUnavailable);
  EXPECT_EQ(late.error().reason(), Reason::kStopped);
  EXPECT_FALSE(late.error().maybe_applied());
  EXPECT_EQ(Get("a").kvs.at(0).value, "1");
}

TEST_F(KvEngine, ReadOnlyOpensAndRefusesWrites) {
  ASSERT_TRUE(Put("a", "1").ok());
  options_.read_only = true;
  Open();
  EXPECT_EQ(Get("a").kvs.at(0).value, "1");
  EXPECT_EQ(Put("a", "2").error().reason(), Reason::kStopped);
  EXPECT_FALSE(Compact(2).ok());
  engine_.reset();
  options_.data_dir = dir_.path() + "/nothing";
  EXPECT_EQ(Engine::Open(options_).error().code(), Code::kFailedPrecondition);
  // What cannot be looked at is not what is not there.
  options_.data_dir = dir_.path() + "/" + std::string(300, 'x');
  const auto hidden = Engine::Open(options_);
  ASSERT_FALSE(hidden.ok());
  EXPECT_NE(hidden.error().message().find("cannot look into"), std::string::npos) << hidden.error().ToString();
}

TEST_F(KvEngine, GrantsRaiseTheTtlAndAreKnownWhenAnswered) {
  EXPECT_EQ(Do(LeaseGrantCommand{0, 10}).error().code(), Code::kInvalidArgument);
  EXPECT_EQ(Do(LeaseGrantCommand{5, 9'000'000'001}).error().reason(), Reason::kLeaseTtlTooLarge);
  const auto granted = Do(LeaseGrantCommand{-13, -5});
  ASSERT_TRUE(granted.ok());
  EXPECT_EQ(std::get<LeaseGrantResponse>(*granted).ttl_s, 2);
  EXPECT_TRUE(engine_->lessor().TimeToLive(-13).has_value());
  ASSERT_TRUE(Do(LeaseGrantCommand{7, 100}).ok());
  ASSERT_TRUE(Put("a", "1", 7).ok());
  Open();
  EXPECT_EQ(engine_->lessor().size(), 2u);
  EXPECT_EQ(engine_->lessor().TimeToLive(7)->granted_ttl_s, 100);
  ASSERT_TRUE(Do(LeaseRevokeCommand{7}).ok());
  EXPECT_FALSE(engine_->lessor().TimeToLive(7).has_value());
  EXPECT_TRUE(Get("a").kvs.empty());
}

TEST_F(KvEngine, TheWireMayCompactToZeroOnce) {
  EXPECT_EQ(Compact(0).error().message(), "invalid compact revision: 0");
  EXPECT_TRUE(Compact(0, false, CompactRules::kEtcd).ok());
  EXPECT_EQ(Compact(0, false, CompactRules::kEtcd).error().reason(), Reason::kCompacted);
  EXPECT_EQ(Compact(5, false, CompactRules::kEtcd).error().reason(), Reason::kFutureRevision);
  EXPECT_EQ(Compact(-3, false, CompactRules::kEtcd).error().reason(), Reason::kCompacted);
}

TEST_F(KvEngine, NewerFormatsAndDamagedOnesAreRefused) {
  engine_.reset();
  const std::string path = options_.data_dir + "/FORMAT";
  const auto write = [&](const std::string& text) {
    std::FILE* file = std::fopen(path.c_str(), "w");
    std::fputs(text.c_str(), file);
    std::fclose(file);
  };
  write("999\n");
  EXPECT_EQ(Engine::Open(options_).error().code(), Code::kFailedPrecondition);
  EXPECT_NE(Engine::Open(options_).error().message().find("999"), std::string::npos);
  write("bogus");
  EXPECT_EQ(Engine::Open(options_).error().code(), Code::kDataLoss);
  write("1\n");
  EXPECT_TRUE(Engine::Open(options_).ok());
}

TEST_F(KvEngine, AQuotaRaisesTheAlarmBeforeItIsExceeded) {
  options_.quota_backend_bytes = 200'000;
  Open();
  Result<CommandResult> result = CommandResult(Applied{});
  int puts = 0;
  while (result.ok() && puts < 1000) {
    result = Put("k" + std::to_string(puts++), std::string(4096, 'v'));
  }
  ASSERT_FALSE(result.ok());
  EXPECT_EQ(result.error().reason(), Reason::kNoSpace);
  EXPECT_FALSE(result.error().maybe_applied());
  EXPECT_EQ(Put("", "").error().reason(), Reason::kKeyEmpty);  // fields first
  EXPECT_TRUE(Do(DeleteRangeCommand{{"k0", "", false}}).ok());
  const std::vector<AlarmEntry> alarms = engine_->GetInfo().alarms;
  ASSERT_EQ(alarms.size(), 1u);
  EXPECT_EQ(alarms[0], (AlarmEntry{engine_->GetInfo().member_id, AlarmType::kNoSpace}));
  options_.quota_backend_bytes = 0;
  Open();
  EXPECT_EQ(Put("a", "1").error().reason(), Reason::kNoSpace);  // until an operator clears it
  ASSERT_TRUE(Do(AlarmCommand{false, AlarmType::kNoSpace, alarms[0].member_id}).ok());
  EXPECT_TRUE(Put("a", "1").ok());
}

}  // namespace
}  // namespace vellum::kv
