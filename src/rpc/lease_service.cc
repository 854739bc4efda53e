#include "rpc/lease_service.h"

#include <deque>
#include <optional>
#include <utility>

#include "kv/lease_keys.h"
#include "kv/lessor.h"
#include "rpc/catalog_guard.h"
#include "rpc/convert.h"

namespace vellum::rpc {
namespace {

using ContextPtr = std::shared_ptr<const wire::CallContext>;

void Grant(const CorePtr& core, const pb::LeaseGrantRequest& message, const Reply& reply) {
  kv::Lessor& lessor = core->engine().lessor();
  const auto ttl = lessor.EffectiveTtl(message.ttl());
  if (!ttl.ok()) {
    reply.Fail(ttl.error());
    return;
  }
  kv::LeaseGrantCommand command{.id = message.id() != 0 ? message.id() : lessor.PickId(), .ttl_s = *ttl};
  core->engine().Propose(command, [core, reply](Result<kv::CommandResult> result) {
    if (!result.ok()) {
      reply.Fail(result.error());
      return;
    }
    const auto& granted = std::get<LeaseGrantResponse>(*result);
    pb::LeaseGrantResponse response;
    core->FillHeader(granted.revision, response.mutable_header());
    response.set_id(granted.id);
    response.set_ttl(granted.ttl_s);
    reply.Finish(response);
  });
}

void Revoke(const CorePtr& core, const pb::LeaseRevokeRequest& message, const Reply& reply) {
  if (core->context.is_writer_lease && core->context.is_writer_lease(message.id())) {
    reply.FailAsIs(RefuseRevoke(message.id()));
    return;
  }
  core->engine().Propose(kv::LeaseRevokeCommand{.id = message.id()}, [core, reply](Result<kv::CommandResult> result) {
    if (!result.ok()) {
      reply.Fail(result.error());
      return;
    }
    pb::LeaseRevokeResponse response;
    core->FillHeader(std::get<kv::LeaseRevokeResult>(*result).revision, response.mutable_header());
    reply.Finish(response);
  });
}

pb::LeaseTimeToLiveResponse TimeToLiveAnswer(const Core& core, LeaseId id,
                                             const std::optional<kv::Lessor::Remaining>& remaining) {
  pb::LeaseTimeToLiveResponse response;
  core.FillHeader(core.CurrentRevision(), response.mutable_header());
  response.set_id(id);
  response.set_ttl(remaining ? remaining->ttl_s : -1);
  response.set_grantedttl(remaining ? remaining->granted_ttl_s : 0);
  return response;
}

void TimeToLive(const CorePtr& core, const pb::LeaseTimeToLiveRequest& message, const Reply& reply) {
  const LeaseId id = message.id();
  const auto remaining = core->engine().lessor().TimeToLive(id);
  if (!remaining || !message.keys()) {
    reply.Finish(TimeToLiveAnswer(*core, id, remaining));
    return;
  }
  const Status submitted = core->context.reads->Submit([core, reply, id] {
    const auto now = core->engine().lessor().TimeToLive(id);
    auto response = TimeToLiveAnswer(*core, id, now);
    if (now) {
      auto keys = kv::LeaseKeys(*core->engine().CurrentView(), id);
      if (!keys.ok()) {
        reply.Fail(keys.error());
        return;
      }
      for (std::string& key : *keys) response.add_keys(std::move(key));
    }
    reply.Finish(response);
  });
  if (!submitted.ok()) reply.Fail(submitted);
}

void Leases(const CorePtr& core, const Reply& reply) {
  // Sorted by expiry, which with a million leases is no work for an event loop.
  const Status submitted = core->context.reads->Submit([core, reply] {
    pb::LeaseLeasesResponse response;
    core->FillHeader(core->CurrentRevision(), response.mutable_header());
    for (const LeaseId id : core->engine().lessor().List()) response.add_leases()->set_id(id);
    reply.Finish(response);
  });
  if (!submitted.ok()) reply.Fail(submitted);
}

/// The answers of one keep-alive stream, in the order of its requests. Outlives the stream while renewals are undecided.
/// Thread-safe.
class KeepAliveAnswers : public std::enable_shared_from_this<KeepAliveAnswers> {
 public:
  KeepAliveAnswers(CorePtr core, std::shared_ptr<wire::StreamWriter> writer)
      : core_(std::move(core)), writer_(std::move(writer)),
        credit_(writer_, core_->context.limits.stream_high_water_bytes) {}

  void Renew(LeaseId id, std::size_t request_bytes) VELLUM_EXCLUDES(mu_) {
    std::uint64_t number = 0;
    {
      MutexLock lock(&mu_);
      number = first_ + slots_.size();
      // The protocol's header shows the revision before the renewal.
      slots_.push_back({.id = id, .revision = core_->CurrentRevision(), .request_bytes = request_bytes, .ttl_s = {}});
    }
    core_->engine().lessor().KeepAlive(
        id, [self = shared_from_this(), number](Result<std::int64_t> ttl_s) { self->Decided(number, std::move(ttl_s)); });
  }

