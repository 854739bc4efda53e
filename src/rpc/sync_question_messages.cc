#include "rpc/sync_question_messages.h"

#include <algorithm>

namespace vellum::rpc {
namespace {

void FillName(const sync::ResourceName& name, v1::ResourceName* message) {
  message->set_type(name.type);
  message->set_id(name.id);
}

sync::ResourceName TakeName(const v1::ResourceName& message) { return {message.type(), message.id()}; }

Result<sync::RecordType> TakeType(v1::Record::Type type) {
  if (type < 0 || type >= sync::kRecordTypes) return InvalidArgument("there is no record type " + std::to_string(type));
  return static_cast<sync::RecordType>(type);
}

void FillSide(const service::DiffSide& side, v1::DiffSide* message) {
  message->set_sync_id(side.sync_id);
  if (side.generation) message->set_generation(*side.generation);
  message->set_file(side.file);
}

service::DiffSide TakeSide(const v1::DiffSide& message) {
  service::DiffSide side;
  side.sync_id = message.sync_id();
  if (!message.generation().empty()) side.generation = message.generation();
  side.file = message.file();
  return side;
}

}  // namespace

void FillList(const service::ListRequest& request, v1::ListRecordsRequest* message) {
  message->set_sync_id(request.sync_id);
  if (request.generation) message->set_generation(*request.generation);
  const sync::RecordQuery& query = request.query;
  v1::RecordQuery* const filters = message->mutable_query();
  filters->set_type(static_cast<v1::Record::Type>(query.type));
  filters->set_resource_type(query.resource_type);
  if (query.resource) FillName(*query.resource, filters->mutable_resource());
  if (query.parent) FillName(*query.parent, filters->mutable_parent());
  filters->set_entitlement(query.entitlement);
  if (query.principal) FillName(*query.principal, filters->mutable_principal());
  filters->set_principal_type(query.principal_type);
  filters->set_needs_expansion(query.needs_expansion);
  message->set_page_records(request.page_records);
  message->set_page_token(request.page_token);
}

Result<service::ListRequest> TakeList(const v1::ListRecordsRequest& message) {
  service::ListRequest request;
  request.sync_id = message.sync_id();
  if (!message.generation().empty()) request.generation = message.generation();
  const v1::RecordQuery& filters = message.query();
  VELLUM_ASSIGN_OR_RETURN(request.query.type, TakeType(filters.type()));
  request.query.resource_type = filters.resource_type();
  if (filters.has_resource()) request.query.resource = TakeName(filters.resource());
  if (filters.has_parent()) request.query.parent = TakeName(filters.parent());
  request.query.entitlement = filters.entitlement();
  if (filters.has_principal()) request.query.principal = TakeName(filters.principal());
  request.query.principal_type = filters.principal_type();
  request.query.needs_expansion = filters.needs_expansion();
  request.page_records = message.page_records();
  request.page_token = message.page_token();
  return request;
}

Result<service::FindRequest> TakeFind(const v1::FindRecordsRequest& message) {
  service::FindRequest request;
  request.sync_id = message.sync_id();
  VELLUM_ASSIGN_OR_RETURN(request.type, TakeType(message.type()));
  request.id = message.id();
  if (!message.generation().empty()) request.generation = message.generation();
  return request;
}

void FillFind(const service::FindRequest& request, v1::FindRecordsRequest* message) {
  message->set_sync_id(request.sync_id);
  if (request.generation) message->set_generation(*request.generation);
  message->set_type(static_cast<v1::Record::Type>(request.type));
  message->set_id(request.id);
}

void FillAccess(const service::AccessRequest& request, v1::AccessRequest* message) {
  message->set_sync_id(request.sync_id);
  if (request.generation) message->set_generation(*request.generation);
  if (request.question.principal) FillName(*request.question.principal, message->mutable_principal());
  if (request.question.resource) FillName(*request.question.resource, message->mutable_resource());
  message->set_why(request.question.why);
  message->set_depth_max(request.question.depth_max);
}

service::AccessRequest TakeAccess(const v1::AccessRequest& message) {
  service::AccessRequest request;
  request.sync_id = message.sync_id();
  if (!message.generation().empty()) request.generation = message.generation();
  if (message.has_principal()) request.question.principal = TakeName(message.principal());
  if (message.has_resource()) request.question.resource = TakeName(message.resource());
  request.question.why = message.why();
  if (message.depth_max() != 0) request.question.depth_max = message.depth_max();
  return request;
}

void FillAccessRow(const sync::AccessRow& row, v1::AccessRow* message) {
  FillName(row.resource, message->mutable_resource());
  message->set_resource_name(row.resource_name);
  message->set_entitlement(row.entitlement);
  message->set_entitlement_name(row.entitlement_name);
  FillName(row.principal, message->mutable_principal());
  message->set_principal_name(row.principal_name);
  message->set_direct(row.direct);
  for (const sync::AccessRow::Chain& chain : row.chains) {
    auto* const filled = message->add_chains();
    filled->set_end(static_cast<v1::AccessRow::Chain::End>(chain.end));
    for (const sync::AccessRow::Step& step : chain.steps) {
      auto* const each = filled->add_steps();
      each->set_entitlement(step.entitlement);
      FillName(step.resource, each->mutable_resource());
      each->set_direct(step.direct);
    }
  }
  message->set_chains_cut(row.chains_cut);
}

sync::AccessRow TakeAccessRow(const v1::AccessRow& message) {
  sync::AccessRow row;
  row.resource = TakeName(message.resource());
  row.resource_name = message.resource_name();
  row.entitlement = message.entitlement();
  row.entitlement_name = message.entitlement_name();
  row.principal = TakeName(message.principal());
  row.principal_name = message.principal_name();
  row.direct = message.direct();
  for (const auto& chain : message.chains()) {
    sync::AccessRow::Chain& taken = row.chains.emplace_back();
    const bool known = chain.end() >= v1::AccessRow::Chain::COMPLETE && chain.end() <= v1::AccessRow::Chain::UNKNOWN;
    taken.end = known ? static_cast<sync::AccessRow::Chain::End>(chain.end()) : sync::AccessRow::Chain::End::kUnknown;
    for (const auto& step : chain.steps()) {
      taken.steps.push_back({step.entitlement(), TakeName(step.resource()), step.direct()});
    }
  }
  row.chains_cut = message.chains_cut();
  return row;
}

void FillDiff(const service::DiffRequest& request, v1::DiffRequest::Start* message) {
  FillSide(request.from, message->mutable_from());
  FillSide(request.to, message->mutable_to());
  message->set_stamps(request.stamps);
  message->set_summary_only(request.summary_only);
  FillFileOptions(request.file_options, message->mutable_file_options());
}

Result<service::DiffRequest> TakeDiff(const v1::DiffRequest::Start& message) {
  service::DiffRequest request;
  request.from = TakeSide(message.from());
  request.to = TakeSide(message.to());
  request.stamps = message.stamps();
  request.summary_only = message.summary_only();
  VELLUM_ASSIGN_OR_RETURN(request.file_options, TakeFileOptions(message.file_options()));
  return request;
}

void FillDiffRow(const sync::DiffRow& row, v1::DiffRow* message) {
  message->set_change(static_cast<v1::DiffRow::Change>(row.change));
  if (row.before != nullptr) FillRecord(*row.before, message->mutable_before());
  if (row.after != nullptr) FillRecord(*row.after, message->mutable_after());
}

Status VisitDiffRow(const v1::DiffRow& message, const service::DiffVisitor& visit) {
  if (!v1::DiffRow::Change_IsValid(message.change())) return Internal("the server sent a difference of an unknown kind");
  sync::DiffRow row;
  row.change = static_cast<sync::Change>(message.change());
  sync::RecordView before;
  sync::RecordView after;
  if (message.has_before()) {
    VELLUM_ASSIGN_OR_RETURN(before, ViewRecord(message.before()));
    row.before = &before;
  }
  if (message.has_after()) {
    VELLUM_ASSIGN_OR_RETURN(after, ViewRecord(message.after()));
    row.after = &after;
  }
  const bool complete = (row.change == sync::Change::kAdded || row.before != nullptr) &&
                        (row.change == sync::Change::kRemoved || row.after != nullptr);
  return complete ? visit(row) : Internal("the server sent a difference that lacks a side");
}

void FillDiffSummary(const sync::DiffSummary& summary, v1::DiffResponse::Summary* message) {
  for (const auto& counts : summary.counts) {
    auto* const each = message->add_counts();
    each->set_added(counts.added);
    each->set_removed(counts.removed);
    each->set_changed(counts.changed);
  }
  message->set_files_skipped(summary.files_skipped);
}

sync::DiffSummary TakeDiffSummary(const v1::DiffResponse::Summary& message) {
  sync::DiffSummary summary;
  for (int i = 0; i < std::min(message.counts_size(), sync::kRecordTypes); ++i) {
    summary.counts[static_cast<std::size_t>(i)] = {message.counts(i).added(), message.counts(i).removed(),
                                                   message.counts(i).changed()};
  }
  summary.files_skipped = message.files_skipped();
  return summary;
}

}  // namespace vellum::rpc
