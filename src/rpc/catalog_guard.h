#pragma once

#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "kv/schema.h"
#include "kv/view.h"
#include "sync/catalog.h"
#include "vellum/status.h"
#include "vellum/types.h"

/// The catalog of syncs lies in the store itself, under "/vellum/", where any client can read and watch it. Changing it is for the
/// data plane alone, which writes through the engine and so does not come by here.
namespace vellum::rpc {

inline constexpr std::string_view kGuardedPrefix = sync::kCatalogPrefix;
inline constexpr std::string_view kGuardedEnd = "/vellum0";  ///< The first key behind it.

/// The whole check of a put: cheap enough for every one of them.
inline bool IsGuarded(std::string_view key) { return key.starts_with(kGuardedPrefix); }
/// kPermissionDenied naming the key and the command that is meant for it.
Status RefusePut(std::string_view key);

/// True if an interval contains keys that are guarded, or would be if they existed.
bool TouchesGuarded(std::string_view key, std::string_view range_end);

/// Everything in a transaction that the catalog has to be guarded against, in all branches, however deep.
struct GuardedOperations {
  const std::string* put = nullptr;                    ///< The first guarded key that it puts. Points into the request.
  std::vector<const DeleteRangeRequest*> deletes;  ///< Those that touch.
};
GuardedOperations FindGuarded(const TxnRequest& request);

/// kPermissionDenied naming the first guarded key that exists at `view` in the range.
Status CheckDelete(const kv::View& view, const DeleteRangeRequest& request);

/// `operation` on the condition that nothing guarded is in the ranges of `deletes`, which are its own, when it is applied: what
/// CheckDelete saw may have changed by then.
TxnRequest OnlyWithoutCatalog(TxnOp operation, const std::vector<const DeleteRangeRequest*>& deletes);
/// What the condition's failure is answered with: a sync came meanwhile.
Status RefuseMeanwhile();

/// kPermissionDenied for the lease of a writer of syncs.
Status RefuseRevoke(LeaseId id);

}  // namespace vellum::rpc
