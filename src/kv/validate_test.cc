#include "kv/validate.h"

#include <gtest/gtest.h>

namespace vellum::kv {
namespace {

TxnOp Put(std::string key) { return {PutRequest{.key = std::move(key), .value = "v"}}; }
TxnOp Del(std::string key, std::string end = "") { return {DeleteRangeRequest{std::move(key), std::move(end), false}}; }
TxnOp Then(std::vector<TxnOp> success, std::vector<TxnOp> failure = {}) {
  return {TxnRequest{{}, std::move(success), std::move(failure)}};
}
Reason Check(std::vector<TxnOp> success, std::size_t ops_max = 128) {
  return CheckTxn(TxnRequest{{}, std::move(success), {}}, ops_max).reason();
}
std::string FromKey() { return std::string(1, '\0'); }

TEST(KvValidate, FieldsAreCheckedInOrder) {
  EXPECT_EQ(CheckPut({.key = "", .value = "v", .ignore_value = true}).reason(), Reason::kKeyEmpty);
  EXPECT_EQ(CheckPut({.key = "a", .value = "v", .lease = 1, .ignore_value = true, .ignore_lease = true}).reason(),
            Reason::kValueProvided);
  EXPECT_EQ(CheckPut({.key = "a", .lease = 1, .ignore_value = true, .ignore_lease = true}).reason(),
            Reason::kLeaseProvided);
  EXPECT_TRUE(CheckPut({.key = "a"}).ok());
  EXPECT_EQ(CheckDeleteRange({"", "b", false}).reason(), Reason::kKeyEmpty);
  EXPECT_EQ(CheckRange({.key = "a", .sort_order = static_cast<SortOrder>(9)}).reason(), Reason::kInvalidSort);
  EXPECT_EQ(CheckRange({.key = "a", .sort_target = static_cast<SortTarget>(9)}).reason(), Reason::kInvalidSort);
  EXPECT_EQ(CheckRange({.key = "", .sort_target = static_cast<SortTarget>(9)}).reason(), Reason::kKeyEmpty);
}

TEST(KvValidate, BudgetOfOperationsShrinksInside) {
  const std::vector<TxnOp> none;
  const auto txn = [](std::size_t own, std::size_t inner) {
    std::vector<TxnOp> inside;
    for (std::size_t i = 0; i < inner; ++i) inside.push_back(Put("i" + std::to_string(i)));
    std::vector<TxnOp> ops = {Then(std::move(inside))};
    for (std::size_t i = 1; i < own; ++i) ops.push_back(Put("o" + std::to_string(i)));
    return ops;
  };
  EXPECT_EQ(Check(txn(127, 1)), Reason::kNone);
  EXPECT_EQ(Check(txn(127, 2)), Reason::kTooManyOperations);
  EXPECT_EQ(Check(txn(128, 1)), Reason::kTooManyOperations);
  EXPECT_EQ(Check(txn(128, 0)), Reason::kNone);
  EXPECT_EQ(Check(txn(129, 0)), Reason::kTooManyOperations);
  TxnRequest compares;
  compares.compares.resize(129, Compare{.key = "a"});
  EXPECT_EQ(CheckTxn(compares, 128).reason(), Reason::kTooManyOperations);
  TxnRequest deep;
  for (int i = 0; i < 300; ++i) deep = TxnRequest{{}, {{std::move(deep)}}, {}};
  EXPECT_EQ(CheckTxn(deep, 100000).reason(), Reason::kTooManyOperations);
}

TEST(KvValidate, OrderOfTheTxnChecks) {
  // Too many operations come before anything else, an empty compare key before the operations, the branch that does not
  // run is checked too, and overlaps come last.
  TxnRequest txn;
  txn.compares.push_back({.key = ""});
  txn.success = {Put("a"), Put("a"), {}};
  EXPECT_EQ(CheckTxn(txn, 2).reason(), Reason::kTooManyOperations);
  EXPECT_EQ(CheckTxn(txn, 128).reason(), Reason::kKeyEmpty);
  txn.compares[0].key = "x";
  EXPECT_EQ(CheckTxn(txn, 128).reason(), Reason::kKeyNotFound);
  txn.success.pop_back();
  txn.failure = {Put("")};
  EXPECT_EQ(CheckTxn(txn, 128).reason(), Reason::kKeyEmpty);
  txn.failure.clear();
  EXPECT_EQ(CheckTxn(txn, 128).reason(), Reason::kDuplicateKey);
}

TEST(KvValidate, OverlapsInOneList) {
  EXPECT_EQ(Check({Put("a"), Put("b")}), Reason::kNone);
  EXPECT_EQ(Check({Put("a"), Put("a")}), Reason::kDuplicateKey);
  EXPECT_EQ(Check({Put("b"), Del("a", "c")}), Reason::kDuplicateKey);
  EXPECT_EQ(Check({Del("a", "c"), Put("b")}), Reason::kDuplicateKey);
  EXPECT_EQ(Check({Del("a", "c"), Put("c")}), Reason::kNone);
  EXPECT_EQ(Check({Del("b"), Put("b")}), Reason::kDuplicateKey);
  EXPECT_EQ(Check({Del("b"), Put(std::string("b\0", 2))}), Reason::kNone);
  EXPECT_EQ(Check({Del("a", "c"), Del("b", "d")}), Reason::kNone);
  EXPECT_EQ(Check({Del("a", "c"), Del("b", "d"), Put("c")}), Reason::kDuplicateKey);
  EXPECT_EQ(Check({Del("z", "a"), Put("b")}), Reason::kNone);
  // The gap that etcd leaves open: "from key" is never seen as an overlap.
  EXPECT_EQ(Check({Put("a"), Del("a", FromKey())}), Reason::kNone);
  EXPECT_EQ(Check({Del("a", FromKey()), Put("b")}), Reason::kNone);
}

TEST(KvValidate, OverlapsWithChildren) {
  EXPECT_EQ(Check({Then({Put("a")}), Put("a")}), Reason::kDuplicateKey);
  EXPECT_EQ(Check({Then({Put("a")}), Then({Put("a")})}), Reason::kDuplicateKey);
  EXPECT_EQ(Check({Then({Put("a")}, {Put("a")})}), Reason::kNone);
  EXPECT_EQ(Check({Then({Del("a")}, {Put("a")})}), Reason::kNone);
  EXPECT_EQ(Check({Then({Put("a")}, {Del("a")})}), Reason::kNone);
  EXPECT_EQ(Check({Then({Put("a")}, {Put("a")}), Put("a")}), Reason::kDuplicateKey);
  EXPECT_EQ(Check({Then({Put("a")}), Del("a")}), Reason::kDuplicateKey);
  EXPECT_EQ(Check({Del("a"), Then({Put("a")})}), Reason::kDuplicateKey);
  EXPECT_EQ(Check({Put("a"), Then({Del("a")})}), Reason::kDuplicateKey);
  // The second gap: an earlier child's put does not meet a later child's delete.
  EXPECT_EQ(Check({Then({Put("s")}), Then({Del("s")})}), Reason::kNone);
  EXPECT_EQ(Check({Then({Del("s")}), Then({Put("s")})}), Reason::kDuplicateKey);
  EXPECT_EQ(Check({Then({Then({Put("s")})}), Then({Then({Put("s")})})}), Reason::kDuplicateKey);
}

TEST(KvValidate, ManyOperationsAreQuick) {
  // Quadratic work would take minutes here.
  std::vector<TxnOp> ops;
  for (int i = 0; i < 60000; ++i) {
    ops.push_back(Put("p" + std::to_string(i)));
    ops.push_back(Del("d" + std::to_string(i)));
  }
  TxnRequest txn{{}, std::move(ops), {}};
  for (int i = 0; i < 100; ++i) {
    TxnRequest outer;
    outer.success.push_back({std::move(txn)});
    outer.success.push_back(Put("x" + std::to_string(i)));
    txn = std::move(outer);
  }
  EXPECT_TRUE(CheckTxn(txn, 1000000).ok());
}

TEST(KvValidate, CostIsEtcds) {
  EXPECT_EQ(SpaceCost(PutCommand{{.key = "ab", .value = "cde"}}), 261);
  EXPECT_EQ(SpaceCost(DeleteRangeCommand{{"a", "b", false}}), 0);
  EXPECT_EQ(SpaceCost(LeaseGrantCommand{1, 1}), 64);
  EXPECT_EQ(SpaceCost(TxnCommand{{{}, {Del("a")}, {}}}), 0);
  EXPECT_EQ(SpaceCost(TxnCommand{{{}, {Del("a")}, {Then({Put("a")})}}}), 258);
  EXPECT_EQ(SpaceCost(TxnCommand{{{}, {Put("a")}, {}}, /*frees_space=*/true}), 0);
  EXPECT_EQ(SpaceCost(LeaseRevokeCommand{1}), 0);
  EXPECT_EQ(SpaceCost(CompactCommand{1}), 0);
}

TEST(KvValidate, BriefCommandsNameAFewKeysOneByOne) {
  EXPECT_TRUE(IsBrief(PutCommand{{.key = "a", .value = "v"}}));
  EXPECT_FALSE(IsBrief(PutCommand{{.key = "a", .value = std::string(100'000, 'v')}}));
  EXPECT_TRUE(IsBrief(TxnCommand{{{{.key = "a"}}, {Put("a"), Del("b")}, {{RangeRequest{.key = "a"}}}}}));
  EXPECT_FALSE(IsBrief(TxnCommand{{{{.key = "a", .range_end = "b"}}, {Put("a")}, {}}}));
  EXPECT_FALSE(IsBrief(TxnCommand{{{}, {Put("a")}, {{RangeRequest{.key = "a", .range_end = "b"}}}}}));
  EXPECT_FALSE(IsBrief(TxnCommand{{{}, {{DeleteRangeRequest{"a", "b", false}}}, {}}}));
  EXPECT_FALSE(IsBrief(TxnCommand{{{}, {Then({Put("a")})}, {}}}));
  EXPECT_FALSE(IsBrief(TxnCommand{{{}, std::vector<TxnOp>(17, Put("a")), {}}}));
  EXPECT_FALSE(IsBrief(DeleteRangeCommand{{"a", "", false}}));
  EXPECT_FALSE(IsBrief(CompactCommand{1}));
}

TEST(KvValidate, ReadOnlyTxns) {
  EXPECT_TRUE(IsReadOnly({}));
  EXPECT_TRUE(IsReadOnly({{}, {{RangeRequest{.key = "a"}}}, {}}));
  EXPECT_FALSE(IsReadOnly({{}, {}, {Put("a")}}));
  EXPECT_FALSE(IsReadOnly({{}, {Then({})}, {}}));
}

}  // namespace
}  // namespace vellum::kv
