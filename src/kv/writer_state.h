#pragma once

#include <atomic>
#include <functional>
#include <utility>

#include "base/mutex.h"
#include "vellum/status.h"

namespace vellum::kv {

/// Whether the store still writes. The first failure ends that for good: going on could give out a revision twice, or
/// acknowledge what a later crash takes back. Thread-safe.
class WriterState {
 public:
  /// `on_failure` runs once, on the thread that reports the first failure.
  explicit WriterState(std::function<void(const Status&)> on_failure) : on_failure_(std::move(on_failure)) {}

  bool ok() const { return !failed_.load(std::memory_order_acquire); }
  /// The first failure; OK while there is none.
  Status status() const VELLUM_EXCLUDES(mu_) {
    MutexLock lock(&mu_);
    return status_;
  }
  void Fail(const Status& cause) VELLUM_EXCLUDES(mu_) {
    {
      MutexLock lock(&mu_);
      if (!status_.ok()) return;
      status_ = cause;
      failed_.store(true, std::memory_order_release);
    }
    on_failure_(cause);
  }
  /// What a proposal is told.
  Status Refusal() const {
    return Unavailable("nothing is written any more since a write failed (" + status().message() +
                           "); the store must be opened anew to go on",
                       Reason::kStopped);
  }

 private:
  const std::function<void(const Status&)> on_failure_;
  std::atomic<bool> failed_{false};
  mutable Mutex mu_;
  Status status_ VELLUM_GUARDED_BY(mu_);
};

}  // namespace vellum::kv
