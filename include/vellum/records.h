#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "vellum/status.h"

/// What an access snapshot (a sync) consists of, as it passes between programs, files and stores.
namespace vellum {

enum class RecordType : std::uint8_t { kResourceType = 0, kResource = 1, kEntitlement = 2, kGrant = 3, kAsset = 4 };
inline constexpr int kRecordTypes = 5;

/// Nanoseconds since 1970 UTC; 0 is "absent", so a record stamped exactly 1970-01-01T00:00:00Z counts as unstamped.
using Stamp = std::uint64_t;

/// One record, borrowed: every view is valid as long as whoever handed it over says. Identity is structural; the fields
/// that make it up, per type:
///
///   resource type  id
///   resource       type_id, id
///   entitlement    type_id and resource_id (of its resource), id (as the connector named it)
///   grant          type_id and resource_id (of its entitlement's resource), entitlement_id,
///                  principal_type_id, principal_id;  id is the connector's own name for it
///   asset          id
struct RecordView {
  RecordType type = RecordType::kResourceType;
  Stamp discovered_at = 0;

  std::string_view id{};
  std::string_view type_id{};
  std::string_view resource_id{};
  std::string_view entitlement_id{};
  std::string_view principal_type_id{};
  std::string_view principal_id{};

  /// Resources: where it hangs; both empty without a parent. Read out of `data`, not stored beside it.
  std::string_view parent_type_id{};
  std::string_view parent_id{};
  /// Grants: encoded GrantExpandable; empty without.
  std::string_view expansion{};
  bool needs_expansion = false;
  /// Grants: `data` lacks the bodies of entitlement and principal, which readers rebuild from the identity.
  bool slim = false;
  /// Assets.
  std::string_view content_type{};

  /// The connector's protobuf message byte for byte (c1.connector.v2), or an asset's bytes.
  std::string_view data{};
};

/// What a sync is, beside its records.
struct SyncRun {
  std::string id{};         ///< Any text of 1 to 1,024 bytes.
  std::string type{};       ///< "full", "partial", "resources_only", "partial_upserts", "partial_deletions", ...
  std::string parent_id{};  ///< What a partial or diff builds on.
  std::string linked_id{};  ///< The other half of an upserts/deletions pair.
  std::string token{};      ///< The syncer's opaque checkpoint.
  Stamp started_at = 0;
  Stamp ended_at = 0;       ///< 0: unfinished.
  bool supports_diff = false;
};

/// Takes records in any order.
class RecordSink {
 public:
  virtual ~RecordSink() = default;
  /// Copies what it keeps. Latest put of an identity wins. kInvalidArgument for a record without identity.
  virtual Status Put(const RecordView& record) = 0;
};

/// Hands out records one by one. Not thread-safe.
class RecordSource {
 public:
  virtual ~RecordSource() = default;
  /// False at the end. `record` is valid until the next call. kDataLoss for stored bytes that are no record.
  virtual Result<bool> Next(RecordView* record) = 0;
};

}  // namespace vellum
