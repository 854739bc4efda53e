#include "c1z/v1_writer.h"

#include <gtest/gtest.h>
#include <sys/stat.h>

#include <array>
#include <filesystem>
#include <fstream>
#include <set>
#include <string>
#include <vector>

#include "base/test_dir.h"
#include "base/test_random.h"
#include "c1z/envelope.h"
#include "c1z/test_sqlite.h"
#include "c1z/v1_insert.h"
#include "c1z/v1_rows.h"

/// Files that V1Writer made, beside databases into which SQLite put the same.
namespace vellum::c1z {
namespace {

namespace fs = std::filesystem;
using sync::RecordType;
using sync::RecordView;
using Table = TestSqlite::Table;

class V1Files : public ::testing::Test {
 protected:
  /// What SQLite makes of the same calls.
  class Expected {
   public:
    explicit Expected(const std::string& path) {
      std::ofstream(path).close();
      database_ = std::make_unique<Sqlite>(*Sqlite::OpenForEditing(path));
      EXPECT_TRUE(database_->Run(std::string(kV1Tables) + kV1Indexes + "BEGIN").ok());
    }
    void Put(const RecordView& record, const std::string& sync) {
      Statement insert = *PrepareV1Insert(database_.get(), record.type);
      const Status put = InsertV1Record(record, sync, {}, &insert);
      EXPECT_TRUE(put.ok()) << put.ToString();
      stats_.Count(record);
    }
    void PutSession(const std::string& sync, const Session& session) {
      Statement insert =
          *database_->Prepare("INSERT INTO v1_connector_sessions (sync_id, key, value) VALUES (?, ?, ?)");
      insert.Bind(1, sync);
      insert.Bind(2, session.key);
      insert.BindBlob(3, session.value);
      EXPECT_TRUE(insert.Finish().ok());
    }
    void EndSync(const sync::SyncRun& run) {
      EXPECT_TRUE(InsertV1Run(database_.get(), run, {}, stats_).ok());
      stats_ = {};
    }
    void Finish() { EXPECT_TRUE(database_->Run("COMMIT").ok() && database_->Close().ok()); }

   private:
    std::unique_ptr<Sqlite> database_;
    V1Stats stats_;
  };

  std::string Extract(const std::string& file) {
    const std::string database = dir_.path() + "/extracted.db";
    fs::remove(database);
    const Status extracted = ExtractDatabase(file, database, {});
    EXPECT_TRUE(extracted.ok()) << extracted.ToString();
    return database;
  }

  static void ExpectEqual(TestSqlite* written, TestSqlite* expected) {
    EXPECT_EQ(written->Rows("PRAGMA integrity_check"), Table({{"'ok'"}}));
    EXPECT_EQ(written->Rows("PRAGMA quick_check"), Table({{"'ok'"}}));
    for (const char* pragma :
         {"page_size", "encoding", "freelist_count", "auto_vacuum", "user_version", "application_id", "journal_mode"}) {
      const std::string query = std::string("PRAGMA ") + pragma;
      EXPECT_EQ(written->Rows(query), expected->Rows(query)) << pragma;
    }
    const std::string schema = "SELECT type, name, tbl_name, sql FROM sqlite_schema ORDER BY rowid";
    EXPECT_EQ(written->Rows(schema), expected->Rows(schema));
    for (const auto& table : expected->Rows("SELECT name FROM sqlite_schema WHERE type = 'table'")) {
      const std::string name = table[0].substr(1, table[0].size() - 2);
      EXPECT_TRUE(written->Rows("SELECT * FROM " + name) == expected->Rows("SELECT * FROM " + name)) << name;
    }
    for (const auto& row : expected->Rows("SELECT name, tbl_name, sql FROM sqlite_schema WHERE type = 'index'")) {
      const std::string sql = row[2].substr(1, row[2].size() - 2);
      const std::string columns = sql.substr(sql.find('(') + 1, sql.find(')') - sql.find('(') - 1);
      const std::string where = sql.find("WHERE") == std::string::npos ? "" : sql.substr(sql.find("WHERE"));
      const std::string query = "SELECT " + columns + ", _rowid_ FROM " + row[1] + " INDEXED BY " + row[0] + " " +
                                where + " ORDER BY " + columns + ", _rowid_";
      EXPECT_TRUE(written->Rows(query) == expected->Rows(query)) << query;
    }
  }

