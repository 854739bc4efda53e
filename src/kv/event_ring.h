#pragma once

#include <cstddef>
#include <deque>

#include "kv/watch_hub.h"

namespace vellum::kv {

/// The events of the newest revisions, bounded in bytes: the oldest go first. What it holds is always one gapless run
/// of revisions that ends with the last one appended, or nothing. Not thread-safe.
class EventRing {
 public:
  explicit EventRing(std::size_t bytes_max) : bytes_max_(bytes_max) {}

  /// A revision that does not follow the last one empties the ring first. One that is larger than the ring, or is not
  /// in memory at all, empties it and is not kept.
  void Append(PublishedRevisionPtr revision);
  /// Drops the oldest until at most `bytes` are left.
  void ShrinkTo(std::size_t bytes);
  void Clear();
  /// Takes the oldest revision out. The ring must not be empty.
  PublishedRevisionPtr PopFront();

  /// Whether every revision from `from` to the last one is here; false if the ring is empty.
  bool HoldsFrom(Revision from) const { return !revisions_.empty() && from >= first() && from <= last(); }
  /// `revision` must lie between first() and last().
  const PublishedRevisionPtr& At(Revision revision) const {
    return revisions_[static_cast<std::size_t>(revision - first())];
  }
  bool empty() const { return revisions_.empty(); }
  Revision first() const { return revisions_.front()->revision; }
  Revision last() const { return revisions_.back()->revision; }
  std::size_t bytes() const { return bytes_; }
  std::size_t events() const { return events_; }

  /// What a revision takes in memory, about, with its events encoded.
  static std::size_t Cost(const PublishedRevision& revision);

 private:
  const std::size_t bytes_max_;
  std::deque<PublishedRevisionPtr> revisions_;
  std::size_t bytes_ = 0;
  std::size_t events_ = 0;
};

}  // namespace vellum::kv
