#include "rpc/catalog_guard.h"

#include <algorithm>
#include <variant>

#include "base/bytes.h"

namespace vellum::rpc {
namespace {

Status Refuse(std::string_view key, std::string_view instead) {
  return Status(Code::kPermissionDenied, Printable(key) + " belongs to the catalog of syncs, which clients can read but not change: use " +
                                             std::string(instead));
}

std::string_view InsteadOfPut(std::string_view key) {
  if (key.starts_with("/vellum/syncs/")) return "vellum sync import, merge, compact or rollback";
  return "the commands of vellum sync, which keep it";
}

std::string_view InsteadOfDelete(std::string_view key) {
  if (key.starts_with("/vellum/generations/")) return "vellum sync sweep";
  return "vellum sync delete";
}

/// More conditions than this become one over the whole catalog, to stay below the limit of a transaction's compares.
constexpr std::size_t kComparesMax = 32;

/// What a delete, which touches, has in common with the catalog's place.
RangeRequest GuardedPart(const DeleteRangeRequest& request) {
  RangeRequest part;
  part.key = request.key;
  if (request.range_end.empty()) return part;
  const bool to_the_end = request.range_end == std::string_view(kFromKey, 1);
  part.key = std::max(request.key, std::string(kGuardedPrefix));
  part.range_end = to_the_end ? std::string(kGuardedEnd) : std::min(request.range_end, std::string(kGuardedEnd));
  return part;
}

void Collect(const TxnRequest& request, GuardedOperations* found) {
  for (const auto* branch : {&request.success, &request.failure}) {
    for (const TxnOp& op : *branch) {
      if (const auto* put = std::get_if<PutRequest>(&op.request)) {
        if (found->put == nullptr && IsGuarded(put->key)) found->put = &put->key;
      } else if (const auto* erase = std::get_if<DeleteRangeRequest>(&op.request)) {
        if (TouchesGuarded(erase->key, erase->range_end)) found->deletes.push_back(erase);
      } else if (const auto* nested = std::get_if<TxnRequest>(&op.request)) {
        Collect(*nested, found);
      }
    }
  }
}

}  // namespace

Status RefusePut(std::string_view key) { return Refuse(key, InsteadOfPut(key)); }

bool TouchesGuarded(std::string_view key, std::string_view range_end) {
  if (range_end.empty()) return IsGuarded(key);
  if (key >= kGuardedEnd) return false;
  // "\0" is etcd's way to say "to the end".
  return range_end == std::string_view(kFromKey, 1) || range_end > kGuardedPrefix;
}

GuardedOperations FindGuarded(const TxnRequest& request) {
  GuardedOperations found;
  Collect(request, &found);
  return found;
}

Status CheckDelete(const kv::View& view, const DeleteRangeRequest& request) {
  RangeRequest range = GuardedPart(request);
  range.limit = 1;
  range.keys_only = true;
  VELLUM_ASSIGN_OR_RETURN(const RangeResponse found, kv::ReadRange(view, range));
  if (found.kvs.empty()) return {};
  return Refuse(found.kvs.front().key, InsteadOfDelete(found.kvs.front().key));
}

TxnRequest OnlyWithoutCatalog(TxnOp operation, const std::vector<const DeleteRangeRequest*>& deletes) {
  TxnRequest guarded;
  const auto absent = [&guarded](std::string key, std::string range_end) {
    Compare& compare = guarded.compares.emplace_back();
    compare.target = CompareTarget::kCreate;  // 0: there is no such key, or none in the range
    compare.key = std::move(key);
    compare.range_end = std::move(range_end);
  };
  if (deletes.size() > kComparesMax) {
    absent(std::string(kGuardedPrefix), std::string(kGuardedEnd));
  } else {
    for (const DeleteRangeRequest* each : deletes) {
      RangeRequest part = GuardedPart(*each);
      absent(std::move(part.key), std::move(part.range_end));
    }
  }
  guarded.success.push_back(std::move(operation));
  return guarded;
}

Status RefuseMeanwhile() {
  return Refuse(kGuardedPrefix, "vellum sync delete (a sync came while the call was under way)");
}

Status RefuseRevoke(LeaseId id) {
  return Status(Code::kPermissionDenied, "lease " + std::to_string(id) +
                                             " is held by this server for the syncs that are being written: end their writers, or use "
                                             "vellum sync delete");
}

}  // namespace vellum::rpc
