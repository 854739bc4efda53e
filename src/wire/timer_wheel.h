#pragma once

#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <optional>

namespace vellum::wire {

class TimerWheel;

/// Something that happens at a point in time, once per Arm. Belongs to the wheel's thread. Destroying it disarms it,
/// also from within any timer's OnTimer.
class Timer {
 public:
  Timer() = default;
  virtual ~Timer() { Disarm(); }
  Timer(const Timer&) = delete;
  Timer& operator=(const Timer&) = delete;

  bool armed() const { return next_ != this; }
  void Disarm();

  /// Runs on the wheel's thread, disarmed; may arm, disarm and destroy this and any other timer.
  virtual void OnTimer() = 0;

 private:
  friend class TimerWheel;
  // A ring: alone, a timer is its own neighbour.
  Timer* next_ = this;
  Timer* prev_ = this;
  std::uint64_t tick_ = 0;
};

/// Timers in a hierarchy of four rings of 64 slots. Arm, Disarm and fire are O(1), whatever the number of timers; a
/// timer fires up to one tick late and never early. It reads no clock: the owner says what time it is. One thread; must
/// outlive no timer that is armed.
class TimerWheel {
 public:
  using TimePoint = std::chrono::steady_clock::time_point;
  static constexpr std::chrono::milliseconds kTick{4};

  explicit TimerWheel(TimePoint start);
  ~TimerWheel();

  /// Arms, or moves, `timer`. Times already past mean the next tick.
  void Arm(Timer* timer, TimePoint when);
  /// Fires what is due at `now`, in no particular order within a tick.
  void Advance(TimePoint now);
  /// When Advance has something to do next (or a little earlier); nullopt if nothing is armed.
  std::optional<TimePoint> Next() const;

 private:
  static constexpr int kLevels = 4;
  static constexpr int kSlotBits = 6;
  static constexpr std::size_t kSlots = std::size_t{1} << kSlotBits;

  struct Slot final : Timer {
    void OnTimer() override {}
  };

  void Insert(Timer* timer);
  std::optional<std::uint64_t> NextTick() const;
  void Cascade(int level);
  void FireSlot();

  const TimePoint start_;
  std::uint64_t current_ = 0;  // the last tick that Advance has dealt with
  std::array<std::array<Slot, kSlots>, kLevels> slots_;
  // A bit per slot that may be occupied; cleared when the slot is visited and found empty.
  std::array<std::uint64_t, kLevels> occupied_{};
};

}  // namespace vellum::wire