  /// Ends the stream once everything has been answered.
  void HalfClose() VELLUM_EXCLUDES(mu_) {
    MutexLock lock(&mu_);
    half_closed_ = true;
    if (slots_.empty()) writer_->Finish({});
  }

  void Writable() { credit_.Release(); }

 private:
  struct Slot {
    LeaseId id = 0;
    Revision revision = 0;
    std::size_t request_bytes = 0;
    std::optional<std::int64_t> ttl_s;
  };

  void Decided(std::uint64_t number, Result<std::int64_t> ttl_s) VELLUM_EXCLUDES(mu_) {
    std::size_t answered_bytes = 0;
    {
      MutexLock lock(&mu_);
      if (!ttl_s.ok()) {
        writer_->Finish(ToWire(ttl_s.error()));
        return;
      }
      slots_[static_cast<std::size_t>(number - first_)].ttl_s = *ttl_s;
      // Sent under the lock, or two threads could swap answers.
      while (!slots_.empty() && slots_.front().ttl_s) {
        Send(slots_.front());
        answered_bytes += slots_.front().request_bytes;
        slots_.pop_front();
        ++first_;
      }
      if (half_closed_ && slots_.empty()) writer_->Finish({});
    }
    credit_.Return(answered_bytes);
  }

  void Send(const Slot& slot) VELLUM_REQUIRES(mu_) {
    MessageWriter message;
    WriteHeader(&message, core_->ids, slot.revision);
    message.Signed(2, slot.id);
    message.Signed(3, *slot.ttl_s);
    writer_->Send(message.Take());
  }

  const CorePtr core_;
  const std::shared_ptr<wire::StreamWriter> writer_;
  RequestCredit credit_;
  Mutex mu_;
  std::deque<Slot> slots_ VELLUM_GUARDED_BY(mu_);  // what has not been answered, in order of arrival
  std::uint64_t first_ VELLUM_GUARDED_BY(mu_) = 0;  // number of slots_.front()
  bool half_closed_ VELLUM_GUARDED_BY(mu_) = false;
};

class KeepAliveStream final : public wire::StreamHandler {
 public:
  KeepAliveStream(CorePtr core, std::shared_ptr<wire::StreamWriter> writer)
      : core_(core), writer_(writer), registered_(&core->streams, writer),
        answers_(std::make_shared<KeepAliveAnswers>(std::move(core), std::move(writer))) {}

  void OnMessage(std::string_view message) override {
    pb::LeaseKeepAliveRequest request;
    if (!ParseMessage(message, &request)) {
      core_->keep_alive_failures.Increment();
      writer_->Finish(Malformed());
      return;
    }
    answers_->Renew(request.id(), message.size());
  }
  void OnHalfClose() override { answers_->HalfClose(); }
  void OnWritable() override { answers_->Writable(); }
  void OnClosed() override {}

 private:
  const CorePtr core_;
  const std::shared_ptr<wire::StreamWriter> writer_;
  const RegisteredStream registered_;
  const std::shared_ptr<KeepAliveAnswers> answers_;
};

}  // namespace

void RegisterLease(const CorePtr& core, wire::ServiceTable* table) {
  const std::string service = "/etcdserverpb.Lease/";
  AddUnary<pb::LeaseGrantRequest>(table, core, service + "LeaseGrant",
                                  [core](ContextPtr, pb::LeaseGrantRequest* message, std::string_view, Reply reply) {
                                    Grant(core, *message, reply);
                                  });
  AddUnary<pb::LeaseRevokeRequest>(table, core, service + "LeaseRevoke",
                                   [core](ContextPtr, pb::LeaseRevokeRequest* message, std::string_view, Reply reply) {
                                     Revoke(core, *message, reply);
                                   });
  AddUnary<pb::LeaseTimeToLiveRequest>(
      table, core, service + "LeaseTimeToLive",
      [core](ContextPtr, pb::LeaseTimeToLiveRequest* message, std::string_view, Reply reply) {
        TimeToLive(core, *message, reply);
      });
  AddUnary<pb::LeaseLeasesRequest>(
      table, core, service + "LeaseLeases",
      [core](ContextPtr, pb::LeaseLeasesRequest*, std::string_view, Reply reply) { Leases(core, reply); });
  table->AddStream(service + "LeaseKeepAlive",
                   [core](ContextPtr context, std::shared_ptr<wire::StreamWriter> writer) {
                     AdmitStream(core.get(), *context, writer.get());
                     return std::make_unique<KeepAliveStream>(core, std::move(writer));
                   });
}

}  // namespace vellum::rpc
