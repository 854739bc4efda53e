#include <gtest/gtest.h>
#include <sqlite3.h>
#include <zstd.h>

#include <filesystem>
#include <fstream>
#include <sstream>

#include "base/test_dir.h"
#include "base/test_random.h"
#include "c1z/transfer.h"
#include "sync/codec.h"
#include "sync/memory_catalog.h"

/// v1 files that nobody's tool writes: each is a clear error or a correct reading, never a silently empty store.
namespace vellum::c1z {
namespace {

namespace fs = std::filesystem;
using sync::RecordType;

constexpr std::string_view kMagic("C1ZF\0", 5);

std::string ReadAll(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  std::ostringstream bytes;
  bytes << file.rdbuf();
  return bytes.str();
}

void WriteAll(const std::string& path, std::string_view bytes) {
  std::ofstream(path, std::ios::binary).write(bytes.data(), static_cast<std::streamsize>(bytes.size()));
}

std::string Frame(std::string_view bytes) {
  std::string frame(ZSTD_compressBound(bytes.size()), '\0');
  frame.resize(ZSTD_compress(frame.data(), frame.size(), bytes.data(), bytes.size(), 1));
  return frame;
}

constexpr const char* kRun =
    "INSERT INTO v1_sync_runs (sync_id, started_at, ended_at, sync_token) "
    "VALUES ('s', '2026-03-01 08:00:00', '2026-03-01 09:00:00', '');";
constexpr const char* kGrantColumns =
    "INSERT INTO v1_grants (resource_type_id, resource_id, entitlement_id, principal_resource_type_id, "
    "principal_resource_id, external_id, data, sync_id, discovered_at) ";
constexpr const char* kTwoGrants =
    "VALUES ('group', 'g', 'group:g:m', 'user', 'u1', 'a', x'1A0161', 's', '2026-03-01 08:00:00'), "
    "('group', 'g', 'group:g:m', 'user', 'u2', 'b', x'1A0162', 's', '2026-03-01 08:00:00');";

class Hostile : public testing::Test {
 protected:
  Hostile() {
    sync::StoreOptions options;
    options.data_dir = directory_.path() + "/data";
    fs::create_directories(options.data_dir);
    store_ = *sync::Store::Open(options, &catalog_);
  }

  static void Run(sqlite3* database, const std::string& sql) {
    char* error = nullptr;
    EXPECT_EQ(sqlite3_exec(database, sql.c_str(), nullptr, nullptr, &error), SQLITE_OK) << sql << ": " << error;
    sqlite3_free(error);
  }

  /// The bytes of a database with v1's tables, one run named s, and what `sql` does.
  std::string Database(const std::string& sql, const std::string& encoding = "UTF-8") {
    const std::string path = directory_.path() + "/made.db";
    fs::remove(path);
    sqlite3* database = nullptr;
    EXPECT_EQ(sqlite3_open(path.c_str(), &database), SQLITE_OK);
    Run(database, "PRAGMA page_size = 512; PRAGMA encoding = '" + encoding + "';" + kV1Tables + kRun + sql);
    sqlite3_close(database);
    return ReadAll(path);
  }
  std::string File(std::string_view payload) {
    const std::string path = directory_.path() + "/made.c1z";
    WriteAll(path, std::string(kMagic) + std::string(payload));
    return path;
  }
  std::string FileOf(const std::string& sql) { return File(Frame(Database(sql))); }

  Result<std::vector<ImportedSync>> Import(const std::string& file, bool skip_invalid = false) {
    ImportOptions options;
    options.open.scratch_dir = directory_.path();
    options.replace = true;
    options.skip_invalid = skip_invalid;
    return ImportFile(store_.get(), file, options, {});
  }

  void ExpectRefused(const std::string& file, const std::string& why, Code code = Code::kInvalidArgument) {
    const auto imported = Import(file);
    ASSERT_FALSE(imported.ok());
    EXPECT_EQ(imported.error().code(), code) << imported.error().message();
    EXPECT_NE(imported.error().message().find(why), std::string::npos) << imported.error().message();
    EXPECT_NE(imported.error().message().find(file), std::string::npos) << imported.error().message();
    ExpectNothingLeft();
  }
  void ExpectGrants(const std::string& file, std::uint64_t grants) {
    const auto imported = Import(file);
    ASSERT_TRUE(imported.ok()) << imported.error().ToString();
    EXPECT_EQ((*store_->OpenSync("s"))->info().records(RecordType::kGrant), grants);
  }
  /// Besides the store and the file there is nothing: scratch goes with its reader.
  void ExpectNothingLeft() {
    for (const auto& entry : fs::directory_iterator(directory_.path())) {
      EXPECT_FALSE(entry.path().filename().string().starts_with("vellum-c1z-")) << entry.path();
    }
  }

