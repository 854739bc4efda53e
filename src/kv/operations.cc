#include "kv/operations.h"

#include <algorithm>
#include <utility>

namespace vellum::kv {
namespace {

Status KeyNotFound() { return InvalidArgument("key not found", Reason::kKeyNotFound); }

int Sign(std::int64_t a, std::int64_t b) { return a < b ? -1 : (a > b ? 1 : 0); }

/// Compares one key's record with the operand; a missing key counts as a record of zeros (but see Holds).
bool Matches(const Compare& compare, const Record& record) {
  int order = 0;  // an unknown target compares as equal, as etcd's does
  switch (compare.target) {
    case CompareTarget::kVersion: order = Sign(record.version, compare.number); break;
    case CompareTarget::kCreate: order = Sign(record.create, compare.number); break;
    case CompareTarget::kMod: order = Sign(record.mod, compare.number); break;
    case CompareTarget::kLease: order = Sign(record.lease, compare.number); break;
    case CompareTarget::kValue: order = record.value.compare(compare.value); break;
  }
  switch (compare.result) {
    case CompareResult::kEqual: return order == 0;
    case CompareResult::kGreater: return order > 0;
    case CompareResult::kLess: return order < 0;
    case CompareResult::kNotEqual: return order != 0;
    case CompareResult::kAlwaysTrue: break;
  }
  return true;
}

std::size_t AnswerBytes(const std::vector<KeyValue>& kvs) {
  std::size_t bytes = 0;
  for (const KeyValue& kv : kvs) bytes += sizeof(KeyValue) + kv.key.size() + kv.value.size();
  return bytes;
}

Status CheckAnswer(std::size_t bytes, std::size_t bytes_max) {
  if (bytes <= bytes_max) return {};
  return ResourceExhausted("the ranges of one transaction return more than " + std::to_string(bytes_max) + " bytes");
}

Result<bool> Holds(const LatestSource& state, const Compare& compare) {
  bool any = false;
  bool all = true;
  if (compare.range_end.empty()) {
    VELLUM_ASSIGN_OR_RETURN(any, state.Get(compare.key, [&](const Record& record) { all = Matches(compare, record); }));
  } else {
    VELLUM_TRY(state.Scan(KeyInterval::FromRequest(compare.key, compare.range_end),
                          [&](std::string_view, const Record& record) {
                            any = true;
                            all = Matches(compare, record);
                            return all;
                          }));
  }
  if (any) return all;
  // A missing key has no value, not an empty one: no comparison with it holds, not even "differs".
  return compare.target != CompareTarget::kValue && Matches(compare, Record{});
}

/// All compares of a list.
Result<bool> Hold(const LatestSource& state, const std::vector<Compare>& compares) {
  for (const Compare& compare : compares) {
    VELLUM_ASSIGN_OR_RETURN(const bool holds, Holds(state, compare));
    if (!holds) return false;
  }
  return true;
}

/// The check of a range inside a transaction, which differs from a plain range's for negative revisions.
Status CheckRangeRevision(Revision revision, Revision now, Revision compacted) {
  if (revision == 0) return {};
  if (revision > now) {
    return OutOfRange("required revision " + std::to_string(revision) + " is a future revision (current: " +
                          std::to_string(now) + ")",
                      Reason::kFutureRevision);
  }
  if (revision < compacted) return OutOfRange("required revision has been compacted", Reason::kCompacted);
  return {};
}

}  // namespace

Result<bool> LeaseExists(const storage::Database& database, LeaseId id) {
  storage::PinnedValue value;
  return database.Get(kLease, LeaseKey(id), &value);
}

Status Operations::CheckLease(LeaseId id) const {
  if (id == 0) return {};
  VELLUM_ASSIGN_OR_RETURN(const bool exists, LeaseExists(before_->database(), id));
  return exists ? Status() : NotFound("requested lease not found", Reason::kLeaseNotFound);
}

Status Operations::CheckSize() const {
  if (set_->bytes() <= limits_.txn_bytes_max) return {};
  return InvalidArgument("the transaction touches more than " + std::to_string(limits_.txn_bytes_max) + " bytes",
                         Reason::kRequestTooLarge);
}

Result<PutResponse> Operations::Put(PutRequest&& request) {
  VELLUM_TRY(CheckLease(request.lease));
  return ApplyPut(std::move(request));
}

Result<PutResponse> Operations::ApplyPut(PutRequest&& request) {
  PutResponse response;
  ++counts_.puts;
  LeaseId lease = request.lease;
  if (request.ignore_value || request.ignore_lease || request.prev_kv) {
    ++counts_.ranges;
    VELLUM_ASSIGN_OR_RETURN(const StoredRecord* stored, set_->Current(request.key));
    // A delete earlier in the same transaction passes the check before it and arrives here; etcd stops the process.
    if (stored == nullptr && (request.ignore_value || request.ignore_lease)) return KeyNotFound();
    if (request.ignore_value) request.value = stored->value;
    if (request.ignore_lease) lease = stored->lease;
    if (request.prev_kv && stored != nullptr) response.prev_kv = stored->ToKeyValue(request.key);
  }
  VELLUM_TRY(set_->Put(request.key, std::move(request.value), lease));
  response.revision = current();
  return response;
}

Result<DeleteRangeResponse> Operations::ApplyDelete(const DeleteRangeRequest& request) {
  DeleteRangeResponse response;
  ++counts_.deletes;
  if (request.prev_kv) ++counts_.ranges;
  if (request.range_end.empty()) {
    VELLUM_ASSIGN_OR_RETURN(const StoredRecord* stored, set_->Current(request.key));
    if (stored != nullptr) {
      if (request.prev_kv) response.prev_kvs.push_back(stored->ToKeyValue(request.key));
      VELLUM_ASSIGN_OR_RETURN(const bool deleted, set_->Delete(request.key));
      response.deleted = deleted ? 1 : 0;
    }
  } else {
    const std::size_t left = limits_.txn_bytes_max - std::min(limits_.txn_bytes_max, set_->bytes());
    VELLUM_ASSIGN_OR_RETURN(const WriteSet::Deletion deletion,
                            set_->DeleteRange(KeyInterval::FromRequest(request.key, request.range_end), left + 1,
                                              request.prev_kv ? &response.prev_kvs : nullptr));
    response.deleted = deletion.deleted;
  }
  response.revision = current();
  return response;
}

Result<RangeResponse> Operations::ApplyRange(const RangeRequest& request) {
  ++counts_.ranges;
  VELLUM_ASSIGN_OR_RETURN(RangeResponse response, ReadRange(*set_, *before_, current(), request));
  answer_bytes_ += AnswerBytes(response.kvs);
  VELLUM_TRY(CheckAnswer(answer_bytes_, limits_.answer_bytes_max));
  return response;
}

Result<Operations::Path> Operations::Evaluate(const TxnRequest& request) const {
  Path path;
  VELLUM_ASSIGN_OR_RETURN(path.succeeded, Hold(*set_, request.compares));
  for (const TxnOp& op : path.succeeded ? request.success : request.failure) {
    const auto* txn = std::get_if<TxnRequest>(&op.request);
    if (txn == nullptr) continue;
    VELLUM_ASSIGN_OR_RETURN(Path child, Evaluate(*txn));
    path.children.push_back(std::move(child));
  }
  return path;
}

Status Operations::CheckTxnPut(const PutRequest& request) {
  if (request.ignore_value || request.ignore_lease) {
    VELLUM_ASSIGN_OR_RETURN(const StoredRecord* stored, set_->Current(request.key));
    if (stored == nullptr) return KeyNotFound();
  }
  return CheckLease(request.lease);
}

Status Operations::CheckPath(const TxnRequest& request, const Path& path) {
  std::size_t child = 0;
  for (const TxnOp& op : path.succeeded ? request.success : request.failure) {
    if (const auto* range = std::get_if<RangeRequest>(&op.request)) {
      VELLUM_TRY(CheckRangeRevision(range->revision, before_->revision(), compacted_));
    }
    if (const auto* put = std::get_if<PutRequest>(&op.request)) VELLUM_TRY(CheckTxnPut(*put));
    if (const auto* txn = std::get_if<TxnRequest>(&op.request)) VELLUM_TRY(CheckPath(*txn, path.children[child++]));
  }
  return {};
}

Result<TxnResponse> Operations::Txn(TxnRequest&& request) {
  VELLUM_ASSIGN_OR_RETURN(const Path path, Evaluate(request));
  return Run(std::move(request), path);
}

Result<TxnResponse> Operations::Run(TxnRequest&& request, const Path& path) {
  VELLUM_TRY(CheckPath(request, path));
  VELLUM_ASSIGN_OR_RETURN(TxnResponse response, ApplyTxn(std::move(request), path));
  response.revision = current();
  return response;
}

Result<TxnResponse> Operations::ApplyTxn(TxnRequest&& request, const Path& path) {
  TxnResponse response;
  response.succeeded = path.succeeded;
  std::size_t child = 0;
  for (TxnOp& op : path.succeeded ? request.success : request.failure) {
    TxnOpResponse answer;
    if (auto* range = std::get_if<RangeRequest>(&op.request)) {
      VELLUM_ASSIGN_OR_RETURN(answer.response, ApplyRange(*range));
    } else if (auto* put = std::get_if<PutRequest>(&op.request)) {
      VELLUM_ASSIGN_OR_RETURN(answer.response, ApplyPut(std::move(*put)));
    } else if (auto* del = std::get_if<DeleteRangeRequest>(&op.request)) {
      VELLUM_ASSIGN_OR_RETURN(answer.response, ApplyDelete(*del));
    } else if (auto* txn = std::get_if<TxnRequest>(&op.request)) {
      VELLUM_ASSIGN_OR_RETURN(answer.response, ApplyTxn(std::move(*txn), path.children[child++]));
    }
    VELLUM_TRY(CheckSize());
    response.responses.push_back(std::move(answer));
  }
  return response;  // a nested one keeps revision 0: its header is empty on the wire
}

Result<TxnResponse> ReadOnlyTxn(const View& view, const TxnRequest& request, const CancelFlag* cancel) {
  TxnResponse response;
  response.revision = view.revision();
  VELLUM_ASSIGN_OR_RETURN(response.succeeded, Hold(ViewLatest(&view), request.compares));
  const std::vector<TxnOp>& ops = response.succeeded ? request.success : request.failure;
  for (const TxnOp& op : ops) {
    VELLUM_TRY(CheckRangeRevision(std::get<RangeRequest>(op.request).revision, view.revision(), view.compacted()));
  }
  std::size_t bytes = 0;
  for (const TxnOp& op : ops) {
    VELLUM_ASSIGN_OR_RETURN(RangeResponse range, ReadRange(view, std::get<RangeRequest>(op.request), cancel));
    bytes += AnswerBytes(range.kvs);
    VELLUM_TRY(CheckAnswer(bytes, Operations::Limits().answer_bytes_max));
    response.responses.push_back({std::move(range)});
  }
  return response;
}

}  // namespace vellum::kv
