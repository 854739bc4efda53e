#pragma once

#include <atomic>

#include "vellum/clock.h"

namespace vellum {

/// A clock that moves only when told to: the tests' clock. Threads that wait for time must poll it through the
/// condition they wait on, so a test that advances it also wakes them (each such component has a Tick or Wake).
class ManualClock final : public Clock {
 public:
  TimePoint Now() const override { return TimePoint(elapsed_.load()); }
  WallTime WallNow() const override { return WallTime(kWallStart + elapsed_.load()); }

  void Advance(std::chrono::nanoseconds duration) {
    std::chrono::nanoseconds before = elapsed_.load();
    while (!elapsed_.compare_exchange_weak(before, before + duration)) {
    }
  }

 private:
  static constexpr std::chrono::nanoseconds kWallStart = std::chrono::hours(24 * 365 * 50);
  std::atomic<std::chrono::nanoseconds> elapsed_{std::chrono::seconds(1)};
};

}  // namespace vellum
