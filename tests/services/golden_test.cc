// What etcd answered to these requests, in this order, on a fresh store: the reference's golden pairs, as gRPC calls.
#include <initializer_list>

#include "services/service_test.h"

namespace vellum {
namespace {

constexpr const char* kCompactedText = "etcdserver: mvcc: required revision has been compacted";
constexpr const char* kFutureText = "etcdserver: mvcc: required revision is a future revision";

pb::CompactionRequest CompactTo(Revision revision) {
  pb::CompactionRequest request;
  request.set_revision(revision);
  return request;
}

pb::LeaseGrantRequest GrantOf(std::int64_t ttl_s, LeaseId id = 0) {
  pb::LeaseGrantRequest request;
  request.set_ttl(ttl_s);
  request.set_id(id);
  return request;
}

void ThenPut(pb::TxnRequest* txn, const std::string& key, const std::string& value) {
  *txn->add_success()->mutable_request_put() = PutOf(key, value);
}

void ThenDelete(pb::TxnRequest* txn, const std::string& key, const std::string& range_end = {}) {
  *txn->add_success()->mutable_request_delete_range() = DeleteOf(key, range_end);
}

void ThenRange(pb::TxnRequest* txn, const std::string& key, Revision revision = 0) {
  *txn->add_success()->mutable_request_range() = RangeOf(key);
  txn->mutable_success(txn->success_size() - 1)->mutable_request_range()->set_revision(revision);
}

pb::Compare* IfVersion(pb::TxnRequest* txn, const std::string& key, std::int64_t version) {
  pb::Compare* compare = txn->add_compare();
  compare->set_key(key);
  compare->set_target(pb::Compare::VERSION);
  compare->set_version(version);
  return compare;
}

class Golden : public ServiceTest {
 protected:
  pb::RangeResponse Range(const pb::RangeRequest& request) { return Call<pb::RangeResponse>("KV/Range", request); }
  pb::TxnResponse Txn(const pb::TxnRequest& request) { return Call<pb::TxnResponse>("KV/Txn", request); }

  void ExpectKeys(const pb::RangeResponse& response, std::initializer_list<const char*> keys, bool more,
                  std::int64_t count) {
    ASSERT_EQ(static_cast<std::size_t>(response.kvs_size()), keys.size()) << response.ShortDebugString();
    int i = 0;
    for (const char* key : keys) EXPECT_EQ(response.kvs(i++).key(), key);
    EXPECT_EQ(response.more(), more);
    EXPECT_EQ(response.count(), count);
  }

