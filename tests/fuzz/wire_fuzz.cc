// A port that gets any bytes at all. Each input is one connection's; the server must close it or wait for more, and must
// go on serving others, which every few inputs an HTTP request makes sure of.
#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cstdlib>
#include <memory>
#include <string>

#include "target.h"
#include "wire/server.h"
#include "wire/service.h"

namespace {

using namespace vellum;        // NOLINT(google-build-using-namespace): a test program of one file
using namespace vellum::wire;  // NOLINT(google-build-using-namespace)

class Echo : public StreamHandler {
 public:
  explicit Echo(std::shared_ptr<StreamWriter> writer) : writer_(std::move(writer)) {}
  void OnMessage(std::string_view message) override {
    writer_->Send({Piece{.own = std::string(message), .shared = nullptr}});
    writer_->Consumed(message.size());
  }
  void OnHalfClose() override { writer_->Finish(Status()); }
  void OnClosed() override {}

 private:
  std::shared_ptr<StreamWriter> writer_;
};

class Target {
 public:
  Target() {
    table_.AddUnary("/x.Y/Unary", [](std::shared_ptr<const CallContext>, std::string_view request,
                                     std::unique_ptr<UnaryReply> reply) {
      reply->Finish({Piece{.own = std::string(request), .shared = nullptr}});
    });
    table_.AddStream("/x.Y/Stream", [](std::shared_ptr<const CallContext>, std::shared_ptr<StreamWriter> writer) {
      return std::make_unique<Echo>(std::move(writer));
    });
    table_.SetHttp([](HttpRequest, HttpReply reply) { reply({.body = "well", .headers = {}}); });
    ServerOptions options;
    options.endpoints.push_back({.host = "127.0.0.1", .port = 0, .path = {}});
    auto server = Server::Listen(std::move(options), &table_);
    if (!server) std::abort();
    server_ = *std::move(server);
    server_->Start();
    const std::string address = server_->addresses().front();
    port_ = static_cast<std::uint16_t>(std::stoi(address.substr(address.rfind(':') + 1)));
  }
  ~Target() { server_->Stop(std::chrono::milliseconds(0)); }

  /// Sends, half-closes, and reads until the server closes too.
  std::string Exchange(std::string_view bytes) const {
    const int fd = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_port = htons(port_);
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    if (fd < 0 || ::connect(fd, reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0) std::abort();
    while (!bytes.empty()) {
      const ssize_t sent = ::send(fd, bytes.data(), bytes.size(), MSG_NOSIGNAL);
      if (sent <= 0) break;
      bytes.remove_prefix(static_cast<std::size_t>(sent));
    }
    ::shutdown(fd, SHUT_WR);
    std::string received;
    char buffer[4096];
    for (ssize_t got = 0; (got = ::recv(fd, buffer, sizeof buffer, 0)) > 0;) received.append(buffer, static_cast<std::size_t>(got));
    const linger at_once{.l_onoff = 1, .l_linger = 0};  // leaves no port behind in TIME_WAIT
    ::setsockopt(fd, SOL_SOCKET, SO_LINGER, &at_once, sizeof at_once);
    ::close(fd);
    return received;
  }

 private:
  ServiceTable table_;
  std::unique_ptr<Server> server_;
  std::uint16_t port_ = 0;
};

std::string Frame(char kind, char flags, char stream, const std::string& payload) {
  const auto size = payload.size();
  return std::string{static_cast<char>(size >> 16), static_cast<char>(size >> 8), static_cast<char>(size), kind, flags, 0, 0, 0,
                     stream} +
         payload;
}

std::string Field(const std::string& name, const std::string& value) {
  return std::string(1, '\0') + static_cast<char>(name.size()) + name + static_cast<char>(value.size()) + value;
}

std::string Headers(const std::string& path) {
  return Field(":method", "POST") + Field(":scheme", "http") + Field(":path", path) + Field(":authority", "a") +
         Field("content-type", "application/grpc") + Field("te", "trailers") + Field("grpc-timeout", "5S");
}

}  // namespace

std::vector<std::string> Seeds() {
  const std::string opening = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + Frame(4, 0, 0, "");
  const std::string message = std::string("\0\0\0\0\3abc", 8);
  return {
      "GET /health HTTP/1.1\r\nHost: a\r\n\r\n",
      "POST /x HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
      "POST /x HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nP",
      opening + Frame(1, 4, 1, Headers("/x.Y/Unary")) + Frame(0, 1, 1, message),
      opening + Frame(1, 4, 1, Headers("/x.Y/Stream")) + Frame(0, 0, 1, message + message) + Frame(3, 0, 1, std::string("\0\0\0\x08", 4)),
      opening + Frame(6, 0, 0, "12345678") + Frame(8, 0, 0, std::string("\0\1\0\0", 4)) + Frame(7, 0, 0, std::string(8, '\0')),
      opening + Frame(1, 0, 1, Headers("/x.Y/None").substr(0, 20)) + Frame(9, 4, 1, Headers("/x.Y/None").substr(20)),
  };
}

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  static Target target;
  static int count = 0;
  target.Exchange({reinterpret_cast<const char*>(data), size});
  if (++count % 64 == 0) {
    const std::string answer = target.Exchange("GET /health HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
    if (answer.find("well") == std::string::npos) std::abort();
  }
  return 0;
}
