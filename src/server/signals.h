#pragma once

#include <chrono>
#include <optional>

#include "vellum/status.h"

namespace vellum::server {

/// Signals as something to wait for, instead of code that interrupts other code.
///
/// Make one before any other thread starts: it blocks the signals for the calling thread and so for all that it starts
/// later. Only one may exist at a time.
class SignalWaiter {
 public:
  enum class Event { kTerminate, kReopenLogs };

  /// Takes over SIGTERM, SIGINT (kTerminate) and SIGHUP (kReopenLogs), and ignores SIGPIPE.
  static Result<SignalWaiter> Make();
  SignalWaiter(SignalWaiter&& other) noexcept;
  SignalWaiter& operator=(SignalWaiter&&) = delete;
  /// Gives the signals back.
  ~SignalWaiter();

  /// Waits for the next one; nullopt after `timeout`.
  std::optional<Event> Wait(std::chrono::milliseconds timeout);

  /// From now on SIGTERM and SIGINT end the process at once: for a second signal while it is stopping.
  void RestoreDefault();

  /// Becomes readable when a signal is there; for callers that wait for other things too.
  int descriptor() const { return descriptor_; }

 private:
  explicit SignalWaiter(int descriptor) : descriptor_(descriptor) {}
  int descriptor_ = -1;
};

}  // namespace vellum::server
