#pragma once

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "base/metrics.h"
#include "wire/service.h"

namespace vellum::wire {

/// Why the server ended a connection, or did not begin it.
enum class CloseReason : std::uint8_t {
  kPeer,            ///< The client closed it, or it broke.
  kShutdown,        ///< The server stops, or the exchange was over.
  kConnectionsMax,  ///< ServerOptions::connections_max.
  kWaitingMax,      ///< ServerOptions::waiting_connections_max.
  kFirstByte,       ///< first_byte_timeout and the HTTP/1.1 timeouts.
  kIdle,            ///< http_idle_timeout.
  kKeepalive,       ///< No answer to the server's own ping.
  kTooManyPings,
  kResets,
  kSettings,
  kEmptyData,
  kTinyWindows,
  kUselessFrames,
  kFlood,    ///< nghttp2's own limits: CONTINUATION, unread acknowledgements.
  kHeaders,  ///< A header block far beyond metadata_bytes_max.
  kStalled,
  kProtocol,  ///< Bytes that are not the protocol.
  kTls,       ///< A TLS handshake on a plain-text port.
  kCount,
};
std::string_view CloseReasonName(CloseReason reason);

/// Why a request was refused by the wire itself.
enum class RefuseReason : std::uint8_t {
  kReplyBudget,    ///< reply_bytes_in_flight_max or the connection's share.
  kRequestBudget,  ///< partial_request_bytes_max.
  kMessageSize,    ///< receive_message_bytes_max.
  kMetadata,       ///< metadata_bytes_max or connection_metadata_bytes_max.
  kBodySize,       ///< http_body_bytes_max.
  kCount,
};

/// What the loops count and the exposition shows. Thread-safe. Without a Metrics only the numbers that limits need
/// exist.
class WireMetrics {
 public:
  /// Registers one row per method of `table` and gRPC code. `metrics` may be null, and must outlive this.
  WireMetrics(Metrics* metrics, const ServiceTable& table);

  struct MethodCounters {
    Counter* started = nullptr;
    Counter* received = nullptr;
    Counter* sent = nullptr;
    std::array<Counter*, 17> handled{};
  };

  const MethodCounters& method(std::size_t index) const { return methods_[index]; }
  std::size_t method_count() const { return methods_.size(); }
  void AddReceivedBytes(std::uint64_t bytes);
  void AddSentBytes(std::uint64_t bytes);
  void CountOpened();
  void CountClosed(CloseReason reason);
  void CountRefused(RefuseReason reason);
  void CountAcceptPause();

  // Levels, which limits look at as well.
  std::atomic<std::int64_t> connections{0};
  std::atomic<std::int64_t> calls{0};          ///< Streams and HTTP requests that are open.
  std::atomic<std::int64_t> reply_bytes{0};    ///< Handed over by handlers and held by streams.
  std::atomic<std::int64_t> partial_bytes{0};  ///< Gathered for messages that are not complete.
  std::atomic<std::int64_t> paused{0};         ///< Connections that are not read because they owe too much.

 private:
  void RegisterMethods(Metrics* metrics, const ServiceTable& table);
  void RegisterConnections(Metrics* metrics);

  std::vector<MethodCounters> methods_;
  Counter* received_bytes_ = nullptr;
  Counter* sent_bytes_ = nullptr;
  Counter* opened_ = nullptr;
  Counter* accept_pauses_ = nullptr;
  std::array<Counter*, static_cast<std::size_t>(CloseReason::kCount)> closed_{};
  std::array<Counter*, static_cast<std::size_t>(RefuseReason::kCount)> refused_{};
  std::vector<Metrics::CallbackHandle> levels_;  // last: they read the fields above
};

/// One loop's counting, in plain integers; Publish moves it to the shared counters, once per iteration and before the
/// iteration's answers are written, so that a client that has its answer also finds it counted.
class LoopStats {
 public:
  explicit LoopStats(WireMetrics* shared) : shared_(shared), methods_(shared->method_count()) {}

  void Started(std::size_t method) { ++Touch(method).started; }
  void Received(std::size_t method, std::size_t bytes) {
    ++Touch(method).received;
    received_bytes_ += bytes;
  }
  void Sent(std::size_t method, std::size_t bytes, std::size_t messages = 1) {
    Touch(method).sent += static_cast<std::uint32_t>(messages);
    sent_bytes_ += bytes;
  }
  void Handled(std::size_t method, Code code);
  void Publish();

  WireMetrics* shared() const { return shared_; }

 private:
  struct Counts {
    std::uint32_t started = 0;
    std::uint32_t received = 0;
    std::uint32_t sent = 0;
    std::array<std::uint32_t, 17> handled{};
    bool touched = false;
  };
  Counts& Touch(std::size_t method);

  WireMetrics* const shared_;
  std::vector<Counts> methods_;
  std::vector<std::size_t> touched_;
  std::uint64_t received_bytes_ = 0;
  std::uint64_t sent_bytes_ = 0;
};

}  // namespace vellum::wire
