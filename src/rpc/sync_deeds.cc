#include "rpc/sync_methods.h"

namespace vellum::rpc {

Status ServeMerge(const SyncMethodContext& context) {
  v1::MergeRequest message;
  VELLUM_TRY(context.call->ReadOnly(&message));
  VELLUM_ASSIGN_OR_RETURN(const service::MergeRequest request, TakeMerge(message));
  VELLUM_ASSIGN_OR_RETURN(const auto report,
                          context.service->Merge(request, context.call->FollowAs<v1::MergeResponse>()));
  v1::MergeResponse response;
  FillMergeReport(report, response.mutable_report());
  return context.call->Write(response);
}

Status ServeRollback(const SyncMethodContext& context) {
  v1::RollbackRequest request;
  VELLUM_TRY(context.call->ReadOnly(&request));
  std::optional<sync::GenerationId> to;
  if (!request.generation().empty()) to = request.generation();
  VELLUM_ASSIGN_OR_RETURN(const auto sync, context.service->Rollback(request.sync_id(), to));
  v1::SyncDescription response;
  FillDescription(sync, &response);
  return context.call->Write(response);
}

Status ServeDelete(const SyncMethodContext& context) {
  v1::DeleteRequest request;
  VELLUM_TRY(context.call->ReadOnly(&request));
  for (const std::string& id : request.sync_ids()) {
    VELLUM_TRY(context.service->Delete(id));
    v1::DeleteResponse response;
    response.set_sync_id(id);
    VELLUM_TRY(context.call->Write(response));
  }
  return {};
}

Status ServeSweep(const SyncMethodContext& context) {
  v1::SweepRequest request;
  VELLUM_TRY(context.call->ReadOnly(&request));
  VELLUM_ASSIGN_OR_RETURN(const auto swept, context.service->Sweep());
  v1::SweepResponse response;
  response.set_generations(swept.generations);
  response.set_directories(swept.directories);
  response.set_bytes(swept.bytes);
  response.set_in_use(swept.in_use);
  response.set_waiting(swept.waiting);
  return context.call->Write(response);
}

Status ServeVerify(const SyncMethodContext& context) {
  v1::VerifyRequest request;
  VELLUM_TRY(context.call->ReadOnly(&request));
  VELLUM_ASSIGN_OR_RETURN(const auto report,
                          context.service->Verify(request.sync_id(), context.call->FollowAs<v1::VerifyResponse>()));
  v1::VerifyResponse response;
  FillVerifyReport(report, response.mutable_report());
  return context.call->Write(response);
}

}  // namespace vellum::rpc
