#pragma once

#include <cstddef>
#include <functional>

#include "sync/query.h"
#include "sync/read_view.h"
#include "vellum/status.h"

/// Who may reach what, from the grants that are stored: pending expansions are counted, not made.
namespace vellum::sync {

/// Takes one row; it is valid during the call. A failure ends the answer and is its result.
using AccessVisitor = std::function<Status(const AccessRow&)>;

/// Most chains that one row shows; AccessRow::chains_cut says that there are more.
inline constexpr std::size_t kChainsMax = 64;
/// Longest chain that may be asked for.
inline constexpr std::uint32_t kChainDepthMax = 1000;

/// Visits one row per grant of the principal, by resource and entitlement, or of the resource, by entitlement and principal.
///
/// A grant that names no sources, or its own entitlement among them, is direct. With `why`, each other source is an entitlement
/// that the principal also holds, and its grant's sources lead on; a chain ends at a direct grant, at an entitlement that it
/// already has (kCycle), at depth_max (kTooDeep), or where the sync has no such grant of the principal, or several that share
/// the id (kUnknown, unless the source says that the principal holds it itself).
///
/// Cost: the grants, one look at each record that they name, and with `why` the index entries of each principal. Memory:
/// those of one principal, at most kHeldMax; beyond that chains of it end unknown.
Result<AccessSummary> AnswerAccess(const ReadView& view, const AccessQuestion& question, const AccessVisitor& visit);
/// kInvalidArgument: not exactly one of principal and resource, or a depth out of range.
Status CheckQuestion(const AccessQuestion& question);
inline constexpr std::size_t kHeldMax = 1'000'000;

}  // namespace vellum::sync
