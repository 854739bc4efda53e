// Requests and answers that were taken from running etcd servers, in their order on a fresh store, as far as they are about
// keys, transactions, leases and compaction.
#include "kv/engine_test_util.h"
#include "kv/operations.h"

namespace vellum::kv {
namespace {

using Keys = std::vector<std::string>;

class KvGolden : public EngineTest {
 protected:
  static TxnOp Put_(std::string key, std::string value = "v", LeaseId lease = 0) {
    return {PutRequest{.key = std::move(key), .value = std::move(value), .lease = lease}};
  }
  static TxnOp Delete_(std::string key, std::string end = "") {
    return {DeleteRangeRequest{.key = std::move(key), .range_end = std::move(end)}};
  }
  static TxnOp Range_(std::string key, Revision at = 0) { return {RangeRequest{.key = std::move(key), .revision = at}}; }
  static TxnOp Then(TxnRequest txn) { return {std::move(txn)}; }

  Reason Failure(const Result<CommandResult>& result) { return result.error().reason(); }
  TxnResponse TxnOf(TxnRequest request) {
    auto result = Do(TxnCommand{std::move(request)});
    EXPECT_TRUE(result.ok()) << result.error().ToString();
    return result.ok() ? std::get<TxnResponse>(*std::move(result)) : TxnResponse{};
  }
  Keys KeysOf(const RangeRequest& request, bool more) {
    const auto response = Range(request);
    EXPECT_TRUE(response.ok()) << response.error().ToString();
    EXPECT_EQ(response->count, 3);
    EXPECT_EQ(response->more, more);
    Keys keys;
    for (const KeyValue& kv : response->kvs) keys.push_back(kv.key);
    return keys;
  }

  void Pairs1To5();
  void Pairs6To10();
  void Pairs11To14();
  void Pairs15And16();
  void Pairs17To20();
  void Pairs26To29();

