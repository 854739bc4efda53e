#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "base/mutex.h"
#include "kv/watch_hub.h"

namespace vellum::kv::testing_util {

/// All events that ever were, in memory: stands for the store behind a watch hub. Thread-safe.
class FakeHistory {
 public:
  Revision revision() const {
    MutexLock lock(&mu_);
    return CurrentLocked();
  }
  WatchHub::Position position() const {
    MutexLock lock(&mu_);
    return {CurrentLocked(), compacted_};
  }
  void Compact(Revision revision) {
    MutexLock lock(&mu_);
    compacted_ = std::max(compacted_, revision);
  }

  /// Writes one revision, whose events are `changes` in this order, and returns what the applier would publish.
  struct Change {
    EventType type = EventType::kPut;
    std::string key;
  };
  PublishedRevisionPtr Write(const std::vector<Change>& changes) {
    MutexLock lock(&mu_);
    const Revision revision = CurrentLocked() + 1;
    RevisionEvents written{revision, {}};
    auto published = std::make_shared<PublishedRevision>();
    published->revision = revision;
    for (const Change& change : changes) {
      Event event;
      event.type = change.type;
      event.kv.key = change.key;
      event.kv.mod_revision = revision;
      event.kv.value = std::string(100, 'v');
      published->bytes += 300;
      published->events.push_back({event, {}});
      written.events.push_back(std::move(event));
    }
    revisions_.push_back(std::move(written));
    return published;
  }

  Result<EventBatch> Read(const EventQuery& query) const {
    MutexLock lock(&mu_);
    if (!failure_.ok()) return failure_;
    if (query.from < compacted_) return OutOfRange("compacted", Reason::kCompacted);
    EventBatch batch;
    batch.next = query.from;
    std::size_t bytes = 0;
    const Revision to = std::min(query.to, CurrentLocked());
    while (batch.next <= to && batch.revisions.size() < query.revisions_max && bytes < query.bytes_max) {
      RevisionEvents found{batch.next, {}};
      for (const Event& event : EventsLocked(batch.next++)) {
        const bool wanted = std::any_of(query.intervals.begin(), query.intervals.end(),
                                        [&](const KeyInterval& i) { return i.Contains(event.kv.key); });
        if (!wanted) continue;
        bytes += 300;
        found.events.push_back(event);
      }
      if (!found.events.empty()) batch.revisions.push_back(std::move(found));
    }
    return batch;
  }
  void FailReads(Status failure) {
    MutexLock lock(&mu_);
    failure_ = std::move(failure);
  }

  WatchHub::Source Source() const {
    return {[this] { return position(); },
            [this](const EventQuery& query, WatchHub::Position* at) {
              auto batch = Read(query);
              *at = position();
              return batch;
            }};
  }

  /// The events of one revision that a watcher wants.
  std::vector<Event> Wanted(Revision revision, const WatchOptions& options) const {
    MutexLock lock(&mu_);
    std::vector<Event> wanted;
    for (const Event& event : EventsLocked(revision)) {
      const bool filtered = event.type == EventType::kPut ? options.no_put : options.no_delete;
      if (!filtered && options.interval.Contains(event.kv.key)) wanted.push_back(event);
    }
    return wanted;
  }

 private:
  static constexpr Revision kFirst = 2;
  Revision CurrentLocked() const VELLUM_REQUIRES(mu_) { return kFirst - 1 + static_cast<Revision>(revisions_.size()); }
  const std::vector<Event>& EventsLocked(Revision revision) const VELLUM_REQUIRES(mu_) {
    static const std::vector<Event> kNone;
    if (revision < kFirst || revision > CurrentLocked()) return kNone;
    return revisions_[static_cast<std::size_t>(revision - kFirst)].events;
  }

  mutable Mutex mu_;
  std::vector<RevisionEvents> revisions_ VELLUM_GUARDED_BY(mu_);
  Revision compacted_ VELLUM_GUARDED_BY(mu_) = kNeverCompacted;
  Status failure_ VELLUM_GUARDED_BY(mu_);
};

/// Takes deliveries and checks, at each, everything that a watch promises. Thread-safe.
class CheckingSink final : public WatchSink {
 public:
  explicit CheckingSink(const FakeHistory* history) : history_(history) {}

  /// Call before the hub is asked to watch.
  void Expect(std::int64_t id, const WatchOptions& options) {
    MutexLock lock(&mu_);
    watchers_[id] = Watched{options, 0, false, false, 0, 0, 0};
  }
  void ExpectNothingMore(std::int64_t id) {
    MutexLock lock(&mu_);
    watchers_[id].over = true;
  }

