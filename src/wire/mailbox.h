#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>

namespace vellum::wire {

class Session;

/// A connection, for as long as the server lives: a slot of its loop and how often that slot has been used. A number
/// that outlives its connection finds nothing, which is what makes late answers harmless.
using ConnectionId = std::uint64_t;
inline constexpr ConnectionId kNoConnection = 0;

/// Something for an event loop: an answer, a stream that has things to send, a task. A link of the mailbox's list.
class Mail {
 public:
  explicit Mail(ConnectionId connection) : connection_(connection) {}
  virtual ~Mail() = default;
  Mail(const Mail&) = delete;
  Mail& operator=(const Mail&) = delete;

  ConnectionId connection() const { return connection_; }

  /// Called once per Push, on the loop, and gives up whatever ownership Push took: afterwards the mail may be gone.
  /// `session` is null if the connection is gone, or the loop itself.
  virtual void Deliver(Session* session) = 0;

 private:
  friend class Mailbox;
  Mail* next_ = nullptr;
  const ConnectionId connection_;
};

/// Runs a function on the loop.
class TaskMail final : public Mail {
 public:
  explicit TaskMail(std::function<void()> task) : Mail(kNoConnection), task_(std::move(task)) {}
  void Deliver(Session* session) override;
  /// Dropped unrun, if the loop had ended before.
  void Run() { task_(); }

 private:
  std::function<void()> task_;
};

/// How any thread reaches a loop. Push costs one compare-and-swap, and a write to the loop's eventfd only if the loop
/// is (about to be) asleep and nobody has woken it yet, so bursts are free of system calls. Shared with everyone who
/// may still want to answer; outlives the loop.
class Mailbox {
 public:
  Mailbox();
  /// Drops what was never delivered.
  ~Mailbox();
  Mailbox(const Mailbox&) = delete;
  Mailbox& operator=(const Mailbox&) = delete;

  /// False if no eventfd could be had.
  bool ok() const { return wake_fd_ >= 0; }

  /// Takes over `mail`. Any thread; in the order of the calls that happen one after another. After Close it is dropped
  /// (delivered to no session).
  void Push(Mail* mail);

  // --- The loop's side, one thread. ---

  int wake_fd() const { return wake_fd_; }
  /// Announces that the loop is going to wait. False if there is mail already: do not wait then.
  bool PrepareToSleep();
  void Awake();
  /// Clears the eventfd.
  void AcknowledgeWakeup();
  bool empty() const { return head_.load(std::memory_order_acquire) == nullptr; }
  /// Takes everything and passes each mail, oldest first, to `each`. Returns how many there were.
  template <typename Function>
  std::size_t Drain(Function&& each) {
    std::size_t count = 0;
    for (Mail* mail = TakeOldestFirst(); mail != nullptr; ++count) {
      Mail* const next = mail->next_;
      each(mail);
      mail = next;
    }
    return count;
  }
  /// Nobody will drain any more.
  void Close();

 private:
  Mail* TakeOldestFirst();

  const int wake_fd_;
  std::atomic<Mail*> head_{nullptr};
  std::atomic<bool> sleeping_{false};
  std::atomic<bool> closed_{false};
};

}  // namespace vellum::wire
