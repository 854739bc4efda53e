#include "kv/meta.h"

#include "base/bytes.h"

namespace vellum::kv {
namespace {

constexpr std::uint8_t kAlarmsVersion = 1;
constexpr std::uint8_t kPendingVersion = 1;

Status Damaged(std::string_view row) { return DataLoss("the meta row " + Printable(row) + " is damaged"); }

}  // namespace

std::string EncodeMetaNumber(std::int64_t value) {
  std::string out;
  AppendBe64(&out, static_cast<std::uint64_t>(value));
  return out;
}

Result<std::int64_t> DecodeMetaNumber(std::string_view row, std::string_view bytes) {
  ByteReader reader(bytes);
  const std::optional<std::uint64_t> value = reader.ReadBe64();
  if (!value || !reader.empty()) return Damaged(row);
  return static_cast<std::int64_t>(*value);
}

std::string SampleRow(std::int64_t wall_s) {
  std::string row(kMetaSamplePrefix);
  AppendBe64(&row, static_cast<std::uint64_t>(wall_s));
  return row;
}

std::optional<std::int64_t> SampleRowSeconds(std::string_view row) {
  if (!row.starts_with(kMetaSamplePrefix)) return std::nullopt;
  ByteReader reader(row.substr(kMetaSamplePrefix.size()));
  const std::optional<std::uint64_t> seconds = reader.ReadBe64();
  if (!seconds || !reader.empty()) return std::nullopt;
  return static_cast<std::int64_t>(*seconds);
}

std::string EncodeAlarms(const std::vector<AlarmEntry>& alarms) {
  std::string out(1, static_cast<char>(kAlarmsVersion));
  AppendVarint(&out, alarms.size());
  for (const AlarmEntry& entry : alarms) {
    AppendBe64(&out, entry.member_id);
    out.push_back(static_cast<char>(entry.alarm));
  }
  return out;
}

Result<std::vector<AlarmEntry>> DecodeAlarms(std::string_view bytes) {
  ByteReader reader(bytes);
  const std::optional<std::uint8_t> version = reader.ReadByte();
  const std::optional<std::uint64_t> count = reader.ReadVarint();
  if (!version || *version != kAlarmsVersion || !count || *count > bytes.size()) return Damaged(kMetaAlarms);
  std::vector<AlarmEntry> alarms;
  for (std::uint64_t i = 0; i < *count; ++i) {
    const std::optional<std::uint64_t> member = reader.ReadBe64();
    const std::optional<std::uint8_t> type = reader.ReadByte();
    if (!member || !type || *type > static_cast<std::uint8_t>(AlarmType::kCorrupt)) return Damaged(kMetaAlarms);
    alarms.push_back({*member, static_cast<AlarmType>(*type)});
  }
  if (!reader.empty()) return Damaged(kMetaAlarms);
  return alarms;
}

std::string EncodePending(const PendingCommand& pending) {
  std::string out(1, static_cast<char>(kPendingVersion));
  AppendZigzag(&out, pending.main);
  AppendZigzag(&out, pending.sub);
  AppendZigzag(&out, pending.changes);
  AppendVarint(&out, pending.index);
  AppendLengthPrefixed(&out, pending.cursor);
  AppendLengthPrefixed(&out, EncodeCommand(pending.command));
  return out;
}

Result<PendingCommand> DecodePending(std::string_view bytes) {
  ByteReader reader(bytes);
  const std::optional<std::uint8_t> version = reader.ReadByte();
  if (!version || *version != kPendingVersion) return Damaged(kMetaPending);
  const std::optional<std::int64_t> main = reader.ReadZigzag();
  const std::optional<std::int64_t> sub = reader.ReadZigzag();
  const std::optional<std::int64_t> changes = reader.ReadZigzag();
  const std::optional<std::uint64_t> index = reader.ReadVarint();
  const std::optional<std::string_view> cursor = reader.ReadLengthPrefixed();
  const std::optional<std::string_view> command = reader.ReadLengthPrefixed();
  if (!main || !sub || *sub < 0 || *sub > INT32_MAX || !changes || !index || !cursor || !command || !reader.empty()) {
    return Damaged(kMetaPending);
  }
  PendingCommand pending;
  VELLUM_ASSIGN_OR_RETURN(pending.command, DecodeCommand(*command));
  pending.main = *main;
  pending.sub = static_cast<std::int32_t>(*sub);
  pending.changes = *changes;
  pending.index = *index;
  pending.cursor = std::string(*cursor);
  return pending;
}

}  // namespace vellum::kv
