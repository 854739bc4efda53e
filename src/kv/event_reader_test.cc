#include <gtest/gtest.h>

#include <algorithm>

#include "base/test_random.h"
#include "kv/test_store.h"
#include "kv/view.h"

namespace vellum::kv {
namespace {

EventQuery Query(Revision from, Revision to, std::vector<KeyInterval> intervals = {KeyInterval::Everything()}) {
  EventQuery query;
  query.from = from;
  query.to = to;
  query.intervals = std::move(intervals);
  return query;
}

EventBatch MustRead(const View& view, const EventQuery& query) {
  auto batch = ReadEvents(view, query);
  EXPECT_TRUE(batch.ok()) << batch.error().ToString();
  return batch.ok() ? *std::move(batch) : EventBatch{};
}

using Put = TestStore::Put;
using Delete = TestStore::Delete;

TEST(KvEvents, SeveralChangesOfAKeyInOneRevisionAreAllThere) {
  TestStore store;
  store.ApplyPut("a", "old");
  store.Apply({Put{"a", "1"}, Delete{KeyInterval::SingleKey("a")}});
  store.ApplyPut("a", "old");
  store.Apply({Delete{KeyInterval::SingleKey("a")}, Put{"a", "4"}, Delete{KeyInterval::SingleKey("a")}});
  store.Apply({Put{"a", "5"}, Delete{KeyInterval::SingleKey("a")}});
  const auto view = store.Publish();
  const auto events = [&](Revision revision) {
    const auto batch = MustRead(*view, Query(revision, revision));
    EXPECT_EQ(batch.next, revision + 1);
    EXPECT_EQ(batch.revisions.size(), 1u);
    return batch.revisions.at(0).events;
  };
  const KeyValue old3{"a", 2, 2, 1, "old", 0}, old5{"a", 4, 4, 1, "old", 0};
  const auto deleted = [](Revision revision) { return KeyValue{"a", 0, revision, 0, "", 0}; };
  using Type = EventType;
  EXPECT_EQ(events(3), (std::vector<Event>{{Type::kPut, {"a", 2, 3, 2, "1", 0}, old3},
                                           {Type::kDelete, deleted(3), old3}}));
  EXPECT_EQ(events(5), (std::vector<Event>{{Type::kDelete, deleted(5), old5},
                                           {Type::kPut, {"a", 5, 5, 1, "4", 0}, std::nullopt},
                                           {Type::kDelete, deleted(5), old5}}));
  EXPECT_EQ(events(6), (std::vector<Event>{{Type::kPut, {"a", 6, 6, 1, "5", 0}, std::nullopt},
                                           {Type::kDelete, deleted(6), std::nullopt}}));
}

TEST(KvEvents, ADeleteExactlyAtCIsDeliveredAfterReclaiming) {
  TestStore store;
  store.ApplyPut("a", "1");
  store.ApplyDelete("a");
  store.ApplyPut("b", "1");
  const auto before = MustRead(*store.Publish(), Query(3, 3));
  EXPECT_TRUE(before.revisions.at(0).events.at(0).prev_kv.has_value());
  store.Compact(3);
  for (int round = 0; round < 2; ++round) {
    const auto view = store.Publish();
    const auto batch = MustRead(*view, Query(3, 9));
    ASSERT_EQ(batch.revisions.size(), 2u);
    EXPECT_EQ(batch.revisions[0].events, (std::vector<Event>{{EventType::kDelete, {"a", 0, 3, 0, "", 0}, std::nullopt}}));
    EXPECT_EQ(batch.next, 5);
    EXPECT_EQ(ReadEvents(*view, Query(2, 9)).error().reason(), Reason::kCompacted);
    EXPECT_EQ(ReadEvents(*view, Query(2, 9)).error().message(), "required revision has been compacted");
    store.Reclaim();
  }
}

TEST(KvEvents, LimitsNeverSplitARevisionAndAlwaysAdvance) {
  TestStore store;
  for (int i = 0; i < 10; ++i) store.Apply({Put{"a", "1"}, Put{"b", std::string(1000, 'x')}, Put{"c", "1"}});
  const auto view = store.Publish();
  auto query = Query(2, 11);
  query.revisions_max = 3;
  auto batch = MustRead(*view, query);
  EXPECT_EQ(batch.revisions.size(), 3u);
  EXPECT_EQ(batch.next, 5);
  query.revisions_max = 100;
  query.bytes_max = 1;
  batch = MustRead(*view, query);
  EXPECT_EQ(batch.revisions.size(), 1u);
  EXPECT_EQ(batch.revisions[0].events.size(), 3u);
  EXPECT_EQ(batch.next, 3);
  query.intervals = {KeyInterval::SingleKey("nothing")};
  query.scan_bytes_max = 1;
  batch = MustRead(*view, query);
  EXPECT_TRUE(batch.revisions.empty());
  EXPECT_EQ(batch.next, 3);
  query.scan_bytes_max = 1u << 20;
  EXPECT_EQ(MustRead(*view, query).next, 12);
  EXPECT_EQ(MustRead(*view, Query(12, 20)).next, 12);
  EXPECT_EQ(MustRead(*view, Query(5, 4)).next, 5);
}

TEST(KvEvents, MissingRecordsAreDataLoss) {
  TestStore store;
  store.ApplyPut("a", "1");
  store.ApplyPut("a", "2");
  storage::Batch batch;
  batch.Delete(kHistory, HistoryKey("a", 2));
  ASSERT_TRUE(store.database().Write(std::move(batch)).ok());
  const auto view = store.Publish();
  EXPECT_EQ(ReadEvents(*view, Query(2, 3)).error().code(), Code::kDataLoss);
  EXPECT_EQ(ReadEvents(*view, Query(3, 3)).error().code(), Code::kDataLoss);
  auto without = Query(3, 3);
  without.with_previous = false;
  EXPECT_TRUE(ReadEvents(*view, without).ok());
}

std::string RandomKey(std::mt19937_64& random) { return std::string(1 + random() % 2, "\0\1\xff" "ab"[random() % 5]); }

/// What was applied, cut to the query: the reference of the next test.
std::vector<Event> Expected(const TestStore& store, const EventQuery& query, Revision revision, Revision compacted) {
  std::vector<Event> events;
  for (Event event : store.EventsAt(revision)) {
    const bool wanted = std::any_of(query.intervals.begin(), query.intervals.end(),
                                    [&](const KeyInterval& interval) { return interval.Contains(event.kv.key); });
    if (!wanted) continue;
    if (!query.with_previous || revision == compacted) event.prev_kv.reset();
    events.push_back(std::move(event));
  }
  return events;
}

TEST(KvEvents, AgreeWithWhatWasApplied) {
  auto random = SeededRandom();
  TestStore store;
  for (int step = 0; step < 300; ++step) {
    std::vector<TestStore::Change> changes;
    const std::string put = RandomKey(random);
    if (random() % 2 == 0) changes.push_back(Delete{KeyInterval::SingleKey(RandomKey(random))});
    if (random() % 3 != 0) changes.push_back(Put{put, std::to_string(step), static_cast<LeaseId>(random() % 3)});
    if (random() % 3 == 0) changes.push_back(Delete{{RandomKey(random), RandomKey(random)}});
    if (random() % 3 == 0) changes.push_back(Put{put + "other", "v"});
    store.Apply(changes);
    if (random() % 50 == 0) store.Compact(std::max<Revision>(store.mark().published, store.revision() - 30));
    if (random() % 70 == 0) store.Reclaim();
    if (step % 5 != 0 || store.revision() < 3) continue;

    const auto view = store.Publish();
    const Revision compacted = store.mark().published;
    const Revision least = std::max<Revision>(compacted, 1);
    auto query = Query(least + static_cast<Revision>(random() % static_cast<std::uint64_t>(store.revision() - least + 1)),
                       store.revision() + 3);
    query.intervals.clear();
    for (std::uint64_t n = 1 + random() % 3; n > 0; --n) {
      query.intervals.push_back(random() % 3 == 0 ? KeyInterval{RandomKey(random), std::nullopt}
                                                  : KeyInterval{RandomKey(random), RandomKey(random)});
    }
    query.with_previous = random() % 3 != 0;
    query.revisions_max = 1 + random() % 10;
    query.bytes_max = 1 + random() % 3000;
    query.scan_bytes_max = 1 + random() % 3000;
    while (query.from <= store.revision()) {
      const auto batch = MustRead(*view, query);
      ASSERT_GT(batch.next, query.from);
      ASSERT_LE(batch.revisions.size(), query.revisions_max);
      auto got = batch.revisions.begin();
      for (Revision revision = query.from; revision < batch.next; ++revision) {
        const auto want = Expected(store, query, revision, compacted);
        if (want.empty()) continue;
        ASSERT_NE(got, batch.revisions.end());
        ASSERT_EQ(got->revision, revision);
        ASSERT_EQ(got->events, want);
        ++got;
      }
      ASSERT_EQ(got, batch.revisions.end());
      query.from = batch.next;
    }
  }
}

}  // namespace
}  // namespace vellum::kv
