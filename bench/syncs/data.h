#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "vellum/records.h"

/// Access snapshots as connectors see them, made up: the same for the same shape, and of ids that do not compress away.
namespace vellum::bench {

/// One sync. Grants are spread evenly over entitlements, which belong to groups; users are shared.
struct Shape {
  std::uint64_t grants = 0;
  std::uint64_t users = 0;
  std::uint64_t groups = 0;
  std::uint64_t entitlements_per_group = 1;
  std::uint32_t source = 0;   ///< Which of several sources: decides the names of what is not shared.
  /// The part of groups and users that every source has. Grants of shared groups go to shared users, so as many are shared.
  double shared = 1.0;
  Stamp discovered_at = 1'772'352'000'000'000'000;  ///< Of the first record; later ones follow by the millisecond.
  bool resources = true;      ///< With types, resources and entitlements; else grants only.
  /// Grants only of every n-th group: a partial.
  std::uint64_t group_step = 1;
  /// Users from here on: grants that the others do not have.
  std::uint64_t first_user = 0;

  std::uint64_t records() const {
    return grants + (resources ? 2 + users + groups + groups * entitlements_per_group : 0);
  }
};

/// 25 grants a user and 125 a group, as organisations have them.
Shape OrganisationOf(std::uint64_t grants);

constexpr Stamp kDay = 86'400'000'000'000;

/// Partial number `i`, of 1,000 grants, on top of OrganisationOf(base_grants), a day newer than the one before: 800 override,
/// 200 are new.
std::vector<Shape> PartialShapes(std::uint64_t base_grants, std::uint32_t i);

/// Calls `put` with every record, types first, grants in the order in which a connector walks its groups: neither sorted nor at
/// random. Views are valid during the call.
Status ForEachRecord(const Shape& shape, const std::function<Status(const RecordView&)>& put);

}  // namespace vellum::bench
