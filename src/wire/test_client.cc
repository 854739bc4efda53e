#include "wire/test_client.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <nghttp2/nghttp2.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>
#include <zlib.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

namespace vellum::wire {
namespace {

std::string_view View(const std::uint8_t* bytes, std::size_t size) {
  return {reinterpret_cast<const char*>(bytes), size};
}

int Connect(const std::string& address) {
  sockaddr_storage storage{};
  socklen_t size = 0;
  if (address[0] == '/') {
    auto* const unix_address = reinterpret_cast<sockaddr_un*>(&storage);
    unix_address->sun_family = AF_UNIX;
    std::strncpy(unix_address->sun_path, address.c_str(), sizeof(unix_address->sun_path) - 1);
    size = sizeof(*unix_address);
  } else {
    const std::size_t colon = address.rfind(':');
    const auto port = static_cast<std::uint16_t>(std::stoi(address.substr(colon + 1)));
    if (address[0] == '[') {
      auto* const v6 = reinterpret_cast<sockaddr_in6*>(&storage);
      v6->sin6_family = AF_INET6;
      v6->sin6_port = htons(port);
      ::inet_pton(AF_INET6, address.substr(1, colon - 2).c_str(), &v6->sin6_addr);
      size = sizeof(*v6);
    } else {
      auto* const v4 = reinterpret_cast<sockaddr_in*>(&storage);
      v4->sin_family = AF_INET;
      v4->sin_port = htons(port);
      ::inet_pton(AF_INET, address.substr(0, colon).c_str(), &v4->sin_addr);
      size = sizeof(*v4);
    }
  }
  const int fd = ::socket(storage.ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (fd >= 0 && ::connect(fd, reinterpret_cast<sockaddr*>(&storage), size) == 0) {
    const int yes = 1;  // else the kernel waits 40 ms for more after each small write
    ::setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof(yes));
    return fd;
  }
  if (fd >= 0) ::close(fd);
  return -1;
}

}  // namespace

TestSocket::TestSocket(const std::string& address) : fd_(Connect(address)) {}
TestSocket::~TestSocket() { Close(); }

void TestSocket::Close() {
  if (fd_ >= 0) ::close(fd_);
  fd_ = -1;
}

void TestSocket::HalfClose() { ::shutdown(fd_, SHUT_WR); }

bool TestSocket::Write(std::string_view bytes) {
  while (!bytes.empty()) {
    const ssize_t sent = ::send(fd_, bytes.data(), bytes.size(), MSG_NOSIGNAL);
    if (sent <= 0) return false;
    bytes.remove_prefix(static_cast<std::size_t>(sent));
  }
  return true;
}

std::string TestSocket::Read(std::chrono::milliseconds wait) {
  pollfd descriptor{fd_, POLLIN, 0};
  if (::poll(&descriptor, 1, static_cast<int>(wait.count())) <= 0) return {};
  std::string bytes(256u << 10, '\0');
  const ssize_t got = ::recv(fd_, bytes.data(), bytes.size(), 0);
  if (got <= 0) at_end_ = true;
  bytes.resize(static_cast<std::size_t>(std::max<ssize_t>(got, 0)));
  return bytes;
}

std::string TestSocket::ReadUntil(const std::function<bool(const std::string&)>& enough,
                                  std::chrono::milliseconds wait) {
  const auto deadline = std::chrono::steady_clock::now() + wait;
  std::string all;
  while (!enough(all) && !at_end_ && std::chrono::steady_clock::now() < deadline) {
    all += Read(std::chrono::milliseconds(100));
  }
  return all;
}

std::string TestSocket::ReadToEnd() {
  return ReadUntil([](const std::string&) { return false; });
}

int TestCall::status() const {
  const auto at = headers.find("grpc-status");
  return at == headers.end() ? -1 : std::stoi(at->second);
}

std::string TestCall::header(const std::string& name) const {
  const auto at = headers.find(name);
  return at == headers.end() ? std::string() : at->second;
}

std::vector<std::string> TestCall::Messages() const {
  std::vector<std::string> messages;
  std::string_view rest = data;
  while (rest.size() >= 5) {
    std::size_t size = 0;
    for (std::size_t i = 1; i < 5; ++i) size = size << 8 | static_cast<std::uint8_t>(rest[i]);
    if (rest.size() < 5 + size) break;
    messages.emplace_back(rest.substr(5, size));
    rest.remove_prefix(5 + size);
  }
  return messages;
}

struct TestClientCallbacks {
  static TestClient* Self(void* user_data) { return static_cast<TestClient*>(user_data); }

