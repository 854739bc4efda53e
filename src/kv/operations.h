#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "kv/view.h"
#include "kv/write_set.h"
#include "vellum/status.h"
#include "vellum/types.h"

namespace vellum::kv {

/// Numbers of single operations, for the metrics.
struct OperationCounts {
  std::int64_t ranges = 0;
  std::int64_t puts = 0;
  std::int64_t deletes = 0;
};

/// Runs requests of one command over its write set, by etcd's rules. A failure means that the whole command fails: the
/// write set may hold changes by then and must be dropped. Requests must have passed the checks of validate.h.
class Operations {
 public:
  struct Limits {
    std::size_t txn_bytes_max = 256u << 20;              ///< Of keys and values, old and new, that a txn touches.
    std::size_t answer_bytes_max = (std::size_t{2} << 30) - 1;  ///< Of what a txn's ranges return together.
  };

  /// `before` is the state that the command started from, `compacted` what commands so far have compacted (which may be
  /// more than is published yet). All must outlive this object.
  Operations(WriteSet* set, const View* before, Revision compacted, Limits limits)
      : set_(set), before_(before), compacted_(compacted), limits_(limits) {}

  /// kLeaseNotFound, then kKeyNotFound.
  Result<PutResponse> Put(PutRequest&& request);
  /// What can only be known on the state before (compacted and future revisions, missing keys and leases) is checked for
  /// the whole chosen path before anything changes. kRequestTooLarge beyond txn_bytes_max.
  Result<TxnResponse> Txn(TxnRequest&& request);

  /// Of the branch that runs.
  struct Path {
    bool succeeded = false;
    std::vector<Path> children;  ///< Of its nested transactions, in order.
  };
  /// Evaluates all compares of the path on the state as it is now. Nothing may have been changed yet.
  Result<Path> Evaluate(const TxnRequest& request) const;
  /// Txn for a path that has been evaluated.
  Result<TxnResponse> Run(TxnRequest&& request, const Path& path);

  /// The revision that an answer given now carries.
  Revision current() const { return set_->changed() ? set_->main() : set_->main() - 1; }
  const OperationCounts& counts() const { return counts_; }

 private:
  Status CheckPath(const TxnRequest& request, const Path& path);
  Status CheckTxnPut(const PutRequest& request);
  Status CheckLease(LeaseId id) const;
  Status CheckSize() const;
  Result<PutResponse> ApplyPut(PutRequest&& request);
  Result<DeleteRangeResponse> ApplyDelete(const DeleteRangeRequest& request);
  Result<RangeResponse> ApplyRange(const RangeRequest& request);
  Result<TxnResponse> ApplyTxn(TxnRequest&& request, const Path& path);

  WriteSet* const set_;
  const View* const before_;
  const Revision compacted_;
  const Limits limits_;
  OperationCounts counts_;
  std::size_t answer_bytes_ = 0;
};

/// A transaction that IsReadOnly, on a view, without any log. The same answers and failures as Operations::Txn. It must
/// have passed CheckTxn. kCancelled when `cancel` gets set.
Result<TxnResponse> ReadOnlyTxn(const View& view, const TxnRequest& request, const CancelFlag* cancel = nullptr);

/// True if a lease of this id is stored.
Result<bool> LeaseExists(const storage::Database& database, LeaseId id);

}  // namespace vellum::kv
