#pragma once

#include <functional>
#include <optional>
#include <string>
#include <string_view>

#include "sync/buckets.h"
#include "sync/record.h"

namespace vellum {
class ByteReader;
}

/// Keys and values of a generation. The bytes are described in docs/formats.md.
namespace vellum::sync {

/// Longest part of an identity, in bytes. Longer ids are refused when a record comes in.
inline constexpr std::size_t kIdBytesMax = 64u << 10;
/// Longest record, in bytes.
inline constexpr std::size_t kRecordBytesMax = 64u << 20;

/// Why a record cannot be stored: it lacks a part of its identity, or is too large. OK if it can.
Status CheckRecord(const RecordView& record);

/// Appends the record's key: the bucket byte and its identity. The order of keys is the order of the identities' parts.
void AppendRecordKey(std::string* key, const RecordView& record);

/// An entitlement's id as the key holds it: whether the conventional "type:resource:" was cut off its front, and the rest.
struct EntitlementTail {
  bool stripped = false;
  std::string_view tail;
};
EntitlementTail SplitEntitlementId(std::string_view type_id, std::string_view resource_id, std::string_view id);

/// A decoded key. Owns its parts.
class DecodedKey {
 public:
  /// kDataLoss for bytes that are no record key.
  static Result<DecodedKey> Parse(std::string_view key);
  /// The same into this, whose memory is used again: for going over many. After a failure this means nothing.
  Status Assign(std::string_view key);
  RecordType type() const { return type_; }
  /// Fills the identity fields of `record` with views into this.
  void FillIdentity(RecordView* record) const;
  /// Grants: the conventional id, a view into this. Others: their id.
  std::string_view conventional_id() const { return std::string_view(text_).substr(id_.begin); }

 private:
  struct Part {
    std::uint32_t begin = 0;
    std::uint32_t end = 0;
  };
  std::string_view View(Part part) const { return std::string_view(text_).substr(part.begin, part.end - part.begin); }
  bool Read(std::string_view identity);
  bool ReadPart(ByteReader* reader, Part* part);
  bool ReadEntitlement(ByteReader* reader);

  RecordType type_ = RecordType::kResourceType;
  /// All parts one behind the other, so that ids which are made of the parts lie in it as they are.
  std::string text_;
  Part type_id_;
  Part resource_id_;
  Part id_;  ///< Of grants the entitlement's.
  Part principal_type_id_;
  Part principal_id_;
};

/// Appends the record's value: stamp, flags, what columns keep beside the message, the message.
void AppendRecordValue(std::string* value, const RecordView& record);

/// A decoded value; views into the bytes.
struct ValueView {
  Stamp discovered_at = 0;
  /// A grant's own id where it is not the conventional one; empty: it is.
  std::string_view external_id;
  std::string_view expansion;
  bool needs_expansion = false;
  bool slim = false;
  std::string_view content_type;
  std::string_view data;
};
/// kDataLoss for bytes that are no value.
Result<ValueView> ParseValue(std::string_view value);
/// Only the stamp; 0 for bytes too short to be a value.
Stamp ValueStamp(std::string_view value);
/// The value with its stamp left out, for comparing contents.
std::string_view ValueWithoutStamp(std::string_view value);

/// A grant's conventional id: "<entitlement id>:<principal type>:<principal id>".
std::string ConventionalGrantId(std::string_view entitlement_id, std::string_view principal_type_id,
                                std::string_view principal_id);

/// A record as it was put, from its key and value. Owns the key's parts, borrows the value's bytes.
class StoredRecord {
 public:
  static Result<StoredRecord> Parse(std::string_view key, std::string_view value);
  /// The same into this, whose memory is used again: for going over many. After a failure this means nothing.
  Status Assign(std::string_view key, std::string_view value);
  /// In two steps: the key, by filling this, and then its value.
  DecodedKey* key() { return &key_; }
  Status AssignValue(std::string_view value);
  /// Views into this and into the value.
  RecordView view() const;

 private:
  DecodedKey key_;
  ValueView value_;
};

/// Calls `emit` with every index key that the record implies, in no order. Index values are empty. `identity` is the
/// record's key without its bucket byte. kDataLoss if the value cannot be read.
using EmitIndexKey = std::function<void(Bucket bucket, std::string_view key)>;
Status ForEachIndexKey(std::string_view record_key, std::string_view value, const EmitIndexKey& emit);

/// Appends the by-principal index key of a grant, whose record key is `record_key`. It follows from the identity alone.
void AppendPrincipalIndexKey(std::string* key, std::string_view record_key, const RecordView& grant);

/// The record key that an index key leads to. kDataLoss for bytes that are no index key.
Result<std::string> IndexedRecordKey(std::string_view index_key);
/// The same, appended to `record_key`, with its identity in `identity`: for whoever needs both, many times.
Status AppendIndexedRecordKey(std::string_view index_key, std::string* record_key, DecodedKey* identity);

/// Key prefixes for reading: everything of a bucket; the grants of an entitlement or of a resource; and by index.
std::string BucketPrefix(Bucket bucket);
std::string GrantsOfResourcePrefix(std::string_view type_id, std::string_view resource_id);
std::string GrantsOfEntitlementPrefix(std::string_view type_id, std::string_view resource_id, std::string_view id);
std::string EntitlementsOfResourcePrefix(std::string_view type_id, std::string_view resource_id);
std::string ResourcesOfTypePrefix(std::string_view type_id);
std::string ChildrenPrefix(std::string_view parent_type_id, std::string_view parent_id);
std::string GrantsOfPrincipalPrefix(std::string_view principal_type_id, std::string_view principal_id);
std::string ExternalIdPrefix(RecordType type, std::string_view external_id);

/// A resource's parent, read out of its encoded message (c1.connector.v2.Resource, field 2) without decoding the rest.
/// Both parts empty if it has none. nullopt for bytes that are not protobuf.
struct ParentId {
  std::string_view type_id;
  std::string_view id;
};
std::optional<ParentId> ReadParent(std::string_view resource_message);

}  // namespace vellum::sync
