#include "wire/event_loop.h"

#include <sys/epoll.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>

#include "base/check.h"

namespace vellum::wire {
namespace {

constexpr std::size_t kReadBytes = 256u << 10;
constexpr int kEventsMax = 512;
// Mail may beget mail (an answer that makes a stream writable, say); the rest waits until others had their turn.
constexpr int kMailRounds = 4;

// What an epoll event is about: the mailbox, a watched descriptor, or a connection, whose ids have their generation in
// the upper half and never reach the top bit.
constexpr std::uint64_t kWakeTag = 0;
constexpr std::uint64_t kWatchedBit = std::uint64_t{1} << 63;

}  // namespace

std::unique_ptr<EventLoop> EventLoop::Make(const ServerOptions* options, const ServiceTable* table,
                                           WireMetrics* metrics) {
  const int epoll_fd = ::epoll_create1(EPOLL_CLOEXEC);
  if (epoll_fd < 0) return nullptr;
  auto mailbox = std::make_shared<Mailbox>();
  epoll_event event{};
  event.events = EPOLLIN;
  event.data.u64 = kWakeTag;
  if (!mailbox->ok() || ::epoll_ctl(epoll_fd, EPOLL_CTL_ADD, mailbox->wake_fd(), &event) != 0) {
    ::close(epoll_fd);
    return nullptr;
  }
  return std::unique_ptr<EventLoop>(new EventLoop(options, table, metrics, epoll_fd, std::move(mailbox)));
}

EventLoop::EventLoop(const ServerOptions* options, const ServiceTable* table, WireMetrics* metrics, int epoll_fd,
                     std::shared_ptr<Mailbox> mailbox)
    : options_(options),
      table_(table),
      epoll_fd_(epoll_fd),
      mailbox_(std::move(mailbox)),
      stats_(metrics),
      now_(std::chrono::steady_clock::now()),
      timers_(now_) {}

EventLoop::~EventLoop() {
  Join();
  mailbox_->Close();
  ::close(epoll_fd_);
}

void EventLoop::Start() {
  buffer_ = std::make_unique<char[]>(kReadBytes);
  thread_ = std::thread([this] { Run(); });
}

void EventLoop::Join() {
  if (thread_.joinable()) thread_.join();
}

void EventLoop::Post(std::function<void()> task) { mailbox_->Push(new TaskMail(std::move(task))); }

void EventLoop::Adopt(NewConnection connection) {
  if (std::this_thread::get_id() == runs_on_.load()) return AdoptHere(std::move(connection));
  auto shared = std::make_shared<NewConnection>(std::move(connection));
  Post([this, shared] { AdoptHere(std::move(*shared)); });
}

void EventLoop::Stop(std::chrono::steady_clock::time_point deadline) {
  Post([this, deadline] {
    stopping_ = true;
    stop_by_ = deadline;
    for (Slot& slot : slots_) {
      if (slot.connection != nullptr && !slot.connection->gone()) slot.connection->BeginShutdown();
    }
  });
}

bool EventLoop::Watch(int fd, std::function<void()> ready) {
  epoll_event event{};
  event.events = EPOLLIN;
  event.data.u64 = kWatchedBit | static_cast<std::uint32_t>(fd);
  if (::epoll_ctl(epoll_fd_, EPOLL_CTL_ADD, fd, &event) != 0) return false;
  watched_.push_back(std::make_unique<Watched>(Watched{fd, std::move(ready)}));
  return true;
}

void EventLoop::SetWatched(int fd, bool on) {
  epoll_event event{};
  event.events = on ? static_cast<std::uint32_t>(EPOLLIN) : 0;
  event.data.u64 = kWatchedBit | static_cast<std::uint32_t>(fd);
  ::epoll_ctl(epoll_fd_, EPOLL_CTL_MOD, fd, &event);
}

void EventLoop::Unwatch(int fd) {
  ::epoll_ctl(epoll_fd_, EPOLL_CTL_DEL, fd, nullptr);
  std::erase_if(watched_, [fd](const auto& each) { return each->fd == fd; });
}

Connection* EventLoop::FindConnection(ConnectionId id) const {
  const auto index = static_cast<std::uint32_t>(id);
  if (index >= slots_.size() || slots_[index].generation != static_cast<std::uint32_t>(id >> 32)) return nullptr;
  Connection* const connection = slots_[index].connection.get();
  return connection == nullptr || connection->gone() ? nullptr : connection;
}

void EventLoop::AdoptHere(NewConnection connection) {
  if (stopping_) return;
  if (free_slots_.empty()) {
    free_slots_.push_back(static_cast<std::uint32_t>(slots_.size()));
    slots_.emplace_back();
  }
  const std::uint32_t index = free_slots_.back();
  Slot& slot = slots_[index];
  slot.generation = slot.generation >= INT32_MAX ? 1 : slot.generation + 1;
  const ConnectionId id = std::uint64_t{slot.generation} << 32 | index;

  epoll_event event{};
  event.events = EPOLLIN;
  event.data.u64 = id;
  if (::epoll_ctl(epoll_fd_, EPOLL_CTL_ADD, connection.stream->fd(), &event) != 0) return;
  free_slots_.pop_back();
  SessionContext context{
      options_, table_, &stats_, &solitude_, &timers_, &now_, mailbox_, id, std::move(connection.peer), connection.metrics_only};
  slot.connection = std::make_unique<Connection>(std::move(context), std::move(connection.stream), this);
  ++open_;
  stats_.shared()->connections.fetch_add(1, std::memory_order_relaxed);
  stats_.shared()->CountOpened();
  waiting_.push_back(id);
  LimitWaiting();
}

void EventLoop::LimitWaiting() {
  const auto is_waiting = [this](ConnectionId id) {
    const Connection* const connection = FindConnection(id);
    return connection != nullptr && connection->waiting();
  };
  const std::size_t most = std::max<std::size_t>(
      1, options_->waiting_connections_max / static_cast<std::size_t>(std::max(1, options_->loops)));
  if (waiting_.size() - waiting_head_ <= most) return;
  // Only now are those dropped that have spoken: a pass over the list for every `most` connections that came.
  waiting_.erase(waiting_.begin(), waiting_.begin() + static_cast<std::ptrdiff_t>(waiting_head_));
  waiting_head_ = 0;
  std::erase_if(waiting_, [&](ConnectionId id) { return !is_waiting(id); });
  if (waiting_.size() <= most) return;
  // Some more than needed, so that the next pass is not due with the next connection.
  const std::size_t closing = waiting_.size() - (most - most / 8);
  while (waiting_head_ < closing) FindConnection(waiting_[waiting_head_++])->CloseNow(CloseReason::kWaitingMax);
}

void EventLoop::OnDirty(Connection* connection) {
  if (std::exchange(connection->dirty, true)) return;
  dirty_.push_back(connection);
}

void EventLoop::OnGone(Connection* connection) {
  ::epoll_ctl(epoll_fd_, EPOLL_CTL_DEL, connection->fd(), nullptr);
  gone_.push_back(connection);
}

void EventLoop::OnInterest(Connection* connection, bool read, bool write) {
  epoll_event event{};
  event.events = (read ? static_cast<std::uint32_t>(EPOLLIN) : 0) | (write ? static_cast<std::uint32_t>(EPOLLOUT) : 0);
  event.data.u64 = connection->id();
  ::epoll_ctl(epoll_fd_, EPOLL_CTL_MOD, connection->fd(), &event);
}

int EventLoop::WaitMilliseconds() {
  if (!dirty_.empty() || !mailbox_->empty()) return 0;
  auto next = timers_.Next();
  if (stopping_) next = std::min(next.value_or(stop_by_), stop_by_);
  if (!next) return -1;
  const auto wait = std::chrono::ceil<std::chrono::milliseconds>(*next - now_).count();
  return static_cast<int>(std::clamp<std::int64_t>(wait, 0, 60'000));
}

void EventLoop::Iterate() {
  std::array<epoll_event, kEventsMax> events;
  now_ = std::chrono::steady_clock::now();
  int wait = WaitMilliseconds();
  const bool asleep = wait != 0 && mailbox_->PrepareToSleep();
  if (!asleep) wait = 0;
  const int count = ::epoll_wait(epoll_fd_, events.data(), kEventsMax, wait);
  if (asleep) mailbox_->Awake();
  now_ = std::chrono::steady_clock::now();
  solitude_.BeginTurn(count);
  for (int i = 0; i < count; ++i)
    HandleEvent(events[static_cast<std::size_t>(i)].data.u64, events[static_cast<std::size_t>(i)].events);
  timers_.Advance(now_);
  DeliverMail();
  stats_.Publish();
  FlushDirty();
  FreeGone();
  stats_.Publish();  // what ended while it was written
  if (stopping_ && (open_ == 0 || now_ >= stop_by_)) done_ = true;
}

void EventLoop::HandleEvent(std::uint64_t tag, std::uint32_t events) {
  if (tag == kWakeTag) return mailbox_->AcknowledgeWakeup();
  if ((tag & kWatchedBit) != 0) {
    const int fd = static_cast<int>(tag & 0xFFFFFFFF);
    const auto at = std::find_if(watched_.begin(), watched_.end(), [fd](const auto& each) { return each->fd == fd; });
    if (at != watched_.end()) (*at)->ready();
    return;
  }
  Connection* const connection = FindConnection(tag);
  if (connection == nullptr) return;
  solitude_.Heard(tag);
  if ((events & EPOLLIN) != 0) connection->OnReadable(buffer_.get(), kReadBytes);
  if (connection->gone()) return;
  if ((events & EPOLLOUT) != 0) connection->OnWritable();
  // Both directions are closed, or the connection broke: nobody is left to answer. With unread input it is reported
  // again, after the input.
  if ((events & (EPOLLERR | EPOLLHUP)) != 0 && (events & EPOLLIN) == 0) connection->CloseNow(CloseReason::kPeer);
}

void EventLoop::DeliverMail() {
  for (int round = 0; round < kMailRounds; ++round) {
    const std::size_t count = mailbox_->Drain([this](Mail* mail) {
      if (mail->connection() == kNoConnection) {
        static_cast<TaskMail*>(mail)->Run();
        mail->Deliver(nullptr);
        return;
      }
      Connection* const connection = FindConnection(mail->connection());
      mail->Deliver(connection == nullptr ? nullptr : connection->session());
      if (connection != nullptr) OnDirty(connection);
    });
    if (count == 0) return;
  }
}

void EventLoop::FlushDirty() {
  std::vector<Connection*> flushing = std::move(dirty_);
  dirty_.clear();
  std::vector<Connection*> again;
  for (Connection* const connection : flushing) {
    // `dirty` stays set meanwhile, so that what happens during the flush does not queue it twice.
    if (connection->Flush()) again.push_back(connection);
  }
  for (Connection* const connection : flushing) {
    connection->dirty = false;
    connection->Reap();
  }
  for (Connection* const connection : again) OnDirty(connection);
  if (dirty_.empty()) {
    flushing.clear();
    dirty_ = std::move(flushing);  // its memory
  }
}

void EventLoop::FreeGone() {
  while (!gone_.empty()) {
    std::vector<Connection*> gone = std::move(gone_);
    gone_.clear();
    for (Connection* const connection : gone) {
      connection->Reap();
      if (std::exchange(connection->dirty, false)) std::erase(dirty_, connection);
      const auto index = static_cast<std::uint32_t>(connection->id());
      slots_[index].connection.reset();
      free_slots_.push_back(index);
      --open_;
      stats_.shared()->connections.fetch_sub(1, std::memory_order_relaxed);
    }
  }
}

void EventLoop::Run() {
  runs_on_.store(std::this_thread::get_id());
  while (!done_) Iterate();
  for (Slot& slot : slots_) {
    if (slot.connection != nullptr) slot.connection->CloseNow(CloseReason::kShutdown);
  }
  FreeGone();
  mailbox_->Close();
  stats_.Publish();
}

}  // namespace vellum::wire
