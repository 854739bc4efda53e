#include <cstdio>
#include <filesystem>
#include <nlohmann/json.hpp>

#include "base/bytes.h"
#include "c1z/record_json.h"
#include "c1z/transfer.h"
#include "c1z/v3/header.h"
#include "cli/output.h"
#include "cli/sync_actions.h"
#include "service/stores.h"
#include "sync/codec.h"
#include "sync/stamp_text.h"

namespace vellum::cli {
namespace {

namespace fs = std::filesystem;
using sync::RecordType;

constexpr int kDone = 0;
constexpr int kFound = 1;

std::string TimeText(sync::Stamp stamp) { return stamp == 0 ? "" : sync::FormatRfc3339(stamp); }

Result<std::unique_ptr<c1z::Reader>> OpenFile(const std::string& path, const SyncArguments& arguments) {
  c1z::OpenOptions options;
  VELLUM_ASSIGN_OR_RETURN(options.zone, c1z::Zone::Parse(arguments.zone));
  return c1z::OpenReader(path, options);
}

/// The sync that a question is about: the one named, or the one that stands for the file.
Result<const c1z::FileSync*> PickSync(const c1z::Reader& reader, const std::string& path, const std::string& wanted) {
  if (wanted.empty()) return c1z::ChooseSync(reader, path);
  for (const c1z::FileSync& sync : reader.syncs()) {
    if (sync.run.id == wanted) return &sync;
  }
  return NotFound(path + " has no sync " + Printable(wanted));
}

c1z::Reader::Invalid InvalidRows(const SyncArguments& arguments) {
  return arguments.skip_invalid ? c1z::Reader::Invalid::kSkip : c1z::Reader::Invalid::kFail;
}

Status PrintInfo(const std::string& path, const SyncArguments& arguments, RowPrinter* rows) {
  VELLUM_ASSIGN_OR_RETURN(const c1z::Format format, c1z::DetectFormat(path));
  if (format == c1z::Format::kV3) {
    VELLUM_ASSIGN_OR_RETURN(const c1z::v3::Header header, c1z::v3::ReadHeader(path, {}));
    for (const c1z::v3::HeaderSync& sync : header.syncs) {
      rows->Row({path, "v3 (" + header.engine + ")", sync.run.id, sync.run.type, TimeText(sync.run.started_at),
                 TimeText(sync.run.ended_at), sync.run.parent_id});
    }
    return {};
  }
  VELLUM_ASSIGN_OR_RETURN(const auto reader, OpenFile(path, arguments));
  for (const c1z::FileSync& sync : reader->syncs()) {
    rows->Row({path, "v1", sync.run.id, sync.run.type, TimeText(sync.run.started_at), TimeText(sync.run.ended_at),
               sync.run.parent_id});
  }
  return {};
}

/// Counts by reading every row: what the file's cached statistics say is not to be trusted.
Status PrintCountedStats(const std::string& path, const SyncArguments& arguments, RowPrinter* rows) {
  VELLUM_ASSIGN_OR_RETURN(const auto reader, OpenFile(path, arguments));
  std::vector<c1z::FileSync> syncs = reader->syncs();
  // Records of a v3 file without a sync run are shown although they belong to nothing.
  if (syncs.empty() && reader->format() == c1z::Format::kV3) syncs.emplace_back();
  for (const c1z::FileSync& sync : syncs) {
    if (!arguments.sync.empty() && sync.run.id != arguments.sync) continue;
    for (int type = 0; type < sync::kRecordTypes; ++type) {
      std::uint64_t records = 0;
      std::uint64_t bytes = 0;
      c1z::ReadReport report;
      VELLUM_TRY(reader->ReadRecords(sync, static_cast<RecordType>(type), InvalidRows(arguments),
                                     [&](const sync::RecordView& record) {
                                       ++records;
                                       bytes += record.data.size();
                                       return Status();
                                     },
                                     &report));
      rows->Row({path, sync.run.id, std::string(c1z::RecordTypeName(static_cast<RecordType>(type))),
                 std::to_string(records), std::to_string(bytes)});
    }
  }
  return {};
}

Status PrintStats(const std::string& path, const SyncArguments& arguments, RowPrinter* rows) {
  VELLUM_ASSIGN_OR_RETURN(const c1z::Format format, c1z::DetectFormat(path));
  if (format == c1z::Format::kV1) return PrintCountedStats(path, arguments, rows);
  VELLUM_ASSIGN_OR_RETURN(const c1z::v3::Header header, c1z::v3::ReadHeader(path, {}));
  if (header.syncs.empty()) return PrintCountedStats(path, arguments, rows);
  for (const c1z::v3::HeaderSync& sync : header.syncs) {
    if (!arguments.sync.empty() && sync.run.id != arguments.sync) continue;
    for (int type = 0; type < sync::kRecordTypes; ++type) {
      rows->Row({path, sync.run.id, std::string(c1z::RecordTypeName(static_cast<RecordType>(type))),
                 std::to_string(sync.records[static_cast<std::size_t>(type)]), ""});
    }
  }
  return {};
}

/// Grants go out as they are read, so that memory does not grow with them.
class GrantPrinter {
 public:
  explicit GrantPrinter(Format format) : format_(format) {
    if (format_ == Format::kJson || format_ == Format::kJsonl) return;
    rows_ = std::make_unique<RowPrinter>(
        format_, std::vector<RowPrinter::Column>{{"id"}, {"resource_type"}, {"resource"}, {"entitlement"},
                                                 {"principal_type"}, {"principal"}, {"discovered_at"}});
  }
  ~GrantPrinter() {
    if (format_ == Format::kJson) text_ += any_ ? "\n]\n" : "[]\n";
    Flush();
  }

