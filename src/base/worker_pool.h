#pragma once

#include <cstddef>
#include <deque>
#include <functional>
#include <string>
#include <thread>
#include <vector>

#include "base/mutex.h"
#include "vellum/status.h"

namespace vellum {

/// A fixed number of threads that work off one bounded queue, in order of arrival. One pool is one lane: work that may
/// take long gets a pool of its own, so that it cannot keep short work waiting.
///
/// Thread-safe. Stop (or the destructor) finishes what was accepted, so that nothing that waits for an answer is
/// forgotten; whoever stops first tells the work to be quick.
class WorkerPool {
 public:
  struct Options {
    std::string name;             ///< In messages, and (cut to 15 bytes) as the threads' name.
    std::size_t threads = 2;      ///< At least one is started.
    std::size_t queue_max = 4096;  ///< Pieces of work that wait. Beyond: refused.
  };

  explicit WorkerPool(Options options);
  ~WorkerPool();
  WorkerPool(const WorkerPool&) = delete;
  WorkerPool& operator=(const WorkerPool&) = delete;

  /// Queues `work`, which must not throw. kResourceExhausted with kTooManyRequests when the queue is full, kUnavailable
  /// with kStopped after Stop; `work` is then neither run nor kept. Never blocks for longer than a push takes.
  Status Submit(std::function<void()> work) VELLUM_EXCLUDES(mu_);

  /// Refuses new work, runs what is queued, joins the threads. Idempotent. Must not be called from the pool's own work.
  void Stop() VELLUM_EXCLUDES(mu_);

  /// Pieces of work that wait for a thread.
  std::size_t queued() const VELLUM_EXCLUDES(mu_);

 private:
  void Run();

  const Options options_;

  mutable Mutex mu_;
  CondVar wake_;
  std::deque<std::function<void()>> queue_ VELLUM_GUARDED_BY(mu_);
  bool stopping_ VELLUM_GUARDED_BY(mu_) = false;

  Mutex join_mu_;  // taken by Stop only, before mu_
  std::vector<std::thread> threads_ VELLUM_GUARDED_BY(join_mu_);
};

}  // namespace vellum
