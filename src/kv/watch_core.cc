#include "kv/watch_core.h"

#include <algorithm>
#include <iterator>
#include <map>
#include <utility>

#include "base/check.h"

namespace vellum::kv {
namespace {

/// Events looked at before live delivery gets its turn again.
constexpr std::size_t kRingEventsPerTurn = 8192;
/// What the ring keeps while nobody watches: enough for clients that lost their connection to come back to.
constexpr std::size_t kUnwatchedRingBytes = 8u << 20;
/// Watchers that share one read, and the distinct intervals that one read filters by.
constexpr std::size_t kWatchersPerRead = 512;
constexpr std::size_t kIntervalsPerRead = 64;
/// Queued watchers looked at to find those that can share a read.
constexpr std::size_t kCompanionsLookedAt = 4096;
/// Events for which a watcher keeps room between deliveries.
constexpr std::size_t kKeptEvents = 8;

std::size_t BytesOf(const KeyValue& kv) { return kv.key.size() + kv.value.size() + sizeof(KeyValue); }

std::size_t BytesOf(const Event& event) {
  return BytesOf(event.kv) + (event.prev_kv ? BytesOf(*event.prev_kv) : 0);
}

PublishedRevisionPtr MakePublished(RevisionEvents&& read) {
  auto revision = std::make_shared<PublishedRevision>();
  revision->revision = read.revision;
  revision->events.reserve(read.events.size());
  for (Event& event : read.events) {
    revision->bytes += BytesOf(event);
    revision->events.push_back({std::move(event), {}});
  }
  return revision;
}

/// Between 0 and a tenth of `interval`, the same for the same number.
std::chrono::milliseconds Jitter(std::uint64_t number, std::chrono::milliseconds interval) {
  const auto percent_thousandths = static_cast<std::int64_t>((number * 0x9e3779b97f4a7c15u) >> 32) % 10'000;
  return interval * percent_thousandths / 100'000;
}

}  // namespace

struct WatchCore::Watcher : IntervalIndex::Item, std::enable_shared_from_this<Watcher> {
  enum class Where : std::uint8_t { kNowhere, kSynced, kRingQueue, kReadQueue, kReading, kStalled, kGone };

