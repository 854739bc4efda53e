#include "sync/upkeep.h"

#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>

#include "base/test_random.h"
#include "storage/files.h"
#include "sync/test_syncs.h"

namespace vellum::sync {
namespace {

namespace fs = std::filesystem;
using testing::AddOverlays;
using testing::Dump;
using testing::TestStore;
using testing::Write;

VerifyReport Verify(const TestStore& test, const std::string& id) {
  TestDir scratch;
  const auto report = VerifyGeneration(*test.Open(id), scratch.path());
  EXPECT_TRUE(report.ok()) << report.error().ToString();
  return *report;
}

/// Changes GENERATION of a sync's present generation, as an older program or a mishap would have left it.
void ChangeInfo(TestStore* test, const std::string& id, const std::function<void(GenerationInfo*)>& change) {
  const std::string path = test->store->GenerationPath(test->Get(id).generation());
  auto bytes = storage::ReadSmallFile(nullptr, path + "/GENERATION", 1u << 20);
  ASSERT_TRUE(bytes.ok());
  auto info = GenerationInfo::Decode(*bytes);
  ASSERT_TRUE(info.ok());
  change(&*info);
  std::ofstream(path + "/GENERATION", std::ios::binary | std::ios::trunc) << info->Encode();
  test->Reopen();
}

/// Path of the first file of a bucket.
std::string FileOf(const TestStore& test, const std::string& id, Bucket bucket) {
  const auto generation = test.Open(id);
  for (const GenerationFile& file : generation->info().files) {
    if (file.bucket == bucket) return generation->FilePath(file);
  }
  ADD_FAILURE() << "no file of the bucket";
  return {};
}

void FlipByte(const std::string& path, std::uint64_t at) {
  fs::permissions(path, fs::perms::owner_read | fs::perms::owner_write);
  std::fstream file(path, std::ios::in | std::ios::out | std::ios::binary);
  file.seekg(static_cast<std::streamoff>(at));
  const int byte = file.get();
  file.seekp(static_cast<std::streamoff>(at));
  file.put(static_cast<char>(byte ^ 0x40));
}

/// The same records written afresh: what a rebuild must be equal to.
std::map<std::string, std::string> Rebuilt(const TestStore& test, const std::string& id) {
  TestStore fresh;
  auto writer = SyncWriter::Begin(fresh.store.get(), testing::RunOf({.id = "fresh"}), "test");
  EXPECT_TRUE(writer.ok());
  const auto generation = test.Open(id);
  for (int type = 0; type < kRecordTypes; ++type) {
    for (const auto cursor = generation->Scan(RecordBucket(static_cast<RecordType>(type))); cursor->valid(); cursor->Next()) {
      const auto record = StoredRecord::Parse(cursor->key(), cursor->value());
      EXPECT_TRUE(record.ok());
      EXPECT_TRUE((*writer)->Put(record->view()).ok());
    }
  }
  EXPECT_TRUE((*writer)->Seal(1, "seal").ok());
  return Dump(*fresh.Open("fresh"));
}

TEST(Waste, CountsOverlaysAndDeadBytes) {
  TestStore test;
  Write(&test, {.id = "a", .grants = 300});
  EXPECT_FALSE(WasteOf(test.Open("a")->info()).past_limit());
  EXPECT_EQ(WasteOf(test.Open("a")->info()).overlays, 0u);
  AddOverlays(&test, "a", 3);
  EXPECT_EQ(WasteOf(test.Open("a")->info()).overlays, 3u);
  EXPECT_FALSE(WasteOf(test.Open("a")->info()).past_limit());
  AddOverlays(&test, "a", 1);
  EXPECT_TRUE(WasteOf(test.Open("a")->info()).past_limit()) << "four overlays";

  Write(&test, {.id = "b", .grants = 300, .data = std::string(200, 'x')});
  AddOverlays(&test, "b", 1, /*grants=*/100);
  const Waste waste = WasteOf(test.Open("b")->info());
  EXPECT_EQ(waste.overlays, 1u);
  EXPECT_GT(waste.dead_share, kDeadShareMax);
  EXPECT_TRUE(waste.past_limit());
  const auto wasteful = WastefulGenerations(*test.store);
  ASSERT_TRUE(wasteful.ok());
  EXPECT_EQ(*wasteful, (std::vector<GenerationId>{test.Get("b").generation(), test.Get("a").generation()}));
}

TEST(Rewrite, KeepsDigestAndIndexesAndTakesThePlaceOfTheOldOne) {
  TestStore test;
  Write(&test, {.id = "a", .grants = 300});
  AddOverlays(&test, "a", 4);
  const auto before = test.Open("a");
  const auto dump = Dump(*before);
  const SyncEntry entry = test.Get("a");
  const auto outcome = RewriteGeneration(test.store.get(), before->info().id);
  ASSERT_TRUE(outcome.ok()) << outcome.error().ToString();
  const auto after = test.Open("a");
  EXPECT_NE(after->info().id, before->info().id);
  EXPECT_EQ(after->info().Digest(), before->info().Digest());
  EXPECT_EQ(after->info().layers, 1u);
  EXPECT_EQ(after->info().dead_bytes, 0u);
  EXPECT_EQ(Dump(*after), dump);
  EXPECT_EQ(Dump(*after), Rebuilt(test, "a"));
  EXPECT_TRUE(Verify(test, "a").ok());
  const SyncEntry now = test.Get("a");
  ASSERT_EQ(now.history.size(), entry.history.size());
  EXPECT_EQ(now.history[0].digest, entry.history[0].digest);
  EXPECT_EQ(now.history[0].operation, "rewrite");
  EXPECT_EQ(now.history[1], entry.history[1]) << "no step of the history is lost";
  EXPECT_EQ(now.run.ended_at, entry.run.ended_at);
  EXPECT_EQ(outcome->syncs, std::vector<std::string>{"a"});
  EXPECT_EQ(outcome->before.overlays, 4u);
}

TEST(Rewrite, ReachesEverySyncThatHasTheGeneration) {
  TestStore test;
  Write(&test, {.id = "a", .grants = 50});
  Write(&test, {.id = "b", .grants = 5});
  const GenerationId shared = test.Get("a").generation();
  ASSERT_TRUE(test.store->SwitchTo(shared, {{test.Get("b"), "replace"}}).ok());
  ASSERT_TRUE(RewriteGeneration(test.store.get(), shared).ok());
  EXPECT_EQ(test.Get("a").generation(), test.Get("b").generation());
  EXPECT_EQ(test.Get("b").history.size(), 2u);
  EXPECT_EQ(test.store->Sweep()->generations, 1u) << "nothing refers to the old one any more";
  EXPECT_EQ(RewriteGeneration(test.store.get(), shared).error().code(), Code::kNotFound);
}

TEST(Rewrite, ASwitchMeanwhileWins) {
  TestStore test;
  Write(&test, {.id = "a", .grants = 20'000});
  AddOverlays(&test, "a", 1);
  std::atomic<bool> switched{false};
  Work work;
  work.progress = [&](std::uint64_t) {
    if (!switched.exchange(true)) Write(&test, {.id = "a", .grants = 1}, SyncWriter::IfExists::kReplace);
  };
  const auto outcome = RewriteGeneration(test.store.get(), test.Get("a").generation(), work);
  ASSERT_TRUE(switched.load());
  EXPECT_EQ(outcome.error().code(), Code::kAborted);
  EXPECT_EQ(test.Open("a")->info().records(), 1u);
  EXPECT_EQ(test.Count("staging"), 0u);
}

TEST(Repair, ARightIndexIsLeftAlone) {
  TestStore test;
  Write(&test, {.id = "a", .grants = 100});
  const GenerationId before = test.Get("a").generation();
  const auto outcome = RepairSync(test.store.get(), "a");
  ASSERT_TRUE(outcome.ok()) << outcome.error().ToString();
  EXPECT_FALSE(outcome->changed);
  EXPECT_EQ(outcome->records, 100u);
  EXPECT_EQ(test.Get("a").generation(), before);
}

TEST(Repair, AnOlderIndexVersionIsRebuilt) {
  TestStore test;
  Write(&test, {.id = "a", .grants = 100});
  AddOverlays(&test, "a", 2);
  const auto dump = Dump(*test.Open("a"));
  ChangeInfo(&test, "a", [](GenerationInfo* info) { info->index_version = GenerationInfo::kIndexVersion - 1; });
  const auto refused = test.store->OpenSync("a");
  EXPECT_EQ(refused.error().code(), Code::kFailedPrecondition);
  EXPECT_NE(refused.error().message().find("vellum sync repair"), std::string::npos) << refused.error().message();
  const auto outcome = RepairSync(test.store.get(), "a");
  ASSERT_TRUE(outcome.ok()) << outcome.error().ToString();
  EXPECT_TRUE(outcome->changed);
  EXPECT_EQ(Dump(*test.Open("a")), dump);
  EXPECT_EQ(test.Get("a").history[0].operation, "repair");
  EXPECT_EQ(test.Open("a")->info().layers, 1u);
  EXPECT_TRUE(Verify(test, "a").ok());
}

TEST(Repair, DamagedIndexFilesAreMadeAnew) {
  for (const Bucket bucket : {Bucket::kGrantByPrincipal, Bucket::kGrantNeedingExpansion}) {
    for (const int how : {0, 1, 2}) {
      TestStore test;
      Write(&test, {.id = "a", .grants = 400});
      const auto dump = Dump(*test.Open("a"));
      const std::string path = FileOf(test, "a", bucket);
      test.Reopen();  // nothing of it is in the cache
      const auto size = fs::file_size(path);
      if (how == 0) FlipByte(path, size / 3);
      if (how == 1) fs::remove(path);
      if (how == 2) {
        fs::permissions(path, fs::perms::owner_all);
        fs::resize_file(path, size / 2);
      }
      const auto outcome = RepairSync(test.store.get(), "a");
      ASSERT_TRUE(outcome.ok()) << outcome.error().ToString();
      EXPECT_TRUE(outcome->changed);
      EXPECT_FALSE(outcome->why.empty());
      EXPECT_EQ(Dump(*test.Open("a")), dump);
      EXPECT_TRUE(Verify(test, "a").ok());
    }
  }
}

TEST(Repair, DamagedRecordsAreNamedAndNothingChanges) {
  TestStore test;
  Write(&test, {.id = "a", .grants = 400});
  const std::string path = FileOf(test, "a", Bucket::kGrant);
  const GenerationId before = test.Get("a").generation();
  test.Reopen();
  FlipByte(path, fs::file_size(path) / 3);
  const auto outcome = RepairSync(test.store.get(), "a");
  EXPECT_EQ(outcome.error().code(), Code::kDataLoss);
  EXPECT_NE(outcome.error().message().find(path), std::string::npos) << outcome.error().message();
  EXPECT_NE(outcome.error().message().find("nothing was changed"), std::string::npos) << outcome.error().message();
  EXPECT_EQ(test.Get("a").generation(), before);
  EXPECT_EQ(test.Count("staging"), 0u);
}

TEST(Repair, CountsThatLieAboutRecordsAreDamage) {
  TestStore test;
  Write(&test, {.id = "a", .grants = 40});
  ChangeInfo(&test, "a", [](GenerationInfo* info) { ++info->totals[Bucket::kGrant].records; });
  EXPECT_EQ(RepairSync(test.store.get(), "a").error().code(), Code::kDataLoss);
}

TEST(Repair, AnOpenSyncIsRefused) {
  TestStore test;
  auto writer = SyncWriter::Begin(test.store.get(), testing::RunOf({.id = "a"}), "test");
  ASSERT_TRUE(writer.ok());
  EXPECT_EQ(RepairSync(test.store.get(), "a").error().code(), Code::kFailedPrecondition);
  EXPECT_EQ(RepairSync(test.store.get(), "b").error().code(), Code::kNotFound);
}

TEST(Upkeep, RandomSyncsComeOutOfRewriteAndRepairAsOutOfARebuild) {
  auto random = SeededRandom();
  for (int round = 0; round < 4; ++round) {
    TestStore test;
    Write(&test, {.id = "a", .grants = 20 + static_cast<int>(random() % 200)});
    const int folds = static_cast<int>(random() % 5);
    for (int i = 0; i < folds; ++i) {
      Write(&test, {.id = "p", .type = "partial", .grants = static_cast<int>(1 + random() % 40),
                    .first = static_cast<int>(random() % 200), .stamp = random() % 9, .data = "p" + std::to_string(i)});
      MergeOptions options;
      options.strategy = Strategy::kFold;
      ASSERT_TRUE(MergeSyncs(test.store.get(), {{test.store.get(), "p"}}, "a", options).ok());
      ASSERT_TRUE(test.store->Delete("p").ok());
    }
    const auto expected = Rebuilt(test, "a");
    const Sum128 digest = test.Open("a")->info().Digest();
    EXPECT_EQ(Dump(*test.Open("a")), expected);
    ASSERT_TRUE(RewriteGeneration(test.store.get(), test.Get("a").generation()).ok());
    EXPECT_EQ(Dump(*test.Open("a")), expected);
    EXPECT_EQ(test.Open("a")->info().Digest(), digest);
    ChangeInfo(&test, "a", [](GenerationInfo* info) { info->index_version = 0; });
    ASSERT_TRUE(RepairSync(test.store.get(), "a").ok());
    EXPECT_EQ(Dump(*test.Open("a")), expected);
    EXPECT_EQ(test.Open("a")->info().Digest(), digest);
    EXPECT_TRUE(Verify(test, "a").ok());
  }
}

/// Records that refer to each other properly.
void PutWhole(RecordSink* sink) {
  const auto put = [&](RecordView record) { ASSERT_TRUE(sink->Put(record).ok()); };
  for (const char* type : {"group", "user", "org"}) put({.type = RecordType::kResourceType, .id = type});
  put({.type = RecordType::kResource, .id = "acme", .type_id = "org"});
  // c1.connector.v2.Resource: parent_resource_id (2) = {resource_type (1): "org", resource (2): "acme"}.
  put({.type = RecordType::kResource, .id = "eng", .type_id = "group", .data = "\x12\x0b\x0a\x03org\x12\x04" "acme"});
  put({.type = RecordType::kResource, .id = "alice", .type_id = "user"});
  put({.type = RecordType::kEntitlement, .id = "group:eng:member", .type_id = "group", .resource_id = "eng"});
}

std::vector<Finding> FindingsOf(const std::function<void(RecordSink*)>& put) {
  TestStore test;
  auto writer = SyncWriter::Begin(test.store.get(), testing::RunOf({.id = "a"}), "test");
  EXPECT_TRUE(writer.ok());
  PutWhole(writer->get());
  put(writer->get());
  EXPECT_TRUE((*writer)->Seal(1, "seal").ok());
  const VerifyReport report = Verify(test, "a");
  EXPECT_TRUE(report.ok()) << "findings are no damage";
  return report.findings;
}

TEST(References, AWholeSyncHasNoFindings) {
  const auto findings = FindingsOf([](RecordSink* sink) { testing::PutGrant(sink, "eng", "alice", 1, ""); });
  EXPECT_TRUE(findings.empty()) << findings[0].rule << " " << findings[0].first[0];
}

TEST(References, EachRuleNamesWhatBreaksIt) {
  auto findings = FindingsOf([](RecordSink* sink) {
    for (int i = 10; i < 25; ++i) testing::PutGrant(sink, "eng", "ghost" + std::to_string(i), 1, "");
  });
  ASSERT_EQ(findings.size(), 1u);
  EXPECT_EQ(findings[0].rule, "grants without their principal");
  EXPECT_EQ(findings[0].count, 15u);
  ASSERT_EQ(findings[0].first.size(), Finding::kNamedMax);
  EXPECT_EQ(findings[0].first[0], "group:eng:member on group:eng for user:ghost10");

  findings = FindingsOf([](RecordSink* sink) { testing::PutGrant(sink, "gone", "alice", 1, ""); });
  ASSERT_EQ(findings.size(), 2u);
  EXPECT_EQ(findings[0].rule, "grants without their entitlement");
  EXPECT_EQ(findings[1].rule, "grants without their entitlement's resource");

  findings = FindingsOf([](RecordSink* sink) {
    RecordView entitlement{.type = RecordType::kEntitlement, .id = "owner", .type_id = "group", .resource_id = "gone"};
    EXPECT_TRUE(sink->Put(entitlement).ok());
    RecordView resource{.type = RecordType::kResource, .id = "x", .type_id = "robot"};
    EXPECT_TRUE(sink->Put(resource).ok());
    RecordView orphan{.type = RecordType::kResource, .id = "y", .type_id = "group", .data = "\x12\x0b\x0a\x03org\x12\x04" "gone"};
    EXPECT_TRUE(sink->Put(orphan).ok());
  });
  ASSERT_EQ(findings.size(), 3u);
  EXPECT_EQ(findings[0].rule, "entitlements without their resource");
  EXPECT_EQ(findings[0].first, std::vector<std::string>{"owner on group:gone"});
  EXPECT_EQ(findings[1].rule, "resources without their resource type");
  EXPECT_EQ(findings[1].first, std::vector<std::string>{"robot:x"});
  EXPECT_EQ(findings[2].rule, "resources without their parent");
  EXPECT_EQ(findings[2].first, std::vector<std::string>{"group:y"});
}

TEST(References, PrefixesOfIdsAreOtherIds) {
  // "eng" is there, "en" and "engine" are not, nor is a resource whose id holds the bytes that keys escape.
  const auto findings = FindingsOf([](RecordSink* sink) {
    for (const std::string& group : {std::string("en"), std::string("engine"), std::string("eng\0", 4), std::string("eng\x01", 4)}) {
      RecordView entitlement{.type = RecordType::kEntitlement, .id = "owner", .type_id = "group", .resource_id = group};
      EXPECT_TRUE(sink->Put(entitlement).ok());
    }
  });
  ASSERT_EQ(findings.size(), 1u);
  EXPECT_EQ(findings[0].count, 4u);
}

}  // namespace
}  // namespace vellum::sync
