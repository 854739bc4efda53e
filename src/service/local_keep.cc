#include <algorithm>

#include "base/bytes.h"
#include "service/local_sync_service.h"
#include "sync/retention.h"
#include "sync/rollup.h"
#include "sync/upkeep.h"

namespace vellum::service {
namespace {

/// A connector that nothing is known of is more likely misspelt than empty.
Status CheckKnown(const sync::Store& store, const std::string& connector) {
  VELLUM_ASSIGN_OR_RETURN(const auto known, sync::Connectors(store));
  if (std::find(known.begin(), known.end(), connector) != known.end()) return {};
  std::string names;
  for (const std::string& name : known) names += (names.empty() ? "" : ", ") + Printable(name);
  return NotFound("no sync is of connector " + Printable(connector) +
                  (names.empty() ? ": there are no syncs" : "; there are " + names));
}

}  // namespace

Result<RepairReport> LocalSyncService::Repair(const std::string& sync_id, const sync::Work& work) {
  VELLUM_ASSIGN_OR_RETURN(const sync::RepairOutcome outcome, sync::RepairSync(store_, sync_id, work));
  if (outcome.changed) VELLUM_TRY(store_->Sweep().error());
  RepairReport report;
  report.records = outcome.records;
  report.entries_wrong = outcome.entries_wrong;
  report.changed = outcome.changed;
  report.why = outcome.why;
  return report;
}

Result<RetainReport> LocalSyncService::Retain(const RetainRequest& request, const sync::Work& work) {
  VELLUM_TRY(CheckKnown(*store_, request.connector));
  sync::RetentionOptions options;
  options.keep = request.keep;
  options.open_keep_s = request.open_keep_s;
  VELLUM_ASSIGN_OR_RETURN(const auto retired, sync::Retain(store_, request.connector, options, request.dry_run, work));
  RetainReport report;
  for (const sync::Retired& each : retired) {
    const sync::SyncRun& run = each.retiring.entry.run;
    report.gone.push_back({run.id, run.type, run.ended_at, each.records, each.bytes, each.retiring.why});
  }
  return report;
}

Result<RollupReport> LocalSyncService::Rollup(const RollupRequest& request, const sync::Work& work) {
  VELLUM_TRY(CheckKnown(*store_, request.connector));
  VELLUM_ASSIGN_OR_RETURN(const sync::RollupOutcome outcome,
                          sync::RollUp(store_, request.connector, request.dry_run, work));
  RollupReport report;
  report.into = outcome.into;
  report.merged = outcome.merged;
  if (!outcome.merge) return report;
  MergeReport merge;
  merge.sync_id = outcome.into;
  merge.stats = outcome.merge->stats;
  merge.strategy = outcome.merge->strategy;
  merge.why = outcome.merge->why;
  merge.records = outcome.merge->generation->info().records();
  merge.bytes_written = outcome.merge->bytes_written;
  merge.changed = outcome.merge->changed;
  report.merge = std::move(merge);
  return report;
}

}  // namespace vellum::service
