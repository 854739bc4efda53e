#include <cstdio>
#include <filesystem>
#include <nlohmann/json.hpp>

#include "base/bytes.h"
#include "c1z/merge_files.h"
#include "c1z/record_json.h"
#include "c1z/transfer.h"
#include "c1z/v3/header.h"
#include "cli/answer_printer.h"
#include "cli/output.h"
#include "cli/sync_actions.h"
#include "service/stores.h"
#include "sync/codec.h"
#include "sync/list.h"
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
c1z::FileInput ParseInput(const std::string& text) {
  const std::size_t hash = text.rfind('#');
  if (hash == std::string::npos || fs::exists(text)) return {text, ""};
  return {text.substr(0, hash), text.substr(hash + 1)};
}

/// Edits the first file's database if that is possible, else goes through a store of its own, and says which.
Result<c1z::MergeFilesReport> MergeInputs(const std::vector<c1z::FileInput>& inputs, const std::string& out,
                                          c1z::MergeFilesOptions options, const sync::Work& work, std::string* how) {
  const std::string beside = fs::path(out).parent_path().string();
  options.open.scratch_dir = beside.empty() ? "." : beside;
  std::string why_not;
  VELLUM_ASSIGN_OR_RETURN(const auto edited, c1z::MergeByEditing(inputs, out, options, work, &why_not));
  if (edited) {
    *how = "the first file edited";
    return *edited;
  }
  *how = "all files imported (" + why_not + ")";
  VELLUM_ASSIGN_OR_RETURN(const auto scratch, service::ScratchStore::MakeBeside(beside));
  options.open.scratch_dir = scratch->store()->options().data_dir;
  return c1z::MergeByStore(scratch->store(), inputs, out, options, work);
}

Status MergeFiles(const SyncArguments& arguments) {
  VELLUM_TRY(c1z::CheckTarget(arguments.out, c1z::WriteOptions::IfExists::kReplace));
  if (!arguments.force && fs::exists(arguments.out)) {
    return FailedPrecondition(arguments.out + " exists already: --force replaces it");
  }
  std::vector<c1z::FileInput> inputs;
  for (const std::string& file : arguments.files) inputs.push_back(ParseInput(file));
  c1z::MergeFilesOptions options;
  VELLUM_ASSIGN_OR_RETURN(options.open.zone, c1z::Zone::Parse(arguments.zone));
  options.write.zone = options.open.zone;
  options.write.if_exists = arguments.force ? c1z::WriteOptions::IfExists::kReplace : c1z::WriteOptions::IfExists::kRefuse;
  options.ties = arguments.ties == "last" ? sync::Ties::kLast : sync::Ties::kFirst;
  options.skip_invalid = arguments.skip_invalid;
  options.merged_id = sync::NewKsuid(SystemClock());
  Progress progress("merging");
  std::string how;
  VELLUM_ASSIGN_OR_RETURN(const auto report, MergeInputs(inputs, arguments.out, options, progress.work(), &how));
  for (const auto& [file, reasons] : report.skipped) {
    for (const auto& [reason, count] : reasons) {
      std::fprintf(stderr, "vellum: %s: %llu rows skipped: %s\n", file.c_str(), static_cast<unsigned long long>(count),
                   reason.c_str());
    }
  }
  std::printf("%s  sync %s, %llu records from %zu files, %s, %s, %.2f s\n", arguments.out.c_str(), options.merged_id.c_str(),
              static_cast<unsigned long long>(report.records), arguments.files.size(),
              Bytes(static_cast<std::int64_t>(report.bytes)).c_str(), how.c_str(), progress.seconds());
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
  const auto query = GrantQueryOf(arguments);
  if (!query.ok()) return FailWith(query.error());
  GrantPrinter printer(arguments.format);
  for (const std::string& file : arguments.files) {
    const Status printed = [&]() -> Status {
      VELLUM_ASSIGN_OR_RETURN(const auto reader, OpenFile(file, arguments));
      VELLUM_ASSIGN_OR_RETURN(const c1z::FileSync* const chosen, c1z::PickSync(*reader, {file, arguments.sync}));
      c1z::ReadReport report;
      std::uint64_t pending = 0;
      VELLUM_TRY(reader->ReadRecords(*chosen, RecordType::kGrant, InvalidRows(arguments),
                                     [&](const sync::RecordView& grant) {
                                       if (grant.needs_expansion) ++pending;
                                       return sync::Matches(*query, grant) ? printer.Print(grant) : Status();
                                     },
                                     &report));
      WarnOfPending(file, pending);
      return {};
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
