#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <map>
#include <nlohmann/json.hpp>
#include <set>

#include "base/bytes.h"
#include "c1z/test_dump.h"
#include "c1z/transfer.h"
#include "c1z/v1_reader.h"
#include "sync/codec.h"
#include "sync/memory_catalog.h"

/// Real files against their dumps, real merges against their goldens. The fixtures' README says what each is.
namespace vellum::c1z {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;
using sync::RecordType;

class C1z : public testing::Test {
 protected:
  C1z() {
    std::string path = (fs::temp_directory_path() / "vellum-c1z-test-XXXXXX").string();
    dir_ = ::mkdtemp(path.data());
    sync::StoreOptions options;
    options.data_dir = dir_ + "/data";
    fs::create_directories(options.data_dir);
    store_ = *sync::Store::Open(options, &catalog_);
  }
  ~C1z() override {
    store_.reset();
    fs::remove_all(dir_);
  }

  Result<std::vector<ImportedSync>> Import(const std::string& file, bool replace = false) {
    ImportOptions options;
    options.open.scratch_dir = dir_;
    options.replace = replace;
    return ImportFile(store_.get(), file, options, {});
  }
  /// Imports a fixture of one sync and returns its id.
  std::string ImportOne(const std::string& name) {
    const auto imported = Import(Fixture(name));
    EXPECT_TRUE(imported.ok()) << imported.error().ToString();
    return imported->front().id;
  }

