#include "vellum/store.h"

#include <gtest/gtest.h>

#include <thread>

#include "base/manual_clock.h"
#include "base/test_dir.h"

namespace vellum {
namespace {

using namespace std::chrono_literals;

class KvStore : public ::testing::Test {
 protected:
  void SetUp() override {
    options_.directory = dir_.path() + "/data";
    options_.free_space_floor_bytes = 0;
    Open();
  }
  void Open() {
    store_.reset();
    auto store = Store::Open(options_);
    ASSERT_TRUE(store.ok()) << store.error().ToString();
    store_ = *std::move(store);
  }
  Result<PutResponse> Put(std::string key, std::string value) {
    return store_->Put({.key = std::move(key), .value = std::move(value)});
  }

  TestDir dir_;
  ManualClock clock_;
  StoreOptions options_;
  std::unique_ptr<Store> store_;
};

TEST_F(KvStore, KeysComeBackAlsoAfterReopening) {
  ASSERT_TRUE(Put("a", "1").ok());
  ASSERT_TRUE(Put("b", "2").ok());
  EXPECT_EQ((*store_->Get("a"))->value, "1");
  EXPECT_FALSE((*store_->Get("c")).has_value());
  EXPECT_EQ(store_->Get("").error().reason(), Reason::kKeyEmpty);
  EXPECT_EQ(store_->Range({.key = "a", .range_end = "z"})->count, 2);
  EXPECT_EQ(store_->DeleteRange({.key = "b"})->deleted, 1);
  ASSERT_TRUE(store_->Close().ok());
  EXPECT_EQ(Put("a", "2").error().reason(), Reason::kStopped);
  EXPECT_EQ(store_->Get("a").error().reason(), Reason::kStopped);
  Open();
  EXPECT_EQ((*store_->Get("a"))->value, "1");
  EXPECT_EQ(store_->Info().revision, 4);
  EXPECT_EQ(store_->Info().keys, 1);
}

TEST_F(KvStore, ReadOnlyTransactionsAreNotLogged) {
  ASSERT_TRUE(Put("a", "1").ok());
  TxnRequest txn;
  txn.compares.push_back({.target = CompareTarget::kVersion, .key = "a", .number = 1});
  txn.success.push_back({RangeRequest{.key = "a"}});
  txn.failure.push_back({RangeRequest{.key = "b"}});
  const auto response = store_->Txn(txn);
  ASSERT_TRUE(response.ok());
  EXPECT_TRUE(response->succeeded);
  EXPECT_EQ(std::get<RangeResponse>(response->responses.at(0).response).kvs.at(0).value, "1");
  EXPECT_EQ(response->revision, 2);
  txn.success[0] = {RangeRequest{.key = "a", .revision = 9}};
  EXPECT_EQ(store_->Txn(txn).error().reason(), Reason::kFutureRevision);
  txn.success[0] = {RangeRequest{.key = ""}};
  EXPECT_EQ(store_->Txn(txn).error().reason(), Reason::kKeyEmpty);
}

TEST_F(KvStore, WatchesSeeHistoryAndWhatFollows) {
  ASSERT_TRUE(Put("a", "1").ok());
  ASSERT_TRUE(Put("a", "2").ok());
  auto watch = store_->Watch({.key = "a", .start = 2, .prev_kv = true});
  ASSERT_TRUE(watch.ok());
  ASSERT_TRUE(Put("b", "x").ok());
  ASSERT_TRUE(store_->DeleteRange({.key = "a"}).ok());
  std::vector<Event> events;
  while (events.size() < 3) {
    auto batch = (*watch)->Next(20s);
    ASSERT_TRUE(batch.ok()) << batch.error().ToString();
    ASSERT_TRUE(batch->has_value());
    events.insert(events.end(), (*batch)->events.begin(), (*batch)->events.end());
  }
  ASSERT_EQ(events.size(), 3u);
  EXPECT_EQ(events[0].kv.value, "1");
  EXPECT_FALSE(events[0].prev_kv.has_value());
  EXPECT_EQ(events[1].prev_kv->value, "1");
  EXPECT_EQ(events[2].type, EventType::kDelete);
  EXPECT_EQ(events[2].kv.mod_revision, 5);
  EXPECT_FALSE((*(*watch)->Next(0ms)).has_value());
  ASSERT_TRUE(store_->Compact(4).ok());
  auto late = store_->Watch({.key = "a", .start = 2});
  ASSERT_TRUE(late.ok());
  EXPECT_EQ((*late)->Next(20s).error().reason(), Reason::kCompacted);
}

TEST_F(KvStore, WatchesEndWithCancelAndWithTheStore) {
  auto first = *store_->Watch({.key = "a"});
  auto second = *store_->Watch({.key = "a"});
  std::thread waiting([&] { EXPECT_EQ(second->Next(60s).error().reason(), Reason::kStopped); });
  first->Cancel();
  EXPECT_EQ(first->Next(60s).error().code(), Code::kCancelled);
  ASSERT_TRUE(store_->Close().ok());
  waiting.join();
  store_.reset();
  EXPECT_EQ(second->Next(0ms).error().reason(), Reason::kStopped);
  second->Cancel();
  Open();  // a watch that is still there does not keep the directory
}

TEST_F(KvStore, AWatchThatIsReadLateLosesNothing) {
  auto watch = *store_->Watch({.key = "a"});
  constexpr int kPuts = 100;
  for (int i = 0; i < kPuts; ++i) ASSERT_TRUE(Put("a", std::string(100'000, 'x') + std::to_string(i)).ok());
  int seen = 0;
  while (seen < kPuts) {
    auto batch = watch->Next(20s);
    ASSERT_TRUE(batch.ok() && batch->has_value());
    for (const Event& event : (*batch)->events) {
      EXPECT_TRUE(event.kv.value.ends_with("x" + std::to_string(seen)));
      ++seen;
    }
  }
}

TEST_F(KvStore, LeasesHaveKeys) {
  const auto lease = store_->LeaseGrant(100);
  ASSERT_TRUE(lease.ok());
  EXPECT_GT(lease->id, 0);
  ASSERT_TRUE(store_->Put({.key = "l2", .value = "1", .lease = lease->id}).ok());
  ASSERT_TRUE(store_->Put({.key = "l1", .value = "1", .lease = lease->id}).ok());
  EXPECT_EQ(*store_->LeaseKeepAlive(lease->id), 100);
  EXPECT_EQ(*store_->LeaseKeepAlive(12345), 0);
  const auto remaining = store_->LeaseTimeToLive(lease->id, Store::LeaseKeys::kInclude);
  EXPECT_EQ(remaining->keys, (std::vector<std::string>{"l1", "l2"}));
  EXPECT_EQ(remaining->granted_ttl_s, 100);
  EXPECT_EQ(store_->LeaseTimeToLive(999, Store::LeaseKeys::kOmit)->ttl_s, -1);
  EXPECT_EQ(*store_->LeaseList(), std::vector<LeaseId>{lease->id});
  EXPECT_EQ(store_->LeaseGrant(5, lease->id).error().code(), Code::kAlreadyExists);
  EXPECT_EQ(*store_->LeaseRevoke(lease->id), 4);
  EXPECT_EQ(store_->LeaseRevoke(lease->id).error().code(), Code::kNotFound);
  EXPECT_EQ(store_->Info().keys, 0);
}

TEST_F(KvStore, CompactsByItself) {
  options_.clock = &clock_;
  options_.revisions_kept = 10;
  options_.compaction_interval = 1h;
  Open();
  for (int i = 0; i < 30; ++i) ASSERT_TRUE(Put("a", std::to_string(i)).ok());
  EXPECT_EQ(store_->Info().compacted, kNeverCompacted);
  const auto deadline = std::chrono::steady_clock::now() + 30s;
  while (store_->Info().compacted < 21 && std::chrono::steady_clock::now() < deadline) {
    clock_.Advance(1h);
    std::this_thread::yield();
  }
  EXPECT_EQ(store_->Info().compacted, 21);
}

TEST_F(KvStore, OptionsAreChecked) {
  options_.lease_ttl_min = 0s;
  EXPECT_EQ(Store::Open(options_).error().code(), Code::kInvalidArgument);
  options_ = {};
  EXPECT_EQ(Store::Open(options_).error().code(), Code::kInvalidArgument);
}

TEST_F(KvStore, HashInfoAndMetricsTellWhatIsThere) {
  ASSERT_TRUE(Put("a", "1").ok());
  const auto hash = store_->Hash(0);
  ASSERT_TRUE(hash.ok());
  EXPECT_EQ(hash->revision, 2);
  EXPECT_NE(hash->hash, 0u);
  EXPECT_FALSE(store_->Info().space_alarm);
  EXPECT_TRUE(store_->Info().writer.ok());
  EXPECT_NE(store_->Metrics().find("etcd_mvcc_put_total 1"), std::string::npos);
  EXPECT_TRUE(store_->Defragment().ok());
}

}  // namespace
}  // namespace vellum