  static TestCall* FindCall(TestClient* client, std::int32_t id) {
    const auto at = client->calls_.find(id);
    return at == client->calls_.end() ? nullptr : at->second.get();
  }

  static int Header(nghttp2_session*, const nghttp2_frame* frame, const std::uint8_t* name, std::size_t name_size,
                    const std::uint8_t* value, std::size_t value_size, std::uint8_t, void* user_data) {
    TestCall* const call = FindCall(Self(user_data), frame->hd.stream_id);
    if (call != nullptr) call->headers[std::string(View(name, name_size))] = View(value, value_size);
    return 0;
  }

  static int Data(nghttp2_session* session, std::uint8_t, std::int32_t id, const std::uint8_t* bytes, std::size_t size,
                  void* user_data) {
    TestCall* const call = FindCall(Self(user_data), id);
    if (call != nullptr) call->data += View(bytes, size);
    if (Self(user_data)->options_.give_credit) nghttp2_session_consume(session, id, size);
    return 0;
  }

  static int Frame(nghttp2_session*, const nghttp2_frame* frame, void* user_data) {
    TestClient* const self = Self(user_data);
    if (frame->hd.type == NGHTTP2_PING && (frame->hd.flags & NGHTTP2_FLAG_ACK) != 0) ++self->ping_acks_;
    if (frame->hd.type == NGHTTP2_GOAWAY) {
      ++self->goaways_;
      self->goaway_error_ = frame->goaway.error_code;
      self->goaway_last_ = frame->goaway.last_stream_id;
      self->goaway_text_ = View(frame->goaway.opaque_data, frame->goaway.opaque_data_len);
    }
    return 0;
  }

  static int StreamClose(nghttp2_session*, std::int32_t id, std::uint32_t error, void* user_data) {
    TestCall* const call = FindCall(Self(user_data), id);
    if (call == nullptr) return 0;
    call->closed = true;
    call->error = error;
    return 0;
  }

