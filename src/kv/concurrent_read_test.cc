#include <gtest/gtest.h>

#include <atomic>
#include <thread>

#include "base/mutex.h"
#include "base/test_random.h"
#include "kv/hash.h"
#include "kv/test_store.h"
#include "kv/view.h"

namespace vellum::kv {
namespace {

/// A store that one thread changes, compacts and reclaims while others read it.
class SharedStore {
 public:
  void Change(std::mt19937_64& random) {
    MutexLock lock(&mu_);
    std::vector<TestStore::Change> changes = {TestStore::Put{Key(random), std::to_string(random())}};
    if (random() % 3 == 0) changes.push_back(TestStore::Delete{KeyInterval::SingleKey(Key(random))});
    store_.Apply(changes);
    view_ = store_.Publish();
  }
  void Compact(Revision distance) {
    MutexLock lock(&mu_);
    store_.Compact(std::max<Revision>(store_.mark().published, store_.revision() - distance));
  }
  /// Beside readers, without the lock: this is what they must survive.
  void Reclaim() { store_.Reclaim(); }

  struct Position {
    std::shared_ptr<const View> view;
    Revision revision = 0;
    TestStore::State state;
    std::vector<Event> events;
  };
  Position Pick(std::mt19937_64& random) {
    MutexLock lock(&mu_);
    Position position;
    position.view = view_;
    const Revision back = static_cast<Revision>(random() % 60);
    position.revision = std::max<Revision>(2, view_->revision() - back);
    position.state = store_.StateAt(position.revision);
    position.events = store_.EventsAt(position.revision);
    return position;
  }

  static std::string Key(std::mt19937_64& random) { return "key" + std::to_string(random() % 300); }

