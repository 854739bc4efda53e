#include "syncs/yardstick.h"

#include <array>
#include <vector>

#include "c1z/v1_writer.h"
#include "c1z/zone.h"

namespace vellum::bench {
namespace {

struct Finalizer {
  void operator()(sqlite3_stmt* statement) const { sqlite3_finalize(statement); }
};
using Prepared = std::unique_ptr<sqlite3_stmt, Finalizer>;

/// The tables that are united, with the columns that go along.
struct Table {
  const char* name;
  const char* columns;
};
constexpr std::array<Table, 4> kTables = {{
    {"v1_resource_types", "external_id, data, discovered_at"},
    {"v1_resources",
     "resource_type_id, external_id, parent_resource_type_id, parent_resource_id, data, discovered_at"},
    {"v1_entitlements", "resource_type_id, resource_id, external_id, data, discovered_at"},
    {"v1_grants",
     "resource_type_id, resource_id, entitlement_id, principal_resource_type_id, principal_resource_id, external_id, "
     "expansion, needs_expansion, data, discovered_at"},
}};

constexpr std::array<const char*, 4> kInserts = {
    "INSERT INTO v1_resource_types (external_id, data, sync_id, discovered_at) VALUES (?1, ?2, ?3, ?4)",
    "INSERT INTO v1_resources (external_id, data, sync_id, discovered_at, resource_type_id) VALUES (?1, ?2, ?3, ?4, ?5)",
    "INSERT INTO v1_entitlements (external_id, data, sync_id, discovered_at, resource_type_id, resource_id) "
    "VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
    "INSERT INTO v1_grants (external_id, data, sync_id, discovered_at, resource_type_id, resource_id, entitlement_id, "
    "principal_resource_type_id, principal_resource_id) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)",
};

void Text(sqlite3_stmt* statement, int column, std::string_view text) {
  sqlite3_bind_text(statement, column, text.data(), static_cast<int>(text.size()), SQLITE_STATIC);
}

}  // namespace

Status Yardstick::Check(int code) const {
  if (code == SQLITE_OK || code == SQLITE_DONE || code == SQLITE_ROW) return {};
  return Internal(std::string("sqlite: ") + sqlite3_errmsg(db_.get()));
}

Result<Yardstick> Yardstick::Open(const std::string& path) {
  Yardstick opened;
  sqlite3* raw = nullptr;
  const int code = sqlite3_open_v2(path.c_str(), &raw, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE, nullptr);
  opened.db_.reset(raw);
  VELLUM_TRY(opened.Check(code));
  VELLUM_TRY(opened.Run("PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL;"));
  return opened;
}

Result<Yardstick> Yardstick::Create(const std::string& path, Indexes indexes) {
  VELLUM_ASSIGN_OR_RETURN(Yardstick made, Open(path));
  VELLUM_TRY(made.Run(c1z::kV1Tables));
  if (indexes == Indexes::kLive) VELLUM_TRY(made.MakeIndexes());
  return made;
}

Status Yardstick::MakeIndexes() { return Run(c1z::kV1Indexes); }

Status Yardstick::Run(const std::string& sql) { return Check(sqlite3_exec(db_.get(), sql.c_str(), nullptr, nullptr, nullptr)); }

Result<std::int64_t> Yardstick::Number(const std::string& sql) {
  sqlite3_stmt* raw = nullptr;
  VELLUM_TRY(Check(sqlite3_prepare_v2(db_.get(), sql.c_str(), -1, &raw, nullptr)));
  const Prepared statement(raw);
  VELLUM_TRY(Check(sqlite3_step(raw)));
  return sqlite3_column_int64(raw, 0);
}

Result<std::uint64_t> Yardstick::Walk(const std::string& sql) {
  sqlite3_stmt* raw = nullptr;
  VELLUM_TRY(Check(sqlite3_prepare_v2(db_.get(), sql.c_str(), -1, &raw, nullptr)));
  const Prepared statement(raw);
  std::uint64_t bytes = 0;
  int code = sqlite3_step(raw);
  for (; code == SQLITE_ROW; code = sqlite3_step(raw)) {
    for (int i = 0; i < sqlite3_column_count(raw); ++i) {
      static_cast<void>(sqlite3_column_blob(raw, i));
      bytes += static_cast<std::uint64_t>(sqlite3_column_bytes(raw, i));
    }
  }
  VELLUM_TRY(Check(code));
  return bytes;
}

Status Yardstick::Write(const std::string& sync_id, const Shape& shape) {
  std::vector<Prepared> inserts;
  for (const char* sql : kInserts) {
    sqlite3_stmt* raw = nullptr;
    VELLUM_TRY(Check(sqlite3_prepare_v2(db_.get(), sql, -1, &raw, nullptr)));
    inserts.emplace_back(raw);
  }
  const c1z::Zone utc;
  VELLUM_TRY(Run("INSERT INTO v1_sync_runs (sync_id, started_at, sync_token, grants_backfilled) VALUES ('" + sync_id + "', '" +
                 utc.FromStamp(shape.discovered_at) + "', '', 1)"));
  Stamp last = 0;
  std::string stamp;
  std::uint64_t rows = 0;
  VELLUM_TRY(Run("BEGIN"));
  VELLUM_TRY(ForEachRecord(shape, [&](const RecordView& record) -> Status {
    sqlite3_stmt* const insert = inserts[static_cast<std::size_t>(record.type)].get();
    const std::string id = c1z::V1ExternalId(record);
    if (record.discovered_at != last) stamp = utc.FromStamp(last = record.discovered_at);
    Text(insert, 1, id);
    sqlite3_bind_blob(insert, 2, record.data.data(), static_cast<int>(record.data.size()), SQLITE_STATIC);
    Text(insert, 3, sync_id);
    Text(insert, 4, stamp);
    if (record.type != RecordType::kResourceType) Text(insert, 5, record.type_id);
    if (record.type == RecordType::kEntitlement || record.type == RecordType::kGrant) Text(insert, 6, record.resource_id);
    if (record.type == RecordType::kGrant) {
      Text(insert, 7, record.entitlement_id);
      Text(insert, 8, record.principal_type_id);
      Text(insert, 9, record.principal_id);
    }
    VELLUM_TRY(Check(sqlite3_step(insert)));
    sqlite3_reset(insert);
    return ++rows % 10'000 == 0 ? Run("COMMIT; BEGIN") : Status();
  }));
  VELLUM_TRY(Run("COMMIT"));
  return Run("UPDATE v1_sync_runs SET ended_at = '" + stamp + "' WHERE sync_id = '" + sync_id + "'");
}

Status Yardstick::Replace(const std::string& other_path, const std::string& sync_id) {
  VELLUM_TRY(Run("ATTACH '" + other_path + "' AS other"));
  const std::string where = " WHERE sync_id = '" + sync_id + "'";
  VELLUM_TRY(Run("BEGIN"));
  VELLUM_TRY(Run("DELETE FROM main.v1_sync_runs" + where));
  VELLUM_TRY(Run("INSERT INTO main.v1_sync_runs (sync_id, started_at, ended_at, sync_token, sync_type, grants_backfilled) "
                 "SELECT sync_id, started_at, ended_at, sync_token, sync_type, grants_backfilled FROM other.v1_sync_runs" +
                 where));
  for (const Table& table : kTables) {
    const std::string name = table.name;
    const std::string columns = std::string("sync_id, ") + table.columns;
    VELLUM_TRY(Run("DELETE FROM main." + name + where));
    VELLUM_TRY(Run("INSERT INTO main." + name + " (" + columns + ") SELECT " + columns + " FROM other." + name + where));
  }
  VELLUM_TRY(Run("COMMIT"));
  return Run("DETACH other");
}

Status Yardstick::Unite(const std::string& other_path, const std::string& from_sync, const std::string& into_sync) {
  VELLUM_TRY(Run("ATTACH '" + other_path + "' AS other"));
  for (const Table& table : kTables) {
    const std::string name = table.name;
    VELLUM_TRY(Run("INSERT OR REPLACE INTO main." + name + " (sync_id, " + table.columns + ") SELECT '" + into_sync + "', " +
                   table.columns + " FROM other." + name + " AS o WHERE o.sync_id = '" + from_sync +
                   "' AND NOT EXISTS (SELECT 1 FROM main." + name + " AS m WHERE m.external_id = o.external_id AND m.sync_id = '" +
                   into_sync + "' AND m.discovered_at >= o.discovered_at)"));
  }
  return Run("DETACH other");
}

Status Yardstick::CopyInto(const std::string& other_path) {
  VELLUM_TRY(Run("ATTACH '" + other_path + "' AS other"));
  VELLUM_TRY(Run("BEGIN"));
  VELLUM_TRY(Run("INSERT INTO other.v1_sync_runs (sync_id, started_at, ended_at, sync_token, sync_type, grants_backfilled) "
                 "SELECT sync_id, started_at, ended_at, sync_token, sync_type, grants_backfilled FROM main.v1_sync_runs"));
  for (const Table& table : kTables) {
    const std::string columns = std::string("sync_id, ") + table.columns;
    VELLUM_TRY(Run(std::string("INSERT INTO other.") + table.name + " (" + columns + ") SELECT " + columns + " FROM main." +
                   table.name));
  }
  VELLUM_TRY(Run("COMMIT"));
  return Run("DETACH other");
}

Status Yardstick::Close() {
  VELLUM_TRY(Run("PRAGMA wal_checkpoint(TRUNCATE)"));
  sqlite3* const raw = db_.release();
  return sqlite3_close(raw) == SQLITE_OK ? Status() : Internal("sqlite: the database is still in use");
}

}  // namespace vellum::bench
