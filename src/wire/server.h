#pragma once

#include <chrono>
#include <cstdint>
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
  std::uint16_t port = 0;  ///< 0: any free one; see Server::addresses().
  std::string path;        ///< kUnix.
  bool metrics_only = false;  ///< Serves HTTP routes but no gRPC.
};

/// Limits and timers of the transport. Each default stands here and nowhere else.
struct ServerOptions {
  std::vector<Endpoint> endpoints;
  int loops = 1;
  std::uint32_t concurrent_streams_max = 100'000;     ///< Per connection.
  std::size_t receive_message_bytes_max = 2'097'152;  ///< A request message; more answers kResourceExhausted.
  std::size_t send_message_bytes_max = 2'147'483'647;
  std::size_t connections_max = 100'000;
  std::size_t metadata_bytes_max = 64u << 10;
  std::size_t connection_unsent_bytes_max = 1u << 20;   ///< Beyond it a connection is not read.
  std::size_t stream_high_water_bytes = 64u << 10;      ///< Beyond it a stream is "not writable".
  std::size_t reply_bytes_in_flight_max = 1u << 30;     ///< All connections; beyond: kResourceExhausted.
  std::chrono::milliseconds first_byte_timeout{5000};
  std::chrono::seconds keepalive_interval{7200};        ///< The server's own pings.
  std::chrono::seconds keepalive_timeout{20};
  std::chrono::milliseconds keepalive_min_time{5000};   ///< Clients that ping more often are told to go.
  std::uint32_t reset_burst = 10'000;                   ///< Streams a client may reset at once ...
  std::uint32_t resets_per_second = 1'000;              ///< ... and in the long run.
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
  /// Binds and listens: kFailedPrecondition naming the address that cannot be had. `table` must outlive the server.
  static Result<std::unique_ptr<Server>> Listen(ServerOptions options, const ServiceTable* table);
  ~Server();

  /// Starts the loops.
  void Start();
  /// Stops accepting, tells clients (GOAWAY), lets calls finish for at most `grace`, closes. Idempotent.
  /// Streams that would never end by themselves are finished with kUnavailable by their handlers' owner before.
  void Stop(std::chrono::milliseconds grace);

  /// What was really bound, as "host:port" or a path, in the order of ServerOptions::endpoints.
  std::vector<std::string> addresses() const;

 private:
  struct Impl;
  explicit Server(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace vellum::wire
