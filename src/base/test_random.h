#pragma once

#include <cstdint>
#include <cstdlib>
#include <iostream>
#include <random>
#include <string>

namespace vellum {

/// For tests: a generator that prints its seed, so that a failure can be repeated with VELLUM_TEST_SEED=<seed>.
inline std::mt19937_64 SeededRandom() {
  const char* const given = std::getenv("VELLUM_TEST_SEED");
  const std::uint64_t seed = given != nullptr ? std::stoull(given) : std::random_device{}();
  std::cout << "VELLUM_TEST_SEED=" << seed << "\n";
  return std::mt19937_64(seed);
}

}  // namespace vellum