  void Deliver(const WatchDelivery& delivery) override {
    MutexLock lock(&mu_);
    changed_.NotifyAll();
    ASSERT_TRUE(watchers_.contains(delivery.watcher));
    Watched& watched = watchers_[delivery.watcher];
    ASSERT_FALSE(watched.over) << "something after the end";
    ++watched.deliveries;
    switch (delivery.kind) {
      case WatchDelivery::Kind::kCreated:
        ASSERT_FALSE(watched.created);
        watched.created = true;
        watched.next = watched.options.start == 0 ? delivery.revision + 1 : watched.options.start;
        return;
      case WatchDelivery::Kind::kEvents:
        ASSERT_TRUE(watched.created) << "events before created";
        return CheckEvents(&watched, delivery);
      case WatchDelivery::Kind::kProgress:
        ASSERT_TRUE(watched.created);
        ++watched.progress;
        return Reached(&watched, delivery.revision);
      case WatchDelivery::Kind::kCompacted:
        ASSERT_TRUE(watched.created);
        ASSERT_LT(watched.next, delivery.revision) << "ended although it could have gone on";
        watched.over = true;
        watched.compacted = true;
        return;
      case WatchDelivery::Kind::kFailed:
        watched.over = true;
        watched.failure = delivery.failure;
        return;
    }
  }
  bool Accepts() const override {
    MutexLock lock(&mu_);
    return accepts_;
  }
  void Flush() override {
    MutexLock lock(&mu_);
    ++flushes_;
  }
  void SetAccepts(bool accepts) {
    MutexLock lock(&mu_);
    accepts_ = accepts;
  }

  /// The stream's requested progress.
  void Progress(Revision revision) {
    MutexLock lock(&mu_);
    for (auto& [id, watched] : watchers_) {
      if (!watched.over) Reached(&watched, revision);
    }
  }

  /// Every watcher that goes on must have had everything up to `revision`.
  void CheckComplete(Revision revision) {
    MutexLock lock(&mu_);
    for (auto& [id, watched] : watchers_) {
      if (watched.over) continue;
      ASSERT_TRUE(watched.created) << "watcher " << id;
      ASSERT_EQ(MissingLocked(watched, revision), 0) << "watcher " << id << " lacks this revision";
    }
  }
  /// Waits until `id` has had everything up to `revision`, or has ended.
  void AwaitComplete(std::int64_t id, Revision revision) {
    MutexLock lock(&mu_);
    while (!watchers_[id].over && (!watchers_[id].created || MissingLocked(watchers_[id], revision) != 0))
      changed_.Wait(&mu_);
  }

  std::int64_t deliveries(std::int64_t id) const { return Get(id).deliveries; }
  std::int64_t progress(std::int64_t id) const { return Get(id).progress; }
  Revision header(std::int64_t id) const { return Get(id).header; }
  bool compacted(std::int64_t id) const { return Get(id).compacted; }
  bool over(std::int64_t id) const { return Get(id).over; }
  Status failure(std::int64_t id) const { return Get(id).failure; }
  std::int64_t events(std::int64_t id) const { return Get(id).events; }
  std::int64_t flushes() const {
    MutexLock lock(&mu_);
    return flushes_;
  }

 private:
  struct Watched {
    WatchOptions options;
    Revision next = 0;  ///< Everything below has been delivered, or is not wanted.
    bool created = false;
    bool over = false;
    std::int64_t deliveries = 0;
    std::int64_t progress = 0;
    std::int64_t events = 0;
    Revision header = 0;
    bool compacted = false;
    Status failure = {};
  };

  Watched Get(std::int64_t id) const {
    MutexLock lock(&mu_);
    const auto it = watchers_.find(id);
    return it == watchers_.end() ? Watched() : it->second;
  }

  /// The first revision up to `revision` that has wanted events and has not been delivered; 0: none.
  Revision MissingLocked(const Watched& watched, Revision revision) const VELLUM_REQUIRES(mu_) {
    for (Revision r = std::max<Revision>(2, watched.next); r <= revision; ++r) {
      if (!history_->Wanted(r, watched.options).empty()) return r;
    }
    return 0;
  }
  void Reached(Watched* watched, Revision revision) VELLUM_REQUIRES(mu_) {
    ASSERT_EQ(MissingLocked(*watched, revision), 0) << "progress ahead of events";
    watched->next = std::max(watched->next, revision + 1);
  }
  void CheckEvents(Watched* watched, const WatchDelivery& delivery) VELLUM_REQUIRES(mu_) {
    ASSERT_FALSE(delivery.events.empty());
    std::size_t at = 0;
    while (at < delivery.events.size()) {
      const Revision revision = delivery.events[at]->event.kv.mod_revision;
      ASSERT_GE(revision, watched->next) << "repeated or out of order";
      ASSERT_EQ(MissingLocked(*watched, revision - 1), 0) << "a gap before " << revision;
      for (const Event& event : history_->Wanted(revision, watched->options)) {
        ASSERT_LT(at, delivery.events.size()) << "revision " << revision << " is cut";
        ASSERT_EQ(delivery.events[at]->event, event);
        ++at;
      }
      ASSERT_LE(revision, delivery.revision);
      watched->next = revision + 1;
    }
    watched->events += static_cast<std::int64_t>(delivery.events.size());
    watched->header = delivery.revision;
  }

  const FakeHistory* const history_;
  mutable Mutex mu_;
  CondVar changed_;
  std::map<std::int64_t, Watched> watchers_ VELLUM_GUARDED_BY(mu_);
  bool accepts_ VELLUM_GUARDED_BY(mu_) = true;
  std::int64_t flushes_ VELLUM_GUARDED_BY(mu_) = 0;
};

}  // namespace vellum::kv::testing_util
