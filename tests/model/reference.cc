#include "model/reference.h"

#include <algorithm>
#include <utility>

namespace vellum::model {
namespace {

const std::string kEnd(1, '\0');

Status Error(Reason reason) { return InvalidArgument("refused", reason); }

/// The interval check, list by list, exactly as etcd goes about it.
struct Touched {
  std::set<std::string> puts;
  std::vector<DeleteRangeRequest> deletes;
};

bool Deletes(const std::vector<DeleteRangeRequest>& deletes, const std::string& key) {
  return std::any_of(deletes.begin(), deletes.end(), [&](const DeleteRangeRequest& del) {
    return del.range_end != kEnd && InInterval(key, del.key, del.range_end);
  });
}

bool Overlap(const std::vector<TxnOp>& ops, Touched* touched) {
  for (const TxnOp& op : ops) {
    if (const auto* del = std::get_if<DeleteRangeRequest>(&op.request)) touched->deletes.push_back(*del);
  }
  for (const TxnOp& op : ops) {
    const auto* txn = std::get_if<TxnRequest>(&op.request);
    if (txn == nullptr) continue;
    Touched then;
    Touched otherwise;
    if (Overlap(txn->success, &then) || Overlap(txn->failure, &otherwise)) return true;
    for (const std::string& key : then.puts) {
      if (touched->puts.contains(key) || Deletes(touched->deletes, key)) return true;
      touched->puts.insert(key);
    }
    for (const std::string& key : otherwise.puts) {
      if (touched->puts.contains(key) && !then.puts.contains(key)) return true;
      if (Deletes(touched->deletes, key)) return true;
      touched->puts.insert(key);
    }
    touched->deletes.insert(touched->deletes.end(), then.deletes.begin(), then.deletes.end());
    touched->deletes.insert(touched->deletes.end(), otherwise.deletes.begin(), otherwise.deletes.end());
  }
  for (const TxnOp& op : ops) {
    const auto* put = std::get_if<PutRequest>(&op.request);
    if (put == nullptr) continue;
    if (touched->puts.contains(put->key) || Deletes(touched->deletes, put->key)) return true;
    touched->puts.insert(put->key);
  }
  return false;
}

Status CheckPut(const PutRequest& put) {
  if (put.key.empty()) return Error(Reason::kKeyEmpty);
  if (put.ignore_value && !put.value.empty()) return Error(Reason::kValueProvided);
  if (put.ignore_lease && put.lease != 0) return Error(Reason::kLeaseProvided);
  return {};
}

Status CheckFields(const TxnRequest& txn, std::size_t budget) {
  const std::size_t ops = std::max({txn.compares.size(), txn.success.size(), txn.failure.size()});
  if (ops > budget) return Error(Reason::kTooManyOperations);
  for (const Compare& compare : txn.compares) {
    if (compare.key.empty()) return Error(Reason::kKeyEmpty);
  }
  for (const auto* list : {&txn.success, &txn.failure}) {
    for (const TxnOp& op : *list) {
      if (const auto* put = std::get_if<PutRequest>(&op.request)) VELLUM_TRY(CheckPut(*put));
      if (const auto* del = std::get_if<DeleteRangeRequest>(&op.request); del != nullptr && del->key.empty()) {
        return Error(Reason::kKeyEmpty);
      }
      if (const auto* range = std::get_if<RangeRequest>(&op.request); range != nullptr && range->key.empty()) {
        return Error(Reason::kKeyEmpty);
      }
      if (const auto* inner = std::get_if<TxnRequest>(&op.request)) VELLUM_TRY(CheckFields(*inner, budget - ops));
      if (std::holds_alternative<std::monostate>(op.request)) return Error(Reason::kKeyNotFound);
    }
  }
  return {};
}

bool Matches(const Compare& compare, const KeyValue& kv) {
  int order = 0;
  const auto sign = [](std::int64_t a, std::int64_t b) { return a < b ? -1 : a > b ? 1 : 0; };
  switch (compare.target) {
    case CompareTarget::kVersion: order = sign(kv.version, compare.number); break;
    case CompareTarget::kCreate: order = sign(kv.create_revision, compare.number); break;
    case CompareTarget::kMod: order = sign(kv.mod_revision, compare.number); break;
    case CompareTarget::kLease: order = sign(kv.lease, compare.number); break;
    case CompareTarget::kValue: order = kv.value.compare(compare.value); break;
  }
  switch (compare.result) {
    case CompareResult::kEqual: return order == 0;
    case CompareResult::kNotEqual: return order != 0;
    case CompareResult::kGreater: return order > 0;
    case CompareResult::kLess: return order < 0;
    case CompareResult::kAlwaysTrue: return true;
  }
  return true;
}

}  // namespace

bool InInterval(const std::string& key, const std::string& begin, const std::string& range_end) {
  if (range_end.empty()) return key == begin;
  if (range_end == kEnd) return key >= begin;
  return key >= begin && key < range_end;
}

Reference::Reference() : states_(2), events_(2) {}

Reference::Work Reference::Begin() const {
  Work work;
  work.state = state();
  work.main = revision() + 1;
  return work;
}

void Reference::End(Work&& work) {
  if (work.events.empty()) return;
  states_.push_back(std::move(work.state));
  events_.push_back(std::move(work.events));
}

Result<PutResponse> Reference::Put(const PutRequest& request, Work* work) const {
  PutResponse response;
  const auto old = work->state.find(request.key);
  const bool exists = old != work->state.end();
  if ((request.ignore_value || request.ignore_lease) && !exists) return Error(Reason::kKeyNotFound);
  KeyValue kv;
  kv.key = request.key;
  kv.value = request.ignore_value ? old->second.value : request.value;
  kv.lease = request.ignore_lease ? old->second.lease : request.lease;
  kv.create_revision = exists ? old->second.create_revision : work->main;
  kv.mod_revision = work->main;
  kv.version = exists ? old->second.version + 1 : 1;
  if (request.prev_kv && exists) response.prev_kv = old->second;
  Event event{EventType::kPut, kv, std::nullopt};
  if (const auto before = state().find(kv.key); before != state().end() && kv.create_revision != work->main) {
    event.prev_kv = before->second;
  }
  work->state[kv.key] = kv;
  work->events.push_back(std::move(event));
  response.revision = work->main;
  return response;
}

void Reference::Remove(const std::string& key, Work* work) const {
  Event event;
  event.type = EventType::kDelete;
  event.kv.key = key;
  event.kv.mod_revision = work->main;
  if (const auto before = state().find(key); before != state().end()) event.prev_kv = before->second;
  work->state.erase(key);
  work->events.push_back(std::move(event));
}

DeleteRangeResponse Reference::Delete(const DeleteRangeRequest& request, Work* work) const {
  DeleteRangeResponse response;
  std::vector<std::string> keys;
  for (const auto& [key, kv] : work->state) {
    if (!InInterval(key, request.key, request.range_end)) continue;
    keys.push_back(key);
    if (request.prev_kv) response.prev_kvs.push_back(kv);
  }
  for (const std::string& key : keys) Remove(key, work);
  response.deleted = static_cast<std::int64_t>(keys.size());
  response.revision = work->current();
  return response;
}

RangeResponse Reference::RangeOf(const RangeRequest& request, const State& state, Revision current) const {
  RangeResponse response;
  response.revision = current;
  std::vector<KeyValue> kvs;
  for (const auto& [key, kv] : state) {
    if (!InInterval(key, request.key, request.range_end)) continue;
    ++response.count;
    if (request.max_mod_revision != 0 && kv.mod_revision > request.max_mod_revision) continue;
    if (request.min_mod_revision != 0 && kv.mod_revision < request.min_mod_revision) continue;
    if (request.max_create_revision != 0 && kv.create_revision > request.max_create_revision) continue;
    if (request.min_create_revision != 0 && kv.create_revision < request.min_create_revision) continue;
    kvs.push_back(kv);
  }
  if (request.count_only) return response;
  if (request.sort_order == SortOrder::kDescend) std::reverse(kvs.begin(), kvs.end());
  if (request.limit > 0 && kvs.size() > static_cast<std::size_t>(request.limit)) {
    kvs.resize(static_cast<std::size_t>(request.limit));
    response.more = true;
  }
  for (KeyValue& kv : kvs) {
    if (request.keys_only) kv.value.clear();
  }
  response.kvs = std::move(kvs);
  return response;
}

Result<RangeResponse> Reference::Range(const RangeRequest& request) const {
  if (request.revision > revision()) return OutOfRange("future", Reason::kFutureRevision);
  if (request.revision > 0 && request.revision < compacted_) return OutOfRange("compacted", Reason::kCompacted);
  return RangeOf(request, request.revision <= 0 ? state() : StateAt(request.revision), revision());
}

/// Compares look at the state before the command, wherever they stand.
bool Reference::Holds(const TxnRequest& request) const {
  return std::all_of(request.compares.begin(), request.compares.end(), [&](const Compare& compare) {
    bool any = false;
    bool all = true;
    for (const auto& [key, kv] : state()) {
      if (!InInterval(key, compare.key, compare.range_end)) continue;
      any = true;
      all = all && Matches(compare, kv);
    }
    if (any) return all;
    return compare.target != CompareTarget::kValue && Matches(compare, KeyValue{});
  });
}

Status Reference::CheckPath(const TxnRequest& request) const {
  for (const TxnOp& op : Holds(request) ? request.success : request.failure) {
    if (const auto* range = std::get_if<RangeRequest>(&op.request); range != nullptr && range->revision != 0) {
      if (range->revision > revision()) return OutOfRange("future", Reason::kFutureRevision);
      if (range->revision < compacted_) return OutOfRange("compacted", Reason::kCompacted);
    }
    if (const auto* put = std::get_if<PutRequest>(&op.request)) {
      if ((put->ignore_value || put->ignore_lease) && !state().contains(put->key)) return Error(Reason::kKeyNotFound);
      if (put->lease != 0 && !leases_.contains(put->lease)) return NotFound("lease", Reason::kLeaseNotFound);
    }
    if (const auto* txn = std::get_if<TxnRequest>(&op.request)) VELLUM_TRY(CheckPath(*txn));
  }
  return {};
}

Result<TxnResponse> Reference::Run(const TxnRequest& request, Work* work) const {
  TxnResponse response;
  response.succeeded = Holds(request);
  for (const TxnOp& op : response.succeeded ? request.success : request.failure) {
    TxnOpResponse answer;
    if (const auto* range = std::get_if<RangeRequest>(&op.request)) {
      answer.response = RangeOf(*range, range->revision <= 0 ? work->state : StateAt(range->revision), work->current());
    } else if (const auto* put = std::get_if<PutRequest>(&op.request)) {
      VELLUM_ASSIGN_OR_RETURN(answer.response, Put(*put, work));
    } else if (const auto* del = std::get_if<DeleteRangeRequest>(&op.request)) {
      answer.response = Delete(*del, work);
    } else if (const auto* txn = std::get_if<TxnRequest>(&op.request)) {
      VELLUM_ASSIGN_OR_RETURN(answer.response, Run(*txn, work));
    }
    response.responses.push_back(std::move(answer));
  }
  return response;
}

Result<kv::CommandResult> Reference::Apply(const PutRequest& request) {
  VELLUM_TRY(CheckPut(request));
  if (request.lease != 0 && !leases_.contains(request.lease)) return NotFound("lease", Reason::kLeaseNotFound);
  Work work = Begin();
  VELLUM_ASSIGN_OR_RETURN(PutResponse response, Put(request, &work));
  End(std::move(work));
  return kv::CommandResult(std::move(response));
}

Result<kv::CommandResult> Reference::Apply(const DeleteRangeRequest& request) {
  if (request.key.empty()) return Error(Reason::kKeyEmpty);
  Work work = Begin();
  DeleteRangeResponse response = Delete(request, &work);
  End(std::move(work));
  return kv::CommandResult(std::move(response));
}

Result<kv::CommandResult> Reference::Apply(const TxnRequest& request) {
  VELLUM_TRY(CheckFields(request, 128));
  Touched success;
  Touched failure;
  if (Overlap(request.success, &success) || Overlap(request.failure, &failure)) return Error(Reason::kDuplicateKey);
  VELLUM_TRY(CheckPath(request));
  Work work = Begin();
  VELLUM_ASSIGN_OR_RETURN(TxnResponse response, Run(request, &work));
  response.revision = work.current();
  End(std::move(work));
  return kv::CommandResult(std::move(response));
}

Result<kv::CommandResult> Reference::Apply(const kv::CompactCommand& command) {
  if (command.revision <= 0) return Error(Reason::kCompacted);
  if (command.revision <= compacted_) return OutOfRange("compacted", Reason::kCompacted);
  if (command.revision > revision()) return OutOfRange("future", Reason::kFutureRevision);
  compacted_ = command.revision;
  return kv::CommandResult(kv::CompactResult{revision()});
}

Result<kv::CommandResult> Reference::Apply(const kv::LeaseGrantCommand& command) {
  if (!leases_.insert(command.id).second) return Status(Code::kAlreadyExists, "lease", Reason::kLeaseExists);
  return kv::CommandResult(LeaseGrantResponse{revision(), command.id, std::max<std::int64_t>(command.ttl_s, 2)});
}

Result<kv::CommandResult> Reference::Apply(const kv::LeaseRevokeCommand& command) {
  if (leases_.erase(command.id) == 0) return NotFound("lease", Reason::kLeaseNotFound);
  Work work = Begin();
  std::vector<std::string> keys;
  for (const auto& [key, kv] : work.state) {
    if (kv.lease == command.id) keys.push_back(key);
  }
  for (const std::string& key : keys) Remove(key, &work);
  End(std::move(work));
  return kv::CommandResult(kv::LeaseRevokeResult{revision()});
}

Result<kv::CommandResult> Reference::Apply(const kv::Command& command) {
  if (const auto* put = std::get_if<kv::PutCommand>(&command)) return Apply(put->request);
  if (const auto* del = std::get_if<kv::DeleteRangeCommand>(&command)) return Apply(del->request);
  if (const auto* txn = std::get_if<kv::TxnCommand>(&command)) return Apply(txn->request);
  if (const auto* compact = std::get_if<kv::CompactCommand>(&command)) return Apply(*compact);
  if (const auto* grant = std::get_if<kv::LeaseGrantCommand>(&command)) return Apply(*grant);
  if (const auto* revoke = std::get_if<kv::LeaseRevokeCommand>(&command)) return Apply(*revoke);
  return Unimplemented("the reference does not know this command");
}

}  // namespace vellum::model
