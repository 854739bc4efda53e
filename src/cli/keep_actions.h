#pragma once

#include "cli/sync_actions.h"

/// The verbs that keep a store of syncs healthy: what goes or is merged is shown before it is done.
namespace vellum::cli {

int RepairSyncs(const SyncArguments& arguments);
int RetainSyncs(const SyncArguments& arguments);
int RollupSyncs(const SyncArguments& arguments);

}  // namespace vellum::cli
