#include "sync/kv_catalog.h"

#include <future>

#include "base/bytes.h"
#include "kv/lessor.h"

namespace vellum::sync {
namespace {

Catalog::Row ToRow(KeyValue&& kv) { return {std::move(kv.key), std::move(kv.value), kv.mod_revision, kv.lease}; }

}  // namespace

Result<std::optional<Catalog::Row>> KvCatalog::Get(std::string_view key) const {
  RangeRequest request;
  request.key = std::string(key);
  VELLUM_ASSIGN_OR_RETURN(RangeResponse answer, kv::ReadRange(*engine_->CurrentView(), request));
  if (answer.kvs.empty()) return std::optional<Row>();
  return std::optional<Row>(ToRow(std::move(answer.kvs.front())));
}

Result<std::vector<Catalog::Row>> KvCatalog::List(std::string_view prefix) const {
  RangeRequest request;
  request.key = std::string(prefix);
  request.range_end = PrefixSuccessor(prefix).value_or(std::string(1, '\0'));
  VELLUM_ASSIGN_OR_RETURN(RangeResponse answer, kv::ReadRange(*engine_->CurrentView(), request));
  std::vector<Row> rows;
  rows.reserve(answer.kvs.size());
  for (KeyValue& kv : answer.kvs) rows.push_back(ToRow(std::move(kv)));
  return rows;
}

Status KvCatalog::Commit(const Change& change) {
  kv::TxnCommand command;
  command.frees_space = change.frees_space;
  TxnRequest& txn = command.request;
  for (const Change::Expectation& expectation : change.expect) {
    Compare compare;
    compare.target = CompareTarget::kMod;
    compare.key = expectation.key;
    compare.number = expectation.mod_revision;
    txn.compares.push_back(std::move(compare));
  }
  for (const Change::Put& put : change.put) {
    PutRequest request;
    request.key = put.key;
    request.value = put.value;
    request.lease = put.lease;
    txn.success.push_back({std::move(request)});
  }
  for (const std::string& key : change.remove) {
    DeleteRangeRequest request;
    request.key = key;
    txn.success.push_back({std::move(request)});
  }
  VELLUM_ASSIGN_OR_RETURN(const kv::CommandResult result, engine_->ProposeAndWait(std::move(command)));
  if (!std::get<TxnResponse>(result).succeeded) {
    return Aborted("the catalog has changed meanwhile: read again and repeat");
  }
  return {};
}

Result<LeaseId> KvCatalog::GrantLease(std::int64_t ttl_s) {
  VELLUM_ASSIGN_OR_RETURN(const kv::CommandResult result,
                          engine_->ProposeAndWait(kv::LeaseGrantCommand{engine_->lessor().PickId(), ttl_s}));
  return std::get<LeaseGrantResponse>(result).id;
}

Result<bool> KvCatalog::RenewLease(LeaseId id) {
  std::promise<Result<std::int64_t>> promise;
  engine_->lessor().KeepAlive(id, [&promise](Result<std::int64_t> ttl_s) { promise.set_value(std::move(ttl_s)); });
  VELLUM_ASSIGN_OR_RETURN(const std::int64_t ttl_s, promise.get_future().get());
  return ttl_s > 0;
}

Status KvCatalog::RevokeLease(LeaseId id) {
  auto result = engine_->ProposeAndWait(kv::LeaseRevokeCommand{id});
  if (!result.ok() && result.error().reason() != Reason::kLeaseNotFound) return std::move(result).error();
  return {};
}

}  // namespace vellum::sync
