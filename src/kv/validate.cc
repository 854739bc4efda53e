#include "kv/validate.h"

#include <algorithm>
#include <map>
#include <set>
#include <string>
#include <string_view>
#include <utility>

namespace vellum::kv {
namespace {

Status KeyEmpty() { return InvalidArgument("key is not provided", Reason::kKeyEmpty); }
Status DuplicateKey() { return InvalidArgument("duplicate key given in txn request", Reason::kDuplicateKey); }

/// Disjoint intervals over keys, coalesced as they are added.
class IntervalSet {
 public:
  void Add(std::string_view begin, std::string_view end) {
    std::string first(begin);
    std::string last(end);
    auto it = intervals_.upper_bound(first);
    if (it != intervals_.begin() && std::prev(it)->second >= first) --it;
    while (it != intervals_.end() && it->first <= last) {
      first = std::min(first, it->first);
      last = std::max(last, it->second);
      it = intervals_.erase(it);
    }
    intervals_.emplace(std::move(first), std::move(last));
  }

  bool Contains(std::string_view key) const {
    auto it = intervals_.upper_bound(key);
    return it != intervals_.begin() && key < std::string_view(std::prev(it)->second);
  }

  std::size_t size() const { return intervals_.size(); }
  const auto& intervals() const { return intervals_; }
  void Swap(IntervalSet& other) { intervals_.swap(other.intervals_); }

