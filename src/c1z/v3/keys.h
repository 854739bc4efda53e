#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "sync/record.h"

/// Keys of the records within a v3 file's database.
namespace vellum::c1z::v3 {

/// What the second byte of a key says.
enum class KeyType : std::uint8_t {
  kResourceType = 1,
  kResource = 2,
  kEntitlement = 3,
  kGrant = 4,
  kAsset = 5,
  kSyncRun = 6,
  kIndex = 7,
  kCounter = 8,
  kSession = 9,
  kDigest = 10,
  kMeta = 0xFF,
};
inline constexpr char kKeySpace = '\x03';
/// The last type before kMeta that is known.
inline constexpr auto kLastKnownType = KeyType::kDigest;

/// How entitlements and grants are keyed.
enum class Identity : std::uint8_t {
  kStructural,  ///< By everything that makes them up: pebble3.
  kExternal,    ///< By their own id: pebble2.
};

/// 03 and the type byte: what all keys of a type begin with.
std::string TypePrefix(KeyType type);
KeyType KeyTypeOf(sync::RecordType type);

/// Appends the key under which a file keeps a record.
void AppendKey(std::string* key, const sync::RecordView& record, Identity identity);

}  // namespace vellum::c1z::v3
