#include "wire/wire_metrics.h"

namespace vellum::wire {
namespace {

// The names under which Go's gRPC middleware, and so every dashboard for etcd, knows the codes.
constexpr std::array<const char*, 17> kCodeNames = {
    "OK",       "Canceled",       "Unknown",          "InvalidArgument",   "DeadlineExceeded",
    "NotFound", "AlreadyExists",  "PermissionDenied", "ResourceExhausted", "FailedPrecondition",
    "Aborted",  "OutOfRange",     "Unimplemented",    "Internal",          "Unavailable",
    "DataLoss", "Unauthenticated"};

constexpr std::array<const char*, static_cast<std::size_t>(RefuseReason::kCount)> kRefuseNames = {
    "reply_budget", "request_budget", "message_size", "metadata", "body_size"};

const char* TypeName(const ServiceTable::Method& method) {
  if (method.unary) return "unary";
  switch (method.kind) {
    case StreamKind::kServer: return "server_stream";
    case StreamKind::kClient: return "client_stream";
    case StreamKind::kBidirectional: break;
  }
  return "bidi_stream";
}

void Bump(Counter* counter, std::uint64_t by) {
  if (counter != nullptr && by > 0) counter->Increment(static_cast<double>(by));
}

}  // namespace

std::string_view CloseReasonName(CloseReason reason) {
  static constexpr std::array<std::string_view, static_cast<std::size_t>(CloseReason::kCount)> kNames = {
      "peer",           "shutdown",       "connections_max", "waiting_max", "first_byte", "idle",
      "keepalive",      "too_many_pings", "resets",          "settings",    "empty_data", "tiny_windows",
      "useless_frames", "flood",          "headers",         "stalled",     "protocol",   "tls"};
  return kNames[static_cast<std::size_t>(reason)];
}

WireMetrics::WireMetrics(Metrics* metrics, const ServiceTable& table) : methods_(table.Methods().size()) {
  if (metrics == nullptr) return;
  RegisterMethods(metrics, table);
  RegisterConnections(metrics);
}

void WireMetrics::RegisterMethods(Metrics* metrics, const ServiceTable& table) {
  for (const std::string& name : table.Methods()) {
    const ServiceTable::Method& method = *table.FindMethod(name);
    const std::size_t slash = name.rfind('/');
    MetricLabels labels{{"grpc_type", TypeName(method)},
                        {"grpc_service", name.substr(1, slash - 1)},
                        {"grpc_method", name.substr(slash + 1)}};
    MethodCounters& counters = methods_[method.index];
    counters.started =
        &metrics->AddCounter("grpc_server_started_total", "Total number of RPCs started on the server.", labels);
    counters.received = &metrics->AddCounter("grpc_server_msg_received_total",
                                             "Total number of RPC stream messages received on the server.", labels);
    counters.sent = &metrics->AddCounter("grpc_server_msg_sent_total",
                                         "Total number of gRPC stream messages sent by the server.", labels);
    for (std::size_t code = 0; code < kCodeNames.size(); ++code) {
      labels["grpc_code"] = kCodeNames[code];
      counters.handled[code] = &metrics->AddCounter(
          "grpc_server_handled_total",
          "Total number of RPCs completed on the server, regardless of success or failure.", labels);
    }
  }
  received_bytes_ = &metrics->AddCounter("etcd_network_client_grpc_received_bytes_total",
                                         "The total number of bytes received from grpc clients.");
  sent_bytes_ = &metrics->AddCounter("etcd_network_client_grpc_sent_bytes_total",
                                     "The total number of bytes sent to grpc clients.");
}

void WireMetrics::RegisterConnections(Metrics* metrics) {
  opened_ = &metrics->AddCounter("vellum_wire_connections_total", "Connections accepted.");
  accept_pauses_ = &metrics->AddCounter("vellum_wire_accept_pauses_total",
                                        "Times accepting was suspended because descriptors or memory ran out.");
  for (std::size_t i = 0; i < closed_.size(); ++i) {
    closed_[i] = &metrics->AddCounter("vellum_wire_connections_closed_total", "Connections closed, by reason.",
                                      {{"reason", std::string(CloseReasonName(static_cast<CloseReason>(i)))}});
  }
  for (std::size_t i = 0; i < refused_.size(); ++i) {
    refused_[i] =
        &metrics->AddCounter("vellum_wire_requests_refused_total",
                             "Requests refused by a limit of the transport, by limit.", {{"limit", kRefuseNames[i]}});
  }
  const auto level = [this, metrics](const char* name, const char* help, const std::atomic<std::int64_t>* value) {
    levels_.push_back(metrics->AddCallback(Metrics::Kind::kGauge, name, help, [value] {
      return static_cast<double>(value->load(std::memory_order_relaxed));
    }));
  };
  level("vellum_wire_connections", "Open connections.", &connections);
  level("vellum_wire_calls", "Open gRPC calls and HTTP requests.", &calls);
  level("vellum_wire_reply_bytes", "Bytes of answers that clients have not taken yet.", &reply_bytes);
  level("vellum_wire_partial_request_bytes", "Bytes gathered for request messages that are not complete.",
        &partial_bytes);
  level("vellum_wire_paused_connections", "Connections that are not read because they owe too many bytes.", &paused);
}

void WireMetrics::AddReceivedBytes(std::uint64_t bytes) { Bump(received_bytes_, bytes); }
void WireMetrics::AddSentBytes(std::uint64_t bytes) { Bump(sent_bytes_, bytes); }
void WireMetrics::CountOpened() { Bump(opened_, 1); }
void WireMetrics::CountAcceptPause() { Bump(accept_pauses_, 1); }
void WireMetrics::CountClosed(CloseReason reason) { Bump(closed_[static_cast<std::size_t>(reason)], 1); }
void WireMetrics::CountRefused(RefuseReason reason) { Bump(refused_[static_cast<std::size_t>(reason)], 1); }

LoopStats::Counts& LoopStats::Touch(std::size_t method) {
  Counts& counts = methods_[method];
  if (!counts.touched) {
    counts.touched = true;
    touched_.push_back(method);
  }
  return counts;
}

void LoopStats::Handled(std::size_t method, Code code) {
  const auto number = static_cast<std::size_t>(code);
  ++Touch(method).handled[number < kCodeNames.size() ? number : static_cast<std::size_t>(Code::kUnknown)];
}

void LoopStats::Publish() {
  for (const std::size_t index : touched_) {
    const WireMetrics::MethodCounters& to = shared_->method(index);
    const Counts& from = methods_[index];
    Bump(to.started, from.started);
    Bump(to.received, from.received);
    Bump(to.sent, from.sent);
    for (std::size_t code = 0; code < from.handled.size(); ++code) Bump(to.handled[code], from.handled[code]);
    methods_[index] = {};
  }
  touched_.clear();
  shared_->AddReceivedBytes(received_bytes_);
  shared_->AddSentBytes(sent_bytes_);
  received_bytes_ = sent_bytes_ = 0;
}

}  // namespace vellum::wire