  std::string dir_;
  sync::MemoryCatalog catalog_;
  std::unique_ptr<sync::Store> store_;
};

class Fixtures : public C1z, public testing::WithParamInterface<const char*> {};

TEST_P(Fixtures, ImportEqualsTheDumpAndExportEqualsTheImport) {
  const std::string name = GetParam();
  const auto imported = Import(Fixture(name + ".v1.c1z"));
  ASSERT_TRUE(imported.ok()) << imported.error().ToString();
  std::vector<std::string> ids;
  for (const ImportedSync& sync : *imported) {
    ids.push_back(sync.id);
    const auto generation = *store_->OpenSync(sync.id);
    Dump expected = ReadDump(Fixture(name + ".v1.dump.jsonl.zst"), sync.id, true);
    std::uint64_t joined = 0;
    for (const std::uint64_t each : sync.joined) joined += each;
    EXPECT_EQ(generation->info().records() + joined, expected.size());
    if (joined > 0) std::erase_if(expected, [](const auto& line) { return line.first.find("\"dup-1\"") != std::string::npos; });
    ExpectEqual(DumpGeneration(*generation, true), expected);
  }
  // What v1 can hold comes back byte for byte: equal digests.
  const std::string out = dir_ + "/out.c1z";
  const auto exported = ExportFile(*store_, ids, out, {}, {});
  ASSERT_TRUE(exported.ok()) << exported.error().ToString();
  const auto again = Import(out);
  ASSERT_TRUE(again.ok()) << again.error().ToString();
  for (const ImportedSync& sync : *again) EXPECT_TRUE(sync.unchanged) << sync.id;
}

INSTANTIATE_TEST_SUITE_P(Files, Fixtures,
                         testing::Values("tiny", "tiny-slim", "tiny-partial", "dir", "multi", "multi-full-2",
                                         "multi-replacement", "sync-diff"));

struct GoldenMerge {
  const char* golden;
  std::vector<const char*> inputs;
  sync::Ties ties;
  bool drop_dup_1 = false;
};

TEST_F(C1z, MergesEqualTheGoldensByEveryStrategy) {
  const std::vector<GoldenMerge> cases = {
      {"base-1.sqlite-attached", {"dir", "dir-newer"}, sync::Ties::kFirst},
      {"base-3.sqlite-attached", {"dir", "dir-newer", "dir-older", "dir-third"}, sync::Ties::kFirst},
      {"base-4-with-tie.pebble-fold", {"dir", "dir-newer", "dir-equal", "dir-older", "dir-third"}, sync::Ties::kFirst},
      {"base-4-with-tie.sqlite-attached", {"dir", "dir-newer", "dir-equal", "dir-older", "dir-third"}, sync::Ties::kLast},
      {"partials-only.sqlite-attached", {"dir-newer", "dir-older", "dir-third"}, sync::Ties::kFirst},
      {"tie.pebble-fold", {"dir", "dir-equal"}, sync::Ties::kFirst},
      {"tie.sqlite-attached", {"dir", "dir-equal"}, sync::Ties::kLast},
      {"types-only.pebble-fold", {"dir", "dir-types-only"}, sync::Ties::kFirst},
      {"types-only.sqlite-attached", {"dir", "dir-types-only"}, sync::Ties::kLast},
      {"resources-only.sqlite-attached", {"dir", "dir-resources-only"}, sync::Ties::kFirst},
      {"with-empty.sqlite-attached", {"dir", "dir-empty"}, sync::Ties::kFirst},
      {"with-unfinished.mergeinto-listed-order", {"dir", "dir-unfinished"}, sync::Ties::kFirst},
      {"tiny.sqlite-attached", {"tiny", "tiny-partial"}, sync::Ties::kFirst, true},
  };
  std::map<std::string, std::string> ids;
  for (const GoldenMerge& each : cases) {
    for (const char* input : each.inputs) {
      if (!ids.contains(input)) ids[input] = ImportOne(std::string(input) + ".v1.c1z");
    }
  }
  int minted = 0;
  for (const GoldenMerge& each : cases) {
    SCOPED_TRACE(each.golden);
    Dump expected = ReadDump(Fixture(std::string("golden/") + each.golden + ".jsonl.zst"), "", false);
    if (each.drop_dup_1) {
      std::erase_if(expected, [](const auto& line) { return line.first.find("\"dup-1\"") != std::string::npos; });
    }
    // All sources into an empty sync, where any may win a tie; and, where the first may, the rest folded into a copy of it.
    sync::SyncRun run;
    run.id = "golden-" + std::to_string(++minted);
    run.type = "partial";
    run.started_at = 1;
    auto writer = sync::SyncWriter::Begin(store_.get(), run, "test");
    ASSERT_TRUE(writer.ok());
    ASSERT_TRUE((*writer)->Seal(1, "seal").ok());
    std::vector<sync::MergeSourceSync> sources;
    for (const char* input : each.inputs) sources.push_back({store_.get(), ids[input]});
    sync::MergeOptions options;
    options.ties = each.ties;
    const auto merged = sync::MergeSyncs(store_.get(), sources, run.id, options);
    ASSERT_TRUE(merged.ok()) << merged.error().ToString();
    ExpectEqual(DumpGeneration(*merged->generation, false), expected);
    if (each.ties == sync::Ties::kLast) continue;
    sync::SyncEntry copy = *store_->Get(ids[each.inputs.front()]);
    copy.run.id += "-copy-" + std::to_string(minted);
    copy.mod_revision = 0;
    ASSERT_TRUE(store_->SwitchTo(copy.generation(), {{copy, "copy"}}).ok());
    sources.erase(sources.begin());
    options.strategy = sync::Strategy::kFold;
    const auto folded = sync::MergeSyncs(store_.get(), sources, copy.run.id, options);
    ASSERT_TRUE(folded.ok()) << folded.error().ToString();
    for (const sync::BucketInfo& bucket : sync::kBuckets) {
      if (!bucket.merged) continue;
      const auto totals = [&bucket](const sync::Generation& of) {
        const auto found = of.info().totals.find(bucket.bucket);
        return found == of.info().totals.end() ? sync::Totals{} : found->second;
      };
      EXPECT_EQ(totals(*folded->generation).records, totals(*merged->generation).records) << bucket.name;
      EXPECT_EQ(totals(*folded->generation).digest, totals(*merged->generation).digest) << bucket.name;
    }
  }
}

TEST_F(C1z, ReplaceInAStoreOfManyEqualsTheGolden) {
  ASSERT_TRUE(Import(Fixture("multi.v1.c1z")).ok());
  sync::MemoryCatalog catalog;
  sync::StoreOptions options;
  options.data_dir = dir_ + "/source";
  fs::create_directories(options.data_dir);
  const auto source = *sync::Store::Open(options, &catalog);
  ImportOptions import;
  import.open.scratch_dir = dir_;
  const auto imported = ImportFile(source.get(), Fixture("multi-replacement.v1.c1z"), import, {});
  ASSERT_TRUE(imported.ok());
  ASSERT_TRUE(sync::ReplaceSync(store_.get(), source.get(), imported->front().id).ok());
  const std::string golden = Fixture("golden/replace-in-multi.derived.jsonl.zst");
  const auto syncs = store_->List();
  for (const sync::SyncEntry& entry : *syncs) {
    SCOPED_TRACE(entry.run.id);
    ExpectEqual(DumpGeneration(**store_->OpenSync(entry.run.id), true), ReadDump(golden, entry.run.id, true));
  }
}

TEST_F(C1z, DamagedFilesAreErrorsAndNeverEmptyStores) {
  // Readable although odd: a second frame behind the database's.
  const std::set<std::string> readable = {"trailing-frame.v1.c1z"};
  int seen = 0;
  for (const auto& file : fs::directory_iterator(Fixture("corrupt"))) {
    const std::string name = file.path().filename().string();
    if (!name.ends_with(".c1z")) continue;
    SCOPED_TRACE(name);
    ++seen;
    const auto imported = Import(file.path().string(), /*replace=*/true);
    if (readable.contains(name)) {
      ASSERT_TRUE(imported.ok()) << imported.error().ToString();
      EXPECT_EQ(imported->front().records, 345u);
    } else {
      ASSERT_FALSE(imported.ok());
      // The file is named, once, and no scratch file of ours.
      const std::string& why = imported.error().message();
      ASSERT_NE(why.find(name), std::string::npos) << why;
      EXPECT_EQ(why.find(name), why.rfind(name)) << why;
      EXPECT_EQ(why.find("scratch"), std::string::npos) << why;
    }
    const auto syncs = store_->List();
    for (const sync::SyncEntry& entry : *syncs) EXPECT_TRUE(store_->OpenSync(entry.run.id).ok());
  }
  EXPECT_GE(seen, 35);
}

TEST_F(C1z, ZonesShiftStampsBothWays) {
  const auto paris = Zone::Parse("Europe/Paris");
  ASSERT_TRUE(paris.ok());
  EXPECT_EQ(paris->ToStamp("2026-03-01 09:00:00.5"), sync::Stamp{1772352000500000000});
  EXPECT_EQ(paris->FromStamp(1772352000500000000), "2026-03-01 09:00:00.5");
  EXPECT_EQ(Zone().ToStamp("2026-03-01 08:00:00"), sync::Stamp{1772352000000000000});
  EXPECT_EQ(Zone().ToStamp("1969-01-01 00:00:00"), sync::Stamp{0});
  EXPECT_EQ(Zone().ToStamp("1970-01-01 00:00:00"), sync::Stamp{0});
  EXPECT_EQ(Zone::Parse("+05:30")->ToStamp("1970-01-01 05:30:01"), sync::Stamp{1000000000});
  EXPECT_FALSE(Zone().ToStamp("yesterday"));
  EXPECT_FALSE(Zone().ToStamp("2026-02-30 00:00:00"));
  EXPECT_FALSE(Zone::Parse("Mars/Olympus").ok());

  const std::string id = ImportOne("tiny.v1.c1z");
  WriteOptions options;
  options.zone = *paris;
  ASSERT_TRUE(ExportFile(*store_, {id}, dir_ + "/paris.c1z", options, {}).ok());
  ImportOptions import;
  import.open.zone = *paris;
  const auto again = ImportFile(store_.get(), dir_ + "/paris.c1z", import, {});
  ASSERT_TRUE(again.ok());
  EXPECT_TRUE(again->front().unchanged);
  EXPECT_FALSE(Import(dir_ + "/paris.c1z").ok());  // in UTC it is another content
}

TEST_F(C1z, WhatV1CannotHoldFailsBeforeWriting) {
  sync::SyncRun run;
  run.id = "two members";
  run.type = "full";
  auto writer = sync::SyncWriter::Begin(store_.get(), run, "test");
  ASSERT_TRUE(writer.ok());
  for (const char* group : {"a", "b"}) {
    sync::RecordView entitlement;
    entitlement.type = RecordType::kEntitlement;
    entitlement.type_id = "group";
    entitlement.resource_id = group;
    entitlement.id = "member";
    ASSERT_TRUE((*writer)->Put(entitlement).ok());
  }
  ASSERT_TRUE((*writer)->Seal(1, "seal").ok());
  const auto exported = ExportFile(*store_, {run.id}, dir_ + "/out.c1z", {}, {});
  EXPECT_EQ(exported.error().code(), Code::kFailedPrecondition);
  EXPECT_NE(exported.error().message().find("2 records share an id with another. entitlements member (2 times)"),
            std::string::npos)
      << exported.error().message();
  EXPECT_FALSE(fs::exists(dir_ + "/out.c1z"));
  EXPECT_EQ(std::distance(fs::directory_iterator(dir_), fs::directory_iterator()), 1);  // only the store
}

TEST_F(C1z, WhatV1WouldReadBackAsAnotherRecordFailsToo) {
  const auto put = [&](const std::string& id, const sync::RecordView& record) {
    sync::SyncRun run;
    run.id = id;
    run.type = "full";
    const auto writer = *sync::SyncWriter::Begin(store_.get(), run, "test");
    EXPECT_TRUE(writer->Put(record).ok());
    EXPECT_TRUE(writer->Seal(1, "seal").ok());
  };
  sync::RecordView entitlement;
  entitlement.type = RecordType::kEntitlement;
  entitlement.type_id = "group";
  entitlement.resource_id = "a";
  entitlement.id = "member";
  entitlement.data = "\x0A\x0C\x0A\x0A\x0A\x05group\x12\x01" "b";  // its resource is group b
  put("moved", entitlement);
  sync::RecordView grant;
  grant.type = RecordType::kGrant;
  grant.type_id = "group";
  grant.resource_id = "a";
  grant.entitlement_id = "member";
  grant.principal_type_id = "user";
  grant.principal_id = "u";
  grant.data = "\x1A\xFF";
  put("no message", grant);
  grant.data = {};
  grant.discovered_at = 1792890000'000000000;  // 01:00 UTC on 25 October 2026: clocks in Paris show 02:00, twice
  put("twice", grant);
  const std::string out = dir_ + "/out.c1z";
  for (const char* id : {"moved", "no message"}) {
    const auto exported = ExportFile(*store_, {id}, out, {}, {});
    ASSERT_EQ(exported.error().code(), Code::kFailedPrecondition) << id;
    EXPECT_NE(exported.error().message().find("1 records would be read back as others"), std::string::npos);
    EXPECT_FALSE(fs::exists(out));
  }
  WriteOptions options;
  options.zone = *Zone::Parse("Europe/Paris");
  EXPECT_EQ(ExportFile(*store_, {"twice"}, out, options, {}).error().code(), Code::kFailedPrecondition);
  EXPECT_TRUE(ExportFile(*store_, {"twice", "twice"}, out, {}, {}).ok());
}

TEST_F(C1z, ExistingSyncsAreRefusedUnlessReplaced) {
  const std::string id = ImportOne("multi-full-2.v1.c1z");
  EXPECT_TRUE(Import(Fixture("multi-full-2.v1.c1z"))->front().unchanged);
  EXPECT_EQ(Import(Fixture("multi-replacement.v1.c1z")).error().code(), Code::kFailedPrecondition);
  ASSERT_TRUE(Import(Fixture("multi-replacement.v1.c1z"), /*replace=*/true).ok());
  EXPECT_EQ(store_->Get(id)->history.size(), 2u);
  ASSERT_TRUE(store_->Rollback(id, std::nullopt).ok());
  EXPECT_TRUE(Import(Fixture("multi-full-2.v1.c1z"))->front().unchanged);
}

TEST_F(C1z, AnExistingFileIsLeftAlone) {
  const std::string id = ImportOne("tiny.v1.c1z");
  const std::string out = dir_ + "/out.c1z";
  std::ofstream(out) << "mine";
  EXPECT_EQ(ExportFile(*store_, {id}, out, {}, {}).error().code(), Code::kFailedPrecondition);
  EXPECT_EQ(ReadAll(out), "mine");
  WriteOptions options;
  options.if_exists = WriteOptions::IfExists::kReplace;
  EXPECT_TRUE(ExportFile(*store_, {id}, out, options, {}).ok());
}

TEST(C1zExpansion, MovesOutOfTheMessage) {
  const auto field = [](int number, const std::string& bytes) {
    return std::string(1, static_cast<char>(number << 3 | 2)) + static_cast<char>(bytes.size()) + bytes;
  };
  const std::string type = "type.googleapis.com/c1.connector.v2.GrantExpandable";
  const std::string other = field(4, field(1, "type.googleapis.com/x") + field(2, "v"));
  const std::string expandable = field(1, "group:g:member") + field(1, " ");
  const auto moved = ExtractExpansion(field(3, "id") + field(4, field(1, type) + field(2, expandable)) + other);
  ASSERT_TRUE(moved);
  EXPECT_EQ(moved->message, field(3, "id") + other);
  EXPECT_EQ(moved->expansion, expandable);
  const auto blank = ExtractExpansion(field(4, field(1, type) + field(2, field(1, " "))));
  ASSERT_TRUE(blank);
  EXPECT_EQ(blank->message, "");
  EXPECT_EQ(blank->expansion, "");
  EXPECT_FALSE(ExtractExpansion("\x22\x7F"));
}

}  // namespace
}  // namespace vellum::c1z
