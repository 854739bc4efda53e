#include "kv/watch_core.h"

#include <gtest/gtest.h>

#include <random>
#include <set>

#include "base/manual_clock.h"
#include "base/test_random.h"
#include "kv/watch_test_util.h"

namespace vellum::kv {
namespace {

using testing_util::CheckingSink;
using testing_util::FakeHistory;

WatchOptions On(const std::string& key, Revision start = 0) {
  WatchOptions options;
  options.interval = KeyInterval::SingleKey(key);
  options.start = start;
  return options;
}

class KvWatchCore : public testing::Test {
 protected:
  KvWatchCore() {
    options_.clock = &clock_;
    sink_ = std::make_shared<CheckingSink>(&history_);
  }
  WatchCore& core() {
    if (core_ == nullptr) {
      core_ = std::make_unique<WatchCore>(options_, history_.position());
      core_->OpenStream(1, sink_);
    }
    return *core_;
  }
  void Watch(std::int64_t id, const WatchOptions& options) {
    core();
    sink_->Expect(id, options);
    core_->Watch(1, id, options, history_.position());
  }
  PublishedRevisionPtr Put(const std::string& key) { return history_.Write({{EventType::kPut, key}}); }
  /// Everything that the hub's threads would do until nothing is left.
  void Drain() {
    bool more = true;
    while (more) {
      more = core_->CatchUpFromRing(history_.position());
      if (auto read = core_->NextRead(history_.position())) {
        auto outcome = history_.Read(read->query);
        core_->ReadDone(std::move(*read), std::move(outcome), history_.position());
        more = true;
      }
    }
    core_->AnswerProgress();
  }
  std::optional<Revision> Progress() {
    std::optional<Revision> answer;
    bool answered = false;
    core().RequestProgress(1, history_.position(), [&](std::optional<Revision> revision) {
      answer = revision;
      answered = true;
    });
    core().AnswerProgress();
    EXPECT_TRUE(answered);
    return answer;
  }

