#pragma once

#include <array>
#include <cstdint>
#include <string_view>

#include "sync/record.h"

/// The one registry of buckets. Linking, merging, counting, digesting, verifying and the tests walk it, so that a new
/// bucket cannot be forgotten in one of them.
namespace vellum::sync {

enum class Bucket : std::uint8_t {
  kResourceType = 0x01,
  kResource = 0x02,
  kEntitlement = 0x03,
  kGrant = 0x04,
  kAsset = 0x05,
  kResourceByParent = 0x11,
  kGrantByPrincipal = 0x12,
  kGrantNeedingExpansion = 0x13,
  kByExternalId = 0x14,
};

struct BucketInfo {
  Bucket bucket;
  std::string_view name;  ///< As in GENERATION, metrics and messages.
  bool index;             ///< Follows from the records; not in the digest.
  /// Index: follows from the value, so replacing a record may make an entry stale. By-principal follows from the identity.
  bool from_value;
  bool merged;            ///< MergeInto folds it (assets stay the destination's).
};

inline constexpr std::array<BucketInfo, 9> kBuckets = {{
    {Bucket::kResourceType, "resource_types", false, false, true},
    {Bucket::kResource, "resources", false, false, true},
    {Bucket::kEntitlement, "entitlements", false, false, true},
    {Bucket::kGrant, "grants", false, false, true},
    {Bucket::kAsset, "assets", false, false, false},
    {Bucket::kResourceByParent, "resources_by_parent", true, true, true},
    {Bucket::kGrantByPrincipal, "grants_by_principal", true, false, true},
    {Bucket::kGrantNeedingExpansion, "grants_needing_expansion", true, true, true},
    {Bucket::kByExternalId, "by_external_id", true, true, true},
}};

/// The bucket that holds the records of a type.
constexpr Bucket RecordBucket(RecordType type) {
  return static_cast<Bucket>(static_cast<std::uint8_t>(type) + 1);
}
/// The type whose records a record bucket holds.
constexpr RecordType BucketType(Bucket bucket) {
  return static_cast<RecordType>(static_cast<std::uint8_t>(bucket) - 1);
}
/// Null for a byte that is no bucket.
const BucketInfo* FindBucket(std::uint8_t byte);

}  // namespace vellum::sync