  TestDir dir_;
  const std::string file_ = dir_.path() + "/out.c1z";
};

/// Records whose ids are their own within a sync.
class RandomRecords {
 public:
  explicit RandomRecords(std::mt19937_64* random) : random_(*random) {}

  RecordView Next() {
    RecordView record;
    record.type = static_cast<RecordType>(random_() % 8 < 4 ? 3 : random_() % 5);
    record.discovered_at = random_() % 3 == 0 ? 0 : 1'790'000'000'000'000'000 + random_() % 100'000'000'000;
    if (random_() % 3 == 0) record.discovered_at -= record.discovered_at % 1'000'000'000;
    for (std::string& text : texts_) text = Text();
    texts_[0] += std::to_string(++number_);
    if (random_() % 50 == 0) texts_[0].insert(0, random_() % 9000, 'i');
    data_.assign(random_() % 16 == 0 ? random_() % 20'000 : random_() % 300, static_cast<char>(random_()));
    record.id = texts_[0];
    record.type_id = texts_[1];
    record.resource_id = texts_[2];
    record.data = data_;
    if (record.type == RecordType::kResource && random_() % 2 == 0) {
      record.parent_type_id = texts_[3];
      record.parent_id = texts_[4];
    }
    if (record.type == RecordType::kAsset) record.content_type = texts_[3];
    if (record.type != RecordType::kGrant) return record;
    record.entitlement_id = texts_[3];
    record.principal_type_id = texts_[4];
    record.principal_id = texts_[5];
    if (random_() % 4 == 0) record.expansion = std::string_view(data_).substr(0, 20);
    record.needs_expansion = random_() % 4 == 0;
    return record;
  }

 private:
  std::string Text() {
    static constexpr std::array<std::string_view, 5> kParts = {"group", ":", std::string_view("\0", 1), "\xC3\xA9",
                                                               "u"};
    std::string text(kParts[random_() % kParts.size()]);
    for (std::uint64_t left = random_() % 4; left > 0; --left) text += kParts[random_() % kParts.size()];
    return text;
  }

  std::mt19937_64& random_;
  std::array<std::string, 6> texts_;
  std::string data_;
  int number_ = 0;
};

TEST_F(V1Files, AreWhatSqliteMakesOfTheSame) {
  auto random = SeededRandom();
  for (const std::size_t puts : {0u, 1u, 400u, 6000u}) {
    SCOPED_TRACE(puts);
    WriteOptions options;
    options.if_exists = WriteOptions::IfExists::kReplace;
    const auto writer = *V1Writer::Create(file_, options);
    const std::string made = dir_.path() + "/made.db";
    fs::remove(made);
    Expected expected(made);
    for (const char* id : {"2b", "1a", "3c"}) {
      sync::SyncRun run;
      run.id = id;
      run.type = "full";
      run.started_at = 1'790'000'000'000'000'000;
      run.ended_at = id[0] == '1' ? 0 : run.started_at + 1'500'000'000;
      run.token = "token";
      run.supports_diff = id[0] == '2';
      ASSERT_TRUE(writer->BeginSync(run).ok());
      RandomRecords records(&random);
      for (std::size_t i = 0; i < puts; ++i) {
        const RecordView record = records.Next();
        const Status put = writer->Put(record);
        ASSERT_TRUE(put.ok()) << put.ToString();
        expected.Put(record, run.id);
      }
      for (const char* key : {"b", "a"}) {
        ASSERT_TRUE(writer->PutSession({key, "value"}).ok());
        expected.PutSession(run.id, {key, "value"});
      }
      expected.EndSync(run);
    }
    const Status finished = writer->Finish();
    ASSERT_TRUE(finished.ok()) << finished.ToString();
    expected.Finish();
    TestSqlite database(Extract(file_));
    TestSqlite by_sqlite(made);
    ExpectEqual(&database, &by_sqlite);
    // It goes on like any other.
    database.Run(
        "INSERT INTO v1_assets (external_id, content_type, data, sync_id, discovered_at) VALUES ('new', '', x'', 's', "
        "'')");
    database.Run("UPDATE v1_grants SET entitlement_id = entitlement_id || 'x', expansion = NULL WHERE id % 3 = 0");
    database.Run("DELETE FROM v1_resources WHERE id % 2 = 0");
    EXPECT_EQ(database.Rows("PRAGMA integrity_check"), Table({{"'ok'"}}));
  }
}

TEST_F(V1Files, QueriesUseTheIndexes) {
  const auto writer = *V1Writer::Create(file_, {});
  ASSERT_TRUE(writer->Finish().ok());
  TestSqlite database(Extract(file_));
  const std::array<std::array<std::string, 2>, 4> queries = {{
      {"SELECT 1 FROM v1_grants WHERE external_id = 'e' AND sync_id = 's'", "idx_grants_external_sync_v1"},
      {"SELECT 1 FROM v1_grants WHERE principal_resource_type_id = 'u' AND principal_resource_id = 'p'",
       "idx_grants_principal_id_v1"},
      {"SELECT id FROM v1_grants WHERE entitlement_id = 'e' AND sync_id = 's' ORDER BY id",
       "idx_grants_entitlement_sync_grant_v1"},
      {"SELECT 1 FROM v1_grants WHERE sync_id = 's' AND needs_expansion = 1", "idx_grants_sync_needs_expansion_v1"},
  }};
  for (const auto& [query, index] : queries) {
    const Table plan = database.Rows("EXPLAIN QUERY PLAN " + query);
    ASSERT_FALSE(plan.empty());
    EXPECT_NE(plan[0][3].find(index), std::string::npos) << plan[0][3];
  }
}

TEST_F(V1Files, TakeTheirPlaceOfOrdinaryFilesAlone) {
  const std::string pipe = dir_.path() + "/pipe";
  ASSERT_EQ(::mkfifo(pipe.c_str(), 0600), 0);
  fs::create_symlink(pipe, dir_.path() + "/link");
  WriteOptions options;
  options.if_exists = WriteOptions::IfExists::kReplace;
  for (const std::string& path : {pipe, dir_.path() + "/link", dir_.path()}) {
    const auto writer = V1Writer::Create(path, options);
    EXPECT_EQ(writer.error().code(), Code::kFailedPrecondition) << path;
    EXPECT_EQ(writer.error().message(), path + " is no ordinary file: it cannot be replaced");
  }
  EXPECT_TRUE(fs::is_fifo(pipe));
  EXPECT_EQ(V1Writer::Create("", options).error().code(), Code::kInvalidArgument);
}

TEST_F(V1Files, TwoRowsOfOneIdAreNotPublished) {
  const auto writer = *V1Writer::Create(file_, {});
  sync::SyncRun run;
  for (const char* id : {"s", "t"}) {
    run.id = id;
    ASSERT_TRUE(writer->BeginSync(run).ok());
    RecordView record;
    record.id = "same";
    ASSERT_TRUE(writer->Put(record).ok());
    record.type = RecordType::kAsset;
    ASSERT_TRUE(writer->Put(record).ok());
    if (run.id == "t") {
      ASSERT_TRUE(writer->Put(record).ok());
    }
  }
  EXPECT_EQ(writer->Finish().code(), Code::kInvalidArgument);
  EXPECT_EQ(writer->shared_ids("s").records, 0u);
  EXPECT_EQ(writer->shared_ids("t").records, 2u);
  EXPECT_EQ(writer->shared_ids("t").named, std::vector<std::string>({"assets same (2 times)"}));
  EXPECT_FALSE(fs::exists(file_));
}

TEST_F(V1Files, NothingStaysOfWhatIsNotFinished) {
  const std::string text(5000, 'r');
  for (const bool give_up : {true, false}) {
    auto writer = *V1Writer::Create(file_, {});
    sync::SyncRun run;
    run.id = "s";
    ASSERT_TRUE(writer->BeginSync(run).ok());
    for (int i = 0; i < 2000; ++i) {
      const std::string id = text + std::to_string(i * 7919 % 2000);
      RecordView record;
      record.type = RecordType::kGrant;
      record.id = id;
      record.entitlement_id = id;
      ASSERT_TRUE(writer->Put(record).ok());
    }
    if (!give_up) {
      EXPECT_EQ(writer->Finish([] { return Cancelled("no"); }).code(), Code::kCancelled);
    }
    writer.reset();
    EXPECT_TRUE(fs::is_empty(dir_.path()));
  }
}

}  // namespace
}  // namespace vellum::c1z
