#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "wire/connection.h"
#include "wire/mailbox.h"
#include "wire/server.h"
#include "wire/solitude.h"
#include "wire/stream_io.h"
#include "wire/timer_wheel.h"
#include "wire/wire_metrics.h"

namespace vellum::wire {

/// What has just been accepted.
struct NewConnection {
  std::unique_ptr<ByteStream> stream;
  std::string peer;
  bool metrics_only = false;
};

/// One thread, one epoll, and the connections that were dealt to it. Everything but Start, Stop, Join and Post runs on
/// its thread.
class EventLoop final : public ConnectionOwner {
 public:
  /// Null, with the reason in errno, if the kernel has no epoll or eventfd for it. The pointers outlive the loop.
  static std::unique_ptr<EventLoop> Make(const ServerOptions* options, const ServiceTable* table, WireMetrics* metrics);
  /// Has ended, or was never started.
  ~EventLoop() override;

  void Start();
  /// Tells every client to go, serves what is open until `deadline`, then ends. Any thread; once.
  void Stop(std::chrono::steady_clock::time_point deadline);
  void Join();

  /// Runs `task` on the loop; drops it if the loop has ended. Any thread.
  void Post(std::function<void()> task);
  /// Takes a connection in. Any thread, cheapest on the loop's own.
  void Adopt(NewConnection connection);

  /// Watches a descriptor that is not a connection; `ready` runs on the loop. Before Start, or on the loop.
  bool Watch(int fd, std::function<void()> ready);
  /// Suspends or resumes watching. On the loop.
  void SetWatched(int fd, bool on);
  void Unwatch(int fd);

  TimerWheel* timers() { return &timers_; }
  std::chrono::steady_clock::time_point now() const { return now_; }

 private:
  struct Slot {
    std::uint32_t generation = 0;
    std::unique_ptr<Connection> connection;
  };
  struct Watched {
    int fd;
    std::function<void()> ready;
  };

  EventLoop(const ServerOptions* options, const ServiceTable* table, WireMetrics* metrics, int epoll_fd,
            std::shared_ptr<Mailbox> mailbox);

  void OnDirty(Connection* connection) override;
  void OnGone(Connection* connection) override;
  void OnInterest(Connection* connection, bool read, bool write) override;

  void Run();
  void Iterate();
  int WaitMilliseconds();
  void HandleEvent(std::uint64_t tag, std::uint32_t events);
  void DeliverMail();
  void FlushDirty();
  void FreeGone();
  void AdoptHere(NewConnection connection);
  void LimitWaiting();
  Connection* FindConnection(ConnectionId id) const;

  // Constant.
  const ServerOptions* const options_;
  const ServiceTable* const table_;
  const int epoll_fd_;
  const std::shared_ptr<Mailbox> mailbox_;

  // The loop's own.
  LoopStats stats_;
  Solitude solitude_;
  std::chrono::steady_clock::time_point now_;
  TimerWheel timers_;
  std::vector<Slot> slots_;
  std::vector<std::uint32_t> free_slots_;
  std::size_t open_ = 0;
  std::vector<ConnectionId> waiting_;  // oldest first; may name connections that have spoken meanwhile
  std::size_t waiting_head_ = 0;
  std::vector<Connection*> dirty_;
  std::vector<Connection*> gone_;
  std::vector<std::unique_ptr<Watched>> watched_;
  std::unique_ptr<char[]> buffer_;
  bool stopping_ = false;
  std::chrono::steady_clock::time_point stop_by_;
  bool done_ = false;

  std::atomic<std::thread::id> runs_on_{};
  std::thread thread_;
};

}  // namespace vellum::wire