  static ssize_t ReadSource(nghttp2_session*, std::int32_t id, std::uint8_t* to, std::size_t length,
                            std::uint32_t* flags, nghttp2_data_source*, void* user_data) {
    TestClient::Outgoing& outgoing = Self(user_data)->outgoing_[id];
    if (outgoing.bytes.empty() && !outgoing.end) return NGHTTP2_ERR_DEFERRED;
    const std::size_t take = std::min(length, outgoing.bytes.size());
    std::memcpy(to, outgoing.bytes.data(), take);
    outgoing.bytes.erase(0, take);
    if (outgoing.bytes.empty() && outgoing.end) *flags |= NGHTTP2_DATA_FLAG_EOF;
    return static_cast<ssize_t>(take);
  }
};

TestClient::TestClient(const std::string& address) : TestClient(address, Options()) {}

TestClient::TestClient(const std::string& address, Options options) : socket_(address), options_(options) {
  nghttp2_session_callbacks* callbacks = nullptr;
  nghttp2_session_callbacks_new(&callbacks);
  nghttp2_session_callbacks_set_on_header_callback(callbacks, TestClientCallbacks::Header);
  nghttp2_session_callbacks_set_on_data_chunk_recv_callback(callbacks, TestClientCallbacks::Data);
  nghttp2_session_callbacks_set_on_frame_recv_callback(callbacks, TestClientCallbacks::Frame);
  nghttp2_session_callbacks_set_on_stream_close_callback(callbacks, TestClientCallbacks::StreamClose);
  nghttp2_option* option = nullptr;
  nghttp2_option_new(&option);
  nghttp2_option_set_no_auto_window_update(option, 1);
  nghttp2_option_set_no_http_messaging(option, 1);
  nghttp2_option_set_max_outbound_ack(option, 1'000'000);
  nghttp2_option_set_peer_max_concurrent_streams(option, 1'000'000);
  nghttp2_session_client_new2(&session_, callbacks, this, option);
  nghttp2_session_callbacks_del(callbacks);
  nghttp2_option_del(option);
  const nghttp2_settings_entry entries[] = {{NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, options_.stream_window}};
  nghttp2_submit_settings(session_, NGHTTP2_FLAG_NONE, entries, 1);
  nghttp2_session_set_local_window_size(session_, NGHTTP2_FLAG_NONE, 0, options_.connection_window);
}

TestClient::~TestClient() { nghttp2_session_del(session_); }

TestCall* TestClient::StartRaw(const TestHeaders& headers, const std::string* body, bool end) {
  std::vector<nghttp2_nv> fields;
  for (const auto& [name, value] : headers) {
    fields.push_back({reinterpret_cast<std::uint8_t*>(const_cast<char*>(name.data())),
                      reinterpret_cast<std::uint8_t*>(const_cast<char*>(value.data())), name.size(), value.size(),
                      NGHTTP2_NV_FLAG_NONE});
  }
  nghttp2_data_provider provider{};
  provider.read_callback = TestClientCallbacks::ReadSource;
  const bool has_data = body != nullptr || !end;
  const std::int32_t id =
      nghttp2_submit_request(session_, nullptr, fields.data(), fields.size(), has_data ? &provider : nullptr, nullptr);
  if (id < 0) return nullptr;
  if (has_data) outgoing_[id] = {body != nullptr ? *body : std::string(), end};
  auto& call = calls_[id];
  call = std::make_unique<TestCall>();
  call->id = id;
  return call.get();
}

TestCall* TestClient::Start(const std::string& path, const TestHeaders& extra, const std::vector<std::string>& messages,
                            bool end) {
  TestHeaders headers = {{":method", "POST"},         {":scheme", "http"}, {":path", path},
                         {":authority", "localhost"}, {"te", "trailers"},  {"content-type", "application/grpc"}};
  headers.insert(headers.end(), extra.begin(), extra.end());
  std::string body;
  for (const std::string& message : messages) body += Framed(message);
  return StartRaw(headers, &body, end);
}

void TestClient::SendBytes(TestCall* call, std::string_view bytes, bool end) {
  Outgoing& outgoing = outgoing_[call->id];
  outgoing.bytes += bytes;
  outgoing.end = end;
  nghttp2_session_resume_data(session_, call->id);
}

void TestClient::SendMessage(TestCall* call, std::string_view message, bool end) {
  SendBytes(call, Framed(message), end);
}

void TestClient::Reset(TestCall* call, std::uint32_t error) {
  nghttp2_submit_rst_stream(session_, NGHTTP2_FLAG_NONE, call->id, error);
}

void TestClient::Ping() { nghttp2_submit_ping(session_, NGHTTP2_FLAG_NONE, nullptr); }

void TestClient::Settings(std::uint32_t id, std::uint32_t value) {
  const nghttp2_settings_entry entry{static_cast<std::int32_t>(id), value};
  nghttp2_submit_settings(session_, NGHTTP2_FLAG_NONE, &entry, 1);
}

void TestClient::Flush() {
  for (;;) {
    const std::uint8_t* bytes = nullptr;
    const ssize_t size = nghttp2_session_mem_send(session_, &bytes);
    if (size <= 0) return;
    if (!socket_.Write(View(bytes, static_cast<std::size_t>(size)))) {
      // What the server said before it closed may still be there to be read.
      return;
    }
  }
}

bool TestClient::Pump(const std::function<bool()>& done, std::chrono::milliseconds wait) {
  const auto deadline = std::chrono::steady_clock::now() + wait;
  for (;;) {
    if (!gone_) Flush();
    if (done()) return true;
    if (gone_ || std::chrono::steady_clock::now() >= deadline) return false;
    const std::string bytes = socket_.Read(std::chrono::milliseconds(20));
    if (socket_.at_end()) gone_ = true;
    bytes_read_ += bytes.size();
    if (!bytes.empty() &&
        nghttp2_session_mem_recv(session_, reinterpret_cast<const std::uint8_t*>(bytes.data()), bytes.size()) < 0) {
      gone_ = true;
    }
  }
}

TestCall* TestClient::Call(const std::string& path, const std::string& message, const TestHeaders& extra) {
  TestCall* const call = Start(path, extra, {message}, /*end=*/true);
  PumpUntilClosed(call);
  return call;
}

std::string Framed(std::string_view message, bool compressed) {
  std::string framed(1, compressed ? '\1' : '\0');
  for (int shift = 24; shift >= 0; shift -= 8) framed.push_back(static_cast<char>(message.size() >> shift));
  framed += message;
  return framed;
}

std::string Gzip(std::string_view text) {
  z_stream stream{};
  deflateInit2(&stream, Z_BEST_COMPRESSION, Z_DEFLATED, 15 + 16, 8, Z_DEFAULT_STRATEGY);
  std::string out(deflateBound(&stream, text.size()), '\0');
  stream.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(text.data()));
  stream.avail_in = static_cast<uInt>(text.size());
  stream.next_out = reinterpret_cast<Bytef*>(out.data());
  stream.avail_out = static_cast<uInt>(out.size());
  deflate(&stream, Z_FINISH);
  out.resize(stream.total_out);
  deflateEnd(&stream);
  return out;
}

}  // namespace vellum::wire
