#include "wire/call_driver.h"

#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <nghttp2/nghttp2.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <charconv>
#include <cstring>
#include <limits>
#include <optional>
#include <utility>

#include "wire/grpc.h"

namespace vellum::wire {
namespace {

constexpr std::size_t kReadBytes = 256u << 10;
constexpr std::uint32_t kStreamWindow = 1u << 20;
constexpr std::int32_t kConnectionWindow = 16 << 20;
constexpr std::size_t kAnswerBytesMax = std::numeric_limits<std::int32_t>::max();

std::string_view View(const std::uint8_t* bytes, std::size_t size) {
  return {reinterpret_cast<const char*>(bytes), size};
}

nghttp2_nv Field(std::string_view name, std::string_view value) {
  return {reinterpret_cast<std::uint8_t*>(const_cast<char*>(name.data())),
          reinterpret_cast<std::uint8_t*>(const_cast<char*>(value.data())), name.size(), value.size(),
          NGHTTP2_NV_FLAG_NO_COPY_NAME};
}

void AppendFramed(std::string_view message, std::string* out) {
  char prefix[kMessagePrefixBytes];
  WriteMessagePrefix(message.size(), prefix);
  out->append(prefix, sizeof(prefix)).append(message);
}

}  // namespace

struct CallDriver::Call {
  std::uint64_t tag = 0;
  std::int32_t stream = -1;
  std::uint32_t slot = 0;
  std::string out;           // framed messages, not yet taken by nghttp2 from `out_done` on
  std::size_t out_done = 0;
  bool last = false;         // nothing follows `out`
  bool waiting = false;      // nghttp2 found nothing to send and waits to be told
  int status = -1;           // grpc-status, once there
  std::string text;          // grpc-message
  std::optional<MessageReader> reader;
  Status failure;            // why the call cannot go on, whatever the server says
};

struct CallDriver::Connection {
  ~Connection() {
    nghttp2_session_del(session);
    if (fd >= 0) ::close(fd);
  }
  Call* Find(std::int32_t stream) const {
    return static_cast<Call*>(nghttp2_session_get_stream_user_data(session, stream));
  }

  CallDriver* driver = nullptr;
  std::uint32_t index = 0;
  int fd = -1;
  nghttp2_session* session = nullptr;
  bool dirty = true;
  bool blocked = false;  // the socket takes no more for the moment
  std::string unsent;
  std::vector<std::unique_ptr<Call>> calls;
  std::vector<std::uint32_t> free;
  std::vector<Call*> ended;  // told after nghttp2 has returned
};

struct CallDriver::Callbacks {
  static Connection* Self(void* user_data) { return static_cast<Connection*>(user_data); }

  static int Header(nghttp2_session*, const nghttp2_frame* frame, const std::uint8_t* name, std::size_t name_size,
                    const std::uint8_t* value, std::size_t value_size, std::uint8_t, void* user_data) {
    Call* const call = Self(user_data)->Find(frame->hd.stream_id);
    if (call == nullptr) return 0;
    const std::string_view field = View(name, name_size);
    const std::string_view text = View(value, value_size);
    if (field == "grpc-status") {
      std::from_chars(text.data(), text.data() + text.size(), call->status);
    } else if (field == "grpc-message") {
      call->text = text;
    } else if (field == ":status" && text != "200") {
      call->failure = Unavailable("the server answered with HTTP status " + std::string(text));
    }
    return 0;
  }

  static int Data(nghttp2_session*, std::uint8_t, std::int32_t stream, const std::uint8_t* bytes, std::size_t size,
                  void* user_data) {
    Connection* const self = Self(user_data);
    Call* const call = self->Find(stream);
    if (call == nullptr || !call->failure.ok()) return 0;
    std::string_view input = View(bytes, size);
    for (;;) {
      std::string_view message;
      const MessageReader::Got got = call->reader->Next(&input, &message);
      if (got == MessageReader::Got::kNeedMore) return 0;
      if (got == MessageReader::Got::kError) {
        call->failure = call->reader->error();
        return 0;
      }
      self->driver->listener_->OnMessage(call->tag, message);
    }
  }

