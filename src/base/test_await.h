#pragma once

#include <chrono>
#include <cstdint>
#include <cstdlib>
#include <thread>

namespace vellum {

/// `time`, or as many times that as VELLUM_TEST_PATIENCE says: for slow machines and sanitizers.
inline std::chrono::milliseconds Patient(std::chrono::milliseconds time) {
  const char* const factor = std::getenv("VELLUM_TEST_PATIENCE");
  if (factor == nullptr) return time;
  return std::chrono::milliseconds(static_cast<std::int64_t>(static_cast<double>(time.count()) * std::atof(factor)));
}

/// Lets other threads run until the condition holds, for at most half a minute (with patience): for what a test can only
/// wait for. False: it never did.
template <typename Condition>
bool Await(const Condition& condition) {
  const auto until = std::chrono::steady_clock::now() + Patient(std::chrono::seconds(30));
  while (!condition()) {
    if (std::chrono::steady_clock::now() > until) return false;
    std::this_thread::yield();
  }
  return true;
}

}  // namespace vellum
