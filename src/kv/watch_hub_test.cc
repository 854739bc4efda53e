#include "kv/watch_hub.h"

#include <gtest/gtest.h>

#include <atomic>
#include <future>
#include <random>
#include <thread>

#include "base/manual_clock.h"
#include "base/test_random.h"
#include "kv/watch_test_util.h"

namespace vellum::kv {
namespace {

using testing_util::CheckingSink;
using testing_util::FakeHistory;

WatchOptions Everything(Revision start = 0) {
  WatchOptions options;
  options.start = start;
  return options;
}

class KvWatchHub : public testing::Test {
 protected:
  KvWatchHub() { options_.clock = &clock_; }
  void Start() {
    hub_ = std::make_unique<WatchHub>(options_, history_.Source());
    hub_->Start();
  }
  std::optional<Revision> Progress(WatchHub::StreamId stream) {
    std::promise<std::optional<Revision>> answer;
    hub_->RequestProgress(stream, [&](std::optional<Revision> revision) { answer.set_value(revision); });
    return answer.get_future().get();
  }
  bool Cancel(WatchHub::StreamId stream, std::int64_t watcher) {
    std::promise<bool> answer;
    hub_->Cancel(stream, watcher, [&](bool existed) { answer.set_value(existed); });
    return answer.get_future().get();
  }
  void Put(const std::string& key) { hub_->Publish({history_.Write({{EventType::kPut, key}})}); }

  ManualClock clock_;
  Metrics metrics_;
  FakeHistory history_;
  WatchHub::Options options_;
  std::unique_ptr<WatchHub> hub_;
};

TEST_F(KvWatchHub, DeliversHistoryAndWhatComes) {
  for (int i = 0; i < 3000; ++i) history_.Write({{EventType::kPut, "a"}});
  options_.metrics = &metrics_;
  Start();
  auto sink = std::make_shared<CheckingSink>(&history_);
  const auto stream = hub_->OpenStream(sink);
  sink->Expect(1, Everything(2));
  hub_->Watch(stream, 1, Everything(2));
  Put("b");
  Put("c");
  sink->AwaitComplete(1, history_.revision());
  EXPECT_EQ(sink->events(1), 3002);
  EXPECT_EQ(Progress(stream), history_.revision());
  const std::string text = metrics_.Expose();
  EXPECT_NE(text.find("etcd_debugging_mvcc_watcher_total 1"), std::string::npos);
  EXPECT_NE(text.find("etcd_debugging_mvcc_watch_stream_total 1"), std::string::npos);
  EXPECT_NE(text.find("etcd_debugging_mvcc_events_total 3002"), std::string::npos);
  EXPECT_NE(text.find("etcd_debugging_mvcc_pending_events_total 0"), std::string::npos);
  EXPECT_TRUE(Cancel(stream, 1));
  EXPECT_FALSE(Cancel(stream, 1));
}

TEST_F(KvWatchHub, PublishedFasterThanTheInboxHolds) {
  options_.ring_bytes = 3000;
  Start();
  auto sink = std::make_shared<CheckingSink>(&history_);
  const auto stream = hub_->OpenStream(sink);
  sink->Expect(1, Everything());
  hub_->Watch(stream, 1, Everything());
  for (int i = 0; i < 2000; ++i) Put("a");
  sink->AwaitComplete(1, history_.revision());
  EXPECT_EQ(sink->events(1), 2000);
}

TEST_F(KvWatchHub, TickSendsPeriodicProgress) {
  options_.progress_interval = std::chrono::seconds(5);
  Start();
  auto sink = std::make_shared<CheckingSink>(&history_);
  const auto stream = hub_->OpenStream(sink);
  WatchOptions options = Everything();
  options.progress_notify = true;
  sink->Expect(1, options);
  hub_->Watch(stream, 1, options);
  hub_->Tick();
  EXPECT_EQ(sink->progress(1), 0);
  clock_.Advance(std::chrono::seconds(6));
  hub_->Tick();
  EXPECT_EQ(sink->progress(1), 1);
}

TEST_F(KvWatchHub, AfterStopEverythingIsAnsweredAndReleased) {
  Start();
  auto sink = std::make_shared<CheckingSink>(&history_);
  const auto stream = hub_->OpenStream(sink);
  sink->Expect(1, Everything());
  hub_->Watch(stream, 1, Everything());
  hub_->Stop();
  EXPECT_EQ(sink.use_count(), 1);
  EXPECT_FALSE(Cancel(stream, 1));
  EXPECT_EQ(Progress(stream), std::nullopt);
  Put("a");
  hub_->CloseStream(stream);
  hub_->Tick();
  hub_->Stop();
}

TEST_F(KvWatchHub, NeverStarted) {
  hub_ = std::make_unique<WatchHub>(options_, history_.Source());
  auto sink = std::make_shared<CheckingSink>(&history_);
  hub_->OpenStream(sink);
  hub_->Tick();
  hub_.reset();
  EXPECT_EQ(sink.use_count(), 1);
}

/// A sink whose buffer holds a few deliveries; somebody else empties it and says so.
class SmallSink final : public WatchSink {
 public:
  explicit SmallSink(const FakeHistory* history) : checking(std::make_shared<CheckingSink>(history)) {}
  void Deliver(const WatchDelivery& delivery) override {
    buffered_.fetch_add(1);
    checking->Deliver(delivery);
  }
  bool Accepts() const override { return buffered_.load() < 3; }
  /// Whether it was full.
  bool Empty() { return buffered_.exchange(0) >= 3; }

