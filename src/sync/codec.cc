#include "sync/codec.h"

#include <limits>

#include "base/bytes.h"

namespace vellum::sync {
namespace {

constexpr std::uint8_t kHasExternalId = 1;
constexpr std::uint8_t kHasExpansion = 2;
constexpr std::uint8_t kNeedsExpansion = 4;
constexpr std::uint8_t kSlim = 8;
constexpr std::uint8_t kHasContentType = 16;
constexpr std::uint8_t kKnownFlags = 31;
constexpr std::size_t kStampBytes = 8;

void AppendBucket(std::string* key, Bucket bucket) { key->push_back(static_cast<char>(bucket)); }

void AppendEntitlementIdentity(std::string* key, std::string_view type_id, std::string_view resource_id,
                               std::string_view id) {
  const EntitlementTail split = SplitEntitlementId(type_id, resource_id, id);
  AppendEscaped(key, type_id);
  AppendEscaped(key, resource_id);
  key->push_back(split.stripped ? '\x01' : '\x00');
  AppendEscaped(key, split.tail);
}

Status Missing(std::string_view what, const RecordView& record) {
  return InvalidArgument(std::string(what) + " is missing from record " + Printable(record.id));
}

Status TooLong(std::string_view what, std::size_t size, std::size_t limit) {
  return InvalidArgument(std::string(what) + " of " + std::to_string(size) + " bytes is above the limit of " +
                         std::to_string(limit));
}

Status BadKey(std::string_view key) { return DataLoss("not a record key: " + Printable(key)); }

/// Takes one protobuf field off the front: its number and, for length-delimited ones, its bytes.
struct Field {
  std::uint64_t number = 0;
  std::optional<std::string_view> bytes;
};
std::optional<Field> ReadField(ByteReader* reader) {
  const auto tag = reader->ReadVarint();
  if (!tag || (*tag >> 3) == 0) return std::nullopt;
  Field field{*tag >> 3, std::nullopt};
  switch (*tag & 7) {
    case 0: return reader->ReadVarint() ? std::optional(field) : std::nullopt;
    case 1: return reader->ReadBytes(8) ? std::optional(field) : std::nullopt;
    case 5: return reader->ReadBytes(4) ? std::optional(field) : std::nullopt;
    case 2:
      field.bytes = reader->ReadLengthPrefixed();
      return field.bytes ? std::optional(field) : std::nullopt;
    default: return std::nullopt;
  }
}

}  // namespace

const BucketInfo* FindBucket(std::uint8_t byte) {
  for (const BucketInfo& info : kBuckets) {
    if (static_cast<std::uint8_t>(info.bucket) == byte) return &info;
  }
  return nullptr;
}

Status CheckRecord(const RecordView& record) {
  switch (record.type) {
    case RecordType::kResourceType:
    case RecordType::kAsset:
      if (record.id.empty()) return Missing("the id", record);
      break;
    case RecordType::kResource:
      if (record.type_id.empty()) return Missing("the resource type", record);
      if (record.id.empty()) return Missing("the resource id", record);
      break;
    case RecordType::kEntitlement:
      if (record.type_id.empty() || record.resource_id.empty()) return Missing("the entitlement's resource", record);
      if (record.id.empty()) return Missing("the entitlement's id", record);
      break;
    case RecordType::kGrant:
      if (record.type_id.empty() || record.resource_id.empty()) return Missing("the entitlement's resource", record);
      if (record.entitlement_id.empty()) return Missing("the entitlement's id", record);
      if (record.principal_type_id.empty() || record.principal_id.empty()) return Missing("the principal", record);
      break;
  }
  for (const std::string_view part : {record.id, record.type_id, record.resource_id, record.entitlement_id,
                                      record.principal_type_id, record.principal_id}) {
    if (part.size() > kIdBytesMax) return TooLong("an id", part.size(), kIdBytesMax);
  }
  const std::size_t size = record.data.size() + record.expansion.size() + record.content_type.size();
  if (size > kRecordBytesMax) return TooLong("a record", size, kRecordBytesMax);
  return {};
}

EntitlementTail SplitEntitlementId(std::string_view type_id, std::string_view resource_id, std::string_view id) {
  const std::size_t prefix = type_id.size() + resource_id.size() + 2;
  if (id.size() >= prefix && id.substr(0, type_id.size()) == type_id && id[type_id.size()] == ':' &&
      id.substr(type_id.size() + 1, resource_id.size()) == resource_id && id[prefix - 1] == ':') {
    return {true, id.substr(prefix)};
  }
  return {false, id};
}

void AppendRecordKey(std::string* key, const RecordView& record) {
  AppendBucket(key, RecordBucket(record.type));
  switch (record.type) {
    case RecordType::kResourceType:
    case RecordType::kAsset: AppendEscaped(key, record.id); break;
    case RecordType::kResource:
      AppendEscaped(key, record.type_id);
      AppendEscaped(key, record.id);
      break;
    case RecordType::kEntitlement:
      AppendEntitlementIdentity(key, record.type_id, record.resource_id, record.id);
      break;
    case RecordType::kGrant:
      AppendEntitlementIdentity(key, record.type_id, record.resource_id, record.entitlement_id);
      AppendEscaped(key, record.principal_type_id);
      AppendEscaped(key, record.principal_id);
      break;
  }
}

Result<DecodedKey> DecodedKey::Parse(std::string_view key) {
  DecodedKey decoded;
  VELLUM_TRY(decoded.Assign(key));
  return decoded;
}

Status DecodedKey::Assign(std::string_view key) {
  const BucketInfo* const info = key.empty() ? nullptr : FindBucket(static_cast<std::uint8_t>(key.front()));
  if (info == nullptr || info->index || key.size() > std::numeric_limits<std::uint32_t>::max() / 2) return BadKey(key);
  type_ = BucketType(info->bucket);
  text_.clear();
  type_id_ = resource_id_ = id_ = principal_type_id_ = principal_id_ = {};
  return Read(key.substr(1)) ? Status() : BadKey(key);
}

/// Fills the parts; false unless the bytes hold exactly them.
bool DecodedKey::Read(std::string_view identity) {
  ByteReader reader(identity);
  switch (type_) {
    case RecordType::kResourceType:
    case RecordType::kAsset: return ReadPart(&reader, &id_) && reader.empty();
    case RecordType::kResource: return ReadPart(&reader, &type_id_) && ReadPart(&reader, &id_) && reader.empty();
    case RecordType::kEntitlement: return ReadEntitlement(&reader) && reader.empty();
    case RecordType::kGrant:
      if (!ReadEntitlement(&reader)) return false;
      text_.push_back(':');
      if (!ReadPart(&reader, &principal_type_id_)) return false;
      text_.push_back(':');
      return ReadPart(&reader, &principal_id_) && reader.empty();
  }
  return false;
}

bool DecodedKey::ReadPart(ByteReader* reader, Part* part) {
  part->begin = static_cast<std::uint32_t>(text_.size());
  if (!reader->ReadEscapedTo(&text_)) return false;
  part->end = static_cast<std::uint32_t>(text_.size());
  return true;
}

bool DecodedKey::ReadEntitlement(ByteReader* reader) {
  if (!ReadPart(reader, &type_id_)) return false;
  text_.push_back(':');
  if (!ReadPart(reader, &resource_id_)) return false;
  text_.push_back(':');
  const auto stripped = reader->ReadByte();
  if (!stripped || *stripped > 1 || !ReadPart(reader, &id_)) return false;
  if (*stripped == 1) {
    id_.begin = type_id_.begin;  // "type:resource:tail", which is what lies there
    return true;
  }
  // An id has one key: a conventional one that was not stripped would be a second.
  return !SplitEntitlementId(View(type_id_), View(resource_id_), View(id_)).stripped;
}

void DecodedKey::FillIdentity(RecordView* record) const {
  record->type = type_;
  record->type_id = View(type_id_);
  record->resource_id = View(resource_id_);
  if (type_ == RecordType::kGrant) {
    record->entitlement_id = View(id_);
    record->principal_type_id = View(principal_type_id_);
    record->principal_id = View(principal_id_);
  } else {
    record->id = View(id_);
  }
}

std::string ConventionalGrantId(std::string_view entitlement_id, std::string_view principal_type_id,
                                std::string_view principal_id) {
  std::string id;
  id.reserve(entitlement_id.size() + principal_type_id.size() + principal_id.size() + 2);
  id.append(entitlement_id).append(":").append(principal_type_id).append(":").append(principal_id);
  return id;
}

namespace {

/// Compares without building the conventional id.
bool IsConventionalGrantId(const RecordView& record) {
  std::string_view rest = record.id;
  const auto take = [&rest](std::string_view part) {
    if (rest.substr(0, part.size()) != part) return false;
    rest.remove_prefix(part.size());
    return true;
  };
  return take(record.entitlement_id) && take(":") && take(record.principal_type_id) && take(":") &&
         rest == record.principal_id;
}

}  // namespace

void AppendRecordValue(std::string* value, const RecordView& record) {
  const bool external_id = record.type == RecordType::kGrant && !record.id.empty() && !IsConventionalGrantId(record);
  std::uint8_t flags = 0;
  if (external_id) flags |= kHasExternalId;
  if (!record.expansion.empty()) flags |= kHasExpansion;
  if (record.needs_expansion) flags |= kNeedsExpansion;
  if (record.slim) flags |= kSlim;
  if (!record.content_type.empty()) flags |= kHasContentType;
  AppendBe64(value, record.discovered_at);
  value->push_back(static_cast<char>(flags));
  if (external_id) AppendLengthPrefixed(value, record.id);
  if (!record.expansion.empty()) AppendLengthPrefixed(value, record.expansion);
  if (!record.content_type.empty()) AppendLengthPrefixed(value, record.content_type);
  value->append(record.data);
}

Result<ValueView> ParseValue(std::string_view value) {
  ByteReader reader(value);
  ValueView parsed;
  const auto stamp = reader.ReadBe64();
  const auto flags = reader.ReadByte();
  if (!stamp || !flags || (*flags & ~kKnownFlags) != 0) return DataLoss("not a record value: " + Printable(value));
  const auto read_if = [&](std::uint8_t flag, std::string_view* part) {
    if ((*flags & flag) == 0) return true;
    const auto bytes = reader.ReadLengthPrefixed();
    if (!bytes) return false;
    *part = *bytes;
    return true;
  };
  if (!read_if(kHasExternalId, &parsed.external_id) || !read_if(kHasExpansion, &parsed.expansion) ||
      !read_if(kHasContentType, &parsed.content_type)) {
    return DataLoss("a record value ends early: " + Printable(value));
  }
  parsed.discovered_at = *stamp;
  parsed.needs_expansion = (*flags & kNeedsExpansion) != 0;
  parsed.slim = (*flags & kSlim) != 0;
  parsed.data = reader.rest();
  return parsed;
}

Stamp ValueStamp(std::string_view value) { return ByteReader(value).ReadBe64().value_or(0); }

std::string_view ValueWithoutStamp(std::string_view value) {
  return value.size() < kStampBytes ? std::string_view() : value.substr(kStampBytes);
}

Result<StoredRecord> StoredRecord::Parse(std::string_view key, std::string_view value) {
  StoredRecord record;
  VELLUM_TRY(record.Assign(key, value));
  return record;
}

Status StoredRecord::Assign(std::string_view key, std::string_view value) {
  VELLUM_TRY(key_.Assign(key));
  return AssignValue(value);
}

Status StoredRecord::AssignValue(std::string_view value) {
  VELLUM_ASSIGN_OR_RETURN(value_, ParseValue(value));
  return {};
}

RecordView StoredRecord::view() const {
  RecordView record;
  key_.FillIdentity(&record);
  record.discovered_at = value_.discovered_at;
  if (record.type == RecordType::kGrant) {
    record.id = value_.external_id.empty() ? key_.conventional_id() : value_.external_id;
  }
  if (record.type == RecordType::kResource) {
    if (const auto parent = ReadParent(value_.data)) {
      record.parent_type_id = parent->type_id;
      record.parent_id = parent->id;
    }
  }
  record.expansion = value_.expansion;
  record.needs_expansion = value_.needs_expansion;
  record.slim = value_.slim;
  record.content_type = value_.content_type;
  record.data = value_.data;
  return record;
}

namespace {

/// Past one escaped part, without unescaping it. False unless it ends.
bool SkipPart(std::string_view* rest) {
  for (std::size_t at = 0;;) {
    const auto zero = rest->find('\0', at);
    if (zero == std::string_view::npos || zero + 1 >= rest->size()) return false;
    at = zero + 2;
    if ((*rest)[zero + 1] == '\x01') {
      rest->remove_prefix(at);
      return true;
    }
    if ((*rest)[zero + 1] != '\xFF') return false;
  }
}

/// The principal's part of a grant's identity, still escaped; empty for bytes that are no identity.
std::string_view PrincipalPart(std::string_view identity) {
  if (!SkipPart(&identity) || !SkipPart(&identity) || identity.empty()) return {};
  identity.remove_prefix(1);
  return SkipPart(&identity) ? identity : std::string_view();
}

}  // namespace

Status ForEachIndexKey(std::string_view record_key, std::string_view value, const EmitIndexKey& emit) {
  VELLUM_ASSIGN_OR_RETURN(const ValueView parsed, ParseValue(value));
  const BucketInfo* const info = record_key.empty() ? nullptr : FindBucket(static_cast<std::uint8_t>(record_key[0]));
  if (info == nullptr || info->index) return BadKey(record_key);
  const std::string_view identity = record_key.substr(1);
  std::string key;
  const auto start = [&key](Bucket bucket) {
    key.clear();
    AppendBucket(&key, bucket);
  };
  const auto external = [&](std::string_view id) {
    start(Bucket::kByExternalId);
    key.push_back(static_cast<char>(info->bucket));
    AppendEscaped(&key, id);
    key.append(identity);
    emit(Bucket::kByExternalId, key);
  };
  switch (info->bucket) {
    case Bucket::kResource:
      if (const auto parent = ReadParent(parsed.data); parent && !parent->id.empty()) {
        start(Bucket::kResourceByParent);
        AppendEscaped(&key, parent->type_id);
        AppendEscaped(&key, parent->id);
        key.append(identity);
        emit(Bucket::kResourceByParent, key);
      }
      break;
    case Bucket::kEntitlement: {
      VELLUM_ASSIGN_OR_RETURN(const DecodedKey decoded, DecodedKey::Parse(record_key));
      RecordView entitlement;
      decoded.FillIdentity(&entitlement);
      if (!SplitEntitlementId(entitlement.type_id, entitlement.resource_id, entitlement.id).stripped) external(entitlement.id);
      break;
    }
    case Bucket::kGrant: {
      // The principal is the last two parts; they are copied as they are, still escaped.
      const std::string_view principal = PrincipalPart(identity);
      if (principal.empty()) return BadKey(record_key);
      start(Bucket::kGrantByPrincipal);
      key.append(principal);
      key.append(identity.substr(0, identity.size() - principal.size()));
      emit(Bucket::kGrantByPrincipal, key);
      if (parsed.needs_expansion) {
        start(Bucket::kGrantNeedingExpansion);
        key.append(identity);
        emit(Bucket::kGrantNeedingExpansion, key);
      }
      if (!parsed.external_id.empty()) external(parsed.external_id);
      break;
    }
    default: break;
  }
  return {};
}

void AppendPrincipalIndexKey(std::string* key, std::string_view record_key, const RecordView& grant) {
  AppendBucket(key, Bucket::kGrantByPrincipal);
  const std::size_t start = key->size();
  AppendEscaped(key, grant.principal_type_id);
  AppendEscaped(key, grant.principal_id);
  const std::size_t principal_bytes = key->size() - start;
  key->append(record_key.substr(1, record_key.size() - 1 - principal_bytes));
}

Result<std::string> IndexedRecordKey(std::string_view index_key) {
  std::string key;
  DecodedKey identity;
  VELLUM_TRY(AppendIndexedRecordKey(index_key, &key, &identity));
  return key;
}

Status AppendIndexedRecordKey(std::string_view index_key, std::string* record_key, DecodedKey* identity) {
  const auto bad = [index_key] { return DataLoss("not an index key: " + Printable(index_key)); };
  const BucketInfo* const info = index_key.empty() ? nullptr : FindBucket(static_cast<std::uint8_t>(index_key[0]));
  if (info == nullptr || !info->index) return bad();
  const std::size_t start = record_key->size();
  std::string_view rest = index_key.substr(1);
  switch (info->bucket) {
    case Bucket::kResourceByParent:
      if (!SkipPart(&rest) || !SkipPart(&rest)) return bad();
      AppendBucket(record_key, Bucket::kResource);
      record_key->append(rest);
      break;
    case Bucket::kGrantNeedingExpansion:
      AppendBucket(record_key, Bucket::kGrant);
      record_key->append(rest);
      break;
    case Bucket::kGrantByPrincipal: {
      if (!SkipPart(&rest) || !SkipPart(&rest)) return bad();
      AppendBucket(record_key, Bucket::kGrant);
      record_key->append(rest).append(index_key.substr(1, index_key.size() - 1 - rest.size()));
      break;
    }
    case Bucket::kByExternalId: {
      if (rest.empty()) return bad();
      record_key->push_back(rest.front());
      rest.remove_prefix(1);
      if (!SkipPart(&rest)) return bad();
      record_key->append(rest);
      break;
    }
    default: return bad();
  }
  return identity->Assign(std::string_view(*record_key).substr(start)).ok() ? Status() : bad();
}

std::string BucketPrefix(Bucket bucket) { return std::string(1, static_cast<char>(bucket)); }

std::string GrantsOfResourcePrefix(std::string_view type_id, std::string_view resource_id) {
  std::string prefix = BucketPrefix(Bucket::kGrant);
  AppendEscaped(&prefix, type_id);
  AppendEscaped(&prefix, resource_id);
  return prefix;
}

std::string GrantsOfEntitlementPrefix(std::string_view type_id, std::string_view resource_id, std::string_view id) {
  std::string prefix = BucketPrefix(Bucket::kGrant);
  AppendEntitlementIdentity(&prefix, type_id, resource_id, id);
  return prefix;
}

std::string EntitlementsOfResourcePrefix(std::string_view type_id, std::string_view resource_id) {
  std::string prefix = BucketPrefix(Bucket::kEntitlement);
  AppendEscaped(&prefix, type_id);
  AppendEscaped(&prefix, resource_id);
  return prefix;
}

std::string ResourcesOfTypePrefix(std::string_view type_id) {
  std::string prefix = BucketPrefix(Bucket::kResource);
  AppendEscaped(&prefix, type_id);
  return prefix;
}

std::string ChildrenPrefix(std::string_view parent_type_id, std::string_view parent_id) {
  std::string prefix = BucketPrefix(Bucket::kResourceByParent);
  AppendEscaped(&prefix, parent_type_id);
  AppendEscaped(&prefix, parent_id);
  return prefix;
}

std::string GrantsOfPrincipalPrefix(std::string_view principal_type_id, std::string_view principal_id) {
  std::string prefix = BucketPrefix(Bucket::kGrantByPrincipal);
  AppendEscaped(&prefix, principal_type_id);
  AppendEscaped(&prefix, principal_id);
  return prefix;
}

std::string ExternalIdPrefix(RecordType type, std::string_view external_id) {
  std::string prefix = BucketPrefix(Bucket::kByExternalId);
  AppendBucket(&prefix, RecordBucket(type));
  AppendEscaped(&prefix, external_id);
  return prefix;
}

std::optional<ParentId> ReadParent(std::string_view resource_message) {
  ParentId parent;
  ByteReader reader(resource_message);
  while (!reader.empty()) {
    const auto field = ReadField(&reader);
    if (!field) return std::nullopt;
    if (field->number != 2 || !field->bytes) continue;
    // A message field that occurs twice is merged: later parts win.
    ByteReader inner(*field->bytes);
    while (!inner.empty()) {
      const auto part = ReadField(&inner);
      if (!part) return std::nullopt;
      if (part->number == 1 && part->bytes) parent.type_id = *part->bytes;
      if (part->number == 2 && part->bytes) parent.id = *part->bytes;
    }
  }
  return parent;
}

}  // namespace vellum::sync
