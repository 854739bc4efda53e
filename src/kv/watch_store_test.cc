// The watch hub on a real store: everything that a random history did must reach every watcher, whether live, from the
// ring or read back, across compactions, reclaiming and reopening.
#include <gtest/gtest.h>

#include <algorithm>
#include <future>
#include <map>
#include <memory>
#include <vector>

#include "base/manual_clock.h"
#include "base/mutex.h"
#include "base/test_dir.h"
#include "base/test_random.h"
#include "kv/engine.h"
#include "kv/watch_hub.h"

namespace vellum::kv {
namespace {

/// What happened, kept in plain maps by whoever made it happen. Thread-safe.
class Chronicle {
 public:
  void Put(Revision revision, const std::string& key, const std::string& value) {
    MutexLock lock(&mu_);
    KeyValue& kv = now_[key];
    Event event;
    if (kv.version > 0) event.prev_kv = kv;
    kv = {key, kv.version > 0 ? kv.create_revision : revision, revision, kv.version + 1, value, 0};
    event.kv = kv;
    events_[revision].push_back(std::move(event));
  }
  void DeleteRange(Revision revision, const KeyInterval& interval) {
    MutexLock lock(&mu_);
    for (auto it = now_.lower_bound(interval.begin); it != now_.end() && interval.Contains(it->first);) {
      Event event;
      event.type = EventType::kDelete;
      event.kv.key = it->first;
      event.kv.mod_revision = revision;
      event.prev_kv = it->second;
      events_[revision].push_back(std::move(event));
      it = now_.erase(it);
    }
  }
  bool HasKeyIn(const KeyInterval& interval) {
    MutexLock lock(&mu_);
    const auto it = now_.lower_bound(interval.begin);
    return it != now_.end() && interval.Contains(it->first);
  }
  void Compact(Revision revision) {
    MutexLock lock(&mu_);
    compacted_ = std::max(compacted_, revision);
  }

  /// The events that a watcher must see from `from` to `to`.
  std::vector<Event> Wanted(const WatchOptions& options, Revision from, Revision to) {
    MutexLock lock(&mu_);
    std::vector<Event> wanted;
    for (auto it = events_.lower_bound(from); it != events_.end() && it->first <= to; ++it) {
      for (const Event& event : it->second) {
        const bool filtered = event.type == EventType::kPut ? options.no_put : options.no_delete;
        if (!filtered && options.interval.Contains(event.kv.key)) wanted.push_back(event);
      }
    }
    return wanted;
  }
  Revision compacted() {
    MutexLock lock(&mu_);
    return compacted_;
  }

 private:
  Mutex mu_;
  std::map<std::string, KeyValue> now_ VELLUM_GUARDED_BY(mu_);
  std::map<Revision, std::vector<Event>> events_ VELLUM_GUARDED_BY(mu_);
  Revision compacted_ VELLUM_GUARDED_BY(mu_) = kNeverCompacted;
};

/// One watcher's side: keeps what came. A slow one is full after each delivery until the test empties it.
class Keeper final : public WatchSink {
 public:
  explicit Keeper(bool slow) : slow_(slow) {}

  void Deliver(const WatchDelivery& delivery) override {
    MutexLock lock(&mu_);
    switch (delivery.kind) {
      case WatchDelivery::Kind::kCreated: created_ = delivery.revision; break;
      case WatchDelivery::Kind::kEvents:
        for (const PublishedEvent* event : delivery.events) events_.push_back(event->event);
        header_ = delivery.revision;
        full_ = slow_;
        break;
      case WatchDelivery::Kind::kCompacted: compacted_ = delivery.revision; break;
      case WatchDelivery::Kind::kFailed: ADD_FAILURE() << delivery.failure.ToString(); break;
      case WatchDelivery::Kind::kProgress: break;
    }
  }
  bool Accepts() const override {
    MutexLock lock(&mu_);
    return !full_;
  }
  void Empty() {
    MutexLock lock(&mu_);
    full_ = false;
  }
  std::vector<Event> events() const {
    MutexLock lock(&mu_);
    return events_;
  }
  std::optional<Revision> created() const {
    MutexLock lock(&mu_);
    return created_;
  }
  std::optional<Revision> compacted() const {
    MutexLock lock(&mu_);
    return compacted_;
  }

