#pragma once

#include "rpc/core.h"

namespace vellum::rpc {

/// Adds the methods of etcdserverpb.Cluster.
void RegisterCluster(const CorePtr& core, wire::ServiceTable* table);

}  // namespace vellum::rpc
