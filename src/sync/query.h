#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "sync/record.h"

/// What can be asked of a sync, and what answers look like.
namespace vellum::sync {

/// A resource by its identity. As text "type:id", split at the first colon.
struct ResourceName {
  std::string type;
  std::string id;

  friend bool operator==(const ResourceName&, const ResourceName&) = default;
};

/// Records of one type; every filter that is set must hold.
struct RecordQuery {
  RecordType type = RecordType::kGrant;
  std::string resource_type;               ///< Resources: their type. Entitlements and grants: of the entitlement's resource.
  std::optional<ResourceName> resource;    ///< Entitlements and grants: the entitlement's resource. Resources: this one.
  std::optional<ResourceName> parent;      ///< Resources: their parent.
  std::string entitlement;                 ///< Entitlements and grants: the entitlement's id as the connector named it.
  std::optional<ResourceName> principal;   ///< Grants.
  std::string principal_type;              ///< Grants.
  bool needs_expansion = false;            ///< Grants that wait for expansion.
};

/// Who may reach what: exactly one of both is set.
struct AccessQuestion {
  std::optional<ResourceName> principal;  ///< What can it reach?
  std::optional<ResourceName> resource;   ///< Who can reach it?
  bool why = false;                       ///< Also through what, from the grants' sources.
  std::uint32_t depth_max = 32;           ///< Of a chain; deeper ones are cut off and say so.
};

/// One entitlement that one principal holds.
struct AccessRow {
  ResourceName resource;
  std::string resource_name;    ///< Display names; empty if the record is missing or has none.
  std::string entitlement;
  std::string entitlement_name;
  ResourceName principal;
  std::string principal_name;
  bool direct = true;           ///< Not only through other entitlements.
  /// With `why`: chains of entitlements from which it derives, the nearest first.
  struct Step {
    std::string entitlement;
    ResourceName resource;       ///< Empty parts: no such entitlement in the sync, or several.
    bool direct = false;         ///< The principal holds this one itself.
  };
  struct Chain {
    std::vector<Step> steps;
    enum class End : std::uint8_t { kComplete, kCycle, kTooDeep, kUnknown } end = End::kComplete;
  };
  std::vector<Chain> chains;
  bool chains_cut = false;  ///< There are more chains than a row shows.
};
struct AccessSummary {
  std::uint64_t rows = 0;
  std::uint64_t pending_expansions = 0;  ///< Grants that wait for expansion: the answer may lack access.
};

enum class Change : std::uint8_t { kAdded, kRemoved, kChanged };

/// One record that differs. Views are valid during the call that hands it over.
struct DiffRow {
  Change change = Change::kAdded;
  const RecordView* before = nullptr;  ///< Null: added.
  const RecordView* after = nullptr;   ///< Null: removed.
};
struct DiffSummary {
  struct Counts {
    std::uint64_t added = 0;
    std::uint64_t removed = 0;
    std::uint64_t changed = 0;
  };
  std::array<Counts, kRecordTypes> counts{};  ///< By record type.
  std::uint64_t files_skipped = 0;            ///< Shared by both sides, so not read.
  bool differ() const;
};

}  // namespace vellum::sync
