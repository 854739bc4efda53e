#include "model/watcher.h"

#include <gtest/gtest.h>

#include <utility>

namespace vellum::model {

struct Watcher::Box final : kv::WatchSink {
  void Deliver(const kv::WatchDelivery& delivery) override VELLUM_EXCLUDES(mu) {
    MutexLock lock(&mu);
    for (const kv::PublishedEvent* event : delivery.events) events.push_back(event->event);
    if (delivery.kind == kv::WatchDelivery::Kind::kCompacted) compacted = delivery.revision;
    if (delivery.kind == kv::WatchDelivery::Kind::kFailed) failure = delivery.failure;
    wake.NotifyAll();
  }
  bool Accepts() const override { return true; }

  /// Waits for so many events, or the end of the watch.
  void Await(std::size_t count) VELLUM_EXCLUDES(mu) {
    const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(60);
    MutexLock lock(&mu);
    while (events.size() < count && !compacted && failure.ok() && std::chrono::steady_clock::now() < deadline) {
      wake.WaitFor(&mu, std::chrono::milliseconds(100));
    }
  }

  Mutex mu;
  CondVar wake;
  std::vector<Event> events VELLUM_GUARDED_BY(mu);
  std::optional<Revision> compacted VELLUM_GUARDED_BY(mu);
  Status failure VELLUM_GUARDED_BY(mu);
};

void Watcher::Attach(kv::Engine* engine) {
  engine_ = engine;
  box_ = std::make_shared<Box>();
  stream_ = engine->watch_hub().OpenStream(box_);
  kv::WatchOptions options;
  options.interval = kv::KeyInterval::FromRequest(key_, range_end_);
  options.start = next_;
  options.with_previous = true;
  engine->watch_hub().Watch(stream_, 1, options);
}

void Watcher::Detach() {
  engine_->watch_hub().CloseStream(stream_);
  engine_ = nullptr;
  box_.reset();
}

std::vector<Event> Watcher::Expected(const Reference& reference, Revision to) const {
  std::vector<Event> events;
  for (Revision r = std::max<Revision>(next_, 2); r <= to; ++r) {
    for (const Event& event : reference.EventsAt(r)) {
      if (InInterval(event.kv.key, key_, range_end_)) events.push_back(event);
    }
  }
  return events;
}

void Watcher::Verify(const Reference& reference) {
  const std::vector<Event> expected = Expected(reference, reference.revision());
  box_->Await(expected.size());
  std::vector<Event> got;
  std::optional<Revision> compacted;
  {
    MutexLock lock(&box_->mu);
    got = box_->events;
    compacted = box_->compacted;
    ASSERT_TRUE(box_->failure.ok()) << box_->failure.ToString();
  }
  // Where the state before a change is compacted by now, the watch may have to do without it.
  ASSERT_LE(got.size(), expected.size());
  std::vector<Event> wanted(expected.begin(), expected.begin() + static_cast<std::ptrdiff_t>(got.size()));
  for (std::size_t i = 0; i < got.size(); ++i) {
    if (!got[i].prev_kv && wanted[i].kv.mod_revision <= reference.compacted()) wanted[i].prev_kv.reset();
  }
  ASSERT_EQ(Describe(got), Describe(wanted)) << "watch of " << key_ << " from " << next_;
  if (compacted) {
    ASSERT_LE(*compacted, reference.compacted());
    ASSERT_GT(*compacted, got.empty() ? 0 : got.back().kv.mod_revision);
    next_ = reference.compacted();
  } else {
    ASSERT_EQ(got.size(), expected.size()) << "watch of " << key_ << " from " << next_;
    next_ = reference.revision() + 1;
  }
  kv::Engine* const engine = engine_;
  Detach();
  Attach(engine);
}

}  // namespace vellum::model
