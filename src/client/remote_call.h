#pragma once

#include <grpcpp/grpcpp.h>

#include <memory>
#include <string>
#include <thread>

#include "base/mutex.h"
#include "client/remote_sync_service.h"
#include "rpc/sync_messages.h"
#include "vellum/sync/v1/service.grpc.pb.h"

/// What the methods of RemoteSyncService share. Only this room's sources include it.
namespace vellum::client {

struct RemoteSyncService::Impl {
  std::string endpoint;
  std::shared_ptr<grpc::Channel> channel;
  std::unique_ptr<rpc::v1::Syncs::Stub> stub;
};

/// Whether a call that ends in the middle may have changed something.
enum class CallKind : std::uint8_t { kRead, kChange };

/// The server's failure as it is, or the transport's with the endpoint's name.
Status FromGrpc(const grpc::Status& status, const std::string& endpoint, CallKind kind);

/// Cancels a call when the work that it does is cancelled: looks every tenth of a second, because signal handlers can set a flag
/// and nothing else.
class CancelWatch {
 public:
  CancelWatch(const sync::Work& work, grpc::ClientContext* context);
  ~CancelWatch();
  CancelWatch(const CancelWatch&) = delete;
  CancelWatch& operator=(const CancelWatch&) = delete;

 private:
  Mutex mu_;
  CondVar changed_;
  bool done_ VELLUM_GUARDED_BY(mu_) = false;
  std::thread watcher_;
};

/// Reads answers until the stream ends; progress goes to the work, everything else to `take`.
template <typename Stream, typename Response, typename Take>
void ReadAnswers(Stream* stream, Response* response, const sync::Work& work, const Take& take) {
  while (stream->Read(response)) {
    if (response->has_progress()) {
      if (work.progress) work.progress(response->progress().records());
    } else {
      take(response);
    }
  }
}

/// What a server that ends a call well, but without its answer, is told off with.
Status AnswerMissing(const std::string& endpoint);

}  // namespace vellum::client
