#pragma once

#include "rpc/core.h"

namespace vellum::rpc {

/// Adds the methods of etcdserverpb.Lease.
void RegisterLease(const CorePtr& core, wire::ServiceTable* table);

}  // namespace vellum::rpc
