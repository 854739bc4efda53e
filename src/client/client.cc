#include "client/client.h"

#include <grpcpp/generic/generic_stub.h>
#include <grpcpp/grpcpp.h>

#include <atomic>
#include <future>
#include <utility>

#include "client/call_stream.h"
#include "client/channel.h"
#include "etcdserverpb/rpc.grpc.pb.h"
#include "grpc/health/v1/health.grpc.pb.h"
#include "rpc/convert.h"
#include "rpc/errors.h"

namespace vellum::client {
namespace {

namespace pb = ::etcdserverpb;
namespace health = ::grpc::health::v1;

using Clock = std::chrono::system_clock;

// A failure after which it is not known what the server did.
bool IsOutcomeUnknown(grpc::StatusCode code) {
  switch (code) {
    case grpc::StatusCode::UNAVAILABLE:
    case grpc::StatusCode::DEADLINE_EXCEEDED:
    case grpc::StatusCode::CANCELLED:
    case grpc::StatusCode::UNKNOWN:
    case grpc::StatusCode::INTERNAL:
      return true;
    default:
      return false;
  }
}

Status FromGrpc(const grpc::Status& status) {
  if (status.ok()) return {};
  return rpc::FromWire(static_cast<int>(status.error_code()), status.error_message());
}

/// A connection to one server, with everything that can be called over it.
struct Endpoint {
  Endpoint(std::string endpoint_name, const std::string& target, const ClientOptions& options)
      : name(std::move(endpoint_name)), channel(OpenChannel(target, options.receive_bytes_max)), kv(pb::KV::NewStub(channel)),
        watch(pb::Watch::NewStub(channel)), lease(pb::Lease::NewStub(channel)),
        maintenance(pb::Maintenance::NewStub(channel)), cluster(pb::Cluster::NewStub(channel)),
        health(health::Health::NewStub(channel)), generic(channel) {}

  bool WaitUntilConnected(Clock::time_point deadline) const {
    return channel->GetState(true) == GRPC_CHANNEL_READY || channel->WaitForConnected(deadline);
  }

  const std::string name;
  const std::shared_ptr<grpc::Channel> channel;
  const std::unique_ptr<pb::KV::Stub> kv;
  const std::unique_ptr<pb::Watch::Stub> watch;
  const std::unique_ptr<pb::Lease::Stub> lease;
  const std::unique_ptr<pb::Maintenance::Stub> maintenance;
  const std::unique_ptr<pb::Cluster::Stub> cluster;
  const std::unique_ptr<health::Health::Stub> health;
  grpc::GenericStub generic;
};

WatchResponse TakeWatchResponse(pb::WatchResponse* message) {
  WatchResponse response;
  response.revision = message->header().revision();
  response.watch_id = message->watch_id();
  response.created = message->created();
  response.canceled = message->canceled();
  response.compact_revision = message->compact_revision();
  response.cancel_reason = std::move(*message->mutable_cancel_reason());
  response.fragment = message->fragment();
  response.events.reserve(static_cast<std::size_t>(message->events_size()));
  for (mvccpb::Event& event : *message->mutable_events()) response.events.push_back(rpc::TakeEvent(&event));
  return response;
}

pb::WatchRequest ToMessage(const WatchRequest& request) {
  pb::WatchRequest message;
  pb::WatchCreateRequest* create = message.mutable_create_request();
  create->set_key(request.key);
  create->set_range_end(request.range_end);
  create->set_start_revision(request.start_revision);
  create->set_progress_notify(request.progress_notify);
  if (request.no_put) create->add_filters(pb::WatchCreateRequest::NOPUT);
  if (request.no_delete) create->add_filters(pb::WatchCreateRequest::NODELETE);
  create->set_prev_kv(request.prev_kv);
  create->set_watch_id(request.watch_id);
  create->set_fragment(request.fragment);
  return message;
}

std::vector<AlarmInfo> TakeAlarms(const pb::AlarmResponse& message) {
  std::vector<AlarmInfo> alarms;
  for (const pb::AlarmMember& alarm : message.alarms()) {
    alarms.push_back({.member_id = alarm.memberid(), .alarm = static_cast<Alarm>(alarm.alarm())});
  }
  return alarms;
}

/// A bidirectional call with its reader.
template <typename Request, typename Message, typename Answer>
class StreamCall {
 public:
  using Stream = grpc::ClientReaderWriter<Request, Message>;
  using Opener = std::function<std::unique_ptr<Stream>(grpc::ClientContext*)>;

