#include "sync/store.h"

#include <gtest/gtest.h>

#include <filesystem>
#include <thread>

#include "sync/stamp_text.h"
#include "sync/test_syncs.h"

namespace vellum::sync {
namespace {

namespace fs = std::filesystem;

using testing::PutGrant;
using testing::TestStore;

SyncRun RunOf(const std::string& id) { return testing::RunOf({.id = id}); }

/// A sealed sync of `grants` grants, users u-`first` and on.
void Write(TestStore* to, const std::string& id, int grants, int first, Stamp stamp = 5, const std::string& data = "x",
           const std::string& type = "full") {
  testing::Write(to, {.id = id, .type = type, .grants = grants, .first = first, .stamp = stamp, .data = data});
}

std::size_t CountKeys(const Generation& generation, Bucket bucket) {
  std::size_t count = 0;
  for (const auto cursor = generation.Scan(bucket); cursor->valid(); cursor->Next()) ++count;
  return count;
}

std::size_t Grants(const TestStore& of, const std::string& id) {
  const auto generation = of.store->OpenSync(id);
  EXPECT_TRUE(generation.ok()) << generation.error().ToString();
  EXPECT_EQ(CountKeys(**generation, Bucket::kGrant), CountKeys(**generation, Bucket::kGrantByPrincipal));
  return CountKeys(**generation, Bucket::kGrant);
}

void ExpectSound(const TestStore& of, const std::string& id) {
  const auto generation = of.store->OpenSync(id);
  ASSERT_TRUE(generation.ok());
  const auto report = VerifyGeneration(**generation, of.dir.path());
  ASSERT_TRUE(report.ok());
  EXPECT_TRUE(report->ok()) << report->problems.front();
}

TEST(SyncStore, ReaderKeepsItsGenerationThroughASwitch) {
  TestStore base;
  TestStore source;
  Write(&base, "S", 100, 0);
  Write(&source, "S", 5, 0);
  const auto reader = *base.store->OpenSync("S");
  const auto cursor = reader->Scan(Bucket::kGrant);
  ASSERT_TRUE(ReplaceSync(base.store.get(), source.store.get(), "S").ok());
  ASSERT_TRUE(base.store->Delete("S").ok());
  std::size_t count = 0;
  for (; cursor->valid(); cursor->Next()) ++count;
  EXPECT_EQ(count, 100u);
  EXPECT_EQ(base.store->Get("S").error().code(), Code::kNotFound);
}

TEST(SyncStore, RollbackGoesBackAndForth) {
  TestStore base;
  TestStore source;
  Write(&base, "S", 100, 0);
  EXPECT_EQ(base.store->Rollback("S", std::nullopt).error().code(), Code::kFailedPrecondition);
  Write(&source, "S", 5, 0);
  ASSERT_TRUE(ReplaceSync(base.store.get(), source.store.get(), "S").ok());
  ASSERT_TRUE(base.store->Rollback("S", std::nullopt).ok());
  EXPECT_EQ(Grants(base, "S"), 100u);
  ASSERT_TRUE(base.store->Rollback("S", std::nullopt).ok());
  EXPECT_EQ(Grants(base, "S"), 5u);
  EXPECT_EQ(base.store->Rollback("S", GenerationId("nonsense")).error().code(), Code::kNotFound);
}

TEST(SyncStore, SweepKeepsWhatIsReferredTo) {
  TestStore base;
  for (int i = 0; i < 6; ++i) {
    TestStore source;
    Write(&source, "S", 10 + i, 0);
    ASSERT_TRUE(ReplaceSync(base.store.get(), source.store.get(), "S").ok());
  }
  EXPECT_EQ(base.store->Get("S")->history.size(), 3u);
  const auto swept = base.store->Sweep();
  ASSERT_TRUE(swept.ok());
  EXPECT_EQ(swept->generations, 3u);
  EXPECT_EQ(base.Count("generations"), 3u);
  EXPECT_EQ(Grants(base, "S"), 15u);
}

TEST(SyncStore, UnsealedWriterLeavesNothingUnlessCheckpointed) {
  TestStore base;
  {
    const auto writer = SyncWriter::Begin(base.store.get(), RunOf("lost"), "test");
    ASSERT_TRUE(writer.ok());
    PutGrant(writer->get(), "g", "u", 1, "x");
    EXPECT_EQ(base.store->Get("lost")->state, SyncState::kOpen);
    EXPECT_EQ(SyncWriter::Begin(base.store.get(), RunOf("lost"), "test").error().code(), Code::kFailedPrecondition);
  }
  base.Reopen();
  EXPECT_EQ(base.store->Get("lost").error().code(), Code::kNotFound);
  EXPECT_EQ(base.Count("staging"), 0u);

  {
    const auto writer = SyncWriter::Begin(base.store.get(), RunOf("kept"), "test");
    ASSERT_TRUE(writer.ok());
    for (int i = 0; i < 50; ++i) PutGrant(writer->get(), "g", "u" + std::to_string(i), 1, "x");
    ASSERT_TRUE((*writer)->Checkpoint("page 2").ok());
    EXPECT_EQ(SyncWriter::Resume(base.store.get(), "kept").error().code(), Code::kFailedPrecondition);
  }
  base.Reopen();
  const auto entry = base.store->Get("kept");
  ASSERT_TRUE(entry.ok());
  EXPECT_EQ(entry->run.token, "page 2");
  EXPECT_EQ(base.store->OpenSync("kept").error().code(), Code::kFailedPrecondition);
  auto resumed = SyncWriter::Resume(base.store.get(), "kept");
  ASSERT_TRUE(resumed.ok()) << resumed.error().ToString();
  PutGrant(resumed->get(), "g", "one more", 1, "x");
  ASSERT_TRUE((*resumed)->Seal(9, "seal").ok());
  EXPECT_EQ(Grants(base, "kept"), 51u);
  EXPECT_EQ(base.store->Get("kept")->state, SyncState::kSealed);
}

TEST(SyncStore, OneSyncsDamageIsItsOwn) {
  TestStore base;
  Write(&base, "A", 10, 0);
  Write(&base, "B", 10, 0);
  const std::string path = base.store->GenerationPath(base.store->Get("A")->generation());
  base.store.reset();
  fs::remove_all(path);
  base.Reopen();
  EXPECT_EQ(base.store->OpenSync("A").error().code(), Code::kDataLoss);
  EXPECT_EQ(Grants(base, "B"), 10u);
}

TEST(SyncStore, UnknownDirectoriesAreMovedAside) {
  TestStore base;
  base.store.reset();
  fs::create_directories(base.dir.path() + "/generations/stranger");
  base.Reopen();
  EXPECT_EQ(base.Count("generations"), 0u);
  EXPECT_EQ(base.Count("unregistered"), 1u);
}

TEST(SyncMerge, UnitesAndWidens) {
  TestStore base;
  Write(&base, "D", 10, 0, 5, "old", "partial");
  Write(&base, "P", 6, 4, 7, "new", "full");  // 4..9 are newer, none is new
  const auto outcome = MergeSyncs(base.store.get(), {{base.store.get(), "P"}}, "D");
  ASSERT_TRUE(outcome.ok()) << outcome.error().ToString();
  EXPECT_EQ(base.store->Get("D")->run.type, "full");
  ExpectSound(base, "D");
}

TEST(SyncMerge, EqualStampKeepsIncumbentAndTiesTurnRound) {
  for (const Ties ties : {Ties::kFirst, Ties::kLast}) {
    TestStore base;
    Write(&base, "D", 0, 0);
    Write(&base, "one", 1, 0, 5, "one");
    Write(&base, "two", 1, 0, 5, "two");
    MergeOptions options;
    options.ties = ties;
    ASSERT_TRUE(MergeSyncs(base.store.get(), {{base.store.get(), "one"}, {base.store.get(), "two"}}, "D", options).ok());
    const auto merged = *base.store->OpenSync("D");
    const auto cursor = merged->Scan(Bucket::kGrant);
    ASSERT_TRUE(cursor->valid());
    EXPECT_EQ(ParseValue(cursor->value())->data, ties == Ties::kFirst ? "one" : "two");
  }
}

TEST(SyncMerge, ManySourcesGoInRoundsOfNeighbours) {
  TestStore base;
  Write(&base, "D", 0, 0);
  std::vector<MergeSourceSync> sources;
  for (int i = 0; i < 12; ++i) {
    const std::string id = "s" + std::to_string(i);
    Write(&base, id, 20, i * 10, 5, id);  // neighbours overlap, with equal stamps
    sources.push_back({base.store.get(), id});
  }
  MergeOptions options;
  const auto at_once = MergeSyncs(base.store.get(), sources, "D", options);
  ASSERT_TRUE(at_once.ok());
  Write(&base, "E", 0, 0);
  options.fan_in_max = 3;
  const auto in_rounds = MergeSyncs(base.store.get(), sources, "E", options);
  ASSERT_TRUE(in_rounds.ok()) << in_rounds.error().ToString();
  EXPECT_GT(in_rounds->rounds, 4u);
  EXPECT_EQ(at_once->generation->info().Digest(), in_rounds->generation->info().Digest());
  ExpectSound(base, "E");
  EXPECT_EQ(base.Count("staging"), 0u);
}

TEST(SyncMerge, CreatesTheDestinationIfAsked) {
  TestStore base;
  Write(&base, "empty", 0, 0);
  Write(&base, "one", 20, 0, 5, "one");
  Write(&base, "two", 20, 10, 5, "two");
  const std::vector<MergeSourceSync> sources = {{base.store.get(), "one"}, {base.store.get(), "two"}};
  MergeOptions options;
  EXPECT_EQ(MergeSyncs(base.store.get(), sources, "new", options).error().code(), Code::kNotFound);
  options.create = true;
  EXPECT_EQ(MergeSyncs(base.store.get(), sources, std::string(kSyncIdBytesMax + 1, 'x'), options).error().code(),
            Code::kInvalidArgument);
  const auto there = MergeSyncs(base.store.get(), sources, "empty", options);
  const auto made = MergeSyncs(base.store.get(), sources, "new", options);
  ASSERT_TRUE(made.ok()) << made.error().ToString();
  EXPECT_EQ(made->generation->info().Digest(), there->generation->info().Digest());
  EXPECT_EQ(made->why, there->why);
  for (std::size_t type = 0; type < made->stats.size(); ++type) EXPECT_EQ(made->stats[type].added, there->stats[type].added);
  EXPECT_EQ(base.store->Get("new")->history.size(), 1u);
  ExpectSound(base, "new");
  const auto of_nothing = MergeSyncs(base.store.get(), {}, "nothing", options);
  ASSERT_TRUE(of_nothing.ok()) << of_nothing.error().ToString();
  EXPECT_EQ(of_nothing->generation->info().records(), 0u);
}

TEST(SyncMerge, NothingNewKeepsTheGeneration) {
  TestStore base;
  Write(&base, "D", 10, 0);
  Write(&base, "same", 10, 0);
  const auto before = base.store->Get("D")->generation();
  const auto outcome = MergeSyncs(base.store.get(), {{base.store.get(), "same"}}, "D");
  ASSERT_TRUE(outcome.ok());
  EXPECT_FALSE(outcome->changed);
  EXPECT_EQ(outcome->stats[static_cast<std::size_t>(RecordType::kGrant)].unchanged, 10u);
  EXPECT_EQ(base.store->Get("D")->generation(), before);
}

TEST(SyncMerge, BadInputs) {
  TestStore base;
  Write(&base, "D", 1, 0);
  Write(&base, "diff", 1, 0, 5, "x", "partial_upserts");
  Store* const store = base.store.get();
  EXPECT_EQ(MergeSyncs(nullptr, {}, "D").error().code(), Code::kInvalidArgument);
  EXPECT_EQ(MergeSyncs(store, {}, "").error().code(), Code::kInvalidArgument);
  EXPECT_EQ(MergeSyncs(store, {{nullptr, "D"}}, "D").error().code(), Code::kInvalidArgument);
  EXPECT_EQ(MergeSyncs(store, {{store, "D"}}, "D").error().code(), Code::kInvalidArgument);
  EXPECT_EQ(MergeSyncs(store, {{store, "absent"}}, "D").error().code(), Code::kNotFound);
  EXPECT_EQ(MergeSyncs(store, {{store, "diff"}}, "D").error().code(), Code::kFailedPrecondition);
  EXPECT_EQ(MergeSyncs(store, {}, "absent").error().code(), Code::kNotFound);
}

TEST(SyncMerge, TypesWidenInAnyOrder) {
  EXPECT_EQ(WiderType("partial", "full"), "full");
  EXPECT_EQ(WiderType("full", "partial"), "full");
  EXPECT_EQ(WiderType("resources_only", "full"), "full");
  EXPECT_EQ(WiderType("partial", "resources_only"), "resources_only");
  EXPECT_EQ(WiderType("resources_only", "something"), "resources_only");
  EXPECT_EQ(WiderType("something", "partial"), "partial");
}

TEST(SyncStore, ReadersNeverSeeAMixtureDuringSwitches) {
  TestStore base;
  TestStore even;
  TestStore odd;
  Write(&even, "S", 40, 0, 5, "even");
  Write(&odd, "S", 30, 100, 5, "odd");
  ASSERT_TRUE(ReplaceSync(base.store.get(), even.store.get(), "S").ok());
  std::atomic<bool> stop{false};
  std::vector<std::thread> readers;
  for (int i = 0; i < 2; ++i) {
    readers.emplace_back([&] {
      while (!stop.load()) {
        const auto generation = base.store->OpenSync("S");
        ASSERT_TRUE(generation.ok()) << generation.error().ToString();
        const std::size_t grants = CountKeys(**generation, Bucket::kGrant);
        EXPECT_TRUE(grants == 40 || grants == 30);
        EXPECT_EQ(CountKeys(**generation, Bucket::kGrantByPrincipal), grants);
      }
    });
  }
  for (int i = 0; i < 30; ++i) {
    ASSERT_TRUE(ReplaceSync(base.store.get(), i % 2 ? even.store.get() : odd.store.get(), "S").ok());
    ASSERT_TRUE(base.store->Sweep().ok());
  }
  stop.store(true);
  for (auto& reader : readers) reader.join();
}

TEST(StampText, RoundTripsAndRefuses) {
  for (const Stamp stamp : {Stamp{0}, Stamp{1}, Stamp{1772352000004000004}, Stamp{1772352000500000000}}) {
    EXPECT_EQ(ParseRfc3339(FormatRfc3339(stamp)), stamp);
  }
  EXPECT_EQ(FormatRfc3339(1772352000500000000), "2026-03-01T08:00:00.5Z");
  EXPECT_EQ(ParseRfc3339("2026-03-01T10:00:00.5+02:00"), Stamp{1772352000500000000});
  for (const char* bad : {"", "2026-02-30T00:00:00Z", "2026-03-01T08:00:00", "1969-12-31T23:59:59Z", "2026-03-01T08:00:00.Z",
                          "9999-01-01T00:00:00Z"}) {
    EXPECT_FALSE(ParseRfc3339(bad)) << bad;
  }
}

TEST(CatalogRows, RoundTrip) {
  SyncEntry entry;
  entry.run = {"id \xFF%", "full", "parent", "", "{\"token\":1}", 1772352000004000004, 0, true};
  entry.connector = "dir";
  entry.history = {{"g1", "ab", 7, "merge"}, {"g0", "cd", 3, "import"}};
  const auto back = SyncEntry::FromJson(entry.ToJson());
  ASSERT_TRUE(back.ok()) << back.error().ToString();
  EXPECT_EQ(back->run.id, entry.run.id);
  EXPECT_EQ(back->run.token, entry.run.token);
  EXPECT_EQ(back->run.started_at, entry.run.started_at);
  EXPECT_EQ(back->history, entry.history);
  EXPECT_EQ(SyncKey("a/b c"), "/vellum/syncs/a%2Fb%20c");
  for (const char* bad : {"", "{", "[]", "{\"id\":5}", "{\"state\":\"sealed\"}", "{\"history\":[1]}"}) {
    EXPECT_EQ(SyncEntry::FromJson(bad).error().code(), Code::kDataLoss) << bad;
  }
}

}  // namespace
}  // namespace vellum::sync
