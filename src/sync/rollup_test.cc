#include "sync/rollup.h"

#include <gtest/gtest.h>

#include "base/test_random.h"
#include "sync/test_syncs.h"

namespace vellum::sync {
namespace {

using testing::Dump;
using testing::TestStore;
using testing::Write;
using Ids = std::vector<std::string>;

/// A full sync and what came before and after it.
void WriteHistory(TestStore* test) {
  Write(test, {.id = "before", .type = "partial", .started_at = 1, .ended_at = 90, .grants = 5, .first = 1000});
  Write(test, {.id = "older", .started_at = 10, .ended_at = 20, .grants = 3, .first = 2000});
  Write(test, {.id = "full", .started_at = 50, .ended_at = 100, .grants = 60, .stamp = 10, .data = "full"});
  Write(test, {.id = "p3", .type = "resources_only", .started_at = 110, .ended_at = 300, .grants = 2, .first = 100, .stamp = 30});
  Write(test, {.id = "p1", .type = "partial", .started_at = 105, .ended_at = 200, .grants = 4, .first = 58, .stamp = 20, .data = "p1"});
  Write(test, {.id = "p2", .type = "partial", .started_at = 106, .ended_at = 200, .grants = 4, .first = 60, .stamp = 20, .data = "p2"});
  Write(test, {.id = "diff", .type = "partial_upserts", .started_at = 110, .ended_at = 310});
  Write(test, {.id = "foreign", .type = "partial", .connector = "elsewhere", .started_at = 110, .ended_at = 310});
}

TEST(Rollup, MergesWhatIsPendingInOrderOfEndsAndForgetsIt) {
  TestStore test;
  WriteHistory(&test);
  const auto shown = RollUp(test.store.get(), "test", /*dry_run=*/true);
  ASSERT_TRUE(shown.ok());
  EXPECT_EQ(shown->into, "full");
  EXPECT_EQ(shown->merged, (Ids{"p1", "p2", "p3"}));
  EXPECT_FALSE(shown->merge.has_value());
  EXPECT_EQ(test.Ids().size(), 8u);

  const auto done = RollUp(test.store.get(), "test", /*dry_run=*/false);
  ASSERT_TRUE(done.ok()) << done.error().ToString();
  EXPECT_EQ(done->merged, shown->merged);
  EXPECT_EQ(test.Ids(), (Ids{"before", "diff", "foreign", "full", "older"}));
  const SyncEntry full = test.Get("full");
  EXPECT_EQ(full.run.ended_at, 300u);
  EXPECT_EQ(full.run.type, "full");
  // u-0 to u-59, u-58 and u-59 replaced by p1, u-60 and u-61 by p1 and p2 at the same stamp, u-62 and u-63, u-100 and u-101.
  const auto generation = test.Open("full");
  EXPECT_EQ(generation->info().records(), 66u);
  const MergeCounts& grants = done->merge->stats[static_cast<std::size_t>(RecordType::kGrant)];
  EXPECT_EQ(grants.added, 6u);
  EXPECT_EQ(grants.replaced, 2u);

  const auto again = RollUp(test.store.get(), "test", false);
  ASSERT_TRUE(again.ok());
  EXPECT_EQ(again->into, "");
  EXPECT_EQ(test.Open("full"), generation) << "nothing is pending, so nothing was switched";
  EXPECT_NE(test.metrics.Expose().find("vellum_sync_rolled_up_total 3"), std::string::npos);
}

TEST(Rollup, WithoutAFullSyncNothingIsPending) {
  TestStore test;
  Write(&test, {.id = "p", .type = "partial"});
  const auto done = RollUp(test.store.get(), "test", false);
  ASSERT_TRUE(done.ok());
  EXPECT_EQ(done->into, "");
  EXPECT_TRUE(done->merged.empty());
  EXPECT_EQ(RollUp(test.store.get(), "unknown", false)->into, "");
}

TEST(Rollup, GivesWhatTheOrdinaryMergeGives) {
  TestStore rolled;
  WriteHistory(&rolled);
  ASSERT_TRUE(RollUp(rolled.store.get(), "test", false).ok());
  TestStore merged;
  WriteHistory(&merged);
  Store* const store = merged.store.get();
  ASSERT_TRUE(MergeSyncs(store, {{store, "p1"}, {store, "p2"}, {store, "p3"}}, "full").ok());
  EXPECT_EQ(Dump(*rolled.Open("full")), Dump(*merged.Open("full")));
  EXPECT_EQ(rolled.Open("full")->info().Digest(), merged.Open("full")->info().Digest());
}

TEST(Rollup, MoreThanOneTransactionHolds) {
  TestStore test;
  Write(&test, {.id = "full", .started_at = 50, .ended_at = 100, .grants = 30});
  for (int i = 0; i < 10; ++i) {
    // The first batch of four would end between two that end together.
    const int end = i == 4 ? 3 : i;
    Write(&test, {.id = "p" + std::to_string(i), .type = "partial", .started_at = 101, .ended_at = static_cast<Stamp>(200 + end),
                  .grants = 1, .first = 1000 + i});
  }
  const auto done = RollUp(test.store.get(), "test", false, {}, /*batch=*/4);
  ASSERT_TRUE(done.ok()) << done.error().ToString();
  EXPECT_EQ(done->merged.size(), 10u);
  EXPECT_EQ(test.Ids(), Ids{"full"});
  EXPECT_EQ(test.Open("full")->info().records(), 40u);
  EXPECT_EQ(done->merge->stats[static_cast<std::size_t>(RecordType::kGrant)].added, 10u);
  const auto history = test.Get("full").history;
  ASSERT_EQ(history.size(), 3u);
  EXPECT_NE(history.back().operation, "seal") << "three transactions: of three, four and three";
}

TEST(Rollup, DyingAnywhereConverges) {
  const auto write = [](TestStore* test) {
    Write(test, {.id = "full", .started_at = 50, .ended_at = 100, .grants = 60, .stamp = 10, .data = "full"});
    Write(test, {.id = "p1", .type = "partial", .started_at = 105, .ended_at = 200, .grants = 4, .first = 58, .stamp = 20, .data = "p1"});
    Write(test, {.id = "p2", .type = "partial", .started_at = 106, .ended_at = 201, .grants = 4, .first = 60, .stamp = 20, .data = "p2"});
  };
  TestStore reference;
  write(&reference);
  const auto before = Dump(*reference.Open("full"));
  ASSERT_TRUE(RollUp(reference.store.get(), "test", false).ok());
  const auto expected = Dump(*reference.Open("full"));
  for (int commits = 0; commits < 20; ++commits) {
    bool done = false;
    for (const bool applied : {false, true}) {
      TestStore test;
      write(&test);
      test.failing.FailAfter(commits, applied);
      done = RollUp(test.store.get(), "test", false).ok();
      test.failing.Heal();
      test.Reopen();
      // Wholly before or wholly after: what is merged is gone, what is not is there.
      const bool merged = test.Ids() == Ids{"full"};
      EXPECT_TRUE(merged || test.Ids() == (Ids{"full", "p1", "p2"}));
      EXPECT_EQ(Dump(*test.Open("full")), merged ? expected : before);
      ASSERT_TRUE(RollUp(test.store.get(), "test", false).ok());
      EXPECT_EQ(test.Ids(), Ids{"full"});
      EXPECT_EQ(Dump(*test.Open("full")), expected);
      EXPECT_EQ(test.Count("staging"), 0u);
    }
    if (done) return;
  }
  FAIL() << "a rollup has fewer transactions than that";
}

TEST(Rollup, CancelledInTheMiddleNothingHasChanged) {
  TestStore test;
  WriteHistory(&test);
  const auto before = Dump(*test.Open("full"));
  std::atomic<bool> cancel{true};
  const auto cancelled = RollUp(test.store.get(), "test", false, Work{&cancel, {}});
  EXPECT_EQ(cancelled.error().code(), Code::kCancelled);
  EXPECT_EQ(test.Ids().size(), 8u);
  EXPECT_EQ(Dump(*test.Open("full")), before);
}

TEST(Rollup, APendingSyncThatChangesMeanwhileStopsIt) {
  TestStore test;
  WriteHistory(&test);
  // Somebody deletes p2 while the records are being merged.
  std::atomic<bool> deleted{false};
  Work work;
  work.progress = [&](std::uint64_t) {
    if (deleted.exchange(true)) return;
    EXPECT_TRUE(test.store->Remove(test.Get("p2")).ok());
  };
  const auto before = Dump(*test.Open("full"));
  const auto done = RollUp(test.store.get(), "test", false, work);
  if (!deleted.load()) return;  // so few records that nobody was told of progress
  EXPECT_EQ(done.error().code(), Code::kAborted);
  EXPECT_EQ(Dump(*test.Open("full")), before);
  ASSERT_TRUE(RollUp(test.store.get(), "test", false).ok());
  EXPECT_EQ(test.Ids(), (Ids{"before", "diff", "foreign", "full", "older"}));
}

TEST(Rollup, RandomPartsInAnyStrategyMatchAPlainModel) {
  auto random = SeededRandom();
  for (int round = 0; round < 6; ++round) {
    TestStore test;
    std::map<std::string, std::pair<Stamp, std::string>> model;  // user -> stamp, data
    const auto write = [&](const std::string& id, const std::string& type, Stamp ended_at, int count) {
      auto run = testing::RunOf({.id = id, .type = type, .started_at = 1});
      auto writer = SyncWriter::Begin(test.store.get(), run, "test");
      ASSERT_TRUE(writer.ok());
      std::map<std::string, std::pair<Stamp, std::string>> own;
      for (int i = 0; i < count; ++i) {
        const std::string user = "u" + std::to_string(random() % 60);
        const Stamp stamp = random() % 5;
        const std::string data = id + std::to_string(random() % 9);
        testing::PutGrant(writer->get(), "g", user, stamp, data);
        own[user] = {stamp, data};
      }
      for (const auto& [user, record] : own) {
        const auto have = model.find(user);
        if (have == model.end() || record.first > have->second.first) model[user] = record;
      }
      ASSERT_TRUE((*writer)->Seal(ended_at, "seal").ok());
    };
    write("full", "full", 10, static_cast<int>(random() % 100));
    const int parts = 1 + static_cast<int>(random() % 6);
    for (int i = 0; i < parts; ++i) write("p" + std::to_string(i), "partial", static_cast<Stamp>(20 + i / 2), static_cast<int>(random() % 12));
    ASSERT_TRUE(RollUp(test.store.get(), "test", false).ok());
    std::map<std::string, std::pair<Stamp, std::string>> found;
    const auto generation = test.Open("full");
    for (const auto cursor = generation->Scan(Bucket::kGrant); cursor->valid(); cursor->Next()) {
      const auto record = StoredRecord::Parse(cursor->key(), cursor->value());
      ASSERT_TRUE(record.ok());
      const RecordView view = record->view();
      found[std::string(view.principal_id)] = {view.discovered_at, std::string(view.data)};
    }
    EXPECT_EQ(found, model);
    EXPECT_EQ(test.Ids(), Ids{"full"});
  }
}

}  // namespace
}  // namespace vellum::sync
