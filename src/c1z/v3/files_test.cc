#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <set>

#include "base/test_dir.h"
#include "c1z/reader.h"
#include "c1z/test_dump.h"
#include "c1z/transfer.h"
#include "c1z/v3/reader.h"
#include "c1z/v3/test_writer.h"
#include "sync/memory_catalog.h"

/// Real v3 files against their dumps, and against the same content in v1.
namespace vellum::c1z::v3 {
namespace {

namespace fs = std::filesystem;

OpenOptions Options(const TestDir& directory) {
  OpenOptions options;
  options.scratch_dir = directory.path();
  return options;
}

/// Every record of a file, by the reader alone; the order that it promises is checked.
Dump DumpFile(Reader* reader, ReadReport* report) {
  Dump dump;
  for (const FileSync& sync : reader->syncs()) {
    for (int type = 0; type < sync::kRecordTypes; ++type) {
      const auto record_type = static_cast<RecordType>(type);
      std::string before;
      const Status read = reader->ReadRecords(
          sync, record_type, Reader::Invalid::kFail,
          [&](const sync::RecordView& record) {
            std::string key;
            sync::AppendRecordKey(&key, record);
            if (reader->InIdentityOrder(record_type)) {
              EXPECT_LT(before, key);
            }
            before = key;
            json line = ToDumpLine(record);
            const std::string name = KeyOf(line["bucket"], line["id"]);
            EXPECT_FALSE(dump.contains(name) && reader->InIdentityOrder(record_type)) << name;
            dump[name] = std::move(line);
            return Status();
          },
          report);
      EXPECT_TRUE(read.ok()) << read.ToString();
    }
  }
  return dump;
}

/// The sync run's line of a dump, which ReadDump leaves out.
json RunLine(const std::string& path) {
  std::istringstream lines(Unzstd(path));
  for (std::string line; std::getline(lines, line);) {
    json object = json::parse(line);
    if (object["bucket"] == "sync_run") return object;
  }
  return {};
}

json RunAsLine(const sync::SyncRun& run) {
  json rec = {{"type", run.type}, {"started_at", run.started_at}};
  if (run.ended_at == 0) {
    rec["unfinished"] = true;
  } else {
    rec["ended_at"] = run.ended_at;
  }
  if (!run.parent_id.empty()) rec["parent"] = run.parent_id;
  if (!run.linked_id.empty()) rec["linked"] = run.linked_id;
  if (!run.token.empty()) rec["token"] = run.token;
  if (run.supports_diff) rec["supports_diff"] = true;
  return {{"bucket", "sync_run"}, {"id", json::array()}, {"sync", run.id}, {"rec", std::move(rec)}};
}

class V3Files : public testing::TestWithParam<const char*> {
 protected:
  TestDir directory_;
};

TEST_P(V3Files, EqualTheirDumpsInAllFields) {
  const std::string path = Fixture(std::string(GetParam()) + ".v3.c1z");
  const std::string dump = Fixture(std::string(GetParam()) + ".v3.dump.jsonl.zst");
  const auto reader = V3Reader::Open(path, Options(directory_));
  ASSERT_TRUE(reader.ok()) << reader.error().ToString();
  ASSERT_EQ((*reader)->syncs().size(), 1u);
  EXPECT_EQ(RunAsLine((*reader)->syncs().front().run), RunLine(dump));
  ReadReport report;
  const Dump expected = ReadDump(dump, "", true);
  ExpectEqual(DumpFile(reader->get(), &report), expected);
  EXPECT_EQ(report.rows, expected.size());
  EXPECT_EQ(report.unstamped, 0u);
  EXPECT_TRUE(report.invalid.empty());
  EXPECT_EQ(*(*reader)->CountOrphans(), 0u);
  const Status rest = (*reader)->CheckRest();
  EXPECT_TRUE(rest.ok()) << rest.ToString();
  EXPECT_EQ((*reader)->warnings(), std::vector<std::string>());
  EXPECT_TRUE(fs::is_empty(directory_.path()));  // scratch files have no names
}

TEST_P(V3Files, ImportEqualsTheDump) {
  sync::MemoryCatalog catalog;
  sync::StoreOptions store_options;
  store_options.data_dir = directory_.path() + "/data";
  fs::create_directories(store_options.data_dir);
  const auto store = *sync::Store::Open(store_options, &catalog);
  ImportOptions options;
  options.open = Options(directory_);
  const std::string path = Fixture(std::string(GetParam()) + ".v3.c1z");
  const auto imported = ImportFile(store.get(), path, options, {});
  ASSERT_TRUE(imported.ok()) << imported.error().ToString();
  ASSERT_EQ(imported->size(), 1u);
  const Dump expected = ReadDump(Fixture(std::string(GetParam()) + ".v3.dump.jsonl.zst"), "", true);
  EXPECT_EQ(imported->front().records, expected.size());
  EXPECT_EQ(imported->front().joined, (std::array<std::uint64_t, sync::kRecordTypes>{}));
  ExpectEqual(DumpGeneration(**store->OpenSync(imported->front().id), true), expected);
  const auto again = ImportFile(store.get(), path, options, {});
  ASSERT_TRUE(again.ok());
  EXPECT_TRUE(again->front().unchanged);
}

INSTANTIATE_TEST_SUITE_P(Files, V3Files,
                         testing::Values("tiny", "tiny-partial", "dir", "multi-full-2", "multi-replacement", "compacted-virtual",
                                         "replaced-virtual", "folded-virtual"));

class Twins : public V3Files {};

/// What the fixtures' README says that v3 does not keep.
void EraseWhatV3Loses(Dump* dump) {
  for (auto& [name, line] : *dump) {
    for (const char* lost : {"id_baton_resource", "baton_resource", "external_id", "creation_source"}) line["rec"].erase(lost);
    if (line["bucket"] == "asset") line.erase("discovered_at");
  }
}

TEST_P(Twins, OfOneContentAreEqual) {
  ReadReport report;
  const auto v1 = OpenReader(Fixture(std::string(GetParam()) + ".v1.c1z"), Options(directory_));
  const auto v3 = OpenReader(Fixture(std::string(GetParam()) + ".v3.c1z"), Options(directory_));
  ASSERT_TRUE(v1.ok()) << v1.error().ToString();
  ASSERT_TRUE(v3.ok()) << v3.error().ToString();
  EXPECT_EQ((*v1)->syncs().front().run.id, (*v3)->syncs().front().run.id);
  Dump expected = DumpFile(v1->get(), &report);
  Dump actual = DumpFile(v3->get(), &report);
  EraseWhatV3Loses(&expected);
  EraseWhatV3Loses(&actual);
  ExpectEqual(actual, expected);
}

INSTANTIATE_TEST_SUITE_P(Files, Twins,
                         testing::Values("dir", "dir-newer", "dir-equal", "multi-full-2", "multi-replacement", "tiny-partial"));

TEST(V3File, TinyDiffersFromItsTwinAsIdentityDoes) {
  const TestDir directory;
  ReadReport report;
  const auto reader = OpenReader(Fixture("tiny.v3.c1z"), Options(directory));
  ASSERT_TRUE(reader.ok());
  const Dump dump = DumpFile(reader->get(), &report);
  std::size_t members = 0;
  std::size_t duplicates = 0;
  for (const auto& [name, line] : dump) {
    if (line["bucket"] == "entitlement" && line["id"][2] == "member") ++members;
    if (line["bucket"] == "grant" && std::string(line["id"][5]).starts_with("dup-")) ++duplicates;
  }
  EXPECT_EQ(members, 2u);
  EXPECT_EQ(duplicates, 1u);
}

TEST(V3File, PartsReadAtOnceAreTheWhole) {
  const TestDir directory;
  std::vector<WriterRow> rows = StampRows({.id = "3AKrFg2DodbmMYsERIlv6FSibdb", .type = "full"}, 1);
  std::vector<std::string> names;
  for (int i = 0; i < 30'000; ++i) names.push_back("a-name-that-does-not-compress-" + std::to_string(i * 7'919 % 100'003));
  for (const std::string& name : names) {
    sync::RecordView resource;
    resource.type = RecordType::kResource;
    resource.type_id = "user";
    resource.id = name;
    rows.push_back(RecordRow(resource, 1));
  }
  SortRows(&rows);
  // Half of the rows in another table, so that cuts of one lie within blocks of the other.
  std::vector<WriterRow> others;
  for (std::size_t i = 0; i < rows.size(); i += 2) others.push_back({rows[i].key, 5, 1, rows[i].value});
  TableFormat format;
  format.two_levels = true;
  const std::string path = directory.path() + "/file.c1z";
  std::ofstream(path, std::ios::binary) << WrapFiles(WriteCheckpoint({WriteTable(rows, {}, format), WriteTable(others)}), {});
  const auto reader = OpenReader(path, Options(directory));
  ASSERT_TRUE(reader.ok()) << reader.error().ToString();
  for (const std::size_t lanes : {1u, 2u, 3u, 7u}) {
    std::vector<std::vector<std::string>> seen(lanes);
    std::vector<Reader::Visit> visits;
    for (std::size_t lane = 0; lane < lanes; ++lane) {
      visits.emplace_back([&seen, lane](const sync::RecordView& record) {
        seen[lane].emplace_back(record.id);
        return Status();
      });
    }
    ReadReport report;
    const Status read = (*reader)->ReadInParts((*reader)->syncs().front(), RecordType::kResource, Reader::Invalid::kFail, visits, &report);
    ASSERT_TRUE(read.ok()) << read.ToString();
    std::vector<std::string> all;
    for (const auto& lane : seen) {
      if (lanes < 3) {  // there is not enough for more
        EXPECT_GT(lane.size(), names.size() / lanes / 2) << lanes;
      }
      all.insert(all.end(), lane.begin(), lane.end());
    }
    EXPECT_TRUE(std::is_sorted(all.begin(), all.end()));
    EXPECT_EQ(all.size(), names.size());
    EXPECT_EQ(std::set<std::string>(all.begin(), all.end()).size(), names.size());
    EXPECT_EQ(report.rows, names.size());
  }
}

TEST(V3File, IsReadFromItsHeadAlone) {
  const auto header = ReadHeader(Fixture("dir.v3.c1z"), {});
  ASSERT_TRUE(header.ok()) << header.error().ToString();
  EXPECT_EQ(header->engine, "pebble3");
  EXPECT_EQ(header->encoding, Encoding::kIndexedZstd);
  ASSERT_EQ(header->syncs.size(), 1u);
  EXPECT_EQ(header->syncs.front().records, (std::array<std::uint64_t, sync::kRecordTypes>{4, 2251, 450, 30139, 1}));
}

}  // namespace
}  // namespace vellum::c1z::v3
