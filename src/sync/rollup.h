#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "sync/operations.h"

/// Merging what is pending for a connector into its latest full sync.
namespace vellum::sync {

/// Under the number of operations that a transaction of the metadata plane may have.
inline constexpr std::size_t kRollupBatch = 64;

struct RollupOutcome {
  std::string into;                   ///< The latest finished full sync; empty if there is none, or nothing is pending.
  std::vector<std::string> merged;    ///< In order. With dry_run: what would be.
  std::optional<MergeOutcome> merge;  ///< Counts over all; strategy and generation of the last merge. None with dry_run.
};

/// Finished partial and resources_only syncs that are newer than the connector's latest finished full one, in order of their ends
/// (ties by id), are merged into it and forgotten, in one transaction per `batch` of them: a crash leaves each either
/// pending or merged, and running it again goes on. Diffs and syncs of other types are left alone. kAborted: one of
/// them changed meanwhile; run it again. Sweeps afterwards.
Result<RollupOutcome> RollUp(Store* store, std::string_view connector, bool dry_run, const Work& work = {},
                             std::size_t batch = kRollupBatch);

/// Connectors that syncs name, each once, in order.
Result<std::vector<std::string>> Connectors(const Store& store);

}  // namespace vellum::sync