  static int StreamClose(nghttp2_session*, std::int32_t stream, std::uint32_t error, void* user_data) {
    Connection* const self = Self(user_data);
    Call* const call = self->Find(stream);
    if (call == nullptr) return 0;
    if (call->status < 0 && call->failure.ok()) {
      call->failure = Unavailable("the server reset the call: " + std::string(nghttp2_http2_strerror(error)));
    }
    self->ended.push_back(call);
    return 0;
  }

  static ssize_t Source(nghttp2_session*, std::int32_t, std::uint8_t* to, std::size_t length, std::uint32_t* flags,
                        nghttp2_data_source* source, void*) {
    Call* const call = static_cast<Call*>(source->ptr);
    const std::size_t left = call->out.size() - call->out_done;
    if (left == 0 && !call->last) {
      call->waiting = true;
      return NGHTTP2_ERR_DEFERRED;
    }
    const std::size_t taken = std::min(length, left);
    std::memcpy(to, call->out.data() + call->out_done, taken);
    call->out_done += taken;
    if (taken == left) {
      call->out.clear();
      call->out_done = 0;
      if (call->last) *flags |= NGHTTP2_DATA_FLAG_EOF;
    }
    return static_cast<ssize_t>(taken);
  }

  static bool Open(Connection* connection) {
    nghttp2_session_callbacks* callbacks = nullptr;
    nghttp2_option* option = nullptr;
    bool made = nghttp2_session_callbacks_new(&callbacks) == 0 && nghttp2_option_new(&option) == 0;
    if (made) {
      nghttp2_session_callbacks_set_on_header_callback(callbacks, Header);
      nghttp2_session_callbacks_set_on_data_chunk_recv_callback(callbacks, Data);
      nghttp2_session_callbacks_set_on_stream_close_callback(callbacks, StreamClose);
      nghttp2_option_set_no_http_messaging(option, 1);
      nghttp2_option_set_no_closed_streams(option, 1);
      nghttp2_option_set_peer_max_concurrent_streams(option, std::numeric_limits<std::int32_t>::max());
      made = nghttp2_session_client_new2(&connection->session, callbacks, connection, option) == 0;
    }
    nghttp2_session_callbacks_del(callbacks);
    nghttp2_option_del(option);
    const nghttp2_settings_entry window = {NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, kStreamWindow};
    return made && nghttp2_submit_settings(connection->session, NGHTTP2_FLAG_NONE, &window, 1) == 0 &&
           nghttp2_session_set_local_window_size(connection->session, NGHTTP2_FLAG_NONE, 0, kConnectionWindow) == 0;
  }
};

CallDriver::CallDriver(std::string authority, CallListener* listener)
    : authority_(std::move(authority)), listener_(listener), buffer_(std::make_unique<char[]>(kReadBytes)) {}

CallDriver::~CallDriver() {
  connections_.clear();
  if (epoll_fd_ >= 0) ::close(epoll_fd_);
}

Result<std::unique_ptr<CallDriver>> CallDriver::Connect(const std::string& address, std::uint32_t connections,
                                                        CallListener* listener) {
  constexpr std::string_view kScheme = "http://";
  std::string authority = address;
  if (authority.starts_with(kScheme)) authority.erase(0, kScheme.size());
  const std::size_t colon = authority.rfind(':');
  if (colon == std::string::npos || colon == 0 || authority.find('/') != std::string::npos) {
    return InvalidArgument("'" + address + "' is not host:port or http://host:port");
  }
  std::string host = authority.substr(0, colon);
  const std::string port = authority.substr(colon + 1);
  if (host.size() > 2 && host.front() == '[' && host.back() == ']') host = host.substr(1, host.size() - 2);

  std::unique_ptr<CallDriver> driver(new CallDriver(std::move(authority), listener));
  driver->epoll_fd_ = ::epoll_create1(EPOLL_CLOEXEC);
  if (driver->epoll_fd_ < 0) return Internal(std::string("epoll: ") + std::strerror(errno));
  for (std::uint32_t i = 0; i < connections; ++i) VELLUM_TRY(driver->Open(host, port));
  return driver;
}

Status CallDriver::Open(const std::string& host, const std::string& port) {
  addrinfo hints{};
  hints.ai_socktype = SOCK_STREAM;
  addrinfo* found = nullptr;
  if (const int error = ::getaddrinfo(host.c_str(), port.c_str(), &hints, &found); error != 0) {
    return Unavailable("cannot resolve " + authority_ + ": " + ::gai_strerror(error));
  }
  auto connection = std::make_unique<Connection>();
  int error = 0;
  for (const addrinfo* each = found; each != nullptr && connection->fd < 0; each = each->ai_next) {
    const int fd = ::socket(each->ai_family, each->ai_socktype | SOCK_CLOEXEC, each->ai_protocol);
    if (fd >= 0 && ::connect(fd, each->ai_addr, each->ai_addrlen) == 0) {
      connection->fd = fd;
    } else {
      error = errno;
      if (fd >= 0) ::close(fd);
    }
  }
  ::freeaddrinfo(found);
  if (connection->fd < 0) return Unavailable("cannot connect to " + authority_ + ": " + std::strerror(error));
  const int yes = 1;
  ::setsockopt(connection->fd, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof(yes));
  connection->driver = this;
  connection->index = static_cast<std::uint32_t>(connections_.size());
  if (!Callbacks::Open(connection.get())) return Internal("nghttp2 cannot make a session");
  epoll_event event{};
  event.events = EPOLLIN;
  event.data.u32 = connection->index;
  if (::epoll_ctl(epoll_fd_, EPOLL_CTL_ADD, connection->fd, &event) != 0) {
    return Internal(std::string("epoll: ") + std::strerror(errno));
  }
  connections_.push_back(std::move(connection));
  return {};
}

CallDriver::CallId CallDriver::Start(std::uint32_t index, const std::string& path, std::string_view message, bool last,
                                     std::uint64_t tag) {
  Connection& connection = *connections_[index];
  if (connection.free.empty()) {
    connection.free.push_back(static_cast<std::uint32_t>(connection.calls.size()));
    connection.calls.push_back(std::make_unique<Call>());
    connection.calls.back()->slot = connection.free.back();
  }
  Call& call = *connection.calls[connection.free.back()];
  connection.free.pop_back();
  call.tag = tag;
  call.out.clear();
  call.out_done = 0;
  call.last = last;
  call.waiting = false;
  call.status = -1;
  call.text.clear();
  call.failure = {};
  call.reader.emplace(kAnswerBytesMax);
  AppendFramed(message, &call.out);

  const std::array<nghttp2_nv, 6> fields = {Field(":method", "POST"),     Field(":scheme", "http"),
                                            Field(":path", path),         Field(":authority", authority_),
                                            Field("te", "trailers"),      Field("content-type", "application/grpc")};
  nghttp2_data_provider provider{};
  provider.source.ptr = &call;
  provider.read_callback = Callbacks::Source;
  call.stream = connection.fd < 0 ? -1
                                  : nghttp2_submit_request(connection.session, nullptr, fields.data(), fields.size(),
                                                           &provider, &call);
  if (call.stream < 0) {
    call.failure = Unavailable("the connection is gone");
    connection.ended.push_back(&call);
  }
  connection.dirty = true;
  return {index, call.slot};
}

void CallDriver::Send(CallId id, std::string_view message) {
  Connection& connection = *connections_[id.connection];
  Call& call = *connection.calls[id.slot];
  AppendFramed(message, &call.out);
  if (std::exchange(call.waiting, false)) nghttp2_session_resume_data(connection.session, call.stream);
  connection.dirty = true;
}

void CallDriver::Flush(Connection* connection) {
  connection->dirty = false;
  if (connection->fd < 0) return;
  while (!connection->blocked) {
    const std::uint8_t* bytes = nullptr;
    ssize_t size = 0;
    while (connection->unsent.size() < kReadBytes && (size = nghttp2_session_mem_send(connection->session, &bytes)) > 0) {
      connection->unsent.append(View(bytes, static_cast<std::size_t>(size)));
    }
    if (size < 0) return Lose(connection, nghttp2_strerror(static_cast<int>(size)));
    if (connection->unsent.empty()) return;
    const ssize_t sent =
        ::send(connection->fd, connection->unsent.data(), connection->unsent.size(), MSG_NOSIGNAL | MSG_DONTWAIT);
    if (sent < 0 && errno != EAGAIN && errno != EINTR) return Lose(connection, std::strerror(errno));
    if (sent > 0) connection->unsent.erase(0, static_cast<std::size_t>(sent));
    if (connection->unsent.empty()) continue;
    connection->blocked = true;
    epoll_event event{};
    event.events = EPOLLIN | EPOLLOUT;
    event.data.u32 = connection->index;
    ::epoll_ctl(epoll_fd_, EPOLL_CTL_MOD, connection->fd, &event);
  }
}

void CallDriver::Read(Connection* connection) {
  const ssize_t got = ::recv(connection->fd, buffer_.get(), kReadBytes, MSG_DONTWAIT);
  if (got < 0 && (errno == EAGAIN || errno == EINTR)) return;
  if (got <= 0) return Lose(connection, got == 0 ? "the server closed the connection" : std::strerror(errno));
  const ssize_t used = nghttp2_session_mem_recv(
      connection->session, reinterpret_cast<const std::uint8_t*>(buffer_.get()), static_cast<std::size_t>(got));
  if (used < 0) return Lose(connection, nghttp2_strerror(static_cast<int>(used)));
  connection->dirty = true;
}

void CallDriver::Lose(Connection* connection, const std::string& why) {
  ++lost_;
  ::close(std::exchange(connection->fd, -1));
  std::vector<bool> idle(connection->calls.size());
  for (const std::uint32_t slot : connection->free) idle[slot] = true;
  for (const Call* call : connection->ended) idle[call->slot] = true;
  for (const auto& call : connection->calls) {
    if (idle[call->slot]) continue;
    call->failure = Unavailable(why);
    connection->ended.push_back(call.get());
  }
}

void CallDriver::TellEnds(Connection* connection) {
  // The listener may start calls, on this connection too, which if it is gone end at once: in the next round.
  const std::vector<Call*> ended = std::exchange(connection->ended, {});
  for (Call* const call : ended) {
    Status status = std::move(call->failure);
    if (status.ok() && call->status != 0) status = Status(static_cast<Code>(call->status), call->text);
    const std::uint64_t tag = call->tag;
    connection->free.push_back(call->slot);
    listener_->OnEnd(tag, status);
  }
}

Status CallDriver::Poll(std::chrono::nanoseconds wait) {
  bool over = false;
  for (const auto& connection : connections_) {
    if (connection->dirty) Flush(connection.get());
    over = over || !connection->ended.empty();
  }
  std::array<epoll_event, 256> events;
  const auto seconds = std::chrono::duration_cast<std::chrono::seconds>(wait);
  const timespec timeout = {over ? 0 : seconds.count(), over ? 0 : (wait - seconds).count()};
  const int count = ::epoll_pwait2(epoll_fd_, events.data(), events.size(), &timeout, nullptr);
  for (int i = 0; i < count; ++i) {
    Connection& connection = *connections_[events[static_cast<std::size_t>(i)].data.u32];
    if (connection.fd < 0) continue;
    if ((events[static_cast<std::size_t>(i)].events & EPOLLOUT) != 0) {
      connection.blocked = false;
      connection.dirty = true;
      epoll_event event{};
      event.events = EPOLLIN;
      event.data.u32 = connection.index;
      ::epoll_ctl(epoll_fd_, EPOLL_CTL_MOD, connection.fd, &event);
    }
    if ((events[static_cast<std::size_t>(i)].events & ~static_cast<std::uint32_t>(EPOLLOUT)) != 0) Read(&connection);
  }
  for (const auto& connection : connections_) {
    if (!connection->ended.empty()) TellEnds(connection.get());
  }
  if (lost_ == connections_.size()) return Unavailable("every connection to " + authority_ + " is gone");
  return {};
}

}  // namespace vellum::wire
