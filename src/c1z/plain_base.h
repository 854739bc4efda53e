#pragma once

#include <string>

#include "c1z/v1_stats.h"
#include "vellum/status.h"

/// Included inside this room only.
namespace vellum::c1z {

/// Names of the indexes that editing looks rows up by.
struct PlainIndexes {
  std::string grants;  ///< On entitlement and principal.
};

/// Whether a v1 database may be edited in place as if it had been imported, merged and exported: it holds one sync,
/// `from`, in tables and indexes of the newest schema and nothing beside them; every row would be imported, as a record
/// of its own and under the id that it would be exported with; every index agrees with its table; no page is used
/// twice. Gives the sync the id `to`, of the same length, in every row and index but that of v1_sync_runs, and counts
/// into `stats`.
///
/// `database` is a private file that no connection has open. kInvalidArgument says what is not plain; the file is
/// worthless then. Cost: one pass over its pages.
Result<PlainIndexes> CheckAndRelabel(const std::string& database, const std::string& from, const std::string& to,
                                     V1Stats* stats);

}  // namespace vellum::c1z
