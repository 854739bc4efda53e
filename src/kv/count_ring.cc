#include "kv/count_ring.h"

#include <algorithm>
#include <utility>
#include <vector>

namespace vellum::kv {

void CountRing::Publish(Revision revision, CountTree::Root root) {
  if (bytes_max_ == 0) return;
  std::vector<CountTree::Root> dropped;  // freed outside the lock: a whole tree may go with it
  const std::uint64_t made = CountTree::BytesMade(root);
  MutexLock lock(&mu_);
  if (!slots_.empty()) {
    Slot& newest = slots_.back();
    if (revision <= newest.entry.revision) return;
    newest.bytes = sizeof(Slot) + static_cast<std::size_t>(made > bytes_made_ ? made - bytes_made_ : 0);
    bytes_ += newest.bytes;
  }
  bytes_made_ = std::max(bytes_made_, made);  // an empty tree's null root knows nothing
  slots_.push_back({{revision, std::move(root)}, 0});
  while (bytes_ > bytes_max_ && slots_.size() > 1) {
    bytes_ -= slots_.front().bytes;
    dropped.push_back(std::move(slots_.front().entry.root));
    slots_.pop_front();
  }
}

std::optional<CountRing::Entry> CountRing::Find(Revision revision) const {
  MutexLock lock(&mu_);
  const auto slot = std::lower_bound(slots_.begin(), slots_.end(), revision,
                                     [](const Slot& s, Revision r) { return s.entry.revision < r; });
  if (slot == slots_.end()) return std::nullopt;
  return slot->entry;
}

std::size_t CountRing::bytes() const {
  MutexLock lock(&mu_);
  return bytes_;
}

}  // namespace vellum::kv
