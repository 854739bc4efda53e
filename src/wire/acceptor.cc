#include "wire/acceptor.h"

#include <arpa/inet.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstring>
#include <utility>

namespace vellum::wire {
namespace {

constexpr int kBacklog = 4096;
constexpr int kAcceptsPerTurn = 256;
constexpr std::chrono::milliseconds kRetryAfter{200};
// What the kernel may hold unsent per connection. Its default is megabytes, which would hide a slow reader from us.
constexpr int kNotSentLowWater = 128 << 10;

struct FreeAddresses {
  void operator()(addrinfo* list) const { ::freeaddrinfo(list); }
};

std::string AddressName(const sockaddr_storage& address) {
  std::array<char, INET6_ADDRSTRLEN> text{};
  if (address.ss_family == AF_INET) {
    const auto* const v4 = reinterpret_cast<const sockaddr_in*>(&address);
    ::inet_ntop(AF_INET, &v4->sin_addr, text.data(), text.size());
    return std::string(text.data()) + ":" + std::to_string(ntohs(v4->sin_port));
  }
  if (address.ss_family == AF_INET6) {
    const auto* const v6 = reinterpret_cast<const sockaddr_in6*>(&address);
    if (IN6_IS_ADDR_V4MAPPED(&v6->sin6_addr)) {
      ::inet_ntop(AF_INET, &v6->sin6_addr.s6_addr[12], text.data(), text.size());
      return std::string(text.data()) + ":" + std::to_string(ntohs(v6->sin6_port));
    }
    ::inet_ntop(AF_INET6, &v6->sin6_addr, text.data(), text.size());
    return "[" + std::string(text.data()) + "]:" + std::to_string(ntohs(v6->sin6_port));
  }
  return "@";
}

Status CannotListen(const std::string& name, const std::string& why) {
  return FailedPrecondition("cannot listen on " + name + ": " + why);
}

std::string ErrorText(int error) { return std::error_code(error, std::generic_category()).message(); }

void SetOption(int fd, int level, int option, int value) {
  // Each is an improvement that a kernel may lack, none a precondition.
  static_cast<void>(::setsockopt(fd, level, option, &value, sizeof(value)));
}

}  // namespace

Acceptor::Acceptor(const ServerOptions* options, std::vector<EventLoop*> loops, WireMetrics* metrics)
    : options_(options), loops_(std::move(loops)), metrics_(metrics) {}

Acceptor::~Acceptor() { Close(); }

void Acceptor::Close() {
  retry_.Disarm();
  for (const auto& listener : listeners_) {
    loops_[0]->Unwatch(listener->fd);
    ::close(listener->fd);
    if (!listener->path.empty()) ::unlink(listener->path.c_str());
  }
  listeners_.clear();
}

Status Acceptor::Listen(const Endpoint& endpoint) {
  return endpoint.kind == Endpoint::Kind::kUnix ? ListenUnix(endpoint) : ListenTcp(endpoint);
}

Status Acceptor::ListenTcp(const Endpoint& endpoint) {
  const std::string port = std::to_string(endpoint.port);
  const bool v6 = endpoint.host.find(':') != std::string::npos;
  const std::string name = (v6 ? "[" + endpoint.host + "]" : endpoint.host) + ":" + port;
  addrinfo hints{};
  hints.ai_family = AF_UNSPEC;
  hints.ai_socktype = SOCK_STREAM;
  hints.ai_flags = AI_PASSIVE | AI_NUMERICSERV;
  addrinfo* list = nullptr;
  const int code = ::getaddrinfo(endpoint.host.empty() ? nullptr : endpoint.host.c_str(), port.c_str(), &hints, &list);
  if (code != 0) return CannotListen(name, ::gai_strerror(code));
  const std::unique_ptr<addrinfo, FreeAddresses> addresses(list);

  Status failure = CannotListen(name, "no address");
  // For "all", IPv6 first: such a socket takes IPv4 too.
  for (const int family : {endpoint.host.empty() ? AF_INET6 : AF_INET, endpoint.host.empty() ? AF_INET : AF_INET6}) {
    for (const addrinfo* each = list; each != nullptr; each = each->ai_next) {
      if (each->ai_family != family) continue;
      const int fd = ::socket(family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
      if (fd < 0) {
        failure = CannotListen(name, ErrorText(errno));
        continue;
      }
      if (options_->socket_reuse_address) SetOption(fd, SOL_SOCKET, SO_REUSEADDR, 1);
      if (options_->socket_reuse_port) SetOption(fd, SOL_SOCKET, SO_REUSEPORT, 1);
      if (family == AF_INET6)
        SetOption(fd, IPPROTO_IPV6, IPV6_V6ONLY, endpoint.host.empty() || endpoint.host == "::" ? 0 : 1);
      if (::bind(fd, each->ai_addr, each->ai_addrlen) == 0 && ::listen(fd, kBacklog) == 0) {
        sockaddr_storage bound{};
        socklen_t size = sizeof(bound);
        ::getsockname(fd, reinterpret_cast<sockaddr*>(&bound), &size);
        return Begin(fd, endpoint, AddressName(bound));
      }
      const int error = errno;
      failure = CannotListen(name, ErrorText(error));
      ::close(fd);
      // Another server that has 127.0.0.1 must not make this one retreat to [::1], where nobody looks for it.
      if (error == EADDRINUSE || error == EACCES) return failure;
    }
  }
  return failure;
}

Status Acceptor::ListenUnix(const Endpoint& endpoint) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  if (endpoint.path.empty() || endpoint.path.size() >= sizeof(address.sun_path)) {
    return CannotListen(endpoint.path, "a unix socket's path has 1 to " + std::to_string(sizeof(address.sun_path) - 1) +
                                           " bytes, this one has " + std::to_string(endpoint.path.size()));
  }
  std::memcpy(address.sun_path, endpoint.path.data(), endpoint.path.size());
  const int fd = ::socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  if (fd < 0) return CannotListen(endpoint.path, ErrorText(errno));
  const auto* const generic = reinterpret_cast<const sockaddr*>(&address);
  int error = ::bind(fd, generic, sizeof(address)) == 0 ? 0 : errno;
  if (error == EADDRINUSE) {
    // A server that was killed leaves its socket behind. Nobody listens on such a one: it may go.
    struct stat info {};
    const int probe = ::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    const bool stale = ::lstat(endpoint.path.c_str(), &info) == 0 && S_ISSOCK(info.st_mode) && probe >= 0 &&
                       ::connect(probe, generic, sizeof(address)) != 0 && errno == ECONNREFUSED;
    if (probe >= 0) ::close(probe);
    if (stale && ::unlink(endpoint.path.c_str()) == 0) {
      error = ::bind(fd, generic, sizeof(address)) == 0 ? 0 : errno;
    }
  }
  if (error == 0 && ::listen(fd, kBacklog) != 0) error = errno;
  if (error == 0) return Begin(fd, endpoint, endpoint.path);
  ::close(fd);
  return CannotListen(endpoint.path, ErrorText(error));
}

Status Acceptor::Begin(int fd, const Endpoint& endpoint, std::string address) {
  listeners_.push_back(std::make_unique<Listener>(
      Listener{fd, endpoint.metrics_only, endpoint.kind == Endpoint::Kind::kUnix ? endpoint.path : std::string()}));
  const Listener* const listener = listeners_.back().get();
  if (!loops_[0]->Watch(fd, [this, listener] { Accept(*listener); })) {
    return CannotListen(address, ErrorText(errno));
  }
  addresses_.push_back(std::move(address));
  return {};
}

void Acceptor::Accept(const Listener& listener) {
  for (int i = 0; i < kAcceptsPerTurn; ++i) {
    sockaddr_storage peer{};
    socklen_t size = sizeof(peer);
    const int fd = ::accept4(listener.fd, reinterpret_cast<sockaddr*>(&peer), &size, SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (fd < 0) {
      if (errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM) return Pause(errno);
      if (errno == EAGAIN || errno == EWOULDBLOCK) return;
      continue;  // the client has gone again
    }
    NewConnection connection{MakeSocketStream(fd), {}, listener.metrics_only};
    if (metrics_->connections.load(std::memory_order_relaxed) >= static_cast<std::int64_t>(options_->connections_max)) {
      metrics_->CountClosed(CloseReason::kConnectionsMax);
      continue;
    }
    if (peer.ss_family != AF_UNIX) {
      SetOption(fd, IPPROTO_TCP, TCP_NODELAY, 1);
      SetOption(fd, IPPROTO_TCP, TCP_NOTSENT_LOWAT, kNotSentLowWater);
      SetOption(fd, SOL_SOCKET, SO_KEEPALIVE, 1);
    }
    connection.peer = AddressName(peer);
    starved_ = false;
    EventLoop* const loop = loops_[next_loop_++ % loops_.size()];
    loop->Adopt(std::move(connection));
  }
}

void Acceptor::Pause(int error) {
  // The pending connection cannot be taken and would be reported without end. Descriptors come back when connections
  // close, so look again in a moment.
  metrics_->CountAcceptPause();
  if (!std::exchange(starved_, true)) {
    VELLUM_LOG(options_->logger, kWarn, "cannot accept connections for the moment", {{"error", ErrorText(error)}});
  }
  for (const auto& listener : listeners_) loops_[0]->SetWatched(listener->fd, false);
  loops_[0]->timers()->Arm(&retry_, loops_[0]->now() + kRetryAfter);
}

void Acceptor::Resume() {
  for (const auto& listener : listeners_) loops_[0]->SetWatched(listener->fd, true);
}

}  // namespace vellum::wire
