#include "rpc/health_service.h"

#include <utility>

#include "grpc/health/v1/health.pb.h"

namespace vellum::rpc {
namespace {

using grpc::health::v1::HealthCheckRequest;
using grpc::health::v1::HealthCheckResponse;

HealthCheckResponse::ServingStatus ToStatus(bool serving) {
  return serving ? HealthCheckResponse::SERVING : HealthCheckResponse::NOT_SERVING;
}

void SendStatus(HealthCheckResponse::ServingStatus status, wire::StreamWriter* writer) {
  HealthCheckResponse response;
  response.set_status(status);
  wire::Message message(1);
  response.SerializeToString(&message.front().own);
  writer->Send(std::move(message));
}

class HealthWatch final : public wire::StreamHandler {
 public:
  HealthWatch(CorePtr core, std::shared_ptr<HealthState> state, std::shared_ptr<wire::StreamWriter> writer)
      : core_(std::move(core)), state_(std::move(state)), writer_(writer),
        registered_(&core_->streams, std::move(writer)) {}
  ~HealthWatch() override {
    if (subscription_ != 0) state_->Unsubscribe(subscription_);
  }

  void OnMessage(std::string_view message) override {
    HealthCheckRequest request;
    const bool parsed = ParseMessage(message, &request);
    if (!parsed || asked_) {
      writer_->Finish(parsed ? InvalidArgument("grpc: this call takes one request") : Malformed());
      return;
    }
    asked_ = true;
    if (request.service().empty()) {
      subscription_ = state_->Subscribe(writer_);
    } else {
      // Stays open: a service of this name may come, as far as the protocol is concerned.
      SendStatus(HealthCheckResponse::SERVICE_UNKNOWN, writer_.get());
    }
    writer_->Consumed(message.size());
  }
  void OnHalfClose() override {
    if (!asked_) writer_->Finish(Internal("grpc: the call ended before its request"));
  }
  void OnClosed() override {}

 private:
  const CorePtr core_;
  const std::shared_ptr<HealthState> state_;
  const std::shared_ptr<wire::StreamWriter> writer_;
  const RegisteredStream registered_;
  bool asked_ = false;
  std::uint64_t subscription_ = 0;
};

}  // namespace

bool HealthState::serving() const {
  MutexLock lock(&mu_);
  return serving_;
}

void HealthState::Set(bool serving) {
  MutexLock lock(&mu_);
  if (serving_ == serving) return;
  serving_ = serving;
  // Under the lock, so that nobody sees the changes in another order.
  for (const auto& [id, writer] : writers_) SendStatus(ToStatus(serving), writer.get());
}

std::uint64_t HealthState::Subscribe(std::shared_ptr<wire::StreamWriter> writer) {
  MutexLock lock(&mu_);
  SendStatus(ToStatus(serving_), writer.get());
  const std::uint64_t id = next_++;
  writers_.emplace(id, std::move(writer));
  return id;
}

void HealthState::Unsubscribe(std::uint64_t id) {
  MutexLock lock(&mu_);
  writers_.erase(id);
}

void RegisterHealth(const CorePtr& core, const std::shared_ptr<HealthState>& state, wire::ServiceTable* table) {
  AddUnary<HealthCheckRequest>(
      table, core, "/grpc.health.v1.Health/Check",
      [state](std::shared_ptr<const wire::CallContext>, HealthCheckRequest* request, std::string_view, Reply reply) {
        if (!request->service().empty()) {
          reply.FailAsIs(NotFound("unknown service"));
          return;
        }
        HealthCheckResponse response;
        response.set_status(ToStatus(state->serving()));
        reply.Finish(response);
      });
  table->AddStream(
      "/grpc.health.v1.Health/Watch",
      [core, state](std::shared_ptr<const wire::CallContext> context, std::shared_ptr<wire::StreamWriter> writer) {
        AdmitStream(core.get(), *context, writer.get());
        return std::make_unique<HealthWatch>(core, state, std::move(writer));
      },
      wire::StreamKind::kServer);
}

}  // namespace vellum::rpc
