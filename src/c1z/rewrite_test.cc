#include "c1z/rewrite.h"

#include <fcntl.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <random>

#include "base/test_dir.h"
#include "base/test_random.h"
#include "c1z/test_sqlite.h"
#include "c1z/v1_insert.h"
#include "c1z/v1_writer.h"
#include "c1z/write_behind.h"

/// Rewriting a database against SQLite doing the same to it with statements.
namespace vellum::c1z {
namespace {

namespace fs = std::filesystem;
using sync::RecordType;

constexpr char kFrom[] = "3AKrFfy3kUrti6RckrYBwUorila";
constexpr char kTo[] = "3AQVUxyQSWbfjY1JwOB5NPX0OCN";

class Rewriting : public testing::Test {
 protected:
  /// A base that SQLite made, in an order and with gaps of its own.
  void MakeBase(std::uint32_t page_bytes, int grants, std::size_t message_bytes, const std::string& more = {}) {
    fs::remove(base_);
    TestSqlite database(base_);
    database.Run("PRAGMA page_size = " + std::to_string(page_bytes));
    database.Run(std::string(kV1Tables) + kV1Indexes);
    database.Run("PRAGMA user_version = 7; PRAGMA application_id = 8; BEGIN");
    database.Run(std::string("INSERT INTO v1_sync_runs (sync_id, started_at, ended_at, sync_token) VALUES ('") + kFrom +
                 "', '2026-03-01 08:00:00', '2026-03-01 09:00:00', 't')");
    database.Run(std::string("INSERT INTO v1_connector_sessions (sync_id, key, value) VALUES ('") + kFrom +
                 "', 'k', x'00')");
    const std::string sync = std::string(", '") + kFrom + "', '2026-03-01 08:00:0";
    for (int i = 0; i < grants; ++i) {
      const std::string group = "g" + std::to_string(i % 7);
      const std::string user = "u" + std::to_string(i);
      const std::string id = "group:" + group + ":member:user:" + user;
      const std::string expansion = i % 5 == 0 ? "x'0a0178', " + std::to_string(i % 10 == 0 ? 1 : 0) : "NULL, 0";
      // Their ids skip some, and a few are below 0.
      database.Run(
          "INSERT INTO v1_grants (id, resource_type_id, resource_id, entitlement_id, "
          "principal_resource_type_id, principal_resource_id, external_id, expansion, needs_expansion, data, "
          "sync_id, discovered_at) VALUES (" +
          std::to_string((i * 37) % 1009 + i / 1009 * 2000 - 20) + ", 'group', '" + group + "', 'group:" + group +
          ":member', 'user', '" + user + "', '" + id + "', " + expansion + ", " + Message(i, message_bytes) + sync +
          std::to_string(i % 10) + "')");
    }
    for (int i = 0; i < 40; ++i) {
      const std::string user = "u" + std::to_string(i);
      database.Run(
          "INSERT INTO v1_resources (resource_type_id, external_id, parent_resource_type_id, "
          "parent_resource_id, data, sync_id, discovered_at) VALUES ('user', 'user:" +
          user + "', " + (i % 2 == 0 ? "'org', 'o'" : "NULL, NULL") + ", x''" + sync + "5')");
    }
    database.Run("DELETE FROM v1_grants WHERE id % 11 = 0");  // leaves free pages and free space
    database.Run("COMMIT");
    if (!more.empty()) database.Run(more);
  }

  /// As SQL: some unknown field of about that many bytes.
  static std::string Message(int i, std::size_t bytes) {
    const std::size_t size = bytes + static_cast<std::size_t>(i % 100);
    char head[16];
    std::snprintf(head, sizeof head, "f201%02x%02x", static_cast<unsigned>((size & 127) | 128),
                  static_cast<unsigned>(size >> 7));
    return "CAST(x'" + std::string(head) + "' || '" + std::string(size, static_cast<char>('a' + i % 26)) + "' AS BLOB)";
  }

