#include "sync/retention.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <set>

#include "base/test_random.h"
#include "sync/test_syncs.h"

namespace vellum::sync {
namespace {

using testing::TestStore;
using testing::Write;

constexpr Stamp kSecond = 1'000'000'000;
constexpr Stamp kDay = 86'400 * kSecond;
constexpr Stamp kNow = 1'700'000'000 * kSecond;

RetentionSync Finished(const std::string& id, const std::string& type, Stamp started_at, Stamp ended_at,
                       const std::string& linked_id = {}) {
  RetentionSync sync;
  sync.entry.run.id = id;
  sync.entry.run.type = type;
  sync.entry.run.started_at = started_at;
  sync.entry.run.ended_at = ended_at;
  sync.entry.run.linked_id = linked_id;
  sync.entry.state = SyncState::kSealed;
  return sync;
}

RetentionSync Open(const std::string& id, Stamp started_at, bool has_writer = false) {
  RetentionSync sync = Finished(id, "full", started_at, 0);
  sync.entry.state = SyncState::kOpen;
  sync.entry.staging = "not-a-ksuid";
  sync.has_writer = has_writer;
  return sync;
}

std::vector<std::string> Ids(const std::vector<Retiring>& plan) {
  std::vector<std::string> ids;
  for (const Retiring& each : plan) ids.push_back(each.entry.run.id);
  return ids;
}
using Expected = std::vector<std::string>;

TEST(Retention, KeepsTheNewestFullOnesWhateverTheLimit) {
  const std::vector<RetentionSync> syncs = {Finished("c", "full", 30, 40), Finished("a", "full", 1, 2),
                                            Finished("d", "full", 50, 60), Finished("b", "", 10, 20)};
  EXPECT_EQ(Ids(PlanRetention(syncs, {.keep = 0}, kNow)), (Expected{"a", "b", "c"}));
  EXPECT_EQ(Ids(PlanRetention(syncs, {.keep = 1}, kNow)), (Expected{"a", "b", "c"}));
  EXPECT_EQ(Ids(PlanRetention(syncs, {.keep = 2}, kNow)), (Expected{"a", "b"}));
  EXPECT_EQ(Ids(PlanRetention(syncs, {.keep = 3}, kNow)), (Expected{"a"}));
  EXPECT_EQ(Ids(PlanRetention(syncs, {.keep = 4}, kNow)), Expected{});
  EXPECT_EQ(Ids(PlanRetention(syncs, {.keep = 4'000'000'000}, kNow)), Expected{});
}

TEST(Retention, EqualEndsAreOrderedByTheId) {
  const std::vector<RetentionSync> syncs = {Finished("b", "full", 1, 2), Finished("a", "full", 1, 2)};
  EXPECT_EQ(Ids(PlanRetention(syncs, {.keep = 1}, kNow)), Expected{"a"});
}

TEST(Retention, PartialOnesGoWithTheFullOnesTheyCameBefore) {
  const std::vector<RetentionSync> syncs = {
      Finished("f1", "full", 10, 20),    Finished("p1", "partial", 21, 25), Finished("r1", "resources_only", 22, 29),
      Finished("f2", "full", 30, 40),    Finished("p2", "partial", 25, 30), Finished("p3", "partial", 41, 45),
  };
  EXPECT_EQ(Ids(PlanRetention(syncs, {.keep = 1}, kNow)), (Expected{"p1", "r1", "f1"})) << "p2 ended when f2 had begun";
  EXPECT_EQ(Ids(PlanRetention(syncs, {.keep = 2}, kNow)), Expected{}) << "nothing is beyond the limit";
}

TEST(Retention, WithoutAStartPartialOnesStay) {
  const std::vector<RetentionSync> syncs = {Finished("f1", "full", 10, 20), Finished("p1", "partial", 21, 25),
                                            Finished("f2", "full", 0, 40)};
  EXPECT_EQ(Ids(PlanRetention(syncs, {.keep = 1}, kNow)), Expected{"f1"});
}

TEST(Retention, OfDiffsTheNewestPairStays) {
  const std::vector<RetentionSync> pairs = {
      Finished("u1", "partial_upserts", 1, 10, "d1"), Finished("d1", "partial_deletions", 1, 10, "u1"),
      Finished("u2", "partial_upserts", 1, 20, "d2"), Finished("d2", "partial_deletions", 1, 20, "u2"),
      Finished("u3", "partial_upserts", 1, 15)};
  EXPECT_EQ(Ids(PlanRetention(pairs, {}, kNow)), (Expected{"d1", "u1", "u3"}));
  const std::vector<RetentionSync> lone = {Finished("u1", "partial_upserts", 1, 10), Finished("u2", "partial_upserts", 1, 20),
                                           Finished("u3", "partial_upserts", 1, 30)};
  EXPECT_EQ(Ids(PlanRetention(lone, {}, kNow)), Expected{"u1"});
  // The partner is known although only the older half names it, and although others ended in between.
  const std::vector<RetentionSync> half = {Finished("a", "partial_deletions", 1, 10, "z"), Finished("b", "partial_upserts", 1, 20),
                                           Finished("z", "partial_upserts", 1, 30)};
  EXPECT_EQ(Ids(PlanRetention(half, {}, kNow)), Expected{"b"});
}

TEST(Retention, UnfinishedOnesGoWhenNobodyHasWrittenThemForLong) {
  RetentionSync imported = Open("imported", kNow - 400 * kDay);
  imported.entry.staging.clear();
  imported.entry.history.push_back({"g", "", kNow - 2 * kDay, "import"});
  const std::vector<RetentionSync> syncs = {Open("old", kNow - 8 * kDay), Open("older", kNow - 9 * kDay),
                                            Open("young", kNow - 6 * kDay), Open("written", kNow - 90 * kDay, true),
                                            Open("unknown", 0), imported, Finished("f", "full", 1, 2)};
  EXPECT_EQ(Ids(PlanRetention(syncs, {}, kNow)), (Expected{"older", "old"}));
  EXPECT_EQ(Ids(PlanRetention(syncs, {.open_keep_s = 86'400}, kNow)), (Expected{"older", "old", "young", "imported"}));
  EXPECT_EQ(Ids(PlanRetention(syncs, {.open_keep_s = 0}, kNow)), Expected{});
  EXPECT_EQ(PlanRetention(syncs, {}, kNow)[0].why, "unfinished, and nobody has written it for 7 days");
}

TEST(Retention, ASyncThatCannotBeReadIsNeitherKeptNorDeleted) {
  std::vector<RetentionSync> syncs = {Finished("a", "full", 1, 10), Finished("b", "full", 11, 20), Finished("c", "full", 21, 30)};
  syncs[2].readable = false;
  EXPECT_EQ(Ids(PlanRetention(syncs, {.keep = 1}, kNow)), Expected{"a"}) << "b is the newest that can be read";
}

/// What must be true of every plan, said without looking at how it is made.
void CheckAgainstRules(const std::vector<RetentionSync>& syncs, const RetentionOptions& options, const std::set<std::string>& gone) {
  const auto is_part = [](const SyncRun& run) { return run.type == "partial" || run.type == "resources_only"; };
  const auto is_diff = [](const SyncRun& run) { return run.type.starts_with("partial_"); };
  const auto finished = [](const RetentionSync& sync) { return sync.entry.run.ended_at != 0; };
  std::size_t fulls = 0;
  std::size_t fulls_gone = 0;
  for (const RetentionSync& sync : syncs) {
    const SyncRun& run = sync.entry.run;
    if (!finished(sync) || is_part(run) || is_diff(run)) continue;
    ++fulls;
    fulls_gone += gone.count(run.id);
    // However many are newer decides.
    std::size_t newer = 0;
    for (const RetentionSync& other : syncs) {
      const SyncRun& theirs = other.entry.run;
      if (!finished(other) || is_part(theirs) || is_diff(theirs)) continue;
      if (theirs.ended_at > run.ended_at || (theirs.ended_at == run.ended_at && theirs.id > run.id)) ++newer;
    }
    EXPECT_EQ(gone.contains(run.id), newer >= std::max<std::size_t>(1, options.keep)) << run.id;
  }
  EXPECT_EQ(fulls - fulls_gone, std::min<std::size_t>(fulls, std::max<std::size_t>(1, options.keep)));
  for (const RetentionSync& sync : syncs) {
    const SyncRun& run = sync.entry.run;
    if (!finished(sync)) {
      EXPECT_EQ(gone.contains(run.id), !sync.has_writer && run.started_at != 0 && kNow - run.started_at > 7 * kDay) << run.id;
    } else if (is_part(run)) {
      bool before_all_kept = fulls_gone > 0;
      for (const RetentionSync& other : syncs) {
        const SyncRun& theirs = other.entry.run;
        if (!finished(other) || is_part(theirs) || is_diff(theirs) || gone.contains(theirs.id)) continue;
        // The oldest that stays is the one that no other kept one is older than.
        const bool oldest = std::none_of(syncs.begin(), syncs.end(), [&](const RetentionSync& each) {
          const SyncRun& e = each.entry.run;
          return finished(each) && !is_part(e) && !is_diff(e) && !gone.contains(e.id) &&
                 (e.ended_at < theirs.ended_at || (e.ended_at == theirs.ended_at && e.id < theirs.id));
        });
        if (oldest && run.ended_at >= theirs.started_at) before_all_kept = false;
      }
      EXPECT_EQ(gone.contains(run.id), before_all_kept) << run.id;
    }
  }
}

TEST(Retention, RandomHistoriesFollowTheRulesAndInterruptedRunsTakeUpTheRest) {
  auto random = SeededRandom();
  const char* const types[] = {"full", "full", "partial", "resources_only", "partial_upserts", "partial_deletions", "weekly"};
  for (int round = 0; round < 2000; ++round) {
    std::vector<RetentionSync> syncs;
    const std::size_t count = random() % 14;
    for (std::size_t i = 0; i < count; ++i) {
      const std::string id = "s" + std::to_string(random() % 100) + "-" + std::to_string(i);
      if (random() % 6 == 0) {
        syncs.push_back(Open(id, random() % 4 == 0 ? 0 : kNow - (random() % 14) * kDay, random() % 3 == 0));
      } else {
        const Stamp started = random() % 40;
        syncs.push_back(Finished(id, types[random() % std::size(types)], started, started + 1 + random() % 10,
                                 random() % 2 == 0 && !syncs.empty() ? syncs[random() % syncs.size()].entry.run.id : ""));
      }
    }
    const RetentionOptions options{.keep = static_cast<std::uint32_t>(random() % 5)};
    const auto plan = PlanRetention(syncs, options, kNow);
    const auto ids = Ids(plan);
    const std::set<std::string> gone(ids.begin(), ids.end());
    ASSERT_EQ(gone.size(), ids.size()) << "nothing is named twice";
    CheckAgainstRules(syncs, options, gone);
    // Stopped anywhere and started again, the rest of the same plan follows.
    const std::size_t stopped = ids.empty() ? 0 : random() % (ids.size() + 1);
    const std::set<std::string> done(ids.begin(), ids.begin() + static_cast<std::ptrdiff_t>(stopped));
    std::vector<RetentionSync> left = syncs;
    std::erase_if(left, [&](const RetentionSync& sync) { return done.contains(sync.entry.run.id); });
    EXPECT_EQ(Ids(PlanRetention(left, options, kNow)),
              Expected(ids.begin() + static_cast<std::ptrdiff_t>(stopped), ids.end()));
    if (::testing::Test::HasFailure()) return;
  }
}

TEST(RetentionStore, DryRunShowsAndTheRunDeletes) {
  TestStore test;
  for (int i = 1; i <= 4; ++i) {
    Write(&test, {.id = "f" + std::to_string(i), .started_at = static_cast<Stamp>(i * 100), .ended_at = static_cast<Stamp>(i * 100 + 50),
                  .grants = i * 10});
  }
  Write(&test, {.id = "other", .connector = "elsewhere", .started_at = 1, .ended_at = 2});
  const auto shown = Retain(test.store.get(), "test", {.keep = 2}, /*dry_run=*/true);
  ASSERT_TRUE(shown.ok());
  ASSERT_EQ(shown->size(), 2u);
  EXPECT_EQ((*shown)[0].retiring.entry.run.id, "f1");
  EXPECT_EQ((*shown)[0].records, 10u);
  EXPECT_GT((*shown)[0].bytes, 0u);
  EXPECT_EQ((*shown)[0].retiring.why, "beyond the 2 newest finished full syncs");
  EXPECT_EQ(test.Ids().size(), 5u);
  const auto done = Retain(test.store.get(), "test", {.keep = 2}, /*dry_run=*/false);
  ASSERT_TRUE(done.ok());
  EXPECT_EQ(done->size(), 2u);
  EXPECT_EQ(test.Ids(), (Expected{"f3", "f4", "other"}));
  EXPECT_EQ(test.Count("generations"), 3u);
  EXPECT_TRUE(Retain(test.store.get(), "test", {.keep = 2}, false)->empty());
  EXPECT_NE(test.metrics.Expose().find("vellum_sync_retired_total{rule=\"full\"} 2"), std::string::npos);
}

TEST(RetentionStore, AGenerationThatAnotherHistoryHasStays) {
  TestStore test;
  Write(&test, {.id = "f1", .started_at = 100, .ended_at = 150});
  Write(&test, {.id = "f2", .started_at = 200, .ended_at = 250, .grants = 20});
  const GenerationId first = test.Get("f1").generation();
  const GenerationId second = test.Get("f2").generation();
  ASSERT_TRUE(test.store->SwitchTo(first, {{test.Get("f2"), "replace"}}).ok());
  ASSERT_TRUE(test.store->SwitchTo(second, {{test.Get("f2"), "replace"}}).ok());
  ASSERT_EQ(Retain(test.store.get(), "test", {.keep = 1}, false)->size(), 1u);
  EXPECT_EQ(test.Ids(), Expected{"f2"});
  EXPECT_TRUE(test.store->Rollback("f2", first).ok());
  EXPECT_EQ(testing::Dump(*test.Open("f2")).size(), 10u + 10u + 2u);
}

TEST(RetentionStore, UnfinishedOnesWithAWriterStayAndOthersGoWithTheirFiles) {
  TestStore test;
  auto writer = SyncWriter::Begin(test.store.get(), testing::RunOf({.id = "open"}), "test");
  ASSERT_TRUE(writer.ok());
  testing::PutGrant(writer->get(), "g", "u", 1, "x");
  ASSERT_TRUE((*writer)->Checkpoint("t").ok());
  test.clock.Advance(std::chrono::hours(24 * 8));
  EXPECT_TRUE(Retain(test.store.get(), "test", {}, false)->empty()) << "it has a writer";
  writer->reset();
  EXPECT_EQ(test.Count("staging"), 1u);
  const auto gone = Retain(test.store.get(), "test", {}, false);
  ASSERT_TRUE(gone.ok()) << gone.error().ToString();
  ASSERT_EQ(gone->size(), 1u);
  EXPECT_EQ((*gone)[0].retiring.rule, "open");
  EXPECT_EQ(test.Count("staging"), 0u);
}

TEST(RetentionStore, AWriterThatTakesUpASyncMeanwhileKeepsIt) {
  TestStore test;
  {
    auto writer = SyncWriter::Begin(test.store.get(), testing::RunOf({.id = "open"}), "test");
    ASSERT_TRUE(writer.ok());
    testing::PutGrant(writer->get(), "g", "u", 1, "x");
    ASSERT_TRUE((*writer)->Checkpoint("t").ok());
  }
  const SyncEntry seen = test.Get("open");
  auto resumed = SyncWriter::Resume(test.store.get(), "open");
  ASSERT_TRUE(resumed.ok()) << resumed.error().ToString();
  EXPECT_EQ(test.store->Remove(seen, Store::Writers::kRefuse).code(), Code::kAborted);
  EXPECT_TRUE((*resumed)->Seal(3000, "seal").ok());
}

TEST(RetentionStore, DyingBetweenDeletionsLeavesTheRestForTheNextRun) {
  for (int commits = 0; commits < 12; ++commits) {
    for (const bool applied : {false, true}) {
      TestStore test;
      for (int i = 1; i <= 3; ++i) {
        Write(&test, {.id = "f" + std::to_string(i), .started_at = static_cast<Stamp>(i * 100),
                      .ended_at = static_cast<Stamp>(i * 100 + 50), .grants = 1});
      }
      test.failing.FailAfter(commits, applied);
      const bool done = Retain(test.store.get(), "test", {.keep = 1}, false).ok();
      EXPECT_EQ(done, !test.failing.failed());
      test.failing.Heal();
      test.Reopen();
      ASSERT_TRUE(Retain(test.store.get(), "test", {.keep = 1}, false).ok());
      EXPECT_EQ(test.Ids(), Expected{"f3"});
      EXPECT_EQ(test.Count("generations"), 1u);
      if (done) return;
    }
  }
}

}  // namespace
}  // namespace vellum::sync
