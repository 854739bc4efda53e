#include "kv/event_ring.h"

#include <algorithm>
#include <utility>

namespace vellum::kv {

std::size_t EventRing::Cost(const PublishedRevision& revision) {
  // Twice: once an event has been sent, its encoding stays beside it.
  return 2 * std::max(revision.bytes, sizeof(PublishedRevision) + revision.events.size() * sizeof(PublishedEvent));
}

void EventRing::Append(PublishedRevisionPtr revision) {
  if (!revisions_.empty() && revision->revision != last() + 1) Clear();
  const std::size_t cost = Cost(*revision);
  if (revision->stored_only || cost > bytes_max_) {
    Clear();
    return;
  }
  bytes_ += cost;
  events_ += revision->events.size();
  revisions_.push_back(std::move(revision));
  ShrinkTo(bytes_max_);
}

void EventRing::ShrinkTo(std::size_t bytes) {
  while (bytes_ > bytes) PopFront();
}

void EventRing::Clear() {
  revisions_.clear();
  bytes_ = 0;
  events_ = 0;
}

PublishedRevisionPtr EventRing::PopFront() {
  PublishedRevisionPtr front = std::move(revisions_.front());
  revisions_.pop_front();
  bytes_ -= Cost(*front);
  events_ -= front->events.size();
  return front;
}

}  // namespace vellum::kv
