#include "base/worker_pool.h"

#include <pthread.h>

#include <algorithm>
#include <utility>

namespace vellum {

WorkerPool::WorkerPool(Options options) : options_(std::move(options)) {
  const std::size_t count = std::max<std::size_t>(options_.threads, 1);
  MutexLock lock(&join_mu_);
  threads_.reserve(count);
  for (std::size_t i = 0; i < count; ++i) threads_.emplace_back([this] { Run(); });
}

WorkerPool::~WorkerPool() { Stop(); }

Status WorkerPool::Submit(std::function<void()> work) {
  {
    MutexLock lock(&mu_);
    if (stopping_) return Unavailable("the pool " + options_.name + " has stopped", Reason::kStopped);
    if (queue_.size() >= options_.queue_max) {
      return ResourceExhausted("the pool " + options_.name + " has " + std::to_string(queue_.size()) +
                                   " requests waiting, which is the limit",
                               Reason::kTooManyRequests);
    }
    queue_.push_back(std::move(work));
  }
  wake_.NotifyOne();
  return {};
}

void WorkerPool::Stop() {
  {
    MutexLock lock(&mu_);
    stopping_ = true;
  }
  wake_.NotifyAll();
  MutexLock lock(&join_mu_);
  for (std::thread& thread : threads_) thread.join();
  threads_.clear();
}

std::size_t WorkerPool::queued() const {
  MutexLock lock(&mu_);
  return queue_.size();
}

void WorkerPool::Run() {
  // The kernel keeps 15 bytes of a thread's name.
  pthread_setname_np(pthread_self(), options_.name.substr(0, 15).c_str());
  for (;;) {
    std::function<void()> work;
    {
      MutexLock lock(&mu_);
      while (queue_.empty() && !stopping_) wake_.Wait(&mu_);
      if (queue_.empty()) return;
      work = std::move(queue_.front());
      queue_.pop_front();
    }
    work();
  }
}

}  // namespace vellum
