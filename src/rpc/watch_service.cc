#include "rpc/watch_service.h"

#include <utility>

#include "rpc/convert.h"
#include "rpc/watch_stream.h"

namespace vellum::rpc {
namespace {

/// One call of Watch. The hub shares the stream's other half and may hold it a little longer than this lives.
class WatchHandler final : public wire::StreamHandler {
 public:
  WatchHandler(CorePtr core, std::shared_ptr<wire::StreamWriter> writer)
      : core_(std::move(core)), writer_(writer), registered_(&core_->streams, writer),
        stream_(std::make_shared<WatchStream>(core_, std::move(writer))),
        id_(core_->engine().watch_hub().OpenStream(stream_)) {
    stream_->Attach(&core_->engine().watch_hub(), id_);
  }
  ~WatchHandler() override { core_->engine().watch_hub().CloseStream(id_); }

  void OnMessage(std::string_view message) override {
    pb::WatchRequest request;
    if (!ParseMessage(message, &request)) {
      core_->watch_failures.Increment();
      writer_->Finish(Malformed());
      return;
    }
    switch (request.request_union_case()) {
      case pb::WatchRequest::kCreateRequest:
        stream_->Create(request.create_request(), message.size());
        break;
      case pb::WatchRequest::kCancelRequest:
        stream_->Cancel(request.cancel_request().watch_id(), message.size());
        break;
      case pb::WatchRequest::kProgressRequest:
        stream_->RequestProgress(message.size());
        break;
      case pb::WatchRequest::REQUEST_UNION_NOT_SET:
        stream_->IgnoreRequest(message.size());
        break;
    }
  }
  // The watchers go on: a client that has said all it wants to say still listens.
  void OnHalfClose() override {}
  void OnWritable() override { stream_->Writable(); }
  void OnClosed() override {}

 private:
  const CorePtr core_;
  const std::shared_ptr<wire::StreamWriter> writer_;
  const RegisteredStream registered_;
  const std::shared_ptr<WatchStream> stream_;
  const kv::WatchHub::StreamId id_;
};

}  // namespace

void RegisterWatch(const CorePtr& core, wire::ServiceTable* table) {
  table->AddStream("/etcdserverpb.Watch/Watch", [core](std::shared_ptr<const wire::CallContext> context,
                                                       std::shared_ptr<wire::StreamWriter> writer) {
    AdmitStream(core.get(), *context, writer.get());
    return std::make_unique<WatchHandler>(core, std::move(writer));
  });
}

}  // namespace vellum::rpc
