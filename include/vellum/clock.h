#pragma once

#include <chrono>

namespace vellum {

/// Time as everything below the server sees it: injected, so that tests advance it instead of sleeping.
/// Safe from several threads.
class Clock {
 public:
  using TimePoint = std::chrono::steady_clock::time_point;
  using WallTime = std::chrono::sys_time<std::chrono::nanoseconds>;

  virtual ~Clock() = default;

  /// Never goes back. Leases and deadlines are measured with it.
  virtual TimePoint Now() const = 0;

  /// Civil time, which may jump. Only for what is shown to people or compared with it (samples, log lines).
  virtual WallTime WallNow() const = 0;
};

/// The machine's clocks. Lives for ever.
Clock* SystemClock();

}  // namespace vellum