  /// Grants and resources that the base has, and others; newer and older ones.
  void MakePartial(int first, int last) {
    WriteOptions options;
    options.if_exists = WriteOptions::IfExists::kReplace;
    const auto writer = *V1Writer::Create(partial_, options);
    sync::SyncRun run;
    run.id = "partial";
    run.type = "partial";
    run.started_at = run.ended_at = 1;
    ASSERT_TRUE(writer->BeginSync(run).ok());
    for (int i = first; i < last; ++i) {
      sync::RecordView record;
      const std::string group = "g" + std::to_string(i % 7);
      const std::string user = "u" + std::to_string(i);
      const std::string entitlement = "group:" + group + ":member";
      const std::string id = entitlement + ":user:" + user + (i % 3 == 0 ? ":renamed" : "");
      record.type = RecordType::kGrant;
      record.discovered_at = i % 4 == 0 ? 1 : 1'900'000'000'000'000'000;
      record.type_id = "group";
      record.resource_id = group;
      record.entitlement_id = entitlement;
      record.principal_type_id = "user";
      record.principal_id = user;
      record.id = id;
      record.slim = true;
      record.expansion = i % 2 == 0 ? std::string_view("\x0A\x01y") : std::string_view();
      record.needs_expansion = i % 6 == 0;
      ASSERT_TRUE(writer->Put(record).ok());
      sync::RecordView resource;
      resource.type = RecordType::kResource;
      resource.discovered_at = 1'900'000'000'000'000'000;
      resource.type_id = "user";
      resource.id = user;
      if (i % 3 == 0) {
        resource.parent_type_id = "org";
        resource.parent_id = "p";
      }
      ASSERT_TRUE(writer->Put(resource).ok());
    }
    ASSERT_TRUE(writer->Finish().ok());
  }

  static sync::SyncRun Run() {
    sync::SyncRun run;
    run.id = kFrom;
    run.type = "full";
    run.started_at = 1;
    run.ended_at = 2;
    return run;
  }

  /// Rewrites base_ into out_; pages beyond `fail_at` bytes are not taken.
  Status Rewrite(std::size_t fail_at = SIZE_MAX) {
    Incoming incoming(sync::Ties::kFirst);
    MergeFilesOptions merging;
    merging.open.scratch_dir = directory_.path();
    VELLUM_TRY(incoming.Read({partial_, ""}, merging, {}));
    VELLUM_TRY(incoming.EndFiles());
    std::string rest;
    Rewriter::Options options;
    options.from = kFrom;
    options.to = kTo;
    options.beside = out_;
    const auto take = [&](std::string_view pages) -> Status {
      rest.append(pages);
      return rest.size() > fail_at ? ResourceExhausted("full", Reason::kNoSpace) : Status();
    };
    VELLUM_ASSIGN_OR_RETURN(const auto rewriter, Rewriter::Open(base_, &incoming, take, options));
    VELLUM_ASSIGN_OR_RETURN(const std::string first, rewriter->Run(Run()));
    std::ofstream(out_, std::ios::binary) << first << rest;
    return {};
  }

  /// The same by statements, in base_ itself.
  void EditBySqlite() {
    auto database = *Sqlite::OpenForEditing(base_);
    ASSERT_TRUE(database.Run("BEGIN").ok());
    for (const char* table : {"v1_resource_types", "v1_resources", "v1_entitlements", "v1_grants", "v1_assets"}) {
      ASSERT_TRUE(database.Run(std::string("UPDATE ") + table + " SET sync_id = '" + kTo + "'").ok());
    }
    Incoming incoming(sync::Ties::kFirst);
    MergeFilesOptions merging;
    merging.open.scratch_dir = directory_.path();
    ASSERT_TRUE(incoming.Read({partial_, ""}, merging, {}).ok());
    ASSERT_TRUE(incoming.EndFiles().ok());
    V1Stats stats;
    for (const Incoming::Record& each : incoming.records()) {
      const auto stored = *sync::StoredRecord::Parse(*each.key, *each.value);
      PutBySqlite(&database, stored.view());
    }
    for (const char* table : {"v1_resources", "v1_grants"}) CountBySqlite(&database, table, &stats);
    sync::SyncRun run = Run();
    run.id = kTo;
    ASSERT_TRUE(database.Run("DELETE FROM v1_sync_runs; DELETE FROM v1_connector_sessions").ok());
    ASSERT_TRUE(InsertV1Run(&database, run, {}, stats).ok());
    ASSERT_TRUE(database.Run("COMMIT").ok());
  }

