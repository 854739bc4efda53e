#include "c1z/v3/records.h"

#include <algorithm>
#include <array>

#include "base/bytes.h"
#include "base/utf8.h"
#include "c1z/v3/bytes.h"
#include "c1z/v3/header.h"
#include "c1z/wire_reader.h"
#include "sync/codec.h"

namespace vellum::c1z::v3 {
namespace {

using sync::RecordType;
using sync::RecordView;

/// Messages within messages, counted as decoders of protobuf do, whose limit is 100 with the record around it.
constexpr int kDepthMax = 98;
constexpr std::uint32_t Tag(std::uint32_t number, std::uint32_t type) { return number << 3 | type; }
constexpr std::uint64_t TagOf(const WireField& field) { return field.number << 3 | field.type; }

Status NotProtobuf() { return Damaged("the message is not protobuf"); }
Status NotUtf8(std::string_view text) { return Damaged("text is not UTF-8: " + Printable(text)); }

Status TakeText(const WireField& field, std::string_view* text) {
  if (!IsUtf8(field.bytes)) return NotUtf8(field.bytes);
  *text = field.bytes;
  return {};
}

/// Pieces of a submessage, in the order they came, are one message.
void TakePiece(std::string_view piece, std::string_view* whole, std::string* joined) {
  if (whole->empty()) {
    *whole = piece;
    return;
  }
  if (whole->data() != joined->data()) joined->assign(*whole);
  joined->append(piece);
  *whole = *joined;
}

/// What a message is expected to be, as far as copying it unread has to know.
enum class Shape { kAny, kStatus, kTimestamp };

/// Fields, lengths and text of a flat message that is copied as it is.
Status CheckFlat(std::string_view message, Shape shape) {
  WireReader reader(message);
  std::string_view text;
  for (WireField field; reader.Next(&field);) {
    if (shape == Shape::kAny && TagOf(field) == Tag(1, 2)) VELLUM_TRY(TakeText(field, &text));
    if (shape == Shape::kStatus && TagOf(field) == Tag(2, 2)) VELLUM_TRY(TakeText(field, &text));
  }
  return reader.damaged() ? NotProtobuf() : Status();
}

/// A Struct, a Value or a ListValue, which contain each other.
enum class Json { kStruct, kEntry, kValue, kList };
Status CheckJson(std::string_view message, Json what, int depth) {
  if (depth > kDepthMax) return Damaged("a profile is nested deeper than " + std::to_string(kDepthMax));
  WireReader reader(message);
  std::string_view text;
  for (WireField field; reader.Next(&field);) {
    if (field.type != 2) continue;
    switch (what) {
      case Json::kStruct:
        if (field.number == 1) VELLUM_TRY(CheckJson(field.bytes, Json::kEntry, depth + 1));
        break;
      case Json::kEntry:
        if (field.number == 1) VELLUM_TRY(TakeText(field, &text));
        if (field.number == 2) VELLUM_TRY(CheckJson(field.bytes, Json::kValue, depth + 1));
        break;
      case Json::kValue:
        if (field.number == 3) VELLUM_TRY(TakeText(field, &text));
        if (field.number == 5) VELLUM_TRY(CheckJson(field.bytes, Json::kStruct, depth + 1));
        if (field.number == 6) VELLUM_TRY(CheckJson(field.bytes, Json::kList, depth + 1));
        break;
      case Json::kList:
        if (field.number == 1) VELLUM_TRY(CheckJson(field.bytes, Json::kValue, depth + 1));
        break;
    }
  }
  return reader.damaged() ? NotProtobuf() : Status();
}

struct TimeFields {
  std::int64_t seconds = 0;
  std::int64_t nanos = 0;
};
Status TakeTime(std::string_view message, TimeFields* time) {
  WireReader reader(message);
  for (WireField field; reader.Next(&field);) {
    if (TagOf(field) == Tag(1, 0)) time->seconds = static_cast<std::int64_t>(field.value);
    if (TagOf(field) == Tag(2, 0)) time->nanos = static_cast<std::int32_t>(field.value);
  }
  return reader.damaged() ? NotProtobuf() : Status();
}

/// A message whose fields 1 to `last` are texts: references to resources, entitlements, principals.
using Texts = std::array<std::string_view, 5>;
Status TakeReference(std::string_view message, std::size_t last, Texts* texts) {
  WireReader reader(message);
  for (WireField field; reader.Next(&field);) {
    if (field.type == 2 && field.number <= last) VELLUM_TRY(TakeText(field, &(*texts)[field.number]));
  }
  return reader.damaged() ? NotProtobuf() : Status();
}

std::size_t SizeOfBytes(std::string_view bytes) { return 1 + VarintSize(bytes.size()) + bytes.size(); }
std::size_t SizeOfText(std::string_view text) { return text.empty() ? 0 : SizeOfBytes(text); }

void PutSize(std::string* out, std::uint32_t number, std::size_t size) {
  AppendVarint(out, Tag(number, 2));
  AppendVarint(out, size);
}
void PutBytes(std::string* out, std::uint32_t number, std::string_view bytes) {
  PutSize(out, number, bytes.size());
  out->append(bytes);
}
void PutText(std::string* out, std::uint32_t number, std::string_view text) {
  if (!text.empty()) PutBytes(out, number, text);
}
void PutNumber(std::string* out, std::uint32_t number, std::uint64_t value) {
  if (value == 0) return;
  AppendVarint(out, Tag(number, 0));
  AppendVarint(out, value);
}

std::size_t ResourceIdSize(std::string_view type_id, std::string_view id) { return SizeOfText(type_id) + SizeOfText(id); }
void PutResourceId(std::string* out, std::uint32_t number, std::string_view type_id, std::string_view id) {
  PutSize(out, number, ResourceIdSize(type_id, id));
  PutText(out, 1, type_id);
  PutText(out, 2, id);
}

std::uint64_t TraitNumber(std::string_view trait) {
  static constexpr std::array<std::string_view, 12> kTraits = {
      "USER", "GROUP", "ROLE", "APP", "SECRET", "SECURITY_INSIGHT", "SCOPE_BINDING", "VENDOR", "VENDOR_AGREEMENT",
      "LICENSE_PROFILE", "AGENT", "MANAGED_DEVICE"};
  const auto found = std::find(kTraits.begin(), kTraits.end(), trait);
  return found == kTraits.end() ? 0 : static_cast<std::uint64_t>(found - kTraits.begin()) + 1;
}

std::uint64_t PurposeNumber(std::string_view purpose) {
  if (purpose == "ASSIGNMENT") return 1;
  if (purpose == "PERMISSION") return 2;
  return purpose == "OWNERSHIP" ? 3 : 0;
}

}  // namespace

/// A record's stamp, in its pieces.
struct RecordDecoder::Stamped {
  bool present = false;
  TimeFields time;

