#include "rpc/sync_methods.h"

namespace vellum::rpc {

Status ServeListSyncs(const SyncMethodContext& context) {
  v1::ListSyncsRequest request;
  VELLUM_TRY(context.call->ReadOnly(&request));
  VELLUM_ASSIGN_OR_RETURN(const auto syncs, context.service->ListSyncs());
  for (const service::SyncDescription& sync : syncs) {
    v1::SyncDescription response;
    FillDescription(sync, &response);
    VELLUM_TRY(context.call->Write(response));
  }
  return {};
}

Status ServeDescribeSync(const SyncMethodContext& context) {
  v1::DescribeSyncRequest request;
  VELLUM_TRY(context.call->ReadOnly(&request));
  VELLUM_ASSIGN_OR_RETURN(const auto sync, context.service->DescribeSync(request.sync_id()));
  v1::SyncDescription response;
  FillDescription(sync, &response);
  return context.call->Write(response);
}

}  // namespace vellum::rpc
