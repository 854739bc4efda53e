#pragma once

#include <array>
#include <string>
#include <string_view>
#include <vector>

#include "c1z/envelope.h"
#include "sync/record.h"

namespace vellum::c1z::v3 {

/// A sync as the head of a file describes it: a copy of what the payload says, for reading without the payload.
struct HeaderSync {
  sync::SyncRun run;
  std::array<std::uint64_t, sync::kRecordTypes> records{};  ///< As whoever wrote the file counted.
};

enum class Encoding : std::uint8_t { kTarZstd = 1, kTar = 2, kIndexedZstd = 5 };

/// The head of a file: what stands before the payload.
struct Header {
  std::string engine;  ///< "pebble", "pebble2", "pebble3"
  Encoding encoding = Encoding::kIndexedZstd;
  std::vector<HeaderSync> syncs;
  std::uint64_t payload_offset = 0;  ///< Where the payload begins in the file.
};

/// Reads the head of a v3 file, without its payload. kInvalidArgument for a file that is damaged there, or whose payload is
/// cut short so that nothing can follow; kUnimplemented for an engine or an encoding that is not read.
Result<Header> ReadHeader(const std::string& path, const ReadLimits& limits);

/// The same for a manifest's bytes, alone.
Result<Header> ParseManifest(std::string_view bytes);

/// "full" and so on for the numbers of the format.
std::string SyncTypeName(std::uint64_t type);

/// Nanoseconds since 1970. Instants before 1970 and beyond what 64 bits hold, and what is no time at all: nullopt.
std::optional<sync::Stamp> MakeStamp(std::int64_t seconds, std::int64_t nanos);

}  // namespace vellum::c1z::v3
