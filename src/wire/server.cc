#include "wire/server.h"

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <system_error>

#include "base/mutex.h"
#include "wire/acceptor.h"
#include "wire/event_loop.h"
#include "wire/wire_metrics.h"

namespace vellum::wire {

// Members are destroyed from the last to the first: the acceptor before the loops it uses, those before their metrics.
struct Server::Impl {
  Impl(ServerOptions given, const ServiceTable* services)
      : options(std::move(given)), table(services), metrics(options.metrics, *services) {}

  const ServerOptions options;
  const ServiceTable* const table;
  WireMetrics metrics;
  std::vector<std::unique_ptr<EventLoop>> loops;
  std::unique_ptr<Acceptor> acceptor;

  Mutex mu;
  bool started VELLUM_GUARDED_BY(mu) = false;
  bool stopped VELLUM_GUARDED_BY(mu) = false;
};

Server::Server(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
Server::~Server() { Stop(std::chrono::milliseconds(0)); }

Result<std::unique_ptr<Server>> Server::Listen(ServerOptions options, const ServiceTable* table) {
  if (options.loops < 1)
    return InvalidArgument("a server needs at least 1 event loop, not " + std::to_string(options.loops));
  if (options.stream_window_bytes > INT32_MAX || options.connection_window_bytes > INT32_MAX) {
    return InvalidArgument("an HTTP/2 window has at most " + std::to_string(INT32_MAX) + " bytes");
  }
  auto impl = std::make_unique<Impl>(std::move(options), table);
  std::vector<EventLoop*> loops;
  for (int i = 0; i < impl->options.loops; ++i) {
    auto loop = EventLoop::Make(&impl->options, table, &impl->metrics);
    if (loop == nullptr) {
      return ResourceExhausted("cannot make an event loop: " +
                               std::error_code(errno, std::generic_category()).message());
    }
    loops.push_back(loop.get());
    impl->loops.push_back(std::move(loop));
  }
  impl->acceptor = std::make_unique<Acceptor>(&impl->options, std::move(loops), &impl->metrics);
  for (const Endpoint& endpoint : impl->options.endpoints) VELLUM_TRY(impl->acceptor->Listen(endpoint));
  return std::unique_ptr<Server>(new Server(std::move(impl)));
}

void Server::Start() {
  MutexLock lock(&impl_->mu);
  if (impl_->started || impl_->stopped) return;
  impl_->started = true;
  // The first loop, which accepts, starts last.
  for (auto loop = impl_->loops.rbegin(); loop != impl_->loops.rend(); ++loop) (*loop)->Start();
}

void Server::Stop(std::chrono::milliseconds grace) {
  MutexLock lock(&impl_->mu);
  if (std::exchange(impl_->stopped, true)) return;
  if (!impl_->started) return impl_->acceptor->Close();
  Acceptor* const acceptor = impl_->acceptor.get();
  impl_->loops[0]->Post([acceptor] { acceptor->Close(); });
  const auto deadline = std::chrono::steady_clock::now() + std::max(grace, std::chrono::milliseconds(0));
  for (const auto& loop : impl_->loops) loop->Stop(deadline);
  for (const auto& loop : impl_->loops) loop->Join();
}

std::vector<std::string> Server::addresses() const { return impl_->acceptor->addresses(); }

}  // namespace vellum::wire
