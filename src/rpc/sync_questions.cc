#include "rpc/sync_methods.h"
#include "rpc/sync_question_messages.h"

namespace vellum::rpc {
namespace {

constexpr std::size_t kRowsBytes = 128u << 10;

/// Sends records as they are found, several in a message.
class RecordSender {
 public:
  explicit RecordSender(SyncCall* call)
      : batcher_([call](v1::RecordBatch* batch) {
                   v1::ListRecordsResponse response;
                   response.mutable_records()->Swap(batch);
                   const Status sent = call->Write(response);
                   response.mutable_records()->Swap(batch);  // its memory is used again
                   return sent;
                 },
                 [call](std::string_view part) {
                   v1::ListRecordsResponse response;
                   response.set_part(std::string(part));
                   return call->Write(response);
                 }),
        call_(call) {}

  service::RecordVisitor Visitor() {
    return [this](const sync::RecordView& record) {
      ++records_;
      return batcher_.Add(record);
    };
  }
  Status End(const service::ListOutcome& outcome) {
    VELLUM_TRY(batcher_.Flush());
    v1::ListRecordsResponse response;
    response.mutable_end()->set_records(outcome.records);
    response.mutable_end()->set_next_page_token(outcome.next_page_token);
    response.mutable_end()->set_pending_expansions(outcome.pending_expansions);
    return call_->Write(response);
  }
  std::uint64_t records() const { return records_; }

 private:
  RecordBatcher batcher_;
  SyncCall* const call_;
  std::uint64_t records_ = 0;
};

/// Sends rows as they are made, several in a message.
template <typename Response>
class RowSender {
 public:
  explicit RowSender(SyncCall* call) : call_(call) {}

  /// A row to fill; Added says that it is.
  auto* Add() { return response_.mutable_rows()->add_rows(); }
  Status Added() {
    const auto& rows = response_.rows().rows();
    bytes_ += rows.Get(rows.size() - 1).ByteSizeLong() + 8;
    return bytes_ < kRowsBytes ? Status() : Flush();
  }
  Status Flush() {
    if (bytes_ == 0) return {};
    bytes_ = 0;
    const Status sent = call_->Write(response_);
    response_.Clear();
    return sent;
  }

 private:
  SyncCall* const call_;
  Response response_;
  std::size_t bytes_ = 0;
};

using ListMethod = Result<service::ListOutcome> (service::LocalSyncService::*)(const service::ListRequest&,
                                                                              const service::RecordVisitor&);

Status ServeList(const SyncMethodContext& context, ListMethod method) {
  v1::ListRecordsRequest message;
  VELLUM_TRY(context.call->ReadOnly(&message));
  VELLUM_ASSIGN_OR_RETURN(const service::ListRequest request, TakeList(message));
  RecordSender sender(context.call);
  VELLUM_ASSIGN_OR_RETURN(const service::ListOutcome outcome, (context.service->*method)(request, sender.Visitor()));
  return sender.End(outcome);
}

/// A file that one side of a difference is, on its way in.
Result<std::unique_ptr<Spool>> OpenSide(const SyncMethodContext& context, service::DiffSide* side) {
  if (side->file.empty()) return std::unique_ptr<Spool>();
  VELLUM_ASSIGN_OR_RETURN(auto spool, Spool::Open(context, side->file));
  side->file = spool->path();
  return spool;
}

Status TakeFiles(SyncCall* call, Spool* from, Spool* to) {
  v1::DiffRequest message;
  for (;;) {
    VELLUM_ASSIGN_OR_RETURN(const bool came, call->Read(&message));
    if (!came) break;
    Spool* const spool = message.has_from_chunk() ? from : message.has_to_chunk() ? to : nullptr;
    if (spool == nullptr) return InvalidArgument("what follows the start must be the bytes of the files that it names");
    VELLUM_TRY(spool->Append(message.has_from_chunk() ? message.from_chunk() : message.to_chunk()));
  }
  if (from != nullptr) VELLUM_TRY(from->Close());
  return to != nullptr ? to->Close() : Status();
}

}  // namespace

Status ServeListRecords(const SyncMethodContext& context) {
  return ServeList(context, &service::LocalSyncService::ListRecords);
}

Status ServeListPrincipals(const SyncMethodContext& context) {
  return ServeList(context, &service::LocalSyncService::ListPrincipals);
}

Status ServeFindRecords(const SyncMethodContext& context) {
  v1::FindRecordsRequest message;
  VELLUM_TRY(context.call->ReadOnly(&message));
  VELLUM_ASSIGN_OR_RETURN(const service::FindRequest request, TakeFind(message));
  RecordSender sender(context.call);
  VELLUM_TRY(context.service->FindRecords(request, sender.Visitor()));
  service::ListOutcome outcome;
  outcome.records = sender.records();
  return sender.End(outcome);
}

Status ServeAccess(const SyncMethodContext& context) {
  v1::AccessRequest message;
  VELLUM_TRY(context.call->ReadOnly(&message));
  RowSender<v1::AccessResponse> rows(context.call);
  VELLUM_ASSIGN_OR_RETURN(const sync::AccessSummary summary,
                          context.service->Access(TakeAccess(message), [&](const sync::AccessRow& row) -> Status {
                            FillAccessRow(row, rows.Add());
                            return rows.Added();
                          }));
  VELLUM_TRY(rows.Flush());
  v1::AccessResponse response;
  response.mutable_end()->set_rows(summary.rows);
  response.mutable_end()->set_pending_expansions(summary.pending_expansions);
  return context.call->Write(response);
}

Status ServeDiff(const SyncMethodContext& context) {
  v1::DiffRequest first;
  VELLUM_TRY(context.call->ReadOnly(&first));
  if (!first.has_start()) return InvalidArgument("the first message of the stream is not its start");
  VELLUM_ASSIGN_OR_RETURN(service::DiffRequest request, TakeDiff(first.start()));
  VELLUM_ASSIGN_OR_RETURN(const auto from, OpenSide(context, &request.from));
  VELLUM_ASSIGN_OR_RETURN(const auto to, OpenSide(context, &request.to));
  VELLUM_TRY(TakeFiles(context.call, from.get(), to.get()));
  RowSender<v1::DiffResponse> rows(context.call);
  const auto summary = context.service->Diff(
      request,
      [&](const sync::DiffRow& row) -> Status {
        FillDiffRow(row, rows.Add());
        return rows.Added();
      },
      context.call->FollowAs<v1::DiffResponse>());
  if (!summary.ok()) {
    Status failure = summary.error();
    if (from) failure = from->Translate(std::move(failure));
    return to ? to->Translate(std::move(failure)) : failure;
  }
  VELLUM_TRY(rows.Flush());
  v1::DiffResponse response;
  FillDiffSummary(*summary, response.mutable_summary());
  return context.call->Write(response);
}

}  // namespace vellum::rpc
