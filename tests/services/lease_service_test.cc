#include "kv/lessor.h"
#include "services/service_test.h"

namespace vellum {
namespace {

using LeaseService = ServiceTest;

TEST_F(LeaseService, KeepAlivesAreAnsweredInOrder) {
  for (const LeaseId id : {LeaseId{10}, LeaseId{20}}) ASSERT_TRUE(client().LeaseGrant(100 + id, id).ok());
  auto stream = client().KeepAlive();
  ASSERT_TRUE(stream.ok());
  constexpr int kRounds = 100;
  for (int i = 0; i < kRounds; ++i) {
    for (const LeaseId id : {10, 999, 20, -1}) ASSERT_TRUE((*stream)->Renew(id));
  }
  for (int i = 0; i < kRounds; ++i) {
    for (const LeaseId id : {10, 999, 20, -1}) {
      const auto answer = (*stream)->Next(kPatience);
      ASSERT_TRUE(answer.ok()) << answer.error().ToString();
      EXPECT_EQ(answer->id, id);
      EXPECT_EQ(answer->ttl_s, id == 10 ? 110 : id == 20 ? 120 : 0);
      EXPECT_EQ(answer->revision, 1);
    }
  }
}

TEST_F(LeaseService, HalfCloseEndsTheStreamWellAfterTheLastAnswer) {
  auto stream = client().KeepAlive();
  ASSERT_TRUE(stream.ok());
  ASSERT_TRUE((*stream)->Renew(5));
  ASSERT_TRUE((*stream)->HalfClose());
  const auto answer = (*stream)->Next(kPatience);
  ASSERT_TRUE(answer.ok()) << answer.error().ToString();
  EXPECT_EQ(answer->id, 5);
  const auto end = (*stream)->Next(kPatience);
  EXPECT_EQ(end.error().code(), Code::kCancelled);
  EXPECT_EQ(end.error().message(), "the call has ended");  // which is how this client reports OK
}

TEST_F(LeaseService, ExpiryDeletesTheKeysInOneRevision) {
  ASSERT_TRUE(client().LeaseGrant(10, 7).ok());
  ASSERT_TRUE(client().LeaseGrant(1000, 8).ok());
  Put("x", "1", 7);
  Put("y", "2", 7);
  Put("z", "3", 8);
  const auto watch = OpenWatch();
  client::WatchRequest request;
  request.key = "a";
  request.range_end = kFromKeyEnd;
  request.prev_kv = true;
  Create(watch.get(), request);

  clock().Advance(std::chrono::seconds(9));
  engine().lessor().Tick();
  EXPECT_EQ(client().LeaseTimeToLive(7)->ttl_s, 1);
  EXPECT_EQ(*client().Leases(), (std::vector<LeaseId>{7, 8}));
  clock().Advance(std::chrono::seconds(3));
  engine().lessor().Tick();

  const auto response = Next(watch.get());
  EXPECT_EQ(response.revision, 5);
  ASSERT_EQ(response.events.size(), 2u);
  EXPECT_EQ(response.events[0].kv.key, "x");
  EXPECT_EQ(response.events[1].kv.key, "y");
  for (const Event& event : response.events) {
    EXPECT_EQ(event.type, EventType::kDelete);
    EXPECT_EQ(event.kv.mod_revision, 5);
    EXPECT_EQ(event.prev_kv.value().lease, 7);
  }
  EXPECT_EQ(client().LeaseTimeToLive(7)->ttl_s, -1);
  EXPECT_EQ(*client().Leases(), std::vector<LeaseId>{8});
  EXPECT_EQ(*client().LeaseKeepAliveOnce(7), 0);
  EXPECT_EQ(*client().LeaseKeepAliveOnce(8), 1000);
}

TEST_F(LeaseService, RenewalGivesTheFullTimeAgain) {
  ASSERT_TRUE(client().LeaseGrant(10, 7).ok());
  clock().Advance(std::chrono::seconds(8));
  EXPECT_EQ(*client().LeaseKeepAliveOnce(7), 10);
  clock().Advance(std::chrono::seconds(8));
  engine().lessor().Tick();
  const auto remaining = client().LeaseTimeToLive(7, true);
  ASSERT_TRUE(remaining.ok());
  EXPECT_EQ(remaining->ttl_s, 2);
  EXPECT_EQ(remaining->granted_ttl_s, 10);
  EXPECT_TRUE(remaining->keys.empty());
}

TEST_F(LeaseService, TheServerPicksPositiveIds) {
  const auto first = client().LeaseGrant(10);
  const auto second = client().LeaseGrant(10);
  ASSERT_TRUE(first.ok() && second.ok());
  EXPECT_GT(first->id, 0);
  EXPECT_GT(second->id, 0);
  EXPECT_NE(first->id, second->id);
}

TEST_F(LeaseService, TimeToLiveListsKeysOfThatLeaseOnly) {
  ASSERT_TRUE(client().LeaseGrant(100, 1).ok());
  ASSERT_TRUE(client().LeaseGrant(100, -1).ok());
  Put("b", "", 1);
  Put("a", "", 1);
  Put("c", "", -1);
  Put("moved", "", 1);
  Put("moved", "", -1);
  EXPECT_EQ(client().LeaseTimeToLive(1, true)->keys, (std::vector<std::string>{"a", "b"}));
  EXPECT_EQ(client().LeaseTimeToLive(-1, true)->keys, (std::vector<std::string>{"c", "moved"}));
  EXPECT_TRUE(client().LeaseTimeToLive(1, false)->keys.empty());
}

}  // namespace
}  // namespace vellum
