#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "vellum/status.h"
#include "wire/event_loop.h"
#include "wire/server.h"

namespace vellum::wire {

/// The listening sockets. Made before the loops start; afterwards it belongs to the first loop, accepts there and deals
/// connections out to all loops in turn.
class Acceptor {
 public:
  /// `loops` is not empty; everything outlives the acceptor.
  Acceptor(const ServerOptions* options, std::vector<EventLoop*> loops, WireMetrics* metrics);
  ~Acceptor();

  /// Binds and listens; kFailedPrecondition naming the address that cannot be had.
  Status Listen(const Endpoint& endpoint);
  /// What was bound, in the order of Listen calls.
  const std::vector<std::string>& addresses() const { return addresses_; }

  /// Closes the sockets and removes those of the file system. On the first loop, or while it does not run.
  void Close();

 private:
  struct Listener {
    int fd;
    bool metrics_only;
    std::string path;  // of a unix socket
  };
  struct RetryTimer final : Timer {
    explicit RetryTimer(Acceptor* target) : acceptor(target) {}
    void OnTimer() override { acceptor->Resume(); }
    Acceptor* const acceptor;
  };

  Status ListenTcp(const Endpoint& endpoint);
  Status ListenUnix(const Endpoint& endpoint);
  Status Begin(int fd, const Endpoint& endpoint, std::string address);
  void Accept(const Listener& listener);
  void Pause(int error);
  void Resume();

  const ServerOptions* const options_;
  const std::vector<EventLoop*> loops_;
  WireMetrics* const metrics_;
  std::vector<std::unique_ptr<Listener>> listeners_;
  std::vector<std::string> addresses_;
  std::size_t next_loop_ = 0;
  bool starved_ = false;  // said so in the log, and nothing has been accepted since
  RetryTimer retry_{this};
};

}  // namespace vellum::wire
