#include "cli/keep_actions.h"

#include <cstdio>

#include "base/bytes.h"
#include "cli/output.h"
#include "service/sync_service.h"
#include "sync/stamp_text.h"

namespace vellum::cli {
namespace {

std::string TimeText(sync::Stamp stamp) { return stamp == 0 ? "" : sync::FormatRfc3339(stamp); }

unsigned long long Count(std::uint64_t count) { return count; }

void PrintGone(const service::RetainReport& report, Format format) {
  RowPrinter rows(format, {{"id"}, {"type"}, {"ended"}, {"records", true}, {"bytes", true}, {"why"}});
  for (const service::RetainReport::Gone& gone : report.gone) {
    rows.Row({gone.sync_id, gone.type, TimeText(gone.ended_at), std::to_string(gone.records), std::to_string(gone.bytes), gone.why});
  }
}

void PrintPending(const service::RollupReport& report, Format format) {
  RowPrinter rows(format, {{"id"}, {"into"}});
  for (const std::string& id : report.merged) rows.Row({id, report.into});
}

}  // namespace

int RepairSyncs(const SyncArguments& arguments) {
  return OnService(arguments, [&](service::SyncService* service) -> Status {
    for (const std::string& id : arguments.syncs) {
      Progress progress("repairing " + id);
      VELLUM_ASSIGN_OR_RETURN(const service::RepairReport report, service->Repair(id, progress.work()));
      if (!report.changed) {
        std::printf("%s  its indexes are right, %llu records\n", id.c_str(), Count(report.records));
        continue;
      }
      std::printf("%s  indexes built anew, %llu records, %.2f s\n  %s\n", id.c_str(), Count(report.records), progress.seconds(),
                  report.why.c_str());
      if (report.entries_wrong > 0) std::printf("  %llu entries were wrong\n", Count(report.entries_wrong));
    }
    return {};
  });
}

int RetainSyncs(const SyncArguments& arguments) {
  return OnService(arguments, [&](service::SyncService* service) -> Status {
    service::RetainRequest request;
    request.connector = arguments.connector;
    request.keep = arguments.keep;
    request.dry_run = true;
    const bool people = arguments.format == Format::kTable;
    VELLUM_ASSIGN_OR_RETURN(const service::RetainReport planned, service->Retain(request, {}));
    if (people && planned.gone.empty()) {
      std::printf("nothing goes\n");
    } else {
      PrintGone(planned, arguments.format);
    }
    if (arguments.dry_run || planned.gone.empty()) return {};
    request.dry_run = false;
    static_cast<void>(std::fflush(stdout));
    Progress progress("deleting syncs");
    VELLUM_ASSIGN_OR_RETURN(const service::RetainReport done, service->Retain(request, progress.work()));
    std::uint64_t bytes = 0;
    for (const service::RetainReport::Gone& gone : done.gone) bytes += gone.bytes;
    if (people) {
      std::printf("%llu %s deleted, %s\n", Count(done.gone.size()), done.gone.size() == 1 ? "sync" : "syncs",
                  Bytes(static_cast<std::int64_t>(bytes)).c_str());
    }
    return {};
  });
}

int RollupSyncs(const SyncArguments& arguments) {
  return OnService(arguments, [&](service::SyncService* service) -> Status {
    service::RollupRequest request{arguments.connector, /*dry_run=*/true};
    const bool people = arguments.format == Format::kTable;
    VELLUM_ASSIGN_OR_RETURN(const service::RollupReport planned, service->Rollup(request, {}));
    if (people && planned.merged.empty()) {
      std::printf("nothing is pending\n");
    } else {
      PrintPending(planned, arguments.format);
    }
    if (arguments.dry_run || planned.merged.empty()) return {};
    request.dry_run = false;
    static_cast<void>(std::fflush(stdout));
    Progress progress("merging into " + planned.into);
    VELLUM_ASSIGN_OR_RETURN(const service::RollupReport done, service->Rollup(request, progress.work()));
    if (people && done.merge) PrintMerge(*done.merge, progress.seconds());
    return {};
  });
}

}  // namespace vellum::cli
