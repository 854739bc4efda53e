#pragma once

#include <chrono>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "vellum/status.h"

/// The other end of the wire, for making load: many gRPC calls at once over a few connections, on the caller's own thread and
/// at a fraction of what a general client costs. Cleartext HTTP/2 only.
namespace vellum::wire {

/// What is told about calls. Its functions run inside CallDriver::Poll; they may start calls and send, but not Poll.
class CallListener {
 public:
  virtual ~CallListener() = default;
  /// `message` is valid during the call only.
  virtual void OnMessage(std::uint64_t tag, std::string_view message) = 0;
  /// The call is over, and nothing follows. kUnavailable when its connection went.
  virtual void OnEnd(std::uint64_t tag, const Status& status) = 0;
};

/// A fixed number of connections to one server. One thread.
class CallDriver {
 public:
  /// Names an open call until OnEnd.
  struct CallId {
    std::uint32_t connection = 0;
    std::uint32_t slot = 0;
  };

  /// `address` is "host:port", "[v6]:port" or one of these behind "http://". Waits for the connections, not for the server's
  /// first bytes. kUnavailable: nobody listens there. `listener` must outlive the driver.
  static Result<std::unique_ptr<CallDriver>> Connect(const std::string& address, std::uint32_t connections,
                                                     CallListener* listener);
  ~CallDriver();
  CallDriver(const CallDriver&) = delete;
  CallDriver& operator=(const CallDriver&) = delete;

  /// Starts a call of `path` ("/package.Service/Method") on connection 0, 1, ...; `last`: its request has this one message.
  /// The tag comes back with everything that concerns the call. Leaves with the next Poll.
  CallId Start(std::uint32_t connection, const std::string& path, std::string_view message, bool last,
               std::uint64_t tag);
  /// One more message on an open call that was not started with `last`.
  void Send(CallId id, std::string_view message);

  /// Writes what is pending, waits at most `wait` for bytes, and tells the listener what they say. Not OK: every connection
  /// is gone.
  Status Poll(std::chrono::nanoseconds wait);

 private:
  struct Connection;
  struct Call;
  struct Callbacks;

  CallDriver(std::string authority, CallListener* listener);
  Status Open(const std::string& host, const std::string& port);
  void Read(Connection* connection);
  void Flush(Connection* connection);
  void Lose(Connection* connection, const std::string& why);
  void TellEnds(Connection* connection);

  const std::string authority_;
  CallListener* const listener_;
  int epoll_fd_ = -1;
  std::size_t lost_ = 0;
  std::unique_ptr<char[]> buffer_;
  std::vector<std::unique_ptr<Connection>> connections_;
};

}  // namespace vellum::wire
