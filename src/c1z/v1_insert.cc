#include "c1z/v1_insert.h"

#include <array>

#include "c1z/v1_writer.h"

namespace vellum::c1z {
namespace {

using sync::RecordType;
using sync::RecordView;

constexpr std::array<const char*, sync::kRecordTypes> kInserts = {
    "INSERT INTO v1_resource_types (external_id, data, sync_id, discovered_at) VALUES (?1, ?2, ?3, ?4)",
    "INSERT INTO v1_resources (external_id, data, sync_id, discovered_at, resource_type_id, parent_resource_type_id, "
    "parent_resource_id) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
    "INSERT INTO v1_entitlements (external_id, data, sync_id, discovered_at, resource_type_id, resource_id) "
    "VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
    "INSERT INTO v1_grants (external_id, data, sync_id, discovered_at, resource_type_id, resource_id, entitlement_id, "
    "principal_resource_type_id, principal_resource_id, expansion, needs_expansion) "
    "VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11)",
    "INSERT INTO v1_assets (external_id, data, sync_id, discovered_at, content_type) VALUES (?1, ?2, ?3, ?4, ?5)",
};

}  // namespace

Result<Statement> PrepareV1Insert(Sqlite* database, RecordType type) {
  return database->Prepare(kInserts[static_cast<std::size_t>(type)]);
}

Status InsertV1Record(const RecordView& record, const std::string& sync_id, const Zone& zone, Statement* statement) {
  Statement& insert = *statement;
  const std::string external_id = V1ExternalId(record);
  const std::string stamp = zone.FromStamp(record.discovered_at);
  insert.Bind(1, external_id);
  insert.BindBlob(2, record.data);
  insert.Bind(3, sync_id);
  insert.Bind(4, stamp);
  switch (record.type) {
    case RecordType::kResourceType: break;
    case RecordType::kResource:
      insert.Bind(5, record.type_id);
      if (record.parent_id.empty()) {
        insert.BindNull(6);
        insert.BindNull(7);
      } else {
        insert.Bind(6, record.parent_type_id);
        insert.Bind(7, record.parent_id);
      }
      break;
    case RecordType::kEntitlement:
      insert.Bind(5, record.type_id);
      insert.Bind(6, record.resource_id);
      break;
    case RecordType::kGrant:
      insert.Bind(5, record.type_id);
      insert.Bind(6, record.resource_id);
      insert.Bind(7, record.entitlement_id);
      insert.Bind(8, record.principal_type_id);
      insert.Bind(9, record.principal_id);
      if (record.expansion.empty()) {
        insert.BindNull(10);
      } else {
        insert.BindBlob(10, record.expansion);
      }
      insert.Bind(11, std::int64_t{record.needs_expansion ? 1 : 0});
      break;
    case RecordType::kAsset: insert.Bind(5, record.content_type); break;
  }
  return insert.Finish();
}

Status InsertV1Run(Sqlite* database, const sync::SyncRun& run, const Zone& zone, const V1Stats& stats) {
  VELLUM_ASSIGN_OR_RETURN(
      Statement insert,
      database->Prepare("INSERT INTO v1_sync_runs (sync_id, started_at, ended_at, sync_token, sync_type, "
                        "parent_sync_id, linked_sync_id, supports_diff, grants_backfilled, stats) "
                        "VALUES (?, ?, ?, ?, ?, ?, ?, ?, 1, ?)"));
  const std::string started = zone.FromStamp(run.started_at);
  const std::string ended = zone.FromStamp(run.ended_at);
  const std::string counted = stats.ToJson();
  insert.Bind(1, run.id);
  insert.Bind(2, started);
  if (run.ended_at == 0) {
    insert.BindNull(3);
  } else {
    insert.Bind(3, ended);
  }
  insert.Bind(4, run.token);
  insert.Bind(5, run.type);
  insert.Bind(6, run.parent_id);
  insert.Bind(7, run.linked_id);
  insert.Bind(8, std::int64_t{run.supports_diff ? 1 : 0});
  if (run.ended_at == 0) {
    insert.BindNull(9);
  } else {
    insert.Bind(9, counted);
  }
  return insert.Finish();
}

}  // namespace vellum::c1z
