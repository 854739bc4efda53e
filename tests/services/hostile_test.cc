// Bytes that no decent client sends, to every method that is served: an answer or an error, and a server that goes on.
#include <random>
#include <set>

#include "services/service_test.h"

namespace vellum {
namespace {

// Valid messages to start from, so that mutations get past the parser.
std::vector<std::pair<std::string, std::string>> Samples() {
  std::vector<std::pair<std::string, std::string>> samples;
  const auto add = [&samples](const std::string& method, const google::protobuf::Message& message) {
    samples.emplace_back("/etcdserverpb." + method, message.SerializeAsString());
  };
  pb::RangeRequest range = RangeOf("a", "z");
  range.set_limit(5);
  range.set_revision(3);
  range.set_sort_order(pb::RangeRequest::DESCEND);
  range.set_sort_target(pb::RangeRequest::VALUE);
  range.set_min_mod_revision(1);
  add("KV/Range", range);
  pb::PutRequest put = PutOf("key", "value");
  put.set_prev_kv(true);
  put.set_lease(7);
  add("KV/Put", put);
  pb::DeleteRangeRequest erase = DeleteOf("a", "z");
  erase.set_prev_kv(true);
  add("KV/DeleteRange", erase);
  pb::TxnRequest txn;
  pb::Compare* compare = txn.add_compare();
  compare->set_key("a");
  compare->set_range_end("z");
  compare->set_target(pb::Compare::VALUE);
  compare->set_value("x");
  *txn.add_success()->mutable_request_put() = PutOf("k", "v");
  *txn.add_success()->mutable_request_range() = range;
  *txn.add_failure()->mutable_request_txn()->add_success()->mutable_request_delete_range() = erase;
  add("KV/Txn", txn);
  pb::CompactionRequest compaction;
  compaction.set_revision(2);
  add("KV/Compact", compaction);
  pb::LeaseGrantRequest grant;
  grant.set_ttl(60);
  grant.set_id(7);
  add("Lease/LeaseGrant", grant);
  pb::LeaseRevokeRequest revoke;
  revoke.set_id(7);
  add("Lease/LeaseRevoke", revoke);
  pb::LeaseTimeToLiveRequest time_to_live;
  time_to_live.set_id(7);
  time_to_live.set_keys(true);
  add("Lease/LeaseTimeToLive", time_to_live);
  pb::HashKVRequest hash;
  hash.set_revision(2);
  add("Maintenance/HashKV", hash);
  pb::DowngradeRequest downgrade;
  downgrade.set_version("3.5.0");
  add("Maintenance/Downgrade", downgrade);
  pb::MemberAddRequest member;
  member.add_peerurls("http://[fe80::1]:1");
  add("Cluster/MemberAdd", member);
  for (const char* method : {"Lease/LeaseLeases", "Maintenance/Status", "Maintenance/Hash", "Maintenance/MoveLeader",
                             "Cluster/MemberList", "Cluster/MemberRemove", "Cluster/MemberUpdate"}) {
    add(method, pb::StatusRequest());
  }
  return samples;
}

std::string Mutate(std::string bytes, std::mt19937_64* random) {
  const auto pick = [random](std::size_t n) { return static_cast<std::size_t>((*random)() % n); };
  for (std::size_t edits = 1 + pick(4); edits > 0; --edits) {
    const char byte = static_cast<char>((*random)());
    switch (pick(4)) {
      case 0:
        if (!bytes.empty()) bytes[pick(bytes.size())] = byte;
        break;
      case 1:
        bytes.insert(pick(bytes.size() + 1), 1, byte);
        break;
      case 2:
        if (!bytes.empty()) bytes.resize(pick(bytes.size()));
        break;
      default:
        if (!bytes.empty()) bytes += bytes.substr(pick(bytes.size()));
        break;
    }
  }
  return bytes;
}

using Hostile = ServiceTest;

TEST_F(Hostile, MutatedRequestsToEveryMethod) {
  const std::uint64_t seed = std::random_device{}();
  SCOPED_TRACE("seed " + std::to_string(seed));
  std::mt19937_64 random(seed);
  const auto samples = Samples();
  for (int i = 0; i < 1500; ++i) {
    const auto& [method, bytes] = samples[static_cast<std::size_t>(random() % samples.size())];
    const auto answer = client().Call(method, Mutate(bytes, &random));
    if (answer.ok()) continue;
    // An error of the call, not of the connection or of a server that went away.
    ASSERT_NE(answer.error().code(), Code::kUnavailable) << method << ": " << answer.error().ToString();
    ASSERT_NE(answer.error().code(), Code::kDeadlineExceeded) << method;
  }
  const Revision before = Current();
  EXPECT_EQ(Put("after", "all"), before + 1);
}

TEST_F(Hostile, WatchRequestsAtRandom) {
  const std::uint64_t seed = std::random_device{}();
  SCOPED_TRACE("seed " + std::to_string(seed));
  std::mt19937_64 random(seed);
  const auto pick = [&random](std::int64_t n) { return static_cast<std::int64_t>(random() % static_cast<std::uint64_t>(n)); };
  for (int round = 0; round < 5; ++round) {
    const auto stream = OpenWatch();
    int creates = 0;
    for (int i = 0; i < 200; ++i) {
      client::WatchRequest request;
      request.key = std::string(static_cast<std::size_t>(pick(2)), static_cast<char>('a' + pick(3)));
      request.range_end = std::string(static_cast<std::size_t>(pick(2)), static_cast<char>(pick(2) == 0 ? 0 : 'b'));
      request.start_revision = pick(20) - 3;
      request.watch_id = pick(6) - 2;
      request.prev_kv = pick(2) == 0;
      request.fragment = pick(2) == 0;
      switch (pick(4)) {
        case 0:
          ASSERT_TRUE(stream->Cancel(pick(6) - 2));
          break;
        case 1:
          ASSERT_TRUE(stream->RequestProgress());
          break;
        default:
          ASSERT_TRUE(stream->Create(request));
          ++creates;
          break;
      }
      if (i % 20 == 0) Put(std::string(1, static_cast<char>('a' + pick(3))), "x");
    }
    // Each create is answered once, and every event belongs to a watcher that was confirmed and has not ended.
    std::set<std::int64_t> confirmed;
    while (creates > 0) {
      const auto response = Next(stream.get());
      ASSERT_FALSE(HasFailure());
      if (response.created) --creates;
      if (response.created && !response.canceled) {
        EXPECT_TRUE(confirmed.insert(response.watch_id).second);
      }
      if (response.canceled && !response.created) {
        EXPECT_EQ(confirmed.erase(response.watch_id), 1u);
      }
      if (!response.events.empty()) {
        EXPECT_TRUE(confirmed.contains(response.watch_id));
      }
    }
  }
  EXPECT_GT(Current(), 1);
}

TEST_F(Hostile, AKeepAliveStreamThatIsNeverReadHoldsUpNobody) {
  ASSERT_TRUE(client().LeaseGrant(100, 1).ok());
  auto flooded = Connect();
  auto stream = flooded->KeepAlive();
  ASSERT_TRUE(stream.ok());
  // The client's reader stops at a few hundred answers; the rest stays on its way.
  for (int i = 0; i < 20'000; ++i) ASSERT_TRUE((*stream)->Renew(1));
  EXPECT_EQ(*client().LeaseKeepAliveOnce(1), 100);
  EXPECT_EQ(Put("a", "1"), 2);
  for (int i = 0; i < 20'000; ++i) {
    const auto answer = (*stream)->Next(kPatience);
    ASSERT_TRUE(answer.ok()) << answer.error().ToString();
    ASSERT_EQ(answer->ttl_s, 100);
  }
}

}  // namespace
}  // namespace vellum
