#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>

#include "sync/test_syncs.h"

namespace vellum::sync {
namespace {

namespace fs = std::filesystem;
using testing::Plan;
using testing::TestStore;
using testing::Write;

Status Replace(TestStore* to, const std::string& id, int grants) {
  Write(to, {.id = id, .grants = grants}, SyncWriter::IfExists::kReplace);
  return {};
}

TEST(StoreGrace, WhatNothingRefersToStaysForItsReaders) {
  TestStore test([](StoreOptions* options) { options->unreferenced_keep_s = 600; });
  Write(&test, {.id = "a"});
  const GenerationId generation = test.Get("a").generation();
  ASSERT_TRUE(test.store->Delete("a").ok());
  auto swept = test.store->Sweep();
  ASSERT_TRUE(swept.ok());
  EXPECT_EQ(swept->generations, 0u);
  EXPECT_EQ(swept->waiting, 1u);
  EXPECT_TRUE(test.store->OpenGeneration(generation).ok());
  test.clock.Advance(std::chrono::seconds(599));
  EXPECT_EQ(test.store->Sweep()->waiting, 1u);
  test.clock.Advance(std::chrono::seconds(1));
  EXPECT_EQ(test.store->Sweep()->generations, 1u);
  EXPECT_EQ(test.Count("generations"), 0u);
}

TEST(StoreGrace, StartsAnewOnceSomethingRefersToItAgain) {
  TestStore test([](StoreOptions* options) {
    options->unreferenced_keep_s = 600;
    options->history_max = 1;
  });
  Write(&test, {.id = "a"});
  const GenerationId first = test.Get("a").generation();
  ASSERT_TRUE(Replace(&test, "a", 20).ok());
  EXPECT_EQ(test.store->Sweep()->waiting, 1u);
  test.clock.Advance(std::chrono::seconds(400));
  ASSERT_TRUE(test.store->SwitchTo(first, {{test.Get("a"), "rollback"}}).ok());
  EXPECT_EQ(test.store->Sweep()->waiting, 1u);  // the other one
  ASSERT_TRUE(Replace(&test, "a", 30).ok());
  test.clock.Advance(std::chrono::seconds(400));
  const auto swept = test.store->Sweep();
  EXPECT_EQ(swept->waiting, 2u) << "the first one began to wait again, just now; the second 400 s ago";
  test.clock.Advance(std::chrono::seconds(200));
  EXPECT_EQ(test.store->Sweep()->generations, 1u);
}

TEST(StoreGrace, OpeningSweepsAtOnce) {
  TestStore test([](StoreOptions* options) { options->unreferenced_keep_s = 600; });
  Write(&test, {.id = "a"});
  ASSERT_TRUE(test.store->Delete("a").ok());
  EXPECT_EQ(test.Count("generations"), 1u);
  test.Reopen();
  EXPECT_EQ(test.Count("generations"), 0u);
}

TEST(StoreReaders, ThoseOfEvictedGenerationsAreKnownToTheSweep) {
  TestStore test([](StoreOptions* options) { options->open_files_max = 1; });
  Write(&test, {.id = "a"});
  Write(&test, {.id = "b"});
  auto reader = test.Open("a");
  static_cast<void>(test.Open("b"));  // a leaves the cache
  ASSERT_TRUE(test.store->Delete("a").ok());
  EXPECT_EQ(test.store->Sweep()->in_use, 1u);
  EXPECT_EQ(testing::Dump(*reader).size(), 10u + 10u + 2u);
  reader.reset();
  EXPECT_EQ(test.store->Sweep()->generations, 1u);
  EXPECT_EQ(test.Count("generations"), 1u);
}

TEST(StoreReaders, AnEvictedGenerationIsNotOpenedTwice) {
  TestStore test([](StoreOptions* options) { options->open_files_max = 1; });
  Write(&test, {.id = "a"});
  Write(&test, {.id = "b"});
  const auto reader = test.Open("a");
  static_cast<void>(test.Open("b"));
  EXPECT_EQ(test.Open("a"), reader);
}

TEST(StoreReaders, AReaderOutlivesTheSweepOfItsGeneration) {
  TestStore test;
  Write(&test, {.id = "a", .grants = 500});
  const auto reader = test.Open("a");
  const auto before = testing::Dump(*reader);
  ASSERT_TRUE(test.store->Delete("a").ok());
  EXPECT_EQ(test.store->Sweep()->in_use, 1u);
  EXPECT_EQ(testing::Dump(*reader), before);
}

TEST(StoreLimits, FullStagingRefusesWritersAndNamesTheLimit) {
  TestStore test([](StoreOptions* options) { options->staging_bytes_max = 2'000; });
  Write(&test, {.id = "a"});  // leaves nothing in staging
  auto writer = SyncWriter::Begin(test.store.get(), testing::RunOf({.id = "open"}), "test");
  ASSERT_TRUE(writer.ok());
  for (int i = 0; i < 500; ++i) {
    testing::PutGrant(writer->get(), "g", "u" + std::to_string(i), 1, std::to_string(i * 7919) + std::string(100, 'x'));
  }
  ASSERT_TRUE((*writer)->Checkpoint("half").ok());
  const auto refused = SyncWriter::Begin(test.store.get(), testing::RunOf({.id = "b"}), "test");
  ASSERT_EQ(refused.error().code(), Code::kResourceExhausted);
  EXPECT_NE(refused.error().message().find("max-sync-staging-bytes"), std::string::npos) << refused.error().ToString();
  EXPECT_NE(refused.error().message().find("2000"), std::string::npos) << refused.error().ToString();
  EXPECT_NE(test.metrics.Expose().find("vellum_sync_refused_writers_total 1"), std::string::npos);
  ASSERT_TRUE((*writer)->Seal(3000, "seal").ok());
  EXPECT_TRUE(SyncWriter::Begin(test.store.get(), testing::RunOf({.id = "b"}), "test").ok());
}

TEST(StoreLimits, ARecordAboveTheLimitIsRefusedAndTheWriterGoesOn) {
  TestStore test([](StoreOptions* options) { options->record_bytes_max = 100; });
  auto writer = SyncWriter::Begin(test.store.get(), testing::RunOf({.id = "a"}), "test");
  ASSERT_TRUE(writer.ok());
  RecordView asset;
  asset.type = RecordType::kAsset;
  asset.id = "logo";
  const std::string bytes(97, 'x');
  asset.data = bytes;
  const Status refused = (*writer)->Put(asset);
  EXPECT_EQ(refused.code(), Code::kInvalidArgument);
  EXPECT_NE(refused.message().find("101 bytes"), std::string::npos) << refused.message();
  EXPECT_NE(refused.message().find("max-sync-record-bytes"), std::string::npos) << refused.message();
  asset.data = std::string_view(bytes).substr(1);
  EXPECT_TRUE((*writer)->Put(asset).ok());
  ASSERT_TRUE((*writer)->Seal(3000, "seal").ok());
  EXPECT_EQ(test.Open("a")->info().records(), 1u);
}

TEST(StoreLimits, HistoryKeepsWhatItMay) {
  for (const std::size_t history_max : {0u, 1u, 2u, 5u}) {
    TestStore test([&](StoreOptions* options) { options->history_max = history_max; });
    Write(&test, {.id = "a", .grants = 1});
    for (int i = 2; i < 6; ++i) ASSERT_TRUE(Replace(&test, "a", i).ok());
    EXPECT_EQ(test.Get("a").history.size(), std::max<std::size_t>(1, history_max));
  }
}

TEST(StoreLimits, OpenFilesAreClosedAgain) {
  TestStore test([](StoreOptions* options) { options->open_files_max = 6; });
  for (int i = 0; i < 8; ++i) {
    Write(&test, {.id = "s" + std::to_string(i)});
    static_cast<void>(test.Open("s" + std::to_string(i)));
  }
  const std::string text = test.metrics.Expose();
  const auto at = text.find("\nvellum_sync_open_files ");
  ASSERT_NE(at, std::string::npos);
  EXPECT_LE(std::stoi(text.substr(at + 24)), 6);
}

TEST(StoreSessions, ThoseOfAForgottenSyncGoWhenTheStoreIsOpened) {
  TestStore test;
  Write(&test, {.id = "a"});
  ASSERT_TRUE(test.store->WriteSessions("a", [](const Store::PutPair& put) { return put("k", "v"); }).ok());
  const fs::path sessions = test.dir.path() + "/sessions";
  const fs::path file = fs::directory_iterator(sessions)->path();
  fs::copy_file(file, sessions / "left-behind.sst");
  test.Reopen();
  EXPECT_EQ(test.Count("sessions"), 1u);
  EXPECT_TRUE(fs::exists(file));
}

TEST(StoreSurvey, CountsWhatThereIs) {
  TestStore test;
  Write(&test, {.id = "a", .grants = 200});
  testing::AddOverlays(&test, "a", 1);
  auto writer = SyncWriter::Begin(test.store.get(), testing::RunOf({.id = "open"}), "test");
  ASSERT_TRUE(writer.ok());
  testing::PutGrant(writer->get(), "g", "u", 1, "x");
  ASSERT_TRUE((*writer)->Checkpoint("t").ok());
  const auto facts = test.store->Survey();
  ASSERT_TRUE(facts.ok());
  EXPECT_EQ(facts->syncs_sealed, 1u);
  EXPECT_EQ(facts->syncs_open, 1u);
  EXPECT_EQ(facts->generations_building, 1u);
  EXPECT_EQ(facts->generations_sealed, 2u) << "the present one and the one before the fold";
  EXPECT_EQ(facts->overlays, 1u);
  EXPECT_GT(facts->bytes_dead, 0u);
  EXPECT_GT(facts->bytes_shared, 0u) << "the fold has the base's files";
  EXPECT_GT(facts->staging_bytes, 0u);
  const std::string text = test.metrics.Expose();
  EXPECT_NE(text.find("vellum_sync_syncs{state=\"open\"} 1"), std::string::npos) << text;
  EXPECT_NE(text.find("vellum_sync_switches_total{operation=\"fold\"} 1"), std::string::npos) << text;
  EXPECT_NE(text.find("vellum_sync_limit{name=\"staging_bytes\"} "), std::string::npos) << text;
}

}  // namespace
}  // namespace vellum::sync
