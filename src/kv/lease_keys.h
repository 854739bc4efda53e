#pragma once

#include <string>
#include <vector>

#include "kv/view.h"
#include "vellum/status.h"
#include "vellum/types.h"

namespace vellum::kv {

/// The keys attached to a lease as of a view, ascending. Empty if there is no such lease. Cost: the number of keys.
Result<std::vector<std::string>> LeaseKeys(const View& view, LeaseId id);

}  // namespace vellum::kv
