#pragma once

#include <cstddef>

#include "kv/view.h"

namespace vellum::kv {

/// Records that HashKeyValues orders at a time: 24 bytes each, so 48 MiB.
inline constexpr std::size_t kHashRecordsMax = 1u << 21;

/// HashKeyValues with another bound, at least 2. For tests.
Result<HashResult> HashKeyValuesInPasses(const View& view, Revision revision, std::size_t records_max,
                                         const CancelFlag* cancel);

}  // namespace vellum::kv