  const std::shared_ptr<CheckingSink> checking;

 private:
  std::atomic<int> buffered_{0};
};

TEST_F(KvWatchHub, WritersWatchersAndSlowReadersAtOnce) {
  const auto seed = static_cast<std::uint32_t>(SeededRandom()());
  options_.ring_bytes = 20'000;
  Start();
  constexpr int kStreams = 4;
  constexpr int kWatchers = 5;
  constexpr int kWrites = 1500;
  std::vector<std::shared_ptr<SmallSink>> sinks;
  std::vector<WatchHub::StreamId> streams;
  for (int s = 0; s < kStreams; ++s) {
    sinks.push_back(std::make_shared<SmallSink>(&history_));
    streams.push_back(hub_->OpenStream(sinks.back()));
  }
  std::atomic<bool> done{false};
  std::thread writer([&] {
    std::mt19937 rng(seed);
    for (int i = 0; i < kWrites; ++i) {
      Put(std::string(1, static_cast<char>('a' + rng() % 4)));
      if (i % 16 == 0) std::this_thread::yield();
    }
  });
  std::thread drainer([&] {
    while (!done.load()) {
      for (std::size_t s = 0; s < sinks.size(); ++s) {
        if (sinks[s]->Empty()) hub_->SinkReady(streams[s]);
      }
      std::this_thread::yield();
    }
  });
  std::vector<std::thread> clients;
  for (std::size_t s = 0; s < kStreams; ++s) {
    clients.emplace_back([&, s] {
      std::mt19937 rng(seed + static_cast<std::uint32_t>(s) + 1);
      for (int w = 0; w < kWatchers; ++w) {
        WatchOptions options;
        options.interval.begin = std::string(1, static_cast<char>('a' + rng() % 4));
        options.start = rng() % 2 == 0 ? 0 : std::max<Revision>(1, history_.revision() - 50);
        sinks[s]->checking->Expect(w, options);
        hub_->Watch(streams[s], w, options);
        Progress(streams[s]);
      }
    });
  }
  for (std::thread& client : clients) client.join();
  writer.join();
  for (std::size_t s = 0; s < kStreams; ++s) {
    for (int w = 0; w < kWatchers; ++w) sinks[s]->checking->AwaitComplete(w, history_.revision());
  }
  done.store(true);
  drainer.join();
  EXPECT_EQ(hub_->watchers(), static_cast<std::size_t>(kStreams * kWatchers));
  hub_->Stop();
}

}  // namespace
}  // namespace vellum::kv
