#include "wire/timer_wheel.h"

#include <algorithm>
#include <bit>

namespace vellum::wire {

void Timer::Disarm() {
  prev_->next_ = next_;
  next_->prev_ = prev_;
  next_ = prev_ = this;
}

TimerWheel::TimerWheel(TimePoint start) : start_(start) {}

TimerWheel::~TimerWheel() {
  for (auto& level : slots_) {
    for (Slot& slot : level) {
      while (slot.next_ != &slot) slot.next_->Disarm();
    }
  }
}

void TimerWheel::Arm(Timer* timer, TimePoint when) {
  timer->Disarm();
  const auto after = when - start_;
  std::uint64_t tick = 0;
  if (after.count() > 0) {
    tick = static_cast<std::uint64_t>((after + kTick - std::chrono::nanoseconds(1)) / kTick);
  }
  timer->tick_ = std::max(tick, current_ + 1);
  Insert(timer);
}

void TimerWheel::Insert(Timer* timer) {
  const std::uint64_t distance = timer->tick_ - current_;
  int level = 0;
  while (level < kLevels - 1 && distance >= std::uint64_t{1} << (kSlotBits * (level + 1))) ++level;
  // What lies beyond the last ring waits in its farthest slot and is placed anew from there.
  const std::uint64_t reach = (std::uint64_t{1} << (kSlotBits * kLevels)) - 1;
  const std::uint64_t tick = current_ + std::min(distance, reach);
  const auto index = static_cast<std::size_t>((tick >> (kSlotBits * level)) & (kSlots - 1));
  Timer* const slot = &slots_[static_cast<std::size_t>(level)][index];
  timer->next_ = slot;
  timer->prev_ = slot->prev_;
  slot->prev_->next_ = timer;
  slot->prev_ = timer;
  occupied_[static_cast<std::size_t>(level)] |= std::uint64_t{1} << index;
}

std::optional<std::uint64_t> TimerWheel::NextTick() const {
  std::optional<std::uint64_t> soonest;
  for (int level = 0; level < kLevels; ++level) {
    const std::uint64_t bits = occupied_[static_cast<std::size_t>(level)];
    if (bits == 0) continue;
    const std::uint64_t here = current_ >> (kSlotBits * level);
    // The slot at `here` was dealt with when time reached it, so a bit there means one whole turn ahead: 1 to 64.
    const int distance = std::countr_zero(std::rotr(bits, static_cast<int>((here + 1) & (kSlots - 1)))) + 1;
    const std::uint64_t tick = (here + static_cast<std::uint64_t>(distance)) << (kSlotBits * level);
    soonest = std::min(soonest.value_or(tick), tick);
  }
  return soonest;
}

std::optional<TimerWheel::TimePoint> TimerWheel::Next() const {
  const auto tick = NextTick();
  if (!tick) return std::nullopt;
  return start_ + kTick * static_cast<std::int64_t>(*tick);
}

void TimerWheel::Cascade(int level) {
  const auto index = static_cast<std::size_t>((current_ >> (kSlotBits * level)) & (kSlots - 1));
  const auto ring = static_cast<std::size_t>(level);
  Slot waiting;
  Slot& slot = slots_[ring][index];
  occupied_[ring] &= ~(std::uint64_t{1} << index);
  while (slot.next_ != &slot) {
    Timer* const timer = slot.next_;
    timer->Disarm();
    timer->next_ = &waiting;
    timer->prev_ = waiting.prev_;
    waiting.prev_->next_ = timer;
    waiting.prev_ = timer;
  }
  while (waiting.next_ != &waiting) {
    Timer* const timer = waiting.next_;
    timer->Disarm();
    if (timer->tick_ <= current_) {
      // Due this very tick: into the slot that is fired after the cascades.
      Timer* const due = &slots_[0][static_cast<std::size_t>(current_ & (kSlots - 1))];
      timer->next_ = due;
      timer->prev_ = due->prev_;
      due->prev_->next_ = timer;
      due->prev_ = timer;
    } else {
      Insert(timer);
    }
  }
}

void TimerWheel::FireSlot() {
  const auto index = static_cast<std::size_t>(current_ & (kSlots - 1));
  Slot& slot = slots_[0][index];
  occupied_[0] &= ~(std::uint64_t{1} << index);
  Slot due;
  if (slot.next_ != &slot) {
    // The whole ring moves over, so that timers armed meanwhile for this slot's next turn stay.
    due.next_ = slot.next_;
    due.prev_ = slot.prev_;
    due.next_->prev_ = &due;
    due.prev_->next_ = &due;
    slot.next_ = slot.prev_ = &slot;
  }
  while (due.next_ != &due) {
    Timer* const timer = due.next_;
    timer->Disarm();
    timer->OnTimer();
  }
}

void TimerWheel::Advance(TimePoint now) {
  if (now < start_) return;
  const auto target = static_cast<std::uint64_t>((now - start_) / kTick);
  while (current_ < target) {
    const auto next = NextTick();
    if (!next || *next > target) {
      current_ = target;
      return;
    }
    current_ = *next;
    for (int level = kLevels - 1; level > 0; --level) {
      const std::uint64_t below = (std::uint64_t{1} << (kSlotBits * level)) - 1;
      if ((current_ & below) == 0) Cascade(level);
    }
    FireSlot();
  }
}

}  // namespace vellum::wire
