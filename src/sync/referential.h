#pragma once

#include <vector>

#include "sync/operations.h"

namespace vellum::sync {

/// Records that name others which are not there: grants without their entitlement, its resource or their principal,
/// entitlements without their resource, resources without their type or parent. One finding per rule that is broken, in
/// that order. Cost: each rule walks two buckets side by side, in key order. A sync that is part of a larger whole breaks
/// them by nature.
Result<std::vector<Finding>> FindDangling(const Generation& generation, const Work& work);

}  // namespace vellum::sync
