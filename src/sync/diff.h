#pragma once

#include <functional>

#include "sync/query.h"
#include "sync/read_view.h"
#include "sync/store.h"
#include "vellum/status.h"

/// What two syncs, or two generations of one, do not have in common.
namespace vellum::sync {

/// Takes one difference; its records are valid during the call. A failure ends the answer and is its result.
using DiffVisitor = std::function<Status(const DiffRow&)>;

struct DiffOptions {
  bool stamps = false;  ///< A record whose stamp alone differs counts as changed.
};

/// Visits what differs from `before` to `after`, record type by record type, in key order. See SameContent for what
/// "changed" means. An empty visitor is not called: only the counts are wanted.
///
/// Table files that both sides have, in the same layer, are skipped: a record that differs lies in one of the other files of
/// at least one side. Where a bucket shares files, only the keys in the others are looked up, so the cost follows the
/// change; where it shares none, it is one pass over both sides. Memory does not grow with either.
Result<DiffSummary> DiffViews(const ReadView& before, const ReadView& after, const DiffOptions& options,
                              const DiffVisitor& visit, const Work& work = {});

}  // namespace vellum::sync
