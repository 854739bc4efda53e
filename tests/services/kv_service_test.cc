#include <future>
#include <thread>

#include "services/service_test.h"

namespace vellum {
namespace {

using KvService = ServiceTest;

TEST_F(KvService, RangeShowsEveryFieldAndOption) {
  Put("a", "1");
  Put("b", "2");
  Put("a", "3");
  const auto all = Call<pb::RangeResponse>("KV/Range", RangeOf("a", "c"));
  ASSERT_EQ(all.kvs_size(), 2);
  EXPECT_EQ(all.kvs(0).ShortDebugString(), "key: \"a\" create_revision: 2 mod_revision: 4 version: 2 value: \"3\"");
  EXPECT_EQ(all.count(), 2);
  EXPECT_FALSE(all.more());

  auto request = RangeOf("a", "c");
  request.set_limit(1);
  const auto first = Call<pb::RangeResponse>("KV/Range", request);
  EXPECT_EQ(first.kvs_size(), 1);
  EXPECT_TRUE(first.more());
  EXPECT_EQ(first.count(), 2);

  request = RangeOf("a", "c");
  request.set_revision(2);
  const auto old = Call<pb::RangeResponse>("KV/Range", request);
  ASSERT_EQ(old.kvs_size(), 1);
  EXPECT_EQ(old.kvs(0).value(), "1");
  EXPECT_EQ(old.header().revision(), 4);  // the store's, not the one that was asked for
}

TEST_F(KvService, LargeValuesArriveWhole) {
  const std::string value(1'500'000, 'v');
  Put("big/1", value);
  Put("big/2", value);
  RangeRequest request;
  request.key = "big/";
  request.range_end = "big0";
  const auto response = client().Range(request);
  ASSERT_TRUE(response.ok()) << response.error().ToString();
  ASSERT_EQ(response->kvs.size(), 2u);
  EXPECT_EQ(response->kvs[0].value, value);
  EXPECT_EQ(response->kvs[1].value, value);
}

TEST_F(KvService, ReadOnlyTransactionsNeedNoLog) {
  Put("a", "1");
  const std::uint64_t applied = engine().GetInfo().applied_index;
  TxnRequest request;
  request.compares.push_back({.key = "a", .range_end = {}, .number = 1, .value = {}});
  request.success.push_back({RangeRequest{.key = "a", .range_end = {}}});
  request.failure.push_back({RangeRequest{.key = "b", .range_end = {}}});
  const auto response = client().Txn(request);
  ASSERT_TRUE(response.ok()) << response.error().ToString();
  EXPECT_TRUE(response->succeeded);
  EXPECT_EQ(response->revision, 2);
  ASSERT_EQ(response->responses.size(), 1u);
  const auto& range = std::get<RangeResponse>(response->responses[0].response);
  EXPECT_EQ(range.revision, 2);
  ASSERT_EQ(range.kvs.size(), 1u);
  EXPECT_EQ(range.kvs[0].value, "1");
  EXPECT_EQ(engine().GetInfo().applied_index, applied);
}

TEST_F(KvService, TheBudgetOfOperationsShrinksWithNesting) {
  const auto with_operations = [](int operations, int nested_operations) {
    pb::TxnRequest txn;
    for (int i = 1; i < operations; ++i) {
      *txn.add_success()->mutable_request_put() = PutOf("outer" + std::to_string(i), "");
    }
    auto* nested = txn.add_success()->mutable_request_txn();
    for (int i = 0; i < nested_operations; ++i) {
      *nested->add_success()->mutable_request_put() = PutOf("inner" + std::to_string(i), "");
    }
    return txn;
  };
  constexpr const char* kTooMany = "etcdserver: too many operations in txn request";
  EXPECT_TRUE(Call<pb::TxnResponse>("KV/Txn", with_operations(127, 1)).succeeded());
  ExpectError("KV/Txn", with_operations(127, 2), Code::kInvalidArgument, kTooMany);
  ExpectError("KV/Txn", with_operations(128, 1), Code::kInvalidArgument, kTooMany);
  ExpectError("KV/Txn", with_operations(129, 0), Code::kInvalidArgument, kTooMany);
}

TEST_F(KvService, DeepNestingGetsAnAnswer) {
  const auto nested = [](int depth) {
    std::string txn;
    for (int i = 1; i < depth; ++i) {
      pb::RequestOp operation;
      // By hand, because protobuf limits how deep it parses.
      std::string op("\x22", 1);  // request_txn
      for (std::size_t size = txn.size();; size >>= 7) {
        op.push_back(static_cast<char>((size & 0x7f) | (size >= 0x80 ? 0x80 : 0)));
        if (size < 0x80) break;
      }
      op += txn;
      std::string outer("\x12", 1);  // success
      for (std::size_t size = op.size();; size >>= 7) {
        outer.push_back(static_cast<char>((size & 0x7f) | (size >= 0x80 ? 0x80 : 0)));
        if (size < 0x80) break;
      }
      txn = outer + op;
    }
    return txn;
  };
  EXPECT_TRUE(client().Call("/etcdserverpb.KV/Txn", nested(100)).ok());
  const auto refused = client().Call("/etcdserverpb.KV/Txn", nested(200));
  ASSERT_FALSE(refused.ok());
  EXPECT_EQ(refused.error().message(), "etcdserver: too many operations in txn request");
  EXPECT_EQ(client().Call("/etcdserverpb.KV/Txn", nested(20'000)).error().code(), Code::kInternal);
  EXPECT_EQ(Current(), 1);
}

TEST_F(KvService, GarbageAndUnknownMethodsAreRefused) {
  for (const char* method :
       {"KV/Range", "KV/Put", "KV/DeleteRange", "KV/Txn", "KV/Compact", "KV/RangeStream", "Lease/LeaseGrant"}) {
    const auto answer = client().Call(std::string("/etcdserverpb.") + method, "\xff\xff\xff");
    ASSERT_FALSE(answer.ok()) << method;
    EXPECT_EQ(answer.error().code(), Code::kInternal) << method;
  }
  for (const char* method :
       {"/etcdserverpb.Auth/AuthEnable", "/v3lockpb.Lock/Lock", "/etcdserverpb.Maintenance/Snapshot"}) {
    const auto answer = client().Call(method, "");
    ASSERT_FALSE(answer.ok()) << method;
    EXPECT_EQ(answer.error().code(), Code::kUnimplemented) << method;
  }
}

TEST_F(KvService, TheRequestLimitCountsTheWholeRequest) {
  pb::DeleteRangeRequest erase;
  erase.set_key(std::string(1'572'864, 'k'));
  ExpectError("KV/DeleteRange", erase, Code::kInvalidArgument, "etcdserver: request is too large");
  pb::TxnRequest txn;
  for (int i = 0; i < 16; ++i) {
    *txn.add_success()->mutable_request_put() = PutOf("k" + std::to_string(i), std::string(100'000, 'v'));
  }
  ExpectError("KV/Txn", txn, Code::kInvalidArgument, "etcdserver: request is too large");
  // What is wrong with the request itself is said first.
  ExpectError("KV/Put", PutOf("", std::string(1'572'864, 'v')), Code::kInvalidArgument,
              "etcdserver: key is not provided");
  EXPECT_EQ(Current(), 1);
}

TEST_F(KvService, CompactRefusesOldRevisionsAndKeepsTheRest) {
  for (int i = 0; i < 10; ++i) Put("a", std::to_string(i));
  const auto compacted = client().Compact(5, true);
  ASSERT_TRUE(compacted.ok()) << compacted.error().ToString();
  EXPECT_EQ(*compacted, 11);
  RangeRequest request;
  request.key = "a";
  request.revision = 4;
  const auto refused = client().Range(request);
  EXPECT_EQ(refused.error().code(), Code::kOutOfRange);
  EXPECT_EQ(refused.error().reason(), Reason::kCompacted);
  request.revision = 5;
  const auto kept = client().Range(request);
  ASSERT_TRUE(kept.ok()) << kept.error().ToString();
  EXPECT_EQ(kept->kvs.at(0).value, "3");
}

TEST_F(KvService, DeleteRangeReturnsWhatWentInKeyOrder) {
  for (int i = 0; i < 200; ++i) Put("d/" + std::to_string(1000 + i), std::to_string(i));
  DeleteRangeRequest request;
  request.key = "d/";
  request.range_end = "d0";
  request.prev_kv = true;
  const auto response = client().DeleteRange(request);
  ASSERT_TRUE(response.ok()) << response.error().ToString();
  EXPECT_EQ(response->deleted, 200);
  EXPECT_EQ(response->revision, 202);
  ASSERT_EQ(response->prev_kvs.size(), 200u);
  for (std::size_t i = 0; i < 200; ++i) EXPECT_EQ(response->prev_kvs[i].value, std::to_string(i));
}

TEST_F(KvService, ManyClientsAtOnceGetDistinctRevisions) {
  constexpr int kThreads = 4;
  constexpr int kPuts = 50;
  std::vector<std::future<std::vector<Revision>>> writers;
  for (int t = 0; t < kThreads; ++t) {
    writers.push_back(std::async(std::launch::async, [this, t] {
      std::vector<Revision> revisions;
      for (int i = 0; i < kPuts; ++i) revisions.push_back(Put("t" + std::to_string(t), std::to_string(i)));
      return revisions;
    }));
  }
  std::vector<Revision> all;
  for (auto& writer : writers) {
    const auto revisions = writer.get();
    EXPECT_TRUE(std::is_sorted(revisions.begin(), revisions.end()));
    all.insert(all.end(), revisions.begin(), revisions.end());
  }
  std::sort(all.begin(), all.end());
  for (std::size_t i = 0; i < all.size(); ++i) EXPECT_EQ(all[i], static_cast<Revision>(i) + 2);
}

TEST_F(KvService, EverythingIsThereAfterARestart) {
  Put("a", "1");
  Put("b", "2");
  Restart();
  EXPECT_EQ(Current(), 3);
  EXPECT_EQ(Call<pb::RangeResponse>("KV/Range", RangeOf("b")).kvs(0).value(), "2");
}

TEST_F(KvService, StoppedServicesSaySo) {
  const auto stream = OpenWatch();
  client::WatchRequest request;
  request.key = "a";
  Create(stream.get(), request);
  services().Stop();
  const auto ended = stream->Next(kPatience);
  ASSERT_FALSE(ended.ok());
  EXPECT_EQ(ended.error().code(), Code::kUnavailable);
  EXPECT_EQ(ended.error().message(), "etcdserver: server stopped");
  ExpectError("KV/Put", PutOf("a", "1"), Code::kUnavailable, "etcdserver: server stopped");
  ExpectError("KV/Range", RangeOf("a"), Code::kUnavailable, "etcdserver: server stopped");
  const auto late = OpenWatch();
  EXPECT_EQ(late->Next(kPatience).error().code(), Code::kUnavailable);
}

TEST_F(KvService, RangesAreCounted) {
  const auto value = [this] {
    const std::string text = metrics().Expose();
    const std::size_t at = text.find("\netcd_mvcc_range_total ");
    return at == std::string::npos ? std::string() : text.substr(at + 23, text.find('\n', at + 1) - at - 23);
  };
  EXPECT_EQ(value(), "0");
  Call<pb::RangeResponse>("KV/Range", RangeOf("a"));
  EXPECT_EQ(value(), "1");
  pb::TxnRequest txn;
  *txn.add_success()->mutable_request_range() = RangeOf("a");
  *txn.add_success()->mutable_request_range() = RangeOf("b");
  Call<pb::TxnResponse>("KV/Txn", txn);
  EXPECT_EQ(value(), "3");
  EXPECT_NE(metrics().Expose().find(
                "etcd_server_client_requests_total{client_api_version=\"unknown\",type=\"unary\"} 2"),
            std::string::npos)
      << metrics().Expose();
}

}  // namespace
}  // namespace vellum
