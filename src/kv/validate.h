#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>

#include "kv/command.h"
#include "vellum/status.h"
#include "vellum/types.h"

/// The checks that need no state, in the order and with the reasons of the etcd protocol. They run on the caller's
/// thread, before a command is proposed. All are kInvalidArgument.
namespace vellum::kv {

/// Transactions may be nested this deep, whatever the budget of operations allows.
inline constexpr int kTxnDepthMax = 128;

/// kKeyEmpty, kInvalidSort.
Status CheckRange(const RangeRequest& request);
/// kKeyEmpty, kValueProvided, kLeaseProvided.
Status CheckPut(const PutRequest& request);
/// kKeyEmpty.
Status CheckDeleteRange(const DeleteRangeRequest& request);
/// kTooManyOperations, kKeyEmpty, whatever the operations' own checks say, kKeyNotFound for an operation without
/// content, kDuplicateKey. A nested transaction may use what its parent's longest list leaves of `ops_max`.
/// Cost: n log² n in the number of operations, whatever the nesting.
Status CheckTxn(const TxnRequest& request, std::size_t ops_max);

/// True if no branch, however nested, could change anything, so that it needs no log: etcd counts any nested transaction
/// as a write, and so does this.
bool IsReadOnly(const TxnRequest& request);

/// Calls `visit` with every delete of the command, those of branches that will not run too.
void VisitDeletes(const Command& command, const std::function<void(const DeleteRangeRequest&)>& visit);

/// True for a put, or a transaction that names a few keys one by one, of not too many bytes: applying it takes no longer
/// than a sync.
bool IsBrief(const Command& command);

/// About how much memory and log the command's keys and values take.
std::size_t PayloadBytes(const Command& command);
/// etcd's estimate for the quota: 256 + key + value for each put, the larger branch of a transaction, 64 for a lease;
/// 0 for everything that passes when space is short (so a transaction with a put in either branch does not).
std::int64_t SpaceCost(const Command& command);

}  // namespace vellum::kv
