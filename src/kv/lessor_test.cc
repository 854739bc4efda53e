#include "kv/lessor.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <deque>
#include <map>
#include <random>
#include <thread>

#include "base/manual_clock.h"
#include "base/mutex.h"
#include "base/test_random.h"

namespace vellum::kv {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

/// Stands for the engine: keeps proposals until the test decides them.
class Proposals {
 public:
  struct Pending {
    Command command;
    std::function<void(Result<CommandResult>)> done;
  };

  ProposeFunction Function() {
    return [this](Command command, std::function<void(Result<CommandResult>)> done) {
      MutexLock lock(&mu_);
      pending_.push_back({std::move(command), std::move(done)});
      arrived_.NotifyAll();
    };
  }
  std::size_t size() {
    MutexLock lock(&mu_);
    return pending_.size();
  }
  Pending Take() {
    MutexLock lock(&mu_);
    while (pending_.empty()) arrived_.Wait(&mu_);
    Pending first = std::move(pending_.front());
    pending_.pop_front();
    return first;
  }

 private:
  Mutex mu_;
  CondVar arrived_;
  std::deque<Pending> pending_;
};

class KvLessor : public testing::Test {
 protected:
  Lessor::Options MakeOptions() {
    Lessor::Options options;
    options.clock = &clock_;
    options.metrics = &metrics_;
    return options;
  }
  /// What KeepAlive answers; nullopt while it waits.
  std::shared_ptr<std::optional<Result<std::int64_t>>> KeepAlive(Lessor* lessor, LeaseId id) {
    auto answer = std::make_shared<std::optional<Result<std::int64_t>>>();
    lessor->KeepAlive(id, [answer](Result<std::int64_t> ttl) { answer->emplace(std::move(ttl)); });
    return answer;
  }
  std::vector<LeaseExpireCommand::Entry> TakeExpiry(Proposals::Pending* pending) {
    *pending = proposals_.Take();
    return std::get<LeaseExpireCommand>(pending->command).entries;
  }

