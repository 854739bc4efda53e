#pragma once

#include <memory>

#include "base/metrics.h"
#include "kv/view.h"
#include "storage/database.h"

namespace vellum::kv {

/// Drops records of `history` that ended at or before what the mark lets the filter know when a compaction of RocksDB
/// starts. Keeps everything while nothing may go, and records that it cannot read. `dropped` (may be null) counts the
/// records that went, and must outlive the database.
storage::RecordFilterFactory HistoryFilterFactory(std::shared_ptr<const CompactionMark> mark, Counter* dropped = nullptr);

}  // namespace vellum::kv
