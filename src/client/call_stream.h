#pragma once

#include <chrono>
#include <deque>
#include <functional>
#include <memory>
#include <optional>
#include <thread>
#include <utility>

#include "base/mutex.h"
#include "vellum/status.h"

namespace vellum::client {

/// The receiving half of a streaming call whose transport can only wait: a thread reads answers into a bounded queue, so
/// that a caller can be patient for as long as it likes. Knows nothing of gRPC.
template <typename Answer>
class AnswerQueue {
 public:
  /// `read` waits for the next answer, nullopt at the end; then `finish` tells how it ended (OK included). Both run on
  /// the queue's thread.
  AnswerQueue(std::function<std::optional<Answer>()> read, std::function<Status()> finish)
      : reader_([this, read = std::move(read), finish = std::move(finish)] { Run(read, finish); }) {}
  /// Whatever `read` waits for must have been cancelled before.
  ~AnswerQueue() {
    {
      MutexLock lock(&mu_);
      abandoned_ = true;
    }
    changed_.NotifyAll();
    reader_.join();
  }
  AnswerQueue(const AnswerQueue&) = delete;
  AnswerQueue& operator=(const AnswerQueue&) = delete;

  Result<Answer> Next(std::chrono::milliseconds patience) VELLUM_EXCLUDES(mu_) {
    const auto deadline = std::chrono::steady_clock::now() + patience;
    MutexLock lock(&mu_);
    while (answers_.empty() && !end_) {
      const auto left = deadline - std::chrono::steady_clock::now();
      if (left <= std::chrono::nanoseconds::zero()) return DeadlineExceeded("no answer came in time");
      changed_.WaitFor(&mu_, left);
    }
    if (answers_.empty()) return end_->ok() ? Cancelled("the call has ended") : *end_;
    Answer answer = std::move(answers_.front());
    answers_.pop_front();
    changed_.NotifyAll();
    return answer;
  }

 private:
  // A caller that does not take answers makes the reader stop, and thereby the server.
  static constexpr std::size_t kAnswersMax = 256;

  void Run(const std::function<std::optional<Answer>()>& read, const std::function<Status()>& finish) {
    while (auto answer = read()) {
      MutexLock lock(&mu_);
      while (answers_.size() >= kAnswersMax && !abandoned_) changed_.Wait(&mu_);
      if (abandoned_) break;
      answers_.push_back(*std::move(answer));
      changed_.NotifyAll();
    }
    Status end = finish();
    MutexLock lock(&mu_);
    end_ = std::move(end);
    changed_.NotifyAll();
  }

  Mutex mu_;
  CondVar changed_;
  std::deque<Answer> answers_ VELLUM_GUARDED_BY(mu_);
  std::optional<Status> end_ VELLUM_GUARDED_BY(mu_);
  bool abandoned_ VELLUM_GUARDED_BY(mu_) = false;
  std::thread reader_;  // last: it uses the others
};

}  // namespace vellum::client
