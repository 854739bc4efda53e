#include "rpc/range_stream.h"

#include <algorithm>
#include <limits>
#include <utility>

#include "kv/operations.h"
#include "kv/validate.h"
#include "kv/view.h"
#include "rpc/convert.h"

namespace vellum::rpc {
namespace {

using ContextPtr = std::shared_ptr<const wire::CallContext>;
using WriterPtr = std::shared_ptr<wire::StreamWriter>;

// The first part is small, so that it is there at once; how large values are is only known after it.
constexpr std::int64_t kFirstPartKeys = 10;

Status CheckStream(const RangeRequest& request) {
  VELLUM_TRY(kv::CheckRange(request));
  const bool in_order = request.sort_order == SortOrder::kNone ||
                        (request.sort_order == SortOrder::kAscend && request.sort_target == SortTarget::kKey);
  if (!in_order) return Unimplemented("RangeStream does not support custom sort orders");
  const bool filtered = request.min_mod_revision != 0 || request.max_mod_revision != 0 ||
                        request.min_create_revision != 0 || request.max_create_revision != 0;
  if (filtered) return Unimplemented("RangeStream does not support revision filters");
  return {};
}

/// One call. Parts are made in a worker, one after the other; while the client does not read, nobody works for it and
/// no view is held: the next part is read from a new one, at the same revision, and fails if that has been compacted.
class RangeStreamCall : public std::enable_shared_from_this<RangeStreamCall> {
 public:
  RangeStreamCall(CorePtr core, ContextPtr context, WriterPtr writer)
      : core_(std::move(core)), context_(std::move(context)), writer_(std::move(writer)) {}

  void Start(RangeRequest request) {
    request_ = std::move(request);
    limit_ = request_.limit > 0 ? request_.limit : std::numeric_limits<std::int64_t>::max();
    request_.limit = std::min(limit_, kFirstPartKeys);
    start_ = core_->context.clock->Now();
    // Counting in the past may take long.
    RunIn(request_.count_only ? core_->context.long_reads : core_->context.reads);
  }
  void Writable() {
    if (waiting_.exchange(false)) RunIn(core_->context.long_reads);
  }

 private:
  void RunIn(WorkerPool* pool) {
    const Status submitted = pool->Submit([self = shared_from_this()] { self->SendParts(); });
    if (!submitted.ok()) End(submitted);
  }

  void SendParts() {
    while (!context_->cancelled && !core_->stopping) {
      const bool first = sent_ == 0;
      const Result<bool> last = SendPart();
      if (!last.ok()) return End(last.error());
      if (*last) return End({});
      if (first) return RunIn(core_->context.long_reads);
      // Waiting is said before looking, so that a client that starts to read in between is not missed.
      waiting_ = true;
      if (writer_->unsent_bytes() > core_->context.limits.stream_high_water_bytes) return;
      if (!waiting_.exchange(false)) return;  // it did, and the rest has been handed to another worker
    }
  }

  // True: it was the last one.
  Result<bool> SendPart() {
    const auto view = core_->engine().CurrentView();
    VELLUM_ASSIGN_OR_RETURN(RangeResponse part, kv::ReadRangePart(*view, request_, &context_->cancelled));
    if (revision_ == 0) revision_ = part.revision;
    if (request_.revision <= 0) request_.revision = revision_;
    part.revision = revision_;
    sent_ += static_cast<std::int64_t>(part.kvs.size());
    if (!request_.count_only) part.count = sent_;
    if (part.more) request_.key = part.kvs.back().key + std::string(1, '\0');
    const bool last = !part.more || sent_ == limit_;
    if (last && part.more) {
      request_.count_only = true;
      VELLUM_ASSIGN_OR_RETURN(const RangeResponse rest, kv::ReadRange(*view, request_, &context_->cancelled));
      part.count += rest.count;
    }
    wire::Message message = EncodeRangePart(core_->ids, std::move(part), last);
    std::size_t bytes = 0;
    for (const wire::Piece& piece : message) bytes += piece.own.size() + (piece.shared ? piece.shared->size() : 0);
    writer_->Send(std::move(message));
    SizeNextPart(bytes);
    return last;
  }

  // Parts are to come near the size of the largest write.
  void SizeNextPart(std::size_t last_bytes) {
    const std::size_t wanted = core_->context.limits.request_bytes_max;
    std::int64_t keys = request_.limit;
    if (last_bytes < wanted / 2) keys *= 2;
    if (last_bytes > wanted * 2) keys = std::max<std::int64_t>(keys / 2, 1);
    request_.limit = std::min(keys, limit_ - sent_);
  }

  void End(const Status& status) {
    core_->range_total.Increment();
    const auto passed = std::chrono::duration<double>(core_->context.clock->Now() - start_).count();
    (status.ok() ? core_->range_seconds_ok : core_->range_seconds_failed).Observe(passed);
    writer_->Finish(status.ok() ? status : ToWire(status));
  }

  const CorePtr core_;
  const ContextPtr context_;
  const WriterPtr writer_;
  // Of the one worker that runs, or of the event loop before the first.
  RangeRequest request_;  ///< The next part.
  std::int64_t limit_ = 0;
  std::int64_t sent_ = 0;
  Revision revision_ = 0;
  Clock::TimePoint start_;
  std::atomic<bool> waiting_{false};  ///< For the client to read.
};

class RangeStreamHandler final : public wire::StreamHandler {
 public:
  RangeStreamHandler(const CorePtr& core, ContextPtr context, WriterPtr writer)
      : writer_(writer), registered_(&core->streams, writer),
        call_(std::make_shared<RangeStreamCall>(core, std::move(context), std::move(writer))) {}

  void OnMessage(std::string_view message) override {
    pb::RangeRequest parsed;
    if (!ParseMessage(message, &parsed)) return writer_->Finish(Malformed());
    if (std::exchange(asked_, true)) return writer_->Finish(InvalidArgument("grpc: this call takes one request"));
    writer_->Consumed(message.size());
    RangeRequest request = TakeRange(&parsed);
    const Status checked = CheckStream(request);
    if (!checked.ok()) {
      // What is not offered has no text of etcd's that ToWire would have to find.
      return writer_->Finish(checked.code() == Code::kUnimplemented ? checked : ToWire(checked));
    }
    call_->Start(std::move(request));
  }
  void OnHalfClose() override {
    if (!asked_) writer_->Finish(Internal("grpc: the call ended before its request"));
  }
  void OnWritable() override { call_->Writable(); }
  void OnClosed() override {}

 private:
  const WriterPtr writer_;
  const RegisteredStream registered_;
  const std::shared_ptr<RangeStreamCall> call_;
  bool asked_ = false;
};

}  // namespace

void RegisterRangeStream(const CorePtr& core, wire::ServiceTable* table) {
  table->AddStream(
      "/etcdserverpb.KV/RangeStream",
      [core](ContextPtr context, WriterPtr writer) {
        AdmitStream(core.get(), *context, writer.get());
        return std::make_unique<RangeStreamHandler>(core, std::move(context), std::move(writer));
      },
      wire::StreamKind::kServer);
}

}  // namespace vellum::rpc
