#pragma once

#include "rpc/core.h"

namespace vellum::rpc {

/// Adds KV.RangeStream, which etcd has since 3.7: the answer of Range in parts, all of one revision, made no faster than
/// the client takes them.
void RegisterRangeStream(const CorePtr& core, wire::ServiceTable* table);

}  // namespace vellum::rpc
