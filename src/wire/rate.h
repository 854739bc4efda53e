#pragma once

#include <algorithm>
#include <chrono>
#include <cstdint>

#include "wire/server.h"

namespace vellum::wire {

/// Counts something against a RateLimit.
class TokenBucket {
 public:
  using TimePoint = std::chrono::steady_clock::time_point;

  TokenBucket(RateLimit limit, TimePoint now) : limit_(limit), tokens_(limit.burst), filled_(now) {}

  /// False if this one is too many.
  bool Take(TimePoint now) {
    const std::chrono::duration<double> passed = now - filled_;
    tokens_ = std::min<double>(limit_.burst, tokens_ + passed.count() * limit_.per_second);
    filled_ = now;
    if (tokens_ < 1) return false;
    tokens_ -= 1;
    return true;
  }

 private:
  RateLimit limit_;
  double tokens_;
  TimePoint filled_;
};

/// Which pings of a client are too many, as grpc-go's enforcement policy has it: with a call open one per `min_time`,
/// without any one per two hours; the third that comes too early is one too many. What the server sends on a call wipes
/// the slate, because clients measure bandwidth with pings.
class PingPolicy {
 public:
  using TimePoint = std::chrono::steady_clock::time_point;

  explicit PingPolicy(std::chrono::milliseconds min_time) : min_time_(min_time) {}

  /// False: tell the client to go.
  bool OnPing(TimePoint now, bool calls_open) {
    const auto least = calls_open ? min_time_ : std::chrono::milliseconds(kWithoutCalls);
    const bool early = seen_ && now < last_ + least;
    seen_ = true;
    last_ = now;
    if (forgiven_) {
      forgiven_ = false;
      strikes_ = 0;
      return true;
    }
    if (early) ++strikes_;
    return strikes_ <= kStrikesMax;
  }
  void OnCallFrameSent() { forgiven_ = true; }

 private:
  static constexpr std::chrono::hours kWithoutCalls{2};
  static constexpr int kStrikesMax = 2;

  const std::chrono::milliseconds min_time_;
  bool seen_ = false;
  bool forgiven_ = false;
  TimePoint last_{};
  int strikes_ = 0;
};

}  // namespace vellum::wire
