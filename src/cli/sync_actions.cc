#include "cli/sync_actions.h"

#include <sys/stat.h>
#include <unistd.h>

#include <cstdio>
#include <filesystem>

#include "base/bytes.h"
#include "c1z/transfer.h"
#include "cli/output.h"
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

/// Bytes of a generation's files: only its own, and those that other generations have too.
struct FileBytes {
  std::uint64_t own = 0;
  std::uint64_t shared = 0;
};
FileBytes CountBytes(const sync::Generation& generation) {
  FileBytes bytes;
  for (const sync::GenerationFile& file : generation.info().files) {
    struct stat status {};
    const bool shared = ::stat(generation.FilePath(file).c_str(), &status) == 0 && status.st_nlink > 1;
    (shared ? bytes.shared : bytes.own) += file.bytes;
  }
  return bytes;
}

/// Opens the data directory and runs `action` on its store.
template <typename Action>
int WithStore(const SyncArguments& arguments, bool create, const Action& action) {
  const auto local = LocalSyncs::Open(arguments.data_dir, create);
  if (!local.ok()) return FailWith(local.error());
  const Status done = action((*local)->store());
  return done.ok() ? kDone : FailWith(done);
}

void PrintImported(const std::string& file, const c1z::ImportedSync& sync, const SyncArguments& arguments) {
  std::printf("%s  %s  %s, %llu records, %.2f s  (%s)\n", sync.id.c_str(), sync.unchanged ? "unchanged" : "imported",
              sync.type.c_str(), static_cast<unsigned long long>(sync.records), sync.seconds, file.c_str());
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
  if (!sync.unchanged) std::printf("  stamps were read as %s\n", arguments.zone.c_str());
}

/// Imports files into `store`; ids of what came in.
Result<std::vector<std::string>> ImportInto(sync::Store* store, const std::vector<std::string>& files,
                                            const SyncArguments& arguments) {
  c1z::ImportOptions options;
  VELLUM_ASSIGN_OR_RETURN(options.open.zone, c1z::Zone::Parse(arguments.zone));
  options.open.scratch_dir = store->options().data_dir + "/staging";
  options.connector = arguments.connector;
  options.replace = arguments.replace;
  options.skip_invalid = arguments.skip_invalid;
  options.only = arguments.syncs;
  std::vector<std::string> ids;
  for (const std::string& file : files) {
    Progress progress("importing " + fs::path(file).filename().string());
    VELLUM_ASSIGN_OR_RETURN(const auto imported, c1z::ImportFile(store, file, options, progress.work()));
    for (const c1z::ImportedSync& sync : imported) {
      PrintImported(file, sync, arguments);
      ids.push_back(sync.id);
    }
  }
  return ids;
}

void PrintMerge(const std::string& id, const sync::MergeOutcome& outcome, double seconds) {
  std::printf("%s  %s (%s), %llu records, %.2f s, %s written\n", id.c_str(),
              outcome.strategy == sync::Strategy::kFold ? "folded" : "merged", outcome.why.c_str(),
              static_cast<unsigned long long>(outcome.generation->info().records()), seconds,
              Bytes(static_cast<std::int64_t>(outcome.bytes_written)).c_str());
  for (const sync::BucketInfo& bucket : sync::kBuckets) {
    if (bucket.index || !bucket.merged) continue;
    const sync::MergeCounts& counts = outcome.stats[static_cast<std::size_t>(sync::BucketType(bucket.bucket))];
    std::printf("  %-15s added %llu, replaced %llu, kept %llu, unchanged %llu\n", std::string(bucket.name).c_str(),
                static_cast<unsigned long long>(counts.added), static_cast<unsigned long long>(counts.replaced),
                static_cast<unsigned long long>(counts.kept), static_cast<unsigned long long>(counts.unchanged));
  }
}

sync::MergeOptions MergeOptionsOf(const SyncArguments& arguments) {
  sync::MergeOptions options;
  options.ties = arguments.ties == "last" ? sync::Ties::kLast : sync::Ties::kFirst;
  options.strategy = arguments.strategy == "merge"  ? sync::Strategy::kMerge
                     : arguments.strategy == "fold" ? sync::Strategy::kFold
                                                    : sync::Strategy::kAuto;
  return options;
}

