#pragma once

#include <chrono>
#include <condition_variable>
#include <mutex>

// Lock discipline that clang checks at compile time (-Wthread-safety); nothing for other compilers.
#if defined(__clang__)
#define VELLUM_THREAD_ANNOTATION(x) __attribute__((x))
#else
#define VELLUM_THREAD_ANNOTATION(x)
#endif
#define VELLUM_CAPABILITY(x) VELLUM_THREAD_ANNOTATION(capability(x))
#define VELLUM_SCOPED_CAPABILITY VELLUM_THREAD_ANNOTATION(scoped_lockable)
#define VELLUM_GUARDED_BY(x) VELLUM_THREAD_ANNOTATION(guarded_by(x))
#define VELLUM_REQUIRES(...) VELLUM_THREAD_ANNOTATION(requires_capability(__VA_ARGS__))
#define VELLUM_EXCLUDES(...) VELLUM_THREAD_ANNOTATION(locks_excluded(__VA_ARGS__))
#define VELLUM_ACQUIRE(...) VELLUM_THREAD_ANNOTATION(acquire_capability(__VA_ARGS__))
#define VELLUM_RELEASE(...) VELLUM_THREAD_ANNOTATION(release_capability(__VA_ARGS__))
#define VELLUM_NO_THREAD_SAFETY_ANALYSIS VELLUM_THREAD_ANNOTATION(no_thread_safety_analysis)

namespace vellum {

/// std::mutex with annotations, which libstdc++'s lacks.
class VELLUM_CAPABILITY("mutex") Mutex {
 public:
  void Lock() VELLUM_ACQUIRE() { mu_.lock(); }
  void Unlock() VELLUM_RELEASE() { mu_.unlock(); }

 private:
  friend class CondVar;
  std::mutex mu_;
};

/// Holds a Mutex for a scope.
class VELLUM_SCOPED_CAPABILITY MutexLock {
 public:
  explicit MutexLock(Mutex* mu) VELLUM_ACQUIRE(mu) : mu_(mu) { mu_->Lock(); }
  ~MutexLock() VELLUM_RELEASE() { mu_->Unlock(); }
  MutexLock(const MutexLock&) = delete;
  MutexLock& operator=(const MutexLock&) = delete;

 private:
  Mutex* const mu_;
};

/// A condition variable for Mutex. Waits may wake without cause: loop over the condition.
class CondVar {
 public:
  void Wait(Mutex* mu) VELLUM_REQUIRES(mu) VELLUM_NO_THREAD_SAFETY_ANALYSIS {
    std::unique_lock<std::mutex> lock(mu->mu_, std::adopt_lock);
    cv_.wait(lock);
    lock.release();
  }
  /// False if `duration` passed first.
  bool WaitFor(Mutex* mu, std::chrono::nanoseconds duration) VELLUM_REQUIRES(mu) VELLUM_NO_THREAD_SAFETY_ANALYSIS {
    std::unique_lock<std::mutex> lock(mu->mu_, std::adopt_lock);
    const auto status = cv_.wait_for(lock, duration);
    lock.release();
    return status == std::cv_status::no_timeout;
  }
  void NotifyOne() { cv_.notify_one(); }
  void NotifyAll() { cv_.notify_all(); }

 private:
  std::condition_variable cv_;
};

}  // namespace vellum
