#include "c1z/v3/keys.h"

#include "sync/codec.h"

namespace vellum::c1z::v3 {
namespace {

constexpr char kSeparator = '\x00';
constexpr char kEscape = '\x01';

/// A part of a tuple, so that the order of keys is the order of parts.
void AppendPart(std::string* key, std::string_view part) {
  if (part.find_first_of(std::string_view("\x00\x01", 2)) == std::string_view::npos) {
    *key += part;
    return;
  }
  for (const char c : part) {
    if (c == kSeparator || c == kEscape) {
      key->push_back(kEscape);
      key->push_back(c == kSeparator ? '\x01' : '\x02');
    } else {
      key->push_back(c);
    }
  }
}

void AppendNext(std::string* key, std::string_view part) {
  key->push_back(kSeparator);
  AppendPart(key, part);
}

void AppendEntitlement(std::string* key, std::string_view type_id, std::string_view resource_id, std::string_view id) {
  const sync::EntitlementTail split = sync::SplitEntitlementId(type_id, resource_id, id);
  AppendNext(key, type_id);
  AppendNext(key, resource_id);
  AppendNext(key, split.stripped ? "1" : "0");
  AppendNext(key, split.tail);
}

}  // namespace

std::string TypePrefix(KeyType type) { return {kKeySpace, static_cast<char>(type)}; }

KeyType KeyTypeOf(sync::RecordType type) { return static_cast<KeyType>(static_cast<int>(type) + 1); }

void AppendKey(std::string* key, const sync::RecordView& record, Identity identity) {
  key->push_back(kKeySpace);
  key->push_back(static_cast<char>(KeyTypeOf(record.type)));
  switch (record.type) {
    case sync::RecordType::kResourceType:
    case sync::RecordType::kAsset: AppendNext(key, record.id); return;
    case sync::RecordType::kResource:
      AppendNext(key, record.type_id);
      AppendNext(key, record.id);
      return;
    case sync::RecordType::kEntitlement:
      if (identity == Identity::kExternal) return AppendNext(key, record.id);
      AppendEntitlement(key, record.type_id, record.resource_id, record.id);
      return;
    case sync::RecordType::kGrant:
      if (identity == Identity::kExternal) return AppendNext(key, record.id);
      AppendEntitlement(key, record.type_id, record.resource_id, record.entitlement_id);
      AppendNext(key, record.principal_type_id);
      AppendNext(key, record.principal_id);
      return;
  }
}

}  // namespace vellum::c1z::v3
