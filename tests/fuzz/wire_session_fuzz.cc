// As wire_fuzz.cc, without sockets and with the clock in hand, so that every cut of the input, slow writes and timeouts
// are tried, too. The first two bytes choose how the rest is cut into reads and how slowly the client takes what we
// write. Afterwards nothing may be left: no call, no byte of a budget, no stream without its OnClosed.
#include <algorithm>
#include <chrono>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/check.h"
#include "target.h"
#include "wire/connection.h"
#include "wire/mailbox.h"
#include "wire/service.h"
#include "wire/timer_wheel.h"
#include "wire/wire_metrics.h"

namespace vellum::wire {
namespace {

using std::chrono::milliseconds;

// A client that says what it is given and takes a bit at a time.
class ScriptedStream final : public ByteStream {
 public:
  ScriptedStream(std::string_view input, std::uint8_t cut, std::uint8_t thirst)
      : rest_(input), cut_(1 + std::size_t{cut} * cut), thirst_(thirst) {}

  Io Read(char* buffer, std::size_t size) override {
    if (rest_.empty()) return {Outcome::kEnd};
    const std::size_t take = std::min({size, cut_, rest_.size()});
    rest_.copy(buffer, take);
    rest_.remove_prefix(take);
    return {Outcome::kDone, take};
  }
  Io Write(const iovec* pieces, int count) override {
    if (thirst_ % 4 == 3 && ++writes_ % 3 != 0) return {Outcome::kWouldBlock};
    std::size_t offered = 0;
    for (int i = 0; i < count; ++i) offered += pieces[i].iov_len;
    return {Outcome::kDone, std::min(offered, 1 + std::size_t{thirst_} * 64)};
  }
  void ShutdownWrite() override {}
  int fd() const override { return -1; }

 private:
  std::string_view rest_;
  const std::size_t cut_;
  const std::size_t thirst_;
  int writes_ = 0;
};

class EchoStream final : public StreamHandler {
 public:
  explicit EchoStream(std::shared_ptr<StreamWriter> writer) : writer_(std::move(writer)) {}
  ~EchoStream() override { VELLUM_CHECK(closed_); }
  void OnMessage(std::string_view message) override {
    VELLUM_CHECK(!closed_);
    writer_->Send({{std::string(message), nullptr}});
    writer_->Consumed(message.size());
  }
  void OnHalfClose() override { writer_->Finish({}); }
  void OnClosed() override {
    VELLUM_CHECK(!closed_);
    closed_ = true;
  }

 private:
  const std::shared_ptr<StreamWriter> writer_;
  bool closed_ = false;
};

ServiceTable MakeTable() {
  ServiceTable table;
  table.AddUnary("/f.F/Echo", [](auto, std::string_view request, std::unique_ptr<UnaryReply> reply) {
    reply->Finish({{std::string(request), std::make_shared<const std::string>(request.size() * 50, 's')}});
  });
  table.AddUnary("/f.F/Forget", [](auto, std::string_view, std::unique_ptr<UnaryReply>) {});
  table.AddStream("/f.F/Stream", [](auto, std::shared_ptr<StreamWriter> writer) {
    return std::make_unique<EchoStream>(std::move(writer));
  });
  table.SetHttp([](HttpRequest request, HttpReply reply) {
    HttpResponse response;
    response.body = std::move(request.path) + request.query + request.body;
    reply(std::move(response));
  });
  return table;
}

class OneConnection final : public ConnectionOwner {
 public:
  void OnDirty(Connection*) override { dirty = true; }
  void OnGone(Connection*) override { gone = true; }
  void OnInterest(Connection*, bool reads, bool writes) override {
    read = reads;
    write = writes;
  }
  bool dirty = false;
  bool gone = false;
  bool read = true;
  bool write = false;
};

ServerOptions SmallLimits() {
  ServerOptions options;
  options.receive_message_bytes_max = 20'000;
  options.metadata_bytes_max = 4'096;
  options.http_body_bytes_max = 10'000;
  options.stream_window_bytes = 30'000;
  options.connection_window_bytes = 70'000;
  options.connection_unsent_bytes_max = 50'000;
  options.reply_bytes_in_flight_max = 500'000;
  options.reset_burst = 20;
  return options;
}

// What a loop does in an iteration, by hand.
void Drive(Connection* connection, OneConnection* owner, Mailbox* mailbox) {
  for (int round = 0; round < 8; ++round) {
    mailbox->Drain([&](Mail* mail) {
      mail->Deliver(owner->gone ? nullptr : connection->session());
      owner->dirty = true;
    });
    if (!std::exchange(owner->dirty, false)) return;
    if (connection->Flush()) owner->dirty = true;
    connection->Reap();
  }
}

}  // namespace
}  // namespace vellum::wire

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace vellum::wire;
  if (size < 3) return 0;
  static const ServiceTable table = MakeTable();
  static const ServerOptions options = SmallLimits();
  const std::string_view input(reinterpret_cast<const char*>(data) + 2, size - 2);

  WireMetrics metrics(nullptr, table);
  LoopStats stats(&metrics);
  auto now = std::chrono::steady_clock::time_point() + std::chrono::hours(1);
  auto mailbox = std::make_shared<Mailbox>();
  {
    TimerWheel timers(now);
    OneConnection owner;
    Solitude solitude;
    SessionContext context{&options, &table, &stats, &solitude, &timers, &now, mailbox, 1, "peer", (data[1] & 0x40) != 0};
    Connection connection(std::move(context), std::make_unique<ScriptedStream>(input, data[0], data[1] & 0x3F), &owner);
    std::vector<char> buffer(64u << 10);
    for (int step = 0; step < 20'000 && !owner.gone; ++step) {
      // The end of the input only counts as the client's end after a while, so that timers get their turn, too.
      if (owner.read) connection.OnReadable(buffer.data(), buffer.size());
      if (owner.write && !owner.gone) connection.OnWritable();
      now += milliseconds(step < 2'000 ? 1 : 500);
      timers.Advance(now);
      Drive(&connection, &owner, mailbox.get());
    }
    VELLUM_CHECK(owner.gone);
    mailbox->Close();
    connection.Reap();
  }
  VELLUM_CHECK(metrics.calls == 0);
  VELLUM_CHECK(metrics.reply_bytes == 0);
  VELLUM_CHECK(metrics.partial_bytes == 0);
  VELLUM_CHECK(metrics.paused == 0);
  return 0;
}

