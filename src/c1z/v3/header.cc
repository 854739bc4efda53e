#include "c1z/v3/header.h"

#include "base/bytes.h"
#include "base/utf8.h"
#include "c1z/v3/bytes.h"
#include "c1z/wire_reader.h"

namespace vellum::c1z::v3 {
namespace {

/// Magic and length.
constexpr std::uint64_t kBeforeManifest = 9;
constexpr std::size_t kSyncsMax = 100'000;

Status NotProtobuf() { return Damaged("the manifest is not protobuf"); }

Status TakeText(const WireField& field, std::string* text) {
  if (!IsUtf8(field.bytes)) return Damaged("the manifest holds text that is not UTF-8: " + Printable(field.bytes));
  text->assign(field.bytes);
  return {};
}

Status TakeStamp(std::string_view message, sync::Stamp* stamp) {
  std::int64_t seconds = 0;
  std::int64_t nanos = 0;
  WireReader reader(message);
  for (WireField field; reader.Next(&field);) {
    if (field.number == 1 && field.type == 0) seconds = static_cast<std::int64_t>(field.value);
    if (field.number == 2 && field.type == 0) nanos = static_cast<std::int32_t>(field.value);
  }
  *stamp = MakeStamp(seconds, nanos).value_or(0);
  return reader.damaged() ? NotProtobuf() : Status();
}

Status TakeCounts(std::string_view message, HeaderSync* sync) {
  WireReader reader(message);
  for (WireField field; reader.Next(&field);) {
    if (field.type != 0 || field.number < 2 || field.number >= 2 + sync->records.size()) continue;
    sync->records[field.number - 2] = field.value >> 63 != 0 ? 0 : field.value;
  }
  return reader.damaged() ? NotProtobuf() : Status();
}

Result<HeaderSync> ParseSync(std::string_view message) {
  HeaderSync sync;
  std::uint64_t type = 0;
  WireReader reader(message);
  for (WireField field; reader.Next(&field);) {
    if (field.number == 2 && field.type == 0) type = field.value;
    if (field.type != 2) continue;
    switch (field.number) {
      case 1: VELLUM_TRY(TakeText(field, &sync.run.id)); break;
      case 3: VELLUM_TRY(TakeStamp(field.bytes, &sync.run.started_at)); break;
      case 4: VELLUM_TRY(TakeStamp(field.bytes, &sync.run.ended_at)); break;
      case 5: VELLUM_TRY(TakeText(field, &sync.run.parent_id)); break;
      case 6: VELLUM_TRY(TakeCounts(field.bytes, &sync)); break;
      default: break;
    }
  }
  if (reader.damaged()) return NotProtobuf();
  sync.run.type = SyncTypeName(type);
  return sync;
}

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
  Header header;
  std::uint64_t encoding = 0;
  WireReader reader(bytes);
  for (WireField field; reader.Next(&field);) {
    if (field.number == 1 && field.type == 2) VELLUM_TRY(TakeText(field, &header.engine));
    if (field.number == 4 && field.type == 0) encoding = field.value;
    if (field.number != 40 || field.type != 2) continue;
    if (header.syncs.size() == kSyncsMax) return Damaged("the manifest lists more than " + std::to_string(kSyncsMax) + " syncs");
    VELLUM_ASSIGN_OR_RETURN(header.syncs.emplace_back(), ParseSync(field.bytes));
  }
  if (reader.damaged()) return NotProtobuf();
  if (header.engine != "pebble" && header.engine != "pebble2" && header.engine != "pebble3") {
    return Refused("engine not available: the file was written by " +
                   (header.engine.empty() ? std::string("an engine without a name") : "the engine " + Printable(header.engine)) +
                   "; pebble2 and pebble3 can be read");
  }
  if (encoding != 1 && encoding != 2 && encoding != 5) {
    return Refused("payload encoding " + std::to_string(encoding) +
                   " cannot be read: 1 (tar in zstd), 2 (tar) and 5 (indexed zstd) can");
  }
  header.encoding = static_cast<Encoding>(encoding);
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