  static void CountBySqlite(Sqlite* database, const std::string& table, V1Stats* stats) {
    Statement rows = *database->Prepare("SELECT resource_type_id FROM " + table);
    while (*rows.Step()) {
      sync::RecordView record;
      record.type = table == "v1_grants" ? RecordType::kGrant : RecordType::kResource;
      record.type_id = rows.Bytes(0);
      stats->Count(record);
    }
  }

  static void PutBySqlite(Sqlite* database, const sync::RecordView& record) {
    const bool grant = record.type == RecordType::kGrant;
    const std::string table = grant ? "v1_grants" : "v1_resources";
    const std::string external_id = V1ExternalId(record);
    Statement find =
        *database->Prepare("SELECT _rowid_, discovered_at FROM " + table + " WHERE " +
                           (grant ? "entitlement_id = ? AND principal_resource_id = ?" : "external_id = ?"));
    find.Bind(1, grant ? record.entitlement_id : std::string_view(external_id));
    if (grant) find.Bind(2, record.principal_id);
    const bool there = *find.Step();
    if (there && *Zone().ToStamp(find.Bytes(1)) >= record.discovered_at) return;
    if (there) {
      // In its place: what is not of the record stays.
      const std::int64_t row_id = find.Int(0);
      find.Reset();
      Statement change = *database->Prepare(
          "UPDATE " + table + " SET external_id = ?2, data = ?3, discovered_at = ?4, " +
          (grant ? "expansion = ?5, needs_expansion = ?6" : "parent_resource_type_id = ?5, parent_resource_id = ?6") +
          " WHERE _rowid_ = ?1");
      const std::string stamp = Zone().FromStamp(record.discovered_at);
      change.Bind(1, row_id);
      change.Bind(2, external_id);
      change.BindBlob(3, record.data);
      change.Bind(4, stamp);
      if (grant) {
        change.BindBlob(5, record.expansion);
        if (record.expansion.empty()) change.BindNull(5);
        change.Bind(6, std::int64_t{record.needs_expansion ? 1 : 0});
      } else if (record.parent_id.empty()) {
        change.BindNull(5);
        change.BindNull(6);
      } else {
        change.Bind(5, record.parent_type_id);
        change.Bind(6, record.parent_id);
      }
      ASSERT_TRUE(change.Finish().ok());
      return;
    }
    Statement insert = *PrepareV1Insert(database, record.type);
    ASSERT_TRUE(InsertV1Record(record, kTo, {}, &insert).ok());
  }

  static TestSqlite::Table Everything(const std::string& path) {
    TestSqlite database(path);
    TestSqlite::Table all = database.Rows("PRAGMA integrity_check");
    for (const char* query :
         {"PRAGMA user_version", "PRAGMA application_id", "PRAGMA page_size",
          "SELECT type, name, tbl_name, sql FROM sqlite_schema ORDER BY _rowid_",
          "SELECT _rowid_, * FROM v1_grants ORDER BY _rowid_", "SELECT _rowid_, * FROM v1_resources ORDER BY _rowid_",
          "SELECT _rowid_, * FROM v1_sync_runs", "SELECT * FROM v1_connector_sessions"}) {
      for (auto& row : database.Rows(query)) all.push_back(std::move(row));
    }
    return all;
  }

