#include "c1z/merge_files.h"

#include <gtest/gtest.h>
#include <sqlite3.h>

#include <filesystem>
#include <fstream>
#include <map>

#include "base/test_dir.h"
#include "base/test_random.h"
#include "c1z/v1_writer.h"
#include "sync/codec.h"
#include "sync/memory_catalog.h"

/// Editing the first file against importing all of them: one output, read back.
namespace vellum::c1z {
namespace {

namespace fs = std::filesystem;
using sync::RecordType;

std::string Fixture(const std::string& name) { return std::string(VELLUM_FIXTURES) + "/c1z/" + name + ".v1.c1z"; }

class MergeFiles : public testing::Test {
 protected:
  /// What a file of one sync holds: its run, and every record's key and value.
  struct Contents {
    std::map<std::string, std::string> records;
    std::string run;
    std::string stats;
    std::uint64_t sessions = 0;
    friend bool operator==(const Contents&, const Contents&) = default;
  };

  Contents Read(const std::string& path) {
    OpenOptions options;
    options.scratch_dir = directory_.path();
    const auto reader = OpenReader(path, options);
    EXPECT_TRUE(reader.ok()) << reader.error().ToString();
    Contents contents;
    if (!reader.ok()) return contents;
    EXPECT_EQ((*reader)->syncs().size(), 1u);
    const FileSync& sync = (*reader)->syncs().front();
    const sync::SyncRun& run = sync.run;
    contents.run = run.id + "|" + run.type + "|" + run.parent_id + "|" + run.linked_id + "|" + run.token + "|" +
                   std::to_string(run.started_at) + "|" + std::to_string(run.ended_at) + "|" +
                   std::to_string(run.supports_diff);
    contents.stats = sync.stats_json;
    ReadReport report;
    for (int type = 0; type < sync::kRecordTypes; ++type) {
      const Status read = (*reader)->ReadRecords(
          sync, static_cast<RecordType>(type), Reader::Invalid::kFail,
          [&](const sync::RecordView& record) {
            std::string key;
            std::string value;
            sync::AppendRecordKey(&key, record);
            sync::AppendRecordValue(&value, record);
            EXPECT_TRUE(contents.records.emplace(key, value).second);
            return Status();
          },
          &report);
      EXPECT_TRUE(read.ok()) << read.ToString();
    }
    EXPECT_EQ(report.foreign, 0u);
    EXPECT_TRUE((*reader)->ReadSessions(sync, [&](const Session&) { return ++contents.sessions, Status(); }).ok());
    const Status rest = (*reader)->CheckRest();
    EXPECT_TRUE(rest.ok()) << rest.ToString();
    return contents;
  }

  MergeFilesOptions Options(sync::Ties ties) {
    MergeFilesOptions options;
    options.open.scratch_dir = directory_.path();
    options.write.if_exists = WriteOptions::IfExists::kReplace;
    options.ties = ties;
    options.merged_id = "3AQVUxyQSWbfjY1JwOB5NPX0OCN";
    options.share_max = 2;
    return options;
  }

  Result<MergeFilesReport> ByStore(const std::vector<FileInput>& inputs, const std::string& out, sync::Ties ties) {
    sync::MemoryCatalog catalog;
    sync::StoreOptions options;
    options.data_dir = directory_.path() + "/store";
    fs::remove_all(options.data_dir);
    fs::create_directories(options.data_dir);
    const auto store = *sync::Store::Open(options, &catalog);
    return MergeByStore(store.get(), inputs, out, Options(ties), {});
  }

