#include <optional>

#include "client/remote_call.h"

namespace vellum::client {

Result<service::RepairReport> RemoteSyncService::Repair(const std::string& sync_id, const sync::Work& work) {
  grpc::ClientContext context;
  const CancelWatch cancel(work, &context);
  rpc::v1::RepairRequest request;
  request.set_sync_id(sync_id);
  const auto stream = impl_->stub->Repair(&context, request);
  std::optional<service::RepairReport> report;
  rpc::v1::RepairResponse response;
  ReadAnswers(stream.get(), &response, work, [&report](const rpc::v1::RepairResponse* answer) {
    report.emplace();
    report->records = answer->report().records();
    report->entries_wrong = answer->report().entries_wrong();
    report->changed = answer->report().changed();
    report->why = answer->report().why();
  });
  VELLUM_TRY(FromGrpc(stream->Finish(), impl_->endpoint, CallKind::kChange));
  if (!report) return AnswerMissing(impl_->endpoint);
  return *std::move(report);
}

Result<service::RetainReport> RemoteSyncService::Retain(const service::RetainRequest& request, const sync::Work& work) {
  grpc::ClientContext context;
  const CancelWatch cancel(work, &context);
  rpc::v1::RetainRequest message;
  message.set_connector(request.connector);
  message.set_keep(request.keep);
  message.set_dry_run(request.dry_run);
  message.set_open_keep_seconds(request.open_keep_s);
  const auto stream = impl_->stub->Retain(&context, message);
  service::RetainReport report;
  rpc::v1::RetainResponse response;
  ReadAnswers(stream.get(), &response, work, [&report](const rpc::v1::RetainResponse* answer) {
    const auto& gone = answer->gone();
    report.gone.push_back({gone.sync_id(), gone.type(), gone.ended_at(), gone.records(), gone.bytes(), gone.why()});
  });
  VELLUM_TRY(FromGrpc(stream->Finish(), impl_->endpoint, request.dry_run ? CallKind::kRead : CallKind::kChange));
  return report;
}

Result<service::RollupReport> RemoteSyncService::Rollup(const service::RollupRequest& request, const sync::Work& work) {
  grpc::ClientContext context;
  const CancelWatch cancel(work, &context);
  rpc::v1::RollupRequest message;
  message.set_connector(request.connector);
  message.set_dry_run(request.dry_run);
  const auto stream = impl_->stub->Rollup(&context, message);
  std::optional<service::RollupReport> report;
  rpc::v1::RollupResponse response;
  ReadAnswers(stream.get(), &response, work, [&report](const rpc::v1::RollupResponse* answer) {
    report.emplace();
    report->into = answer->report().into();
    report->merged.assign(answer->report().merged().begin(), answer->report().merged().end());
    if (answer->report().has_merge()) report->merge = rpc::TakeMergeReport(answer->report().merge());
  });
  VELLUM_TRY(FromGrpc(stream->Finish(), impl_->endpoint, request.dry_run ? CallKind::kRead : CallKind::kChange));
  if (!report) return AnswerMissing(impl_->endpoint);
  return *std::move(report);
}

}  // namespace vellum::client
