#include "kv/schema.h"

#include <limits>

#include "base/bytes.h"
#include "base/check.h"

namespace vellum::kv {
namespace {

constexpr std::int64_t kInt64Max = std::numeric_limits<std::int64_t>::max();
constexpr std::int32_t kInt32Max = std::numeric_limits<std::int32_t>::max();

// The first byte of a value: its form in the upper four bits, flags of that form in the lower four.
constexpr std::uint8_t kFormMask = 0xF0;
constexpr std::uint8_t kForm1 = 0x10;

constexpr std::uint8_t kRecordHasSub = 0x01;
constexpr std::uint8_t kRecordHasLease = 0x02;
constexpr std::uint8_t kRecordFlags = kRecordHasSub | kRecordHasLease;

constexpr std::uint8_t kRevDelete = 0x01;
constexpr std::uint8_t kRevHasPrevious = 0x02;
constexpr std::uint8_t kRevSuperseded = 0x04;
constexpr std::uint8_t kRevFlags = kRevDelete | kRevHasPrevious | kRevSuperseded;

Status Damaged(std::string_view family, std::string_view what, std::string_view bytes) {
  std::string text(family);
  text.append(": ").append(what).append(" (").append(std::to_string(bytes.size())).append(" bytes: ");
  text.append(Printable(bytes, 32)).append(")");
  return DataLoss(std::move(text));
}

/// A varint that must lie in [min, max].
std::optional<std::int64_t> ReadNumber(ByteReader* reader, std::int64_t min, std::int64_t max) {
  const auto value = reader->ReadVarint();
  if (!value || *value > static_cast<std::uint64_t>(kInt64Max)) return std::nullopt;
  const auto number = static_cast<std::int64_t>(*value);
  if (number < min || number > max) return std::nullopt;
  return number;
}

void AppendNumber(std::string* out, std::int64_t number) {
  VELLUM_DCHECK(number >= 0);
  AppendVarint(out, static_cast<std::uint64_t>(number));
}

void AppendRecord(std::string* out, const Record& record) {
  VELLUM_DCHECK(record.mod >= 1 && record.create >= 1 && record.create <= record.mod && record.version >= 1);
  std::uint8_t form = kForm1;
  if (record.mod_sub != 0) form |= kRecordHasSub;
  if (record.lease != 0) form |= kRecordHasLease;
  out->push_back(static_cast<char>(form));
  AppendNumber(out, record.mod);
  if (record.mod_sub != 0) AppendNumber(out, record.mod_sub);
  AppendNumber(out, record.mod - record.create);
  AppendNumber(out, record.version);
  if (record.lease != 0) AppendBe64(out, static_cast<std::uint64_t>(record.lease));
  out->append(record.value);
}

/// nullptr, or what is wrong. Takes everything that is left.
const char* ReadRecord(ByteReader* reader, Record* record) {
  const auto form = reader->ReadByte();
  if (!form) return "record is empty";
  if ((*form & kFormMask) != kForm1 || (*form & ~(kFormMask | kRecordFlags)) != 0) return "record has an unknown form";
  const auto mod = ReadNumber(reader, 1, kInt64Max);
  if (!mod) return "record has a bad mod revision";
  record->mod = *mod;
  record->mod_sub = 0;
  if ((*form & kRecordHasSub) != 0) {
    const auto sub = ReadNumber(reader, 1, kInt32Max);
    if (!sub) return "record has a bad sub revision";
    record->mod_sub = static_cast<std::int32_t>(*sub);
  }
  const auto age = ReadNumber(reader, 0, *mod - 1);
  if (!age) return "record has a bad create revision";
  record->create = *mod - *age;
  const auto version = ReadNumber(reader, 1, kInt64Max);
  if (!version) return "record has a bad version";
  record->version = *version;
  record->lease = 0;
  if ((*form & kRecordHasLease) != 0) {
    const auto lease = reader->ReadBe64();
    if (!lease || *lease == 0) return "record has a bad lease";
    record->lease = static_cast<LeaseId>(*lease);
  }
  record->value = reader->rest();
  return nullptr;
}

/// The end revision in front of a history record.
std::optional<Revision> ReadEnd(ByteReader* reader) { return ReadNumber(reader, 2, kInt64Max); }

}  // namespace

KeyValue Record::ToKeyValue(std::string_view key) const {
  KeyValue kv;
  kv.key.assign(key);
  kv.create_revision = create;
  kv.mod_revision = mod;
  kv.version = version;
  kv.value.assign(value);
  kv.lease = lease;
  return kv;
}

std::string EncodeRecord(const Record& record) {
  std::string bytes;
  bytes.reserve(32 + record.value.size());
  AppendRecord(&bytes, record);
  return bytes;
}

Result<Record> DecodeRecord(std::string_view bytes) {
  ByteReader reader(bytes);
  Record record;
  if (const char* wrong = ReadRecord(&reader, &record)) return Damaged("latest", wrong, bytes);
  return record;
}

std::string HistoryKey(std::string_view key, Revision mod) {
  std::string bytes;
  bytes.reserve(key.size() + 10);
  AppendEscaped(&bytes, key);
  AppendBe64(&bytes, ~static_cast<std::uint64_t>(mod));
  return bytes;
}

std::string HistoryPrefix(std::string_view key) {
  std::string bytes;
  bytes.reserve(key.size() + 2);
  AppendEscaped(&bytes, key);
  return bytes;
}

Result<HistoryKeyParts> DecodeHistoryKey(std::string_view bytes) {
  ByteReader reader(bytes);
  auto key = reader.ReadEscaped();
  if (!key) return Damaged("history", "key has no terminator", bytes);
  const auto inverted = reader.ReadBe64();
  if (!inverted || !reader.empty()) return Damaged("history", "key has a bad length", bytes);
  const std::uint64_t mod = ~*inverted;
  if (mod == 0 || mod > static_cast<std::uint64_t>(kInt64Max)) {
    return Damaged("history", "key has a bad mod revision", bytes);
  }
  return HistoryKeyParts{*std::move(key), static_cast<Revision>(mod)};
}

std::string EncodeHistoryRecord(const HistoryRecord& record) {
  VELLUM_DCHECK(record.end > record.record.mod);
  std::string bytes;
  bytes.reserve(40 + record.record.value.size());
  AppendNumber(&bytes, record.end);
  AppendRecord(&bytes, record.record);
  return bytes;
}

Result<HistoryRecord> DecodeHistoryRecord(std::string_view bytes) {
  ByteReader reader(bytes);
  HistoryRecord history;
  const auto end = ReadEnd(&reader);
  if (!end) return Damaged("history", "record has a bad end revision", bytes);
  history.end = *end;
  if (const char* wrong = ReadRecord(&reader, &history.record)) return Damaged("history", wrong, bytes);
  if (history.end <= history.record.mod) return Damaged("history", "record ends before it begins", bytes);
  return history;
}

std::optional<Revision> HistoryRecordEnd(std::string_view bytes) {
  ByteReader reader(bytes);
  return ReadEnd(&reader);
}

std::string RevKey(Revision main, std::int32_t sub) {
  std::string bytes;
  bytes.reserve(12);
  AppendBe64(&bytes, static_cast<std::uint64_t>(main));
  AppendBe32(&bytes, static_cast<std::uint32_t>(sub));
  return bytes;
}

Result<RevKeyParts> DecodeRevKey(std::string_view bytes) {
  ByteReader reader(bytes);
  const auto main = reader.ReadBe64();
  const auto sub = reader.ReadBe32();
  if (!main || !sub || !reader.empty()) return Damaged("rev", "key has a bad length", bytes);
  if (*main == 0 || *main > static_cast<std::uint64_t>(kInt64Max) || *sub > static_cast<std::uint32_t>(kInt32Max)) {
    return Damaged("rev", "key has a bad revision", bytes);
  }
  return RevKeyParts{static_cast<Revision>(*main), static_cast<std::int32_t>(*sub)};
}

std::string EncodeRevEntry(Revision main, const RevEntry& entry) {
  VELLUM_DCHECK(entry.previous_mod >= 0 && entry.previous_mod < main && !entry.key.empty());
  VELLUM_DCHECK(!entry.superseded || (entry.type == EventType::kPut && entry.superseded->mod == main));
  std::string bytes;
  std::uint8_t form = kForm1;
  if (entry.type == EventType::kDelete) form |= kRevDelete;
  if (entry.previous_mod != 0) form |= kRevHasPrevious;
  if (entry.superseded) form |= kRevSuperseded;
  bytes.push_back(static_cast<char>(form));
  if (entry.previous_mod != 0) AppendNumber(&bytes, main - entry.previous_mod);
  if (entry.superseded) {
    AppendLengthPrefixed(&bytes, entry.key);
    AppendRecord(&bytes, *entry.superseded);
  } else {
    bytes.append(entry.key);
  }
  return bytes;
}

Result<RevEntry> DecodeRevEntry(Revision main, std::string_view bytes) {
  ByteReader reader(bytes);
  RevEntry entry;
  const auto form = reader.ReadByte();
  if (!form || (*form & kFormMask) != kForm1 || (*form & ~(kFormMask | kRevFlags)) != 0) {
    return Damaged("rev", "entry has an unknown form", bytes);
  }
  entry.type = (*form & kRevDelete) != 0 ? EventType::kDelete : EventType::kPut;
  if ((*form & kRevHasPrevious) != 0) {
    const auto distance = ReadNumber(&reader, 1, main - 1);
    if (!distance) return Damaged("rev", "entry has a bad previous revision", bytes);
    entry.previous_mod = main - *distance;
  }
  if ((*form & kRevSuperseded) == 0) {
    entry.key = reader.rest();
  } else {
    if (entry.type == EventType::kDelete) return Damaged("rev", "delete entry has a record", bytes);
    const auto key = reader.ReadLengthPrefixed();
    if (!key) return Damaged("rev", "entry has a bad key length", bytes);
    entry.key = *key;
    if (const char* wrong = ReadRecord(&reader, &entry.superseded.emplace())) return Damaged("rev", wrong, bytes);
    if (entry.superseded->mod != main) return Damaged("rev", "superseded record is of another revision", bytes);
  }
  if (entry.key.empty()) return Damaged("rev", "entry has no key", bytes);
  return entry;
}

std::string EncodeLeafCount(std::int64_t count) {
  std::string bytes;
  AppendNumber(&bytes, count);
  return bytes;
}

Result<std::int64_t> DecodeLeafCount(std::string_view bytes) {
  ByteReader reader(bytes);
  const auto count = ReadNumber(&reader, 1, kInt64Max);
  if (!count || !reader.empty()) return Damaged("count", "leaf has a bad number of keys", bytes);
  return *count;
}

std::string LeaseKey(LeaseId id) {
  std::string bytes;
  AppendBe64(&bytes, static_cast<std::uint64_t>(id));
  return bytes;
}

std::string LeaseAttachmentKey(LeaseId id, std::string_view key) {
  VELLUM_DCHECK(!key.empty());
  std::string bytes;
  bytes.reserve(8 + key.size());
  AppendBe64(&bytes, static_cast<std::uint64_t>(id));
  bytes.append(key);
  return bytes;
}

Result<LeaseKeyParts> DecodeLeaseKey(std::string_view bytes) {
  ByteReader reader(bytes);
  const auto id = reader.ReadBe64();
  if (!id || *id == 0) return Damaged("lease", "key has a bad id", bytes);
  LeaseKeyParts parts;
  parts.id = static_cast<LeaseId>(*id);
  if (!reader.empty()) parts.key = reader.rest();
  return parts;
}

std::string EncodeLeaseRecord(const LeaseRecord& record) {
  VELLUM_DCHECK(record.granted_ttl_s >= 1 && record.remaining_ttl_s >= 0);
  std::string bytes;
  bytes.push_back(static_cast<char>(kForm1));
  AppendNumber(&bytes, record.granted_ttl_s);
  AppendVarint(&bytes, record.incarnation);
  AppendNumber(&bytes, record.remaining_ttl_s);
  return bytes;
}

Result<LeaseRecord> DecodeLeaseRecord(std::string_view bytes) {
  ByteReader reader(bytes);
  const auto form = reader.ReadByte();
  if (!form || *form != kForm1) return Damaged("lease", "record has an unknown form", bytes);
  LeaseRecord record;
  const auto granted = ReadNumber(&reader, 1, kInt64Max);
  if (!granted) return Damaged("lease", "record has a bad time to live", bytes);
  record.granted_ttl_s = *granted;
  const auto incarnation = reader.ReadVarint();
  if (!incarnation) return Damaged("lease", "record has a bad incarnation", bytes);
  record.incarnation = *incarnation;
  const auto remaining = ReadNumber(&reader, 0, kInt64Max);
  if (!remaining || !reader.empty()) return Damaged("lease", "record has a bad remaining time", bytes);
  record.remaining_ttl_s = *remaining;
  return record;
}

std::vector<storage::FamilyOptions> FamilyList(storage::RecordFilterFactory history_filter) {
  std::vector<storage::FamilyOptions> families(6);
  families[kMeta].name = "default";
  families[kLatest].name = "latest";
  families[kLatest].point_lookups = true;
  families[kLatest].tombstone_heavy = true;
  families[kHistory].name = "history";
  families[kHistory].filter = std::move(history_filter);
  families[kHistory].number = [](std::string_view, std::string_view value) -> std::optional<std::uint64_t> {
    const auto end = HistoryRecordEnd(value);
    if (!end) return std::nullopt;
    return static_cast<std::uint64_t>(*end);
  };
  families[kRev].name = "rev";
  families[kCount].name = "count";
  families[kLease].name = "lease";
  families[kLease].point_lookups = true;
  return families;
}

KeyInterval KeyInterval::FromRequest(std::string_view key, std::string_view range_end) {
  if (range_end.empty()) return SingleKey(key);
  if (range_end == std::string_view(kFromKey, 1)) return KeyInterval{std::string(key), std::nullopt};
  return KeyInterval{std::string(key), std::string(range_end)};
}

KeyInterval KeyInterval::SingleKey(std::string_view key) {
  KeyInterval interval{std::string(key), std::nullopt};
  interval.end.emplace();
  interval.end->reserve(key.size() + 1);
  interval.end->append(key).push_back('\0');
  return interval;
}

bool KeyInterval::Contains(std::string_view key) const { return key >= begin && (!end || key < *end); }

}  // namespace vellum::kv