  ManualClock clock_;
  FakeHistory history_;
  WatchHub::Options options_;
  std::shared_ptr<CheckingSink> sink_;
  std::unique_ptr<WatchCore> core_;
};

TEST_F(KvWatchCore, SyncedWatcherGetsMergedRevisionsWithTheLastOnesHeader) {
  Watch(0, On("a"));
  core().Publish({Put("a"), Put("b"), Put("a"), Put("b")});
  EXPECT_EQ(sink_->deliveries(0), 2) << "created, and one for both";
  EXPECT_EQ(sink_->events(0), 2);
  EXPECT_EQ(sink_->header(0), 4);
  EXPECT_EQ(sink_->flushes(), 2);
}

TEST_F(KvWatchCore, WhatIsNotPublishedYetButWasVisibleIsNotAfterNow) {
  core();
  const auto before = Put("a");  // visible to the client before it asks, published after
  Watch(0, On("a"));
  core().Publish({before});
  EXPECT_EQ(sink_->events(0), 0);
  core().Publish({Put("a")});
  EXPECT_EQ(sink_->events(0), 1);
}

TEST_F(KvWatchCore, HistoryThenLiveWithoutGapOrRepeat) {
  for (int i = 0; i < 2500; ++i) Put(i % 3 == 0 ? "a" : "b");
  Watch(0, On("a", 2));
  EXPECT_EQ(core().slow_watchers(), 1u);
  auto read = core().NextRead(history_.position());
  ASSERT_TRUE(read.has_value());
  core().Publish({Put("a"), Put("a")});  // while the read is under way
  auto outcome = history_.Read(read->query);
  core().ReadDone(std::move(*read), std::move(outcome), history_.position());
  Drain();
  EXPECT_EQ(core().slow_watchers(), 0u);
  core().Publish({Put("a")});
  sink_->CheckComplete(history_.revision());
  EXPECT_EQ(sink_->events(0), 834 + 3);
}

TEST_F(KvWatchCore, ManyThatAreEquallyFarBehindShareReads) {
  for (int i = 0; i < 100; ++i) Put("a");
  for (int id = 0; id < 400; ++id) Watch(id, On("a", 2 + id % 50));
  int reads = 0;
  while (auto read = core().NextRead(history_.position())) {
    ++reads;
    EXPECT_EQ(read->query.intervals.size(), 1u);
    auto outcome = history_.Read(read->query);
    core().ReadDone(std::move(*read), std::move(outcome), history_.position());
  }
  EXPECT_EQ(reads, 1);
  sink_->CheckComplete(history_.revision());
}

TEST_F(KvWatchCore, ALongUneventfulHistoryIsReadInSlices) {
  options_.catch_up_scan_max = 100;
  for (int i = 0; i < 1000; ++i) Put("b");
  Watch(0, On("a", 2));
  int reads = 0;
  while (auto read = core().NextRead(history_.position())) {
    ++reads;
    EXPECT_LT(read->query.to - read->query.from, 100);
    auto outcome = history_.Read(read->query);
    core().ReadDone(std::move(*read), std::move(outcome), history_.position());
  }
  EXPECT_EQ(reads, 10);
  EXPECT_EQ(sink_->deliveries(0), 1) << "nothing but created";
  EXPECT_EQ(core().slow_watchers(), 0u);
}

TEST_F(KvWatchCore, StartBelowTheCompactedRevisionEndsTheWatch) {
  for (int i = 0; i < 10; ++i) Put("a");
  history_.Compact(5);
  Watch(0, On("a", 4));
  EXPECT_TRUE(sink_->compacted(0));
  Watch(1, On("a", 5));
  EXPECT_FALSE(sink_->compacted(1));
  Drain();
  sink_->CheckComplete(history_.revision());
  EXPECT_EQ(sink_->events(1), 7);
  EXPECT_EQ(core().watchers(), 1u);
}

TEST_F(KvWatchCore, CompactionThatPassesASlowWatcherEndsIt) {
  Watch(0, On("a"));
  sink_->SetAccepts(false);
  core().Publish({Put("a"), Put("a")});
  EXPECT_EQ(core().slow_watchers(), 1u);
  history_.Compact(3);
  sink_->SetAccepts(true);
  core().SinkReady(1);
  Drain();
  EXPECT_TRUE(sink_->compacted(0));
  EXPECT_EQ(core().watchers(), 0u);
  EXPECT_EQ(core().slow_watchers(), 0u);
}

TEST_F(KvWatchCore, CompactionDuringAReadEndsOnlyThoseBelow) {
  for (int i = 0; i < 10; ++i) Put("a");
  Watch(0, On("a", 3));
  Watch(1, On("a", 6));
  auto read = core().NextRead(history_.position());
  ASSERT_EQ(read->watchers.size(), 2u);
  history_.Compact(6);
  auto outcome = history_.Read(read->query);
  core().ReadDone(std::move(*read), std::move(outcome), history_.position());
  Drain();
  EXPECT_TRUE(sink_->compacted(0));
  EXPECT_FALSE(sink_->over(1));
  sink_->CheckComplete(history_.revision());
}

TEST_F(KvWatchCore, AFailedReadEndsTheWatchWithItsStatus) {
  Put("a");
  Watch(0, On("a", 2));
  history_.FailReads(DataLoss("000007.sst is damaged"));
  Drain();
  EXPECT_EQ(sink_->failure(0).code(), Code::kDataLoss);
  EXPECT_EQ(core().watchers(), 0u);
}

TEST_F(KvWatchCore, StartInTheFutureIsSilentUntilThen) {
  Watch(0, On("a", 5));
  Watch(1, On("a"));
  core().Publish({Put("a"), Put("a")});
  EXPECT_EQ(sink_->events(0), 0);
  EXPECT_EQ(Progress(), std::nullopt) << "one of the stream's watchers is in the future";
  core().Publish({Put("a")});
  EXPECT_EQ(Progress(), 4) << "everything below its start has passed";
  core().Publish({Put("a")});
  EXPECT_EQ(sink_->events(0), 1);
}

TEST_F(KvWatchCore, RequestedProgressNeedsEveryWatcherSynced) {
  core();
  EXPECT_EQ(Progress(), std::nullopt) << "no watchers";
  Watch(0, On("a"));
  EXPECT_EQ(Progress(), 1);
  sink_->SetAccepts(false);
  core().Publish({Put("a")});
  EXPECT_EQ(Progress(), std::nullopt);
  sink_->SetAccepts(true);
  core().SinkReady(1);
  Drain();
  EXPECT_EQ(Progress(), 2);
}

TEST_F(KvWatchCore, RequestedProgressWaitsForWhatWasVisible) {
  Watch(0, On("a"));
  const auto visible = Put("a");
  std::optional<Revision> answer;
  core().RequestProgress(1, history_.position(), [&](std::optional<Revision> revision) { answer = revision; });
  core().AnswerProgress();
  EXPECT_EQ(answer, std::nullopt);
  core().Publish({visible});
  core().AnswerProgress();
  EXPECT_EQ(answer, 2);
}

TEST_F(KvWatchCore, PeriodicProgressOnlyWhenQuietAndSynced) {
  options_.progress_interval = std::chrono::seconds(10);
  WatchOptions options = On("a");
  options.progress_notify = true;
  Watch(0, options);
  Watch(1, On("a"));
  const auto tick = [&] {
    clock_.Advance(std::chrono::milliseconds(11'001));
    core().Tick(clock_.Now());
  };
  clock_.Advance(std::chrono::milliseconds(9'999));
  core().Tick(clock_.Now());
  EXPECT_EQ(sink_->progress(0), 0);
  tick();
  EXPECT_EQ(sink_->progress(0), 1);
  EXPECT_EQ(sink_->progress(1), 0) << "did not ask for it";
  core().Publish({Put("a")});
  tick();
  EXPECT_EQ(sink_->progress(0), 1) << "events went out";
  tick();
  EXPECT_EQ(sink_->progress(0), 2);
  sink_->SetAccepts(false);
  core().Publish({Put("a")});
  tick();
  EXPECT_EQ(sink_->progress(0), 2) << "behind";
}

TEST_F(KvWatchCore, FiltersAndNothingLeftMeansNothingSent) {
  WatchOptions no_put = On("a");
  no_put.no_put = true;
  WatchOptions no_delete = On("a");
  no_delete.no_delete = true;
  Watch(0, no_put);
  Watch(1, no_delete);
  core().Publish({Put("a")});
  EXPECT_EQ(sink_->deliveries(0), 1);
  EXPECT_EQ(sink_->events(1), 1);
  core().Publish({history_.Write({{EventType::kDelete, "a"}, {EventType::kPut, "a"}})});
  EXPECT_EQ(sink_->events(0), 1);
  EXPECT_EQ(sink_->events(1), 2);
  EXPECT_EQ(Progress(), 3) << "what was filtered has passed too";
}

TEST_F(KvWatchCore, RevisionsThatAreOnlyStoredAreReadBack) {
  Watch(0, On("a"));
  const auto first = Put("a");
  const auto huge = std::make_shared<PublishedRevision>(*Put("a"));
  huge->events.clear();
  huge->stored_only = true;
  core().Publish({first, huge, Put("a")});
  Drain();
  core().Publish({Put("a")});
  EXPECT_EQ(sink_->events(0), 4);
  sink_->CheckComplete(5);
}

TEST_F(KvWatchCore, ASlowSinkDoesNotHoldEventsAndLosesNone) {
  options_.ring_bytes = 20'000;
  Watch(0, On("a"));
  sink_->SetAccepts(false);
  for (int i = 0; i < 500; ++i) core().Publish({Put("a")});
  EXPECT_EQ(sink_->deliveries(0), 1);
  Drain();
  sink_->SetAccepts(true);
  core().Tick(clock_.Now());  // SinkReady got lost
  Drain();
  sink_->CheckComplete(history_.revision());
  EXPECT_EQ(sink_->events(0), 500);
}

TEST_F(KvWatchCore, CancelAndCloseEndEverything) {
  Put("a");
  Watch(0, On("a"));
  Watch(1, On("a", 2));
  EXPECT_TRUE(core().Cancel(1, 0));
  sink_->ExpectNothingMore(0);
  EXPECT_FALSE(core().Cancel(1, 0));
  EXPECT_FALSE(core().Cancel(7, 0));
  auto read = core().NextRead(history_.position());
  sink_->ExpectNothingMore(1);
  const std::weak_ptr<CheckingSink> weak = sink_;
  core().CloseStream(1);
  EXPECT_EQ(sink_.use_count(), 1) << "the hub has released it";
  auto outcome = history_.Read(read->query);
  core().ReadDone(std::move(*read), std::move(outcome), history_.position());
  core().Publish({Put("a")});
  EXPECT_EQ(core().watchers(), 0u);
  EXPECT_EQ(core().slow_watchers(), 0u);
  EXPECT_EQ(core().streams(), 0u);
}

/// Random streams, watchers, writes, delays, full sinks, compactions and cancels; every delivery is checked as it comes,
/// and in the end nobody lacks anything.
class WatchCoreStorm {
 public:
  explicit WatchCoreStorm(std::uint32_t seed) : rng_(seed) {
    options_.clock = &clock_;
    options_.ring_bytes = 300 * (rng_() % 40);
    options_.catch_up_revisions_max = 1 + rng_() % 20;
    options_.catch_up_scan_max = 1 + rng_() % 50;
    options_.progress_interval = std::chrono::milliseconds(100);
    core_ = std::make_unique<WatchCore>(options_, history_.position());
  }

  void Run(int steps) {
    for (int i = 0; i < steps && !testing::Test::HasFatalFailure(); ++i) Step();
    Finish();
  }

 private:
  struct Stream {
    WatchCore::StreamId id;
    std::shared_ptr<CheckingSink> sink;
    std::int64_t next_watcher = 0;
  };

  std::string RandomKey() { return std::string(1, static_cast<char>('a' + rng_() % 6)); }
  bool OneIn(std::uint32_t n) { return rng_() % n == 0; }

  void Write() {
    std::vector<FakeHistory::Change> changes;
    for (auto n = 1 + rng_() % 3; n > 0; --n)
      changes.push_back({OneIn(3) ? EventType::kDelete : EventType::kPut, RandomKey()});
    auto published = history_.Write(changes);
    if (OneIn(40)) {
      auto stored = std::make_shared<PublishedRevision>();
      stored->revision = published->revision;
      stored->stored_only = true;
      published = stored;
    }
    unpublished_.push_back(std::move(published));
  }

  void PublishSome() {
    std::size_t n = std::min<std::size_t>(unpublished_.size(), rng_() % 5);
    if (n > 0 && OneIn(25)) {  // an inbox that overflowed
      core_->SkipTo(unpublished_[n - 1]->revision);
    } else {
      core_->Publish({unpublished_.begin(), unpublished_.begin() + static_cast<std::ptrdiff_t>(n)});
    }
    unpublished_.erase(unpublished_.begin(), unpublished_.begin() + static_cast<std::ptrdiff_t>(n));
  }

  void WatchSomething(Stream* stream) {
    WatchOptions options;
    options.interval.begin = RandomKey();
    switch (rng_() % 3) {
      case 0: options.interval = KeyInterval::SingleKey(options.interval.begin); break;
      case 1: options.interval.end = RandomKey() + "x"; break;
      default: break;
    }
    const Revision now = history_.revision();
    if (!OneIn(3)) options.start = std::max<Revision>(1, now - 30 + static_cast<Revision>(rng_() % 40));
    options.no_put = OneIn(6);
    options.no_delete = OneIn(6);
    options.progress_notify = OneIn(2);
    stream->sink->Expect(stream->next_watcher, options);
    core_->Watch(stream->id, stream->next_watcher++, options, history_.position());
  }

  void ReadSome() {
    if (!read_ || OneIn(2)) {
      if (read_) return FinishRead();
      read_ = core_->NextRead(history_.position());
      if (read_) outcome_ = std::make_unique<Result<EventBatch>>(history_.Read(read_->query));
      if (read_) read_position_ = history_.position();
      return;
    }
    FinishRead();
  }
  void FinishRead() {
    core_->ReadDone(std::move(*read_), std::move(*outcome_), read_position_);
    read_.reset();
  }

  void Step() {
    Stream* stream = streams_.empty() ? nullptr : &streams_[rng_() % streams_.size()];
    const auto dice = rng_() % 100;
    if (dice < 30) {
      Write();
    } else if (dice < 50) {
      PublishSome();
    } else if (dice < 60) {
      core_->CatchUpFromRing(history_.position());
    } else if (dice < 72) {
      ReadSome();
    } else if (dice < 75 || stream == nullptr) {
      streams_.push_back({next_stream_, std::make_shared<CheckingSink>(&history_), 0});
      core_->OpenStream(next_stream_++, streams_.back().sink);
    } else if (dice < 83) {
      WatchSomething(stream);
    } else if (dice < 86) {
      const auto id = static_cast<std::int64_t>(rng_() % 10);
      if (core_->Cancel(stream->id, id)) stream->sink->ExpectNothingMore(id);
    } else if (dice < 92) {
      stream->sink->SetAccepts(OneIn(2));
      if (stream->sink->Accepts() && !OneIn(4)) core_->SinkReady(stream->id);
    } else if (dice < 95) {
      const auto sink = stream->sink;
      core_->RequestProgress(stream->id, history_.position(), [sink](std::optional<Revision> revision) {
        if (revision) sink->Progress(*revision);
      });
      core_->AnswerProgress();
    } else if (dice < 97) {
      clock_.Advance(std::chrono::milliseconds(rng_() % 150));
      core_->Tick(clock_.Now());
    } else if (dice < 98) {
      if (history_.revision() > 40) history_.Compact(history_.revision() - static_cast<Revision>(rng_() % 40));
    } else if (OneIn(4)) {
      core_->CloseStream(stream->id);
      std::swap(*stream, streams_.back());
      streams_.pop_back();
    }
  }

  void Finish() {
    core_->Publish(unpublished_);
    for (Stream& stream : streams_) {
      stream.sink->SetAccepts(true);
      core_->SinkReady(stream.id);
    }
    for (bool more = true; more;) {
      if (read_) FinishRead();
      more = core_->CatchUpFromRing(history_.position());
      read_ = core_->NextRead(history_.position());
      if (!read_) continue;
      outcome_ = std::make_unique<Result<EventBatch>>(history_.Read(read_->query));
      read_position_ = history_.position();
      more = true;
    }
    core_->AnswerProgress();
    EXPECT_EQ(core_->slow_watchers(), 0u);
    EXPECT_EQ(core_->published(), history_.revision());
    for (Stream& stream : streams_) stream.sink->CheckComplete(history_.revision());
    for (Stream& stream : streams_) core_->CloseStream(stream.id);
    EXPECT_EQ(core_->watchers(), 0u);
    EXPECT_FALSE(core_->wants_ticks());
  }

  std::mt19937 rng_;
  ManualClock clock_;
  FakeHistory history_;
  WatchHub::Options options_;
  std::unique_ptr<WatchCore> core_;
  std::vector<PublishedRevisionPtr> unpublished_;
  std::vector<Stream> streams_;
  WatchCore::StreamId next_stream_ = 1;
  std::optional<WatchCore::Read> read_;
  std::unique_ptr<Result<EventBatch>> outcome_;
  WatchHub::Position read_position_;
};

TEST(KvWatchCoreStorm, KeepsEveryPromise) {
  auto seeds = SeededRandom();
  for (int round = 0; round < 40; ++round) {
    SCOPED_TRACE("round " + std::to_string(round));
    WatchCoreStorm(static_cast<std::uint32_t>(seeds())).Run(1500);
    if (testing::Test::HasFailure()) return;
  }
}

}  // namespace
}  // namespace vellum::kv
