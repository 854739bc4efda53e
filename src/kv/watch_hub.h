#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "base/log.h"
#include "base/metrics.h"
#include "kv/view.h"
#include "vellum/clock.h"
#include "vellum/types.h"

namespace vellum::kv {

/// The events of one revision, shared by all who deliver it. `encoded` is a slot in which the room that puts events on
/// the wire caches one encoding per event and per (with previous value?), so that a thousand watchers cost one.
struct PublishedEvent {
  Event event;  ///< prev_kv always filled where it exists.
  mutable std::shared_ptr<const std::string> encoded[2];  ///< Touched by the hub's thread only.
};
struct PublishedRevision {
  Revision revision = 0;
  std::vector<PublishedEvent> events;
  std::size_t bytes = 0;
  /// Too big to be held in memory (a command applied in parts): `events` is empty, watchers read it back from `rev`.
  bool stored_only = false;
};
using PublishedRevisionPtr = std::shared_ptr<const PublishedRevision>;

struct WatchOptions {
  KeyInterval interval;
  Revision start = 0;  ///< 0: after the current revision.
  bool no_put = false;
  bool no_delete = false;
  bool with_previous = false;
  bool progress_notify = false;
};

/// What a watcher gets, in this order: one kCreated, then any number of kEvents and kProgress, then one kCompacted or
/// kFailed unless it was cancelled; after these two the hub has forgotten it.
struct WatchDelivery {
  enum class Kind : std::uint8_t { kCreated, kEvents, kProgress, kCompacted, kFailed };
  Kind kind = Kind::kEvents;
  std::int64_t watcher = 0;
  /// kCreated, kProgress: the store's revision. kEvents: the header's revision. kCompacted: C.
  Revision revision = 0;
  /// kEvents: in revision and sub order, whole revisions only, filters applied. Valid while it is being delivered.
  std::span<const PublishedEvent* const> events;
  Status failure;  ///< kFailed.
};

/// Where a stream of watchers takes its deliveries. Called on the hub's thread only.
class WatchSink {
 public:
  virtual ~WatchSink() = default;
  /// Takes a delivery. `with_previous` is the watcher's. Must not block.
  virtual void Deliver(const WatchDelivery& delivery) = 0;
  /// False: the stream's buffer is full (bytes not yet on the socket). Its watchers then get nothing more and fall back
  /// to reading history, until WatchHub::SinkReady.
  virtual bool Accepts() const = 0;
  /// Ends a turn in which this sink got deliveries: the place to wake whoever writes them to the socket, once for all.
  virtual void Flush() {}
};

/// Delivers events to watchers on one thread. The applier appends and never waits; registration happens on the hub's
/// thread, so that `created` and the first event cannot be out of order. Slow consumers fall back to reading history and
/// never hold memory beyond a limit.
class WatchHub {
 public:
  struct Options {
    std::size_t ring_bytes = 64u << 20;
    std::size_t catch_up_revisions_max = 1000;
    std::size_t catch_up_bytes_max = 12u << 20;  ///< etcd has no such limit; its own suite wants ten megabytes at once.
    std::int64_t catch_up_scan_max = 10'000;     ///< Revisions looked at per read, whether or not they have events.
    std::chrono::milliseconds progress_interval{std::chrono::minutes(10)};
    Clock* clock = SystemClock();
    Logger logger;
    Metrics* metrics = nullptr;
  };
  using StreamId = std::uint64_t;

  /// How far the store is, and how far it is compacted.
  struct Position {
    Revision revision = 0;
    Revision compacted = kNeverCompacted;
  };
  /// What the hub asks the store: `read` on a thread of the hub, `position` on any.
  struct Source {
    std::function<Position()> position;
    /// ReadEvents on a view no older than the last Position; `position` gets the view's, as it is after the read.
    std::function<Result<EventBatch>(const EventQuery&, Position* position)> read;
  };

  WatchHub(Options options, Source source);
  WatchHub(Options options, std::function<std::shared_ptr<const View>()> current_view);
  /// Stops.
  ~WatchHub();
  /// Everything up to the source's position counts as published. Call before the first Publish beyond it.
  void Start();
  /// Releases all sinks; what is asked for afterwards is answered at once, by nothing. Idempotent.
  void Stop();

  /// A stream of watchers that share a sink. The sink is released after CloseStream, on the hub's thread (once stopped:
  /// on the caller's), and is not called any more then; a delivery may be under way while CloseStream returns.
  StreamId OpenStream(std::shared_ptr<WatchSink> sink);
  void CloseStream(StreamId stream);
  /// Adds a watcher under an id the caller chose, unique in its stream. Answered by kCreated, or kCreated and kCompacted.
  void Watch(StreamId stream, std::int64_t watcher, WatchOptions options);
  /// `done` runs on the hub's thread: whether the watcher was there. Nothing is delivered for it afterwards.
  void Cancel(StreamId stream, std::int64_t watcher, std::function<void(bool existed)> done);
  /// `done` runs on the hub's thread with a revision, at least the one that was current at the call, if every watcher of
  /// the stream has been delivered everything up to it and none starts in the future; with nullopt otherwise (also for a
  /// stream without watchers).
  void RequestProgress(StreamId stream, std::function<void(std::optional<Revision>)> done);
  /// The sink has room again.
  void SinkReady(StreamId stream);

  /// From the applier, after the view that shows it has been published. In revision order, without gaps.
  void Publish(std::vector<PublishedRevisionPtr> revisions);

  std::size_t watchers() const;
  std::size_t slow_watchers() const;

  /// Runs what is due by the clock (periodic progress), now, and waits for it. For tests with a manual clock.
  void Tick();

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace vellum::kv
