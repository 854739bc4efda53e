#include "wire/mailbox.h"

#include <sys/eventfd.h>
#include <unistd.h>

namespace vellum::wire {

void TaskMail::Deliver(Session*) { delete this; }

Mailbox::Mailbox() : wake_fd_(::eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC)) {}

Mailbox::~Mailbox() {
  Drain([](Mail* mail) { mail->Deliver(nullptr); });
  if (wake_fd_ >= 0) ::close(wake_fd_);
}

void Mailbox::Push(Mail* mail) {
  Mail* head = head_.load(std::memory_order_relaxed);
  do {
    mail->next_ = head;
  } while (!head_.compare_exchange_weak(head, mail));
  if (head != nullptr) return;  // whoever found the list empty sees to the waking
  // Sequentially consistent with PrepareToSleep: either the loop sees this mail, or we see that it sleeps.
  if (sleeping_.load() && sleeping_.exchange(false)) {
    const std::uint64_t one = 1;
    // It can fail only when the counter is full, and then the loop is awake anyway.
    [[maybe_unused]] const auto written = ::write(wake_fd_, &one, sizeof(one));
  }
  if (closed_.load()) Drain([](Mail* late) { late->Deliver(nullptr); });
}

bool Mailbox::PrepareToSleep() {
  sleeping_.store(true);
  if (head_.load() == nullptr) return true;
  sleeping_.store(false);
  return false;
}

void Mailbox::Awake() { sleeping_.store(false); }

void Mailbox::AcknowledgeWakeup() {
  std::uint64_t count = 0;
  [[maybe_unused]] const auto got = ::read(wake_fd_, &count, sizeof(count));
}

Mail* Mailbox::TakeOldestFirst() {
  Mail* newest_first = head_.exchange(nullptr, std::memory_order_acq_rel);
  Mail* oldest_first = nullptr;
  while (newest_first != nullptr) {
    Mail* const next = newest_first->next_;
    newest_first->next_ = oldest_first;
    oldest_first = newest_first;
    newest_first = next;
  }
  return oldest_first;
}

void Mailbox::Close() {
  closed_.store(true);
  Drain([](Mail* mail) { mail->Deliver(nullptr); });
}

}  // namespace vellum::wire
