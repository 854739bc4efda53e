#include "cli/answer_printer.h"

#include <cstdio>
#include <nlohmann/json.hpp>

#include "cli/output.h"
#include "sync/buckets.h"
#include "sync/messages.h"
#include "sync/stamp_text.h"

namespace vellum::cli {
namespace {

using nlohmann::ordered_json;
using sync::AccessRow;
using sync::RecordType;
using sync::RecordView;
using sync::ResourceName;

std::string TimeText(sync::Stamp stamp) { return stamp == 0 ? "" : sync::FormatRfc3339(stamp); }

std::vector<RowPrinter::Column> ColumnsOf(RecordType type) {
  switch (type) {
    case RecordType::kResourceType: return {{"id"}, {"display_name"}, {"discovered_at"}};
    case RecordType::kResource:
      return {{"type"}, {"id"}, {"display_name"}, {"parent_type"}, {"parent"}, {"discovered_at"}};
    case RecordType::kEntitlement: return {{"resource_type"}, {"resource"}, {"id"}, {"display_name"}, {"discovered_at"}};
    case RecordType::kGrant:
      return {{"id"},        {"resource_type"}, {"resource"}, {"entitlement"}, {"principal_type"},
              {"principal"}, {"discovered_at"}};
    case RecordType::kAsset: return {{"id"}, {"content_type"}, {"bytes", true}, {"discovered_at"}};
  }
  return {};
}

std::vector<std::string> CellsOf(const RecordView& record) {
  const std::string name(sync::ReadDisplayName(record.type, record.data));
  const std::string id(record.id);
  const std::string type(record.type_id);
  const std::string resource(record.resource_id);
  const std::string seen = TimeText(record.discovered_at);
  switch (record.type) {
    case RecordType::kResourceType: return {id, name, seen};
    case RecordType::kResource: return {type, id, name, std::string(record.parent_type_id), std::string(record.parent_id), seen};
    case RecordType::kEntitlement: return {type, resource, id, name, seen};
    case RecordType::kGrant:
      return {id, type, resource, std::string(record.entitlement_id), std::string(record.principal_type_id),
              std::string(record.principal_id), seen};
    case RecordType::kAsset: return {id, std::string(record.content_type), std::to_string(record.data.size()), seen};
  }
  return {};
}

ordered_json NameJson(const ResourceName& name) { return {{"type", name.type}, {"id", name.id}}; }

std::string_view EndText(AccessRow::Chain::End end) {
  switch (end) {
    case AccessRow::Chain::End::kComplete: return "complete";
    case AccessRow::Chain::End::kCycle: return "cycle";
    case AccessRow::Chain::End::kTooDeep: return "too_deep";
    case AccessRow::Chain::End::kUnknown: return "unknown";
  }
  return "unknown";
}

ordered_json ChainsJson(const AccessRow& row) {
  ordered_json chains = ordered_json::array();
  for (const AccessRow::Chain& chain : row.chains) {
    ordered_json steps = ordered_json::array();
    for (const AccessRow::Step& step : chain.steps) {
      ordered_json each = {{"entitlement", step.entitlement}};
      if (!step.resource.id.empty()) each["resource"] = NameJson(step.resource);
      each["direct"] = step.direct;
      steps.push_back(std::move(each));
    }
    chains.push_back({{"steps", std::move(steps)}, {"end", EndText(chain.end)}});
  }
  return chains;
}

/// "via a:member < b:member (direct)", one after the other.
std::string ChainsText(const AccessRow& row) {
  std::string text = row.direct ? "direct" : "";
  for (const AccessRow::Chain& chain : row.chains) {
    text += text.empty() ? "" : "; ";
    for (std::size_t i = 0; i < chain.steps.size(); ++i) {
      const AccessRow::Step& step = chain.steps[i];
      text += i == 0 ? "via " : " < ";
      text += step.entitlement;
      // An id that does not say where it belongs.
      const std::string resource = step.resource.type + ":" + step.resource.id;
      if (!step.resource.id.empty() && !step.entitlement.starts_with(resource)) text += " of " + resource;
    }
    if (chain.end != AccessRow::Chain::End::kComplete) text += " (" + std::string(EndText(chain.end)) + ")";
  }
  return text + (row.chains_cut ? "; and more" : "");
}

std::vector<RowPrinter::Column> AccessColumns(const sync::AccessQuestion& question) {
  std::vector<RowPrinter::Column> columns;
  if (question.principal) {
    columns = {{"resource_type"}, {"resource"}, {"resource_name"}, {"entitlement"}, {"entitlement_name"}, {"direct"}};
  } else {
    columns = {{"principal_type"}, {"principal"}, {"principal_name"}, {"entitlement"}, {"entitlement_name"}, {"direct"}};
  }
  if (question.why) columns.push_back({"why"});
  return columns;
}

std::string_view ChangeText(sync::Change change) {
  switch (change) {
    case sync::Change::kAdded: return "added";
    case sync::Change::kRemoved: return "removed";
    case sync::Change::kChanged: return "changed";
  }
  return "changed";
}

std::string BucketName(int type) {
  return std::string(sync::FindBucket(static_cast<std::uint8_t>(sync::RecordBucket(static_cast<RecordType>(type))))->name);
}

}  // namespace

std::string JsonText(const ordered_json& json) { return json.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace); }