  const std::string from_key_ = std::string(1, '\0');
};

void KvGolden::Pairs1To5() {
  // 1-3
  EXPECT_EQ(Get("x").revision, 1);
  EXPECT_TRUE(Compact(0, false, CompactRules::kEtcd).ok());
  EXPECT_EQ(Compact(0, false, CompactRules::kEtcd).error().reason(), Reason::kCompacted);
  EXPECT_EQ(Compact(5, false, CompactRules::kEtcd).error().reason(), Reason::kFutureRevision);
  EXPECT_EQ(Compact(-3, false, CompactRules::kEtcd).error().reason(), Reason::kCompacted);
  EXPECT_EQ(std::get<DeleteRangeResponse>(*Delete("nope")).revision, 1);
  // 4
  const auto put = [&](std::string value) {
    return std::get<PutResponse>(*Do(PutCommand{{.key = "a", .value = std::move(value), .prev_kv = true}}));
  };
  const PutResponse first = put("1");
  EXPECT_EQ(first.revision, 2);
  EXPECT_FALSE(first.prev_kv.has_value());
  const PutResponse second = put("2");
  EXPECT_EQ(second.revision, 3);
  EXPECT_EQ(*second.prev_kv, (KeyValue{"a", 2, 2, 1, "1", 0}));
  // 5
  EXPECT_EQ(Failure(Do(PutCommand{{.key = "zz", .ignore_value = true}})), Reason::kKeyNotFound);
  EXPECT_EQ(Failure(Do(PutCommand{{.key = "a", .value = "q", .ignore_value = true}})), Reason::kValueProvided);
  EXPECT_EQ(Failure(Put("a", "", 77)), Reason::kLeaseNotFound);
  EXPECT_EQ(Failure(Do(PutCommand{{.key = "a", .lease = 77, .ignore_lease = true}})), Reason::kLeaseProvided);
  EXPECT_EQ(Failure(Put("", "")), Reason::kKeyEmpty);
}

void KvGolden::Pairs6To10() {
  // 6, 7
  const auto empty = Range({.key = "z", .range_end = "a"});
  EXPECT_EQ(empty->revision, 3);
  EXPECT_EQ(empty->count, 0);
  EXPECT_EQ(Range({.key = "a", .revision = 99}).error().reason(), Reason::kFutureRevision);
  EXPECT_EQ(Range({.key = "a", .revision = -5})->count, 1);
  EXPECT_EQ(Range({.key = "a", .range_end = from_key_, .limit = -1})->count, 1);
  EXPECT_EQ(Range({.key = "a", .sort_order = static_cast<SortOrder>(9)}).error().reason(), Reason::kInvalidSort);
  EXPECT_EQ(Range({.key = "a", .sort_target = static_cast<SortTarget>(9)}).error().reason(), Reason::kInvalidSort);
  // 8-10
  EXPECT_TRUE(TxnOf({}).succeeded);
  EXPECT_EQ(revision(), 3);
  EXPECT_EQ(Failure(Txn({{}})), Reason::kKeyNotFound);
  const TxnResponse gap = TxnOf({{}, {Put_("a", "3"), Delete_("a", from_key_)}, {}});
  EXPECT_EQ(gap.revision, 4);
  EXPECT_EQ(std::get<PutResponse>(gap.responses[0].response).revision, 4);
  EXPECT_EQ(std::get<DeleteRangeResponse>(gap.responses[1].response).deleted, 1);
  EXPECT_EQ(std::get<DeleteRangeResponse>(gap.responses[1].response).revision, 4);
  EXPECT_EQ(Failure(Txn({Put_("a"), Delete_("a", "z")})), Reason::kDuplicateKey);
  EXPECT_EQ(Failure(Txn({Put_("a"), Put_("a")})), Reason::kDuplicateKey);
}

void KvGolden::Pairs11To14() {
  // 11-13
  const TxnResponse nested = TxnOf({{}, {Then({{}, {Put_("s")}, {}}), Then({{}, {Delete_("s")}, {}})}, {}});
  EXPECT_EQ(nested.revision, 5);
  EXPECT_EQ(std::get<TxnResponse>(nested.responses[0].response).revision, 0);  // its header is empty
  EXPECT_EQ(Failure(Txn({Then({{}, {Delete_("s")}, {}}), Then({{}, {Put_("s")}, {}})})), Reason::kDuplicateKey);
  const Compare version99{.target = CompareTarget::kVersion, .key = "a", .number = 99};
  const TxnResponse no = TxnOf({{version99}, {Put_("a")}, {}});
  EXPECT_FALSE(no.succeeded);
  EXPECT_EQ(no.revision, 5);
  const auto holds = [&](CompareResult result, CompareTarget target, std::int64_t number) {
    return TxnOf({{{.result = result, .target = target, .key = "missing", .number = number, .value = "x"}}, {}, {}}).succeeded;
  };
  EXPECT_FALSE(holds(CompareResult::kNotEqual, CompareTarget::kValue, 0));
  EXPECT_TRUE(holds(CompareResult::kEqual, CompareTarget::kVersion, 0));
  EXPECT_TRUE(holds(static_cast<CompareResult>(9), CompareTarget::kVersion, 7));
  // 14
  const TxnResponse seen = TxnOf({{}, {Put_("o", "1"), Range_("o")}, {}});
  EXPECT_EQ(seen.revision, 6);
  const auto& inner = std::get<RangeResponse>(seen.responses[1].response);
  EXPECT_EQ(inner.revision, 6);
  EXPECT_EQ(inner.count, 1);
  EXPECT_EQ(inner.kvs.at(0), (KeyValue{"o", 6, 6, 1, "1", 0}));
}

void KvGolden::Pairs15And16() {
  // 15, 16
  for (int i = 0; i < 3; ++i) ASSERT_TRUE(Put("v1", "1").ok());
  for (int i = 0; i < 2; ++i) ASSERT_TRUE(Put("v2", "2").ok());
  ASSERT_TRUE(Put("v3", "3").ok());
  ASSERT_EQ(revision(), 12);
  RangeRequest sorted{.key = "v", .range_end = "w", .limit = 2, .sort_target = SortTarget::kVersion};
  EXPECT_EQ(KeysOf(sorted, true), (Keys{"v3", "v2"}));
  sorted.limit = 1;
  EXPECT_EQ(KeysOf(sorted, true), Keys{"v2"});
  sorted.sort_order = SortOrder::kAscend;
  EXPECT_EQ(KeysOf(sorted, true), Keys{"v3"});
  sorted.sort_order = SortOrder::kDescend;
  EXPECT_EQ(KeysOf(sorted, true), Keys{"v1"});
  EXPECT_EQ(KeysOf({.key = "v", .range_end = "w", .limit = 1, .count_only = true}, false), Keys{});
  EXPECT_EQ(KeysOf({.key = "v", .range_end = "w", .min_create_revision = 9999}, false), Keys{});
  EXPECT_EQ(KeysOf({.key = "v", .range_end = "w", .limit = 1, .keys_only = true, .min_mod_revision = -1}, true), Keys{"v1"});
}

void KvGolden::Pairs17To20() {
  // 17, 19
  const auto grant = [&](LeaseId id, std::int64_t ttl) { return Do(LeaseGrantCommand{id, ttl}); };
  EXPECT_EQ(std::get<LeaseGrantResponse>(*grant(1, 1)).ttl_s, 2);
  EXPECT_EQ(std::get<LeaseGrantResponse>(*grant(2, 0)).ttl_s, 2);
  EXPECT_EQ(std::get<LeaseGrantResponse>(*grant(-13, -5)).ttl_s, 2);
  EXPECT_EQ(Failure(grant(-13, -5)), Reason::kLeaseExists);
  EXPECT_EQ(Failure(grant(3, 9'000'000'001)), Reason::kLeaseTtlTooLarge);
  EXPECT_EQ(Failure(Do(LeaseRevokeCommand{999})), Reason::kLeaseNotFound);
  ASSERT_TRUE(grant(30, 30).ok());
  ASSERT_TRUE(Put("l2", "1", 30).ok());
  ASSERT_TRUE(Put("l1", "1", 30).ok());
  EXPECT_EQ(std::get<LeaseRevokeResult>(*Do(LeaseRevokeCommand{30})).revision, 15);
  ASSERT_TRUE(Put("lk", "").ok());  // 20 leaves two revisions behind
  ASSERT_TRUE(Put("el", "").ok());
}

void KvGolden::Pairs26To29() {
  // 26-29
  EXPECT_TRUE(Compact(10, false, CompactRules::kEtcd).ok());
  ASSERT_TRUE(Put("a", "0").ok());
  ASSERT_EQ(revision(), 18);
  EXPECT_EQ(Failure(Txn({Range_("a", -1)})), Reason::kCompacted);
  EXPECT_EQ(Failure(Txn({Range_("a", 5)})), Reason::kCompacted);
  EXPECT_EQ(Failure(Txn({Range_("a", 500)})), Reason::kFutureRevision);
  // The same of one that is not logged.
  const auto read_only = [&](Revision at) {
    return ReadOnlyTxn(*engine_->CurrentView(), {{}, {Range_("a", at)}, {}}).error().reason();
  };
  EXPECT_EQ(read_only(-1), Reason::kCompacted);
  EXPECT_EQ(read_only(5), Reason::kCompacted);
  EXPECT_EQ(read_only(500), Reason::kFutureRevision);
  EXPECT_EQ(read_only(12), Reason::kNone);
  const TxnResponse untaken = TxnOf({{}, {}, {Put_("x", "1", 99)}});
  EXPECT_TRUE(untaken.succeeded);
  EXPECT_EQ(untaken.revision, 18);
  EXPECT_EQ(Failure(Txn({Put_("x", "1", 99)})), Reason::kLeaseNotFound);
  const Compare missing{.target = CompareTarget::kVersion, .key = "n1", .number = 0};
  const TxnResponse before = TxnOf({{}, {Put_("n1", "1"), Then({{missing}, {Range_("n1")}, {}})}, {}});
  EXPECT_EQ(before.revision, 19);
  const auto& child = std::get<TxnResponse>(before.responses[1].response);
  EXPECT_TRUE(child.succeeded);
  EXPECT_EQ(std::get<RangeResponse>(child.responses[0].response).kvs.at(0).version, 1);
}

TEST_F(KvGolden, InOrderOnAFreshStore) {
  Pairs1To5();
  if (::testing::Test::HasFatalFailure()) return;
  Pairs6To10();
  if (::testing::Test::HasFatalFailure()) return;
  Pairs11To14();
  if (::testing::Test::HasFatalFailure()) return;
  Pairs15And16();
  if (::testing::Test::HasFatalFailure()) return;
  Pairs17To20();
  if (::testing::Test::HasFatalFailure()) return;
  Pairs26To29();
  if (::testing::Test::HasFatalFailure()) return;
}

}  // namespace
}  // namespace vellum::kv
