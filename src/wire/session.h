#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include "wire/mailbox.h"
#include "wire/server.h"
#include "wire/service.h"
#include "wire/solitude.h"
#include "wire/stream_io.h"
#include "wire/timer_wheel.h"
#include "wire/wire_metrics.h"

namespace vellum::wire {

class Outbox;

/// What a session uses of its surroundings. Pointers outlive the session; `now` is the loop's idea of the time, set
/// once per step of its iteration.
struct SessionContext {
  const ServerOptions* options;
  const ServiceTable* table;
  LoopStats* stats;
  Solitude* solitude;
  TimerWheel* timers;
  const std::chrono::steady_clock::time_point* now;
  std::shared_ptr<Mailbox> mailbox;
  ConnectionId connection = kNoConnection;
  std::string peer;
  bool metrics_only = false;
};

/// One protocol on one connection: bytes in, bytes out, no socket. All on the connection's loop, which after any call
/// lets it Produce and then Reap in the same iteration.
class Session {
 public:
  virtual ~Session() = default;

  /// Bytes from the client; valid during the call.
  virtual void Receive(std::string_view bytes) = 0;
  /// The client will send no more.
  virtual void ReceiveEnd() = 0;
  /// Appends what is ready to be sent, until nothing is left or `out` is full.
  virtual void Produce(Output* out) = 0;
  /// Nothing more will be produced or wanted: close once everything has been written.
  virtual bool finished() const = 0;
  /// The client broke the rules and is only to be told so: the connection ends soon, whether or not it listens.
  virtual bool doomed() const { return false; }
  /// True while something from the client is awaited within a short time: see ServerOptions::first_byte_timeout.
  virtual bool awaiting_start() const = 0;
  /// True if Receive can take more now. False: do not read until it is true again.
  virtual bool wants_input() const { return true; }
  /// Bytes of answers that have not been produced yet.
  virtual std::size_t unproduced_bytes() const = 0;
  /// Why, once finished; kShutdown if nothing was wrong.
  virtual CloseReason close_reason() const = 0;

  /// The server is stopping: no new requests after a round trip; finished once the present ones are answered.
  virtual void BeginShutdown() = 0;
  /// The connection is gone: every call is cancelled. Only Reap and destruction follow.
  virtual void Abandon() = 0;
  /// End of the iteration: calls the handlers' OnClosed and OnWritable, and frees what is over. Never from within a
  /// callback of the protocol's library.
  virtual void Reap() = 0;

  virtual void OnUnaryReply(std::int32_t stream, Message message, Status status) = 0;
  virtual void OnOutbox(std::int32_t stream, Outbox* outbox) = 0;
  virtual void OnHttpReply(std::int32_t stream, HttpResponse response) = 0;
};

/// Marks a connection as having something to do before the iteration ends; how timers of a session get their results
/// out.
class SessionHost {
 public:
  virtual ~SessionHost() = default;
  virtual void MarkDirty() = 0;
  /// Ends the connection without waiting for anything.
  virtual void CloseNow(CloseReason reason) = 0;
};

std::unique_ptr<Session> MakeHttp1Session(SessionContext context, SessionHost* host);
/// Null if there is no memory for it.
std::unique_ptr<Session> MakeHttp2Session(SessionContext context, SessionHost* host);

}  // namespace vellum::wire
