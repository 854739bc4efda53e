#include "client/remote_sync_service.h"

#include "client/channel.h"
#include "client/remote_call.h"

namespace vellum::client {

using rpc::v1::Syncs;

Status FromGrpc(const grpc::Status& status, const std::string& endpoint, CallKind kind) {
  if (status.ok()) return {};
  const int number = static_cast<int>(status.error_code());
  const bool known = number > 0 && number <= static_cast<int>(Code::kUnauthenticated);
  Status failure(known ? static_cast<Code>(number) : Code::kUnknown, status.error_message());
  switch (failure.code()) {
    case Code::kUnavailable:
    case Code::kUnknown:
      failure = std::move(failure).WithContext(endpoint);
      break;
    case Code::kUnimplemented:
      if (failure.message().empty()) failure = Unimplemented(endpoint + ": the server does not have this method");
      break;
    case Code::kCancelled:
    case Code::kDeadlineExceeded:
      break;
    default:
      return failure;
  }
  const bool unknown = kind == CallKind::kChange && failure.code() != Code::kUnimplemented;
  return unknown ? std::move(failure).WithMaybeApplied() : failure;
}

Status AnswerMissing(const std::string& endpoint) { return Internal(endpoint + ": the server ended the call without an answer"); }

CancelWatch::CancelWatch(const sync::Work& work, grpc::ClientContext* context) {
  if (work.cancel == nullptr) return;
  watcher_ = std::thread([this, cancel = work.cancel, context] {
    MutexLock lock(&mu_);
    while (!done_) {
      if (cancel->load()) {
        context->TryCancel();
        return;
      }
      changed_.WaitFor(&mu_, std::chrono::milliseconds(100));
    }
  });
}

CancelWatch::~CancelWatch() {
  {
    MutexLock lock(&mu_);
    done_ = true;
  }
  changed_.NotifyAll();
  if (watcher_.joinable()) watcher_.join();
}

RemoteSyncService::RemoteSyncService(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
RemoteSyncService::~RemoteSyncService() = default;

Result<std::unique_ptr<RemoteSyncService>> RemoteSyncService::Connect(RemoteSyncOptions options) {
  VELLUM_ASSIGN_OR_RETURN(const std::string target, ToTarget(options.endpoint));
  auto impl = std::make_unique<Impl>();
  impl->endpoint = options.endpoint;
  impl->channel = OpenChannel(target, static_cast<std::size_t>(-1));
  impl->stub = Syncs::NewStub(impl->channel);
  if (impl->channel->GetState(true) != GRPC_CHANNEL_READY &&
      !impl->channel->WaitForConnected(std::chrono::system_clock::now() + options.dial_timeout)) {
    return Unavailable("no server answers at " + options.endpoint);
  }
  return std::unique_ptr<RemoteSyncService>(new RemoteSyncService(std::move(impl)));
}

Result<std::vector<service::SyncDescription>> RemoteSyncService::ListSyncs() {
  grpc::ClientContext context;
  const auto stream = impl_->stub->ListSyncs(&context, rpc::v1::ListSyncsRequest());
  std::vector<service::SyncDescription> syncs;
  Status taken;
  rpc::v1::SyncDescription message;
  while (stream->Read(&message)) {
    if (!taken.ok()) continue;
    auto sync = rpc::TakeDescription(message);
    if (sync.ok()) {
      syncs.push_back(*std::move(sync));
    } else {
      taken = std::move(sync).error();
      context.TryCancel();
    }
  }
  const grpc::Status ended = stream->Finish();
  VELLUM_TRY(taken);
  VELLUM_TRY(FromGrpc(ended, impl_->endpoint, CallKind::kRead));
  return syncs;
}

Result<service::SyncDescription> RemoteSyncService::DescribeSync(const std::string& sync_id) {
  grpc::ClientContext context;
  rpc::v1::DescribeSyncRequest request;
  request.set_sync_id(sync_id);
  rpc::v1::SyncDescription response;
  VELLUM_TRY(FromGrpc(impl_->stub->DescribeSync(&context, request, &response), impl_->endpoint, CallKind::kRead));
  return rpc::TakeDescription(response);
}

Result<service::SyncDescription> RemoteSyncService::Rollback(const std::string& sync_id,
                                                             const std::optional<sync::GenerationId>& to) {
  grpc::ClientContext context;
  rpc::v1::RollbackRequest request;
  request.set_sync_id(sync_id);
  if (to) request.set_generation(*to);
  rpc::v1::SyncDescription response;
  VELLUM_TRY(FromGrpc(impl_->stub->Rollback(&context, request, &response), impl_->endpoint, CallKind::kChange));
  return rpc::TakeDescription(response);
}

Status RemoteSyncService::Delete(const std::string& sync_id) {
  grpc::ClientContext context;
  rpc::v1::DeleteRequest request;
  request.add_sync_ids(sync_id);
  const auto stream = impl_->stub->Delete(&context, request);
  rpc::v1::DeleteResponse response;
  while (stream->Read(&response)) {
  }
  return FromGrpc(stream->Finish(), impl_->endpoint, CallKind::kChange);
}

Result<sync::Store::Swept> RemoteSyncService::Sweep() {
  grpc::ClientContext context;
  rpc::v1::SweepResponse response;
  VELLUM_TRY(FromGrpc(impl_->stub->Sweep(&context, rpc::v1::SweepRequest(), &response), impl_->endpoint,
                      CallKind::kChange));
  return sync::Store::Swept{response.generations(), response.directories(), response.bytes(), response.in_use(),
                            response.waiting()};
}

Result<service::MergeReport> RemoteSyncService::Merge(const service::MergeRequest& request, const sync::Work& work) {
  grpc::ClientContext context;
  const CancelWatch cancel(work, &context);
  rpc::v1::MergeRequest message;
  rpc::FillMerge(request, &message);
  const auto stream = impl_->stub->Merge(&context, message);
  std::optional<service::MergeReport> report;
  rpc::v1::MergeResponse response;
  ReadAnswers(stream.get(), &response, work,
              [&report](const rpc::v1::MergeResponse* answer) { report = rpc::TakeMergeReport(answer->report()); });
  VELLUM_TRY(FromGrpc(stream->Finish(), impl_->endpoint, CallKind::kChange));
  if (!report) return AnswerMissing(impl_->endpoint);
  return *std::move(report);
}

Result<sync::VerifyReport> RemoteSyncService::Verify(const std::string& sync_id, const sync::Work& work) {
  grpc::ClientContext context;
  const CancelWatch cancel(work, &context);
  rpc::v1::VerifyRequest request;
  request.set_sync_id(sync_id);
  const auto stream = impl_->stub->Verify(&context, request);
  std::optional<sync::VerifyReport> report;
  rpc::v1::VerifyResponse response;
  ReadAnswers(stream.get(), &response, work, [&report](const rpc::v1::VerifyResponse* answer) {
    report = rpc::TakeVerifyReport(answer->report());
  });
  VELLUM_TRY(FromGrpc(stream->Finish(), impl_->endpoint, CallKind::kRead));
  if (!report) return AnswerMissing(impl_->endpoint);
  return *std::move(report);
}

}  // namespace vellum::client