  /// True: it was edited, and like the other way's output. False: it was not; `why` says why.
  bool Edits(const std::vector<FileInput>& inputs, sync::Ties ties, std::string* why) {
    const std::string out = directory_.path() + "/edited.c1z";
    const std::string expected = directory_.path() + "/expected.c1z";
    fs::remove(out);
    const auto edited = MergeByEditing(inputs, out, Options(ties), {}, why);
    EXPECT_TRUE(edited.ok()) << edited.error().ToString();
    if (!edited.ok() || !*edited) {
      EXPECT_FALSE(fs::exists(out));
      return false;
    }
    const auto merged = ByStore(inputs, expected, ties);
    EXPECT_TRUE(merged.ok()) << merged.error().ToString();
    const Contents actual = Read(out);
    const Contents wanted = Read(expected);
    EXPECT_EQ(actual.run, wanted.run);
    EXPECT_EQ(actual.stats, wanted.stats);
    EXPECT_EQ(actual.sessions, wanted.sessions);
    EXPECT_EQ(actual.records.size(), wanted.records.size());
    EXPECT_TRUE(actual.records == wanted.records);
    EXPECT_EQ((*edited)->records, wanted.records.size());
    EXPECT_EQ((*edited)->bytes, fs::file_size(out));
    return true;
  }

  TestDir directory_;
};

TEST_F(MergeFiles, GoldenInputsEditedAsThroughTheStore) {
  const std::vector<std::vector<const char*>> cases = {
      {"dir", "dir-newer", "dir-equal", "dir-older", "dir-third", "dir-types-only", "dir-resources-only", "dir-empty"},
      {"dir-newer", "dir-older", "dir-third"},
      {"multi-full-2", "multi"},
      {"multi-full-2", "multi-replacement"},
      {"tiny-partial", "tiny"},
      {"dir-empty", "dir-newer"},
      {"dir-newer"},
  };
  for (const auto& names : cases) {
    for (const sync::Ties ties : {sync::Ties::kFirst, sync::Ties::kLast}) {
      if (names.size() > 5 && ties == sync::Ties::kLast) continue;  // the large one once
      SCOPED_TRACE(std::string(names.front()) + "+" + names.back() + (ties == sync::Ties::kLast ? ", last" : ""));
      std::vector<FileInput> inputs;
      for (const char* name : names) inputs.push_back({Fixture(name), ""});
      std::string why;
      EXPECT_TRUE(Edits(inputs, ties, &why)) << why;
    }
  }
}

TEST_F(MergeFiles, OddBasesGoTheOtherWay) {
  std::string why;
  const FileInput partial{Fixture("tiny-partial"), ""};
  EXPECT_FALSE(Edits({{Fixture("tiny"), ""}, partial}, sync::Ties::kFirst, &why));
  EXPECT_NE(why.find("another resource"), std::string::npos) << why;  // the bare entitlement id on two groups
  EXPECT_FALSE(Edits({{Fixture("multi"), ""}, partial}, sync::Ties::kFirst, &why));
  EXPECT_EQ(why, "it holds several syncs");
  EXPECT_FALSE(Edits({{std::string(VELLUM_FIXTURES) + "/c1z/tiny.v3.c1z", ""}, partial}, sync::Ties::kFirst, &why));
  EXPECT_EQ(why, "the first file is not a v1 file");
  MergeFilesOptions options = Options(sync::Ties::kFirst);
  options.share_max = 0.25;
  const auto merged =
      MergeByEditing({partial, {Fixture("dir"), ""}}, directory_.path() + "/out.c1z", options, {}, &why);
  ASSERT_TRUE(merged.ok());
  EXPECT_FALSE(*merged);
  EXPECT_EQ(why, "the first file is not much larger than the others");
}

/// Random syncs of few identities, many collisions, equal and absent stamps, odd text and long messages.
class RandomFile {
 public:
  explicit RandomFile(std::mt19937_64* random) : random_(*random) {}

