#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "sync/operations.h"
#include "sync/waste.h"

/// Making generations anew without changing what they say: rewriting past the waste limit, repairing indexes.
namespace vellum::sync {

struct RewriteOutcome {
  std::shared_ptr<const Generation> generation;
  Waste before;
  std::uint64_t bytes_before = 0;  ///< Of table files.
  std::uint64_t bytes_after = 0;
  std::vector<std::string> syncs;  ///< That had the old one and have the new one, in its place, in their histories.
};

/// Merges one generation with nothing into tables without overlays, and puts it in the place of the old one wherever a sync
/// refers to that: the same digest, no step in any history. Cost: one pass over its records. kNotFound: no sync refers to it.
/// kDataLoss, nothing changed: its records are not what it says. kAborted: a sync changed meanwhile.
Result<RewriteOutcome> RewriteGeneration(Store* store, const GenerationId& id, const Work& work = {});

/// The present generations of finished syncs that are past the waste limit, the worst share first. Cost: one look at each sync.
Result<std::vector<GenerationId>> WastefulGenerations(const Store& store);

struct RepairOutcome {
  std::shared_ptr<const Generation> generation;  ///< The present one afterwards.
  bool changed = false;                          ///< False: the indexes were right, nothing was written.
  std::uint64_t records = 0;
  std::uint64_t entries_wrong = 0;               ///< Index entries that were stale or missing, where they could be read.
  std::string why;                               ///< What was wrong, for people; empty if nothing was.
};

/// Builds a sync's indexes anew from its records, if they are wrong, unreadable or of another version; the new generation
/// takes the place of the old one. Works from the record files alone, so that it also helps where the generation cannot be
/// opened. Records are never dropped: kDataLoss, naming them, if any is damaged, and then nothing has changed.
/// kFailedPrecondition for a sync that is being written.
Result<RepairOutcome> RepairSync(Store* store, std::string_view sync_id, const Work& work = {});

}  // namespace vellum::sync
