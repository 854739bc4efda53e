#pragma once

#include "wire/mailbox.h"

namespace vellum::wire {

/// Whether one connection has had an event loop to itself for a while, with one call at a time. Then a handler that holds
/// the loop up holds up nobody but its own client. One thread.
class Solitude {
 public:
  /// The loop has woken up to deal with `events` events.
  void BeginTurn(int events) {
    if (calls_ > 0) turns_ = calls_ == 1 && turns_ < kTurns ? turns_ + 1 : turns_;
    if (calls_ > 1 || events > 1) turns_ = 0;
    calls_ = 0;
  }
  /// Bytes of `connection` are about to be received.
  void Heard(ConnectionId connection) {
    if (connection == connection_) return;
    connection_ = connection;
    turns_ = 0;
  }
  /// A call's request is complete. True: nobody else would notice if it took long.
  bool CountCall() { return ++calls_ == 1 && turns_ >= kTurns; }

 private:
  /// So many turns with one call each come before it is believed.
  static constexpr int kTurns = 16;

  ConnectionId connection_ = kNoConnection;
  int turns_ = 0;
  int calls_ = 0;  // of the present turn
};

}  // namespace vellum::wire
