#include <google/protobuf/arena.h>

#include "base/bytes.h"
#include "rpc/sync_methods.h"

namespace vellum::rpc {
namespace {

/// One Write call after its start.
class WriteSession {
 public:
  WriteSession(const SyncMethodContext& context, std::unique_ptr<service::RecordWriter> writer)
      : context_(context), writer_(std::move(writer)), taker_(context.service->store()->options().record_bytes_max) {}

  /// True once the sync is sealed.
  Result<bool> Take(const v1::WriteRequest& request) {
    switch (request.message_case()) {
      case v1::WriteRequest::kRecords: {
        const std::uint64_t before = taker_.records();
        const Status taken = taker_.TakeBatch(request.records(), writer_.get());
        context_.environment->records_received.Increment(static_cast<double>(taker_.records() - before));
        VELLUM_TRY(taken);
        return false;
      }
      case v1::WriteRequest::kPart:
        VELLUM_TRY(taker_.TakePart(request.part()));
        return false;
      case v1::WriteRequest::kCheckpoint:
        VELLUM_TRY(Checkpoint(request.checkpoint().token()));
        return false;
      case v1::WriteRequest::kSeal:
        VELLUM_TRY(Seal(request.seal().ended_at()));
        return true;
      case v1::WriteRequest::kStart:
        return InvalidArgument("the stream was started a second time");
      case v1::WriteRequest::MESSAGE_NOT_SET:
        break;
    }
    return InvalidArgument("a message of the stream is empty, or of a kind that this server does not know");
  }

 private:
  Status Checkpoint(const std::string& token) {
    VELLUM_TRY(taker_.CheckNothingWaits("a checkpoint"));
    VELLUM_TRY(writer_->Checkpoint(token));
    v1::WriteResponse response;
    response.mutable_checkpointed()->set_token(token);
    response.mutable_checkpointed()->set_records(taker_.records());
    return context_.call->Write(response);
  }

  Status Seal(sync::Stamp ended_at) {
    VELLUM_TRY(taker_.CheckNothingWaits("the seal"));
    VELLUM_ASSIGN_OR_RETURN(const auto sealed,
                            writer_->Seal(ended_at, context_.call->FollowAs<v1::WriteResponse>()));
    v1::WriteResponse response;
    FillDescription(sealed, response.mutable_sealed());
    return context_.call->Write(response);
  }

  const SyncMethodContext& context_;
  const std::unique_ptr<service::RecordWriter> writer_;
  RecordTaker taker_;
};

Result<std::unique_ptr<service::RecordWriter>> Start(const SyncMethodContext& context) {
  v1::WriteRequest request;
  VELLUM_TRY(context.call->ReadOnly(&request));
  if (!request.has_start()) return InvalidArgument("the first message of the stream is not its start");
  const v1::WriteRequest::Start& start = request.start();
  if (start.replace() && start.resume()) return InvalidArgument("a sync is either replaced or resumed, not both");
  auto writer =
      context.service->Write({TakeRun(start.run()), start.connector(), start.replace(), start.resume()});
  if (!writer.ok()) return writer;
  v1::WriteResponse response;
  response.mutable_opened()->set_token((*writer)->token());
  VELLUM_TRY(context.call->Write(response));
  return writer;
}

}  // namespace

Status ServeWrite(const SyncMethodContext& context) {
  VELLUM_ASSIGN_OR_RETURN(auto writer, Start(context));
  WriteSession session(context, std::move(writer));
  google::protobuf::Arena arena;
  for (;;) {
    arena.Reset();
    auto* const request = google::protobuf::Arena::CreateMessage<v1::WriteRequest>(&arena);
    VELLUM_ASSIGN_OR_RETURN(const bool came, context.call->Read(request));
    if (!came) {
      return FailedPrecondition("the stream ended without a seal: what the last checkpoint kept can be resumed");
    }
    VELLUM_ASSIGN_OR_RETURN(const bool sealed, session.Take(*request));
    if (sealed) return {};
  }
}

}  // namespace vellum::rpc
