#include "rpc/watch_stream.h"

#include <algorithm>
#include <utility>

#include "kv/schema.h"
#include "wire/grpc.h"

namespace vellum::rpc {
namespace {

namespace pb = ::etcdserverpb;

// What refused creates and answers to progress requests carry instead of a watcher's id.
constexpr std::int64_t kNoWatchId = -1;

constexpr std::string_view kEmptyRange = "mvcc: watcher range is empty";
constexpr std::string_view kDuplicateId = "mvcc: duplicate watch ID provided on the WatchStream";

constexpr std::string_view kLeastKey("\0", 1);

// An empty key stands for the least one.
std::string_view FirstKey(const pb::WatchCreateRequest& request) {
  return request.key().empty() ? kLeastKey : std::string_view(request.key());
}

kv::WatchOptions ToOptions(const pb::WatchCreateRequest& request) {
  kv::WatchOptions options;
  options.interval = kv::KeyInterval::FromRequest(FirstKey(request), request.range_end());
  options.start = request.start_revision();
  for (const int filter : request.filters()) {
    options.no_put |= filter == pb::WatchCreateRequest::NOPUT;
    options.no_delete |= filter == pb::WatchCreateRequest::NODELETE;
  }
  options.with_previous = request.prev_kv();
  options.progress_notify = request.progress_notify();
  return options;
}

bool IsEmptyRange(const pb::WatchCreateRequest& request) {
  const std::string_view end = request.range_end();
  // These two are one key, and every key from the first on.
  if (end.empty() || end == kLeastKey) return false;
  return end <= FirstKey(request);
}

// Responses with fewer bytes of events are copied together. Beyond, the wire refers to the events' bytes instead.
constexpr std::size_t kGatherBelow = 4096;

// The event as it goes on the wire, made once for all who get it.
const wire::SharedBytes& Encoded(const kv::PublishedEvent& event, bool with_previous) {
  const bool previous = with_previous && event.event.prev_kv.has_value();
  auto& slot = event.encoded[previous ? 1 : 0];
  if (slot == nullptr) slot = std::make_shared<const std::string>(EncodeWatchEvent(event.event, previous));
  return slot;
}

}  // namespace

WatchStream::WatchStream(CorePtr core, std::shared_ptr<wire::StreamWriter> writer)
    : core_(std::move(core)), writer_(std::move(writer)),
      credit_(writer_, core_->context.limits.stream_high_water_bytes) {}

void WatchStream::Attach(kv::WatchHub* hub, kv::WatchHub::StreamId stream) {
  hub_ = hub;
  stream_ = stream;
}

std::string_view WatchStream::WhyRefused(const pb::WatchCreateRequest& request) const {
  if (request.start_revision() < 0) return ErrorText(EtcdError::kCompacted);
  if (IsEmptyRange(request)) return kEmptyRange;
  if (request.watch_id() != 0 && numbers_.contains(request.watch_id())) return kDuplicateId;
  if (watchers_ >= core_->context.limits.watchers_per_stream_max) {
    return ErrorText(EtcdError::kTooManyRequests);
  }
  return {};
}

std::int64_t WatchStream::ChooseId(std::int64_t asked) {
  if (asked != 0) return asked;
  while (numbers_.contains(next_id_)) ++next_id_;
  return next_id_++;
}

void WatchStream::Create(const pb::WatchCreateRequest& request, std::size_t request_bytes) {
  const Revision current = core_->CurrentRevision();
  std::int64_t number = 0;
  std::size_t answered = 0;
  {
    MutexLock lock(&mu_);
    PendingCreate& create = pending_creates_.emplace_back();
    create.request_bytes = request_bytes;
    create.refusal = WhyRefused(request);
    if (create.refusal.empty()) {
      create.watcher = {ChooseId(request.watch_id()), request.prev_kv(), request.fragment()};
      number = create.number = next_number_++;
      numbers_[create.watcher.watch_id] = number;
      ++watchers_;
    } else {
      create.watcher.watch_id = kNoWatchId;
      create.revision = current;
      answered = AnswerCreates();
    }
  }
  credit_.Return(answered);
  if (number != 0) hub_->Watch(stream_, number, ToOptions(request));
}

std::size_t WatchStream::AnswerCreates() {
  std::size_t answered = 0;
  while (!pending_creates_.empty() && pending_creates_.front().revision) {
    const PendingCreate& create = pending_creates_.front();
    WatchResponseHead head;
    head.revision = *create.revision;
    head.watch_id = create.watcher.watch_id;
    head.created = true;
    head.canceled = !create.refusal.empty();
    head.cancel_reason = create.refusal;
    Send(head);
    answered += create.request_bytes;
    pending_creates_.pop_front();
  }
  return answered;
}

void WatchStream::Created(std::int64_t number, Revision revision) {
  std::size_t answered = 0;
  {
    MutexLock lock(&mu_);
    for (PendingCreate& create : pending_creates_) {
      if (create.number != number) continue;  // the first one, unless the hub confirmed out of order
      create.revision = revision;
      created_[number] = create.watcher;
      break;
    }
    answered = AnswerCreates();
  }
  credit_.Return(answered);
}

void WatchStream::Cancel(std::int64_t watch_id, std::size_t request_bytes) {
  std::int64_t number = 0;
  {
    MutexLock lock(&mu_);
    const auto found = numbers_.find(watch_id);
    if (found != numbers_.end()) {
      // The id is free from now on. The watcher stays on the books until the hub has let go of it, or a compaction that
      // ended it just now would go unreported.
      number = found->second;
      numbers_.erase(found);
    }
  }
  if (number == 0) {
    credit_.Return(request_bytes);
    return;
  }
  hub_->Cancel(stream_, number, [self = shared_from_this(), number, request_bytes](bool existed) {
    if (existed) self->Canceled(number);
    self->credit_.Return(request_bytes);
  });
}

void WatchStream::Canceled(std::int64_t number) {
  const auto watcher = Forget(number);
  if (!watcher) return;
  WatchResponseHead head;
  head.revision = core_->CurrentRevision();
  head.watch_id = watcher->watch_id;
  head.canceled = true;
  Send(head);
}

void WatchStream::RequestProgress(std::size_t request_bytes) {
  hub_->RequestProgress(stream_, [self = shared_from_this(), request_bytes](std::optional<Revision> revision) {
    if (revision) {
      WatchResponseHead head;
      head.revision = *revision;
      head.watch_id = kNoWatchId;
      self->Send(head);
    }
    self->credit_.Return(request_bytes);
  });
}

void WatchStream::Writable() {
  credit_.Release();
  hub_->SinkReady(stream_);
}

bool WatchStream::Accepts() const { return writer_->unsent_bytes() <= core_->context.limits.stream_high_water_bytes; }

void WatchStream::Deliver(const kv::WatchDelivery& delivery) {
  using Kind = kv::WatchDelivery::Kind;
  if (delivery.kind == Kind::kEvents) {
    const auto found = created_.find(delivery.watcher);
    if (found != created_.end()) Events(found->second, delivery);
    return;
  }
  Flush();  // what was delivered before goes first
  if (delivery.kind == Kind::kCreated) {
    Created(delivery.watcher, delivery.revision);
    return;
  }
  const auto found = created_.find(delivery.watcher);
  if (found == created_.end()) return;
  const Watcher watcher = found->second;
  if (delivery.kind != Kind::kProgress) Forget(delivery.watcher);
  WatchResponseHead head;
  head.watch_id = watcher.watch_id;
  Status failure;
  switch (delivery.kind) {
    case Kind::kCompacted:
      // The header's revision stays 0, and there is no reason: that is how clients know this answer.
      head.canceled = true;
      head.compact_revision = delivery.revision;
      break;
    case Kind::kFailed:
      failure = ToWire(delivery.failure);
      head.revision = core_->CurrentRevision();
      head.canceled = true;
      head.cancel_reason = failure.message();
      break;
    default:
      head.revision = delivery.revision;  // progress
      break;
  }
  Send(head);
}

void WatchStream::Events(const Watcher& watcher, const kv::WatchDelivery& delivery) {
  std::size_t bytes = 0;
  for (const kv::PublishedEvent* event : delivery.events) bytes += Encoded(*event, watcher.with_previous)->size();
  const Limits& limits = core_->context.limits;
  const std::size_t fragment_from = limits.request_bytes_max + limits.fragment_slack_bytes;
  if (watcher.fragment && bytes >= fragment_from && delivery.events.size() > 1) {
    SendFragments(watcher, delivery.revision, delivery.events);
    return;
  }
  // The rest of the response is far below a kilobyte.
  if (bytes + 1024 <= limits.response_bytes_max) {
    SendEvents(watcher, delivery.revision, delivery.events, bytes, false);
    return;
  }
  const std::optional<Watcher> ended = Forget(delivery.watcher);
  if (!ended) return;
  const std::string reason = "etcdserver: one response would take " + std::to_string(bytes) + " bytes, more than the " +
                             std::to_string(limits.response_bytes_max) +
                             " that a message can have: watch with fragments, or fewer keys";
  WatchResponseHead head;
  head.revision = delivery.revision;
  head.watch_id = ended->watch_id;
  head.canceled = true;
  head.cancel_reason = reason;
  Flush();
  Send(head);
  hub_->Cancel(stream_, delivery.watcher, [](bool) {});
}

void WatchStream::SendFragments(const Watcher& watcher, Revision revision, EventPointers events) {
  const Limits& limits = core_->context.limits;
  const std::size_t part_bytes = limits.request_bytes_max + limits.fragment_slack_bytes;
  const auto size = [&](std::size_t i) { return Encoded(*events[i], watcher.with_previous)->size(); };
  std::size_t begin = 0;
  while (begin < events.size()) {
    std::size_t bytes = size(begin);
    std::size_t end = begin + 1;
    while (end < events.size() && bytes + size(end) < part_bytes) bytes += size(end++);
    SendEvents(watcher, revision, events.subspan(begin, end - begin), bytes, end < events.size());
    begin = end;
  }
}

void WatchStream::SendEvents(const Watcher& watcher, Revision revision, EventPointers events, std::size_t bytes,
                             bool more) {
  if (bytes < kGatherBelow) return Gather(watcher, revision, events, bytes, more);
  Flush();
  WatchResponseHead head;
  head.revision = revision;
  head.watch_id = watcher.watch_id;
  head.fragment = more;
  wire::Message message(events.size());
  for (std::size_t i = 0; i < events.size(); ++i) message[i].shared = Encoded(*events[i], watcher.with_previous);
  message.front().own = EncodeWatchResponseHead(core_->ids, head);
  writer_->Send(std::move(message));
}

void WatchStream::Gather(const Watcher& watcher, Revision revision, EventPointers events, std::size_t bytes,
                         bool more) {
  if (header_revision_ != revision) {
    header_ = EncodeWatchHeader(core_->ids, revision);
    header_revision_ = revision;
  }
  if (gathered_.empty()) gathered_.reserve(std::max(gathered_before_, bytes + 64));
  const std::size_t begin = gathered_.size();
  gathered_.append(wire::kMessagePrefixBytes, '\0').append(header_);
  AppendWatchId(watcher.watch_id, more, &gathered_);
  for (const kv::PublishedEvent* event : events) gathered_.append(*Encoded(*event, watcher.with_previous));
  wire::WriteMessagePrefix(gathered_.size() - begin - wire::kMessagePrefixBytes, gathered_.data() + begin);
  ++gathered_count_;
  // What waits here counts as unsent: at the mark the wire gets it, and sees to it that the stream is writable again.
  if (writer_->unsent_bytes() + gathered_.size() > core_->context.limits.stream_high_water_bytes) Flush();
}

void WatchStream::Flush() {
  if (gathered_.empty()) return;
  gathered_before_ = gathered_.size();
  writer_->SendFramed(std::exchange(gathered_, {}), std::exchange(gathered_count_, 0));
}

std::optional<WatchStream::Watcher> WatchStream::Forget(std::int64_t number) {
  const auto found = created_.find(number);
  if (found == created_.end()) return std::nullopt;
  const Watcher watcher = found->second;
  created_.erase(found);
  MutexLock lock(&mu_);
  --watchers_;
  const auto used = numbers_.find(watcher.watch_id);
  if (used != numbers_.end() && used->second == number) numbers_.erase(used);
  return watcher;
}

void WatchStream::Send(const WatchResponseHead& head) {
  wire::Message message(1);
  message.front().own = EncodeWatchResponseHead(core_->ids, head);
  writer_->Send(std::move(message));
}

}  // namespace vellum::rpc
