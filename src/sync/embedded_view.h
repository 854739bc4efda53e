#pragma once

#include <memory>

#include "sync/generation.h"
#include "vellum/sync_store.h"

namespace vellum::sync {

/// A generation as embedding programs read it.
std::shared_ptr<const SyncView> NewView(std::shared_ptr<const Generation> generation);

/// The records that a cursor over records stands on and comes to. It has been positioned.
std::unique_ptr<RecordSource> SourceOf(std::unique_ptr<storage::TableCursor> records);

/// The records that index entries lead to, looked up one by one. `entries` has been positioned.
std::unique_ptr<RecordSource> IndexedSourceOf(std::shared_ptr<const Generation> generation,
                                              std::unique_ptr<storage::TableCursor> entries);

}  // namespace vellum::sync
