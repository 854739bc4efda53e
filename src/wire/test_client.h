#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

struct nghttp2_session;

namespace vellum::wire {

/// A connected socket of a test, blocking, with deadlines. Closed with the object.
class TestSocket {
 public:
  /// "127.0.0.1:1234", "[::1]:1234" or a path.
  explicit TestSocket(const std::string& address);
  ~TestSocket();
  TestSocket(const TestSocket&) = delete;
  TestSocket& operator=(const TestSocket&) = delete;

  bool connected() const { return fd_ >= 0; }
  int fd() const { return fd_; }
  /// False if the server is gone.
  bool Write(std::string_view bytes);
  /// Something, or nothing: at the end of the stream, or after `wait`. See at_end().
  std::string Read(std::chrono::milliseconds wait = std::chrono::seconds(10));
  std::string ReadUntil(const std::function<bool(const std::string&)>& enough,
                        std::chrono::milliseconds wait = std::chrono::seconds(10));
  std::string ReadToEnd();
  bool at_end() const { return at_end_; }
  void HalfClose();
  void Close();

 private:
  int fd_ = -1;
  bool at_end_ = false;
};

using TestHeaders = std::vector<std::pair<std::string, std::string>>;

/// What a test sees of one request of its own.
struct TestCall {
  std::int32_t id = 0;
  std::map<std::string, std::string> headers;  ///< And trailers.
  std::string data;
  bool closed = false;
  std::uint32_t error = 0;  ///< Of a reset.

  /// The grpc-status, or -1.
  int status() const;
  std::string header(const std::string& name) const;
  /// The messages in `data`.
  std::vector<std::string> Messages() const;
};

/// An HTTP/2 client on nghttp2's client side, driven by the test's own thread: nothing happens outside Pump and Flush.
class TestClient {
 public:
  struct Options {
    std::uint32_t stream_window = 16u << 20;
    std::int32_t connection_window = 64 << 20;
    /// Read but do not give credit back: the client's windows run full.
    bool give_credit = true;
  };
  explicit TestClient(const std::string& address);
  TestClient(const std::string& address, Options options);
  ~TestClient();

  /// Starts a gRPC call; more frames follow unless `end`.
  TestCall* Start(const std::string& path, const TestHeaders& extra, const std::vector<std::string>& messages,
                  bool end);
  /// Starts any request; headers as they are. `body` null: the stream stays open.
  TestCall* StartRaw(const TestHeaders& headers, const std::string* body, bool end);
  /// More bytes on an open stream.
  void SendBytes(TestCall* call, std::string_view bytes, bool end);
  void SendMessage(TestCall* call, std::string_view message, bool end = false);
  void Reset(TestCall* call, std::uint32_t error = 8);
  void Ping();
  void Settings(std::uint32_t id, std::uint32_t value);

  /// Exchanges bytes until `done` or the deadline; true if done.
  bool Pump(const std::function<bool()>& done, std::chrono::milliseconds wait = std::chrono::seconds(20));
  bool PumpUntilClosed(TestCall* call) {
    return Pump([call] { return call->closed; });
  }
  /// A whole unary call.
  TestCall* Call(const std::string& path, const std::string& message, const TestHeaders& extra = {});
  /// Writes what is pending and reads nothing.
  void Flush();

  TestSocket& socket() { return socket_; }
  bool gone() const { return gone_; }
  std::optional<std::uint32_t> goaway_error() const { return goaway_error_; }
  std::int32_t goaway_last_stream() const { return goaway_last_; }
  const std::string& goaway_text() const { return goaway_text_; }
  int ping_acks() const { return ping_acks_; }
  int goaways() const { return goaways_; }
  std::uint64_t bytes_read() const { return bytes_read_; }
  nghttp2_session* session() { return session_; }

 private:
  friend struct TestClientCallbacks;
  struct Outgoing {
    std::string bytes;
    bool end = false;
  };

  TestSocket socket_;
  Options options_;
  nghttp2_session* session_ = nullptr;
  std::map<std::int32_t, std::unique_ptr<TestCall>> calls_;
  std::map<std::int32_t, Outgoing> outgoing_;
  bool gone_ = false;
  std::optional<std::uint32_t> goaway_error_;
  std::int32_t goaway_last_ = -1;
  std::string goaway_text_;
  int ping_acks_ = 0;
  int goaways_ = 0;
  std::uint64_t bytes_read_ = 0;
};

/// `message` with gRPC's prefix.
std::string Framed(std::string_view message, bool compressed = false);
/// `text` as one gzip member.
std::string Gzip(std::string_view text);

}  // namespace vellum::wire
