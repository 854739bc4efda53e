#include "kv/watch_hub.h"

#include <atomic>
#include <thread>
#include <utility>

#include "base/mutex.h"
#include "kv/event_ring.h"
#include "kv/watch_core.h"

namespace vellum::kv {
namespace {

/// What one turn of live delivery takes at most, so that control messages and those behind get theirs.
constexpr std::size_t kRevisionsPerTurn = 1000;
constexpr std::size_t kBytesPerTurn = 4u << 20;
constexpr std::chrono::milliseconds kTickInterval{100};
/// What may lie in the inbox while nobody watches. Waking the hub for every group would cost a lone writer as much as its put.
constexpr std::size_t kUnwatchedBytes = 256u << 10;

}  // namespace

struct WatchHub::Impl {
  /// Runs on the hub's thread; with null once the hub has stopped.
  using Message = std::function<void(WatchCore*)>;

  Impl(Options opts, Source src) : options(std::move(opts)), source(std::move(src)), inbox(options.ring_bytes) {}

  void Post(Message message) VELLUM_EXCLUDES(mu);
  void Run() VELLUM_EXCLUDES(mu);
  void RunReader() VELLUM_EXCLUDES(mu);
  /// Takes what has come in; waits if there is nothing and `more_work` is false. Events alone end the wait only if they
  /// `concern` anybody, or become many. False: stop.
  bool TakeWork(bool more_work, bool concern, Revision published) VELLUM_EXCLUDES(mu);
  void StartRead(WatchCore* core) VELLUM_EXCLUDES(mu);
  void AddMetrics();

  // Constant after construction.
  const Options options;
  const Source source;

  mutable Mutex mu;
  CondVar wake;         ///< The hub's thread waits on it.
  CondVar reader_wake;  ///< The reader's thread waits on it.
  std::vector<Message> messages VELLUM_GUARDED_BY(mu);
  EventRing inbox VELLUM_GUARDED_BY(mu);  ///< Published, not taken yet. What it had to drop is read from history.
  Revision newest VELLUM_GUARDED_BY(mu) = 0;
  bool running VELLUM_GUARDED_BY(mu) = false;
  bool stopping VELLUM_GUARDED_BY(mu) = false;
  bool stopped VELLUM_GUARDED_BY(mu) = false;
  bool unwatched VELLUM_GUARDED_BY(mu) = false;  ///< The hub sleeps, and nobody whom an event concerns is there.
  bool read_in_flight VELLUM_GUARDED_BY(mu) = false;
  std::optional<WatchCore::Read> read_job VELLUM_GUARDED_BY(mu);
  StreamId next_stream VELLUM_GUARDED_BY(mu) = 1;

  // The hub's thread only: what the present turn works at.
  std::vector<Message> turn_messages;
  std::vector<PublishedRevisionPtr> turn_revisions;
  Revision turn_newest = 0;
  bool turn_timed_out = false;
  std::unique_ptr<WatchCore> core;

  // Written by the hub's thread, read by any.
  std::atomic<std::size_t> streams{0};
  std::atomic<std::size_t> watchers{0};
  std::atomic<std::size_t> slow_watchers{0};
  std::atomic<std::uint64_t> events_sent{0};

