#pragma once

#include "rpc/core.h"

namespace vellum::rpc {

/// Adds the methods of etcdserverpb.KV.
void RegisterKv(const CorePtr& core, wire::ServiceTable* table);

/// The size of a write as etcd would log it: the request as the client marshalled it, and its envelope. True if it is
/// above the limit.
bool ExceedsRequestLimit(const Limits& limits, std::size_t request_bytes);

}  // namespace vellum::rpc
