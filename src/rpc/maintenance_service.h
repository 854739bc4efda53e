#pragma once

#include "rpc/core.h"

namespace vellum::rpc {

/// What etcd's Status and metrics call the size of the database, of a store that is many files.
struct DbSize {
  std::int64_t total = 0;   ///< Bytes on disk: tables, log, and files on their way out.
  std::int64_t in_use = 0;  ///< Of these, about what live data takes. Never above `total`.
};
DbSize ToDbSize(const kv::Engine::Info& info);

/// Adds the methods of etcdserverpb.Maintenance.
void RegisterMaintenance(const CorePtr& core, wire::ServiceTable* table);

}  // namespace vellum::rpc
