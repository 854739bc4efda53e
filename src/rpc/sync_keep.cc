#include "rpc/sync_methods.h"

namespace vellum::rpc {
namespace {

/// What deletes or merges syncs of a connector does not do so for a request that names none.
template <typename Request>
Status CheckConnector(const Request& request) {
  if (request.has_connector()) return {};
  return InvalidArgument("connector is missing; an empty one stands for the syncs that belong to none");
}

}  // namespace

Status ServeRepair(const SyncMethodContext& context) {
  v1::RepairRequest request;
  VELLUM_TRY(context.call->ReadOnly(&request));
  VELLUM_ASSIGN_OR_RETURN(const auto report,
                          context.service->Repair(request.sync_id(), context.call->FollowAs<v1::RepairResponse>()));
  v1::RepairResponse response;
  response.mutable_report()->set_records(report.records);
  response.mutable_report()->set_entries_wrong(report.entries_wrong);
  response.mutable_report()->set_changed(report.changed);
  response.mutable_report()->set_why(report.why);
  return context.call->Write(response);
}

Status ServeRetain(const SyncMethodContext& context) {
  v1::RetainRequest message;
  VELLUM_TRY(context.call->ReadOnly(&message));
  VELLUM_TRY(CheckConnector(message));
  service::RetainRequest request;
  request.connector = message.connector();
  request.dry_run = message.dry_run();
  if (message.has_keep()) request.keep = message.keep();
  if (message.has_open_keep_seconds()) request.open_keep_s = message.open_keep_seconds();
  VELLUM_ASSIGN_OR_RETURN(const auto report,
                          context.service->Retain(request, context.call->FollowAs<v1::RetainResponse>()));
  for (const service::RetainReport::Gone& gone : report.gone) {
    v1::RetainResponse response;
    response.mutable_gone()->set_sync_id(gone.sync_id);
    response.mutable_gone()->set_type(gone.type);
    response.mutable_gone()->set_ended_at(gone.ended_at);
    response.mutable_gone()->set_records(gone.records);
    response.mutable_gone()->set_bytes(gone.bytes);
    response.mutable_gone()->set_why(gone.why);
    VELLUM_TRY(context.call->Write(response));
  }
  return {};
}

Status ServeRollup(const SyncMethodContext& context) {
  v1::RollupRequest message;
  VELLUM_TRY(context.call->ReadOnly(&message));
  VELLUM_TRY(CheckConnector(message));
  VELLUM_ASSIGN_OR_RETURN(const auto report,
                          context.service->Rollup({.connector = message.connector(), .dry_run = message.dry_run()},
                                                  context.call->FollowAs<v1::RollupResponse>()));
  v1::RollupResponse response;
  response.mutable_report()->set_into(report.into);
  for (const std::string& id : report.merged) response.mutable_report()->add_merged(id);
  if (report.merge) FillMergeReport(*report.merge, response.mutable_report()->mutable_merge());
  return context.call->Write(response);
}

}  // namespace vellum::rpc