  std::vector<Metrics::CallbackHandle> metric_handles;
  std::thread hub_thread;     ///< Touched by Start and Stop only, as the next one.
  std::thread reader_thread;
};

void WatchHub::Impl::AddMetrics() {
  if (options.metrics == nullptr) return;
  const auto add = [this](Metrics::Kind kind, const char* name, const char* help, std::function<double()> read) {
    metric_handles.push_back(options.metrics->AddCallback(kind, name, help, std::move(read)));
  };
  using Kind = Metrics::Kind;
  add(Kind::kGauge, "etcd_debugging_mvcc_watch_stream_total", "Total number of watch streams.",
      [this] { return static_cast<double>(streams.load()); });
  add(Kind::kGauge, "etcd_debugging_mvcc_watcher_total", "Total number of watchers.",
      [this] { return static_cast<double>(watchers.load()); });
  add(Kind::kGauge, "etcd_debugging_mvcc_slow_watcher_total", "Total number of unsynced slow watchers.",
      [this] { return static_cast<double>(slow_watchers.load()); });
  add(Kind::kGauge, "etcd_debugging_mvcc_pending_events_total", "Total number of pending events to be sent.", [this] {
    MutexLock lock(&mu);
    return static_cast<double>(inbox.events());
  });
  add(Kind::kCounter, "etcd_debugging_mvcc_events_total", "Total number of events sent by this member.",
      [this] { return static_cast<double>(events_sent.load()); });
}

void WatchHub::Impl::Post(Message message) {
  {
    MutexLock lock(&mu);
    if (!stopped) {
      messages.push_back(std::move(message));
      wake.NotifyOne();
      return;
    }
  }
  message(nullptr);
}

bool WatchHub::Impl::TakeWork(bool more_work, bool concern, Revision published) {
  const bool wants_ticks = core->wants_ticks();
  turn_timed_out = false;
  turn_messages.clear();
  turn_revisions.clear();
  MutexLock lock(&mu);
  const auto events_wait = [&]() VELLUM_REQUIRES(mu) {
    return newest > published && (concern || inbox.bytes() >= kUnwatchedBytes);
  };
  while (!stopping && messages.empty() && !events_wait() && !more_work && !turn_timed_out) {
    unwatched = !concern;
    if (wants_ticks)
      turn_timed_out = !wake.WaitFor(&mu, kTickInterval);
    else
      wake.Wait(&mu);
    unwatched = false;
  }
  if (stopping) return false;
  turn_messages.swap(messages);
  std::size_t bytes = 0;
  while (!inbox.empty() && turn_revisions.size() < kRevisionsPerTurn && bytes < kBytesPerTurn) {
    turn_revisions.push_back(inbox.PopFront());
    bytes += EventRing::Cost(*turn_revisions.back());
  }
  // What the inbox could not hold is skipped, but not what it still holds.
  turn_newest = inbox.empty() ? newest : turn_revisions.back()->revision;
  return true;
}

void WatchHub::Impl::StartRead(WatchCore* watch_core) {
  {
    MutexLock lock(&mu);
    if (read_in_flight) return;
  }
  auto read = watch_core->NextRead(source.position());
  if (!read) return;
  MutexLock lock(&mu);
  read_in_flight = true;
  read_job = std::move(read);
  reader_wake.NotifyOne();
}

void WatchHub::Impl::Run() {
  bool more_work = false;
  Clock::TimePoint ticked = options.clock->Now();
  // Whoever asks for progress waits for the events before it, watchers or not.
  while (TakeWork(more_work, core->watchers() > 0 || core->awaits_progress(), core->published())) {
    // Events first: what a message asks for happens after everything that was published before it.
    core->Publish(turn_revisions);
    core->SkipTo(turn_newest);
    for (Message& message : turn_messages) message(core.get());
    more_work = core->slow_watchers() > 0 && core->CatchUpFromRing(source.position());
    if (core->slow_watchers() > 0) StartRead(core.get());
    streams.store(core->streams(), std::memory_order_relaxed);
    watchers.store(core->watchers(), std::memory_order_relaxed);
    slow_watchers.store(core->slow_watchers(), std::memory_order_relaxed);
    events_sent.store(core->events_sent(), std::memory_order_relaxed);
    core->AnswerProgress();
    const Clock::TimePoint now = options.clock->Now();
    if (turn_timed_out || now - ticked >= kTickInterval) {
      core->Tick(now);
      ticked = now;
    }
  }
}

void WatchHub::Impl::RunReader() {
  for (;;) {
    auto read = std::make_shared<WatchCore::Read>();
    {
      MutexLock lock(&mu);
      while (!stopping && !read_job) reader_wake.Wait(&mu);
      if (stopping) return;
      *read = std::move(*read_job);
      read_job.reset();
    }
    Position position;
    auto outcome = std::make_shared<Result<EventBatch>>(source.read(read->query, &position));
    {
      MutexLock lock(&mu);
      read_in_flight = false;
    }
    Post([read, outcome, position](WatchCore* watch_core) {
      if (watch_core != nullptr) watch_core->ReadDone(std::move(*read), std::move(*outcome), position);
    });
  }
}

WatchHub::WatchHub(Options options, Source source)
    : impl_(std::make_unique<Impl>(std::move(options), std::move(source))) {}

WatchHub::~WatchHub() { Stop(); }

void WatchHub::Start() {
  {
    MutexLock lock(&impl_->mu);
    if (impl_->running || impl_->stopped) return;
    impl_->running = true;
  }
  const Position now = impl_->source.position();
  impl_->core = std::make_unique<WatchCore>(impl_->options, now);
  impl_->AddMetrics();
  impl_->hub_thread = std::thread([impl = impl_.get()] { impl->Run(); });
  impl_->reader_thread = std::thread([impl = impl_.get()] { impl->RunReader(); });
}

void WatchHub::Stop() {
  {
    MutexLock lock(&impl_->mu);
    impl_->stopping = true;
    impl_->wake.NotifyAll();
    impl_->reader_wake.NotifyAll();
  }
  if (impl_->hub_thread.joinable()) impl_->hub_thread.join();
  if (impl_->reader_thread.joinable()) impl_->reader_thread.join();
  impl_->metric_handles.clear();
  impl_->core.reset();
  std::vector<Impl::Message> left;
  {
    MutexLock lock(&impl_->mu);
    impl_->stopped = true;
    impl_->running = false;
    impl_->read_job.reset();
    left.swap(impl_->messages);
  }
  for (Impl::Message& message : left) message(nullptr);
}

WatchHub::StreamId WatchHub::OpenStream(std::shared_ptr<WatchSink> sink) {
  StreamId id = 0;
  {
    MutexLock lock(&impl_->mu);
    id = impl_->next_stream++;
  }
  impl_->Post([id, sink = std::move(sink)](WatchCore* core) {
    if (core != nullptr) core->OpenStream(id, sink);
  });
  return id;
}

void WatchHub::CloseStream(StreamId stream) {
  impl_->Post([stream](WatchCore* core) {
    if (core != nullptr) core->CloseStream(stream);
  });
}

void WatchHub::Watch(StreamId stream, std::int64_t watcher, WatchOptions options) {
  const Revision current = impl_->source.position().revision;
  impl_->Post([impl = impl_.get(), stream, watcher, current, options = std::move(options)](WatchCore* core) {
    if (core != nullptr) core->Watch(stream, watcher, options, {current, impl->source.position().compacted});
  });
}

void WatchHub::Cancel(StreamId stream, std::int64_t watcher, std::function<void(bool existed)> done) {
  impl_->Post([stream, watcher, done = std::move(done)](WatchCore* core) {
    const bool existed = core != nullptr && core->Cancel(stream, watcher);
    if (done) done(existed);
  });
}

void WatchHub::RequestProgress(StreamId stream, std::function<void(std::optional<Revision>)> done) {
  const Position now = impl_->source.position();
  impl_->Post([stream, now, done = std::move(done)](WatchCore* core) {
    if (core == nullptr) return done(std::nullopt);
    core->RequestProgress(stream, now, done);
  });
}

void WatchHub::SinkReady(StreamId stream) {
  impl_->Post([stream](WatchCore* core) {
    if (core != nullptr) core->SinkReady(stream);
  });
}

void WatchHub::Publish(std::vector<PublishedRevisionPtr> revisions) {
  bool notify = false;
  {
    MutexLock lock(&impl_->mu);
    for (PublishedRevisionPtr& revision : revisions) {
      impl_->newest = revision->revision;
      impl_->inbox.Append(std::move(revision));
    }
    notify = !impl_->unwatched || impl_->inbox.bytes() >= kUnwatchedBytes;
  }
  // Without the lock, which the hub would wake up to wait for.
  if (notify) impl_->wake.NotifyOne();
}

std::size_t WatchHub::watchers() const { return impl_->watchers.load(std::memory_order_relaxed); }
std::size_t WatchHub::slow_watchers() const { return impl_->slow_watchers.load(std::memory_order_relaxed); }

void WatchHub::Tick() {
  {
    MutexLock lock(&impl_->mu);
    if (!impl_->running) return;
  }
  struct Waited {
    Mutex mu;
    CondVar done_wake;
    bool done VELLUM_GUARDED_BY(mu) = false;
  };
  auto waited = std::make_shared<Waited>();
  impl_->Post([impl = impl_.get(), waited](WatchCore* core) {
    if (core != nullptr) core->Tick(impl->options.clock->Now());
    MutexLock lock(&waited->mu);
    waited->done = true;
    waited->done_wake.NotifyAll();
  });
  MutexLock lock(&waited->mu);
  while (!waited->done) waited->done_wake.Wait(&waited->mu);
}

}  // namespace vellum::kv
