#include "c1z/incoming.h"

#define XXH_INLINE_ALL
#include <xxhash.h>

#include <array>
#include <random>
#include <utility>

#include "c1z/plain_schema.h"

namespace vellum::c1z {
namespace {

using sync::RecordType;
using sync::RecordView;

constexpr std::size_t kRecordsMax = 500'000;
constexpr std::size_t kBytesMax = 192u << 20;

/// What makes a record another than those of its type. Empty parts mean nothing to it.
std::array<std::string_view, 5> Identity(const RecordView& record) {
  switch (record.type) {
    case RecordType::kResourceType:
    case RecordType::kAsset: return {record.id};
    case RecordType::kResource: return {record.type_id, record.id};
    case RecordType::kEntitlement: return {record.type_id, record.resource_id, record.id};
    case RecordType::kGrant:
      return {record.type_id, record.resource_id, record.entitlement_id, record.principal_type_id, record.principal_id};
  }
  return {};
}

}  // namespace

bool IsMergeable(const std::string& type) { return type == "full" || type == "resources_only" || type == "partial"; }

Status Incoming::Read(const FileInput& input, const MergeFilesOptions& options, const sync::Work& work) {
  VELLUM_ASSIGN_OR_RETURN(const auto reader, OpenReader(input.path, options.open));
  VELLUM_ASSIGN_OR_RETURN(const FileSync* const sync, PickSync(*reader, input));
  if (!IsMergeable(sync->run.type)) return NotPlain(input.path + " holds a " + sync->run.type);
  runs_.push_back(sync->run);
  // Within a file the last row of an identity counts, whatever its stamp.
  std::map<std::string, std::string> records;
  ReadReport report;
  for (int type = 0; type < sync::kRecordTypes; ++type) {
    if (static_cast<RecordType>(type) == RecordType::kAsset) continue;
    VELLUM_TRY(reader->ReadRecords(
        *sync, static_cast<RecordType>(type), Reader::Invalid::kFail,
        [&](const RecordView& record) { return Take(record, work, &records); }, &report));
  }
  Merge(std::move(records));
  return {};
}

Status Incoming::Take(const RecordView& record, const sync::Work& work, std::map<std::string, std::string>* records) {
  std::string key;
  std::string value;
  sync::AppendRecordKey(&key, record);
  sync::AppendRecordValue(&value, record);
  bytes_ += key.size() + value.size();
  (*records)[std::move(key)] = std::move(value);
  if (records_.size() + records->size() > kRecordsMax || bytes_ > kBytesMax) {
    return NotPlain("the other files hold more records than are edited in");
  }
  return work.cancel != nullptr && work.cancel->load() ? Cancelled("the merge was cancelled") : Status();
}

void Incoming::Merge(std::map<std::string, std::string> records) {
  if (records_.empty()) {
    records_ = std::move(records);
    return;
  }
  for (auto& [key, value] : records) {
    const auto [present, added] = records_.try_emplace(key, std::move(value));
    if (added) continue;
    if (Wins(sync::ValueStamp(value), sync::ValueStamp(present->second))) present->second = std::move(value);
  }
}

std::uint64_t Incoming::Hash(const RecordView& record) const {
  std::uint64_t hash = seed_ + static_cast<std::uint64_t>(record.type);
  for (const std::string_view part : Identity(record)) hash = XXH3_64bits_withSeed(part.data(), part.size(), hash);
  return hash;
}

/// Of other bits of the hash than its slot.
std::size_t Incoming::Bit(std::uint64_t hash) const { return (hash >> 32) & (8 * maybe_.size() - 1); }

Status Incoming::EndFiles() {
  // Drawn, so that nobody can choose ids that share a slot. What is found does not depend on it.
  std::random_device random;
  seed_ = static_cast<std::uint64_t>(random()) << 32 | random();
  std::size_t slots = 16;
  while (slots < 2 * records_.size()) slots *= 2;
  slots_.assign(slots, {});
  maybe_.assign(slots, 0);
  for (const auto& [key, value] : records_) {
    VELLUM_TRY(stored_.Assign(key, value));
    const RecordView record = stored_.view();
    found_.push_back({&key, &value, record.type, false});
    const std::uint64_t hash = Hash(record);
    maybe_[Bit(hash) / 8] |= static_cast<std::uint8_t>(1u << Bit(hash) % 8);
    std::size_t at = hash & (slots - 1);
    while (slots_[at].record != 0) at = (at + 1) & (slots - 1);
    slots_[at] = {hash, static_cast<std::uint32_t>(found_.size())};
  }
  return {};
}

Incoming::Record* Incoming::Find(const RecordView& record) {
  const std::uint64_t hash = Hash(record);
  if ((maybe_[Bit(hash) / 8] >> Bit(hash) % 8 & 1) == 0) return nullptr;
  for (std::size_t at = hash & (slots_.size() - 1); slots_[at].record != 0; at = (at + 1) & (slots_.size() - 1)) {
    if (slots_[at].hash != hash) continue;
    Record& found = found_[slots_[at].record - 1];
    if (found.type != record.type || !stored_.Assign(*found.key, *found.value).ok()) continue;
    if (Identity(stored_.view()) == Identity(record)) return &found;
  }
  return nullptr;
}

}  // namespace vellum::c1z