  TestDir directory_;
  sync::MemoryCatalog catalog_;
  std::unique_ptr<sync::Store> store_;
};

TEST_F(Hostile, TextInAnotherEncoding) {
  for (const char* encoding : {"UTF-16le", "UTF-16be"}) {
    ExpectRefused(File(Frame(Database("", encoding))), "the database keeps text in another encoding than UTF-8");
  }
}

TEST_F(Hostile, ThingsUnderKnownNamesThatAreNoOrdinaryTables) {
  ExpectRefused(FileOf("DROP TABLE v1_grants; CREATE VIEW v1_grants AS SELECT * FROM v1_assets;"),
                "is not a table but a view");
  ExpectRefused(FileOf("DROP TABLE v1_sync_runs; CREATE VIEW v1_sync_runs AS SELECT * FROM v1_assets;"),
                "is not a table but a view");
  ExpectRefused(FileOf("DROP TABLE v1_grants; CREATE VIRTUAL TABLE v1_grants USING fts5(data);"), "is a virtual table");
  ExpectRefused(FileOf("DROP TABLE v1_grants;"), "lacks the table v1_grants");
  ExpectRefused(FileOf("DROP TABLE v1_sync_runs;"), "without the table v1_sync_runs");
  ExpectRefused(FileOf("ALTER TABLE v1_assets RENAME COLUMN content_type TO kind;"), "lacks the column content_type");
  ExpectRefused(FileOf("DROP TABLE v1_assets; CREATE TABLE v1_assets (id integer primary key, external_id text, "
                       "content_type text, data blob, sync_id text, discovered_at text) WITHOUT ROWID;"),
                "without row ids");
  ExpectRefused(FileOf("DROP TABLE v1_assets; CREATE TABLE v1_assets (id integer primary key, external_id text, "
                       "content_type text, data blob AS (zeroblob(8)), sync_id text, discovered_at text);"),
                "computes the column data");
  ExpectRefused(FileOf("ALTER TABLE v1_grants ADD COLUMN _rowid_ integer;"), "_rowid_");
}

TEST_F(Hostile, TriggersAndForeignObjectsAreNotRun) {
  ExpectGrants(FileOf(std::string(kGrantColumns) + kTwoGrants +
                      "CREATE TRIGGER t AFTER INSERT ON v1_grants BEGIN DELETE FROM v1_grants; END;"
                      "CREATE VIEW v1_other AS SELECT load_extension('x'); CREATE TABLE v1_more (a);"),
               2);
}

TEST_F(Hostile, AnIndexThatLeavesRowsOutHidesNothing) {
  ExpectGrants(FileOf(std::string(kGrantColumns) + kTwoGrants +
                      "CREATE INDEX liar ON v1_grants (sync_id) WHERE external_id = 'nobody';"
                      "PRAGMA writable_schema = ON;"
                      "UPDATE sqlite_schema SET sql = 'CREATE INDEX liar ON v1_grants (sync_id)' WHERE name = 'liar';"),
               2);
}

TEST_F(Hostile, SyncIdsAreBytes) {
  // Stored as a blob, and beside one that differs in case alone under a collation that does not tell.
  ExpectGrants(FileOf(std::string(kGrantColumns) + kTwoGrants + "UPDATE v1_grants SET sync_id = x'73';"), 2);
  ExpectGrants(
      FileOf("DROP TABLE v1_grants; CREATE TABLE v1_grants (resource_type_id, resource_id, entitlement_id, "
             "principal_resource_type_id, principal_resource_id, external_id, data, sync_id collate nocase, "
             "discovered_at); INSERT INTO v1_sync_runs (sync_id, started_at, sync_token) VALUES "
             "('S', '2026-03-01 08:00:00', '');" +
             std::string(kGrantColumns) + kTwoGrants + "UPDATE v1_grants SET sync_id = 'S' WHERE external_id = 'b';"),
      1);
}

TEST_F(Hostile, RowsOfNoSyncAreCounted) {
  const std::string orphans =
      std::string(kGrantColumns) + kTwoGrants + "UPDATE v1_grants SET sync_id = 'other' WHERE external_id = 'b';";
  EXPECT_EQ(Import(FileOf(orphans))->back().orphans, 1u);
  EXPECT_EQ(Import(FileOf(orphans + "INSERT INTO v1_sync_runs (sync_id, started_at, sync_token) VALUES "
                                    "('t', '2026-03-01 08:00:00', '');"))
                ->back()
                .orphans,
            1u);
  ExpectRefused(FileOf(orphans + "DELETE FROM v1_sync_runs;"), "holds no sync, only 2 rows that belong to none");
}

TEST_F(Hostile, WrongColumnTypes) {
  const std::string loose =
      "DROP TABLE v1_grants; CREATE TABLE v1_grants (resource_type_id, resource_id, entitlement_id, "
      "principal_resource_type_id, principal_resource_id, external_id, data, sync_id, discovered_at);" +
      std::string(kGrantColumns) + kTwoGrants;
  ExpectRefused(FileOf(loose + "UPDATE v1_grants SET data = NULL WHERE external_id = 'b';"), "no message");
  ExpectRefused(FileOf(loose + "UPDATE v1_grants SET data = 5;"), "no message");
  ExpectRefused(FileOf(loose + "UPDATE v1_grants SET data = x'0A7F';"), "the message is not protobuf");
  // An id that is no UTF-8, an annotation that ends too early, an expansion that is garbage.
  ExpectRefused(FileOf(loose + "UPDATE v1_grants SET data = x'1A02C328';"), "the message is not protobuf");
  ExpectRefused(FileOf(loose + "UPDATE v1_grants SET data = x'1A016122020A7F';"), "the message is not protobuf");
  ExpectRefused(FileOf(loose + "ALTER TABLE v1_grants ADD COLUMN expansion; UPDATE v1_grants SET expansion = x'0A7F';"),
                "the message is not protobuf");
  ExpectRefused(FileOf(loose + "UPDATE v1_grants SET principal_resource_id = 5;"), "a number where text belongs");
  ExpectRefused(FileOf(loose + "UPDATE v1_grants SET principal_resource_id = NULL;"), "v1_grants");
  const auto skipped =
      Import(FileOf(loose + "UPDATE v1_grants SET data = 5 WHERE external_id = 'b';"), /*skip_invalid=*/true);
  ASSERT_TRUE(skipped.ok());
  EXPECT_EQ(skipped->front().records, 1u);
  EXPECT_EQ(skipped->front().report.invalid.size(), 1u);
}

TEST_F(Hostile, TimesThatDoNotFit) {
  const std::string grants = std::string(kGrantColumns) + kTwoGrants;
  for (const char* stamp :
       {"'9999-12-31 23:59:59'", "1772352000", "'yesterday'", "x'00'", "''", "'2026-03-01 08:00:00.1234567890'"}) {
    SCOPED_TRACE(stamp);
    const auto imported =
        Import(FileOf(grants + "UPDATE v1_grants SET discovered_at = " + stamp + " WHERE external_id = 'b';"));
    ASSERT_TRUE(imported.ok()) << imported.error().ToString();
    EXPECT_EQ(imported->front().report.unstamped, 1u);
  }
  ExpectRefused(FileOf("UPDATE v1_sync_runs SET ended_at = '9999-01-01 00:00:00';"), "which is not a time");
  ExpectRefused(FileOf("UPDATE v1_sync_runs SET started_at = 'soon';"), "which is not a time");
  ASSERT_TRUE(Import(FileOf("UPDATE v1_sync_runs SET ended_at = '1969-01-01 00:00:00';")).ok());
  EXPECT_NE(store_->Get("s")->run.ended_at, 0u);  // it ended, if long ago
}

TEST_F(Hostile, OddTextIsKept) {
  const std::string grants = std::string(kGrantColumns) + kTwoGrants;
  ASSERT_TRUE(Import(FileOf(grants + "UPDATE v1_grants SET principal_resource_id = CAST(x'610062FF01' AS TEXT) "
                                     "WHERE external_id = 'b';"))
                  .ok());
  const std::string digest = (*store_->OpenSync("s"))->info().Digest().ToHex();
  const std::string out = directory_.path() + "/out.c1z";
  ASSERT_TRUE(ExportFile(*store_, {"s"}, out, {}, {}).ok());
  EXPECT_TRUE(Import(out)->front().unchanged);
  bool found = false;
  const auto generation = *store_->OpenSync("s");
  for (const auto cursor = generation->Scan(sync::Bucket::kGrant); cursor->valid(); cursor->Next()) {
    found |= sync::StoredRecord::Parse(cursor->key(), cursor->value())->view().principal_id ==
             std::string_view("a\0b\xFF\x01", 5);
  }
  EXPECT_TRUE(found);
}

TEST_F(Hostile, SessionsAndRunsThatRepeat) {
  ExpectRefused(
      FileOf("INSERT INTO v1_connector_sessions (sync_id, key, value) VALUES ('s', 'k', 'a'), ('s', 'k', 'b');"),
      "two values for the key k");
  ExpectRefused(FileOf(kRun), "two runs of sync s");
  ExpectRefused(FileOf("UPDATE v1_sync_runs SET sync_id = '';"), "empty id");
  ExpectRefused(FileOf("UPDATE v1_sync_runs SET sync_id = hex(zeroblob(600));"), "sync id");
}

TEST_F(Hostile, HeadersThatSayWal) {
  std::string database = Database(std::string(kGrantColumns) + kTwoGrants);
  database[18] = database[19] = 2;
  ExpectGrants(File(Frame(database)), 2);
}

TEST_F(Hostile, ATreeThatLeadsInCirclesEndsAtOnce) {
  // Enough rows for inner pages; then every child of the root is the first one, so that each row comes many times.
  std::string database = Database(std::string(kGrantColumns) +
                                  "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 400) "
                                  "SELECT 'group', 'g', 'group:g:m', 'user', 'u' || i, 'id' || i, x'1A0161', 's', "
                                  "'2026-03-01 08:00:00' FROM n;");
  sqlite3* opened = nullptr;
  ASSERT_EQ(sqlite3_open((directory_.path() + "/made.db").c_str(), &opened), SQLITE_OK);
  sqlite3_stmt* statement = nullptr;
  ASSERT_EQ(sqlite3_prepare_v2(opened, "SELECT rootpage FROM sqlite_schema WHERE name = 'v1_grants'", -1, &statement,
                               nullptr),
            SQLITE_OK);
  ASSERT_EQ(sqlite3_step(statement), SQLITE_ROW);
  const auto root = (static_cast<std::size_t>(sqlite3_column_int(statement, 0)) - 1) * 512;
  sqlite3_finalize(statement);
  sqlite3_close(opened);
  const auto be16 = [&](std::size_t at) {
    return static_cast<std::size_t>(static_cast<unsigned char>(database[at]) << 8 |
                                    static_cast<unsigned char>(database[at + 1]));
  };
  ASSERT_EQ(database[root], 5);  // an inner page of a table
  const std::size_t cells = be16(root + 3);
  ASSERT_GT(cells, 2u);
  const std::string child = database.substr(root + be16(root + 12), 4);
  for (std::size_t cell = 0; cell < cells; ++cell) database.replace(root + be16(root + 12 + 2 * cell), 4, child);
  database.replace(root + 8, 4, child);
  ExpectRefused(File(Frame(database)), "is damaged");
}

TEST_F(Hostile, FramesOfAllKinds) {
  const std::string database = Database(std::string(kGrantColumns) + kTwoGrants);
  const std::string_view bytes = database;
  const std::string skippable("\x50\x2A\x4D\x18\x03\x00\x00\x00xyz", 11);
  ExpectGrants(File(Frame(bytes.substr(0, 700)) + Frame(bytes.substr(700))), 2);
  ExpectGrants(File(skippable + Frame(bytes) + skippable + Frame("")), 2);
  ExpectRefused(File(Frame(bytes) + "garbage"), "is damaged");
  ExpectRefused(File(Frame(bytes) + std::string(64, '\0')), "is damaged");
  ExpectRefused(File(skippable), "holds no database");
  ExpectRefused(File(""), "holds no database");
  ExpectRefused(File(bytes), "is damaged");
  ExpectRefused(File(Frame("SQLite format 3")), "does not hold a SQLite database");
  ExpectRefused(File(Frame(bytes) + Frame(std::string(80u << 20, '\0'))), "the limit", Code::kResourceExhausted);
}

TEST_F(Hostile, CutAnywhereItIsAnError) {
  const std::string file = File(Frame(Database(std::string(kGrantColumns) + kTwoGrants)));
  const std::string whole = ReadAll(file);
  for (std::size_t size = 0; size < whole.size(); size += size < 40 || size + 40 > whole.size() ? 1 : 17) {
    SCOPED_TRACE(size);
    WriteAll(file, std::string_view(whole).substr(0, size));
    const auto imported = Import(file);
    ASSERT_FALSE(imported.ok());
    ASSERT_EQ(imported.error().code(), Code::kInvalidArgument) << imported.error().ToString();
  }
}

TEST_F(Hostile, DamagedDatabasesAreErrorsOrReadAsSqliteReadsThem) {
  const std::string whole = Database(std::string(kGrantColumns) + kTwoGrants + kV1Indexes);
  auto random = SeededRandom();
  int refused = 0;
  for (int round = 0; round < 300; ++round) {
    std::string database = whole;
    for (int i = 0; i < 1 + round % 8; ++i)
      database[16 + random() % (database.size() - 16)] = static_cast<char>(random());
    const auto imported = Import(File(Frame(database)), /*skip_invalid=*/true);
    if (imported.ok()) continue;
    ++refused;
    ASSERT_NE(imported.error().code(), Code::kInternal) << imported.error().ToString();
  }
  EXPECT_GT(refused, 0);
  ExpectNothingLeft();
}

TEST_F(Hostile, TheLastRowOfAnIdentityWinsInWhateverPartItIs) {
  // Few rows with ids all over 64 bits: enough distance to be read in parts.
  auto random = SeededRandom();
  std::map<std::int64_t, std::string> rows;
  std::map<std::string, std::int64_t> winners;
  std::string sql = "BEGIN;";
  for (int i = 0; i < 300; ++i) {
    const auto row_id = static_cast<std::int64_t>(random());
    const std::string principal = "u" + std::to_string(random() % 40);
    if (!rows.emplace(row_id, principal).second) continue;
    sql +=
        "INSERT INTO v1_grants (id, resource_type_id, resource_id, entitlement_id, principal_resource_type_id, "
        "principal_resource_id, external_id, data, sync_id, discovered_at) VALUES (" +
        std::to_string(row_id) + ", 'group', 'g', 'group:g:m', 'user', '" + principal + "', 'grant " +
        std::to_string(row_id) + "', x'', 's', '2026-03-01 08:00:00');";
  }
  for (const auto& [row_id, principal] : rows) winners[principal] = row_id;
  const auto imported = Import(FileOf(sql + "COMMIT;"));
  ASSERT_TRUE(imported.ok()) << imported.error().ToString();
  EXPECT_EQ(imported->front().report.rows, rows.size());
  EXPECT_EQ(imported->front().joined[static_cast<std::size_t>(RecordType::kGrant)], rows.size() - winners.size());
  const auto generation = *store_->OpenSync("s");
  std::size_t seen = 0;
  for (const auto cursor = generation->Scan(sync::Bucket::kGrant); cursor->valid(); cursor->Next(), ++seen) {
    const auto stored = sync::StoredRecord::Parse(cursor->key(), cursor->value());
    EXPECT_EQ(stored->view().id, "grant " + std::to_string(winners[std::string(stored->view().principal_id)]));
  }
  EXPECT_EQ(seen, winners.size());
}

TEST_F(Hostile, DisagreementsAreCounted) {
  // Messages that name another entitlement, another principal, another id.
  const std::string grants = std::string(kGrantColumns) +
                             "VALUES ('group', 'g', 'group:g:m', 'user', 'u1', 'a', x'0A0312016D1A0161', 's', ''), "
                             "('group', 'g', 'group:g:m', 'user', 'u2', 'b', x'12060A0412026E6F1A0162', 's', ''), "
                             "('group', 'g', 'group:g:m', 'user', 'u3', 'c', x'1A0178', 's', ''), "
                             "('group', 'g', 'group:g:m', 'user', 'u4', 'd', x'1A0164', 's', '');";
  const auto imported = Import(FileOf(grants));
  ASSERT_TRUE(imported.ok()) << imported.error().ToString();
  const std::map<std::string, std::uint64_t> expected = {
      {"v1_grants: entitlement", 1}, {"v1_grants: id", 1}, {"v1_grants: principal", 1}};
  EXPECT_EQ(imported->front().report.disagreeing, expected);
  EXPECT_EQ(imported->front().records, 4u);
}

}  // namespace
}  // namespace vellum::c1z
