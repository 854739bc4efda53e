#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "sync/store.h"

/// Which syncs of a connector go, and letting them go.
namespace vellum::sync {

struct RetentionOptions {
  std::uint32_t keep = 2;                      ///< Finished full syncs that stay; the newest one stays whatever this says.
  std::int64_t open_keep_s = 7 * 24 * 3600;    ///< Unfinished ones that nobody writes go after so long. 0: never.
};

/// A sync of the connector as retention sees it.
struct RetentionSync {
  SyncEntry entry;
  bool has_writer = false;
  bool readable = true;  ///< False: its generation cannot be opened. It is left to people, and does not count as kept.
};

/// One sync that goes.
struct Retiring {
  SyncEntry entry;
  std::string rule;  ///< "open", "diff", "partial" or "full".
  std::string why;   ///< For people.
};

/// The plan for one connector, in the order of deletion:
///
///   open     unfinished, without a writer, and without a sign of life (start, registration, switch) for open_keep_s;
///   diff     upserts and deletions other than the newest and its partner (without a partner: the second newest);
///   partial  partial and resources_only syncs that ended before the oldest full sync that stays began; only if full syncs go;
///   full     full syncs, and those of types that nobody knows, beyond the newest `keep`.
///
/// Full ones come last, and the oldest first in each group, so that an interrupted run that is started again takes up the rest of
/// the same plan. Pure; `now` in nanoseconds since 1970. Ties on the end are broken by the id.
std::vector<Retiring> PlanRetention(const std::vector<RetentionSync>& syncs, const RetentionOptions& options, Stamp now);

struct Retired {
  Retiring retiring;
  std::uint64_t records = 0;  ///< Of the present generation.
  std::uint64_t bytes = 0;    ///< Of table files that only generations of this sync have.
};

/// Plans for a connector and, unless `dry_run`, deletes: one transaction per sync, then one sweep. A sync that changed since
/// it was looked at stays. Cancelled between syncs: what was deleted so far stays deleted.
Result<std::vector<Retired>> Retain(Store* store, std::string_view connector, const RetentionOptions& options, bool dry_run,
                                    const Work& work = {});

/// Only the first rule, for all connectors.
Result<std::vector<Retired>> ExpireOpen(Store* store, std::int64_t open_keep_s, const Work& work = {});

/// Whether a type counts as full here: neither a part of something nor a diff.
bool IsFullForRetention(const SyncEntry& entry);

}  // namespace vellum::sync