  Stream* stream = nullptr;  ///< Valid unless kGone.
  std::int64_t id = 0;
  WatchOptions options;
  /// The next revision it needs. While synced: the later of this and published_ + 1.
  Revision next = 0;
  Where where = Where::kNowhere;
  bool behind = false;
  bool events_since_tick = false;
  // What it is sent before the running call ends.
  std::vector<const PublishedEvent*> events;
  std::size_t revisions = 0;  ///< Those that the events are of; ...
  Revision first = 0;         ///< ... the first ...
  Revision last = 0;          ///< ... and the last of them.
};

struct WatchCore::Stream {
  StreamId id = 0;
  std::shared_ptr<WatchSink> sink;
  std::unordered_map<std::int64_t, WatcherPtr> watchers;
  std::deque<WatcherPtr> stalled;  ///< Behind, waiting for room. Holds forgotten ones too.
  std::size_t progress_watchers = 0;
  Clock::TimePoint progress_at;  ///< Valid while progress_watchers > 0.
  bool flush = false;
};

WatchCore::WatchCore(const WatchHub::Options& options, Position now)
    : options_(options), ring_(options.ring_bytes), published_(now.revision) {}

WatchCore::~WatchCore() {
  for (const ProgressRequest& request : progress_requests_) request.done(std::nullopt);
}

WatchCore::Stream* WatchCore::FindStream(StreamId id) {
  const auto it = streams_.find(id);
  return it == streams_.end() ? nullptr : it->second.get();
}

void WatchCore::OpenStream(StreamId id, std::shared_ptr<WatchSink> sink) {
  auto stream = std::make_unique<Stream>();
  stream->id = id;
  stream->sink = std::move(sink);
  streams_[id] = std::move(stream);
}

void WatchCore::CloseStream(StreamId id) {
  Stream* stream = FindStream(id);
  if (stream == nullptr) return;
  while (!stream->watchers.empty()) Forget(WatcherPtr(stream->watchers.begin()->second));
  streams_.erase(id);
}

void WatchCore::Watch(StreamId stream_id, std::int64_t id, WatchOptions options, Position now) {
  Stream* stream = FindStream(stream_id);
  if (stream == nullptr) return;
  VELLUM_DCHECK(!stream->watchers.contains(id));
  if (stream->watchers.contains(id)) return;
  // Where the store was when the caller asked, not what has been published here: what a client has seen before it asked
  // is not "after now", and what it writes afterwards is.
  const Revision current = now.revision;
  auto watcher = std::make_shared<Watcher>();
  watcher->stream = stream;
  watcher->id = id;
  watcher->next = options.start == 0 ? current + 1 : options.start;
  watcher->options = std::move(options);
  stream->watchers.emplace(id, watcher);
  ++watchers_;
  if (watcher->options.progress_notify) {
    ++progress_watchers_;
    if (stream->progress_watchers++ == 0) {
      stream->progress_at = options_.clock->Now() + options_.progress_interval +
                            Jitter(stream->id, options_.progress_interval);
    }
  }
  Deliver(stream, {WatchDelivery::Kind::kCreated, id, current, {}, {}});
  if (watcher->next < now.compacted || watcher->next < 0)
    EndCompacted(watcher, now.compacted);
  else
    Place(watcher);
  FlushSinks();
}

bool WatchCore::Cancel(StreamId stream_id, std::int64_t id) {
  Stream* stream = FindStream(stream_id);
  if (stream == nullptr) return false;
  const auto it = stream->watchers.find(id);
  if (it == stream->watchers.end()) return false;
  Forget(WatcherPtr(it->second));
  return true;
}

void WatchCore::Forget(const WatcherPtr& watcher) {
  Stream* const stream = watcher->stream;
  synced_.Remove(watcher.get());
  SetBehind(watcher.get(), false);
  if (watcher->where == Watcher::Where::kStalled) --stalled_;
  watcher->where = Watcher::Where::kGone;
  watcher->stream = nullptr;
  if (watcher->options.progress_notify) {
    --progress_watchers_;
    --stream->progress_watchers;
  }
  --watchers_;
  stream->watchers.erase(watcher->id);
  if (stream->stalled.size() > 2 * stream->watchers.size() + 64) {
    std::erase_if(stream->stalled, [](const WatcherPtr& w) { return w->where != Watcher::Where::kStalled; });
  }
}

void WatchCore::SetBehind(Watcher* watcher, bool behind) {
  if (watcher->behind == behind) return;
  watcher->behind = behind;
  if (behind)
    ++behind_;
  else
    --behind_;
}

void WatchCore::Place(const WatcherPtr& watcher) {
  if (watcher->next > published_) {
    SetBehind(watcher.get(), false);
    watcher->where = Watcher::Where::kSynced;
    synced_.Insert(watcher->options.interval, watcher.get());
    return;
  }
  SetBehind(watcher.get(), true);
  if (!watcher->stream->sink->Accepts()) {
    watcher->where = Watcher::Where::kStalled;
    watcher->stream->stalled.push_back(watcher);
    ++stalled_;
  } else if (ring_.HoldsFrom(watcher->next)) {
    watcher->where = Watcher::Where::kRingQueue;
    ring_queue_.push_back(watcher);
  } else {
    watcher->where = Watcher::Where::kReadQueue;
    read_queue_.push_back(watcher);
  }
}

void WatchCore::FallBehind(Watcher* watcher, Revision next) {
  synced_.Remove(watcher);
  watcher->next = next;
  Place(watcher->shared_from_this());
}

void WatchCore::Deliver(Stream* stream, const WatchDelivery& delivery) {
  if (!std::exchange(stream->flush, true)) to_flush_.push_back(stream);
  stream->sink->Deliver(delivery);
}

void WatchCore::FlushSinks() {
  for (Stream* stream : to_flush_) {
    stream->flush = false;
    stream->sink->Flush();
  }
  to_flush_.clear();
}

void WatchCore::EndCompacted(const WatcherPtr& watcher, Revision compacted) {
  Stream* const stream = watcher->stream;
  Forget(watcher);
  Deliver(stream, {WatchDelivery::Kind::kCompacted, watcher->id, compacted, {}, {}});
}

void WatchCore::EndFailed(const WatcherPtr& watcher, const Status& failure) {
  Stream* const stream = watcher->stream;
  Forget(watcher);
  Deliver(stream, {WatchDelivery::Kind::kFailed, watcher->id, 0, {}, failure});
}

bool WatchCore::Collect(Watcher* watcher, const PublishedRevision& revision, const PublishedEvent& event) {
  const bool unwanted =
      event.event.type == EventType::kPut ? watcher->options.no_put : watcher->options.no_delete;
  if (unwanted) return false;
  if (watcher->events.empty()) watcher->first = revision.revision;
  if (watcher->revisions == 0 || watcher->last != revision.revision) ++watcher->revisions;
  watcher->last = revision.revision;
  watcher->events.push_back(&event);
  return true;
}

void WatchCore::SendCollected(Watcher* watcher, Revision header) {
  if (watcher->events.empty()) return;
  events_sent_ += watcher->events.size();
  watcher->events_since_tick = true;
  Deliver(watcher->stream, {WatchDelivery::Kind::kEvents, watcher->id, header, watcher->events, {}});
  DropCollected(watcher);
}

void WatchCore::DropCollected(Watcher* watcher) {
  watcher->events.clear();
  watcher->revisions = 0;
  if (watcher->events.capacity() > kKeptEvents) watcher->events.shrink_to_fit();
}

void WatchCore::MatchSynced(const PublishedRevision& revision) {
  for (const PublishedEvent& event : revision.events) {
    synced_.VisitMatches(event.event.kv.key, [&](IntervalIndex::Item* item) {
      auto* watcher = static_cast<Watcher*>(item);
      if (watcher->next > revision.revision) return;  // starts in the future
      const bool first = watcher->events.empty();
      if (Collect(watcher, revision, event) && first) touched_.push_back(watcher);
    });
  }
}

void WatchCore::SendTouched() {
  for (Watcher* watcher : touched_) {
    if (watcher->stream->sink->Accepts()) {
      SendCollected(watcher, watcher->last);
    } else {
      DropCollected(watcher);
      FallBehind(watcher, watcher->first);
    }
  }
  touched_.clear();
}

void WatchCore::Publish(const std::vector<PublishedRevisionPtr>& revisions) {
  for (const PublishedRevisionPtr& revision : revisions) {
    if (revision->revision <= published_) continue;
    if (revision->revision != published_ + 1) SkipTo(revision->revision - 1);
    if (revision->stored_only) {
      SkipTo(revision->revision);
      continue;
    }
    MatchSynced(*revision);
    ring_.Append(revision);
    published_ = revision->revision;
  }
  if (watchers_ == 0) ring_.ShrinkTo(std::min(options_.ring_bytes, kUnwatchedRingBytes));
  SendTouched();
  FlushSinks();
}

void WatchCore::SkipTo(Revision revision) {
  if (revision <= published_) return;
  SendTouched();
  const Revision first_missed = published_ + 1;
  published_ = revision;
  ring_.Clear();
  for (const auto& [stream_id, stream] : streams_) {
    for (const auto& [id, watcher] : stream->watchers) {
      if (watcher->where != Watcher::Where::kSynced) continue;
      const Revision next = std::max(watcher->next, first_missed);
      if (next <= revision) FallBehind(watcher.get(), next);
    }
  }
  FlushSinks();
}

bool WatchCore::CanReplay(const Watcher& watcher, Position now) const {
  // The ring still has the previous values of what happened at C itself, but they are compacted: history leaves them out.
  return ring_.HoldsFrom(watcher.next) && watcher.next > now.compacted;
}

void WatchCore::Queue(const WatcherPtr& watcher, Position now) {
  if (watcher->next > now.compacted || !watcher->stream->sink->Accepts()) return Place(watcher);
  watcher->where = Watcher::Where::kReadQueue;
  read_queue_.push_back(watcher);
}

std::size_t WatchCore::CatchUpOne(const WatcherPtr& watcher, Position now) {
  std::size_t looked_at = 0;
  std::size_t bytes = 0;
  Revision revision = watcher->next;
  while (revision <= published_ && watcher->revisions < options_.catch_up_revisions_max &&
         bytes < options_.catch_up_bytes_max && looked_at < kRingEventsPerTurn) {
    const PublishedRevisionPtr& published = ring_.At(revision++);
    looked_at += 1 + published->events.size();
    for (const PublishedEvent& event : published->events) {
      if (watcher->options.interval.Contains(event.event.kv.key) && Collect(watcher.get(), *published, event))
        bytes += BytesOf(event.event);
    }
  }
  watcher->next = revision;
  SendCollected(watcher.get(), std::max(now.revision, published_));
  Place(watcher);
  return looked_at;
}

bool WatchCore::CatchUpFromRing(Position now) {
  std::size_t looked_at = 0;
  for (std::size_t n = ring_queue_.size(); n > 0 && looked_at < kRingEventsPerTurn; --n) {
    const WatcherPtr watcher = std::move(ring_queue_.front());
    ring_queue_.pop_front();
    if (watcher->where != Watcher::Where::kRingQueue) continue;
    watcher->where = Watcher::Where::kNowhere;
    if (watcher->next < now.compacted)
      EndCompacted(watcher, now.compacted);
    else if (!CanReplay(*watcher, now) || !watcher->stream->sink->Accepts())
      Queue(watcher, now);
    else
      looked_at += CatchUpOne(watcher, now);
  }
  FlushSinks();
  return !ring_queue_.empty();
}

WatchCore::WatcherPtr WatchCore::NextReader(Position now) {
  while (!read_queue_.empty()) {
    WatcherPtr watcher = std::move(read_queue_.front());
    read_queue_.pop_front();
    if (watcher->where != Watcher::Where::kReadQueue) continue;
    watcher->where = Watcher::Where::kNowhere;
    if (watcher->next < now.compacted)
      EndCompacted(watcher, now.compacted);
    else if (CanReplay(*watcher, now) || !watcher->stream->sink->Accepts())
      Place(watcher);
    else
      return watcher;
  }
  return nullptr;
}

void WatchCore::AddCompanions(Read* read) {
  // Keyed by begin and end, "no end" last, to ask for each interval once.
  std::map<std::pair<std::string, std::pair<bool, std::string>>, bool> intervals;
  const auto add_interval = [&](const KeyInterval& interval) {
    const auto [it, fresh] = intervals.try_emplace({interval.begin, {!interval.end, interval.end.value_or("")}}, true);
    if (fresh && intervals.size() > kIntervalsPerRead) {
      intervals.erase(it);
      return false;
    }
    if (fresh) read->query.intervals.push_back(interval);
    return true;
  };
  add_interval(read->watchers.front()->options.interval);

  const Revision until = std::min(read->query.to, read->query.from + static_cast<Revision>(options_.catch_up_revisions_max));
  std::vector<WatcherPtr> others;
  for (std::size_t i = std::min(read_queue_.size(), kCompanionsLookedAt); i > 0; --i) {
    WatcherPtr watcher = std::move(read_queue_.front());
    read_queue_.pop_front();
    if (watcher->where != Watcher::Where::kReadQueue) continue;
    if (read->watchers.size() < kWatchersPerRead && watcher->next >= read->query.from && watcher->next <= until &&
        watcher->stream->sink->Accepts() && add_interval(watcher->options.interval)) {
      watcher->where = Watcher::Where::kReading;
      read->watchers.push_back(std::move(watcher));
    } else {
      others.push_back(std::move(watcher));
    }
  }
  read_queue_.insert(read_queue_.begin(), std::make_move_iterator(others.begin()), std::make_move_iterator(others.end()));
}

std::optional<WatchCore::Read> WatchCore::NextRead(Position now) {
  WatcherPtr leader = NextReader(now);
  FlushSinks();
  if (leader == nullptr) return std::nullopt;
  leader->where = Watcher::Where::kReading;
  Read read;
  read.query.from = leader->next;
  read.query.to = std::min(std::max(now.revision, published_), leader->next + options_.catch_up_scan_max - 1);
  read.query.revisions_max = options_.catch_up_revisions_max;
  read.query.bytes_max = options_.catch_up_bytes_max;
  read.watchers.push_back(std::move(leader));
  AddCompanions(&read);
  read.query.with_previous = std::any_of(read.watchers.begin(), read.watchers.end(),
                                         [](const WatcherPtr& watcher) { return watcher->options.with_previous; });
  return read;
}

void WatchCore::ReadFailed(const Read& read, const Status& failure, Position now) {
  for (const WatcherPtr& watcher : read.watchers) {
    if (watcher->where != Watcher::Where::kReading) continue;
    watcher->where = Watcher::Where::kNowhere;
    if (failure.reason() != Reason::kCompacted)
      EndFailed(watcher, failure);
    else if (watcher->next < now.compacted)
      EndCompacted(watcher, now.compacted);
    else
      Place(watcher);
  }
  FlushSinks();
}

void WatchCore::ReadDone(Read read, Result<EventBatch> outcome, Position now) {
  if (!outcome.ok()) return ReadFailed(read, outcome.error(), now);
  if (outcome->next <= read.query.from)
    return ReadFailed(read, Internal("a read of history from revision " + std::to_string(read.query.from) +
                                     " did not get beyond it"), now);
  std::vector<PublishedRevisionPtr> revisions;
  revisions.reserve(outcome->revisions.size());
  for (RevisionEvents& events : outcome->revisions) revisions.push_back(MakePublished(std::move(events)));
  for (const WatcherPtr& watcher : read.watchers) {
    if (watcher->where != Watcher::Where::kReading) continue;
    watcher->where = Watcher::Where::kNowhere;
    if (watcher->stream->sink->Accepts()) {
      for (const PublishedRevisionPtr& revision : revisions) {
        if (revision->revision < watcher->next) continue;
        for (const PublishedEvent& event : revision->events) {
          if (watcher->options.interval.Contains(event.event.kv.key)) Collect(watcher.get(), *revision, event);
        }
      }
      watcher->next = std::max(watcher->next, outcome->next);
      SendCollected(watcher.get(), std::max(now.revision, published_));
    }
    Place(watcher);
  }
  FlushSinks();
}

void WatchCore::SinkReady(StreamId id) {
  if (Stream* stream = FindStream(id); stream != nullptr) ResumeStalled(stream);
}

void WatchCore::ResumeStalled(Stream* stream) {
  for (const WatcherPtr& watcher : std::exchange(stream->stalled, {})) {
    if (watcher->where != Watcher::Where::kStalled) continue;
    watcher->where = Watcher::Where::kNowhere;
    --stalled_;
    Place(watcher);
  }
}

bool WatchCore::AllDelivered(const Stream& stream) const {
  return !stream.watchers.empty() && std::all_of(stream.watchers.begin(), stream.watchers.end(), [&](const auto& entry) {
    return entry.second->where == Watcher::Where::kSynced && entry.second->next <= published_ + 1;
  });
}

void WatchCore::RequestProgress(StreamId stream, Position now, ProgressDone done) {
  progress_requests_.push_back({stream, now.revision, std::move(done)});
}

void WatchCore::AnswerProgress() {
  if (progress_requests_.empty()) return;
  std::vector<ProgressRequest> later;
  for (ProgressRequest& request : std::exchange(progress_requests_, {})) {
    if (request.revision > published_) {
      later.push_back(std::move(request));
      continue;
    }
    const Stream* stream = FindStream(request.stream);
    const bool all = stream != nullptr && AllDelivered(*stream);
    request.done(all ? std::optional<Revision>(published_) : std::nullopt);
  }
  progress_requests_ = std::move(later);
}

void WatchCore::SendProgress(Stream* stream) {
  for (const auto& [id, watcher] : stream->watchers) {
    if (!watcher->options.progress_notify) continue;
    const bool quiet = !std::exchange(watcher->events_since_tick, false);
    const bool synced = watcher->where == Watcher::Where::kSynced && watcher->next <= published_ + 1;
    if (quiet && synced && stream->sink->Accepts())
      Deliver(stream, {WatchDelivery::Kind::kProgress, id, published_, {}, {}});
  }
}

void WatchCore::Tick(Clock::TimePoint now) {
  for (const auto& [id, stream] : streams_) {
    if (!stream->stalled.empty() && stream->sink->Accepts()) ResumeStalled(stream.get());
    if (stream->progress_watchers == 0 || stream->progress_at > now) continue;
    SendProgress(stream.get());
    stream->progress_at = now + options_.progress_interval + Jitter(id + static_cast<std::uint64_t>(published_),
                                                                    options_.progress_interval);
  }
  FlushSinks();
}

}  // namespace vellum::kv