  ManualClock clock_;
  Metrics metrics_;
  Proposals proposals_;
};

TEST_F(KvLessor, ExpiresNotBeforeItsTimeAndThenOnce) {
  Lessor lessor(MakeOptions(), proposals_.Function());
  lessor.OnGranted(7, 10, 1);
  clock_.Advance(seconds(10) - std::chrono::nanoseconds(1));
  lessor.Tick();
  EXPECT_EQ(proposals_.size(), 0u);
  clock_.Advance(std::chrono::nanoseconds(1));
  lessor.Tick();
  lessor.Tick();
  ASSERT_EQ(proposals_.size(), 1u);
  Proposals::Pending pending;
  const auto entries = TakeExpiry(&pending);
  ASSERT_EQ(entries.size(), 1u);
  EXPECT_EQ(entries[0].id, 7);
  EXPECT_EQ(entries[0].incarnation, 1u);
  EXPECT_EQ(lessor.size(), 1u) << "it lives until the store says so";
  pending.done(CommandResult(LeaseExpireResult{5, 1}));
  EXPECT_EQ(lessor.size(), 0u);
  EXPECT_NE(metrics_.Expose().find("etcd_debugging_server_lease_expired_total 1"), std::string::npos);
}

TEST_F(KvLessor, RenewalMovesTheDeadlineAndWritesNothing) {
  Lessor lessor(MakeOptions(), proposals_.Function());
  lessor.OnGranted(7, 10, 1);
  for (int i = 0; i < 100; ++i) {
    clock_.Advance(seconds(9));
    lessor.Tick();
    const auto answer = KeepAlive(&lessor, 7);
    ASSERT_TRUE(answer->has_value());
    EXPECT_EQ(***answer, 10);
  }
  EXPECT_EQ(proposals_.size(), 0u);
  EXPECT_EQ(lessor.TimeToLive(7)->ttl_s, 10);
  clock_.Advance(seconds(10));
  lessor.Tick();
  EXPECT_EQ(proposals_.size(), 1u);
}

TEST_F(KvLessor, KeepAliveOfAnUnknownLeaseIsZeroAndNoError) {
  Lessor lessor(MakeOptions(), proposals_.Function());
  const auto answer = KeepAlive(&lessor, 99);
  ASSERT_TRUE(answer->has_value());
  ASSERT_TRUE((*answer)->ok());
  EXPECT_EQ(***answer, 0);
}

TEST_F(KvLessor, KeepAliveWaitsForTheOutcomeOfAnExpiry) {
  Lessor lessor(MakeOptions(), proposals_.Function());
  lessor.OnGranted(7, 10, 1);
  clock_.Advance(seconds(10));
  const auto before = KeepAlive(&lessor, 7);  // over, but not proposed yet
  EXPECT_FALSE(before->has_value());
  lessor.Tick();
  const auto during = KeepAlive(&lessor, 7);
  EXPECT_FALSE(during->has_value());
  Proposals::Pending pending;
  TakeExpiry(&pending);
  pending.done(CommandResult(LeaseExpireResult{5, 1}));
  ASSERT_TRUE(before->has_value() && during->has_value());
  EXPECT_EQ(***before, 0);
  EXPECT_EQ(***during, 0);
}

TEST_F(KvLessor, AFailedExpiryIsDueAgain) {
  Lessor lessor(MakeOptions(), proposals_.Function());
  lessor.OnGranted(7, 10, 1);
  clock_.Advance(seconds(10));
  lessor.Tick();
  const auto answer = KeepAlive(&lessor, 7);
  Proposals::Pending pending;
  TakeExpiry(&pending);
  pending.done(ResourceExhausted("too many", Reason::kTooManyRequests));
  ASSERT_TRUE(answer->has_value());
  EXPECT_EQ((*answer)->error().reason(), Reason::kTooManyRequests);
  EXPECT_EQ(lessor.size(), 1u);
  lessor.Tick();
  EXPECT_EQ(proposals_.size(), 0u) << "not in a tight loop";
  clock_.Advance(milliseconds(500));
  lessor.Tick();
  EXPECT_EQ(TakeExpiry(&pending).size(), 1u);
}

TEST_F(KvLessor, RevokedWhileExpiringAnswersZeroAndIgnoresTheOldOutcome) {
  Lessor lessor(MakeOptions(), proposals_.Function());
  lessor.OnGranted(7, 10, 1);
  clock_.Advance(seconds(10));
  lessor.Tick();
  const auto answer = KeepAlive(&lessor, 7);
  Proposals::Pending pending;
  TakeExpiry(&pending);
  lessor.OnRevoked(7, 1);
  ASSERT_TRUE(answer->has_value());
  EXPECT_EQ(***answer, 0);
  lessor.OnGranted(7, 20, 2);  // the id is used again
  pending.done(CommandResult(LeaseExpireResult{5, 0}));
  EXPECT_EQ(lessor.TimeToLive(7)->ttl_s, 20);
  lessor.OnRevoked(7, 1);
  EXPECT_EQ(lessor.size(), 1u) << "another incarnation's end does not touch it";
}

TEST_F(KvLessor, TimeToLiveRoundsDown) {
  Lessor lessor(MakeOptions(), proposals_.Function());
  lessor.OnGranted(7, 10, 1);
  EXPECT_EQ(lessor.TimeToLive(7)->ttl_s, 10);
  clock_.Advance(milliseconds(1));
  EXPECT_EQ(lessor.TimeToLive(7)->ttl_s, 9);
  EXPECT_EQ(lessor.TimeToLive(7)->granted_ttl_s, 10);
  clock_.Advance(seconds(100));
  EXPECT_EQ(lessor.TimeToLive(7)->ttl_s, 0);
  EXPECT_FALSE(lessor.TimeToLive(8).has_value());
}

TEST_F(KvLessor, ListsInOrderOfExpiry) {
  Lessor lessor(MakeOptions(), proposals_.Function());
  lessor.OnGranted(1, 30, 1);
  lessor.OnGranted(2, 10, 2);
  lessor.OnGranted(-3, 20, 3);
  EXPECT_EQ(lessor.List(), (std::vector<LeaseId>{2, -3, 1}));
  clock_.Advance(seconds(5));
  KeepAlive(&lessor, 2);
  clock_.Advance(seconds(10));
  EXPECT_EQ(lessor.List(), (std::vector<LeaseId>{2, -3, 1}));
  KeepAlive(&lessor, -3);
  EXPECT_EQ(lessor.List(), (std::vector<LeaseId>{2, 1, -3}));
}

TEST_F(KvLessor, EffectiveTtl) {
  Lessor lessor(MakeOptions(), proposals_.Function());
  EXPECT_EQ(*lessor.EffectiveTtl(-5), 2);
  EXPECT_EQ(*lessor.EffectiveTtl(0), 2);
  EXPECT_EQ(*lessor.EffectiveTtl(3), 3);
  EXPECT_EQ(*lessor.EffectiveTtl(kLeaseTtlMax), kLeaseTtlMax);
  EXPECT_EQ(lessor.EffectiveTtl(kLeaseTtlMax + 1).error().reason(), Reason::kLeaseTtlTooLarge);
}

TEST_F(KvLessor, TheLongestLeaseDoesNotOverflow) {
  Lessor lessor(MakeOptions(), proposals_.Function());
  lessor.OnGranted(1, kLeaseTtlMax, 1);
  lessor.Restore(2, {std::numeric_limits<std::int64_t>::max(), 2, -9});
  clock_.Advance(std::chrono::hours(24));
  lessor.Tick();
  EXPECT_GT(lessor.TimeToLive(1)->ttl_s, kLeaseTtlMax - 86402);
  EXPECT_GT(lessor.TimeToLive(2)->ttl_s, kLeaseTtlMax - 86402);
}

TEST_F(KvLessor, PicksPositiveIdsThatDiffer) {
  Lessor lessor(MakeOptions(), proposals_.Function());
  std::map<LeaseId, int> seen;
  for (int i = 0; i < 10000; ++i) {
    const LeaseId id = lessor.PickId();
    EXPECT_GT(id, 0);
    EXPECT_EQ(seen[id]++, 0);
  }
}

TEST_F(KvLessor, ManyLeasesExpireInBoundedGroups) {
  Lessor lessor(MakeOptions(), proposals_.Function());
  constexpr std::size_t kLeases = 20000;
  for (std::size_t i = 1; i <= kLeases; ++i) lessor.OnGranted(static_cast<LeaseId>(i), 5, i);
  clock_.Advance(seconds(5));
  std::size_t expired = 0;
  while (expired < kLeases) {
    lessor.Tick();
    ASSERT_GE(proposals_.size(), 1u);
    ASSERT_LE(proposals_.size(), MakeOptions().expire_groups_in_flight_max);
    Proposals::Pending pending;
    const auto entries = TakeExpiry(&pending);
    ASSERT_LE(entries.size(), MakeOptions().expire_group_max);
    expired += entries.size();
    pending.done(CommandResult(LeaseExpireResult{5, static_cast<std::int64_t>(entries.size())}));
  }
  EXPECT_EQ(lessor.size(), 0u);
}

TEST_F(KvLessor, TakeExpiredIsForWhoCompacts) {
  Lessor lessor(MakeOptions(), proposals_.Function());
  lessor.OnGranted(1, 5, 1);
  lessor.OnGranted(2, 5, 2);
  lessor.OnGranted(3, 50, 3);
  clock_.Advance(seconds(6));
  const auto first = lessor.TakeExpired(1);
  ASSERT_EQ(first.size(), 1u);
  const auto rest = lessor.TakeExpired(1000);
  ASSERT_EQ(rest.size(), 1u);
  lessor.Tick();
  EXPECT_EQ(proposals_.size(), 0u) << "they are being decided";
  lessor.ExpiryDecided(first, Status());
  lessor.ExpiryDecided(rest, Unavailable("no"));
  EXPECT_EQ(lessor.size(), 2u);
  clock_.Advance(seconds(1));
  EXPECT_EQ(lessor.TakeExpired(1000).size(), 1u);
}

TEST_F(KvLessor, OnlyLongLeasesAreCheckpointedWhileRunning) {
  Lessor lessor(MakeOptions(), proposals_.Function());
  lessor.OnGranted(1, 299, 1);
  lessor.OnGranted(2, 1000, 2);
  clock_.Advance(seconds(100));
  KeepAlive(&lessor, 1);
  clock_.Advance(seconds(198));
  lessor.Tick();
  EXPECT_EQ(proposals_.size(), 0u);
  clock_.Advance(milliseconds(2500));
  KeepAlive(&lessor, 1);
  lessor.Tick();
  ASSERT_EQ(proposals_.size(), 1u);
  Proposals::Pending pending = proposals_.Take();
  const auto& entries = std::get<LeaseCheckpointCommand>(pending.command).entries;
  ASSERT_EQ(entries.size(), 1u);
  EXPECT_EQ(entries[0].id, 2);
  EXPECT_EQ(entries[0].remaining_ttl_s, 700) << "rounded up";
  pending.done(CommandResult(Applied{}));
}

TEST_F(KvLessor, CheckpointsAreLimitedPerSecond) {
  Lessor lessor(MakeOptions(), proposals_.Function());
  for (int i = 1; i <= 5000; ++i) lessor.OnGranted(i, 600, static_cast<std::uint64_t>(i));
  clock_.Advance(seconds(300));
  std::size_t written = 0;
  for (int second = 0; second < 5; ++second) {
    std::size_t this_second = 0;
    for (int tick = 0; tick < 10; ++tick) {
      lessor.Tick();
      while (proposals_.size() > 0) {
        Proposals::Pending pending = proposals_.Take();
        this_second += std::get<LeaseCheckpointCommand>(pending.command).entries.size();
        pending.done(CommandResult(Applied{}));
        lessor.Tick();
      }
      clock_.Advance(milliseconds(100));
    }
    EXPECT_LE(this_second, second == 0 ? 1900u : 1000u);
    written += this_second;
  }
  EXPECT_EQ(written, 5000u);
}

TEST_F(KvLessor, RenewingACheckpointedLeaseLogsAResetFirst) {
  Lessor lessor(MakeOptions(), proposals_.Function());
  lessor.Restore(1, {600, 11, 250});
  EXPECT_EQ(lessor.TimeToLive(1)->ttl_s, 250);
  const auto first = KeepAlive(&lessor, 1);
  const auto second = KeepAlive(&lessor, 1);
  EXPECT_FALSE(first->has_value());
  ASSERT_EQ(proposals_.size(), 1u) << "one reset for both";
  Proposals::Pending pending = proposals_.Take();
  const auto& entries = std::get<LeaseCheckpointCommand>(pending.command).entries;
  ASSERT_EQ(entries.size(), 1u);
  EXPECT_EQ(entries[0].remaining_ttl_s, 0);
  EXPECT_EQ(entries[0].incarnation, 11u);
  clock_.Advance(seconds(3));
  pending.done(CommandResult(Applied{}));
  ASSERT_TRUE(first->has_value() && second->has_value());
  EXPECT_EQ(***first, 600);
  EXPECT_EQ(lessor.TimeToLive(1)->ttl_s, 600) << "counted from the answer";
  const auto third = KeepAlive(&lessor, 1);
  EXPECT_TRUE(third->has_value()) << "nothing is stored any more";
  EXPECT_EQ(proposals_.size(), 0u);
}

TEST_F(KvLessor, AFailedResetFailsTheKeepAliveAndIsTriedAgain) {
  Lessor lessor(MakeOptions(), proposals_.Function());
  lessor.Restore(1, {600, 11, 250});
  const auto first = KeepAlive(&lessor, 1);
  proposals_.Take().done(Unavailable("the disk is gone"));
  ASSERT_TRUE(first->has_value());
  EXPECT_FALSE((*first)->ok());
  const auto second = KeepAlive(&lessor, 1);
  EXPECT_FALSE(second->has_value());
  EXPECT_EQ(proposals_.size(), 1u);
}

TEST_F(KvLessor, ACleanStopStoresEveryRemainder) {
  Lessor lessor(MakeOptions(), proposals_.Function());
  lessor.OnGranted(1, 10, 1);
  lessor.OnGranted(2, 600, 2);
  lessor.Restore(3, {600, 3, 250});
  clock_.Advance(milliseconds(4500));
  lessor.OnGranted(4, 20, 4);  // full: nothing to store
  lessor.Stop();
  auto entries = lessor.Checkpoints();
  std::sort(entries.begin(), entries.end(), [](const auto& a, const auto& b) { return a.id < b.id; });
  ASSERT_EQ(entries.size(), 3u);
  EXPECT_EQ(entries[0].remaining_ttl_s, 6);
  EXPECT_EQ(entries[1].remaining_ttl_s, 596);
  EXPECT_EQ(entries[2].remaining_ttl_s, 246);
}

TEST_F(KvLessor, StopAnswersWhoWaits) {
  Lessor lessor(MakeOptions(), proposals_.Function());
  lessor.Start();
  lessor.OnGranted(1, 10, 1);
  clock_.Advance(seconds(10));
  const auto waiting = KeepAlive(&lessor, 1);
  lessor.Stop();
  ASSERT_TRUE(waiting->has_value());
  EXPECT_EQ((*waiting)->error().reason(), Reason::kStopped);
  const auto late = KeepAlive(&lessor, 1);
  EXPECT_EQ((*late)->error().reason(), Reason::kStopped);
  lessor.Stop();
}

TEST_F(KvLessor, ProposalsMayBeDecidedAfterTheLessorHasGone) {
  auto lessor = std::make_unique<Lessor>(MakeOptions(), proposals_.Function());
  lessor->OnGranted(1, 10, 1);
  clock_.Advance(seconds(10));
  lessor->Tick();
  lessor.reset();
  proposals_.Take().done(CommandResult(LeaseExpireResult{5, 1}));
}

TEST_F(KvLessor, TheThreadExpiresByItself) {
  Lessor::Options options = MakeOptions();
  options.tick = milliseconds(1);
  Lessor lessor(options, proposals_.Function());
  lessor.Start();
  for (int i = 1; i <= 3000; ++i) lessor.OnGranted(i, 5, static_cast<std::uint64_t>(i));
  clock_.Advance(seconds(5));
  std::size_t expired = 0;
  while (expired < 3000) {
    Proposals::Pending pending;
    expired += TakeExpiry(&pending).size();
    pending.done(CommandResult(LeaseExpireResult{1, 500}));
  }
  EXPECT_EQ(lessor.size(), 0u);
}

TEST(KvLeaseTable, GrantingAndRevokingForEverKeepsTheHeapsSmall) {
  ManualClock clock;
  LeaseTable table{LeaseTable::Options()};
  LeaseTable::Waiters nobody;
  for (std::uint64_t i = 1; i <= 100000; ++i) {
    table.Add(5, i, kLeaseTtlMax, 0, clock.Now(), &nobody);
    EXPECT_TRUE(table.Remove(5, i, &nobody));
  }
  EXPECT_LT(table.heap_entries(), 5000u);
}

/// Random grants, renewals, revocations and outcomes against a plain map of deadlines: nothing early, nothing lost.
TEST(KvLeaseTable, RandomOperationsAgreeWithAPlainMap) {
  std::mt19937_64 rng = SeededRandom();
  ManualClock clock;
  LeaseTable table{LeaseTable::Options()};
  LeaseTable::Waiters nobody;
  struct Expected {
    std::uint64_t incarnation;
    std::int64_t ttl_s;
    Clock::TimePoint deadline;
    bool deciding;
  };
  std::map<LeaseId, Expected> expected;
  std::uint64_t incarnation = 0;
  for (int step = 0; step < 20000; ++step) {
    const auto id = static_cast<LeaseId>(rng() % 50 + 1);
    const auto it = expected.find(id);
    switch (rng() % 5) {
      case 0:
        if (it == expected.end()) {
          const auto ttl = static_cast<std::int64_t>(rng() % 20 + 1);
          table.Add(id, ++incarnation, ttl, 0, clock.Now(), &nobody);
          expected[id] = {incarnation, ttl, clock.Now() + seconds(ttl), false};
        }
        break;
      case 1:
        EXPECT_EQ(table.Remove(id, it == expected.end() ? 0 : it->second.incarnation, &nobody), it != expected.end());
        if (it != expected.end()) expected.erase(it);
        break;
      case 2: {
        LeaseTable::Waiter waiter = [](const Result<std::int64_t>&) {};
        std::int64_t ttl = 0;
        std::uint64_t got = 0;
        const auto renewal = table.Renew(id, clock.Now(), &waiter, &ttl, &got);
        if (it == expected.end()) {
          EXPECT_EQ(renewal, LeaseTable::Renewal::kUnknown);
        } else if (it->second.deciding || it->second.deadline <= clock.Now()) {
          EXPECT_EQ(renewal, LeaseTable::Renewal::kExpired);
        } else {
          EXPECT_EQ(renewal, LeaseTable::Renewal::kRenewed);
          it->second.deadline = clock.Now() + seconds(it->second.ttl_s);
        }
        break;
      }
      case 3: {
        std::vector<LeaseExpireCommand::Entry> due;
        EXPECT_FALSE(table.TakeExpired(clock.Now(), 1000, &due));
        for (const auto& entry : due) {
          ASSERT_TRUE(expected.contains(entry.id));
          EXPECT_LE(expected[entry.id].deadline, clock.Now());
          EXPECT_FALSE(expected[entry.id].deciding);
          if (rng() % 3 == 0) {
            table.ExpiryFailed(entry, clock.Now(), &nobody);
          } else if (rng() % 2 == 0) {
            expected[entry.id].deciding = true;  // never decided: only Remove ends it
          } else {
            EXPECT_TRUE(table.Remove(entry.id, entry.incarnation, &nobody));
            expected.erase(entry.id);
          }
        }
        break;
      }
      case 4:
        clock.Advance(milliseconds(rng() % 1500));
        break;
    }
    ASSERT_EQ(table.size(), expected.size());
  }
  // In the end everything that is not being decided comes up.
  clock.Advance(seconds(100));
  std::vector<LeaseExpireCommand::Entry> due;
  EXPECT_FALSE(table.TakeExpired(clock.Now(), 1000, &due));
  const auto deciding = std::count_if(expected.begin(), expected.end(), [](const auto& e) { return e.second.deciding; });
  EXPECT_EQ(due.size(), expected.size() - static_cast<std::size_t>(deciding));
}

}  // namespace
}  // namespace vellum::kv