/// An empty sync, for a merge to fill.
Status CreateEmpty(sync::Store* store, const std::string& id) {
  sync::SyncRun run;
  run.id = id;
  run.type = "partial";
  VELLUM_ASSIGN_OR_RETURN(const auto writer, sync::SyncWriter::Begin(store, std::move(run), ""));
  return writer->Seal(0, "create").error();
}

/// The store behind `vellum sync compact --from`: another data directory, or a file that is imported beside it, where the next
/// opening sweeps it if this process dies.
struct Source {
  std::unique_ptr<LocalSyncs> directory;
  std::unique_ptr<ScratchStore> file;
  sync::Store* store() const { return directory ? directory->store() : file->store(); }
};

Result<Source> OpenSource(const SyncArguments& arguments, const std::string& scratch_beside) {
  Source source;
  if (fs::is_directory(arguments.from)) {
    VELLUM_ASSIGN_OR_RETURN(source.directory, LocalSyncs::Open(arguments.from, /*create_if_missing=*/false));
    return source;
  }
  VELLUM_ASSIGN_OR_RETURN(source.file, ScratchStore::Make(scratch_beside));
  c1z::ImportOptions options;
  VELLUM_ASSIGN_OR_RETURN(options.open.zone, c1z::Zone::Parse(arguments.zone));
  options.open.scratch_dir = source.file->directory();
  options.skip_invalid = arguments.skip_invalid;
  Progress progress("reading " + arguments.from);
  VELLUM_TRY(c1z::ImportFile(source.file->store(), arguments.from, options, progress.work()).error());
  return source;
}

}  // namespace

int FailWith(const Status& status) {
  std::fprintf(stderr, "vellum: %s\n", status.message().c_str());
  return kFailed;
}

int ImportSyncs(const SyncArguments& arguments) {
  return WithStore(arguments, /*create=*/true, [&](sync::Store* store) {
    return ImportInto(store, arguments.files, arguments).error();
  });
}

int ListSyncs(const SyncArguments& arguments) {
  return WithStore(arguments, /*create=*/false, [&](sync::Store* store) -> Status {
    VELLUM_ASSIGN_OR_RETURN(const auto syncs, store->List());
    RowPrinter rows(arguments.format, {{"id"}, {"connector"}, {"type"}, {"state"}, {"started"}, {"ended"},
                                       {"records", true}, {"bytes_own", true}, {"bytes_shared", true}, {"generation"}, {"parent"}});
    for (const SyncEntry& entry : syncs) {
      std::vector<std::string> cells = {entry.run.id, entry.connector, entry.run.type, std::string(StateText(entry.state)),
                                        TimeText(entry.run.started_at), TimeText(entry.run.ended_at)};
      if (entry.history.empty()) {
        cells.insert(cells.end(), {"0", "0", "0", "", entry.run.parent_id});
      } else if (const auto generation = store->OpenGeneration(entry.generation()); generation.ok()) {
        const FileBytes bytes = CountBytes(**generation);
        cells.insert(cells.end(), {std::to_string((*generation)->info().records()), std::to_string(bytes.own),
                                   std::to_string(bytes.shared), entry.generation(), entry.run.parent_id});
      } else {
        cells[3] = "damaged";
        cells.insert(cells.end(), {"0", "0", "0", entry.generation(), entry.run.parent_id});
      }
      rows.Row(std::move(cells));
    }
    return {};
  });
}

int ShowSync(const SyncArguments& arguments) {
  return WithStore(arguments, /*create=*/false, [&](sync::Store* store) -> Status {
    VELLUM_ASSIGN_OR_RETURN(const SyncEntry entry, store->Get(arguments.sync));
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
    VELLUM_ASSIGN_OR_RETURN(const auto generation, store->OpenGeneration(entry.generation()));
    const FileBytes bytes = CountBytes(*generation);
    row("generation", entry.generation());
    row("made by", generation->info().operation);
    row("overlays", std::to_string(generation->info().layers - 1));
    row("records", std::to_string(generation->info().records()));
    row("bytes (own)", std::to_string(bytes.own));
    row("bytes (shared)", std::to_string(bytes.shared));
    row("bytes (dead)", std::to_string(generation->info().dead_bytes));
    row("digest", generation->info().Digest().ToHex());
    row("digest without stamps", generation->info().DigestUnstamped().ToHex());
    return {};
  });
}

