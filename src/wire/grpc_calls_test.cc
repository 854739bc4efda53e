#include <gtest/gtest.h>

#include "wire/grpc.h"
#include "wire/test_client.h"
#include "wire/test_services.h"

namespace vellum::wire {
namespace {

using std::chrono::milliseconds;

TEST(WireUnary, AnswersWithTheMessage) {
  TestServer server;
  TestClient client(server.address());
  const TestCall* const call = client.Call("/test.Echo/Unary", "hello");
  ASSERT_TRUE(call->closed);
  EXPECT_EQ(call->header(":status"), "200");
  EXPECT_EQ(call->header("content-type"), "application/grpc");
  EXPECT_EQ(call->status(), 0);
  EXPECT_EQ(call->Messages(), std::vector<std::string>{"hello"});
}

TEST(WireUnary, AnswersFromAnotherThread) {
  TestServer server;
  TestClient client(server.address());
  for (int i = 0; i < 200; ++i) {
    const std::string text = "hello " + std::to_string(i);
    const TestCall* const call = client.Call("/test.Echo/Worker", text);
    ASSERT_EQ(call->status(), 0);
    ASSERT_EQ(call->Messages(), std::vector<std::string>{text});
  }
}

TEST(WireUnary, EmptyMessagesAreMessages) {
  TestServer server;
  TestClient client(server.address());
  const TestCall* const call = client.Call("/test.Echo/Unary", "");
  EXPECT_EQ(call->status(), 0);
  EXPECT_EQ(call->Messages(), std::vector<std::string>{""});
}

TEST(WireUnary, FailureCarriesCodeAndEncodedText) {
  TestServer server;
  TestClient client(server.address());
  const TestCall* const call = client.Call("/test.Echo/Fail", "100% \xC3\xA4\n");
  EXPECT_EQ(call->status(), 5);
  EXPECT_EQ(call->header("grpc-message"), "100%25 %C3%A4%0A");
  EXPECT_EQ(call->header(":status"), "200");
  EXPECT_TRUE(call->data.empty());
}

TEST(WireUnary, ForgottenReplyIsInternal) {
  TestServer server;
  TestClient client(server.address());
  EXPECT_EQ(client.Call("/test.Echo/Forget", "x")->status(), 13);
}

TEST(WireUnary, UnknownNamesAreUnimplemented) {
  TestServer server;
  TestClient client(server.address());
  const TestCall* call = client.Call("/test.Nothing/Unary", "x");
  EXPECT_EQ(call->status(), 12);
  EXPECT_EQ(call->header("grpc-message"), "unknown service test.Nothing");
  call = client.Call("/test.Echo/Nothing", "x");
  EXPECT_EQ(call->status(), 12);
  EXPECT_EQ(call->header("grpc-message"), "unknown method Nothing for service test.Echo");
  call = client.Call("/plain", "x");
  EXPECT_EQ(call->status(), 12);
  EXPECT_EQ(call->header("grpc-message"), "malformed method name: \"/plain\"");
}

TEST(WireUnary, WrongContentTypeIs415AndWrongMethod405) {
  TestServer server;
  TestClient client(server.address());
  const std::string body = Framed("x");
  const TestCall* call = client.StartRaw({{":method", "POST"},
                                          {":scheme", "http"},
                                          {":path", "/test.Echo/Unary"},
                                          {":authority", "a"},
                                          {"content-type", "application/json"}},
                                         &body, true);
  ASSERT_TRUE(client.PumpUntilClosed(const_cast<TestCall*>(call)));
  EXPECT_EQ(call->header(":status"), "415");
  EXPECT_EQ(call->header("grpc-message"), "invalid gRPC request content-type \"application/json\"");

  call = client.StartRaw({{":method", "GET"},
                          {":scheme", "http"},
                          {":path", "/test.Echo/Unary"},
                          {":authority", "a"},
                          {"content-type", "application/grpc"}},
                         nullptr, true);
  ASSERT_TRUE(client.PumpUntilClosed(const_cast<TestCall*>(call)));
  EXPECT_EQ(call->header(":status"), "405");

  for (const char* type : {"application/grpc+proto", "application/grpc;x=y", "Application/GRPC"}) {
    call = client.StartRaw({{":method", "POST"},
                            {":scheme", "http"},
                            {":path", "/test.Echo/Unary"},
                            {":authority", "a"},
                            {"content-type", type}},
                           &body, true);
    ASSERT_TRUE(client.PumpUntilClosed(const_cast<TestCall*>(call)));
    EXPECT_EQ(call->status(), 0) << type;
  }
}

TEST(WireUnary, OddAuthorityIsAccepted) {
  TestServer server;
  TestClient client(server.address());
  const std::string body = Framed("x");
  TestCall* const call = client.StartRaw({{":method", "POST"},
                                          {":scheme", "http"},
                                          {":path", "/test.Echo/Unary"},
                                          {":authority", "#initially=[host1;host2]"},
                                          {"content-type", "application/grpc"}},
                                         &body, true);
  ASSERT_TRUE(client.PumpUntilClosed(call));
  EXPECT_EQ(call->status(), 0);
}

TEST(WireUnary, MessageOverTheLimitIsRefusedByItsPrefix) {
  TestServer server;
  TestClient client(server.address());
  // Only the prefix is ever sent: the answer does not wait for the rest.
  TestCall* const call = client.Start("/test.Echo/Unary", {}, {}, /*end=*/false);
  client.SendBytes(call, std::string_view("\0\0\x21\x91\xEA", 5), false);
  ASSERT_TRUE(client.PumpUntilClosed(call));
  EXPECT_EQ(call->status(), 8);
  EXPECT_EQ(call->header("grpc-message"), "grpc: received message larger than max (2200042 vs. 2097152)");
  EXPECT_EQ(server.Metric("vellum_wire_requests_refused_total{limit=\"message_size\"}"), 1);
}

TEST(WireUnary, MessageOfTheLimitPasses) {
  TestServer server;
  TestClient client(server.address());
  const std::string big(2'097'152, 'q');
  const TestCall* const call = client.Call("/test.Echo/Unary", big);
  EXPECT_EQ(call->status(), 0);
  ASSERT_EQ(call->Messages().size(), 1u);
  EXPECT_TRUE(call->Messages()[0] == big);
  EXPECT_EQ(server.Metric("vellum_wire_partial_request_bytes"), 0);
}

TEST(WireUnary, LargeAnswersArriveWhole) {
  TestServer server;
  TestClient client(server.address());
  for (const std::size_t size : {4095u, 4096u, 8192u, 4u << 20, 20u << 20}) {
    const TestCall* const call = client.Call("/test.Echo/Big", std::to_string(size));
    ASSERT_EQ(call->status(), 0);
    ASSERT_EQ(call->Messages().size(), 1u);
    EXPECT_TRUE(call->Messages()[0] == std::string(size / 2, 'a') + std::string(size - size / 2, 'b'));
  }
  EXPECT_TRUE(server.WaitForMetric("vellum_wire_reply_bytes", 0));
}

TEST(WireUnary, GzipRequestsAreUnderstood) {
  TestServer server;
  TestClient client(server.address());
  const std::string text(100'000, 'z');
  TestCall* call = client.Start("/test.Echo/Unary", {{"grpc-encoding", "gzip"}}, {}, false);
  client.SendBytes(call, Framed(Gzip(text), /*compressed=*/true), true);
  ASSERT_TRUE(client.PumpUntilClosed(call));
  EXPECT_EQ(call->status(), 0);
  EXPECT_TRUE(call->Messages() == std::vector<std::string>{text});

  // A bomb stops at the limit.
  call = client.Start("/test.Echo/Unary", {{"grpc-encoding", "gzip"}}, {}, false);
  client.SendBytes(call, Framed(Gzip(std::string(64u << 20, 'b')), true), true);
  ASSERT_TRUE(client.PumpUntilClosed(call));
  EXPECT_EQ(call->status(), 8);

  call = client.Start("/test.Echo/Unary", {{"grpc-encoding", "gzip"}}, {}, false);
  client.SendBytes(call, Framed("this is not gzip", true), true);
  ASSERT_TRUE(client.PumpUntilClosed(call));
  EXPECT_EQ(call->status(), 13);

  call = client.Start("/test.Echo/Unary", {}, {}, false);
  client.SendBytes(call, Framed(Gzip(text), true), true);
  ASSERT_TRUE(client.PumpUntilClosed(call));
  EXPECT_EQ(call->status(), 13);
  EXPECT_EQ(call->header("grpc-message"), "grpc: compressed flag set with identity or empty encoding");

  call = client.Start("/test.Echo/Unary", {{"grpc-encoding", "snappy"}}, {"x"}, true);
  ASSERT_TRUE(client.PumpUntilClosed(call));
  EXPECT_EQ(call->status(), 12);
  EXPECT_EQ(call->header("grpc-accept-encoding"), "identity,gzip");
}

TEST(WireUnary, RequestsWithoutOrWithTooManyMessagesFail) {
  TestServer server;
  TestClient client(server.address());
  TestCall* call = client.Start("/test.Echo/Unary", {}, {}, true);
  ASSERT_TRUE(client.PumpUntilClosed(call));
  EXPECT_EQ(call->status(), 13);
  call = client.Start("/test.Echo/Unary", {}, {}, false);
  client.SendBytes(call, std::string_view("\0\0\0\0\5ab", 7), true);
  ASSERT_TRUE(client.PumpUntilClosed(call));
  EXPECT_EQ(call->status(), 13);
}

TEST(WireUnary, DeadlineEndsTheCallAndFlagsIt) {
  TestServer server;
  TestClient client(server.address());
  TestCall* call = client.Start("/test.Echo/Hold", {{"grpc-timeout", "20m"}}, {"x"}, true);
  ASSERT_TRUE(client.PumpUntilClosed(call));
  EXPECT_EQ(call->status(), 4);
  EXPECT_EQ(call->header("grpc-message"), "context deadline exceeded");
  ASSERT_EQ(server.services().contexts().size(), 1u);
  EXPECT_TRUE(server.services().contexts()[0]->cancelled);
  EXPECT_TRUE(server.services().contexts()[0]->deadline.has_value());
  // The answer that comes too late does no harm.
  for (auto& reply : server.services().TakeHeld()) reply->Finish(OneMessage("late"));
  EXPECT_EQ(client.Call("/test.Echo/Unary", "x")->status(), 0);

  call = client.Start("/test.Echo/Unary", {{"grpc-timeout", "soon"}}, {"x"}, true);
  ASSERT_TRUE(client.PumpUntilClosed(call));
  EXPECT_EQ(call->status(), 13);
}

TEST(WireUnary, ContextTellsWhoCallsAndHow) {
  TestServer server;
  TestClient client(server.address());
  client.Start("/test.Echo/Hold", {{"hasleader", "true"}, {"token", "a"}, {"token", "b"}, {"grpc-timeout", "1H"}},
               {"x"}, true);
  ASSERT_TRUE(client.Pump([&] { return !server.services().contexts().empty(); }));
  const auto context = server.services().contexts()[0];
  EXPECT_EQ(context->method, "/test.Echo/Hold");
  EXPECT_EQ(Find(context->metadata, "hasleader"), "true");
  EXPECT_EQ(Find(context->metadata, "token"), "a");
  EXPECT_EQ(Find(context->metadata, "te"), std::nullopt);
  EXPECT_TRUE(context->peer.starts_with("127.0.0.1:")) << context->peer;
  EXPECT_GT(*context->deadline, std::chrono::steady_clock::now() + std::chrono::minutes(59));
  EXPECT_FALSE(context->cancelled);
}

TEST(WireUnary, ResetCancelsAndLeavesNothing) {
  TestServer server;
  TestClient client(server.address());
  std::vector<TestCall*> calls;
  for (int i = 0; i < 100; ++i) calls.push_back(client.Start("/test.Echo/Hold", {}, {"x"}, true));
  ASSERT_TRUE(client.Pump([&] { return server.services().contexts().size() == 100; }));
  EXPECT_EQ(server.Metric("vellum_wire_calls"), 100);
  for (TestCall* const call : calls) client.Reset(call);
  client.Flush();
  EXPECT_TRUE(server.WaitForMetric("vellum_wire_calls", 0));
  for (const auto& context : server.services().contexts()) EXPECT_TRUE(context->cancelled);
  EXPECT_EQ(server.Metric("grpc_server_handled_total{grpc_code=\"Canceled\",grpc_method=\"Hold\",grpc_service=\"test."
                          "Echo\",grpc_type=\"unary\"}"),
            100);
}

TEST(WireStream, EchoesInOrderAndEndsWithOk) {
  TestServer server;
  TestClient client(server.address());
  TestCall* const call = client.Start("/test.Echo/Stream", {}, {}, false);
  std::vector<std::string> sent;
  for (int i = 0; i < 1000; ++i) {
    sent.push_back("message " + std::to_string(i));
    client.SendMessage(call, sent.back());
  }
  ASSERT_TRUE(client.Pump([&] { return call->Messages().size() == 1000; }));
  EXPECT_FALSE(call->closed);
  client.SendBytes(call, "", /*end=*/true);
  ASSERT_TRUE(client.PumpUntilClosed(call));
  EXPECT_EQ(call->status(), 0);
  EXPECT_EQ(call->Messages(), sent);
  EXPECT_TRUE(Eventually([&] { return server.services().seen.streams_closed == 1; }));
  EXPECT_TRUE(Eventually([&] { return server.services().seen.streams_open == 0; }));
}

TEST(WireStream, ThousandStreamsOnOneConnection) {
  TestServer server;
  TestClient client(server.address());
  std::vector<TestCall*> calls;
  for (int i = 0; i < 1000; ++i) {
    calls.push_back(client.Start("/test.Echo/Stream", {}, {"hello " + std::to_string(i)}, false));
  }
  ASSERT_TRUE(client.Pump([&] {
    return std::all_of(calls.begin(), calls.end(), [](const TestCall* call) { return !call->data.empty(); });
  }));
  EXPECT_EQ(server.services().seen.streams_open, 1000);
  EXPECT_EQ(server.Metric("vellum_wire_calls"), 1000);
  for (TestCall* const call : calls) client.SendMessage(call, "bye", true);
  ASSERT_TRUE(client.Pump(
      [&] { return std::all_of(calls.begin(), calls.end(), [](const TestCall* call) { return call->closed; }); }));
  for (std::size_t i = 0; i < calls.size(); ++i) {
    EXPECT_EQ(calls[i]->status(), 0);
    EXPECT_EQ(calls[i]->Messages(), (std::vector<std::string>{"hello " + std::to_string(i), "bye"}));
  }
  EXPECT_TRUE(server.WaitForMetric("vellum_wire_calls", 0));
  EXPECT_TRUE(Eventually([&] { return server.services().seen.streams_open == 0; }));
}

TEST(WireStream, LostConnectionClosesEveryStream) {
  TestServer server;
  {
    TestClient client(server.address());
    for (int i = 0; i < 50; ++i) client.Start("/test.Echo/Feed", {}, {"x"}, false);
    ASSERT_TRUE(client.Pump([&] { return server.services().seen.messages == 50; }));
  }
  EXPECT_TRUE(Eventually([&] { return server.services().seen.streams_closed == 50; }));
  EXPECT_TRUE(server.WaitForMetric("vellum_wire_connections", 0));
  EXPECT_EQ(server.Metric("vellum_wire_calls"), 0);
  for (const auto& context : server.services().contexts()) EXPECT_TRUE(context->cancelled);
  // Writers outlive their streams, harmlessly.
  for (const auto& writer : server.services().writers()) writer->Send(OneMessage("nobody"));
}

TEST(WireStream, SendsFromManyThreadsArriveInOrderOfEachThread) {
  TestServer server([](ServerOptions* options) { options->loops = 2; });
  TestClient first(server.address());
  TestClient second(server.address());
  TestCall* const calls[] = {first.Start("/test.Echo/Feed", {}, {"x"}, false),
                             second.Start("/test.Echo/Feed", {}, {"x"}, false)};
  ASSERT_TRUE(first.Pump([&] { return server.services().seen.messages >= 1; }));
  ASSERT_TRUE(second.Pump([&] { return server.services().seen.messages == 2; }));
  std::vector<std::thread> threads;
  for (int thread = 0; thread < 4; ++thread) {
    threads.emplace_back([&server, thread] {
      for (int i = 0; i < 500; ++i) {
        for (const auto& writer : server.services().writers()) {
          writer->Send(OneMessage(std::to_string(thread) + " " + std::to_string(i)));
        }
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  for (const auto& writer : server.services().writers()) writer->Finish({});
  TestClient* const clients[] = {&first, &second};
  for (int i = 0; i < 2; ++i) {
    ASSERT_TRUE(clients[i]->PumpUntilClosed(calls[i]));
    EXPECT_EQ(calls[i]->status(), 0);
    const auto messages = calls[i]->Messages();
    ASSERT_EQ(messages.size(), 2000u);
    std::vector<int> next(4, 0);
    for (const std::string& message : messages) {
      const auto thread = static_cast<std::size_t>(message[0] - '0');
      EXPECT_EQ(std::stoi(message.substr(2)), next[thread]++);
    }
  }
}

TEST(WireStream, FramedMessagesArriveOneByOneBetweenTheOthers) {
  TestServer server;
  TestClient client(server.address());
  TestCall* const call = client.Start("/test.Echo/Feed", {}, {"x"}, false);
  ASSERT_TRUE(client.Pump([&] { return server.services().seen.messages == 1; }));
  const auto writer = server.services().writers()[0];
  std::vector<std::string> expected;
  const auto framed = [&](const std::vector<std::string>& messages) {
    std::string bytes;
    for (const std::string& message : messages) {
      const std::size_t at = bytes.size();
      bytes.append(kMessagePrefixBytes, '\0').append(message);
      WriteMessagePrefix(message.size(), bytes.data() + at);
      expected.push_back(message);
    }
    writer->SendFramed(std::move(bytes), messages.size());
  };
  writer->Send(OneMessage("alone"));
  expected.emplace_back("alone");
  framed({"a", "", std::string(300, 'b')});
  framed({});
  framed({std::string(3000, 'c'), std::string(3000, 'd')});  // together more than is copied
  framed({"e"});
  writer->Send(OneMessage("last"));
  expected.emplace_back("last");
  writer->Finish({});
  ASSERT_TRUE(client.PumpUntilClosed(call));
  EXPECT_EQ(call->status(), 0);
  EXPECT_EQ(call->Messages(), expected);
  EXPECT_EQ(server.Metric("grpc_server_msg_sent_total{grpc_method=\"Feed\",grpc_service=\"test.Echo\",grpc_type="
                          "\"bidi_stream\"}"),
            static_cast<double>(expected.size()));
  EXPECT_EQ(server.Metric("vellum_wire_reply_bytes"), 0);
}

TEST(WireStream, FinishWithStatusAfterMessages) {
  TestServer server;
  TestClient client(server.address());
  TestCall* const call = client.Start("/test.Echo/Feed", {}, {"x"}, false);
  ASSERT_TRUE(client.Pump([&] { return server.services().seen.messages == 1; }));
  const auto writer = server.services().writers()[0];
  writer->Send(OneMessage("one"));
  writer->Finish(OutOfRange("gone"));
  writer->Send(OneMessage("ignored"));
  ASSERT_TRUE(client.PumpUntilClosed(call));
  EXPECT_EQ(call->status(), 11);
  EXPECT_EQ(call->header("grpc-message"), "gone");
  EXPECT_EQ(call->Messages(), std::vector<std::string>{"one"});
}

TEST(WireMetricsTest, EveryMethodIsThereFromTheStartAndCounts) {
  TestServer server;
  const std::string labels = "grpc_method=\"Unary\",grpc_service=\"test.Echo\",grpc_type=\"unary\"}";
  EXPECT_EQ(server.Metric("grpc_server_started_total{" + labels), 0);
  EXPECT_EQ(server.Metric("grpc_server_handled_total{grpc_code=\"OK\"," + labels), 0);
  EXPECT_EQ(server.Metric("grpc_server_handled_total{grpc_code=\"DataLoss\"," + labels), 0);
  EXPECT_EQ(server.Metric("grpc_server_started_total{grpc_method=\"Feed\",grpc_service=\"test.Echo\",grpc_type=\"bidi_"
                          "stream\"}"),
            0);
  TestClient client(server.address());
  client.Call("/test.Echo/Unary", "hello");
  // Counted before the answer was written, so no waiting here.
  EXPECT_EQ(server.Metric("grpc_server_started_total{" + labels), 1);
  EXPECT_EQ(server.Metric("grpc_server_handled_total{grpc_code=\"OK\"," + labels), 1);
  EXPECT_EQ(server.Metric("grpc_server_msg_received_total{" + labels), 1);
  EXPECT_EQ(server.Metric("grpc_server_msg_sent_total{" + labels), 1);
  EXPECT_EQ(server.Metric("etcd_network_client_grpc_received_bytes_total"), 5);
  EXPECT_EQ(server.Metric("etcd_network_client_grpc_sent_bytes_total"), 5);
  EXPECT_EQ(server.Metric("vellum_wire_connections"), 1);
}

}  // namespace
}  // namespace vellum::wire
