// Clients that do not read, send too much of something, or say nothing: each meets a limit, and others do not notice.
#include <gtest/gtest.h>
#include <nghttp2/nghttp2.h>

#include <algorithm>

#include "wire/test_client.h"
#include "wire/test_services.h"

namespace vellum::wire {
namespace {

using std::chrono::milliseconds;

constexpr std::uint32_t kEnhanceYourCalm = NGHTTP2_ENHANCE_YOUR_CALM;

std::string ClosedBecause(const std::string& reason) {
  return "vellum_wire_connections_closed_total{reason=\"" + reason + "\"}";
}

std::string FrameBytes(std::uint8_t type, std::uint8_t flags, std::uint32_t stream, std::string_view payload) {
  std::string frame;
  for (const int shift : {16, 8, 0}) frame.push_back(static_cast<char>(payload.size() >> shift));
  frame.push_back(static_cast<char>(type));
  frame.push_back(static_cast<char>(flags));
  for (const int shift : {24, 16, 8, 0}) frame.push_back(static_cast<char>(stream >> shift));
  return frame + std::string(payload);
}

const std::string kPreface = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + FrameBytes(NGHTTP2_SETTINGS, 0, 0, "");

// Writes `frame` again and again until the server ends the connection; everything it said.
std::string Flood(TestServer* server, const std::string& prelude, const std::string& frame) {
  TestSocket socket(server->address());
  socket.Write(prelude);
  std::string burst;
  for (int i = 0; i < 100; ++i) burst += frame;
  for (int i = 0; i < 3000 && socket.Write(burst); ++i) {
  }
  return socket.ReadToEnd();
}

// The server still serves others, and kept nothing of the one that it turned away.
void ExpectHealthy(TestServer* server, int other_connections = 0) {
  TestClient client(server->address());
  EXPECT_EQ(client.Call("/test.Echo/Unary", "x")->status(), 0);
  EXPECT_TRUE(server->WaitForMetric("vellum_wire_calls", 0));
  EXPECT_TRUE(server->WaitForMetric("vellum_wire_connections", other_connections + 1));
  EXPECT_TRUE(server->WaitForMetric("vellum_wire_reply_bytes", 0));
}

TEST(WireSlowReader, StreamSaysWhenItIsWritableAgain) {
  TestServer server;
  TestClient client(server.address(), {.stream_window = 1000, .give_credit = false});
  TestCall* const call = client.Start("/test.Echo/Feed", {}, {"x"}, false);
  ASSERT_TRUE(client.Pump([&] { return server.services().seen.messages == 1; }));
  const auto writer = server.services().writers()[0];
  const auto shared = std::make_shared<const std::string>(10'000, 's');
  int sent = 0;
  while (writer->unsent_bytes() <= 65'536) {
    Message message = OneMessage("own");
    message[0].shared = shared;
    writer->Send(std::move(message));
    ++sent;
  }
  EXPECT_GE(sent, 6);
  ASSERT_TRUE(client.Pump([&] { return call->data.size() == 1000; }));
  EXPECT_TRUE(Eventually([&] { return writer->unsent_bytes() == static_cast<std::size_t>(sent) * 10'008 - 1000; }));
  EXPECT_EQ(server.services().seen.writable, 0);
  // The shared bytes are referenced, not copied: one for us, one for each message that waits.
  EXPECT_LE(shared.use_count(), sent + 1);

  nghttp2_session_consume(client.session(), call->id, 1000);
  nghttp2_submit_window_update(client.session(), NGHTTP2_FLAG_NONE, call->id, 1 << 20);
  ASSERT_TRUE(client.Pump([&] { return call->Messages().size() == static_cast<std::size_t>(sent); }));
  EXPECT_TRUE(Eventually([&] { return server.services().seen.writable == 1; }));
  EXPECT_EQ(writer->unsent_bytes(), 0u);
  EXPECT_TRUE(Eventually([&] { return shared.use_count() == 1; }));
  for (const std::string& message : call->Messages()) EXPECT_TRUE(message == "own" + *shared);
}

TEST(WireSlowReader, WindowUpdatesAreReadHoweverMuchIsOwed) {
  TestServer server;
  TestClient client(server.address(), {.stream_window = 65'535, .give_credit = true});
  std::vector<TestCall*> calls;
  for (int i = 0; i < 20; ++i) calls.push_back(client.Start("/test.Echo/Big", {}, {"4000000"}, true));
  ASSERT_TRUE(client.Pump(
      [&] { return std::all_of(calls.begin(), calls.end(), [](const TestCall* call) { return call->closed; }); }));
  for (const TestCall* const call : calls) EXPECT_EQ(call->data.size(), 4'000'005u);
  ExpectHealthy(&server, 1);
}

TEST(WireSlowReader, ClientThatNeverReadsIsPausedThenClosed) {
  TestServer server([](ServerOptions* options) { options->stalled_timeout = milliseconds(150); });
  TestClient client(server.address(), {.stream_window = 0x7FFFFFFF, .connection_window = 0x7FFFFFFF});
  ASSERT_TRUE(client.Pump([&] { return client.bytes_read() > 0; }));
  for (int i = 0; i < 30; ++i) client.Start("/test.Echo/Big", {}, {"1000000"}, true);
  client.Flush();
  ASSERT_TRUE(server.WaitForMetric("vellum_wire_paused_connections", 1));
  // What else it asks for is not even read.
  const double calls = server.Metric("vellum_wire_calls");
  for (int i = 0; i < 30; ++i) client.Start("/test.Echo/Big", {}, {"1000000"}, true);
  client.Flush();
  EXPECT_TRUE(server.WaitForMetric(ClosedBecause("stalled"), 1));
  EXPECT_LE(calls, 30);
  ExpectHealthy(&server);
  EXPECT_EQ(server.Metric("vellum_wire_paused_connections"), 0);
}

TEST(WireSlowReader, DeadlineWhileAFrameWaitsForTheSocket) {
  TestServer server;
  TestClient client(server.address(), {.stream_window = 0x7FFFFFFF, .connection_window = 0x7FFFFFFF});
  ASSERT_TRUE(client.Pump([&] { return client.bytes_read() > 0; }));
  std::vector<TestCall*> calls;
  for (int i = 0; i < 10; ++i) {
    calls.push_back(client.Start("/test.Echo/Big", {{"grpc-timeout", "200m"}}, {"3000000"}, true));
  }
  client.Flush();
  ASSERT_TRUE(server.WaitForMetric(
      "grpc_server_started_total{grpc_method=\"Big\",grpc_service=\"test.Echo\",grpc_type=\"unary\"}", 10));
  EXPECT_TRUE(Eventually([&] { return server.Metric("vellum_wire_reply_bytes") > 0; }));
  // Every call's time passes while the socket is full, and what waited is let go of before the client reads again.
  EXPECT_TRUE(server.WaitForMetric("vellum_wire_reply_bytes", 0));
  ASSERT_TRUE(client.Pump(
      [&] { return std::all_of(calls.begin(), calls.end(), [](const TestCall* call) { return call->closed; }); }));
  // Cut short, or told so in order if its time had passed before it was answered at all.
  EXPECT_TRUE(calls.back()->error != 0 || calls.back()->status() == 4);
  ExpectHealthy(&server, 1);
}

TEST(WireBudget, OneConnectionMayOweOnlyItsShare) {
  TestServer server([](ServerOptions* options) { options->connection_reply_bytes_max = 100'000; });
  TestClient slow(server.address(), {.stream_window = 1000, .give_credit = false});
  TestCall* const big = slow.Start("/test.Echo/Big", {}, {"300000"}, true);
  ASSERT_TRUE(slow.Pump([&] { return big->data.size() == 1000; }));
  EXPECT_EQ(slow.Call("/test.Echo/Unary", "x")->status(), 8);
  TestClient other(server.address());
  EXPECT_EQ(other.Call("/test.Echo/Unary", "x")->status(), 0);
}

TEST(WireBudget, RepliesOverTheBudgetRefuseNewCalls) {
  TestServer server([](ServerOptions* options) { options->reply_bytes_in_flight_max = 100'000; });
  TestClient slow(server.address(), {.stream_window = 1000, .give_credit = false});
  TestCall* const big = slow.Start("/test.Echo/Big", {}, {"300000"}, true);
  ASSERT_TRUE(slow.Pump([&] { return big->data.size() == 1000; }));
  EXPECT_EQ(server.Metric("vellum_wire_reply_bytes"), 299'005);
  TestClient client(server.address());
  EXPECT_EQ(client.Call("/test.Echo/Unary", "x")->status(), 8);
  EXPECT_EQ(server.Metric("vellum_wire_requests_refused_total{limit=\"reply_budget\"}"), 1);
  slow.Reset(big);
  slow.Flush();
  EXPECT_TRUE(server.WaitForMetric("vellum_wire_reply_bytes", 0));
  EXPECT_EQ(client.Call("/test.Echo/Unary", "x")->status(), 0);
}

TEST(WireBudget, PartialRequestsOverTheBudgetAreRefused) {
  TestServer server([](ServerOptions* options) { options->partial_request_bytes_max = 800'000; });
  TestClient client(server.address());
  std::vector<TestCall*> calls;
  for (int i = 0; i < 4; ++i) {
    calls.push_back(client.Start("/test.Echo/Unary", {}, {}, false));
    client.SendBytes(calls.back(), Framed(std::string(60'000, 'p')).substr(0, 40'000), false);
  }
  ASSERT_TRUE(client.Pump([&] {
    return std::any_of(calls.begin(), calls.end(), [](const TestCall* call) { return call->status() == 8; });
  }));
  EXPECT_GE(server.Metric("vellum_wire_requests_refused_total{limit=\"request_budget\"}"), 1);
  for (TestCall* const call : calls) {
    if (!call->closed) client.SendBytes(call, std::string(20'005, 'p'), true);
  }
  ASSERT_TRUE(client.Pump(
      [&] { return std::all_of(calls.begin(), calls.end(), [](const TestCall* call) { return call->closed; }); }));
  EXPECT_EQ(server.Metric("vellum_wire_partial_request_bytes"), 0);
}

TEST(WireWindow, StreamCreditComesWithConsumption) {
  TestServer server([](ServerOptions* options) { options->stream_window_bytes = 100'000; });
  TestClient client(server.address());
  TestCall* const call = client.Start("/test.Echo/Hoard", {}, {}, false);
  ASSERT_TRUE(client.Pump([&] { return client.bytes_read() > 0 && server.services().seen.streams_open == 1; }));
  for (int i = 0; i < 40; ++i) client.SendMessage(call, std::string(10'000, 'h'));
  ASSERT_TRUE(client.Pump([&] { return server.services().seen.messages >= 9; }));
  // No more than the window gets through, however long one waits: a round trip shows that all is quiet.
  client.Ping();
  ASSERT_TRUE(client.Pump([&] { return client.ping_acks() == 1; }));
  EXPECT_LE(server.services().seen.messages, 10);
  const auto writer = server.services().writers()[0];
  while (server.services().seen.messages < 40) {
    const int before = server.services().seen.messages;
    writer->Consumed(static_cast<std::size_t>(before) * 10'000);  // too much is not more than all
    ASSERT_TRUE(client.Pump([&] { return server.services().seen.messages > before; }));
  }
  EXPECT_EQ(server.services().seen.message_bytes, 400'000u);
}

TEST(WireWindow, MessageLargerThanTheWindowGetsThrough) {
  TestServer server([](ServerOptions* options) {
    options->stream_window_bytes = 65'535;
    options->connection_window_bytes = 65'535;
  });
  TestClient client(server.address());
  std::vector<TestCall*> calls;
  for (int i = 0; i < 10; ++i) {
    calls.push_back(
        client.Start(i % 2 == 0 ? "/test.Echo/Unary" : "/test.Echo/Stream", {}, {std::string(1'500'000, 'm')}, true));
  }
  ASSERT_TRUE(client.Pump(
      [&] { return std::all_of(calls.begin(), calls.end(), [](const TestCall* call) { return call->closed; }); }));
  for (const TestCall* const call : calls) {
    EXPECT_EQ(call->status(), 0);
    EXPECT_EQ(call->data.size(), 1'500'005u);
  }
}

TEST(WireAbuse, ResetStorm) {
  TestServer server([](ServerOptions* options) { options->reset_burst = 500; });
  TestClient client(server.address());
  for (int i = 0; i < 2000; ++i) {
    TestCall* const call = client.Start("/test.Echo/Hold", {}, {"x"}, true);
    if (call == nullptr) break;
    client.Flush();
    client.Reset(call);
  }
  client.Pump([&] { return client.gone(); });
  EXPECT_EQ(client.goaway_error(), kEnhanceYourCalm);
  EXPECT_EQ(client.goaway_text(), "too_many_resets");
  EXPECT_TRUE(server.WaitForMetric(ClosedBecause("resets"), 1));
  ExpectHealthy(&server);
}

TEST(WireAbuse, HonestResetsAreFine) {
  TestServer server;
  TestClient client(server.address());
  for (int i = 0; i < 5000; ++i) {
    TestCall* const call = client.Start("/test.Echo/Hold", {}, {"x"}, true);
    client.Flush();
    client.Reset(call);
  }
  EXPECT_EQ(client.Call("/test.Echo/Unary", "x")->status(), 0);
}

TEST(WireAbuse, PingsWithoutCalls) {
  TestServer server;
  TestClient client(server.address());
  ASSERT_TRUE(client.Pump([&] { return client.bytes_read() > 0; }));
  for (int i = 0; i < 4; ++i) client.Ping();
  client.Pump([&] { return client.gone(); });
  EXPECT_EQ(client.goaway_error(), kEnhanceYourCalm);
  EXPECT_EQ(client.goaway_text(), "too_many_pings");
  EXPECT_TRUE(server.WaitForMetric(ClosedBecause("too_many_pings"), 1));
}

TEST(WireAbuse, PingsThatKeepAStreamAliveAreFine) {
  TestServer server([](ServerOptions* options) { options->keepalive_min_time = milliseconds(0); });
  TestClient client(server.address());
  client.Start("/test.Echo/Feed", {}, {"x"}, false);
  ASSERT_TRUE(client.Pump([&] { return server.services().seen.messages == 1; }));
  for (int i = 1; i <= 50; ++i) {
    client.Ping();
    ASSERT_TRUE(client.Pump([&] { return client.ping_acks() == i; }));
  }
}

TEST(WireAbuse, SettingsFlood) {
  TestServer server;
  const std::string said = Flood(&server, kPreface, FrameBytes(NGHTTP2_SETTINGS, 0, 0, ""));
  EXPECT_NE(said.find("too_many_settings"), std::string::npos);
  EXPECT_TRUE(server.WaitForMetric(ClosedBecause("settings"), 1));
  ExpectHealthy(&server);
}

// One request without an end; stream 1 stays open. Literal header fields without indexing.
std::string OpenStream() {
  const auto literal = [](std::string_view name, std::string_view value) {
    std::string field(1, '\0');
    field.push_back(static_cast<char>(name.size()));
    field += name;
    field.push_back(static_cast<char>(value.size()));
    return field + std::string(value);
  };
  return FrameBytes(NGHTTP2_HEADERS, NGHTTP2_FLAG_END_HEADERS, 1,
                    literal(":method", "POST") + literal(":scheme", "http") + literal(":path", "/test.Echo/Feed") +
                        literal("content-type", "application/grpc"));
}

TEST(WireAbuse, EmptyDataFlood) {
  TestServer server;
  const std::string said = Flood(&server, kPreface + OpenStream(), FrameBytes(NGHTTP2_DATA, 0, 1, ""));
  EXPECT_NE(said.find("too_many_empty_data_frames"), std::string::npos);
  EXPECT_TRUE(server.WaitForMetric(ClosedBecause("empty_data"), 1));
  EXPECT_TRUE(Eventually([&] { return server.services().seen.streams_open == 0; }));
  ExpectHealthy(&server);
}

TEST(WireAbuse, UselessFrames) {
  TestServer server;
  const std::string priority = FrameBytes(NGHTTP2_PRIORITY, 0, 3, std::string("\0\0\0\0\x10", 5));
  const std::string window = FrameBytes(NGHTTP2_WINDOW_UPDATE, 0, 1, std::string("\0\0\0\1", 4));
  const std::string unknown = FrameBytes(0xBB, 0, 0, "what is this");
  const std::string unasked = FrameBytes(NGHTTP2_PING, NGHTTP2_FLAG_ACK, 0, "12345678");
  int closed = 0;
  for (const std::string& frame : {priority, window, unknown, unasked}) {
    const std::string said = Flood(&server, kPreface + OpenStream(), frame);
    EXPECT_NE(said.find("too_many_useless_frames"), std::string::npos) << closed;
    EXPECT_TRUE(server.WaitForMetric(ClosedBecause("useless_frames"), ++closed));
  }
  ExpectHealthy(&server);
}

TEST(WireAbuse, ContinuationFlood) {
  TestServer server;
  const std::string field = std::string("\0\1a\1b", 5);
  const std::string said = Flood(&server, kPreface + FrameBytes(NGHTTP2_HEADERS, 0, 1, field),
                                 FrameBytes(NGHTTP2_CONTINUATION, 0, 1, field));
  EXPECT_NE(said.find("flood"), std::string::npos);
  EXPECT_TRUE(server.WaitForMetric(ClosedBecause("flood"), 1));
  ExpectHealthy(&server);
}

TEST(WireAbuse, HeaderBomb) {
  TestServer server([](ServerOptions* options) { options->metadata_bytes_max = 16'384; });
  // A field of 4,000 bytes enters the table; each byte 0xBE then stands for all of it.
  std::string block = std::string("\x40\1a\x7f\xa1\x1e", 6) + std::string(4000, 'b');
  block += std::string(10'000, '\xBE');
  TestSocket socket(server.address());
  ASSERT_TRUE(socket.Write(kPreface + FrameBytes(NGHTTP2_HEADERS, NGHTTP2_FLAG_END_HEADERS, 1, block)));
  socket.ReadToEnd();
  EXPECT_TRUE(server.WaitForMetric(ClosedBecause("headers"), 1));
  ExpectHealthy(&server);
}

TEST(WireAbuse, HeadersOfManyStreamsTogether) {
  TestServer server([](ServerOptions* options) { options->connection_metadata_bytes_max = 100'000; });
  TestClient client(server.address());
  std::vector<TestCall*> calls;
  for (int i = 0; i < 100; ++i)
    calls.push_back(client.Start("/test.Echo/Feed", {{"a", std::string(2000, 'x')}}, {"x"}, false));
  ASSERT_TRUE(client.Pump([&] { return calls.back()->closed; }));
  EXPECT_EQ(calls.back()->status(), 8);
  EXPECT_FALSE(calls.front()->closed);
  for (TestCall* const call : calls) client.Reset(call);
  EXPECT_EQ(client.Call("/test.Echo/Unary", "x")->status(), 0);
}

TEST(WireAbuse, TinyWindows) {
  TestServer server([](ServerOptions* options) {
    options->tiny_data_frames = {200, 10};
    options->useless_frames = {100'000'000, 1};
  });
  TestClient client(server.address(), {.stream_window = 1, .give_credit = true});
  client.Start("/test.Echo/Big", {}, {"100000"}, true);
  client.Pump([&] { return client.gone(); });
  EXPECT_EQ(client.goaway_text(), "too_many_tiny_windows");
  EXPECT_TRUE(server.WaitForMetric(ClosedBecause("tiny_windows"), 1));
  ExpectHealthy(&server);
}

TEST(WireAbuse, HalfAHeaderBlockTimesOut) {
  TestServer server([](ServerOptions* options) { options->first_byte_timeout = milliseconds(50); });
  TestSocket no_settings(server.address());
  ASSERT_TRUE(no_settings.Write("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"));
  TestSocket half_block(server.address());
  ASSERT_TRUE(half_block.Write(kPreface + FrameBytes(NGHTTP2_HEADERS, 0, 1, std::string("\0\1a\1b", 5))));
  no_settings.ReadToEnd();
  half_block.ReadToEnd();
  EXPECT_TRUE(server.WaitForMetric(ClosedBecause("first_byte"), 2));
}

TEST(WireAbuse, StreamsOverTheLimitAreRefused) {
  TestServer server([](ServerOptions* options) { options->concurrent_streams_max = 10; });
  TestClient client(server.address());
  std::vector<TestCall*> calls;
  for (int i = 0; i < 12; ++i) calls.push_back(client.Start("/test.Echo/Feed", {}, {"x"}, false));
  // They go out together with our SETTINGS, so the limit cannot be known yet: it counts once it is acknowledged.
  ASSERT_TRUE(client.Pump([&] { return server.services().seen.messages >= 10; }));
  TestCall* const late = client.Start("/test.Echo/Feed", {}, {"x"}, false);
  client.Ping();
  client.Pump([&] { return client.ping_acks() == 1; });
  EXPECT_TRUE(late == nullptr || late->data.empty());
  EXPECT_LE(server.services().seen.streams_open, 12);
}

TEST(WireConnections, MoreThanTheLimitAreClosedAtOnce) {
  TestServer server([](ServerOptions* options) { options->connections_max = 2; });
  TestClient first(server.address());
  TestClient second(server.address());
  EXPECT_EQ(first.Call("/test.Echo/Unary", "x")->status(), 0);
  EXPECT_EQ(second.Call("/test.Echo/Unary", "x")->status(), 0);
  TestSocket third(server.address());
  third.ReadToEnd();
  EXPECT_TRUE(third.at_end());
  EXPECT_EQ(server.Metric(ClosedBecause("connections_max")), 1);
  EXPECT_EQ(first.Call("/test.Echo/Unary", "x")->status(), 0);
}

TEST(WireConnections, OldestSilentOnesMakeRoom) {
  TestServer server([](ServerOptions* options) { options->waiting_connections_max = 8; });
  std::vector<std::unique_ptr<TestSocket>> silent;
  for (int i = 0; i < 20; ++i) silent.push_back(std::make_unique<TestSocket>(server.address()));
  silent[0]->ReadToEnd();
  EXPECT_TRUE(silent[0]->at_end());
  EXPECT_TRUE(Eventually([&] { return server.Metric(ClosedBecause("waiting_max")) >= 12; }));
  ASSERT_TRUE(silent[19]->Write("GET /echo?x HTTP/1.0\r\n\r\n"));
  EXPECT_TRUE(silent[19]->ReadToEnd().starts_with("HTTP/1.1 200 "));
}

}  // namespace
}  // namespace vellum::wire
