#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>

namespace vellum::rpc {

/// Limits of the sync service; those of records and pages are the store's. Each default stands here and nowhere else.
struct SyncLimits {
  std::size_t streams_max = 32;                   ///< Calls at once; more are refused (kResourceExhausted).
  std::uint64_t spool_bytes_max = 64ull << 30;    ///< Files that are coming in or going out, all calls together.
  std::chrono::milliseconds idle_timeout{600'000};  ///< A client that neither sends nor reads for so long loses its call.
  /// Unsent answers of one call. Must not be below wire::ServerOptions::stream_high_water_bytes, which decides when a stream is
  /// writable again.
  std::size_t unsent_bytes_max = 64u << 10;
};

}  // namespace vellum::rpc