  void Write(const std::string& path, const std::string& id, bool full, std::size_t puts) {
    WriteOptions options;
    options.if_exists = WriteOptions::IfExists::kReplace;
    const auto writer = *V1Writer::Create(path, options);
    sync::SyncRun run;
    run.id = id;
    run.type = full ? "full" : random_() % 2 == 0 ? "partial" : "resources_only";
    run.started_at = 1'000'000'000 * (1 + random_() % 5);
    run.ended_at = 1'000'000'000 * (6 + random_() % 5);
    run.token = "token";
    ASSERT_TRUE(writer->BeginSync(run).ok());
    std::map<std::string, bool> seen;
    for (std::size_t i = 0; i < puts; ++i) PutOne(writer.get(), &seen);
    ASSERT_TRUE(writer->PutSession({"key", "value"}).ok());
    ASSERT_TRUE(writer->Finish().ok());
  }

 private:
  std::string Pick(const char* kind, std::size_t count) {
    return kind + std::string(random_() % 3, '\'') + std::to_string(random_() % count);
  }

  /// A message: some unknown field of any length, so that some records span pages.
  std::string Message() {
    std::string text(random_() % 8 == 0 ? random_() % 20'000 : random_() % 60, static_cast<char>('a' + random_() % 26));
    std::string message = "\xF2\x01";  // field 30
    for (std::size_t left = text.size();; left >>= 7) {
      message.push_back(static_cast<char>(left >= 128 ? (left & 127) | 128 : left));
      if (left < 128) break;
    }
    return message + text;
  }

  void PutOne(V1Writer* writer, std::map<std::string, bool>* seen) {
    sync::RecordView record;
    record.type = static_cast<RecordType>(random_() % 8 < 4 ? 3 : random_() % 5);
    record.discovered_at = 1'000'000'000 * (random_() % 4);
    const std::string data = Message();
    const std::string type = Pick("t", 2);
    const std::string resource = Pick("r", 6);
    const std::string principal = Pick("p", 6);
    std::string id = type + ":" + resource + ":" + Pick("e", 2);
    const std::string entitlement = id;
    const std::string expansion = random_() % 2 == 0 ? std::string("\x0A\x01x") : std::string();
    record.data = data;
    record.type_id = type;
    record.resource_id = resource;
    if (record.type == RecordType::kGrant) {
      id += ":user:" + principal + (random_() % 4 == 0 ? "!" : "");
      record.entitlement_id = entitlement;
      record.principal_type_id = "user";
      record.principal_id = principal;
      record.expansion = expansion;
      record.needs_expansion = !expansion.empty() && random_() % 2 == 0;
      record.slim = true;
    } else if (record.type == RecordType::kAsset) {
      record.content_type = "image/png";
    } else if (record.type == RecordType::kResourceType) {
      id = type;
    } else if (record.type == RecordType::kResource) {
      id = resource;
    }
    record.id = id;
    std::string key;
    sync::AppendRecordKey(&key, record);
    const std::string column = std::to_string(static_cast<int>(record.type)) + V1ExternalId(record);
    // Each identity and each id once: what breaks that has a test of its own.
    if (!seen->emplace(key, true).second || !seen->emplace(column, true).second) return;
    ASSERT_TRUE(writer->Put(record).ok());
  }

  std::mt19937_64& random_;
};

TEST_F(MergeFiles, RandomFilesEditedAsThroughTheStore) {
  auto random = SeededRandom();
  RandomFile file(&random);
  for (int round = 0; round < 8; ++round) {
    SCOPED_TRACE(round);
    std::vector<FileInput> inputs;
    const std::size_t files = 1 + random() % 4;
    for (std::size_t i = 0; i < files; ++i) {
      inputs.push_back({directory_.path() + "/in" + std::to_string(i) + ".c1z", ""});
      file.Write(inputs.back().path, "3AKrFfy3kUrti6RckrYBwUoril" + std::to_string(i), i == 0,
                 i == 0 ? random() % 300 : random() % 60);
    }
    for (const sync::Ties ties : {sync::Ties::kFirst, sync::Ties::kLast}) {
      std::string why;
      EXPECT_TRUE(Edits(inputs, ties, &why)) << why;
    }
  }
}

TEST_F(MergeFiles, DamagedBasesAreNeverEdited) {
  // Whatever byte of the database is wrong: the other way, or an output that reads like the other way's.
  auto random = SeededRandom();
  RandomFile file(&random);
  const std::string base = directory_.path() + "/base.c1z";
  const std::string partial = directory_.path() + "/partial.c1z";
  const std::string damaged = directory_.path() + "/damaged.c1z";
  const std::string database = directory_.path() + "/made.db";
  file.Write(base, "3AKrFfy3kUrti6RckrYBwUorila", true, 150);
  file.Write(partial, "3AKrFfy3kUrti6RckrYBwUorilb", false, 30);
  fs::remove(database);
  ASSERT_TRUE(ExtractDatabase(base, database, {}).ok());
  std::ifstream in(database, std::ios::binary);
  const std::string whole{std::istreambuf_iterator<char>(in), {}};
  int edited = 0;
  for (int round = 0; round < 30; ++round) {
    std::string bytes = whole;
    for (int i = 0; i < 1 + round % 3; ++i) bytes[random() % bytes.size()] = static_cast<char>(random());
    // Most bytes are some record's text, where another one does no harm: once it is what a page begins with.
    if (round == 0) bytes[4096] = '\x55';
    std::ofstream(database, std::ios::binary).write(bytes.data(), static_cast<std::streamsize>(bytes.size()));
    ASSERT_TRUE(WrapDatabase(database, damaged, 1).ok());
    std::string why;
    const std::string out = directory_.path() + "/edited.c1z";
    const auto merged = MergeByEditing({{damaged, ""}, {partial, ""}}, out, Options(sync::Ties::kFirst), {}, &why);
    if (!merged.ok() || !*merged) continue;
    ++edited;
    const auto expected =
        ByStore({{damaged, ""}, {partial, ""}}, directory_.path() + "/expected.c1z", sync::Ties::kFirst);
    ASSERT_TRUE(expected.ok()) << expected.error().ToString();
    ASSERT_TRUE(Read(out) == Read(directory_.path() + "/expected.c1z"));
  }
  EXPECT_LT(edited, 30);
}

TEST_F(MergeFiles, AStatementThatMakesAnotherKeyIsNotEdited) {
  auto random = SeededRandom();
  RandomFile file(&random);
  const std::string base = directory_.path() + "/base.c1z";
  const std::string partial = directory_.path() + "/partial.c1z";
  const std::string database = directory_.path() + "/made.db";
  file.Write(base, "3AKrFfy3kUrti6RckrYBwUorila", true, 100);
  file.Write(partial, "3AKrFfy3kUrti6RckrYBwUorilb", false, 10);
  for (const char* table : {"v1_sync_runs", "v1_grants", "v1_connector_sessions"}) {
    SCOPED_TRACE(table);
    fs::remove(database);
    ASSERT_TRUE(ExtractDatabase(base, database, {}).ok());
    std::ifstream in(database, std::ios::binary);
    std::string bytes{std::istreambuf_iterator<char>(in), {}};
    const std::size_t statement = bytes.find(std::string("CREATE TABLE ") + table);
    const std::size_t type = bytes.find("integer primary key", statement);
    ASSERT_LT(type, statement + 100);
    bytes[type + 5] = '\xF6';  // the key is no row id any more, and needs an index that is not there
    std::ofstream(database, std::ios::binary).write(bytes.data(), static_cast<std::streamsize>(bytes.size()));
    const std::string damaged = directory_.path() + "/damaged.c1z";
    ASSERT_TRUE(WrapDatabase(database, damaged, 1).ok());
    std::string why;
    const auto merged = MergeByEditing({{damaged, ""}, {partial, ""}}, directory_.path() + "/edited.c1z",
                                       Options(sync::Ties::kFirst), {}, &why);
    EXPECT_TRUE(!merged.ok() || !*merged);
  }
}

}  // namespace
}  // namespace vellum::c1z
