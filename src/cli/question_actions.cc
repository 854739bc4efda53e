#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>

#include "base/bytes.h"
#include "c1z/file_view.h"
#include "cli/answer_printer.h"
#include "cli/sync_actions.h"
#include "service/stores.h"
#include "sync/list.h"
#include "sync/owned_record.h"

/// The verbs that ask: of syncs through the service, of files by reading them.
namespace vellum::cli {
namespace {

namespace fs = std::filesystem;
using nlohmann::ordered_json;
using sync::RecordType;
using sync::RecordView;
using sync::ResourceName;

constexpr int kDone = 0;
constexpr int kFound = 1;
constexpr std::size_t kHitsListed = 20;
constexpr std::size_t kGenerationIdBytes = 27;

/// "TYPE:ID", split at the first colon.
Result<std::optional<ResourceName>> ParseName(const std::string& text, const char* flag) {
  if (text.empty()) return std::optional<ResourceName>();
  const std::size_t colon = text.find(':');
  if (colon == 0 || colon == std::string::npos || colon + 1 == text.size()) {
    return InvalidArgument(std::string(flag) + " takes TYPE:ID, not " + Printable(text));
  }
  return std::optional<ResourceName>(ResourceName{text.substr(0, colon), text.substr(colon + 1)});
}

/// "SYNC", or "SYNC@GENERATION" for one of its history.
struct SyncName {
  std::string id;
  std::optional<sync::GenerationId> generation;
};
SyncName ParseSync(const std::string& text) {
  const std::size_t at = text.rfind('@');
  if (at == std::string::npos || text.size() - at - 1 != kGenerationIdBytes) return {text, std::nullopt};
  return {text.substr(0, at), text.substr(at + 1)};
}

Result<sync::RecordQuery> QueryOf(const QuestionArguments& arguments, RecordType type) {
  sync::RecordQuery query;
  query.type = type;
  query.resource_type = arguments.resource_type;
  query.entitlement = arguments.entitlement;
  query.principal_type = arguments.principal_type;
  query.needs_expansion = arguments.needs_expansion;
  VELLUM_ASSIGN_OR_RETURN(query.resource, ParseName(arguments.resource, "--resource"));
  VELLUM_ASSIGN_OR_RETURN(query.parent, ParseName(arguments.parent, "--parent"));
  VELLUM_ASSIGN_OR_RETURN(query.principal, ParseName(arguments.principal, "--principal"));
  VELLUM_TRY(sync::CheckQuery(query));
  return query;
}

Result<sync::AccessQuestion> AccessQuestionOf(const QuestionArguments& arguments) {
  sync::AccessQuestion question;
  VELLUM_ASSIGN_OR_RETURN(question.principal, ParseName(arguments.principal, "--principal"));
  VELLUM_ASSIGN_OR_RETURN(question.resource, ParseName(arguments.resource, "--resource"));
  question.why = arguments.why;
  question.depth_max = arguments.depth;
  VELLUM_TRY(sync::CheckQuestion(question));
  return question;
}

int ListVerb(const SyncArguments& arguments, const char* name, RecordType type, bool principals) {
  return AskService(arguments, [&](service::SyncService* service) -> Result<int> {
    service::ListRequest request;
    const SyncName sync = ParseSync(arguments.sync);
    request.sync_id = sync.id;
    request.generation = sync.generation;
    VELLUM_ASSIGN_OR_RETURN(request.query, QueryOf(arguments.question, principals ? RecordType::kGrant : type));
    request.page_records = arguments.question.limit;
    request.page_token = arguments.question.page_token;
    RecordLister lister(arguments.format, name, type);
    const service::RecordVisitor visit = [&lister](const RecordView& record) { return lister.Print(record); };
    VELLUM_ASSIGN_OR_RETURN(const auto outcome, principals ? service->ListPrincipals(request, visit)
                                                           : service->ListRecords(request, visit));
    ordered_json always = ordered_json::object();
    ordered_json worth_saying = ordered_json::object();
    (outcome.pending_expansions == 0 ? always : worth_saying)["pending_expansions"] = outcome.pending_expansions;
    (outcome.next_page_token.empty() ? always : worth_saying)["next_page_token"] = outcome.next_page_token;
    lister.answer().Finish(always, worth_saying);
    const bool about_grants = principals || type == RecordType::kGrant;
    if (about_grants) WarnOfPending("sync " + arguments.sync, outcome.pending_expansions);
    const bool rows = arguments.format == Format::kTable || arguments.format == Format::kCsv;
    if (rows && !outcome.next_page_token.empty()) {
      std::fprintf(stderr, "vellum: there are more: --page-token %s\n", outcome.next_page_token.c_str());
    }
    return kDone;
  });
}

/// One record, alone: its fields under each other, or its object.
Status PrintOne(const RecordView& record, Format format) {
  c1z::RecordPrinter printer;
  std::string text;
  VELLUM_TRY(printer.Append(record, &text));
  if (format == Format::kJson || format == Format::kJsonl) {
    std::printf("%s\n", text.c_str());
    return {};
  }
  RowPrinter rows(format, {{"field"}, {"value"}});
  rows.Row({"record_type", std::string(c1z::RecordTypeName(record.type))});
  const ordered_json object = ordered_json::parse(text, nullptr, /*allow_exceptions=*/false);
  for (const auto& [name, value] : object.items()) {
    rows.Row({name, value.is_string() ? value.get<std::string>() : JsonText(value)});
  }
  return {};
}

Result<RecordType> ParseRecordType(const std::string& text) {
  for (int type = 0; type < sync::kRecordTypes; ++type) {
    std::string name(c1z::RecordTypeName(static_cast<RecordType>(type)));
    std::replace(name.begin(), name.end(), '_', '-');
    if (name == text) return static_cast<RecordType>(type);
  }
  return InvalidArgument("there are no records of type " + Printable(text) +
                         ": resource-type, resource, entitlement, grant, asset");
}

Status WriteBytes(const RecordView& record, const SyncArguments& arguments) {
  if (record.type != RecordType::kAsset) return InvalidArgument("--out writes the bytes of an asset, nothing else");
  if (!arguments.force && fs::exists(arguments.out)) {
    return FailedPrecondition(arguments.out + " exists already: --force replaces it");
  }
  std::ofstream file(arguments.out, std::ios::binary | std::ios::trunc);
  file.write(record.data.data(), static_cast<std::streamsize>(record.data.size()));
  file.close();
  if (!file) return Internal("cannot write " + arguments.out + ": " + std::strerror(errno));
  std::printf("%s  %zu bytes%s%s\n", arguments.out.c_str(), record.data.size(), record.content_type.empty() ? "" : ", ",
              std::string(record.content_type).c_str());
  return {};
}

/// One side of a difference: a file, "FILE#SYNC", or a sync.
service::DiffSide ParseSide(const std::string& text) {
  service::DiffSide side;
  const std::size_t hash = text.rfind('#');
  if (fs::is_regular_file(text) || text.ends_with(".c1z")) {
    side.file = text;
  } else if (hash != std::string::npos && fs::is_regular_file(text.substr(0, hash))) {
    side.file = text.substr(0, hash);
    side.sync_id = text.substr(hash + 1);
  } else {
    SyncName sync = ParseSync(text);
    side.sync_id = std::move(sync.id);
    side.generation = std::move(sync.generation);
  }
  return side;
}

Result<c1z::ImportOptions> FileOptionsOf(const SyncArguments& arguments) {
  c1z::ImportOptions options;
  VELLUM_ASSIGN_OR_RETURN(options.open.zone, c1z::Zone::Parse(arguments.zone));
  options.skip_invalid = arguments.skip_invalid;
  return options;
}

void WarnOfSkipped(const std::string& file, const c1z::ReadReport& report) {
  for (const auto& [reason, count] : report.invalid) {
    std::fprintf(stderr, "vellum: %s: %llu rows skipped: %s\n", file.c_str(), static_cast<unsigned long long>(count),
                 reason.c_str());
  }
}

Result<c1z::FileView> ReadSide(const service::DiffSide& side, const c1z::ImportOptions& file_options,
                               const std::string& scratch) {
  c1z::ImportOptions options = file_options;
  if (!side.sync_id.empty()) options.only.push_back(side.sync_id);
  Progress progress("reading " + fs::path(side.file).filename().string());
  VELLUM_ASSIGN_OR_RETURN(c1z::FileView file, c1z::ReadSync(side.file, options, scratch, progress.work()));
  WarnOfSkipped(side.file, file.report);
  return file;
}

Status AskFiles(const SyncArguments& arguments) {
  VELLUM_ASSIGN_OR_RETURN(const sync::AccessQuestion question, AccessQuestionOf(arguments.question));
  VELLUM_ASSIGN_OR_RETURN(c1z::ImportOptions options, FileOptionsOf(arguments));
  if (!arguments.sync.empty()) options.only.push_back(arguments.sync);
  AccessLister lister(arguments.format, question);
  sync::AccessSummary all;
  for (const std::string& file : arguments.files) {
    VELLUM_ASSIGN_OR_RETURN(const auto scratch, service::ScratchDirectory::Make());
    Progress progress("reading " + fs::path(file).filename().string());
    VELLUM_ASSIGN_OR_RETURN(const sync::AccessSummary summary,
                            c1z::AskFile(file, options, scratch->path(), question,
                                         [&lister](const sync::AccessRow& row) { return lister.Print(row); },
                                         progress.work()));
    all.rows += summary.rows;
    all.pending_expansions += summary.pending_expansions;
    WarnOfPending(file, summary.pending_expansions);
  }
  lister.Finish(all);
  return {};
}

Result<sync::DiffSummary> DiffFiles(const SyncArguments& arguments, DiffLister* lister) {
  VELLUM_ASSIGN_OR_RETURN(const c1z::ImportOptions options, FileOptionsOf(arguments));
  std::vector<std::shared_ptr<const sync::ReadView>> views;
  for (const std::string& text : arguments.files) {
    VELLUM_ASSIGN_OR_RETURN(const auto scratch, service::ScratchDirectory::Make());
    service::DiffSide side = ParseSide(text);
    if (side.file.empty()) side.file = text;  // its error says what is wrong
    VELLUM_ASSIGN_OR_RETURN(const c1z::FileView file, ReadSide(side, options, scratch->path()));
    views.push_back(file.view);
  }
  sync::DiffOptions diff;
  diff.stamps = arguments.question.stamps;
  Progress progress("comparing");
  sync::DiffVisitor visit;
  if (!arguments.question.summary) visit = [lister](const sync::DiffRow& row) { return lister->Print(row); };
  return sync::DiffViews(*views[0], *views[1], diff, visit, progress.work());
}

}  // namespace

Result<sync::RecordQuery> GrantQueryOf(const SyncArguments& arguments) {
  return QueryOf(arguments.question, RecordType::kGrant);
}

int SyncResourceTypes(const SyncArguments& arguments) {
  return ListVerb(arguments, "resource_types", RecordType::kResourceType, /*principals=*/false);
}
int SyncResources(const SyncArguments& arguments) {
  return ListVerb(arguments, "resources", RecordType::kResource, /*principals=*/false);
}
int SyncEntitlements(const SyncArguments& arguments) {
  return ListVerb(arguments, "entitlements", RecordType::kEntitlement, /*principals=*/false);
}
int SyncGrants(const SyncArguments& arguments) {
  return ListVerb(arguments, "grants", RecordType::kGrant, /*principals=*/false);
}
int SyncPrincipals(const SyncArguments& arguments) {
  return ListVerb(arguments, "principals", RecordType::kResource, /*principals=*/true);
}
int SyncAssets(const SyncArguments& arguments) {
  return ListVerb(arguments, "assets", RecordType::kAsset, /*principals=*/false);
}

int SyncGet(const SyncArguments& arguments) {
  return AskService(arguments, [&](service::SyncService* service) -> Result<int> {
    service::FindRequest request;
    const SyncName sync = ParseSync(arguments.sync);
    request.sync_id = sync.id;
    request.generation = sync.generation;
    request.id = arguments.question.id;
    VELLUM_ASSIGN_OR_RETURN(request.type, ParseRecordType(arguments.question.record_type));
    // How many there are decides whether the first is printed: it is kept as bytes until then.
    std::vector<std::string> hits;
    std::uint64_t count = 0;
    sync::OwnedRecord first;
    VELLUM_ASSIGN_OR_RETURN(const auto resource, ParseName(arguments.question.resource, "--resource"));
    VELLUM_TRY(service->FindRecords(request, [&](const RecordView& record) -> Status {
      if (resource && (record.type_id != resource->type || record.resource_id != resource->id)) return {};
      if (++count == 1) first = sync::OwnedRecord(record);
      if (hits.size() < kHitsListed) hits.push_back(c1z::RecordId(record).dump(-1, ' ', false, nlohmann::json::error_handler_t::replace));
      return {};
    }));
    if (count == 0) return NotFound("sync " + arguments.sync + " has nothing of that name on " + arguments.question.resource);
    if (count > 1) {
      std::string text = "sync " + arguments.sync + " has " + std::to_string(count) + " records of type " +
                         arguments.question.record_type + " that " + Printable(request.id, 256) + " may mean (--resource picks one):";
      for (const std::string& hit : hits) text += "\n  " + hit;
      if (count > hits.size()) text += "\n  and " + std::to_string(count - hits.size()) + " more";
      return FailedPrecondition(text);
    }
    if (!arguments.out.empty()) {
      VELLUM_TRY(WriteBytes(first.view(), arguments));
      return kDone;
    }
    VELLUM_TRY(PrintOne(first.view(), arguments.format));
    return kDone;
  });
}

int SyncAccess(const SyncArguments& arguments) {
  return AskService(arguments, [&](service::SyncService* service) -> Result<int> {
    service::AccessRequest request;
    const SyncName sync = ParseSync(arguments.sync);
    request.sync_id = sync.id;
    request.generation = sync.generation;
    VELLUM_ASSIGN_OR_RETURN(request.question, AccessQuestionOf(arguments.question));
    AccessLister lister(arguments.format, request.question);
    VELLUM_ASSIGN_OR_RETURN(const auto summary,
                            service->Access(request, [&](const sync::AccessRow& row) { return lister.Print(row); }));
    lister.Finish(summary);
    WarnOfPending("sync " + arguments.sync, summary.pending_expansions);
    return kDone;
  });
}

int SyncDiff(const SyncArguments& arguments) {
  return AskService(arguments, [&](service::SyncService* service) -> Result<int> {
    service::DiffRequest request;
    request.from = ParseSide(arguments.syncs[0]);
    request.to = ParseSide(arguments.syncs[1]);
    request.stamps = arguments.question.stamps;
    request.summary_only = arguments.question.summary;
    VELLUM_ASSIGN_OR_RETURN(request.file_options, FileOptionsOf(arguments));
    DiffLister lister(arguments.format, request.summary_only);
    Progress progress("comparing");
    VELLUM_ASSIGN_OR_RETURN(const auto summary,
                            service->Diff(request, [&](const sync::DiffRow& row) { return lister.Print(row); },
                                          progress.work()));
    lister.Finish(summary);
    return summary.differ() ? kFound : kDone;
  });
}

int C1zAccess(const SyncArguments& arguments) {
  const Status asked = AskFiles(arguments);
  return asked.ok() ? kDone : FailWith(asked);
}

int C1zDiff(const SyncArguments& arguments) {
  DiffLister lister(arguments.format, arguments.question.summary);
  const auto summary = DiffFiles(arguments, &lister);
  if (!summary.ok()) return FailWith(summary.error());
  lister.Finish(*summary);
  return summary->differ() ? kFound : kDone;
}

}  // namespace vellum::cli