 private:
  std::map<std::string, std::string, std::less<>> intervals_;
};

/// What a list of operations writes. Views point into the request.
struct Footprint {
  std::set<std::string_view> puts;
  IntervalSet deletes;
};

bool Touches(const std::set<std::string_view>& puts, const IntervalSet& deletes) {
  if (puts.size() <= deletes.size()) {
    return std::any_of(puts.begin(), puts.end(), [&](std::string_view key) { return deletes.Contains(key); });
  }
  return std::any_of(deletes.intervals().begin(), deletes.intervals().end(), [&](const auto& interval) {
    const auto it = puts.lower_bound(interval.first);
    return it != puts.end() && *it < std::string_view(interval.second);
  });
}

bool Disjoint(const std::set<std::string_view>& a, const std::set<std::string_view>& b) {
  const auto& small = a.size() < b.size() ? a : b;
  const auto& large = a.size() < b.size() ? b : a;
  return std::none_of(small.begin(), small.end(), [&](std::string_view key) { return large.contains(key); });
}

/// Merges the smaller into the larger, so that an operation moves a logarithmic number of times on its way up.
void MergeInto(Footprint* target, Footprint&& source) {
  if (target->puts.size() < source.puts.size()) target->puts.swap(source.puts);
  target->puts.merge(source.puts);
  if (target->deletes.size() < source.deletes.size()) target->deletes.Swap(source.deletes);
  for (const auto& [begin, end] : source.deletes.intervals()) target->deletes.Add(begin, end);
}

/// Refuses two puts of one key and a put inside a delete. The order of the steps is etcd's, gaps included: deletes of this
/// level, then child by child (so a delete in a later child does not meet the puts of an earlier one), then this level's
/// puts; and an interval that ends before it begins, as one up to "\0" does, meets nothing.
Status CheckOverlaps(const std::vector<TxnOp>& ops, Footprint* out) {
  for (const TxnOp& op : ops) {
    const auto* del = std::get_if<DeleteRangeRequest>(&op.request);
    if (del == nullptr) continue;
    if (del->range_end.empty()) {
      out->deletes.Add(del->key, del->key + '\0');
    } else if (del->key < del->range_end) {
      out->deletes.Add(del->key, del->range_end);
    }
  }
  for (const TxnOp& op : ops) {
    const auto* txn = std::get_if<TxnRequest>(&op.request);
    if (txn == nullptr) continue;
    Footprint child;
    Footprint otherwise;
    VELLUM_TRY(CheckOverlaps(txn->success, &child));
    VELLUM_TRY(CheckOverlaps(txn->failure, &otherwise));
    MergeInto(&child, std::move(otherwise));  // only one of the two runs, so they may overlap
    if (!Disjoint(child.puts, out->puts) || Touches(child.puts, out->deletes)) return DuplicateKey();
    MergeInto(out, std::move(child));
  }
  for (const TxnOp& op : ops) {
    const auto* put = std::get_if<PutRequest>(&op.request);
    if (put == nullptr) continue;
    if (out->deletes.Contains(put->key) || !out->puts.insert(put->key).second) return DuplicateKey();
  }
  return {};
}

Status CheckTxnFields(const TxnRequest& request, std::size_t ops_max, int depth);

Status CheckOperation(const TxnOp& op, std::size_t child_ops_max, int depth) {
  if (const auto* range = std::get_if<RangeRequest>(&op.request)) return CheckRange(*range);
  if (const auto* put = std::get_if<PutRequest>(&op.request)) return CheckPut(*put);
  if (const auto* del = std::get_if<DeleteRangeRequest>(&op.request)) return CheckDeleteRange(*del);
  if (const auto* txn = std::get_if<TxnRequest>(&op.request)) return CheckTxnFields(*txn, child_ops_max, depth + 1);
  return InvalidArgument("key not found", Reason::kKeyNotFound);
}

Status CheckTxnFields(const TxnRequest& request, std::size_t ops_max, int depth) {
  const std::size_t ops = std::max({request.compares.size(), request.success.size(), request.failure.size()});
  if (ops > ops_max) {
    return InvalidArgument("too many operations in txn request: " + std::to_string(ops) + ", allowed here are " +
                               std::to_string(ops_max),
                           Reason::kTooManyOperations);
  }
  if (depth > kTxnDepthMax) {
    return InvalidArgument("too many operations in txn request: nested deeper than " + std::to_string(kTxnDepthMax),
                           Reason::kTooManyOperations);
  }
  for (const Compare& compare : request.compares) {
    if (compare.key.empty()) return KeyEmpty();
  }
  for (const TxnOp& op : request.success) VELLUM_TRY(CheckOperation(op, ops_max - ops, depth));
  for (const TxnOp& op : request.failure) VELLUM_TRY(CheckOperation(op, ops_max - ops, depth));
  return {};
}

std::size_t TxnBytes(const TxnRequest& request);

std::size_t OpsBytes(const std::vector<TxnOp>& ops) {
  std::size_t bytes = 0;
  for (const TxnOp& op : ops) {
    bytes += sizeof(TxnOp);
    if (const auto* put = std::get_if<PutRequest>(&op.request)) bytes += put->key.size() + put->value.size();
    if (const auto* del = std::get_if<DeleteRangeRequest>(&op.request)) bytes += del->key.size() + del->range_end.size();
    if (const auto* range = std::get_if<RangeRequest>(&op.request)) bytes += range->key.size() + range->range_end.size();
    if (const auto* txn = std::get_if<TxnRequest>(&op.request)) bytes += TxnBytes(*txn);
  }
  return bytes;
}

std::size_t TxnBytes(const TxnRequest& request) {
  std::size_t bytes = OpsBytes(request.success) + OpsBytes(request.failure);
  for (const Compare& compare : request.compares) {
    bytes += sizeof(Compare) + compare.key.size() + compare.range_end.size() + compare.value.size();
  }
  return bytes;
}

std::int64_t PutCost(const PutRequest& request) {
  return 256 + static_cast<std::int64_t>(request.key.size() + request.value.size());
}

std::int64_t TxnCost(const TxnRequest& request);

std::int64_t OpsCost(const std::vector<TxnOp>& ops) {
  std::int64_t cost = 0;
  for (const TxnOp& op : ops) {
    if (const auto* put = std::get_if<PutRequest>(&op.request)) cost += PutCost(*put);
    if (const auto* txn = std::get_if<TxnRequest>(&op.request)) cost += TxnCost(*txn);
  }
  return cost;
}

std::int64_t TxnCost(const TxnRequest& request) { return std::max(OpsCost(request.success), OpsCost(request.failure)); }

void VisitDeletesOf(const TxnRequest& request, const std::function<void(const DeleteRangeRequest&)>& visit) {
  for (const auto* ops : {&request.success, &request.failure}) {
    for (const TxnOp& op : *ops) {
      if (const auto* del = std::get_if<DeleteRangeRequest>(&op.request)) visit(*del);
      if (const auto* txn = std::get_if<TxnRequest>(&op.request)) VisitDeletesOf(*txn, visit);
    }
  }
}

}  // namespace

void VisitDeletes(const Command& command, const std::function<void(const DeleteRangeRequest&)>& visit) {
  if (const auto* del = std::get_if<DeleteRangeCommand>(&command)) visit(del->request);
  if (const auto* txn = std::get_if<TxnCommand>(&command)) VisitDeletesOf(txn->request, visit);
}

bool IsBrief(const Command& command) {
  constexpr std::size_t kBytesMax = 64u << 10;
  constexpr std::size_t kOpsMax = 16;
  const auto* txn = std::get_if<TxnCommand>(&command);
  if (txn == nullptr && !std::holds_alternative<PutCommand>(command)) return false;
  if (PayloadBytes(command) > kBytesMax) return false;
  if (txn == nullptr) return true;
  const TxnRequest& request = txn->request;
  if (request.compares.size() + request.success.size() + request.failure.size() > kOpsMax) return false;
  const auto one_key = [](const TxnOp& op) {
    const auto* range = std::get_if<RangeRequest>(&op.request);
    const auto* del = std::get_if<DeleteRangeRequest>(&op.request);
    return std::holds_alternative<PutRequest>(op.request) || (range != nullptr && range->range_end.empty()) ||
           (del != nullptr && del->range_end.empty());
  };
  return std::all_of(request.compares.begin(), request.compares.end(),
                     [](const Compare& compare) { return compare.range_end.empty(); }) &&
         std::all_of(request.success.begin(), request.success.end(), one_key) &&
         std::all_of(request.failure.begin(), request.failure.end(), one_key);
}

Status CheckRange(const RangeRequest& request) {
  if (request.key.empty()) return KeyEmpty();
  if (request.sort_order > SortOrder::kDescend || request.sort_target > SortTarget::kValue) {
    return InvalidArgument("invalid sort option", Reason::kInvalidSort);
  }
  return {};
}

Status CheckPut(const PutRequest& request) {
  if (request.key.empty()) return KeyEmpty();
  if (request.ignore_value && !request.value.empty()) {
    return InvalidArgument("value is provided", Reason::kValueProvided);
  }
  if (request.ignore_lease && request.lease != 0) return InvalidArgument("lease is provided", Reason::kLeaseProvided);
  return {};
}

Status CheckDeleteRange(const DeleteRangeRequest& request) { return request.key.empty() ? KeyEmpty() : Status(); }

Status CheckTxn(const TxnRequest& request, std::size_t ops_max) {
  VELLUM_TRY(CheckTxnFields(request, ops_max, 1));
  Footprint success;
  VELLUM_TRY(CheckOverlaps(request.success, &success));
  Footprint failure;
  return CheckOverlaps(request.failure, &failure);
}

bool IsReadOnly(const TxnRequest& request) {
  const auto is_range = [](const TxnOp& op) { return std::holds_alternative<RangeRequest>(op.request); };
  return std::all_of(request.success.begin(), request.success.end(), is_range) &&
         std::all_of(request.failure.begin(), request.failure.end(), is_range);
}

std::size_t PayloadBytes(const Command& command) {
  if (const auto* put = std::get_if<PutCommand>(&command)) return put->request.key.size() + put->request.value.size();
  if (const auto* del = std::get_if<DeleteRangeCommand>(&command)) {
    return del->request.key.size() + del->request.range_end.size();
  }
  if (const auto* txn = std::get_if<TxnCommand>(&command)) return TxnBytes(txn->request);
  if (const auto* expire = std::get_if<LeaseExpireCommand>(&command)) {
    return expire->entries.size() * sizeof(LeaseExpireCommand::Entry);
  }
  if (const auto* checkpoint = std::get_if<LeaseCheckpointCommand>(&command)) {
    return checkpoint->entries.size() * sizeof(LeaseCheckpointCommand::Entry);
  }
  return 0;
}

std::int64_t SpaceCost(const Command& command) {
  if (const auto* put = std::get_if<PutCommand>(&command)) return PutCost(put->request);
  if (const auto* txn = std::get_if<TxnCommand>(&command)) return txn->frees_space ? 0 : TxnCost(txn->request);
  return std::holds_alternative<LeaseGrantCommand>(command) ? 64 : 0;
}

}  // namespace vellum::kv
