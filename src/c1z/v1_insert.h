#pragma once

#include <string>

#include "c1z/sqlite.h"
#include "c1z/v1_stats.h"
#include "c1z/zone.h"
#include "sync/record.h"

/// Records into v1 tables that exist, by SQLite: to see what it makes of them. V1Writer makes files. Included inside
/// this room only.
namespace vellum::c1z {

Result<Statement> PrepareV1Insert(Sqlite* database, sync::RecordType type);
/// Runs a statement of PrepareV1Insert for a record of its type.
Status InsertV1Record(const sync::RecordView& record, const std::string& sync_id, const Zone& zone, Statement* insert);
/// The sync's own row, with `stats` cached in it if it has ended.
Status InsertV1Run(Sqlite* database, const sync::SyncRun& run, const Zone& zone, const V1Stats& stats);

}  // namespace vellum::c1z
