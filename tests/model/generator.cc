#include "model/generator.h"

#include "base/bytes.h"

namespace vellum::model {

std::string Generator::NextKey() {
  constexpr char kBytes[] = {'a', 'b', '\0', '\xff', '\1'};
  std::string key;
  const std::uint64_t size = Below(3) + 1;
  for (std::uint64_t i = 0; i < size; ++i) key.push_back(kBytes[Below(i == 0 ? 2 : 5)]);
  return key;
}

std::string Generator::NextRangeEnd(const std::string& key) {
  switch (Below(5)) {
    case 0: return "";
    case 1: return std::string(1, '\0');
    case 2: return PrefixSuccessor(key).value_or(std::string(1, '\0'));
    default: return NextKey();
  }
}

std::string Generator::NextValue() {
  // Unique, so that nothing is right by chance; sometimes long.
  std::string value = OneIn(10) ? "" : std::to_string(++values_);
  if (OneIn(20)) value.append(2000, 'x');
  return value;
}

LeaseId Generator::NextLease() { return OneIn(3) ? static_cast<LeaseId>(Below(6)) - 1 : 0; }

Revision Generator::NextRevision(const Reference& reference) {
  switch (Below(6)) {
    case 0: return 0;
    case 1: return -1;
    case 2: return reference.revision() + static_cast<Revision>(Below(2));
    default: return static_cast<Revision>(Below(static_cast<std::uint64_t>(reference.revision()) + 1));
  }
}

PutRequest Generator::NextPut() {
  PutRequest put;
  put.key = OneIn(100) ? "" : NextKey();
  put.ignore_value = OneIn(8);
  put.ignore_lease = OneIn(8);
  if (!put.ignore_value || OneIn(20)) put.value = NextValue();
  if (!put.ignore_lease || OneIn(20)) put.lease = NextLease();
  put.prev_kv = OneIn(3);
  return put;
}

DeleteRangeRequest Generator::NextDelete() {
  DeleteRangeRequest del;
  del.key = NextKey();
  if (OneIn(3)) del.range_end = NextRangeEnd(del.key);
  del.prev_kv = OneIn(3);
  return del;
}

RangeRequest Generator::NextRange(const Reference& reference) {
  RangeRequest range;
  range.key = NextKey();
  range.range_end = NextRangeEnd(range.key);
  if (OneIn(2)) range.revision = NextRevision(reference);
  if (OneIn(3)) range.limit = static_cast<std::int64_t>(Below(5)) - 1;
  if (OneIn(3)) range.sort_order = static_cast<SortOrder>(Below(3));
  range.count_only = OneIn(6);
  range.keys_only = OneIn(6);
  if (OneIn(8)) range.min_mod_revision = NextRevision(reference);
  if (OneIn(8)) range.max_mod_revision = NextRevision(reference);
  if (OneIn(8)) range.min_create_revision = NextRevision(reference);
  if (OneIn(8)) range.max_create_revision = NextRevision(reference);
  return range;
}

Compare Generator::NextCompare(const Reference& reference) {
  Compare compare;
  compare.key = NextKey();
  if (OneIn(4)) compare.range_end = NextRangeEnd(compare.key);
  compare.result = static_cast<CompareResult>(Below(5));
  compare.target = static_cast<CompareTarget>(Below(5));
  compare.number = OneIn(2) ? static_cast<std::int64_t>(Below(3)) : NextRevision(reference);
  compare.value = NextValue();
  if (const auto at = reference.state().find(compare.key); at != reference.state().end() && OneIn(2)) {
    compare.number = at->second.mod_revision;
    compare.value = at->second.value;
  }
  return compare;
}

std::vector<TxnOp> Generator::NextOps(const Reference& reference, int depth) {
  std::vector<TxnOp> ops;
  // "From key" deletes pass the check of overlaps beside puts, so that one key changes several times in one revision.
  if (OneIn(4)) ops.push_back({DeleteRangeRequest{.key = NextKey(), .range_end = std::string(1, '\0')}});
  for (std::uint64_t count = Below(4); count > 0; --count) {
    switch (Below(depth > 0 ? 10 : 8)) {
      case 0:
      case 1: ops.push_back({NextRange(reference)}); break;
      case 2:
      case 3:
      case 4: ops.push_back({NextDelete()}); break;
      case 5:
      case 6:
      case 7: ops.push_back({NextPut()}); break;
      default: ops.push_back({NextTxn(reference, depth - 1)}); break;
    }
  }
  if (OneIn(8)) ops.push_back({DeleteRangeRequest{.key = NextKey(), .range_end = std::string(1, '\0')}});
  if (OneIn(100)) ops.push_back({});
  return ops;
}

TxnRequest Generator::NextTxn(const Reference& reference, int depth) {
  TxnRequest txn;
  for (std::uint64_t count = Below(3); count > 0; --count) txn.compares.push_back(NextCompare(reference));
  txn.success = NextOps(reference, depth);
  txn.failure = NextOps(reference, depth);
  return txn;
}

kv::Command Generator::NextCommand(const Reference& reference) {
  const std::uint64_t kind = Below(100);
  if (kind < 40) return kv::PutCommand{NextPut()};
  if (kind < 52) return kv::DeleteRangeCommand{NextDelete()};
  if (kind < 88) return kv::TxnCommand{NextTxn(reference, 2)};
  if (kind < 93) return kv::LeaseGrantCommand{static_cast<LeaseId>(Below(5)) + (OneIn(2) ? 1 : -6), 1000};
  if (kind < 96) return kv::LeaseRevokeCommand{NextLease()};
  return kv::CompactCommand{NextRevision(reference) - static_cast<Revision>(Below(3))};
}

}  // namespace vellum::model
