#pragma once

#include <map>
#include <memory>
#include <string>
#include <string_view>

#include "base/mutex.h"

namespace vellum::sync {

class Staging;

/// The syncs that writers of this process are filling, so that they can be read by name meanwhile. Thread-safe. Entries of
/// writers that are gone count for nothing.
class OpenSyncs {
 public:
  void Add(std::string_view sync_id, const std::shared_ptr<Staging>& staging) {
    MutexLock lock(&mu_);
    std::erase_if(open_, [](const auto& entry) { return entry.second.expired(); });
    open_.insert_or_assign(std::string(sync_id), staging);
  }
  /// Null: nobody here writes it.
  std::shared_ptr<Staging> Find(std::string_view sync_id) const {
    MutexLock lock(&mu_);
    const auto found = open_.find(sync_id);
    return found == open_.end() ? nullptr : found->second.lock();
  }

 private:
  mutable Mutex mu_;
  std::map<std::string, std::weak_ptr<Staging>, std::less<>> open_ VELLUM_GUARDED_BY(mu_);
};

}  // namespace vellum::sync