  void FreshStore();      // 1 to 5
  void Ranges();          // 6 and 7
  void Transactions();    // 8 to 14
  void Sorting();         // 15 and 16
  void Leases();          // 17 to 19
  void Members();         // 20 (as puts), 22 and 23
  void Watches();         // 24 to 26
  void AfterCompaction();  // 27 to 30
};

void Golden::FreshStore() {
  auto range = Range(RangeOf("x"));
  EXPECT_EQ(range.header().revision(), 1);
  ExpectIds(range.header());
  range.clear_header();
  EXPECT_EQ(range.ByteSizeLong(), 0u);

  EXPECT_EQ(Call<pb::CompactionResponse>("KV/Compact", CompactTo(0)).header().revision(), 1);
  ExpectError("KV/Compact", CompactTo(0), Code::kOutOfRange, kCompactedText);
  ExpectError("KV/Compact", CompactTo(5), Code::kOutOfRange, kFutureText);
  ExpectError("KV/Compact", CompactTo(-3), Code::kOutOfRange, kCompactedText);

  const auto deleted = Call<pb::DeleteRangeResponse>("KV/DeleteRange", DeleteOf("nope"));
  EXPECT_EQ(deleted.header().revision(), 1);
  EXPECT_EQ(deleted.deleted(), 0);

  auto put = PutOf("a", "1");
  put.set_prev_kv(true);
  auto response = Call<pb::PutResponse>("KV/Put", put);
  EXPECT_EQ(response.header().revision(), 2);
  EXPECT_FALSE(response.has_prev_kv());
  put.set_value("2");
  response = Call<pb::PutResponse>("KV/Put", put);
  EXPECT_EQ(response.header().revision(), 3);
  EXPECT_EQ(response.prev_kv().ShortDebugString(),
            "key: \"a\" create_revision: 2 mod_revision: 2 version: 1 value: \"1\"");

  put = PutOf("zz", "");
  put.set_ignore_value(true);
  ExpectError("KV/Put", put, Code::kInvalidArgument, "etcdserver: key not found");
  put = PutOf("a", "q");
  put.set_ignore_value(true);
  ExpectError("KV/Put", put, Code::kInvalidArgument, "etcdserver: value is provided");
  put = PutOf("a", "");
  put.set_lease(77);
  ExpectError("KV/Put", put, Code::kNotFound, "etcdserver: requested lease not found");
  put.set_ignore_lease(true);
  ExpectError("KV/Put", put, Code::kInvalidArgument, "etcdserver: lease is provided");
  ExpectError("KV/Put", PutOf("", "x"), Code::kInvalidArgument, "etcdserver: key is not provided");
}

void Golden::Ranges() {
  const auto inverted = Range(RangeOf("z", "a"));
  EXPECT_EQ(inverted.header().revision(), 3);
  ExpectKeys(inverted, {}, false, 0);
  auto request = RangeOf("a");
  request.set_revision(99);
  ExpectError("KV/Range", request, Code::kOutOfRange, kFutureText);
  request.set_revision(-5);
  ExpectKeys(Range(request), {"a"}, false, 1);
  request = RangeOf("a", kFromKeyEnd);
  request.set_limit(-1);
  ExpectKeys(Range(request), {"a"}, false, 1);

  request = RangeOf("a");
  request.set_sort_order(static_cast<pb::RangeRequest::SortOrder>(9));
  ExpectError("KV/Range", request, Code::kInvalidArgument, "etcdserver: invalid sort option");
  request = RangeOf("a");
  request.set_sort_target(static_cast<pb::RangeRequest::SortTarget>(9));
  ExpectError("KV/Range", request, Code::kInvalidArgument, "etcdserver: invalid sort option");
}

void Golden::Transactions() {
  pb::TxnRequest txn;
  auto response = Txn(txn);
  EXPECT_EQ(response.header().revision(), 3);
  EXPECT_TRUE(response.succeeded());
  txn.add_success();
  ExpectError("KV/Txn", txn, Code::kInvalidArgument, "etcdserver: key not found");

  txn.Clear();
  ThenPut(&txn, "a", "3");
  ThenDelete(&txn, "a", kFromKeyEnd);
  response = Txn(txn);
  EXPECT_EQ(response.header().revision(), 4);
  EXPECT_EQ(response.responses(0).response_put().header().ShortDebugString(), "revision: 4");
  EXPECT_EQ(response.responses(1).response_delete_range().header().ShortDebugString(), "revision: 4");
  EXPECT_EQ(response.responses(1).response_delete_range().deleted(), 1);

  txn.Clear();
  ThenPut(&txn, "a", "3");
  ThenDelete(&txn, "a", "z");
  ExpectError("KV/Txn", txn, Code::kInvalidArgument, "etcdserver: duplicate key given in txn request");
  txn.Clear();
  ThenPut(&txn, "a", "3");
  ThenPut(&txn, "a", "3");
  ExpectError("KV/Txn", txn, Code::kInvalidArgument, "etcdserver: duplicate key given in txn request");

  pb::TxnRequest nested;
  ThenPut(nested.add_success()->mutable_request_txn(), "s", "1");
  ThenDelete(nested.add_success()->mutable_request_txn(), "s");
  response = Txn(nested);
  EXPECT_EQ(response.header().revision(), 5);
  ASSERT_TRUE(response.responses(0).response_txn().has_header());
  EXPECT_EQ(response.responses(0).response_txn().header().ByteSizeLong(), 0u);
  nested.Clear();
  ThenDelete(nested.add_success()->mutable_request_txn(), "s");
  ThenPut(nested.add_success()->mutable_request_txn(), "s", "1");
  ExpectError("KV/Txn", nested, Code::kInvalidArgument, "etcdserver: duplicate key given in txn request");

  txn.Clear();
  IfVersion(&txn, "a", 99);
  ThenPut(&txn, "a", "1");
  response = Txn(txn);
  EXPECT_EQ(response.header().revision(), 5);
  EXPECT_FALSE(response.succeeded());

  txn.Clear();
  pb::Compare* compare = txn.add_compare();
  compare->set_key("missing");
  compare->set_target(pb::Compare::VALUE);
  compare->set_result(pb::Compare::NOT_EQUAL);
  compare->set_value("x");
  EXPECT_FALSE(Txn(txn).succeeded());
  txn.Clear();
  IfVersion(&txn, "missing", 0);
  EXPECT_TRUE(Txn(txn).succeeded());
  txn.Clear();
  IfVersion(&txn, "missing", 7)->set_result(static_cast<pb::Compare::CompareResult>(9));
  EXPECT_TRUE(Txn(txn).succeeded());

  txn.Clear();
  ThenPut(&txn, "o", "1");
  ThenRange(&txn, "o");
  response = Txn(txn);
  EXPECT_EQ(response.header().revision(), 6);
  const auto& inner = response.responses(1).response_range();
  EXPECT_EQ(inner.header().ShortDebugString(), "revision: 6");
  ASSERT_EQ(inner.kvs_size(), 1);
  EXPECT_EQ(inner.kvs(0).mod_revision(), 6);
  EXPECT_EQ(inner.count(), 1);
}

void Golden::Sorting() {
  for (const char* key : {"v1", "v1", "v1", "v2", "v2", "v3"}) Put(key, "x");
  ASSERT_EQ(Current(), 12);
  auto request = RangeOf("v", "w");
  request.set_sort_target(pb::RangeRequest::VERSION);
  request.set_limit(2);
  ExpectKeys(Range(request), {"v3", "v2"}, true, 3);
  request.set_limit(1);
  ExpectKeys(Range(request), {"v2"}, true, 3);
  request.set_sort_order(pb::RangeRequest::ASCEND);
  ExpectKeys(Range(request), {"v3"}, true, 3);
  request.set_sort_order(pb::RangeRequest::DESCEND);
  ExpectKeys(Range(request), {"v1"}, true, 3);

  request = RangeOf("v", "w");
  request.set_count_only(true);
  request.set_limit(1);
  ExpectKeys(Range(request), {}, false, 3);
  request = RangeOf("v", "w");
  request.set_min_create_revision(9999);
  ExpectKeys(Range(request), {}, false, 3);
  request = RangeOf("v", "w");
  request.set_min_mod_revision(-1);
  request.set_limit(1);
  request.set_keys_only(true);
  const auto response = Range(request);
  ExpectKeys(response, {"v1"}, true, 3);
  EXPECT_TRUE(response.kvs(0).value().empty());
}

void Golden::Leases() {
  EXPECT_EQ(Call<pb::LeaseGrantResponse>("Lease/LeaseGrant", GrantOf(1)).ttl(), 2);
  EXPECT_EQ(Call<pb::LeaseGrantResponse>("Lease/LeaseGrant", GrantOf(0)).ttl(), 2);
  const auto granted = Call<pb::LeaseGrantResponse>("Lease/LeaseGrant", GrantOf(-5, -13));
  EXPECT_EQ(granted.ttl(), 2);
  EXPECT_EQ(granted.id(), -13);
  EXPECT_EQ(granted.header().revision(), 12);
  ExpectIds(granted.header());
  ExpectError("Lease/LeaseGrant", GrantOf(5, -13), Code::kFailedPrecondition, "etcdserver: lease already exists");
  ExpectError("Lease/LeaseGrant", GrantOf(9'000'000'001), Code::kOutOfRange, "etcdserver: too large lease TTL");

  pb::LeaseTimeToLiveRequest time_to_live;
  time_to_live.set_id(999);
  auto remaining = Call<pb::LeaseTimeToLiveResponse>("Lease/LeaseTimeToLive", time_to_live);
  EXPECT_EQ(remaining.ttl(), -1);
  EXPECT_EQ(remaining.grantedttl(), 0);
  EXPECT_EQ(remaining.id(), 999);
  pb::LeaseRevokeRequest revoke;
  revoke.set_id(999);
  ExpectError("Lease/LeaseRevoke", revoke, Code::kNotFound, "etcdserver: requested lease not found");
  const auto kept = client().LeaseKeepAliveOnce(999);
  ASSERT_TRUE(kept.ok()) << kept.error().ToString();
  EXPECT_EQ(*kept, 0);

  Call<pb::LeaseGrantResponse>("Lease/LeaseGrant", GrantOf(30, 30));
  EXPECT_EQ(Put("l2", "", 30), 13);
  EXPECT_EQ(Put("l1", "", 30), 14);
  time_to_live.set_id(30);
  time_to_live.set_keys(true);
  remaining = Call<pb::LeaseTimeToLiveResponse>("Lease/LeaseTimeToLive", time_to_live);
  ASSERT_EQ(remaining.keys_size(), 2);
  EXPECT_EQ(remaining.keys(0), "l1");
  EXPECT_EQ(remaining.keys(1), "l2");
  EXPECT_GE(remaining.ttl(), 29);
  EXPECT_LE(remaining.ttl(), 30);
  EXPECT_EQ(remaining.grantedttl(), 30);
  revoke.set_id(30);
  EXPECT_EQ(Call<pb::LeaseRevokeResponse>("Lease/LeaseRevoke", revoke).header().revision(), 15);
}

void Golden::Members() {
  // The services for locks and elections are not there; two puts stand for what they would have written.
  EXPECT_EQ(Put("lk/1", ""), 16);
  EXPECT_EQ(Put("el/1", ""), 17);

  const auto members = Call<pb::MemberListResponse>("Cluster/MemberList", pb::MemberListRequest());
  EXPECT_EQ(members.header().revision(), 0);
  ExpectIds(members.header());
  ASSERT_EQ(members.members_size(), 1);
  EXPECT_EQ(Call<pb::DefragmentResponse>("Maintenance/Defragment", pb::DefragmentRequest()).ByteSizeLong(), 0u);
  const auto alarms = Call<pb::AlarmResponse>("Maintenance/Alarm", pb::AlarmRequest());
  EXPECT_EQ(alarms.header().revision(), 17);
  EXPECT_EQ(alarms.alarms_size(), 0);
  pb::MoveLeaderRequest move;
  move.set_targetid(5);
  ExpectError("Maintenance/MoveLeader", move, Code::kFailedPrecondition, "etcdserver: bad leader transferee");
}

void Golden::Watches() {
  const auto stream = OpenWatch();
  const auto ask = [&](const std::string& key, const std::string& end, std::int64_t id, Revision start = 0) {
    client::WatchRequest request;
    request.key = key;
    request.range_end = end;
    request.watch_id = id;
    request.start_revision = start;
    return request;
  };
  auto refused = Create(stream.get(), ask("z", "a", 0));
  EXPECT_EQ(refused.watch_id, -1);
  EXPECT_TRUE(refused.canceled);
  EXPECT_EQ(refused.cancel_reason, "mvcc: watcher range is empty");
  EXPECT_EQ(Create(stream.get(), ask("q", "", 0)).watch_id, 0);
  EXPECT_EQ(Create(stream.get(), ask("q", "", 0)).watch_id, 1);
  EXPECT_EQ(Create(stream.get(), ask("q", "", 7)).watch_id, 7);
  refused = Create(stream.get(), ask("q", "", 7));
  EXPECT_EQ(refused.watch_id, -1);
  EXPECT_TRUE(refused.canceled);
  EXPECT_EQ(refused.cancel_reason, "mvcc: duplicate watch ID provided on the WatchStream");
  const auto negative = Create(stream.get(), ask("q", "", -4));
  EXPECT_EQ(negative.watch_id, -4);
  EXPECT_EQ(negative.revision, 17);
  EXPECT_FALSE(negative.canceled);
  ASSERT_TRUE(stream->Cancel(99));
  ASSERT_TRUE(stream->Cancel(1));
  const auto canceled = Next(stream.get());
  EXPECT_EQ(canceled.watch_id, 1);
  EXPECT_TRUE(canceled.canceled);
  EXPECT_FALSE(canceled.created);
  EXPECT_EQ(canceled.cancel_reason, "");
  EXPECT_EQ(canceled.compact_revision, 0);
  ASSERT_TRUE(stream->RequestProgress());
  const auto progress = Next(stream.get());
  EXPECT_EQ(progress.watch_id, -1);
  EXPECT_EQ(progress.revision, 17);
  EXPECT_TRUE(progress.events.empty());

  refused = Create(stream.get(), ask("q", "", 0, -1));
  EXPECT_EQ(refused.watch_id, -1);
  EXPECT_TRUE(refused.canceled);
  EXPECT_EQ(refused.cancel_reason, kCompactedText);
  const auto future = OpenWatch();
  EXPECT_FALSE(Create(future.get(), ask("q", "", 0, 5000)).canceled);
  ASSERT_TRUE(future->RequestProgress());  // silence: see that the next answer is the one to the next request
  ASSERT_TRUE(future->Cancel(0));
  EXPECT_TRUE(Next(future.get()).canceled);
  const auto empty = OpenWatch();
  ASSERT_TRUE(empty->RequestProgress());
  EXPECT_EQ(Create(empty.get(), ask("q", "", 0)).watch_id, 0);

  Call<pb::CompactionResponse>("KV/Compact", CompactTo(10));
  const auto late = OpenWatch();
  EXPECT_FALSE(Create(late.get(), ask("a", "", 0, 5)).canceled);
  const auto compacted = Next(late.get());
  EXPECT_TRUE(compacted.canceled);
  EXPECT_EQ(compacted.compact_revision, 10);
  EXPECT_EQ(compacted.revision, 0);
  EXPECT_EQ(compacted.cancel_reason, "");
  client::WatchRequest deletes = ask("a", "z", 0, 10);
  deletes.no_put = true;
  EXPECT_FALSE(Create(late.get(), deletes).canceled);
  const auto history = Next(late.get());
  ASSERT_EQ(history.events.size(), 2u);
  for (const std::size_t i : {0u, 1u}) {
    EXPECT_EQ(history.events[i].type, EventType::kDelete);
    EXPECT_EQ(history.events[i].kv.key, i == 0 ? "l1" : "l2");
    EXPECT_EQ(history.events[i].kv.mod_revision, 15);
  }
}

void Golden::AfterCompaction() {
  EXPECT_EQ(Put("a", "0"), 18);
  for (const Revision revision : {Revision{-1}, Revision{5}, Revision{500}}) {
    pb::TxnRequest txn;
    ThenRange(&txn, "a", revision);
    ExpectError("KV/Txn", txn, Code::kOutOfRange, revision == 500 ? kFutureText : kCompactedText);
    // The same in a transaction that writes, which takes another way.
    ThenPut(&txn, "other", "");
    ExpectError("KV/Txn", txn, Code::kOutOfRange, revision == 500 ? kFutureText : kCompactedText);
  }

  pb::PutRequest leased = PutOf("x", "");
  leased.set_lease(99);
  pb::TxnRequest untaken;
  *untaken.add_failure()->mutable_request_put() = leased;
  const auto untaken_response = Txn(untaken);
  EXPECT_EQ(untaken_response.header().revision(), 18);
  EXPECT_TRUE(untaken_response.succeeded());
  pb::TxnRequest taken;
  *taken.add_success()->mutable_request_put() = leased;
  ExpectError("KV/Txn", taken, Code::kNotFound, "etcdserver: requested lease not found");

  pb::TxnRequest outer;
  ThenPut(&outer, "n1", "1");
  pb::TxnRequest* inner = outer.add_success()->mutable_request_txn();
  IfVersion(inner, "n1", 0);
  ThenRange(inner, "n1");
  const auto response = Txn(outer);
  EXPECT_EQ(response.header().revision(), 19);
  const auto& answer = response.responses(1).response_txn();
  EXPECT_TRUE(answer.succeeded());
  ASSERT_EQ(answer.responses(0).response_range().kvs_size(), 1);
  EXPECT_EQ(answer.responses(0).response_range().kvs(0).version(), 1);

  ExpectError("KV/Put", PutOf("big", std::string(1'572'864, 'x')), Code::kInvalidArgument,
              "etcdserver: request is too large");
  EXPECT_EQ(Call<pb::PutResponse>("KV/Put", PutOf("big", std::string(1'572'664, 'x'))).header().revision(), 20);
  ExpectError("KV/Put", PutOf("big", std::string(2'200'000, 'x')), Code::kResourceExhausted,
              "grpc: received message larger than max (2200010 vs. 2097152)");
}

TEST_F(Golden, PairsInOrder) {
  FreshStore();
  Ranges();
  Transactions();
  Sorting();
  Leases();
  Members();
  Watches();
  AfterCompaction();
}

}  // namespace
}  // namespace vellum
