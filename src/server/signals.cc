#include "server/signals.h"

#include <poll.h>
#include <pthread.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <cstring>
#include <string>
#include <utility>

namespace vellum::server {
namespace {

sigset_t Watched() {
  sigset_t set;
  sigemptyset(&set);
  for (const int number : {SIGTERM, SIGINT, SIGHUP}) sigaddset(&set, number);
  return set;
}

}  // namespace

Result<SignalWaiter> SignalWaiter::Make() {
  const sigset_t set = Watched();
  if (const int error = pthread_sigmask(SIG_BLOCK, &set, nullptr); error != 0) {
    return Internal(std::string("cannot block signals: ") + std::strerror(error));
  }
  const int descriptor = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
  if (descriptor < 0) return Internal(std::string("cannot wait for signals: ") + std::strerror(errno));
  std::signal(SIGPIPE, SIG_IGN);
  return SignalWaiter(descriptor);
}

SignalWaiter::SignalWaiter(SignalWaiter&& other) noexcept : descriptor_(std::exchange(other.descriptor_, -1)) {}

SignalWaiter::~SignalWaiter() {
  if (descriptor_ < 0) return;
  close(descriptor_);
  const sigset_t set = Watched();
  pthread_sigmask(SIG_UNBLOCK, &set, nullptr);
}

std::optional<SignalWaiter::Event> SignalWaiter::Wait(std::chrono::milliseconds timeout) {
  pollfd ready{descriptor_, POLLIN, 0};
  if (poll(&ready, 1, static_cast<int>(timeout.count())) <= 0) return std::nullopt;
  signalfd_siginfo info{};
  if (read(descriptor_, &info, sizeof info) != static_cast<ssize_t>(sizeof info)) return std::nullopt;
  return info.ssi_signo == SIGHUP ? Event::kReopenLogs : Event::kTerminate;
}

void SignalWaiter::RestoreDefault() {
  // Blocked in every thread that runs; unblocked in this one, the kernel delivers here and the default action ends all.
  sigset_t set;
  sigemptyset(&set);
  sigaddset(&set, SIGTERM);
  sigaddset(&set, SIGINT);
  pthread_sigmask(SIG_UNBLOCK, &set, nullptr);
}

}  // namespace vellum::server