  Status Take(std::string_view message) {
    present = true;
    return TakeTime(message, &time);
  }
};

Status RecordDecoder::Decode(RecordType type, std::string_view key, std::string_view value, RecordView* record,
                             std::uint64_t* unstamped) {
  *record = RecordView{};
  record->type = type;
  Stamped stamped;
  message_.clear();
  annotations_.clear();
  texts_.clear();
  switch (type) {
    case RecordType::kResourceType: VELLUM_TRY(ResourceType(value, record, &stamped)); break;
    case RecordType::kResource: VELLUM_TRY(Resource(value, record, &stamped)); break;
    case RecordType::kEntitlement: VELLUM_TRY(Entitlement(value, record, &stamped)); break;
    case RecordType::kGrant: VELLUM_TRY(Grant(value, record, &stamped)); break;
    case RecordType::kAsset: VELLUM_TRY(Asset(value, record, &stamped)); break;
  }
  if (stamped.present) {
    const auto stamp = MakeStamp(stamped.time.seconds, stamped.time.nanos);
    if (!stamp) ++*unstamped;
    record->discovered_at = stamp.value_or(0);
  }
  const bool keyed_by_id = identity_ == Identity::kExternal && (type == RecordType::kEntitlement || type == RecordType::kGrant);
  if (keyed_by_id) return {};
  key_.clear();
  AppendKey(&key_, *record, identity_);
  if (key_ == key) return {};
  return Damaged("the value is another record's than the key: " + Printable(key_));
}

Status RecordDecoder::ResourceType(std::string_view value, RecordView* record, Stamped* stamped) {
  std::string_view display_name;
  std::string_view description;
  bool external = false;
  WireReader reader(value);
  for (WireField field; reader.Next(&field);) {
    switch (TagOf(field)) {
      case Tag(2, 2): VELLUM_TRY(TakeText(field, &record->id)); break;
      case Tag(3, 2): VELLUM_TRY(TakeText(field, &display_name)); break;
      case Tag(4, 2): VELLUM_TRY(TakeText(field, &texts_.emplace_back())); break;
      case Tag(5, 2):
        VELLUM_TRY(CheckFlat(field.bytes, Shape::kAny));
        annotations_.push_back(field.bytes);
        break;
      case Tag(6, 2): VELLUM_TRY(stamped->Take(field.bytes)); break;
      case Tag(7, 2): VELLUM_TRY(TakeText(field, &description)); break;
      case Tag(8, 0): external = field.value != 0; break;
      default: break;
    }
  }
  if (reader.damaged()) return NotProtobuf();
  PutText(&message_, 1, record->id);
  PutText(&message_, 2, display_name);
  if (!texts_.empty()) {
    PutSize(&message_, 3, texts_.size());  // each number is one byte
    for (const std::string_view trait : texts_) message_.push_back(static_cast<char>(TraitNumber(trait)));
  }
  for (const std::string_view annotation : annotations_) PutBytes(&message_, 4, annotation);
  PutText(&message_, 5, description);
  PutNumber(&message_, 6, external ? 1 : 0);
  record->data = message_;
  return {};
}

Status RecordDecoder::Resource(std::string_view value, RecordView* record, Stamped* stamped) {
  enum { kProfile, kStatus, kCreated };
  std::string_view display_name;
  std::string_view description;
  std::string_view icon;
  std::array<std::string_view, 3> copied;
  std::array<bool, 3> present{};
  Texts parent;
  WireReader reader(value);
  const auto take = [&](int which, std::string_view bytes) {
    present[static_cast<std::size_t>(which)] = true;
    TakePiece(bytes, &copied[static_cast<std::size_t>(which)], &joined_[which]);
  };
  for (WireField field; reader.Next(&field);) {
    switch (TagOf(field)) {
      case Tag(2, 2): VELLUM_TRY(TakeText(field, &record->type_id)); break;
      case Tag(3, 2): VELLUM_TRY(TakeText(field, &record->id)); break;
      case Tag(4, 2): VELLUM_TRY(TakeText(field, &display_name)); break;
      case Tag(5, 2): VELLUM_TRY(TakeText(field, &description)); break;
      case Tag(6, 2): VELLUM_TRY(TakeReference(field.bytes, 2, &parent)); break;
      case Tag(7, 2):
        VELLUM_TRY(CheckFlat(field.bytes, Shape::kAny));
        annotations_.push_back(field.bytes);
        break;
      case Tag(8, 2): VELLUM_TRY(stamped->Take(field.bytes)); break;
      case Tag(9, 2): take(kProfile, field.bytes); break;
      case Tag(10, 2): take(kStatus, field.bytes); break;
      case Tag(11, 2): take(kCreated, field.bytes); break;
      case Tag(13, 2): VELLUM_TRY(TakeText(field, &icon)); break;
      default: break;
    }
  }
  if (reader.damaged()) return NotProtobuf();
  VELLUM_TRY(CheckJson(copied[kProfile], Json::kStruct, 1));
  VELLUM_TRY(CheckFlat(copied[kStatus], Shape::kStatus));
  VELLUM_TRY(CheckFlat(copied[kCreated], Shape::kTimestamp));
  PutResourceId(&message_, 1, record->type_id, record->id);
  if (!parent[2].empty()) {
    record->parent_type_id = parent[1];
    record->parent_id = parent[2];
    PutResourceId(&message_, 2, parent[1], parent[2]);
  }
  PutText(&message_, 3, display_name);
  for (const std::string_view annotation : annotations_) PutBytes(&message_, 4, annotation);
  PutText(&message_, 5, description);
  if (present[kProfile]) PutBytes(&message_, 9, copied[kProfile]);
  if (!icon.empty()) {
    PutSize(&message_, 10, SizeOfText(icon));
    PutText(&message_, 1, icon);
  }
  if (present[kStatus]) PutBytes(&message_, 11, copied[kStatus]);
  if (present[kCreated]) PutBytes(&message_, 12, copied[kCreated]);
  record->data = message_;
  return {};
}

Status RecordDecoder::Entitlement(std::string_view value, RecordView* record, Stamped* stamped) {
  std::string_view display_name;
  std::string_view description;
  std::string_view purpose;
  std::string_view slug;
  Texts resource;
  WireReader reader(value);
  for (WireField field; reader.Next(&field);) {
    switch (TagOf(field)) {
      case Tag(2, 2): VELLUM_TRY(TakeText(field, &record->id)); break;
      case Tag(3, 2): VELLUM_TRY(TakeReference(field.bytes, 2, &resource)); break;
      case Tag(4, 2): VELLUM_TRY(TakeText(field, &display_name)); break;
      case Tag(5, 2): VELLUM_TRY(TakeText(field, &description)); break;
      case Tag(6, 2): VELLUM_TRY(TakeText(field, &purpose)); break;
      case Tag(7, 2):
        VELLUM_TRY(CheckFlat(field.bytes, Shape::kAny));
        annotations_.push_back(field.bytes);
        break;
      case Tag(8, 2): VELLUM_TRY(stamped->Take(field.bytes)); break;
      case Tag(9, 2): VELLUM_TRY(TakeText(field, &slug)); break;
      case Tag(10, 2): VELLUM_TRY(TakeText(field, &texts_.emplace_back())); break;
      default: break;
    }
  }
  if (reader.damaged()) return NotProtobuf();
  record->type_id = resource[1];
  record->resource_id = resource[2];
  const std::size_t id_size = ResourceIdSize(record->type_id, record->resource_id);
  PutSize(&message_, 1, 1 + VarintSize(id_size) + id_size);
  PutResourceId(&message_, 1, record->type_id, record->resource_id);
  PutText(&message_, 2, record->id);
  PutText(&message_, 3, display_name);
  PutText(&message_, 4, description);
  for (const std::string_view type_id : texts_) {
    PutSize(&message_, 5, SizeOfText(type_id));
    PutText(&message_, 1, type_id);
  }
  for (const std::string_view annotation : annotations_) PutBytes(&message_, 6, annotation);
  PutNumber(&message_, 7, PurposeNumber(purpose));
  PutText(&message_, 8, slug);
  record->data = message_;
  return {};
}

namespace {

/// One entry of a grant's map of sources.
Status TakeSource(std::string_view message, std::string_view* id, bool* is_direct) {
  WireReader reader(message);
  for (WireField field; reader.Next(&field);) {
    if (TagOf(field) == Tag(1, 2)) VELLUM_TRY(TakeText(field, id));
    if (TagOf(field) != Tag(2, 2)) continue;
    WireReader source(field.bytes);
    std::string_view ignored;
    for (WireField part; source.Next(&part);) {
      if (TagOf(part) == Tag(4, 0)) *is_direct = part.value != 0;
      if (part.type == 2 && part.number < 4) VELLUM_TRY(TakeText(part, &ignored));
    }
    if (source.damaged()) return NotProtobuf();
  }
  return reader.damaged() ? NotProtobuf() : Status();
}

Status CheckExpansion(std::string_view message) {
  WireReader reader(message);
  std::string_view text;
  for (WireField field; reader.Next(&field);) {
    if (field.type == 2 && (field.number == 1 || field.number == 3)) VELLUM_TRY(TakeText(field, &text));
  }
  return reader.damaged() ? NotProtobuf() : Status();
}

}  // namespace

Status RecordDecoder::Grant(std::string_view value, RecordView* record, Stamped* stamped) {
  Texts entitlement;
  Texts principal;
  std::string_view expansion;
  sources_.clear();
  WireReader reader(value);
  for (WireField field; reader.Next(&field);) {
    switch (TagOf(field)) {
      case Tag(2, 2): VELLUM_TRY(TakeText(field, &record->id)); break;
      case Tag(3, 2): VELLUM_TRY(TakeReference(field.bytes, 3, &entitlement)); break;
      case Tag(4, 2): VELLUM_TRY(TakeReference(field.bytes, 4, &principal)); break;
      case Tag(5, 2): VELLUM_TRY(stamped->Take(field.bytes)); break;
      case Tag(6, 2): TakePiece(field.bytes, &expansion, &joined_[0]); break;
      case Tag(7, 0): record->needs_expansion = field.value != 0; break;
      case Tag(8, 2):
        VELLUM_TRY(CheckFlat(field.bytes, Shape::kAny));
        annotations_.push_back(field.bytes);
        break;
      case Tag(9, 2): {
        Source& source = sources_.emplace_back();
        VELLUM_TRY(TakeSource(field.bytes, &source.id, &source.is_direct));
        break;
      }
      default: break;
    }
  }
  if (reader.damaged()) return NotProtobuf();
  VELLUM_TRY(CheckExpansion(expansion));
  record->expansion = expansion;
  record->type_id = entitlement[1];
  record->resource_id = entitlement[2];
  record->entitlement_id = entitlement[3];
  record->principal_type_id = principal[1];
  record->principal_id = principal[2];
  if (record->id.empty()) {
    id_ = sync::ConventionalGrantId(record->entitlement_id, record->principal_type_id, record->principal_id);
    record->id = id_;
  }
  // Of equal keys of the map the last counts; written in order, equal grants have equal bytes.
  std::stable_sort(sources_.begin(), sources_.end(), [](const Source& a, const Source& b) { return a.id < b.id; });
  const auto shadowed = [this](std::size_t i) { return i + 1 < sources_.size() && sources_[i + 1].id == sources_[i].id; };

  const std::size_t id_size = ResourceIdSize(record->type_id, record->resource_id);
  const std::size_t resource_size = 1 + VarintSize(id_size) + id_size;
  PutSize(&message_, 1, 1 + VarintSize(resource_size) + resource_size + SizeOfText(record->entitlement_id));
  PutSize(&message_, 1, resource_size);
  PutResourceId(&message_, 1, record->type_id, record->resource_id);
  PutText(&message_, 2, record->entitlement_id);
  const std::size_t principal_size = ResourceIdSize(record->principal_type_id, record->principal_id);
  const bool has_parent = !principal[4].empty();
  const std::size_t parent_size = ResourceIdSize(principal[3], principal[4]);
  PutSize(&message_, 2, 1 + VarintSize(principal_size) + principal_size + (has_parent ? 1 + VarintSize(parent_size) + parent_size : 0));
  PutResourceId(&message_, 1, record->principal_type_id, record->principal_id);
  if (has_parent) PutResourceId(&message_, 2, principal[3], principal[4]);
  PutText(&message_, 3, record->id);
  for (const std::string_view annotation : annotations_) PutBytes(&message_, 4, annotation);
  if (!sources_.empty()) {
    constexpr std::size_t kDirect = 2;
    const auto entry_size = [](const Source& source) {
      return SizeOfBytes(source.id) + 2 + (source.is_direct ? kDirect : 0);
    };
    std::size_t size = 0;
    for (std::size_t i = 0; i < sources_.size(); ++i) {
      if (!shadowed(i)) size += 1 + VarintSize(entry_size(sources_[i])) + entry_size(sources_[i]);
    }
    PutSize(&message_, 5, size);
    for (std::size_t i = 0; i < sources_.size(); ++i) {
      if (shadowed(i)) continue;
      PutSize(&message_, 1, entry_size(sources_[i]));
      PutBytes(&message_, 1, sources_[i].id);
      PutSize(&message_, 2, sources_[i].is_direct ? kDirect : 0);
      PutNumber(&message_, 1, sources_[i].is_direct ? 1 : 0);
    }
  }
  record->data = message_;
  return {};
}

Status RecordDecoder::Asset(std::string_view value, RecordView* record, Stamped* stamped) {
  WireReader reader(value);
  for (WireField field; reader.Next(&field);) {
    switch (TagOf(field)) {
      case Tag(2, 2): VELLUM_TRY(TakeText(field, &record->id)); break;
      case Tag(3, 2): VELLUM_TRY(TakeText(field, &record->content_type)); break;
      case Tag(4, 2): record->data = field.bytes; break;
      case Tag(5, 2): VELLUM_TRY(stamped->Take(field.bytes)); break;
      default: break;
    }
  }
  return reader.damaged() ? NotProtobuf() : Status();
}

Result<sync::SyncRun> ParseSyncRun(std::string_view value) {
  sync::SyncRun run;
  std::uint64_t type = 0;
  std::array<TimeFields, 2> times;
  std::array<bool, 2> present{};
  WireReader reader(value);
  for (WireField field; reader.Next(&field);) {
    std::string_view text;
    const auto take = [&](std::string* to) -> Status {
      VELLUM_TRY(TakeText(field, &text));
      to->assign(text);
      return {};
    };
    switch (TagOf(field)) {
      case Tag(1, 2): VELLUM_TRY(take(&run.id)); break;
      case Tag(2, 0): type = field.value; break;
      case Tag(3, 2): VELLUM_TRY(take(&run.parent_id)); break;
      case Tag(4, 2):
      case Tag(5, 2):
        VELLUM_TRY(TakeTime(field.bytes, &times[field.number - 4]));
        present[field.number - 4] = true;
        break;
      case Tag(6, 2): VELLUM_TRY(take(&run.token)); break;
      case Tag(7, 0): run.supports_diff = field.value != 0; break;
      case Tag(8, 2): VELLUM_TRY(take(&run.linked_id)); break;
      default: break;
    }
  }
  if (reader.damaged()) return NotProtobuf();
  if (run.id.empty()) return Damaged("the sync run has an empty id");
  run.type = SyncTypeName(type);
  for (std::size_t i = 0; i < times.size(); ++i) {
    const auto stamp = MakeStamp(times[i].seconds, times[i].nanos);
    if (!stamp && i == 1) {
      return Damaged("sync " + Printable(run.id) + " ended at " + std::to_string(times[i].seconds) +
                     " s and " + std::to_string(times[i].nanos) + " ns, which is not a time since 1970");
    }
    (i == 0 ? run.started_at : run.ended_at) = present[i] ? stamp.value_or(0) : 0;
  }
  return run;
}

Result<std::array<std::uint64_t, sync::kRecordTypes>> ParseSyncStats(std::string_view value) {
  std::array<std::uint64_t, sync::kRecordTypes> counts{};
  WireReader reader(value);
  for (WireField field; reader.Next(&field);) {
    if (field.type == 0 && field.number >= 2 && field.number < 2 + counts.size()) counts[field.number - 2] = field.value;
  }
  if (reader.damaged()) return NotProtobuf();
  return counts;
}

Result<SessionRecord> ParseSession(std::string_view value) {
  SessionRecord session;
  WireReader reader(value);
  for (WireField field; reader.Next(&field);) {
    if (field.type != 2) continue;
    if (field.number == 1) session.sync_id = field.bytes;
    if (field.number == 2) session.key = field.bytes;
    if (field.number == 3) session.value = field.bytes;
  }
  if (reader.damaged()) return NotProtobuf();
  return session;
}

}  // namespace vellum::c1z::v3
