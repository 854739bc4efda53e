#pragma once

#include <chrono>
#include <cstdlib>
#include <thread>

namespace vellum {

/// Lets other threads run until the condition holds, for at most half a minute, or VELLUM_TEST_PATIENCE times as long: for what
/// a test can only wait for. False: it never did.
template <typename Condition>
bool Await(const Condition& condition) {
  const char* const factor = std::getenv("VELLUM_TEST_PATIENCE");
  const std::chrono::duration<double> patience(30 * (factor == nullptr ? 1.0 : std::atof(factor)));
  const auto until = std::chrono::steady_clock::now() + patience;
  while (!condition()) {
    if (std::chrono::steady_clock::now() > until) return false;
    std::this_thread::yield();
  }
  return true;
}

}  // namespace vellum
