#include "client/remote_call.h"
#include "client/remote_files.h"
#include "rpc/sync_question_messages.h"

namespace vellum::client {
namespace {

namespace v1 = rpc::v1;

/// Hands what a taker puts together to a visitor.
class VisitSink final : public sync::RecordSink {
 public:
  explicit VisitSink(const service::RecordVisitor& visit) : visit_(visit) {}
  Status Put(const sync::RecordView& record) override { return visit_(record); }

 private:
  const service::RecordVisitor& visit_;
};

/// Reads an answer of records to its end. A visitor that fails ends the call.
template <typename Stream>
Result<service::ListOutcome> ReadRecords(Stream* stream, grpc::ClientContext* context, const std::string& endpoint,
                                         const service::RecordVisitor& visit) {
  VisitSink sink(visit);
  rpc::RecordTaker taker(static_cast<std::size_t>(-1));
  std::optional<service::ListOutcome> outcome;
  Status taken;
  v1::ListRecordsResponse response;
  while (stream->Read(&response)) {
    if (!taken.ok()) continue;
    if (response.has_records()) taken = taker.TakeBatch(response.records(), &sink);
    if (response.has_part()) taken = taker.TakePart(response.part());
    if (response.has_end()) {
      outcome = service::ListOutcome{response.end().records(), response.end().next_page_token(),
                                     response.end().pending_expansions()};
    }
    if (!taken.ok()) context->TryCancel();
  }
  const grpc::Status ended = stream->Finish();
  VELLUM_TRY(taken);
  VELLUM_TRY(FromGrpc(ended, endpoint, CallKind::kRead));
  if (!outcome) return AnswerMissing(endpoint);
  return *outcome;
}

}  // namespace

Result<service::ListOutcome> RemoteSyncService::ListRecords(const service::ListRequest& request,
                                                            const service::RecordVisitor& visit) {
  grpc::ClientContext context;
  v1::ListRecordsRequest message;
  rpc::FillList(request, &message);
  const auto stream = impl_->stub->ListRecords(&context, message);
  return ReadRecords(stream.get(), &context, impl_->endpoint, visit);
}

Result<service::ListOutcome> RemoteSyncService::ListPrincipals(const service::ListRequest& request,
                                                               const service::RecordVisitor& visit) {
  grpc::ClientContext context;
  v1::ListRecordsRequest message;
  rpc::FillList(request, &message);
  const auto stream = impl_->stub->ListPrincipals(&context, message);
  return ReadRecords(stream.get(), &context, impl_->endpoint, visit);
}

Status RemoteSyncService::FindRecords(const service::FindRequest& request, const service::RecordVisitor& visit) {
  grpc::ClientContext context;
  v1::FindRecordsRequest message;
  rpc::FillFind(request, &message);
  const auto stream = impl_->stub->FindRecords(&context, message);
  return ReadRecords(stream.get(), &context, impl_->endpoint, visit).error();
}

Result<sync::AccessSummary> RemoteSyncService::Access(const service::AccessRequest& request,
                                                      const service::AccessVisitor& visit) {
  grpc::ClientContext context;
  v1::AccessRequest message;
  rpc::FillAccess(request, &message);
  const auto stream = impl_->stub->Access(&context, message);
  std::optional<sync::AccessSummary> summary;
  Status taken;
  v1::AccessResponse response;
  while (stream->Read(&response)) {
    if (response.has_end()) summary = sync::AccessSummary{response.end().rows(), response.end().pending_expansions()};
    for (const v1::AccessRow& row : response.rows().rows()) {
      if (taken.ok()) taken = visit(rpc::TakeAccessRow(row));
    }
    if (!taken.ok()) context.TryCancel();
  }
  const grpc::Status ended = stream->Finish();
  VELLUM_TRY(taken);
  VELLUM_TRY(FromGrpc(ended, impl_->endpoint, CallKind::kRead));
  if (!summary) return AnswerMissing(impl_->endpoint);
  return *summary;
}

Result<sync::DiffSummary> RemoteSyncService::Diff(const service::DiffRequest& request, const service::DiffVisitor& visit,
                                                  const sync::Work& work) {
  std::optional<OpenedFile> from;
  std::optional<OpenedFile> to;
  const auto open = [](const std::string& path, std::optional<OpenedFile>* file) -> Status {
    if (path.empty()) return {};
    VELLUM_ASSIGN_OR_RETURN(auto opened, OpenedFile::Open(path));
    file->emplace(std::move(opened));
    return {};
  };
  VELLUM_TRY(open(request.from.file, &from));
  VELLUM_TRY(open(request.to.file, &to));
  grpc::ClientContext context;
  const CancelWatch cancel(work, &context);
  const auto stream = impl_->stub->Diff(&context);
  v1::DiffRequest start;
  rpc::FillDiff(request, start.mutable_start());
  const Status sent = [&]() -> Status {
    if (!stream->Write(start)) return {};
    if (from) VELLUM_TRY(from->Send(stream.get(), &v1::DiffRequest::mutable_from_chunk));
    return to ? to->Send(stream.get(), &v1::DiffRequest::mutable_to_chunk) : Status();
  }();
  if (!sent.ok()) context.TryCancel();
  stream->WritesDone();
  std::optional<sync::DiffSummary> summary;
  Status taken;
  v1::DiffResponse response;
  ReadAnswers(stream.get(), &response, work, [&](const v1::DiffResponse* answer) {
    if (answer->has_summary()) summary = rpc::TakeDiffSummary(answer->summary());
    for (const v1::DiffRow& row : answer->rows().rows()) {
      if (taken.ok()) taken = rpc::VisitDiffRow(row, visit);
    }
    if (!taken.ok()) context.TryCancel();
  });
  const grpc::Status ended = stream->Finish();
  VELLUM_TRY(sent);
  VELLUM_TRY(taken);
  VELLUM_TRY(FromGrpc(ended, impl_->endpoint, CallKind::kRead));
  if (!summary) return AnswerMissing(impl_->endpoint);
  return *summary;
}

}  // namespace vellum::client