  Status Print(const sync::RecordView& grant) {
    if (rows_) {
      rows_->Row({std::string(grant.id), std::string(grant.type_id), std::string(grant.resource_id),
                  std::string(grant.entitlement_id), std::string(grant.principal_type_id),
                  std::string(grant.principal_id), TimeText(grant.discovered_at)});
      return {};
    }
    const std::size_t size = text_.size();
    if (format_ == Format::kJson) text_ += any_ ? ",\n" : "[\n";
    if (Status printed = printer_.Append(grant, &text_); !printed.ok()) {
      text_.resize(size);
      return printed;
    }
    if (format_ == Format::kJsonl) text_ += '\n';
    any_ = true;
    if (text_.size() >= kFlushBytes) Flush();
    return {};
  }

 private:
  static constexpr std::size_t kFlushBytes = 256u << 10;
  void Flush() {
    std::fwrite(text_.data(), 1, text_.size(), stdout);
    text_.clear();
  }

  const Format format_;
  std::unique_ptr<RowPrinter> rows_;
  c1z::RecordPrinter printer_;
  std::string text_;
  bool any_ = false;
};

/// One input of a file merge: "PATH", or "PATH#SYNC" for a sync of it by id.
struct Input {
  std::string path;
  std::string sync;
};
Input ParseInput(const std::string& text) {
  const std::size_t hash = text.rfind('#');
  if (hash == std::string::npos || fs::exists(text)) return {text, ""};
  return {text.substr(0, hash), text.substr(hash + 1)};
}

/// Imports one input under a name of its own, so that two files may hold one sync id. Returns that name.
Result<std::string> ImportInput(sync::Store* store, const Input& input, int number, const SyncArguments& arguments,
                                sync::SyncRun* run) {
  c1z::OpenOptions open;
  VELLUM_ASSIGN_OR_RETURN(open.zone, c1z::Zone::Parse(arguments.zone));
  open.scratch_dir = store->options().data_dir;
  VELLUM_ASSIGN_OR_RETURN(const auto reader, c1z::OpenReader(input.path, open));
  VELLUM_ASSIGN_OR_RETURN(const c1z::FileSync* const chosen, PickSync(*reader, input.path, input.sync));
  *run = chosen->run;
  sync::SyncRun named = chosen->run;
  named.id = std::to_string(number);
  VELLUM_ASSIGN_OR_RETURN(const auto writer, sync::SyncWriter::Begin(store, named, ""));
  Progress progress("reading " + fs::path(input.path).filename().string());
  c1z::ReadReport report;
  std::uint64_t done = 0;
  for (int type = 0; type < sync::kRecordTypes; ++type) {
    VELLUM_TRY(reader->ReadRecords(*chosen, static_cast<RecordType>(type), InvalidRows(arguments),
                                   [&](const sync::RecordView& record) -> Status {
                                     VELLUM_TRY(writer->Put(record));
                                     if (++done % 4096 != 0) return {};
                                     if (progress.work().progress) progress.work().progress(done);
                                     return progress.work().cancel->load() ? Cancelled("cancelled") : Status();
                                   },
                                   &report));
  }
  for (const auto& [reason, count] : report.invalid) {
    std::fprintf(stderr, "vellum: %s: %llu rows skipped: %s\n", input.path.c_str(),
                 static_cast<unsigned long long>(count), reason.c_str());
  }
  VELLUM_TRY(writer->Seal(chosen->run.ended_at, "import", progress.work()).error());
  return named.id;
}

/// Makes the sync that the others are merged into. Where the base's records are the incumbents it is a copy of the base; where
/// the last file is to win ties it has the base's assets alone, and the base is a source like the others.
Status PrepareDestination(sync::Store* store, sync::SyncEntry merged, const std::string& base, sync::Ties ties) {
  VELLUM_ASSIGN_OR_RETURN(const sync::SyncEntry base_entry, store->Get(base));
  if (ties == sync::Ties::kFirst) return store->SwitchTo(base_entry.generation(), {{std::move(merged), "copy"}});
  VELLUM_ASSIGN_OR_RETURN(const auto generation, store->OpenGeneration(base_entry.generation()));
  const sync::Stamp ended_at = merged.run.ended_at;
  VELLUM_ASSIGN_OR_RETURN(const auto writer, sync::SyncWriter::Begin(store, std::move(merged.run), ""));
  const auto cursor = generation->Scan(sync::Bucket::kAsset);
  for (; cursor->valid(); cursor->Next()) {
    VELLUM_ASSIGN_OR_RETURN(const auto stored, sync::StoredRecord::Parse(cursor->key(), cursor->value()));
    VELLUM_TRY(writer->Put(stored.view()));
  }
  VELLUM_TRY(cursor->status());
  return writer->Seal(ended_at, "copy").error();
}

Status MergeFiles(const SyncArguments& arguments) {
  const fs::path parent = fs::path(arguments.out).parent_path();
  if (!arguments.force && fs::exists(arguments.out)) {
    return FailedPrecondition(arguments.out + " exists already: --force replaces it");
  }
  VELLUM_ASSIGN_OR_RETURN(const auto scratch, service::ScratchStore::MakeBeside(parent.string()));
  sync::Store* const store = scratch->store();
  // The first file is the destination: its records are the incumbents, and its assets stay.
  std::string base;
  sync::SyncRun base_run;
  std::vector<sync::MergeSourceSync> sources;
  for (const std::string& file : arguments.files) {
    sync::SyncRun run;
    VELLUM_ASSIGN_OR_RETURN(const std::string name,
                            ImportInput(store, ParseInput(file), static_cast<int>(sources.size()) + 1, arguments, &run));
    sources.push_back({store, name});
    if (base.empty()) {
      base = name;
      base_run = run;
    }
  }
  sync::SyncEntry merged;
  merged.run = base_run;
  merged.run.id = sync::NewKsuid(SystemClock());
  merged.run.parent_id.clear();
  merged.run.linked_id.clear();
  merged.run.token.clear();
  const std::string merged_id = merged.run.id;
  sync::MergeOptions options;
  options.ties = arguments.ties == "last" ? sync::Ties::kLast : sync::Ties::kFirst;
  if (options.ties == sync::Ties::kFirst) sources.erase(sources.begin());
  VELLUM_TRY(PrepareDestination(store, std::move(merged), base, options.ties));
  Progress progress("merging");
  VELLUM_ASSIGN_OR_RETURN(const auto outcome, sync::MergeSyncs(store, sources, merged_id, options, progress.work()));
  c1z::WriteOptions write;
  VELLUM_ASSIGN_OR_RETURN(write.zone, c1z::Zone::Parse(arguments.zone));
  write.if_exists = arguments.force ? c1z::WriteOptions::IfExists::kReplace : c1z::WriteOptions::IfExists::kRefuse;
  VELLUM_ASSIGN_OR_RETURN(const auto report, c1z::ExportFile(*store, {merged_id}, arguments.out, write, progress.work()));
  std::printf("%s  sync %s, %llu records from %zu files, %s, %.2f s\n", arguments.out.c_str(), merged_id.c_str(),
              static_cast<unsigned long long>(outcome.generation->info().records()), arguments.files.size(),
              Bytes(static_cast<std::int64_t>(report.bytes)).c_str(), progress.seconds());
  return {};
}

}  // namespace

int C1zInfo(const SyncArguments& arguments) {
  RowPrinter rows(arguments.format, {{"file"}, {"format"}, {"sync"}, {"type"}, {"started"}, {"ended"}, {"parent"}});
  for (const std::string& file : arguments.files) {
    if (const Status shown = PrintInfo(file, arguments, &rows); !shown.ok()) return FailWith(shown);
  }
  return kDone;
}

int C1zStats(const SyncArguments& arguments) {
  RowPrinter rows(arguments.format, {{"file"}, {"sync"}, {"record_type"}, {"records", true}, {"message_bytes", true}});
  for (const std::string& file : arguments.files) {
    if (const Status shown = PrintStats(file, arguments, &rows); !shown.ok()) return FailWith(shown);
  }
  return kDone;
}

namespace {

/// Reads all of a file as if to import it, and what importing would not look at.
Status VerifyFile(const std::string& file, const SyncArguments& arguments, c1z::ReadReport* report,
                  std::vector<std::string>* warnings) {
  VELLUM_ASSIGN_OR_RETURN(const auto reader, OpenFile(file, arguments));
  c1z::RecordPrinter printer;
  std::string text;
  for (const c1z::FileSync& sync : reader->syncs()) {
    for (int type = 0; type < sync::kRecordTypes; ++type) {
      const auto decode = [&](const sync::RecordView& record) {
        text.clear();
        if (!printer.Append(record, &text).ok()) {
          ++report->invalid[std::string(c1z::RecordTypeName(record.type)) + ": the message is not protobuf"];
        }
        return Status();
      };
      VELLUM_TRY(reader->ReadRecords(sync, static_cast<RecordType>(type), c1z::Reader::Invalid::kSkip, decode, report));
    }
  }
  VELLUM_ASSIGN_OR_RETURN(const std::uint64_t orphans, reader->CountOrphans());
  if (orphans > 0) report->invalid["they belong to no sync"] += orphans;
  Status rest = reader->CheckRest();
  *warnings = reader->warnings();
  return reader->syncs().empty() && rest.ok() ? InvalidArgument(file + " holds no sync") : rest;
}

}  // namespace

int C1zVerify(const SyncArguments& arguments) {
  int code = kDone;
  for (const std::string& file : arguments.files) {
    c1z::ReadReport report;
    std::vector<std::string> problems;
    std::vector<std::string> warnings;
    const Status read = VerifyFile(file, arguments, &report, &warnings);
    if (read.code() == Code::kUnimplemented || read.code() == Code::kNotFound) return FailWith(read);
    if (!read.ok()) problems.push_back(read.message());
    const bool sound = problems.empty() && report.invalid.empty();
    std::printf("%s  %s, %llu rows\n", file.c_str(), sound ? "sound" : "damaged", static_cast<unsigned long long>(report.rows));
    for (const std::string& problem : problems) std::printf("  %s\n", problem.c_str());
    const auto print = [](std::uint64_t rows, const std::string& what) {
      std::printf("  %llu rows: %s\n", static_cast<unsigned long long>(rows), what.c_str());
    };
    for (const auto& [reason, rows] : report.invalid) print(rows, reason);
    // Neither is damage: files of real connectors have both.
    for (const auto& [part, rows] : report.disagreeing) print(rows, "columns and message differ: " + part);
    if (report.unstamped > 0) print(report.unstamped, "the stamp is not a time");
    for (const std::string& warning : warnings) std::printf("  %s\n", warning.c_str());
    if (!sound) code = kFound;
  }
  return code;
}

int C1zGrants(const SyncArguments& arguments) {
  GrantPrinter printer(arguments.format);
  for (const std::string& file : arguments.files) {
    const Status printed = [&]() -> Status {
      VELLUM_ASSIGN_OR_RETURN(const auto reader, OpenFile(file, arguments));
      VELLUM_ASSIGN_OR_RETURN(const c1z::FileSync* const chosen, PickSync(*reader, file, arguments.sync));
      c1z::ReadReport report;
      return reader->ReadRecords(*chosen, RecordType::kGrant, InvalidRows(arguments),
                                 [&printer](const sync::RecordView& grant) { return printer.Print(grant); }, &report);
    }();
    if (!printed.ok()) return FailWith(printed);
  }
  return kDone;
}

int C1zMerge(const SyncArguments& arguments) {
  const Status merged = MergeFiles(arguments);
  return merged.ok() ? kDone : FailWith(merged);
}

}  // namespace vellum::cli