int SyncStats(const SyncArguments& arguments) {
  return WithStore(arguments, /*create=*/false, [&](sync::Store* store) -> Status {
    VELLUM_ASSIGN_OR_RETURN(const auto generation, store->OpenSync(arguments.sync));
    RowPrinter rows(arguments.format,
                    {{"bucket"}, {"records", true}, {"bytes", true}, {"oldest_stamp"}, {"newest_stamp"}});
    for (const sync::BucketInfo& bucket : sync::kBuckets) {
      const auto found = generation->info().totals.find(bucket.bucket);
      const sync::Totals totals = found == generation->info().totals.end() ? sync::Totals{} : found->second;
      rows.Row({std::string(bucket.name), std::to_string(totals.records), std::to_string(totals.bytes),
                TimeText(totals.stamp_min), TimeText(totals.stamp_max)});
    }
    return {};
  });
}

int SyncHistory(const SyncArguments& arguments) {
  return WithStore(arguments, /*create=*/false, [&](sync::Store* store) -> Status {
    VELLUM_ASSIGN_OR_RETURN(const SyncEntry entry, store->Get(arguments.sync));
    RowPrinter rows(arguments.format, {{"generation"}, {"switched_at"}, {"operation"}, {"records", true}, {"digest"}});
    for (const sync::HistoryEntry& each : entry.history) {
      const auto generation = store->OpenGeneration(each.generation);
      rows.Row({each.generation, TimeText(each.switched_at), each.operation,
                generation.ok() ? std::to_string((*generation)->info().records()) : "", each.digest});
    }
    return {};
  });
}

int MergeSyncsVerb(const SyncArguments& arguments) {
  return WithStore(arguments, /*create=*/false, [&](sync::Store* store) -> Status {
    const std::string into = arguments.into.empty() ? sync::NewKsuid(store->options().clock) : arguments.into;
    std::vector<sync::MergeSourceSync> sources;
    for (const std::string& id : arguments.syncs) {
      VELLUM_TRY(store->Get(id).error());
      sources.push_back({store, id});
    }
    VELLUM_ASSIGN_OR_RETURN(const auto present, store->Find(into));
    if (!present) VELLUM_TRY(CreateEmpty(store, into));
    Progress progress("merging");
    auto outcome = sync::MergeSyncs(store, std::move(sources), into, MergeOptionsOf(arguments), progress.work());
    if (!outcome.ok()) {
      if (!present) store->Delete(into).IgnoreError("an empty sync may stay behind");
      return std::move(outcome).error();
    }
    PrintMerge(into, *outcome, progress.seconds());
    return store->Sweep().error();
  });
}

int CompactSync(const SyncArguments& arguments) {
  return WithStore(arguments, /*create=*/true, [&](sync::Store* store) -> Status {
    VELLUM_ASSIGN_OR_RETURN(const Source source, OpenSource(arguments, arguments.data_dir + "/staging"));
    VELLUM_ASSIGN_OR_RETURN(const auto theirs, source.store()->Find(arguments.sync));
    const bool empty = !theirs || theirs->history.empty() ||
                       [&] {
                         const auto generation = source.store()->OpenSync(arguments.sync);
                         return generation.ok() && (*generation)->info().records() == 0;
                       }();
    VELLUM_ASSIGN_OR_RETURN(const auto ours, store->Find(arguments.sync));
    if (empty && ours && !arguments.allow_empty) {
      return FailedPrecondition(arguments.from + " has no records under sync " + Printable(arguments.sync) +
                                ": replacing it would empty it; say --allow-empty if that is meant");
    }
    Progress progress("replacing");
    VELLUM_ASSIGN_OR_RETURN(const auto outcome,
                            sync::ReplaceSync(store, source.store(), arguments.sync, progress.work()));
    std::printf("%s  %s, %llu records, %.3f s, %llu files linked, %s copied\n", arguments.sync.c_str(),
                outcome.emptied ? "emptied" : "replaced",
                static_cast<unsigned long long>(outcome.generation->info().records()), progress.seconds(),
                static_cast<unsigned long long>(outcome.files_linked),
                Bytes(static_cast<std::int64_t>(outcome.bytes_copied)).c_str());
    return store->Sweep().error();
  });
}