  TestDir directory_;
  const std::string base_ = directory_.path() + "/base.db";
  const std::string out_ = directory_.path() + "/out.db";
  const std::string partial_ = directory_.path() + "/partial.c1z";
};

constexpr char kMore[] =
    "ALTER TABLE v1_grants ADD COLUMN note text default 'noted'; ALTER TABLE v1_grants ADD COLUMN number default 300;"
    "UPDATE v1_grants SET note = note || id, number = number; CREATE INDEX more ON v1_grants (note, number, id);";

TEST_F(Rewriting, MakesWhatSqliteWouldMake) {
  MakePartial(150, 450);
  const struct {
    std::uint32_t page_bytes;
    int grants;
    std::size_t message_bytes;
    const char* more;
  } cases[] = {{4096, 300, 200, ""},    {512, 400, 60, ""},       {1024, 300, 9'000, ""}, {4096, 3'000, 1'000, ""},
               {4096, 300, 200, kMore}, {65536, 200, 300, kMore}, {4096, 0, 0, ""},       {32768, 1, 10, ""}};
  for (const auto& each : cases) {
    SCOPED_TRACE(std::to_string(each.page_bytes) + ", " + std::to_string(each.grants) + each.more);
    MakeBase(each.page_bytes, each.grants, each.message_bytes, each.more);
    const std::string before = TestSqlite::Read(base_);
    const Status written = Rewrite();
    ASSERT_TRUE(written.ok()) << written.ToString();
    EXPECT_EQ(TestSqlite::Read(base_), before) << "the base is only read";
    EditBySqlite();
    const auto made = Everything(out_);
    const auto expected = Everything(base_);
    ASSERT_EQ(made.front().front(), "'ok'");
    ASSERT_EQ(made.size(), expected.size());
    for (std::size_t i = 0; i < made.size(); ++i) ASSERT_EQ(made[i], expected[i]) << i;
    const std::string text = TestSqlite::Read(out_);
    EXPECT_EQ(text.find(kFrom), std::string::npos);
  }
}

TEST_F(Rewriting, WhatWouldNotFitGoesTheOtherWay) {
  MakePartial(0, 30);
  const std::pair<const char*, const char*> cases[] = {
      {"ALTER TABLE v1_grants ADD COLUMN extra default 1.5", "value of its own"},
      {"CREATE UNIQUE INDEX more ON v1_grants (discovered_at)", "one entry twice"},
      {"CREATE INDEX more ON v1_grants (needs_expansion, needs_expansion)", "a column twice"},
      {"CREATE INDEX more ON v1_grants (external_id) WHERE needs_expansion", "a condition of its own"},
      {"UPDATE v1_grants SET id = 9223372036854775807 WHERE id = 17", "last row id"},
      {"UPDATE v1_grants SET external_id = 'group:g0:member:user:u21:renamed' WHERE id = 821", "one entry twice"},
      {"UPDATE v1_grants SET principal_resource_id = 'u100', entitlement_id = 'group:g2:member', resource_id = 'g2' "
       "WHERE id = 821",
       "two grants are one"},
      // An id that is no UTF-8, a source that ends too early, an expansion that is garbage: no import takes them.
      {"UPDATE v1_grants SET data = x'1A02C328' WHERE id = 17", "not protobuf"},
      {"UPDATE v1_grants SET data = x'2A030A7F78' WHERE id = 17", "not protobuf"},
      {"UPDATE v1_grants SET expansion = x'0A7F' WHERE id = 17", "not protobuf"},
  };
  for (const auto& [change, why] : cases) {
    SCOPED_TRACE(change);
    MakeBase(4096, 120, 100);
    {
      TestSqlite database(base_);
      if (std::string(change).find("UNIQUE") != std::string::npos) {
        database.Run("UPDATE v1_grants SET discovered_at = '2026-03-02 08:00:00.' || (1000 + id)");
      }
      database.Run(change);
    }
    const Status written = Rewrite();
    EXPECT_EQ(written.code(), Code::kInvalidArgument) << written.ToString();
    EXPECT_NE(written.message().find(why), std::string::npos) << written.ToString();
  }
}

TEST_F(Rewriting, DamageIsFoundOrDoesNotMatterAndAlwaysInTheSameWords) {
  // Enough rows for the trees to be written by another thread.
  auto random = SeededRandom();
  MakePartial(100, 160);
  MakeBase(4096, 2'500, 700, "VACUUM");
  const std::string whole = TestSqlite::Read(base_);
  ASSERT_GT(whole.size(), 2u << 20);
  int refused = 0;
  for (int round = 0; round < 60; ++round) {
    SCOPED_TRACE(round);
    std::string bytes = whole;
    // Heads of pages, and anything.
    std::size_t at = random() % bytes.size();
    if (round % 2 == 0) at = at / 4096 * 4096 + random() % 16;
    bytes[at] = static_cast<char>(random());
    std::ofstream(base_, std::ios::binary).write(bytes.data(), static_cast<std::streamsize>(bytes.size()));
    const Status first = Rewrite();
    const std::string made = first.ok() ? TestSqlite::Read(out_) : std::string();
    const Status second = Rewrite();
    EXPECT_EQ(first.ToString(), second.ToString());
    if (!first.ok()) {
      ++refused;
      EXPECT_EQ(first.code(), Code::kInvalidArgument) << first.ToString();
      continue;
    }
    EXPECT_TRUE(made == TestSqlite::Read(out_));
    TestSqlite database(out_);
    EXPECT_EQ(database.Rows("PRAGMA integrity_check"), (TestSqlite::Table{{"'ok'"}}));
  }
  EXPECT_GT(refused, 10);
}

TEST_F(Rewriting, PagesThatAreNotTakenEndIt) {
  MakePartial(0, 10);
  MakeBase(4096, 2'500, 700);
  for (const std::size_t fail_at : {std::size_t{0}, std::size_t{1} << 20, std::size_t{2} << 20}) {
    EXPECT_EQ(Rewrite(fail_at).code(), Code::kResourceExhausted) << fail_at;
  }
}

TEST(WriteBehind, WritesAllInOrderAndTellsWhatFailed) {
  TestDir directory;
  for (const std::size_t size : {std::size_t{0}, std::size_t{1}, std::size_t{1} << 20, (std::size_t{5} << 20) + 77}) {
    const std::string path = directory.path() + "/written" + std::to_string(size);
    const auto file = File::Create(path, O_EXCL);
    ASSERT_TRUE(file.ok());
    WriteBehind writer(&*file);
    std::string expected;
    while (expected.size() < size) {
      const std::size_t n = std::min({size - expected.size(), writer.room_bytes(), std::size_t{300'000}});
      const std::string piece(n, static_cast<char>(expected.size() % 251));
      piece.copy(writer.room(), n);
      expected += piece;
      ASSERT_TRUE(writer.Commit(n).ok());
    }
    ASSERT_TRUE(writer.Finish().ok());
    EXPECT_TRUE(TestSqlite::Read(path) == expected);
  }
  if (!fs::exists("/dev/full")) return;
  const auto full = File::Create("/dev/full", 0);
  ASSERT_TRUE(full.ok());
  WriteBehind writer(&*full);
  Status failed;
  for (int i = 0; i < 3 && failed.ok(); ++i) {
    std::fill_n(writer.room(), writer.room_bytes(), 'x');
    failed = writer.Commit(writer.room_bytes());
  }
  if (failed.ok()) failed = writer.Finish();
  EXPECT_EQ(failed.code(), Code::kResourceExhausted) << failed.ToString();
}

}  // namespace
}  // namespace vellum::c1z
