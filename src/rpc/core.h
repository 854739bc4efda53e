#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>

#include <google/protobuf/arena.h>
#include <google/protobuf/message_lite.h>

#include "base/mutex.h"
#include "rpc/encode.h"
#include "rpc/errors.h"
#include "rpc/services.h"

/// What all services share: the context, headers, answers, running streams, metrics.
namespace vellum::rpc {

/// A wire::UnaryReply that callbacks can copy. Exactly one of its functions must be called, once.
class Reply {
 public:
  explicit Reply(std::unique_ptr<wire::UnaryReply> reply) : reply_(std::move(reply)) {}

  void Finish(wire::Message message) const { reply_->Finish(std::move(message)); }
  /// A small answer that is a protobuf message.
  void Finish(const google::protobuf::MessageLite& message) const;
  /// A failure of the domain; ToWire gives it code and text.
  void Fail(const Status& status) const;
  void Fail(EtcdError error) const;
  /// A failure whose code and text are the wire's already.
  void FailAsIs(Status status) const { reply_->Fail(std::move(status)); }

 private:
  std::shared_ptr<wire::UnaryReply> reply_;
};

/// Streams that have to be ended when the services stop. Thread-safe.
class StreamRegistry {
 public:
  /// Ends `writer`'s stream by itself if FinishAll was called before. The number is for Remove.
  std::uint64_t Add(std::shared_ptr<wire::StreamWriter> writer) VELLUM_EXCLUDES(mu_);
  void Remove(std::uint64_t id) VELLUM_EXCLUDES(mu_);
  /// Ends all streams, those of later Add calls too.
  void FinishAll(Status status) VELLUM_EXCLUDES(mu_);

 private:
  Mutex mu_;
  std::unordered_map<std::uint64_t, std::shared_ptr<wire::StreamWriter>> streams_ VELLUM_GUARDED_BY(mu_);
  std::uint64_t next_ VELLUM_GUARDED_BY(mu_) = 1;
  Status finished_ VELLUM_GUARDED_BY(mu_);
};

/// Gives a client window for its requests back, but only while it also reads the answers. Thread-safe.
class RequestCredit {
 public:
  RequestCredit(std::shared_ptr<wire::StreamWriter> writer, std::size_t unsent_max)
      : writer_(std::move(writer)), unsent_max_(unsent_max) {}
  /// A request of `bytes` has been answered.
  void Return(std::size_t bytes) VELLUM_EXCLUDES(mu_);
  /// The stream is writable again: gives back what was held.
  void Release() VELLUM_EXCLUDES(mu_);

 private:
  const std::shared_ptr<wire::StreamWriter> writer_;
  const std::size_t unsent_max_;
  Mutex mu_;
  std::size_t held_ VELLUM_GUARDED_BY(mu_) = 0;
};

/// A stream's entry in the registry, for as long as this exists.
class RegisteredStream {
 public:
  RegisteredStream(StreamRegistry* registry, std::shared_ptr<wire::StreamWriter> writer)
      : registry_(registry), id_(registry->Add(std::move(writer))) {}
  ~RegisteredStream() { registry_->Remove(id_); }
  RegisteredStream(const RegisteredStream&) = delete;
  RegisteredStream& operator=(const RegisteredStream&) = delete;

 private:
  StreamRegistry* const registry_;
  const std::uint64_t id_;
};

/// etcd_server_client_requests_total, whose label comes from clients: only so many different values are kept.
class ClientRequestCounter {
 public:
  explicit ClientRequestCounter(Metrics* metrics) : metrics_(metrics) {}
  /// kInvalidArgument for a version that is no UTF-8.
  Status Count(bool stream, const wire::Metadata& metadata) VELLUM_EXCLUDES(mu_);

 private:
  static constexpr std::size_t kVersionsMax = 64;
  static constexpr std::size_t kVersionBytesMax = 64;
  struct Counters {
    Counter* unary = nullptr;
    Counter* stream = nullptr;
  };
  struct Hash {
    using is_transparent = void;
    std::size_t operator()(std::string_view text) const { return std::hash<std::string_view>{}(text); }
  };

  Metrics* const metrics_;
  Mutex mu_;
  std::unordered_map<std::string, Counters, Hash, std::equal_to<>> versions_ VELLUM_GUARDED_BY(mu_);
};

/// Shared by pointer with every callback that may outlive a call, so that the order in which things stop cannot matter.
struct Core {
  explicit Core(ServiceContext from);

  kv::Engine& engine() const { return *context.engine; }
  /// The store's present revision.
  Revision CurrentRevision() const { return context.engine->CurrentView()->revision(); }
  /// A header as a protobuf message.
  template <typename Header>
  void FillHeader(Revision revision, Header* header) const {
    header->set_cluster_id(ids.cluster_id);
    header->set_member_id(ids.member_id);
    header->set_revision(revision);
    header->set_raft_term(ids.raft_term);
  }

  const ServiceContext context;
  const HeaderIds ids;

  std::atomic<bool> stopping{false};
  StreamRegistry streams;
  ClientRequestCounter client_requests;

  // Constant after construction; the metrics live as long as context.metrics.
  Counter& range_total;
  Counter& txn_total;
  Histogram& range_seconds_ok;
  Histogram& range_seconds_failed;
  Counter& watch_failures;       ///< etcd_network_server_stream_failures_total
  Counter& keep_alive_failures;  ///< The same.
};
using CorePtr = std::shared_ptr<Core>;

/// Counts the call and refuses it when the services have stopped. False: it has been answered.
bool Admit(Core* core, const wire::CallContext& context, const Reply& reply);
/// The same for a stream; the caller still has to return a handler.
void AdmitStream(Core* core, const wire::CallContext& context, wire::StreamWriter* writer);
/// False: the bytes are no such message, or more than protobuf can count.
bool ParseMessage(std::string_view bytes, google::protobuf::MessageLite* message);
/// What gRPC libraries say of bytes that are not the expected message; the wire's text already.
Status Malformed();

/// The stack's part of what a request is parsed into.
inline constexpr std::size_t kRequestBlockBytes = 1024;

/// Registers a unary method whose request has been parsed into an arena message when `handle` runs, on the event loop.
/// Bytes that are no such message are answered with kInternal, as gRPC libraries do.
template <typename Request>
void AddUnary(wire::ServiceTable* table, const CorePtr& core, std::string method,
              std::function<void(std::shared_ptr<const wire::CallContext>, Request*, std::string_view, Reply)> handle) {
  table->AddUnary(std::move(method), [core, handle = std::move(handle)](std::shared_ptr<const wire::CallContext> context,
                                                                       std::string_view bytes,
                                                                       std::unique_ptr<wire::UnaryReply> reply) {
    const Reply answer(std::move(reply));
    if (!Admit(core.get(), *context, answer)) return;
    // Most requests fit into the first block, so that they take nothing from the allocator.
    alignas(std::max_align_t) char block[kRequestBlockBytes];
    google::protobuf::ArenaOptions options;
    options.initial_block = block;
    options.initial_block_size = sizeof(block);
    google::protobuf::Arena arena(options);
    auto* request = google::protobuf::Arena::CreateMessage<Request>(&arena);
    if (!ParseMessage(bytes, request)) {
      answer.FailAsIs(Malformed());
      return;
    }
    handle(std::move(context), request, bytes, answer);
  });
}

}  // namespace vellum::rpc
