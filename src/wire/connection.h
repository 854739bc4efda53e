#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include "wire/session.h"
#include "wire/stream_io.h"

namespace vellum::wire {

class Connection;

/// What a connection asks of its loop.
class ConnectionOwner {
 public:
  virtual ~ConnectionOwner() = default;
  /// Has it flushed before the iteration ends. Repeating it costs nothing.
  virtual void OnDirty(Connection* connection) = 0;
  /// It is closed for good: to be freed at the end of the iteration.
  virtual void OnGone(Connection* connection) = 0;
  /// What epoll is to watch for.
  virtual void OnInterest(Connection* connection, bool read, bool write) = 0;
};

/// A byte stream, the protocol that was recognised on it, and what is on its way to the socket. Belongs to one loop for
/// life; freed by it at the end of an iteration, never earlier.
class Connection final : public SessionHost {
 public:
  /// `context` is that of the sessions to come. The caller has set `stream` up for epoll.
  Connection(SessionContext context, std::unique_ptr<ByteStream> stream, ConnectionOwner* owner);
  ~Connection() override;

  ConnectionId id() const { return context_.connection; }
  int fd() const { return stream_->fd(); }
  Session* session() const { return state_ == State::kOpen ? session_.get() : nullptr; }
  /// Nothing has been recognised yet.
  bool waiting() const { return state_ == State::kSniffing; }
  bool gone() const { return state_ == State::kGone; }

  /// Reads once, into memory that all connections of the loop share, and passes it on.
  void OnReadable(char* buffer, std::size_t size);
  void OnWritable();
  /// Produces and writes, fairly: true if there is more to do that does not wait for the socket.
  [[nodiscard]] bool Flush();
  void Reap();
  void BeginShutdown();

  void MarkDirty() override { owner_->OnDirty(this); }
  void CloseNow(CloseReason reason) override;

  /// Owned by the loop: in its list of connections to flush.
  bool dirty = false;

 private:
  enum class State : std::uint8_t { kSniffing, kOpen, kLingering, kGone };

  struct GuardTimer final : Timer {
    GuardTimer(Connection* target, void (Connection::*function)()) : connection(target), on_timer(function) {}
    void OnTimer() override { (connection->*on_timer)(); }
    Connection* const connection;
    void (Connection::*const on_timer)();
  };

  void Sniff(std::string_view bytes);
  void OpenSession(std::unique_ptr<Session> session, std::string_view bytes);
  void GuardStart();
  void WatchOwed();
  void EndIfFinished();
  void Linger();
  void UpdateInterest();
  void OnStartTimeout() { CloseNow(CloseReason::kFirstByte); }
  void OnEndTimeout();
  void OnStalled() { CloseNow(CloseReason::kStalled); }

  const SessionContext context_;
  const std::unique_ptr<ByteStream> stream_;
  ConnectionOwner* const owner_;
  State state_ = State::kSniffing;
  std::unique_ptr<Session> session_;
  std::string sniffed_;  // a beginning that may become the HTTP/2 preface
  Output out_;
  bool blocked_ = false;  // the socket is full: waiting for writability
  bool paused_ = false;   // not read because of what it owes
  bool shutting_down_ = false;
  bool read_interest_ = true;
  bool write_interest_ = false;
  CloseReason reason_ = CloseReason::kPeer;
  GuardTimer start_guard_{this, &Connection::OnStartTimeout};
  GuardTimer end_guard_{this, &Connection::OnEndTimeout};
  GuardTimer stall_guard_{this, &Connection::OnStalled};
};

}  // namespace vellum::wire