std::string IdentityText(const RecordView& record) {
  std::string text;
  const auto add = [&text](std::string_view part) { text.append(text.empty() ? "" : ":").append(part); };
  switch (record.type) {
    case RecordType::kResource:
      add(record.type_id);
      add(record.id);
      break;
    case RecordType::kEntitlement:
    case RecordType::kGrant: {
      const bool grant = record.type == RecordType::kGrant;
      const std::string_view entitlement = grant ? record.entitlement_id : record.id;
      const std::string resource = std::string(record.type_id) + ":" + std::string(record.resource_id);
      if (!entitlement.starts_with(resource + ":")) add(resource);
      add(entitlement);
      if (!grant) break;
      add(record.principal_type_id);
      add(record.principal_id);
      break;
    }
    default: add(record.id); break;
  }
  return PlainText(text);
}

void WarnOfPending(const std::string& what, std::uint64_t pending) {
  if (pending == 0) return;
  std::fprintf(stderr, "vellum: %s: %llu grants wait for expansion; this is answered from the grants that are stored\n",
               what.c_str(), static_cast<unsigned long long>(pending));
}

AnswerPrinter::AnswerPrinter(Format format, std::string name, std::vector<RowPrinter::Column> columns)
    : format_(format), name_(std::move(name)), columns_(std::move(columns)) {}

AnswerPrinter::~AnswerPrinter() { Flush(); }

void AnswerPrinter::Flush() {
  std::fwrite(text_.data(), 1, text_.size(), stdout);
  text_.clear();
}

void AnswerPrinter::Row(std::vector<std::string> cells) {
  if (!rows_) rows_ = std::make_unique<RowPrinter>(format_, columns_);
  rows_->Row(std::move(cells));
}

void AnswerPrinter::Object(std::string_view object) {
  if (format_ == Format::kJson) text_ += any_ ? ",\n" : "{\"" + name_ + "\": [\n";
  text_ += object;
  if (format_ == Format::kJsonl) text_ += '\n';
  any_ = true;
  if (text_.size() >= kFlushBytes) Flush();
}

void AnswerPrinter::Finish(const ordered_json& always, const ordered_json& worth_saying) {
  if (!takes_objects()) {
    if (!rows_) rows_ = std::make_unique<RowPrinter>(format_, columns_);  // the titles alone
    return;
  }
  if (format_ == Format::kJsonl) {
    if (!worth_saying.empty()) text_ += JsonText(worth_saying) + "\n";
  } else {
    text_ += any_ ? "\n]" : "{\"" + name_ + "\": []";
    for (const ordered_json* members : {&always, &worth_saying}) {
      for (const auto& [member, value] : members->items()) text_ += ",\n\"" + member + "\": " + JsonText(value);
    }
    text_ += "}\n";
  }
  Flush();
}

RecordLister::RecordLister(Format format, std::string name, RecordType type)
    : answer_(format, std::move(name), ColumnsOf(type)) {}

