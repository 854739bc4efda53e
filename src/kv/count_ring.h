#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <optional>

#include "base/mutex.h"
#include "kv/count_tree.h"
#include "vellum/types.h"

namespace vellum::kv {

/// Roots of the count tree of recent publications, bounded in bytes, so that a count at a recent older revision needs no
/// scan. One thread publishes; any thread may look.
class CountRing {
 public:
  /// `bytes_max` bounds the tree nodes that only the ring keeps alive. 0: it keeps nothing.
  explicit CountRing(std::size_t bytes_max) : bytes_max_(bytes_max) {}

  /// Call when the view of `revision` is published, with the same root. Revisions must not fall; a second root of the
  /// same revision is ignored.
  void Publish(Revision revision, CountTree::Root root) VELLUM_EXCLUDES(mu_);

  struct Entry {
    Revision revision = 0;
    CountTree::Root root;
  };
  /// The oldest root that is still here and not older than `revision`; nullopt if there is none.
  std::optional<Entry> Find(Revision revision) const VELLUM_EXCLUDES(mu_);

  std::size_t bytes() const VELLUM_EXCLUDES(mu_);

 private:
  struct Slot {
    Entry entry;
    std::size_t bytes = 0;  ///< What the step from this root to the next one made garbage.
  };

  const std::size_t bytes_max_;
  mutable Mutex mu_;
  std::deque<Slot> slots_ VELLUM_GUARDED_BY(mu_);
  std::size_t bytes_ VELLUM_GUARDED_BY(mu_) = 0;
  std::uint64_t bytes_made_ VELLUM_GUARDED_BY(mu_) = 0;  ///< By the tree, up to the newest root.
};

}  // namespace vellum::kv