 private:
  const bool slow_;
  mutable Mutex mu_;
  std::optional<Revision> created_ VELLUM_GUARDED_BY(mu_);
  std::optional<Revision> compacted_ VELLUM_GUARDED_BY(mu_);
  std::vector<Event> events_ VELLUM_GUARDED_BY(mu_);
  Revision header_ VELLUM_GUARDED_BY(mu_) = 0;
  bool full_ VELLUM_GUARDED_BY(mu_) = false;
};

class KvWatchStore : public testing::Test {
 protected:
  struct Watched {
    std::shared_ptr<Keeper> keeper;
    WatchHub::StreamId stream = 0;
    WatchOptions options;
  };

  KvWatchStore() {
    options_.data_dir = dir_.path() + "/data";
    options_.clock = &clock_;
    options_.free_space_floor_bytes = 0;
    options_.unsafe_no_fsync = true;
    options_.event_ring_bytes = 4000;  // a few revisions
    options_.apply_batch_bytes_max = 2000;  // now and then a delete is applied in parts
    Open();
  }
  void Open() {
    engine_.reset();
    auto engine = Engine::Open(options_);
    ASSERT_TRUE(engine.ok()) << engine.error().ToString();
    engine_ = *std::move(engine);
  }
  std::string RandomKey() { return std::string(1, static_cast<char>('a' + random_() % 8)); }
  KeyInterval RandomInterval() {
    const std::string key = RandomKey();
    if (random_() % 2 == 0) return KeyInterval::SingleKey(key);
    return {key, std::string(1, static_cast<char>(key[0] + 1 + static_cast<char>(random_() % 4)))};
  }
  Revision current() const { return engine_->CurrentView()->revision(); }

  void Write() {
    const Revision next = current() + 1;
    if (random_() % 3 == 0) {
      const KeyInterval interval = RandomInterval();
      const bool any = chronicle_.HasKeyIn(interval);
      if (any) chronicle_.DeleteRange(next, interval);
      const auto result = engine_->ProposeAndWait(
          DeleteRangeCommand{{.key = interval.begin, .range_end = *interval.end, .prev_kv = false}});
      ASSERT_TRUE(result.ok()) << result.error().ToString();
      ASSERT_EQ(std::get<DeleteRangeResponse>(*result).revision, any ? next : next - 1);
      return;
    }
    TxnRequest txn;
    for (char key = 'a'; key < 'i'; ++key) {
      if (random_() % 4 != 0 && !(key == 'h' && txn.success.empty())) continue;
      PutRequest put{.key = std::string(1, key), .value = std::string(random_() % 300, 'v')};
      chronicle_.Put(next, put.key, put.value);
      txn.success.push_back({std::move(put)});
    }
    const auto result = engine_->ProposeAndWait(TxnCommand{std::move(txn)});
    ASSERT_TRUE(result.ok()) << result.error().ToString();
    ASSERT_EQ(std::get<TxnResponse>(*result).revision, next);
  }

  void Compact() {
    const Revision target = current() - static_cast<Revision>(random_() % 30);
    if (target <= chronicle_.compacted() || target < 2) return;
    chronicle_.Compact(target);
    std::promise<Status> done;
    engine_->Compact(target, random_() % 2 == 0, [&](Result<CompactResult> result) { done.set_value(result.error()); });
    const Status status = done.get_future().get();
    ASSERT_TRUE(status.ok()) << status.ToString();
  }

  void Watch() {
    Watched watched;
    watched.keeper = std::make_shared<Keeper>(/*slow=*/random_() % 3 == 0);
    watched.stream = engine_->watch_hub().OpenStream(watched.keeper);
    watched.options.interval = RandomInterval();
    watched.options.start = random_() % 3 == 0 ? 0 : std::max<Revision>(1, current() - 25 + static_cast<Revision>(random_() % 30));
    watched.options.no_put = random_() % 8 == 0;
    watched.options.no_delete = random_() % 8 == 0;
    watched.options.with_previous = random_() % 2 == 0;
    engine_->watch_hub().Watch(watched.stream, 0, watched.options);
    watched_.push_back(std::move(watched));
  }

  void EmptySome() {
    for (const Watched& watched : watched_) {
      if (random_() % 2 == 0) continue;
      watched.keeper->Empty();
      engine_->watch_hub().SinkReady(watched.stream);
    }
  }