Status RecordLister::Print(const RecordView& record) {
  if (!answer_.takes_objects()) {
    answer_.Row(CellsOf(record));
    return {};
  }
  object_.clear();
  if (Status printed = printer_.Append(record, &object_); !printed.ok()) {
    return std::move(printed).WithContext(std::string(c1z::RecordTypeName(record.type)) + " " + IdentityText(record));
  }
  answer_.Object(object_);
  return {};
}

AccessLister::AccessLister(Format format, const sync::AccessQuestion& question)
    : why_(question.why), by_principal_(question.principal.has_value()), answer_(format, "access", AccessColumns(question)) {}

Status AccessLister::Print(const AccessRow& row) {
  if (!answer_.takes_objects()) {
    std::vector<std::string> cells = by_principal_
        ? std::vector<std::string>{row.resource.type, row.resource.id, row.resource_name}
        : std::vector<std::string>{row.principal.type, row.principal.id, row.principal_name};
    cells.insert(cells.end(), {row.entitlement, row.entitlement_name, row.direct ? "yes" : "no"});
    if (why_) cells.push_back(ChainsText(row));
    answer_.Row(std::move(cells));
    return {};
  }
  ordered_json object = {{"resource", NameJson(row.resource)}};
  if (!row.resource_name.empty()) object["resource_name"] = row.resource_name;
  object["entitlement"] = row.entitlement;
  if (!row.entitlement_name.empty()) object["entitlement_name"] = row.entitlement_name;
  object["principal"] = NameJson(row.principal);
  if (!row.principal_name.empty()) object["principal_name"] = row.principal_name;
  object["direct"] = row.direct;
  if (why_) object["chains"] = ChainsJson(row);
  if (row.chains_cut) object["chains_cut"] = true;
  answer_.Object(JsonText(object));
  return {};
}

void AccessLister::Finish(const sync::AccessSummary& summary) {
  const ordered_json pending = {{"pending_expansions", summary.pending_expansions}};
  if (summary.pending_expansions == 0) {
    answer_.Finish(pending, ordered_json::object());
  } else {
    answer_.Finish(ordered_json::object(), pending);
  }
}

DiffLister::DiffLister(Format format, bool summary_only)
    : summary_only_(summary_only),
      answer_(format, summary_only ? "summary" : "differences",
              summary_only ? std::vector<RowPrinter::Column>{{"record_type"}, {"added", true}, {"removed", true}, {"changed", true}}
                           : std::vector<RowPrinter::Column>{{"change"}, {"record_type"}, {"id"}}) {}

Status DiffLister::Print(const sync::DiffRow& row) {
  const RecordView& shown = row.after != nullptr ? *row.after : *row.before;
  const std::string_view type = c1z::RecordTypeName(shown.type);
  if (!answer_.takes_objects()) {
    answer_.Row({std::string(ChangeText(row.change)), std::string(type), IdentityText(shown)});
    return {};
  }
  object_ = "{\"change\":\"" + std::string(ChangeText(row.change)) + "\",\"record_type\":\"" + std::string(type) + "\"";
  for (const auto& [name, record] : {std::pair("before", row.before), std::pair("after", row.after)}) {
    if (record == nullptr) continue;
    object_ += ",\"" + std::string(name) + "\":";
    VELLUM_TRY(printer_.Append(*record, &object_));
  }
  object_ += "}";
  answer_.Object(object_);
  return {};
}

void DiffLister::Finish(const sync::DiffSummary& summary) {
  ordered_json counts = ordered_json::object();
  for (int type = 0; type < sync::kRecordTypes; ++type) {
    const sync::DiffSummary::Counts& each = summary.counts[static_cast<std::size_t>(type)];
    const ordered_json numbers = {{"added", each.added}, {"removed", each.removed}, {"changed", each.changed}};
    if (!summary_only_) {
      counts[BucketName(type)] = numbers;
    } else if (answer_.takes_objects()) {
      ordered_json row = {{"record_type", BucketName(type)}};
      row.update(numbers);
      answer_.Object(JsonText(row));
    } else {
      answer_.Row({BucketName(type), std::to_string(each.added), std::to_string(each.removed), std::to_string(each.changed)});
    }
  }
  ordered_json always = {{"differ", summary.differ()}, {"files_skipped", summary.files_skipped}};
  if (!summary_only_) always["summary"] = std::move(counts);
  answer_.Finish(always, ordered_json::object());
}

}  // namespace vellum::cli
