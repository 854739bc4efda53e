#include "rpc/core.h"

#include <limits>
#include <vector>

#include "base/utf8.h"

namespace vellum::rpc {
namespace {

constexpr char kRangeSecondsName[] = "etcd_server_range_duration_seconds";
constexpr char kRangeSecondsHelp[] = "Duration of range requests, by outcome.";

std::vector<double> RangeBuckets() { return ExponentialBuckets(0.0001, 2, 20); }

Counter& StreamFailures(Metrics* metrics, const char* api) {
  return metrics->AddCounter("etcd_network_server_stream_failures_total", "Streams that a bad request ended.",
                             {{"Type", "receive"}, {"API", api}});
}

}  // namespace

void Reply::Finish(const google::protobuf::MessageLite& message) const {
  wire::Message pieces(1);
  message.SerializeToString(&pieces.front().own);
  reply_->Finish(std::move(pieces));
}

void Reply::Fail(const Status& status) const { reply_->Fail(ToWire(status)); }

void Reply::Fail(EtcdError error) const { reply_->Fail(MakeError(error)); }

std::uint64_t StreamRegistry::Add(std::shared_ptr<wire::StreamWriter> writer) {
  Status finished;
  std::uint64_t id = 0;
  {
    MutexLock lock(&mu_);
    id = next_++;
    finished = finished_;
    if (finished.ok()) streams_.emplace(id, writer);
  }
  if (!finished.ok()) writer->Finish(std::move(finished));
  return id;
}

void StreamRegistry::Remove(std::uint64_t id) {
  std::shared_ptr<wire::StreamWriter> gone;  // dropped outside the lock
  MutexLock lock(&mu_);
  const auto found = streams_.find(id);
  if (found == streams_.end()) return;
  gone = std::move(found->second);
  streams_.erase(found);
}

void StreamRegistry::FinishAll(Status status) {
  std::vector<std::shared_ptr<wire::StreamWriter>> writers;
  {
    MutexLock lock(&mu_);
    finished_ = status;
    writers.reserve(streams_.size());
    for (const auto& [id, writer] : streams_) writers.push_back(writer);
  }
  for (const auto& writer : writers) writer->Finish(status);
}

void RequestCredit::Return(std::size_t bytes) {
  if (bytes == 0) return;
  {
    MutexLock lock(&mu_);
    held_ += bytes;
  }
  // Looked at after adding: if the stream becomes writable in between, one of the two sees the other.
  if (writer_->unsent_bytes() <= unsent_max_) Release();
}

void RequestCredit::Release() {
  std::size_t bytes = 0;
  {
    MutexLock lock(&mu_);
    bytes = std::exchange(held_, 0);
  }
  if (bytes > 0) writer_->Consumed(bytes);
}

Status ClientRequestCounter::Count(bool stream, const wire::Metadata& metadata) {
  std::string_view version = wire::Find(metadata, "client-api-version").value_or("unknown");
  if (!IsUtf8(version)) return MakeError(EtcdError::kInvalidClientApiVersion);
  if (version.size() > kVersionBytesMax) version = "other";
  Counters counters;
  {
    MutexLock lock(&mu_);
    auto found = versions_.find(version);
    if (found == versions_.end()) {
      if (versions_.size() >= kVersionsMax) version = "other";
      found = versions_.find(version);
    }
    if (found == versions_.end()) {
      const auto make = [&](const char* type) {
        return &metrics_->AddCounter("etcd_server_client_requests_total",
                                     "Calls by kind and by the version of the client's API.",
                                     {{"type", type}, {"client_api_version", std::string(version)}});
      };
      found = versions_.emplace(std::string(version), Counters{make("unary"), make("stream")}).first;
    }
    counters = found->second;
  }
  (stream ? counters.stream : counters.unary)->Increment();
  return {};
}

Core::Core(ServiceContext from)
    : context(std::move(from)),
      ids{context.identity.cluster_id, context.identity.member_id, context.identity.raft_term},
      client_requests(context.metrics),
      range_total(context.metrics->AddCounter("etcd_mvcc_range_total", "Ranges, those inside transactions too.")),
      txn_total(context.metrics->AddCounter("etcd_mvcc_txn_total", "Transactions of more than one operation.")),
      range_seconds_ok(context.metrics->AddHistogram(kRangeSecondsName, kRangeSecondsHelp, RangeBuckets(),
                                                     {{"success", "true"}})),
      range_seconds_failed(context.metrics->AddHistogram(kRangeSecondsName, kRangeSecondsHelp, RangeBuckets(),
                                                         {{"success", "false"}})),
      watch_failures(StreamFailures(context.metrics, "watch")),
      keep_alive_failures(StreamFailures(context.metrics, "lease-keepalive")) {}

bool Admit(Core* core, const wire::CallContext& context, const Reply& reply) {
  if (core->stopping.load(std::memory_order_acquire)) {
    reply.Fail(EtcdError::kStopped);
    return false;
  }
  Status counted = core->client_requests.Count(false, context.metadata);
  if (counted.ok()) return true;
  reply.FailAsIs(std::move(counted));
  return false;
}

void AdmitStream(Core* core, const wire::CallContext& context, wire::StreamWriter* writer) {
  Status counted = core->client_requests.Count(true, context.metadata);
  if (!counted.ok()) writer->Finish(std::move(counted));
}

bool ParseMessage(std::string_view bytes, google::protobuf::MessageLite* message) {
  return bytes.size() <= static_cast<std::size_t>(std::numeric_limits<int>::max()) &&
         message->ParseFromArray(bytes.data(), static_cast<int>(bytes.size()));
}

Status Malformed() { return Internal("grpc: error unmarshalling request: the bytes are not the expected message"); }

}  // namespace vellum::rpc
