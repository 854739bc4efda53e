#pragma once

#include "rpc/core.h"

namespace vellum::rpc {

/// Adds the method of etcdserverpb.Watch.
void RegisterWatch(const CorePtr& core, wire::ServiceTable* table);

}  // namespace vellum::rpc
