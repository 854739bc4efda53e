#include <map>
#include <optional>

#include "kv/watch_hub.h"
#include "services/service_test.h"

namespace vellum {
namespace {

class WatchService : public ServiceTest {
 protected:
  static client::WatchRequest All() {
    client::WatchRequest request;
    request.key = "a";
    request.range_end = kFromKeyEnd;
    return request;
  }
};

TEST_F(WatchService, EventsComeAfterTheirConfirmationAndByRevision) {
  const auto stream = OpenWatch();
  client::WatchRequest request = All();
  request.prev_kv = true;
  const auto created = Create(stream.get(), request);
  EXPECT_EQ(created.watch_id, 0);
  EXPECT_EQ(created.revision, 1);
  Put("a", "1");
  Put("a", "2");
  TxnRequest txn;
  txn.success.push_back({PutRequest{.key = "b", .value = "3"}});
  txn.success.push_back({DeleteRangeRequest{.key = "a", .range_end = {}}});
  ASSERT_TRUE(client().Txn(txn).ok());

  std::vector<Event> events;
  while (events.size() < 4) {
    const auto response = Next(stream.get());
    ASSERT_FALSE(response.events.empty());
    EXPECT_EQ(response.revision, response.events.back().kv.mod_revision);
    events.insert(events.end(), response.events.begin(), response.events.end());
  }
  EXPECT_EQ(events[0].kv.value, "1");
  EXPECT_FALSE(events[0].prev_kv.has_value());
  EXPECT_EQ(events[1].prev_kv.value().value, "1");
  EXPECT_EQ(events[2].kv.key, "b");
  EXPECT_EQ(events[3].type, EventType::kDelete);
  EXPECT_EQ(events[3].kv, (KeyValue{.key = "a", .mod_revision = 4, .value = {}}));
  EXPECT_EQ(events[3].prev_kv.value().value, "2");
}

TEST_F(WatchService, HistoryThenLiveThroughARestart) {
  for (int i = 0; i < 5; ++i) Put("a", std::to_string(i));
  Restart();
  const auto stream = OpenWatch();
  client::WatchRequest request = All();
  request.start_revision = 3;
  Create(stream.get(), request);
  Put("a", "live");
  std::vector<Revision> seen;
  while (seen.size() < 5) {
    for (const Event& event : Next(stream.get()).events) seen.push_back(event.kv.mod_revision);
  }
  EXPECT_EQ(seen, (std::vector<Revision>{3, 4, 5, 6, 7}));
}

TEST_F(WatchService, FiltersAndPreviousValuesArePerWatcher) {
  const auto stream = OpenWatch();
  client::WatchRequest puts = All();
  puts.no_delete = true;
  client::WatchRequest deletes = All();
  deletes.no_put = true;
  deletes.prev_kv = true;
  client::WatchRequest nothing = All();
  nothing.no_put = nothing.no_delete = true;
  EXPECT_EQ(Create(stream.get(), puts).watch_id, 0);
  EXPECT_EQ(Create(stream.get(), deletes).watch_id, 1);
  EXPECT_EQ(Create(stream.get(), nothing).watch_id, 2);
  Put("a", "1");
  Call<pb::DeleteRangeResponse>("KV/DeleteRange", DeleteOf("a"));
  std::map<std::int64_t, client::WatchResponse> responses;
  for (int i = 0; i < 2; ++i) {
    auto response = Next(stream.get());
    responses[response.watch_id] = std::move(response);
  }
  ASSERT_EQ(responses[0].events.size(), 1u);
  EXPECT_EQ(responses[0].events[0].type, EventType::kPut);
  EXPECT_FALSE(responses[0].events[0].prev_kv.has_value());
  ASSERT_EQ(responses[1].events.size(), 1u);
  EXPECT_EQ(responses[1].events[0].type, EventType::kDelete);
  EXPECT_EQ(responses[1].events[0].prev_kv.value().value, "1");
  ASSERT_TRUE(stream->RequestProgress());
  EXPECT_EQ(Next(stream.get()).watch_id, -1);  // and nothing for watcher 2 in between
}

TEST_F(WatchService, IdsAreReusedOnceCancelled) {
  const auto stream = OpenWatch();
  client::WatchRequest request = All();
  request.watch_id = 5;
  EXPECT_EQ(Create(stream.get(), request).watch_id, 5);
  ASSERT_TRUE(stream->Cancel(5));
  ASSERT_TRUE(stream->Cancel(5));
  ASSERT_TRUE(stream->Create(request));
  const auto canceled = Next(stream.get());
  EXPECT_EQ(canceled.watch_id, 5);
  EXPECT_TRUE(canceled.canceled);
  const auto created = Next(stream.get());
  EXPECT_EQ(created.watch_id, 5);
  EXPECT_TRUE(created.created);
  EXPECT_FALSE(created.canceled);
  Put("a", "1");
  EXPECT_EQ(Next(stream.get()).events.size(), 1u);
}

TEST_F(WatchService, ServersChoiceSkipsIdsInUse) {
  const auto stream = OpenWatch();
  client::WatchRequest request = All();
  for (const std::int64_t id : {1, 2}) {
    request.watch_id = id;
    EXPECT_EQ(Create(stream.get(), request).watch_id, id);
  }
  request.watch_id = 0;
  EXPECT_EQ(Create(stream.get(), request).watch_id, 0);
  EXPECT_EQ(Create(stream.get(), request).watch_id, 3);
}

TEST_F(WatchService, AnswersToCreatesKeepTheirOrder) {
  const auto stream = OpenWatch();
  client::WatchRequest good = All();
  client::WatchRequest bad = All();
  bad.start_revision = -1;
  constexpr int kRounds = 200;
  for (int i = 0; i < kRounds; ++i) {
    ASSERT_TRUE(stream->Create(good));
    ASSERT_TRUE(stream->Create(bad));
  }
  for (int i = 0; i < kRounds; ++i) {
    EXPECT_EQ(Next(stream.get()).watch_id, i);
    const auto refused = Next(stream.get());
    EXPECT_EQ(refused.watch_id, -1);
    EXPECT_TRUE(refused.created && refused.canceled);
  }
}

TEST_F(WatchService, AnEmptyKeyIsTheLeastOne) {
  const auto stream = OpenWatch();
  client::WatchRequest request;
  request.range_end = kFromKeyEnd;
  Create(stream.get(), request);
  request.range_end.clear();
  Create(stream.get(), request);
  request.range_end = "b";
  Create(stream.get(), request);
  Put("a", "1");
  EXPECT_EQ(Next(stream.get()).events.at(0).kv.key, "a");
  EXPECT_EQ(Next(stream.get()).events.at(0).kv.key, "a");
  Put(std::string("\0", 1), "2");
  std::map<std::int64_t, int> seen;
  for (int i = 0; i < 3; ++i) ++seen[Next(stream.get()).watch_id];
  EXPECT_EQ(seen, (std::map<std::int64_t, int>{{0, 1}, {1, 1}, {2, 1}}));
}

TEST_F(WatchService, HalfCloseKeepsTheWatchersGoing) {
  const auto stream = OpenWatch();
  Create(stream.get(), All());
  ASSERT_TRUE(stream->HalfClose());
  Put("a", "1");
  EXPECT_EQ(Next(stream.get()).events.size(), 1u);
}

TEST_F(WatchService, PeriodicProgressComesWhenNothingElseDoes) {
  const auto stream = OpenWatch();
  client::WatchRequest request = All();
  request.progress_notify = true;
  Create(stream.get(), request);
  Put("elsewhere", "1");
  Next(stream.get());
  // Twice the interval, whatever jitter and recent events say.
  for (int i = 0; i < 4; ++i) {
    clock().Advance(std::chrono::minutes(6));
    engine().watch_hub().Tick();
  }
  const auto progress = Next(stream.get());
  EXPECT_EQ(progress.watch_id, 0);
  EXPECT_EQ(progress.revision, 2);
  EXPECT_TRUE(progress.events.empty());
  EXPECT_FALSE(progress.created);
}

TEST_F(WatchService, CompactionEndsWatchersInThePast) {
  for (int i = 0; i < 5; ++i) Put("a", std::to_string(i));
  ASSERT_TRUE(client().Compact(4).ok());
  const auto stream = OpenWatch();
  client::WatchRequest request = All();
  request.start_revision = 3;
  request.watch_id = 9;
  const auto created = Create(stream.get(), request);
  EXPECT_EQ(created.watch_id, 9);
  EXPECT_FALSE(created.canceled);
  const auto ended = Next(stream.get());
  EXPECT_EQ(ended.watch_id, 9);
  EXPECT_TRUE(ended.canceled);
  EXPECT_EQ(ended.compact_revision, 4);
  EXPECT_EQ(ended.revision, 0);
  EXPECT_TRUE(ended.cancel_reason.empty());
  // The id is free, the stream lives, and C itself is still there.
  request.start_revision = 4;
  Create(stream.get(), request);
  EXPECT_EQ(Next(stream.get()).events.at(0).kv.mod_revision, 4);
}

class SmallMessages : public WatchService {
 protected:
  void SetUp() override {
    limits.request_bytes_max = 10'000;
    limits.fragment_slack_bytes = 0;
    limits.response_bytes_max = 30'000;
    limits.watchers_per_stream_max = 3;
    WatchService::SetUp();
  }
  // One revision of `keys` events of about 4 KB each.
  void PutMany(int keys) {
    TxnRequest txn;
    for (int i = 0; i < keys; ++i) txn.success.push_back({PutRequest{.key = "k" + std::to_string(i), .value = {}}});
    ASSERT_TRUE(client().Txn(txn).ok());
    for (int i = 0; i < keys; ++i) Put("k" + std::to_string(i), std::string(4000, 'v'));
    DeleteRangeRequest erase;
    erase.key = "k";
    erase.range_end = "l";
    ASSERT_TRUE(client().DeleteRange(erase).ok());
  }
};

TEST_F(SmallMessages, FragmentsAreWholeEventsWithTheSameHeader) {
  const auto stream = OpenWatch();
  client::WatchRequest request = All();
  request.fragment = true;
  request.prev_kv = true;
  request.no_put = true;
  Create(stream.get(), request);
  PutMany(10);
  std::size_t events = 0;
  std::size_t parts = 0;
  for (bool more = true; more;) {
    const auto response = Next(stream.get());
    EXPECT_EQ(response.revision, 13);
    EXPECT_EQ(response.watch_id, 0);
    EXPECT_FALSE(response.events.empty());
    std::size_t bytes = 0;
    for (const Event& event : response.events) bytes += event.prev_kv.value().value.size();
    EXPECT_LT(bytes, 10'000u);
    events += response.events.size();
    ++parts;
    more = response.fragment;
  }
  EXPECT_EQ(events, 10u);
  EXPECT_EQ(parts, 5u);
}

TEST_F(SmallMessages, AResponseThatNoMessageCanHoldEndsTheWatcherWithAReason) {
  const auto stream = OpenWatch();
  client::WatchRequest request = All();
  request.prev_kv = true;
  request.no_put = true;
  Create(stream.get(), request);
  client::WatchRequest small = All();
  small.no_put = true;
  EXPECT_EQ(Create(stream.get(), small).watch_id, 1);
  PutMany(10);
  std::map<std::int64_t, client::WatchResponse> responses;
  for (int i = 0; i < 2; ++i) {
    auto response = Next(stream.get());
    responses[response.watch_id] = std::move(response);
  }
  EXPECT_TRUE(responses[0].canceled);
  EXPECT_NE(responses[0].cancel_reason.find("30000"), std::string::npos) << responses[0].cancel_reason;
  EXPECT_TRUE(responses[0].events.empty());
  EXPECT_FALSE(responses[1].canceled);
  EXPECT_EQ(responses[1].events.size(), 10u);
  Put("k", "more");
  ASSERT_TRUE(stream->RequestProgress());
  EXPECT_EQ(Next(stream.get()).watch_id, -1);  // nothing more of the watcher that was ended
}

TEST_F(SmallMessages, WatchersOfAStreamAreLimited) {
  const auto stream = OpenWatch();
  for (int i = 0; i < 3; ++i) EXPECT_FALSE(Create(stream.get(), All()).canceled);
  const auto refused = Create(stream.get(), All());
  EXPECT_TRUE(refused.canceled);
  EXPECT_EQ(refused.watch_id, -1);
  EXPECT_EQ(refused.cancel_reason, "etcdserver: too many requests");
  ASSERT_TRUE(stream->Cancel(0));
  EXPECT_TRUE(Next(stream.get()).canceled);
  EXPECT_FALSE(Create(stream.get(), All()).canceled);
}

TEST_F(WatchService, ASlowReaderMissesNothing) {
  const auto stream = OpenWatch();
  Create(stream.get(), All());
  // More than all buffers between the store and a client that does not read hold together.
  constexpr int kPuts = 300;
  const std::string value(64 << 10, 'v');
  for (int i = 0; i < kPuts; ++i) Put("a", value);
  Revision expected = 2;
  while (expected < kPuts + 2) {
    const auto response = Next(stream.get());
    ASSERT_FALSE(response.canceled);
    ASSERT_FALSE(response.events.empty());
    for (const Event& event : response.events) {
      ASSERT_EQ(event.kv.mod_revision, expected++);
      ASSERT_EQ(event.kv.value.size(), value.size());
    }
  }
}

TEST_F(WatchService, StreamsAndWatchersAreCountedAndGo) {
  // The hub counts at the end of a turn, after the answer that says "created" has left.
  const auto counts = [this](std::size_t watchers, const char* streams) {
    const auto deadline = std::chrono::steady_clock::now() + kPatience;
    const auto agree = [&] {
      return engine().watch_hub().watchers() == watchers && metrics().Expose().find(streams) != std::string::npos;
    };
    while (!agree() && std::chrono::steady_clock::now() < deadline) Current();
    return agree();
  };
  EXPECT_EQ(engine().watch_hub().watchers(), 0u);
  {
    const auto stream = OpenWatch();
    Create(stream.get(), All());
    EXPECT_TRUE(counts(1, "\netcd_debugging_mvcc_watch_stream_total 1"));
  }
  // The stream was cancelled; the server hears of it soon.
  EXPECT_TRUE(counts(0, "\netcd_debugging_mvcc_watch_stream_total 0"));
}

}  // namespace
}  // namespace vellum
