#pragma once

#include "rpc/core.h"

namespace vellum::rpc {

/// Adds gRPC server reflection, v1 and v1alpha: the schema of everything in the table.
void RegisterReflection(const CorePtr& core, wire::ServiceTable* table);

}  // namespace vellum::rpc
