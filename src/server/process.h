#pragma once

#include <memory>
#include <string>
#include <vector>

#include "server/config.h"
#include "vellum/log.h"
#include "vellum/status.h"

namespace vellum::server {

/// The running server: the engine on the data directory, the services over it, and the ports they are served on.
///
/// Start and Stop are for one thread; in between, everything runs on threads that this object owns.
class Process {
 public:
  /// Opens the data directory, listens and serves; when it returns, clients are answered. `log` must outlive the
  /// process. On failure nothing is left running. Names the directory or the address that cannot be had.
  static Result<std::unique_ptr<Process>> Start(Config config, LogSink* log);
  /// Stops.
  ~Process();

  /// Takes no more calls, finishes those that run (for at most five seconds), stores what a clean stop stores and
  /// closes. Idempotent. The status is that of the store.
  Status Stop();

  /// To be called now and then (every second, say): once the store cannot be written any more (which it logs itself),
  /// those who watch gRPC's health service are told that this server does not serve.
  void LookAfterStore();

  /// What is listened on, as "host:port" or the path of a socket: first the client addresses, then those for metrics.
  std::vector<std::string> addresses() const;

 private:
  struct Impl;
  explicit Process(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace vellum::server
