#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "base/log.h"
#include "base/metrics.h"
#include "wire/service.h"

namespace vellum::wire {

/// Where to listen. "127.0.0.1:2379", "[::1]:2379", ":2379" (all), or a path for a unix socket.
struct Endpoint {
  enum class Kind : std::uint8_t { kTcp, kUnix };
  Kind kind = Kind::kTcp;
  std::string host;
  std::uint16_t port = 0;     ///< 0: any free one; see Server::addresses().
  std::string path;           ///< kUnix.
  bool metrics_only = false;  ///< Serves HTTP routes but no gRPC.
};

/// How often something may happen on one connection: `burst` at once and `per_second` in the long run. Whoever exceeds
/// it is told ENHANCE_YOUR_CALM and disconnected.
struct RateLimit {
  std::uint32_t burst;
  std::uint32_t per_second;
};

/// Limits and timers of the transport. Each default stands here and nowhere else.
struct ServerOptions {
  std::vector<Endpoint> endpoints;
  int loops = 1;
  std::uint32_t concurrent_streams_max = 100'000;     ///< Per connection.
  std::size_t receive_message_bytes_max = 2'097'152;  ///< A request message; more answers kResourceExhausted.
  std::size_t send_message_bytes_max = 2'147'483'647;
  std::size_t connections_max = 100'000;                  ///< More are accepted and closed at once.
  std::size_t waiting_connections_max = 4'096;            ///< That have not said anything yet; the oldest goes first.
  std::size_t metadata_bytes_max = 64u << 10;             ///< Of one request's headers, as HTTP/2 counts them.
  std::size_t connection_metadata_bytes_max = 64u << 20;  ///< Of all open requests of one connection.
  std::size_t http_body_bytes_max = 1u << 20;             ///< Of a request that is not gRPC; more answers 413.
  std::size_t partial_request_bytes_max = 512u
                                          << 20;     ///< Messages still arriving, all connections; kResourceExhausted.
  std::uint32_t stream_window_bytes = 1u << 20;      ///< How much a client may send ahead on a stream ...
  std::uint32_t connection_window_bytes = 8u << 20;  ///< ... and on a connection.
  std::size_t connection_unsent_bytes_max = 1u << 20;   ///< If the socket is full too, the connection is not read.
  std::size_t connection_reply_bytes_max = 256u << 20;  ///< One connection's share of reply_bytes_in_flight_max.
  std::size_t stream_high_water_bytes = 64u << 10;      ///< Beyond it a stream is "not writable".
  std::size_t reply_bytes_in_flight_max = 1u << 30;     ///< All connections; beyond: kResourceExhausted.
  /// Until a connection's first bytes, HTTP/2 SETTINGS, a begun header block or a begun HTTP/1.1 request's headers are
  /// complete.
  std::chrono::milliseconds first_byte_timeout{5000};
  std::chrono::milliseconds http_body_timeout{30'000};   ///< Until a begun HTTP/1.1 request's body is complete.
  std::chrono::milliseconds http_idle_timeout{120'000};  ///< Between the requests of an HTTP/1.1 connection.
  /// A connection that owes more than connection_unsent_bytes_max and takes nothing for so long is closed.
  std::chrono::milliseconds stalled_timeout{120'000};
  std::chrono::seconds keepalive_interval{7200};  ///< The server's own pings.
  std::chrono::seconds keepalive_timeout{20};
  std::chrono::milliseconds keepalive_min_time{5000};  ///< Clients that ping more often are told to go.
  std::uint32_t reset_burst = 10'000;                  ///< Streams a client may reset at once ...
  std::uint32_t resets_per_second = 1'000;             ///< ... and in the long run.
  RateLimit settings_frames{100, 10};
  RateLimit empty_data_frames{1'000, 100};    ///< Without an end either.
  RateLimit tiny_data_frames{10'000, 1'000};  ///< That we must send because the client's windows are tiny.
  RateLimit useless_frames{10'000, 1'000};  ///< PRIORITY, unknown types, WINDOW_UPDATE beyond what our data calls for.
  bool socket_reuse_port = false;
  bool socket_reuse_address = true;
  Logger logger;
  Metrics* metrics = nullptr;
  /// For every finished call, on the event loop: path, code, seconds. May be empty.
  std::function<void(std::string_view method, Code code, double seconds)> on_call_done;
};

/// gRPC over HTTP/2 and plain HTTP over HTTP/1.1 and HTTP/2, on the same ports. Owns its event-loop threads.
class Server {
 public:
  /// Binds and listens: kFailedPrecondition naming the address that cannot be had. `table` and the metrics must outlive
  /// the server; UnaryReply, StreamWriter and HttpReply objects may outlive it.
  static Result<std::unique_ptr<Server>> Listen(ServerOptions options, const ServiceTable* table);
  ~Server();

  /// Starts the loops. Until then clients connect but nobody answers.
  void Start();
  /// Stops accepting, tells clients (GOAWAY), lets calls finish for at most `grace`, closes and joins the loops. When
  /// it returns, every handler has had its OnClosed. Idempotent. Not from a loop's own thread. Streams that would never
  /// end by themselves are finished with kUnavailable by their handlers' owner before.
  void Stop(std::chrono::milliseconds grace);

  /// What was really bound, as "host:port" or a path, in the order of ServerOptions::endpoints.
  std::vector<std::string> addresses() const;

 private:
  struct Impl;
  explicit Server(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace vellum::wire
