#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "sync/generation.h"

/// What folds leave behind: overlays that every read has to look through, and bytes that they hide. Past either limit a
/// generation is rewritten, and the next merge into it is not a fold.
namespace vellum::sync {

inline constexpr std::uint32_t kOverlaysMax = 4;
inline constexpr double kDeadShareMax = 0.15;

struct Waste {
  std::uint32_t overlays = 0;
  std::uint64_t dead_bytes = 0;  ///< Keys and values, uncompressed.
  double dead_share = 0;         ///< Of all keys and values that the tables hold, indexes included.
  /// At the most overlays already, or with more than kDeadShareMax dead.
  bool past_limit() const { return overlays >= kOverlaysMax || dead_share > kDeadShareMax; }
};

inline Waste WasteOf(const GenerationInfo& info) {
  std::uint64_t live = 0;
  for (const auto& [bucket, totals] : info.totals) live += totals.bytes;
  Waste waste;
  waste.overlays = info.layers == 0 ? 0 : info.layers - 1;
  waste.dead_bytes = info.dead_bytes;
  if (info.dead_bytes > 0) {
    waste.dead_share = static_cast<double>(info.dead_bytes) / static_cast<double>(live + info.dead_bytes);
  }
  return waste;
}

}  // namespace vellum::sync
