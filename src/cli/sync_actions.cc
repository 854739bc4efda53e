#include "cli/sync_actions.h"

#include <cstdio>
#include <filesystem>

#include "base/bytes.h"
#include "c1z/transfer.h"
#include "cli/output.h"
#include "client/remote_sync_service.h"
#include "service/local_sync_service.h"
#include "service/stores.h"
#include "sync/stamp_text.h"

namespace vellum::cli {
namespace {

namespace fs = std::filesystem;
using sync::RecordType;
using sync::SyncEntry;

constexpr int kDone = 0;
constexpr int kFound = 1;
constexpr int kFailed = 2;

std::string TimeText(sync::Stamp stamp) { return stamp == 0 ? "" : sync::FormatRfc3339(stamp); }
std::string_view StateText(sync::SyncState state) { return state == sync::SyncState::kOpen ? "open" : "sealed"; }

/// What the verbs talk to, with all that it needs.
struct Connection {
  std::unique_ptr<service::DataDirectory> directory;
  std::unique_ptr<service::SyncService> service;
};

Result<Connection> Connect(const SyncArguments& arguments, service::DataDirectory::IfMissing if_missing) {
  Connection connection;
  if (!arguments.endpoints.empty()) {
    VELLUM_ASSIGN_OR_RETURN(connection.service,
                            client::RemoteSyncService::Connect({.endpoint = arguments.endpoints.front()}));
    return connection;
  }
  VELLUM_ASSIGN_OR_RETURN(connection.directory, service::DataDirectory::Open(arguments.data_dir, if_missing));
  connection.service = std::make_unique<service::LocalSyncService>(connection.directory->store());
  return connection;
}

/// Connects to the server, or opens the data directory, and runs `action` on its service.
template <typename Action>
int WithService(const SyncArguments& arguments, const Action& action,
                service::DataDirectory::IfMissing if_missing = service::DataDirectory::IfMissing::kFail) {
  const auto connection = Connect(arguments, if_missing);
  if (!connection.ok()) return FailWith(connection.error());
  const Status done = action(connection->service.get());
  return done.ok() ? kDone : FailWith(done);
}

/// Why there are no facts of a sync whose generation is asked for.
Status WhyNoFacts(const service::SyncDescription& sync) {
  const std::string name = "sync " + Printable(sync.entry.run.id);
  if (sync.entry.history.empty()) return FailedPrecondition(name + " is still being written");
  return DataLoss(name + ": " + sync.problem);
}

void PrintImported(const std::string& file, const c1z::ImportedSync& sync, const SyncArguments& arguments) {
  std::printf("%s  %s  %s, %llu records, %.2f s  (%s)\n", PlainText(sync.id).c_str(),
              sync.unchanged ? "unchanged" : "imported", PlainText(sync.type).c_str(),
              static_cast<unsigned long long>(sync.records), sync.seconds, file.c_str());
  for (int type = 0; type < sync::kRecordTypes; ++type) {
    const std::uint64_t joined = sync.joined[static_cast<std::size_t>(type)];
    if (joined == 0) continue;
    const auto bucket = sync::FindBucket(static_cast<std::uint8_t>(sync::RecordBucket(static_cast<RecordType>(type))));
    std::printf("  %llu rows of %s could not be kept apart: they have the identity of a later row\n",
                static_cast<unsigned long long>(joined), std::string(bucket->name).c_str());
  }
  for (const auto& [reason, rows] : sync.report.invalid) {
    std::printf("  %llu rows skipped: %s\n", static_cast<unsigned long long>(rows), reason.c_str());
  }
  if (sync.report.unstamped > 0) {
    std::printf("  %llu rows have a stamp that is not a time: they count as unstamped\n",
                static_cast<unsigned long long>(sync.report.unstamped));
  }
  if (sync.report.expansions_moved > 0) {
    std::printf("  %llu expansions were moved out of grants' annotations\n",
                static_cast<unsigned long long>(sync.report.expansions_moved));
  }
  for (const auto& [part, rows] : sync.report.disagreeing) {
    std::printf("  %llu rows say one thing in their columns and another in their message: %s\n",
                static_cast<unsigned long long>(rows), part.c_str());
  }
  if (sync.orphans > 0) {
    std::printf("  %llu rows of the file belong to no sync: they were left out\n",
                static_cast<unsigned long long>(sync.orphans));
  }
  for (const std::string& warning : sync.warnings) std::printf("  %s\n", warning.c_str());
  if (!sync.unchanged && sync.format == c1z::Format::kV1) std::printf("  stamps were read as %s\n", arguments.zone.c_str());
}

Result<c1z::ImportOptions> ImportOptionsOf(const SyncArguments& arguments) {
  c1z::ImportOptions options;
  VELLUM_ASSIGN_OR_RETURN(options.open.zone, c1z::Zone::Parse(arguments.zone));
  options.connector = arguments.connector;
  options.replace = arguments.replace;
  options.skip_invalid = arguments.skip_invalid;
  options.only = arguments.syncs;
  return options;
}

sync::MergeOptions MergeOptionsOf(const SyncArguments& arguments) {
  sync::MergeOptions options;
  options.ties = arguments.ties == "last" ? sync::Ties::kLast : sync::Ties::kFirst;
  options.strategy = arguments.strategy == "merge"  ? sync::Strategy::kMerge
                     : arguments.strategy == "fold" ? sync::Strategy::kFold
                                                    : sync::Strategy::kAuto;
  return options;
}

}  // namespace

void PrintMerge(const service::MergeReport& outcome, double seconds) {
  std::printf("%s  %s (%s), %llu records, %.2f s, %s written\n", outcome.sync_id.c_str(),
              outcome.strategy == sync::Strategy::kFold ? "folded" : "merged", outcome.why.c_str(),
              static_cast<unsigned long long>(outcome.records), seconds,
              Bytes(static_cast<std::int64_t>(outcome.bytes_written)).c_str());
  for (const sync::BucketInfo& bucket : sync::kBuckets) {
    if (bucket.index || !bucket.merged) continue;
    const sync::MergeCounts& counts = outcome.stats[static_cast<std::size_t>(sync::BucketType(bucket.bucket))];
    std::printf("  %-15s added %llu, replaced %llu, kept %llu, unchanged %llu\n", std::string(bucket.name).c_str(),
                static_cast<unsigned long long>(counts.added), static_cast<unsigned long long>(counts.replaced),
                static_cast<unsigned long long>(counts.kept), static_cast<unsigned long long>(counts.unchanged));
  }
}

int OnService(const SyncArguments& arguments, const std::function<Status(service::SyncService*)>& action) {
  return WithService(arguments, action);
}

int FailWith(const Status& status) {
  std::fprintf(stderr, "vellum: %s\n", status.message().c_str());
  if (status.maybe_applied()) std::fputs("vellum: the change may have taken effect all the same\n", stderr);
  return kFailed;
}

int AskService(const SyncArguments& arguments, const std::function<Result<int>(service::SyncService*)>& ask) {
  int code = kDone;
  const int failed = WithService(arguments, [&](service::SyncService* service) -> Status {
    VELLUM_ASSIGN_OR_RETURN(code, ask(service));
    return {};
  });
  return failed == kDone ? code : failed;
}

int ImportSyncs(const SyncArguments& arguments) {
  const auto import = [&](service::SyncService* service) -> Status {
    VELLUM_ASSIGN_OR_RETURN(const c1z::ImportOptions options, ImportOptionsOf(arguments));
    for (const std::string& file : arguments.files) {
      Progress progress("importing " + fs::path(file).filename().string());
      VELLUM_ASSIGN_OR_RETURN(const auto imported, service->Import(file, options, progress.work()));
      for (const c1z::ImportedSync& sync : imported) PrintImported(file, sync, arguments);
    }
    return {};
  };
  return WithService(arguments, import, service::DataDirectory::IfMissing::kCreate);
}

int ListSyncs(const SyncArguments& arguments) {
  return WithService(arguments, [&](service::SyncService* service) -> Status {
    VELLUM_ASSIGN_OR_RETURN(const auto syncs, service->ListSyncs());
    RowPrinter rows(arguments.format, {{"id"}, {"connector"}, {"type"}, {"state"}, {"started"}, {"ended"},
                                       {"records", true}, {"bytes_own", true}, {"bytes_shared", true}, {"generation"}, {"parent"}});
    for (const service::SyncDescription& sync : syncs) {
      const SyncEntry& entry = sync.entry;
      const bool damaged = !sync.generation && !entry.history.empty();
      const service::GenerationFacts facts = sync.generation.value_or(service::GenerationFacts{});
      rows.Row({entry.run.id, entry.connector, entry.run.type, damaged ? "damaged" : std::string(StateText(entry.state)),
                TimeText(entry.run.started_at), TimeText(entry.run.ended_at), std::to_string(facts.records),
                std::to_string(facts.bytes_own), std::to_string(facts.bytes_shared),
                entry.history.empty() ? "" : entry.generation(), entry.run.parent_id});
    }
    return {};
  });
}

int ShowSync(const SyncArguments& arguments) {
  return WithService(arguments, [&](service::SyncService* service) -> Status {
    VELLUM_ASSIGN_OR_RETURN(const service::SyncDescription sync, service->DescribeSync(arguments.sync));
    const SyncEntry& entry = sync.entry;
    RowPrinter rows(arguments.format, {{"field"}, {"value"}});
    const auto row = [&rows](const char* field, const std::string& value) {
      if (!value.empty()) rows.Row({field, value});
    };
    row("id", entry.run.id);
    row("connector", entry.connector);
    row("type", entry.run.type);
    row("state", std::string(StateText(entry.state)));
    row("parent", entry.run.parent_id);
    row("linked", entry.run.linked_id);
    row("started", TimeText(entry.run.started_at));
    row("ended", TimeText(entry.run.ended_at));
    row("token", entry.run.token);
    if (entry.history.empty()) return {};
    if (!sync.generation) return DataLoss(sync.problem);
    const service::GenerationFacts& facts = *sync.generation;
    row("generation", facts.id);
    row("made by", facts.made_by);
    row("overlays", std::to_string(facts.overlays));
    row("records", std::to_string(facts.records));
    row("bytes (own)", std::to_string(facts.bytes_own));
    row("bytes (shared)", std::to_string(facts.bytes_shared));
    row("bytes (dead)", std::to_string(facts.bytes_dead));
    row("digest", facts.digest);
    row("digest without stamps", facts.digest_unstamped);
    return {};
  });
}

int SyncStats(const SyncArguments& arguments) {
  return WithService(arguments, [&](service::SyncService* service) -> Status {
    VELLUM_ASSIGN_OR_RETURN(const service::SyncDescription sync, service->DescribeSync(arguments.sync));
    if (!sync.generation) return WhyNoFacts(sync);
    RowPrinter rows(arguments.format,
                    {{"bucket"}, {"records", true}, {"bytes", true}, {"oldest_stamp"}, {"newest_stamp"}});
    for (const sync::BucketInfo& bucket : sync::kBuckets) {
      const auto found = sync.generation->totals.find(bucket.bucket);
      const sync::Totals totals = found == sync.generation->totals.end() ? sync::Totals{} : found->second;
      rows.Row({std::string(bucket.name), std::to_string(totals.records), std::to_string(totals.bytes),
                TimeText(totals.stamp_min), TimeText(totals.stamp_max)});
    }
    return {};
  });
}

int SyncHistory(const SyncArguments& arguments) {
  return WithService(arguments, [&](service::SyncService* service) -> Status {
    VELLUM_ASSIGN_OR_RETURN(const service::SyncDescription sync, service->DescribeSync(arguments.sync));
    RowPrinter rows(arguments.format, {{"generation"}, {"switched_at"}, {"operation"}, {"records", true}, {"digest"}});
    for (std::size_t i = 0; i < sync.entry.history.size(); ++i) {
      const sync::HistoryEntry& each = sync.entry.history[i];
      const auto records = i < sync.history_records.size() ? sync.history_records[i] : std::nullopt;
      rows.Row({each.generation, TimeText(each.switched_at), each.operation, records ? std::to_string(*records) : "",
                each.digest});
    }
    return {};
  });
}

int MergeSyncsVerb(const SyncArguments& arguments) {
  return WithService(arguments, [&](service::SyncService* service) -> Status {
    Progress progress("merging");
    VELLUM_ASSIGN_OR_RETURN(
        const service::MergeReport report,
        service->Merge({arguments.into, arguments.syncs, MergeOptionsOf(arguments)}, progress.work()));
    PrintMerge(report, progress.seconds());
    return {};
  });
}

int CompactSync(const SyncArguments& arguments) {
  const auto compact = [&](service::SyncService* service) -> Status {
    service::CompactRequest request;
    request.sync_id = arguments.sync;
    request.from = arguments.from;
    request.allow_empty = arguments.allow_empty;
    VELLUM_ASSIGN_OR_RETURN(request.file_options, ImportOptionsOf(arguments));
    Progress progress("replacing");
    VELLUM_ASSIGN_OR_RETURN(const service::CompactReport report, service->Compact(request, progress.work()));
    std::printf("%s  %s, %llu records, %.3f s, %llu files linked, %s copied\n", arguments.sync.c_str(),
                report.emptied ? "emptied" : "replaced", static_cast<unsigned long long>(report.records),
                progress.seconds(), static_cast<unsigned long long>(report.files_linked),
                Bytes(static_cast<std::int64_t>(report.bytes_copied)).c_str());
    return {};
  };
  return WithService(arguments, compact, service::DataDirectory::IfMissing::kCreate);
}

int RollbackSync(const SyncArguments& arguments) {
  return WithService(arguments, [&](service::SyncService* service) -> Status {
    std::optional<sync::GenerationId> to;
    if (!arguments.to_generation.empty()) to = arguments.to_generation;
    VELLUM_ASSIGN_OR_RETURN(const service::SyncDescription sync, service->Rollback(arguments.sync, to));
    std::printf("%s  is at generation %s again\n", arguments.sync.c_str(), sync.entry.generation().c_str());
    return {};
  });
}

int DeleteSync(const SyncArguments& arguments) {
  return WithService(arguments, [&](service::SyncService* service) -> Status {
    for (const std::string& id : arguments.syncs) {
      VELLUM_TRY(service->Delete(id));
      std::printf("%s  deleted\n", id.c_str());
    }
    return {};
  });
}

int VerifySyncs(const SyncArguments& arguments) {
  bool sound = true;
  const int code = WithService(arguments, [&](service::SyncService* service) -> Status {
    std::vector<std::string> ids = arguments.syncs;
    if (ids.empty()) {
      VELLUM_ASSIGN_OR_RETURN(const auto syncs, service->ListSyncs());
      for (const service::SyncDescription& sync : syncs) {
        if (!sync.entry.history.empty()) ids.push_back(sync.entry.run.id);
      }
    }
    for (const std::string& id : ids) {
      Progress progress("verifying " + id);
      VELLUM_ASSIGN_OR_RETURN(const sync::VerifyReport report, service->Verify(id, progress.work()));
      std::printf("%s  %s, %llu records\n", id.c_str(), report.ok() ? "sound" : "damaged",
                  static_cast<unsigned long long>(report.records));
      for (const std::string& problem : report.problems) std::printf("  %s\n", problem.c_str());
      for (const sync::Finding& finding : report.findings) {
        std::printf("  %llu %s:\n", static_cast<unsigned long long>(finding.count), finding.rule.c_str());
        for (const std::string& name : finding.first) std::printf("    %s\n", name.c_str());
        if (finding.count > finding.first.size()) {
          std::printf("    and %llu more\n", static_cast<unsigned long long>(finding.count - finding.first.size()));
        }
      }
      sound = sound && report.ok();
    }
    return {};
  });
  return code == kDone && !sound ? kFound : code;
}

int SweepSyncs(const SyncArguments& arguments) {
  return WithService(arguments, [&](service::SyncService* service) -> Status {
    VELLUM_ASSIGN_OR_RETURN(const auto swept, service->Sweep());
    std::printf("%llu generations and %llu directories removed, %s returned\n",
                static_cast<unsigned long long>(swept.generations), static_cast<unsigned long long>(swept.directories),
                Bytes(static_cast<std::int64_t>(swept.bytes)).c_str());
    return {};
  });
}

int ExportSyncs(const SyncArguments& arguments) {
  return WithService(arguments, [&](service::SyncService* service) -> Status {
    c1z::WriteOptions options;
    VELLUM_ASSIGN_OR_RETURN(options.zone, c1z::Zone::Parse(arguments.zone));
    options.if_exists = arguments.force ? c1z::WriteOptions::IfExists::kReplace : c1z::WriteOptions::IfExists::kRefuse;
    Progress progress("exporting");
    auto report = service->Export(arguments.syncs, arguments.out, options, progress.work());
    if (!report.ok()) {
      if (!arguments.force && fs::is_regular_file(arguments.out)) {
        return FailedPrecondition(report.error().message() + ": --force replaces it");
      }
      return std::move(report).error();
    }
    std::printf("%s  %llu records, %s, %.2f s, stamps in %s\n", arguments.out.c_str(),
                static_cast<unsigned long long>(report->records), Bytes(static_cast<std::int64_t>(report->bytes)).c_str(),
                progress.seconds(), options.zone.name().c_str());
    return {};
  });
}

}  // namespace vellum::cli