  /// The hub has delivered everything up to now, or ended the watch.
  void Settle(const Watched& watched) {
    for (bool settled = false; !settled;) {
      watched.keeper->Empty();
      engine_->watch_hub().SinkReady(watched.stream);
      std::promise<std::optional<Revision>> progress;
      engine_->watch_hub().RequestProgress(watched.stream, [&](auto revision) { progress.set_value(revision); });
      const bool reached = progress.get_future().get().has_value();
      const auto created = watched.keeper->created();
      const Revision start = watched.options.start != 0 ? watched.options.start : created.value_or(0) + 1;
      settled = reached || watched.keeper->compacted().has_value() || start > current() + 1;
    }
  }

  void Check(const Watched& watched) {
    Settle(watched);
    const Revision start = watched.options.start != 0 ? watched.options.start : *watched.keeper->created() + 1;
    const std::vector<Event> got = watched.keeper->events();
    Revision until = current();
    if (const auto compacted = watched.keeper->compacted()) {
      // It was ended while it lacked something below C: everything before that must be there.
      until = got.empty() ? start - 1 : got.back().kv.mod_revision;
      EXPECT_LE(*compacted, chronicle_.compacted());
      EXPECT_LT(start, *compacted);
    }
    const std::vector<Event> wanted = chronicle_.Wanted(watched.options, start, until);
    ASSERT_EQ(got.size(), wanted.size());
    for (std::size_t i = 0; i < got.size(); ++i) {
      EXPECT_EQ(got[i].type, wanted[i].type);
      EXPECT_EQ(got[i].kv, wanted[i].kv);
      if (!watched.options.with_previous || got[i].prev_kv == wanted[i].prev_kv) continue;
      EXPECT_FALSE(got[i].prev_kv.has_value());
      EXPECT_LT(got[i].kv.mod_revision - 1, chronicle_.compacted()) << "only a compacted one may lack";
    }
  }

  void CheckAll() {
    for (const Watched& watched : watched_) {
      Check(watched);
      if (HasFatalFailure()) return;
      engine_->watch_hub().CloseStream(watched.stream);
    }
    watched_.clear();
  }

  const TestDir dir_;
  std::mt19937_64 random_ = SeededRandom();
  ManualClock clock_;
  EngineOptions options_;
  std::unique_ptr<Engine> engine_;
  Chronicle chronicle_;
  std::vector<Watched> watched_;
};

TEST_F(KvWatchStore, EverythingThatHappenedReachesEveryWatcher) {
  for (int round = 0; round < 6; ++round) {
    for (int step = 0; step < 150 && !HasFatalFailure(); ++step) {
      const auto dice = random_() % 20;
      if (dice < 13)
        Write();
      else if (dice < 16)
        Watch();
      else if (dice < 19)
        EmptySome();
      else
        Compact();
    }
    CheckAll();
    if (HasFatalFailure()) return;
    if (round % 2 == 1) Open();
  }
}

TEST_F(KvWatchStore, AWatchFromTheCompactedRevisionShowsWhatHappenedThere) {
  const auto put = engine_->ProposeAndWait(PutCommand{{.key = "a", .value = "1"}});
  ASSERT_TRUE(put.ok());
  const auto del = engine_->ProposeAndWait(DeleteRangeCommand{{.key = "a"}});
  ASSERT_TRUE(del.ok());
  const Revision deleted = std::get<DeleteRangeResponse>(*del).revision;
  std::promise<Status> done;
  engine_->Compact(deleted, /*physical=*/true, [&](Result<CompactResult> result) { done.set_value(result.error()); });
  ASSERT_TRUE(done.get_future().get().ok());
  chronicle_.Compact(deleted);
  Watched watched;
  watched.keeper = std::make_shared<Keeper>(false);
  watched.options.interval = KeyInterval::SingleKey("a");
  watched.options.start = deleted;
  watched.options.with_previous = true;
  watched.stream = engine_->watch_hub().OpenStream(watched.keeper);
  engine_->watch_hub().Watch(watched.stream, 0, watched.options);
  Settle(watched);
  const auto events = watched.keeper->events();
  ASSERT_EQ(events.size(), 1u);
  EXPECT_EQ(events[0].type, EventType::kDelete);
  EXPECT_EQ(events[0].kv.mod_revision, deleted);
  EXPECT_FALSE(events[0].prev_kv.has_value()) << "what was there before is compacted";
}

}  // namespace
}  // namespace vellum::kv