namespace {

std::string Frame(std::uint8_t type, std::uint8_t flags, std::uint32_t stream, std::string_view payload) {
  std::string frame;
  for (const int shift : {16, 8, 0}) frame.push_back(static_cast<char>(payload.size() >> shift));
  frame.push_back(static_cast<char>(type));
  frame.push_back(static_cast<char>(flags));
  for (const int shift : {24, 16, 8, 0}) frame.push_back(static_cast<char>(stream >> shift));
  return frame + std::string(payload);
}

std::string Field(std::string_view name, std::string_view value, bool indexed = false) {
  std::string field(1, indexed ? '\x40' : '\0');
  field.push_back(static_cast<char>(name.size()));
  field += name;
  field.push_back(static_cast<char>(value.size()));
  return field + std::string(value);
}

std::string Headers(std::uint32_t stream, std::string_view path, bool grpc, bool end, std::string_view extra = {}) {
  std::string block = Field(":method", grpc ? "POST" : "GET") + Field(":scheme", "http", true) + Field(":path", path) +
                      Field(":authority", "#initially=[a;b]");
  if (grpc) block += Field("content-type", "application/grpc", true) + Field("te", "trailers");
  return Frame(1, end ? 5 : 4, stream, block + std::string(extra));
}

std::string Message(std::string_view text) {
  return std::string("\0\0\0\0", 4) + static_cast<char>(text.size()) + std::string(text);
}

}  // namespace

std::vector<std::string> Seeds() {
  const std::string start = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + Frame(4, 0, 0, "");
  const std::string tiny = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + Frame(4, 0, 0, std::string_view("\0\4\0\0\0\x07", 6));
  const std::string credit = Frame(8, 0, 0, std::string_view("\0\1\0\0", 4));
  std::vector<std::string> seeds = {
      start + Headers(1, "/f.F/Echo", true, false) + Frame(0, 1, 1, Message("hello")),
      start + Headers(1, "/f.F/Echo", true, false, Field("grpc-timeout", "5m")) +
          Frame(0, 0, 1, Message("one").substr(0, 6)),
      start + Headers(1, "/f.F/Echo", true, false, Field("grpc-encoding", "gzip")) +
          Frame(0, 1, 1,
                std::string_view(
                    "\1\0\0\0\x17\x1f\x8b\x08\0\0\0\0\0\0\3\xcb\x48\xcd\xc9\xc9\7\0\x86\xa6\x10\x36\5\0\0\0", 28)),
      start + Headers(1, "/f.F/Stream", true, false) + Frame(0, 0, 1, Message("a") + Message("b")) +
          Headers(3, "/f.F/Stream", true, false) + Frame(0, 0, 3, Message("c").substr(0, 3)) +
          Frame(0, 0, 3, Message("c").substr(3)) + Frame(0, 1, 1, "") +
          Frame(3, 0, 3, std::string_view("\0\0\0\x08", 4)),
      tiny + Headers(1, "/f.F/Echo", true, false) + Frame(0, 1, 1, Message(std::string(100, 'x'))) + credit +
          Frame(8, 0, 1, std::string_view("\0\0\x10\0", 4)) + Frame(6, 0, 0, "12345678"),
      start + Headers(1, "/f.F/None", true, true) + Headers(3, "/f.F/Forget", true, true) +
          Headers(5, "/page?q", false, true) + Frame(7, 0, 0, std::string(8, '\0')),
      start + Frame(1, 0, 1, Field(":method", "GET")) + Frame(9, 4, 1, Field(":path", "/") + Field(":scheme", "http")) +
          Frame(2, 0, 1, std::string("\0\0\0\0\x10", 5)) + Frame(0xBB, 0, 0, "unknown"),
      start + Frame(1, 0x2C, 1, std::string("\3\0\0\0\0\xff", 6) + Field(":method", "PUT") + "pad") +
          Frame(0, 8, 1, "\3abcpad"),
      "GET /path?query HTTP/1.1\r\nHost: x\r\nA: b\r\n\r\nHEAD / HTTP/1.0\r\n\r\n",
      "POST /path HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\nhelloGET /2 HTTP/1.1\r\n\r\n",
      "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n5;ext=1\r\nhello\r\n0\r\nTrailer: x\r\n\r\n",
      "PRI * HTTP/2.0\r\n",
      "\x16\x03\x01",
  };
  for (std::string& seed : seeds) seed.insert(0, std::string("\x20\x3f", 2));
  return seeds;
}
