#pragma once

#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <optional>
#include <unordered_map>
#include <vector>

#include "kv/event_ring.h"
#include "kv/interval_index.h"
#include "kv/watch_hub.h"

namespace vellum::kv {

/// What the watch hub does, without its threads: who watches what, how far each has got, and what it gets next. Not
/// thread-safe; deliveries happen inside the calls.
///
/// A watcher is *synced* if the next revision it needs has not been published yet: it is in the index, and gets events
/// as they are published. Otherwise it is *behind*: it waits in a queue for the ring or for a read of history, or, if
/// its sink has no room, with its stream for SinkReady. Its next revision is all that is kept of what it missed.
class WatchCore {
 public:
  struct Watcher;
  using WatcherPtr = std::shared_ptr<Watcher>;
  using Position = WatchHub::Position;
  using StreamId = WatchHub::StreamId;
  using ProgressDone = std::function<void(std::optional<Revision>)>;

  WatchCore(const WatchHub::Options& options, Position now);
  ~WatchCore();

  void OpenStream(StreamId id, std::shared_ptr<WatchSink> sink);
  void CloseStream(StreamId id);
  /// `now.revision` is the store's when the caller asked.
  void Watch(StreamId stream, std::int64_t watcher, WatchOptions options, Position now);
  bool Cancel(StreamId stream, std::int64_t watcher);
  /// `done` runs inside this call or inside a later AnswerProgress.
  void RequestProgress(StreamId stream, Position now, ProgressDone done);
  /// Answers those requests whose revision has been reached.
  void AnswerProgress();
  void SinkReady(StreamId stream);

  /// Delivers revisions that follow each other and what was published before. If they do not follow, the revisions
  /// between are left to history.
  void Publish(const std::vector<PublishedRevisionPtr>& revisions);
  /// Everything up to `revision` is in history only.
  void SkipTo(Revision revision);

  /// Lets watchers that are behind catch up from the ring; bounded. True: there is more to do.
  bool CatchUpFromRing(Position now);

  /// A read of history that several watchers share.
  struct Read {
    EventQuery query;
    std::vector<WatcherPtr> watchers;
  };
  /// What to read next for those who are behind the ring; nullopt: nobody is. The watchers wait for ReadDone.
  std::optional<Read> NextRead(Position now);
  /// The outcome, and where the store was when it was read.
  void ReadDone(Read read, Result<EventBatch> outcome, Position now);

  /// Periodic progress, and streams whose SinkReady got lost.
  void Tick(Clock::TimePoint now);

  Revision published() const { return published_; }
  std::size_t streams() const { return streams_.size(); }
  std::size_t watchers() const { return watchers_; }
  std::size_t slow_watchers() const { return behind_; }
  std::uint64_t events_sent() const { return events_sent_; }
  bool awaits_progress() const { return !progress_requests_.empty(); }
  bool wants_ticks() const { return progress_watchers_ > 0 || stalled_ > 0; }

 private:
  struct Stream;
  struct ProgressRequest {
    StreamId stream = 0;
    Revision revision = 0;
    ProgressDone done;
  };

  Stream* FindStream(StreamId id);
  /// Puts a watcher that is nowhere where its position and its sink's room say.
  void Place(const WatcherPtr& watcher);
  void SetBehind(Watcher* watcher, bool behind);
  /// Takes a synced watcher out of the index, to catch up from `next`.
  void FallBehind(Watcher* watcher, Revision next);
  /// Takes a watcher off all books, for good, but for those queues that skip it when it comes up.
  void Forget(const WatcherPtr& watcher);
  void EndCompacted(const WatcherPtr& watcher, Revision compacted);
  void EndFailed(const WatcherPtr& watcher, const Status& failure);
  void Deliver(Stream* stream, const WatchDelivery& delivery);
  void FlushSinks();
  /// Adds the event to what the watcher is sent next, if it wants it. Whoever calls keeps `revision` until that is sent.
  static bool Collect(Watcher* watcher, const PublishedRevision& revision, const PublishedEvent& event);
  void SendCollected(Watcher* watcher, Revision header);
  static void DropCollected(Watcher* watcher);
  /// Sends what Publish collected, or lets those fall behind whose sinks have no room.
  void SendTouched();
  void MatchSynced(const PublishedRevision& revision);
  /// Whether the ring can serve a watcher that is behind.
  bool CanReplay(const Watcher& watcher, Position now) const;
  /// Places a watcher that is behind and that the ring does not serve now.
  void Queue(const WatcherPtr& watcher, Position now);
  /// Returns the number of events looked at.
  std::size_t CatchUpOne(const WatcherPtr& watcher, Position now);
  /// The watcher that decides what is read next; null: none.
  WatcherPtr NextReader(Position now);
  void AddCompanions(Read* read);
  void ReadFailed(const Read& read, const Status& failure, Position now);
  void ResumeStalled(Stream* stream);
  bool AllDelivered(const Stream& stream) const;
  void SendProgress(Stream* stream);

  const WatchHub::Options options_;
  EventRing ring_;  ///< Empty, or ends with published_.
  Revision published_;  ///< Everything up to here has been delivered to synced watchers.
  IntervalIndex synced_;
  std::unordered_map<StreamId, std::unique_ptr<Stream>> streams_;
  std::deque<WatcherPtr> ring_queue_;  ///< Behind, but within the ring when they were queued. Holds forgotten ones too.
  std::deque<WatcherPtr> read_queue_;  ///< Behind the ring. Holds forgotten ones too.
  std::vector<ProgressRequest> progress_requests_;
  std::vector<Watcher*> touched_;  ///< Those for whom the Publish that is running collected something.
  std::vector<Stream*> to_flush_;  ///< Empty between calls.
  std::size_t watchers_ = 0;
  std::size_t behind_ = 0;
  std::size_t stalled_ = 0;
  std::size_t progress_watchers_ = 0;
  std::uint64_t events_sent_ = 0;
};

}  // namespace vellum::kv
