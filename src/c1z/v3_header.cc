#include "c1z/v3_header.h"

#include "base/bytes.h"
#include "c1/c1z/v3/manifest.pb.h"

namespace vellum::c1z {
namespace {

std::string TypeName(int type) {
  switch (type) {
    case 1: return "full";
    case 2: return "partial";
    case 3: return "resources_only";
    case 4: return "partial_upserts";
    case 5: return "partial_deletions";
    default: return "unknown type " + std::to_string(type);
  }
}

/// Instants before 1970 and beyond what 64 bits of nanoseconds hold count as absent.
sync::Stamp ToStamp(const google::protobuf::Timestamp& time) {
  constexpr std::int64_t kSecondsMax = INT64_MAX / 1'000'000'000 - 1;
  if (time.seconds() < 0 || time.seconds() > kSecondsMax || time.nanos() < 0) return 0;
  return static_cast<sync::Stamp>(time.seconds()) * 1'000'000'000 + static_cast<sync::Stamp>(time.nanos());
}

std::uint64_t Count(std::int64_t number) { return number < 0 ? 0 : static_cast<std::uint64_t>(number); }

}  // namespace

Result<V3Header> ReadV3Header(const std::string& path, const ReadLimits& limits) {
  VELLUM_ASSIGN_OR_RETURN(const std::string bytes, ReadManifest(path, limits));
  c1::c1z::v3::C1ZManifestV3 manifest;
  if (bytes.empty() || !manifest.ParseFromString(bytes)) return InvalidArgument(path + " is damaged: its manifest is not readable");
  V3Header header;
  header.engine = manifest.engine();
  if (header.engine != "pebble" && header.engine != "pebble2" && header.engine != "pebble3") {
    return InvalidArgument(path + " was written by the engine " + Printable(header.engine) + ", which is not known");
  }
  for (const auto& run : manifest.sync_runs()) {
    V3Sync sync;
    sync.run.id = run.sync_id();
    sync.run.type = TypeName(run.type());
    sync.run.parent_id = run.parent_sync_id();
    sync.run.started_at = ToStamp(run.started_at());
    sync.run.ended_at = ToStamp(run.ended_at());
    sync.records = {Count(run.stats().resource_types()), Count(run.stats().resources()), Count(run.stats().entitlements()),
                    Count(run.stats().grants()), Count(run.stats().assets())};
    header.syncs.push_back(std::move(sync));
  }
  return header;
}

}  // namespace vellum::c1z
