#include "c1z/v3/header.h"

#include "base/bytes.h"
#include "c1/c1z/v3/manifest.pb.h"
#include "c1z/v3/bytes.h"

namespace vellum::c1z::v3 {
namespace {

/// Magic and length.
constexpr std::uint64_t kBeforeManifest = 9;

sync::Stamp ToStamp(const google::protobuf::Timestamp& time) { return MakeStamp(time.seconds(), time.nanos()).value_or(0); }

std::uint64_t Count(std::int64_t number) { return number < 0 ? 0 : static_cast<std::uint64_t>(number); }

}  // namespace

std::optional<sync::Stamp> MakeStamp(std::int64_t seconds, std::int64_t nanos) {
  constexpr std::int64_t kSecondsMax = INT64_MAX / 1'000'000'000 - 1;
  if (seconds < 0 || seconds > kSecondsMax || nanos < 0 || nanos >= 1'000'000'000) return std::nullopt;
  return static_cast<sync::Stamp>(seconds) * 1'000'000'000 + static_cast<sync::Stamp>(nanos);
}

std::string SyncTypeName(std::uint64_t type) {
  switch (type) {
    case 1: return "full";
    case 2: return "partial";
    case 3: return "resources_only";
    case 4: return "partial_upserts";
    case 5: return "partial_deletions";
    default: return "unknown type " + std::to_string(type);
  }
}

Result<Header> ParseManifest(std::string_view bytes) {
  c1::c1z::v3::C1ZManifestV3 manifest;
  if (!manifest.ParseFromArray(bytes.data(), static_cast<int>(bytes.size()))) return Damaged("the manifest is not protobuf");
  Header header;
  header.engine = manifest.engine();
  if (header.engine != "pebble" && header.engine != "pebble2" && header.engine != "pebble3") {
    return Refused("engine not available: the file was written by " +
                   (header.engine.empty() ? std::string("an engine without a name") : "the engine " + Printable(header.engine)) +
                   "; pebble2 and pebble3 can be read");
  }
  const int encoding = manifest.payload_encoding();
  if (encoding != 1 && encoding != 2 && encoding != 5) {
    return Refused("payload encoding " + std::to_string(encoding) +
                   " cannot be read: 1 (tar in zstd), 2 (tar) and 5 (indexed zstd) can");
  }
  header.encoding = static_cast<Encoding>(encoding);
  for (const auto& run : manifest.sync_runs()) {
    HeaderSync sync;
    sync.run.id = run.sync_id();
    sync.run.type = SyncTypeName(static_cast<std::uint64_t>(run.type()));
    sync.run.parent_id = run.parent_sync_id();
    sync.run.started_at = ToStamp(run.started_at());
    sync.run.ended_at = ToStamp(run.ended_at());
    sync.records = {Count(run.stats().resource_types()), Count(run.stats().resources()), Count(run.stats().entitlements()),
                    Count(run.stats().grants()), Count(run.stats().assets())};
    header.syncs.push_back(std::move(sync));
  }
  return header;
}

Result<Header> ReadHeader(const std::string& path, const ReadLimits& limits) {
  VELLUM_ASSIGN_OR_RETURN(const std::string bytes, ReadManifest(path, limits));
  auto header = ParseManifest(bytes);
  if (!header.ok()) return std::move(header).error().WithContext(path);
  header->payload_offset = kBeforeManifest + bytes.size();
  return header;
}

}  // namespace vellum::c1z::v3
