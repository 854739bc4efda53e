#include "sync/keeper.h"

#include <gtest/gtest.h>

#include "base/test_await.h"
#include "sync/test_syncs.h"
#include "sync/upkeep.h"

namespace vellum::sync {
namespace {

using testing::AddOverlays;
using testing::Dump;
using testing::TestStore;
using testing::Write;
using Ids = std::vector<std::string>;

/// Options of a keeper that need not be held back: for passes on a thread that would have to move the clock itself.
KeeperOptions Unpaced() {
  KeeperOptions options;
  options.bytes_per_second = 0;
  return options;
}

TEST(KeeperOptions, RetentionIsReadFromWords) {
  KeeperOptions options;
  ASSERT_TRUE(options.SetRetention({"okta=3", "7", "a=b=1"}).ok());
  EXPECT_EQ(options.keep_others, 7u);
  EXPECT_EQ(options.keep, (std::map<std::string, std::uint32_t>{{"a=b", 1}, {"okta", 3}}));
  ASSERT_TRUE(options.SetRetention({}).ok());
  EXPECT_FALSE(options.keep_others.has_value());
  EXPECT_TRUE(options.keep.empty());
  for (const char* bad : {"", "x", "okta=", "okta=-1", "okta=3x", "99999999999", "okta"}) {
    const Status refused = options.SetRetention({bad});
    EXPECT_EQ(refused.code(), Code::kInvalidArgument) << bad;
    EXPECT_NE(refused.message().find(std::string("retention ") + bad), std::string::npos) << refused.message();
  }
  options.SetRollup({"okta", "*"});
  EXPECT_TRUE(options.rollup_others);
  EXPECT_TRUE(options.rollup.contains("okta"));
}

TEST(Keeper, APassDoesWhatIsDueAndNothingElse) {
  TestStore test([](StoreOptions* options) { options->unreferenced_keep_s = 600; });
  for (int i = 1; i <= 3; ++i) {
    Write(&test, {.id = "f" + std::to_string(i), .started_at = static_cast<Stamp>(i * 100), .ended_at = static_cast<Stamp>(i * 100 + 50)});
  }
  Write(&test, {.id = "p", .type = "partial", .started_at = 360, .ended_at = 400, .grants = 3, .first = 500});
  {
    auto writer = SyncWriter::Begin(test.store.get(), testing::RunOf({.id = "open"}), "test");
    ASSERT_TRUE((*writer)->Checkpoint("t").ok());
  }
  Keeper idle(KeeperOptions{}, test.store.get());
  EXPECT_TRUE(idle.RunPass());
  EXPECT_EQ(test.Ids(), (Ids{"f1", "f2", "f3", "open", "p"})) << "retention and rollup are off by default";

  test.clock.Advance(std::chrono::hours(24 * 8));
  EXPECT_TRUE(idle.RunPass());
  EXPECT_EQ(test.Ids(), (Ids{"f1", "f2", "f3", "p"})) << "nobody took the open one up";

  KeeperOptions options = Unpaced();
  options.keep_others = 2;
  options.rollup.insert("test");
  Keeper keeper(options, test.store.get());
  EXPECT_TRUE(keeper.RunPass());
  EXPECT_EQ(test.Ids(), (Ids{"f2", "f3"}));
  EXPECT_EQ(test.Open("f3")->info().records(), 13u);
  EXPECT_EQ(test.Count("generations"), 5u) << "f1 and p are gone but have their readers' grace; f3's history has two";
  test.clock.Advance(std::chrono::seconds(600));
  EXPECT_TRUE(keeper.RunPass());
  EXPECT_EQ(test.Count("generations"), 3u);
  const std::string text = test.metrics.Expose();
  EXPECT_NE(text.find("vellum_sync_keeper_tasks_total{result=\"ok\",task=\"rollup\"} 1"), std::string::npos) << text;
  EXPECT_NE(text.find("vellum_sync_rolled_up_total 1"), std::string::npos);
  EXPECT_NE(text.find("vellum_sync_retired_total{rule=\"open\"} 1"), std::string::npos);
  EXPECT_EQ(text.find("vellum_sync_keeper_last_success_seconds 0"), std::string::npos);
}

TEST(Keeper, RetentionMayDifferByConnector) {
  TestStore test;
  for (const char* connector : {"a", "b", "c"}) {
    for (int i = 1; i <= 3; ++i) {
      Write(&test, {.id = connector + std::to_string(i), .connector = connector, .started_at = static_cast<Stamp>(i * 100),
                    .ended_at = static_cast<Stamp>(i * 100 + 50), .grants = 1});
    }
  }
  KeeperOptions options;
  ASSERT_TRUE(options.SetRetention({"a=1", "b=2"}).ok());
  EXPECT_TRUE(Keeper(options, test.store.get()).RunPass());
  EXPECT_EQ(test.Ids(), (Ids{"a3", "b2", "b3", "c1", "c2", "c3"}));
}

TEST(Keeper, RewritesPastTheLimitAtTheRate) {
  TestStore test;
  Write(&test, {.id = "a", .grants = 20'000});
  AddOverlays(&test, "a", 4);
  const auto before = test.Open("a");
  const auto dump = Dump(*before);
  KeeperOptions options;
  options.bytes_per_second = before->info().bytes() / 100;  // the rewriting takes 100 s of the manual clock
  Keeper keeper(options, test.store.get());
  const auto began = test.clock.Now();
  keeper.Start();
  ASSERT_TRUE(Await([&] { return keeper.held_back() > 0; }));
  EXPECT_EQ(test.Get("a").generation(), before->info().id);
  ASSERT_TRUE(Await([&] {
    test.clock.Advance(std::chrono::milliseconds(50));
    keeper.Wake();
    return keeper.passes() > 0;
  }));
  EXPECT_GE(test.clock.Now() - began, std::chrono::seconds(60)) << "faster than the rate";
  const auto after = test.Open("a");
  EXPECT_EQ(after->info().layers, 1u);
  EXPECT_EQ(after->info().Digest(), before->info().Digest());
  EXPECT_EQ(Dump(*after), dump);
  keeper.Stop();
}

TEST(Keeper, StoppingInTheMiddleOfARewriteIsAtOnceAndChangesNothing) {
  TestStore test;
  Write(&test, {.id = "a", .grants = 20'000});
  AddOverlays(&test, "a", 4);
  const SyncEntry entry = test.Get("a");
  KeeperOptions options;
  options.bytes_per_second = 1;
  Keeper keeper(options, test.store.get());
  keeper.Start();
  ASSERT_TRUE(Await([&] { return keeper.held_back() > 0; }));
  keeper.Stop();
  keeper.Stop();
  EXPECT_EQ(test.Get("a").generation(), entry.generation());
  EXPECT_EQ(test.Get("a").mod_revision, entry.mod_revision);
  EXPECT_EQ(test.Count("staging"), 0u);
  test.Reopen();
  EXPECT_EQ(test.Open("a")->info().layers, 5u);
}

TEST(Keeper, StartsAgainAfterTheInterval) {
  TestStore test;
  KeeperOptions options;
  options.interval = std::chrono::seconds(60);
  Keeper keeper(options, test.store.get());
  keeper.Start();
  ASSERT_TRUE(Await([&] { return keeper.passes() == 1; }));
  test.clock.Advance(std::chrono::seconds(59));
  keeper.Wake();
  Write(&test, {.id = "a"});  // some work in the meantime
  EXPECT_EQ(keeper.passes(), 1u);
  test.clock.Advance(std::chrono::seconds(1));
  keeper.Wake();
  ASSERT_TRUE(Await([&] { return keeper.passes() == 2; }));
}

TEST(Keeper, WithoutAnIntervalItDoesNotRun) {
  TestStore test;
  KeeperOptions options;
  options.interval = std::chrono::nanoseconds(0);
  Keeper keeper(options, test.store.get());
  keeper.Start();
  EXPECT_EQ(keeper.passes(), 0u);
}

TEST(Keeper, AFailedTaskDoesNotKeepTheOthersFromBeingDone) {
  TestStore test;
  for (int i = 1; i <= 2; ++i) {
    Write(&test, {.id = "f" + std::to_string(i), .connector = "good", .started_at = static_cast<Stamp>(i * 100),
                  .ended_at = static_cast<Stamp>(i * 100 + 50), .grants = 1});
  }
  Write(&test, {.id = "bad", .connector = "bad", .started_at = 1, .ended_at = 2});
  Write(&test, {.id = "p", .type = "partial", .connector = "bad", .started_at = 3, .ended_at = 4});
  const std::string path = test.store->GenerationPath(test.Get("bad").generation());
  test.Reopen();
  std::filesystem::remove_all(path);
  KeeperOptions options = Unpaced();
  options.keep_others = 1;
  options.rollup_others = true;
  Keeper keeper(options, test.store.get());
  EXPECT_FALSE(keeper.RunPass());
  EXPECT_EQ(test.Ids(), (Ids{"bad", "f2", "p"}));
  const std::string text = test.metrics.Expose();
  EXPECT_NE(text.find("vellum_sync_keeper_tasks_total{result=\"failed\",task=\"rollup\"} 1"), std::string::npos) << text;
  EXPECT_NE(text.find("vellum_sync_unreadable_generations 1"), std::string::npos) << text;
  EXPECT_NE(text.find("vellum_sync_keeper_last_success_seconds 0"), std::string::npos) << text;
}

TEST(Keeper, ReadersOfWhatItReplacesGoOn) {
  TestStore test;
  Write(&test, {.id = "a", .grants = 500});
  AddOverlays(&test, "a", 4);
  const auto reader = test.Open("a");
  const auto before = Dump(*reader);
  Keeper keeper(Unpaced(), test.store.get());
  EXPECT_TRUE(keeper.RunPass());
  EXPECT_TRUE(keeper.RunPass()) << "sweeps what nothing refers to";
  EXPECT_NE(test.Get("a").generation(), reader->info().id);
  EXPECT_EQ(Dump(*reader), before);
}

}  // namespace
}  // namespace vellum::sync
