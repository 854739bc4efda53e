#pragma once

#include <array>
#include <string>
#include <vector>

#include "c1z/envelope.h"
#include "sync/record.h"

namespace vellum::c1z {

/// What to tell people who bring a v3 file for its content.
inline constexpr const char* kV3NotReadable =
    "this is a .c1z v3 file, whose content cannot be read yet (only its header can: see 'vellum c1z info'); let the "
    "connector write v1 for now";

/// A sync as the head of a v3 file describes it.
struct V3Sync {
  sync::SyncRun run;
  std::array<std::uint64_t, sync::kRecordTypes> records{};  ///< As whoever wrote the file counted.
};

struct V3Header {
  std::string engine;  ///< "pebble3"
  std::vector<V3Sync> syncs;
};

/// Reads the head of a v3 file, without its payload. kInvalidArgument for a file that is damaged there, or whose payload is
/// cut short so that nothing can follow.
Result<V3Header> ReadV3Header(const std::string& path, const ReadLimits& limits);

}  // namespace vellum::c1z