int RollbackSync(const SyncArguments& arguments) {
  return WithStore(arguments, /*create=*/false, [&](sync::Store* store) -> Status {
    std::optional<sync::GenerationId> to;
    if (!arguments.to_generation.empty()) to = arguments.to_generation;
    VELLUM_ASSIGN_OR_RETURN(const SyncEntry entry, store->Rollback(arguments.sync, to));
    std::printf("%s  is at generation %s again\n", arguments.sync.c_str(), entry.generation().c_str());
    return {};
  });
}

int DeleteSync(const SyncArguments& arguments) {
  return WithStore(arguments, /*create=*/false, [&](sync::Store* store) -> Status {
    for (const std::string& id : arguments.syncs) {
      VELLUM_TRY(store->Delete(id));
      std::printf("%s  deleted\n", id.c_str());
    }
    return {};
  });
}

int VerifySyncs(const SyncArguments& arguments) {
  bool sound = true;
  const int code = WithStore(arguments, /*create=*/false, [&](sync::Store* store) -> Status {
    std::vector<std::string> ids = arguments.syncs;
    if (ids.empty()) {
      VELLUM_ASSIGN_OR_RETURN(const auto syncs, store->List());
      for (const SyncEntry& entry : syncs) {
        if (!entry.history.empty()) ids.push_back(entry.run.id);
      }
    }
    for (const std::string& id : ids) {
      VELLUM_TRY(store->Get(id).error());
      std::vector<std::string> problems;
      std::uint64_t records = 0;
      if (const auto generation = store->OpenSync(id); !generation.ok()) {
        problems.push_back(generation.error().message());
      } else {
        VELLUM_ASSIGN_OR_RETURN(const auto building, store->Register());
        Progress progress("verifying " + id);
        VELLUM_ASSIGN_OR_RETURN(const auto report,
                                sync::VerifyGeneration(**generation, building->directory(), progress.work()));
        problems = report.problems;
        records = report.records;
      }
      std::printf("%s  %s, %llu records\n", id.c_str(), problems.empty() ? "sound" : "damaged",
                  static_cast<unsigned long long>(records));
      for (const std::string& problem : problems) std::printf("  %s\n", problem.c_str());
      sound = sound && problems.empty();
    }
    return {};
  });
  return code == kDone && !sound ? kFound : code;
}

int SweepSyncs(const SyncArguments& arguments) {
  return WithStore(arguments, /*create=*/false, [&](sync::Store* store) -> Status {
    VELLUM_ASSIGN_OR_RETURN(const auto swept, store->Sweep());
    std::printf("%llu generations and %llu directories removed, %s returned\n",
                static_cast<unsigned long long>(swept.generations), static_cast<unsigned long long>(swept.directories),
                Bytes(static_cast<std::int64_t>(swept.bytes)).c_str());
    return {};
  });
}

int ExportSyncs(const SyncArguments& arguments) {
  return WithStore(arguments, /*create=*/false, [&](sync::Store* store) -> Status {
    c1z::WriteOptions options;
    VELLUM_ASSIGN_OR_RETURN(options.zone, c1z::Zone::Parse(arguments.zone));
    options.if_exists = arguments.force ? c1z::WriteOptions::IfExists::kReplace : c1z::WriteOptions::IfExists::kRefuse;
    Progress progress("exporting");
    auto report = c1z::ExportFile(*store, arguments.syncs, arguments.out, options, progress.work());
    if (!report.ok()) {
      if (!arguments.force && fs::exists(arguments.out)) {
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