 private:
  Mutex mu_;
  TestStore store_;
  std::shared_ptr<const View> view_ VELLUM_GUARDED_BY(mu_);
};

void ReadState(const SharedStore::Position& at, std::mt19937_64& random) {
  RangeRequest request;
  request.key = SharedStore::Key(random);
  request.range_end = "z";
  request.revision = at.revision;
  if (random() % 2 == 0) request.limit = 5;
  request.count_only = random() % 3 == 0;
  const auto response = ReadRange(*at.view, request);
  if (!response.ok()) {
    EXPECT_EQ(response.error().reason(), Reason::kCompacted) << response.error().ToString();
    EXPECT_NE(at.revision, at.view->revision());
    return;
  }
  std::int64_t count = 0;
  for (auto key = at.state.lower_bound(request.key); key != at.state.end(); ++key, ++count) {
    const auto index = static_cast<std::size_t>(count);
    if (index < response->kvs.size()) {
      EXPECT_EQ(response->kvs[index], key->second);
    }
  }
  EXPECT_EQ(response->count, count);
}

void ReadItsEvents(const SharedStore::Position& at) {
  EventQuery query;
  query.from = at.revision;
  query.to = at.view->revision();  // more than is compared: it takes time, in which things may go
  query.intervals = {KeyInterval::Everything()};
  const auto batch = ReadEvents(*at.view, query);
  if (!batch.ok()) {
    EXPECT_EQ(batch.error().reason(), Reason::kCompacted) << batch.error().ToString();
    return;
  }
  ASSERT_EQ(static_cast<Revision>(batch->revisions.size()), query.to - query.from + 1);
  const auto& events = batch->revisions[0].events;
  ASSERT_EQ(events.size(), at.events.size());
  for (std::size_t i = 0; i < events.size(); ++i) {
    EXPECT_EQ(events[i].kv, at.events[i].kv);
    // Absent where C had reached the revision when it was read.
    if (events[i].prev_kv) {
      EXPECT_EQ(events[i].prev_kv, at.events[i].prev_kv);
    } else if (at.events[i].prev_kv) {
      EXPECT_GE(at.view->compacted(), at.revision);
    }
  }
}

void ReadHash(const SharedStore::Position& at) {
  // Many passes, so that compactions come in between.
  const auto first = HashKeyValuesInPasses(*at.view, at.revision, 100, nullptr);
  const auto second = HashKeyValues(*at.view, at.revision);
  for (const auto* hash : {&first, &second}) {
    if (!hash->ok()) {
      EXPECT_TRUE(hash->error().reason() == Reason::kCompacted || hash->error().code() == Code::kAborted)
          << hash->error().ToString();
    }
  }
  if (first.ok() && second.ok() && first->compact_revision == second->compact_revision) {
    EXPECT_EQ(first->hash, second->hash);
  }
}

TEST(KvReaders, AreRightOrRefusedWhileHistoryGoes) {
  auto random = SeededRandom();
  SharedStore store;
  for (int i = 0; i < 200; ++i) store.Change(random);
  std::atomic<bool> stop{false};
  std::atomic<int> reads{0};
  std::vector<std::thread> readers;
  for (std::uint64_t seed = random(), i = 0; i < 3; ++i) {
    readers.emplace_back([&store, &stop, &reads, seed, i] {
      std::mt19937_64 own(seed + i);
      while (!stop.load()) {
        const auto at = store.Pick(own);
        if (i == 0) ReadItsEvents(at);
        if (i == 2) ReadHash(at);
        ReadState(at, own);
        ++reads;
        std::this_thread::yield();  // the lock is not fair
      }
    });
  }
  for (int step = 0; step < 25 || reads.load() < 150; ++step) {
    for (int i = 0; i < 3; ++i) store.Change(random);
    store.Compact(static_cast<Revision>(random() % 40));
    store.Reclaim();
  }
  stop = true;
  for (auto& reader : readers) reader.join();
}

/// Runs `read` on a thread of its own and, somewhere under way, compacts to `revision` and reclaims.
template <typename Read>
void CompactUnder(TestStore* store, Revision revision, std::mt19937_64& random, Read read) {
  std::atomic<bool> started{false};
  std::thread reader([&] {
    started = true;
    read();
  });
  while (!started) std::this_thread::yield();
  for (std::uint64_t n = random() % 300; n > 0; --n) std::this_thread::yield();
  store->Compact(revision);
  store->Reclaim();
  reader.join();
}

TEST(KvReaders, APageIsCountedRightOrRefusedWhenCompactedUnderWay) {
  constexpr int kKeys = 10000, kChanged = 100;
  auto random = SeededRandom();
  TestStore store;
  const auto name = [](int number) { return "key" + std::to_string(100000 + number); };
  std::vector<TestStore::Change> all;
  for (int i = 0; i < kKeys; ++i) all.push_back(TestStore::Put{name(i), "v"});
  store.Apply(all);
  const std::vector<TestStore::Change> last(all.end() - kChanged, all.end());
  for (int round = 0; round < 10; ++round) {
    RangeRequest request;
    request.key = name(0);
    request.range_end = "z";
    request.revision = store.revision();
    request.limit = kKeys - kChanged;
    store.Apply(last);  // what they were is in `history` only, and goes while the keys before them are read
    store.Apply(last);
    ASSERT_TRUE(store.database().Flush().ok());
    const auto view = store.Publish();
    Result<RangeResponse> response = Internal("not read");
    CompactUnder(&store, store.revision(), random, [&] { response = ReadRange(*view, request); });
    if (response.ok()) {
      EXPECT_EQ(response->count, kKeys);
    } else {
      EXPECT_EQ(response.error().reason(), Reason::kCompacted) << response.error().ToString();
    }
  }
}

TEST(KvReaders, EventsAndHashesAreRightOrRefusedWhenCompactedUnderWay) {
  constexpr int kRevisions = 1500;
  auto random = SeededRandom();
  TestStore store;
  for (int round = 0; round < 8; ++round) {
    EventQuery query;
    query.from = store.revision() + 1;
    for (int i = 0; i < kRevisions; ++i) store.ApplyPut("key" + std::to_string(random() % 20), std::to_string(i));
    query.to = store.revision();
    query.revisions_max = kRevisions;
    query.intervals = {KeyInterval::Everything()};
    ASSERT_TRUE(store.database().Flush().ok());
    const auto view = store.Publish();
    const Revision compact_to = store.revision() - 5;
    if (round % 2 == 0) {
      Result<EventBatch> batch = Internal("not read");
      CompactUnder(&store, compact_to, random, [&] { batch = ReadEvents(*view, query); });
      if (batch.ok()) {
        EXPECT_EQ(batch->revisions.size(), static_cast<std::size_t>(kRevisions));
      } else {
        EXPECT_EQ(batch.error().reason(), Reason::kCompacted) << batch.error().ToString();
      }
      continue;
    }
    Result<HashResult> hash = Internal("not read");
    CompactUnder(&store, compact_to, random, [&] { hash = HashKeyValuesInPasses(*view, 0, 100, nullptr); });
    ASSERT_TRUE(hash.ok()) << hash.error().ToString();
    const auto again = HashKeyValues(*view, 0);
    ASSERT_TRUE(again.ok()) << again.error().ToString();
    if (hash->compact_revision == again->compact_revision) {
      EXPECT_EQ(hash->hash, again->hash);
    }
  }
}

}  // namespace
}  // namespace vellum::kv