  StreamCall(const Opener& open, Answer (*take)(Message*))
      : stream_(open(&context_)),
        answers_(
            [this, take]() -> std::optional<Answer> {
              Message message;
              if (!stream_->Read(&message)) return std::nullopt;
              return take(&message);
            },
            [this] { return FromGrpc(stream_->Finish()); }) {}
  ~StreamCall() { context_.TryCancel(); }

  bool Write(const Request& request) VELLUM_EXCLUDES(write_mu_) {
    MutexLock lock(&write_mu_);
    return !half_closed_ && stream_->Write(request);
  }
  bool HalfClose() VELLUM_EXCLUDES(write_mu_) {
    MutexLock lock(&write_mu_);
    if (half_closed_) return false;
    half_closed_ = true;
    return stream_->WritesDone();
  }
  Result<Answer> Next(std::chrono::milliseconds patience) { return answers_.Next(patience); }

 private:
  grpc::ClientContext context_;
  std::unique_ptr<Stream> stream_;
  Mutex write_mu_;
  bool half_closed_ VELLUM_GUARDED_BY(write_mu_) = false;
  AnswerQueue<Answer> answers_;  // last: its thread uses the others
};

}  // namespace

struct WatchStream::Impl : StreamCall<pb::WatchRequest, pb::WatchResponse, WatchResponse> {
  using StreamCall::StreamCall;
};

WatchStream::WatchStream(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
WatchStream::~WatchStream() = default;

bool WatchStream::Create(const WatchRequest& request) { return impl_->Write(ToMessage(request)); }

bool WatchStream::Cancel(std::int64_t watch_id) {
  pb::WatchRequest message;
  message.mutable_cancel_request()->set_watch_id(watch_id);
  return impl_->Write(message);
}

bool WatchStream::RequestProgress() {
  pb::WatchRequest message;
  message.mutable_progress_request();
  return impl_->Write(message);
}

bool WatchStream::HalfClose() { return impl_->HalfClose(); }

Result<WatchResponse> WatchStream::Next(std::chrono::milliseconds patience) { return impl_->Next(patience); }

struct KeepAliveStream::Impl : StreamCall<pb::LeaseKeepAliveRequest, pb::LeaseKeepAliveResponse, Answer> {
  using StreamCall::StreamCall;
};

KeepAliveStream::KeepAliveStream(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
KeepAliveStream::~KeepAliveStream() = default;

bool KeepAliveStream::Renew(LeaseId id) {
  pb::LeaseKeepAliveRequest message;
  message.set_id(id);
  return impl_->Write(message);
}

bool KeepAliveStream::HalfClose() { return impl_->HalfClose(); }

Result<KeepAliveStream::Answer> KeepAliveStream::Next(std::chrono::milliseconds patience) {
  return impl_->Next(patience);
}

struct Client::Impl {
  explicit Impl(ClientOptions from) : options(std::move(from)) {}

  enum class Kind { kRead, kWrite };

  /// The endpoint to use: the one that answered last, or the first one after it that can be connected.
  Result<Endpoint*> Connected() {
    const Clock::time_point deadline = Clock::now() + options.dial_timeout;
    const std::size_t first = current.load();
    for (std::size_t i = 0; i < endpoints.size(); ++i) {
      const std::size_t index = (first + i) % endpoints.size();
      if (!endpoints[index]->WaitUntilConnected(deadline)) continue;
      current.store(index);
      return endpoints[index].get();
    }
    return Unavailable("no endpoint could be connected within " + std::to_string(options.dial_timeout.count()) +
                       " ms, the last one tried was " + endpoints[(first + endpoints.size() - 1) % endpoints.size()]->name);
  }

  /// One call, of a read on as many endpoints as it takes.
  Status Call(Kind kind, const std::function<grpc::Status(Endpoint&, grpc::ClientContext*)>& call) {
    for (std::size_t attempt = 1;; ++attempt) {
      // Failing here means that nothing has been sent.
      VELLUM_ASSIGN_OR_RETURN(Endpoint * endpoint, Connected());
      grpc::ClientContext context;
      context.set_deadline(Clock::now() + options.call_timeout);
      const grpc::Status status = call(*endpoint, &context);
      if (status.ok()) return {};
      const bool elsewhere = status.error_code() == grpc::StatusCode::UNAVAILABLE && attempt < endpoints.size();
      if (elsewhere) current.store((current.load() + 1) % endpoints.size());
      if (kind == Kind::kRead && elsewhere) continue;
      Status failure = FromGrpc(status);
      if (kind == Kind::kWrite && IsOutcomeUnknown(status.error_code())) return std::move(failure).WithMaybeApplied();
      return failure;
    }
  }

  /// A call of a generated stub's method.
  template <typename Stub, typename Request, typename Response>
  Status Unary(Kind kind, const std::unique_ptr<Stub> Endpoint::*stub,
               grpc::Status (Stub::*method)(grpc::ClientContext*, const Request&, Response*), const Request& request,
               Response* response) {
    return Call(kind, [&](Endpoint& endpoint, grpc::ClientContext* context) {
      return ((*(endpoint.*stub)).*method)(context, request, response);
    });
  }

  const ClientOptions options;
  std::vector<std::unique_ptr<Endpoint>> endpoints;  // constant after Connect
  std::atomic<std::size_t> current{0};
};

Client::Client(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
Client::~Client() = default;

Result<std::unique_ptr<Client>> Client::Connect(ClientOptions options) {
  auto impl = std::make_unique<Impl>(std::move(options));
  for (const std::string& name : impl->options.endpoints) {
    VELLUM_ASSIGN_OR_RETURN(const std::string target, ToTarget(name));
    impl->endpoints.push_back(std::make_unique<Endpoint>(name, target, impl->options));
  }
  if (impl->endpoints.empty()) return InvalidArgument("there are no endpoints to connect to");
  const auto connected = impl->Connected();
  if (!connected.ok()) return connected.error();
  return std::unique_ptr<Client>(new Client(std::move(impl)));
}

Result<RangeResponse> Client::Range(const RangeRequest& request) {
  pb::RangeRequest message;
  rpc::FillRange(request, &message);
  pb::RangeResponse response;
  VELLUM_TRY(impl_->Unary(Impl::Kind::kRead, &Endpoint::kv, &pb::KV::Stub::Range, message, &response));
  return rpc::TakeRangeResponse(&response);
}

Result<PutResponse> Client::Put(const PutRequest& request) {
  pb::PutRequest message;
  rpc::FillPut(request, &message);
  pb::PutResponse response;
  VELLUM_TRY(impl_->Unary(Impl::Kind::kWrite, &Endpoint::kv, &pb::KV::Stub::Put, message, &response));
  return rpc::TakePutResponse(&response);
}

Result<DeleteRangeResponse> Client::DeleteRange(const DeleteRangeRequest& request) {
  pb::DeleteRangeRequest message;
  rpc::FillDeleteRange(request, &message);
  pb::DeleteRangeResponse response;
  VELLUM_TRY(impl_->Unary(Impl::Kind::kWrite, &Endpoint::kv, &pb::KV::Stub::DeleteRange, message, &response));
  return rpc::TakeDeleteRangeResponse(&response);
}

Result<TxnResponse> Client::Txn(const TxnRequest& request) {
  pb::TxnRequest message;
  rpc::FillTxn(request, &message);
  pb::TxnResponse response;
  VELLUM_TRY(impl_->Unary(Impl::Kind::kWrite, &Endpoint::kv, &pb::KV::Stub::Txn, message, &response));
  return rpc::TakeTxnResponse(&response);
}

Result<Revision> Client::Compact(Revision revision, bool physical) {
  pb::CompactionRequest message;
  message.set_revision(revision);
  message.set_physical(physical);
  pb::CompactionResponse response;
  VELLUM_TRY(impl_->Unary(Impl::Kind::kWrite, &Endpoint::kv, &pb::KV::Stub::Compact, message, &response));
  return response.header().revision();
}

Result<LeaseGrantResponse> Client::LeaseGrant(std::int64_t ttl_s, LeaseId id) {
  pb::LeaseGrantRequest message;
  message.set_ttl(ttl_s);
  message.set_id(id);
  pb::LeaseGrantResponse response;
  VELLUM_TRY(impl_->Unary(Impl::Kind::kWrite, &Endpoint::lease, &pb::Lease::Stub::LeaseGrant, message, &response));
  return LeaseGrantResponse{.revision = response.header().revision(), .id = response.id(), .ttl_s = response.ttl()};
}

Result<Revision> Client::LeaseRevoke(LeaseId id) {
  pb::LeaseRevokeRequest message;
  message.set_id(id);
  pb::LeaseRevokeResponse response;
  VELLUM_TRY(impl_->Unary(Impl::Kind::kWrite, &Endpoint::lease, &pb::Lease::Stub::LeaseRevoke, message, &response));
  return response.header().revision();
}

Result<std::int64_t> Client::LeaseKeepAliveOnce(LeaseId id) {
  VELLUM_ASSIGN_OR_RETURN(const std::unique_ptr<KeepAliveStream> stream, KeepAlive());
  stream->Renew(id);
  stream->HalfClose();
  VELLUM_ASSIGN_OR_RETURN(const KeepAliveStream::Answer answer, stream->Next(impl_->options.call_timeout));
  return answer.ttl_s;
}

Result<LeaseTimeToLiveResponse> Client::LeaseTimeToLive(LeaseId id, bool keys) {
  pb::LeaseTimeToLiveRequest message;
  message.set_id(id);
  message.set_keys(keys);
  pb::LeaseTimeToLiveResponse response;
  VELLUM_TRY(impl_->Unary(Impl::Kind::kRead, &Endpoint::lease, &pb::Lease::Stub::LeaseTimeToLive, message, &response));
  return LeaseTimeToLiveResponse{.revision = response.header().revision(),
                                 .id = response.id(),
                                 .ttl_s = response.ttl(),
                                 .granted_ttl_s = response.grantedttl(),
                                 .keys = {response.keys().begin(), response.keys().end()}};
}

Result<std::vector<LeaseId>> Client::Leases() {
  pb::LeaseLeasesResponse response;
  VELLUM_TRY(impl_->Unary(Impl::Kind::kRead, &Endpoint::lease, &pb::Lease::Stub::LeaseLeases,
                          pb::LeaseLeasesRequest(), &response));
  std::vector<LeaseId> ids;
  for (const pb::LeaseStatus& lease : response.leases()) ids.push_back(lease.id());
  return ids;
}

Result<ServerStatus> Client::GetStatus() {
  pb::StatusResponse response;
  VELLUM_TRY(impl_->Unary(Impl::Kind::kRead, &Endpoint::maintenance, &pb::Maintenance::Stub::Status,
                          pb::StatusRequest(), &response));
  ServerStatus status;
  status.cluster_id = response.header().cluster_id();
  status.member_id = response.header().member_id();
  status.revision = response.header().revision();
  status.version = response.version();
  status.storage_version = response.storageversion();
  status.db_bytes = response.dbsize();
  status.db_bytes_in_use = response.dbsizeinuse();
  status.db_quota_bytes = response.dbsizequota();
  status.leader = response.leader();
  status.raft_term = response.raftterm();
  status.raft_index = response.raftindex();
  status.applied_index = response.raftappliedindex();
  status.errors.assign(response.errors().begin(), response.errors().end());
  return status;
}

Result<HashKvResponse> Client::HashKv(Revision revision) {
  pb::HashKVRequest message;
  message.set_revision(revision);
  pb::HashKVResponse response;
  VELLUM_TRY(impl_->Unary(Impl::Kind::kRead, &Endpoint::maintenance, &pb::Maintenance::Stub::HashKV, message, &response));
  return HashKvResponse{.revision = response.header().revision(),
                        .hash = response.hash(),
                        .hash_revision = response.hash_revision(),
                        .compact_revision = response.compact_revision()};
}

Status Client::Defragment() {
  pb::DefragmentResponse response;
  // Repeating it elsewhere would be another member's.
  return impl_->Unary(Impl::Kind::kWrite, &Endpoint::maintenance, &pb::Maintenance::Stub::Defragment,
                      pb::DefragmentRequest(), &response);
}

Result<std::vector<AlarmInfo>> Client::Alarms() {
  pb::AlarmResponse response;
  VELLUM_TRY(impl_->Unary(Impl::Kind::kRead, &Endpoint::maintenance, &pb::Maintenance::Stub::Alarm, pb::AlarmRequest(),
                          &response));
  return TakeAlarms(response);
}

Result<std::vector<AlarmInfo>> Client::Disarm(Alarm alarm) {
  VELLUM_ASSIGN_OR_RETURN(const std::vector<AlarmInfo> active, Alarms());
  std::vector<AlarmInfo> disarmed;
  for (const AlarmInfo& info : active) {
    if (alarm != Alarm::kAny && info.alarm != alarm) continue;
    pb::AlarmRequest message;
    message.set_action(pb::AlarmRequest::DEACTIVATE);
    message.set_memberid(info.member_id);
    message.set_alarm(static_cast<pb::AlarmType>(info.alarm));
    pb::AlarmResponse response;
    VELLUM_TRY(
        impl_->Unary(Impl::Kind::kWrite, &Endpoint::maintenance, &pb::Maintenance::Stub::Alarm, message, &response));
    for (const AlarmInfo& gone : TakeAlarms(response)) disarmed.push_back(gone);
  }
  return disarmed;
}

Result<std::vector<MemberInfo>> Client::Members() {
  pb::MemberListResponse response;
  VELLUM_TRY(impl_->Unary(Impl::Kind::kRead, &Endpoint::cluster, &pb::Cluster::Stub::MemberList,
                          pb::MemberListRequest(), &response));
  std::vector<MemberInfo> members;
  for (const pb::Member& member : response.members()) {
    members.push_back({.id = member.id(),
                       .name = member.name(),
                       .peer_urls = {member.peerurls().begin(), member.peerurls().end()},
                       .client_urls = {member.clienturls().begin(), member.clienturls().end()}});
  }
  return members;
}

Result<bool> Client::Healthy(const std::string& service) {
  health::HealthCheckRequest message;
  message.set_service(service);
  health::HealthCheckResponse response;
  VELLUM_TRY(impl_->Unary(Impl::Kind::kRead, &Endpoint::health, &health::Health::Stub::Check, message, &response));
  return response.status() == health::HealthCheckResponse::SERVING;
}

Result<std::unique_ptr<WatchStream>> Client::Watch() {
  VELLUM_ASSIGN_OR_RETURN(Endpoint * endpoint, impl_->Connected());
  auto impl = std::make_unique<WatchStream::Impl>(
      [endpoint](grpc::ClientContext* context) { return endpoint->watch->Watch(context); }, TakeWatchResponse);
  return std::unique_ptr<WatchStream>(new WatchStream(std::move(impl)));
}

Result<std::unique_ptr<KeepAliveStream>> Client::KeepAlive() {
  VELLUM_ASSIGN_OR_RETURN(Endpoint * endpoint, impl_->Connected());
  auto impl = std::make_unique<KeepAliveStream::Impl>(
      [endpoint](grpc::ClientContext* context) { return endpoint->lease->LeaseKeepAlive(context); },
      +[](pb::LeaseKeepAliveResponse* message) {
        return KeepAliveStream::Answer{
            .revision = message->header().revision(), .id = message->id(), .ttl_s = message->ttl()};
      });
  return std::unique_ptr<KeepAliveStream>(new KeepAliveStream(std::move(impl)));
}

Result<std::string> Client::Call(const std::string& method, const std::string& request) {
  grpc::Slice slice(request);
  const grpc::ByteBuffer message(&slice, 1);
  grpc::ByteBuffer response;
  VELLUM_TRY(impl_->Call(Impl::Kind::kWrite, [&](Endpoint& endpoint, grpc::ClientContext* context) {
    std::promise<grpc::Status> done;
    endpoint.generic.UnaryCall(context, method, grpc::StubOptions(), &message, &response,
                               [&done](grpc::Status status) { done.set_value(std::move(status)); });
    return done.get_future().get();
  }));
  std::vector<grpc::Slice> slices;
  if (!response.Dump(&slices).ok()) return Internal("the answer cannot be read");
  std::string bytes;
  for (const grpc::Slice& piece : slices) bytes.append(reinterpret_cast<const char*>(piece.begin()), piece.size());
  return bytes;
}

}  // namespace vellum::client
