#include <gtest/gtest.h>

#include <algorithm>

#include "wire/test_client.h"
#include "wire/test_services.h"

namespace vellum::wire {
namespace {

using std::chrono::milliseconds;

bool EndsWith(const std::string& text, const std::string& end) {
  return text.size() >= end.size() && text.compare(text.size() - end.size(), end.size(), end) == 0;
}

// Reads answers until `count` bodies of `body` have come.
std::string ReadAnswers(TestSocket* socket, const std::string& end) {
  return socket->ReadUntil([&](const std::string& all) { return EndsWith(all, end); });
}

TEST(WireHttp1, AnswersAndKeepsTheConnection) {
  TestServer server;
  TestSocket socket(server.address());
  for (int i = 0; i < 3; ++i) {
    ASSERT_TRUE(socket.Write("GET /echo?a=b&c HTTP/1.1\r\nHost: x\r\n\r\n"));
    const std::string answer = ReadAnswers(&socket, "a=b&c|");
    EXPECT_TRUE(answer.starts_with("HTTP/1.1 200 OK\r\n")) << answer;
    EXPECT_NE(answer.find("Content-Length: 6\r\n"), std::string::npos);
    EXPECT_NE(answer.find("X-Method: GET\r\n"), std::string::npos);
    EXPECT_NE(answer.find("\r\nDate: "), std::string::npos);
  }
  EXPECT_EQ(server.Metric("vellum_wire_connections_total"), 1);
}

TEST(WireHttp1, OneByteAtATime) {
  TestServer server;
  TestSocket socket(server.address());
  const std::string request = "POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nhello";
  for (const char c : request) ASSERT_TRUE(socket.Write(std::string(1, c)));
  EXPECT_TRUE(EndsWith(ReadAnswers(&socket, "|hello"), "\r\n\r\n|hello"));
}

TEST(WireHttp1, Pipelining) {
  TestServer server;
  TestSocket socket(server.address());
  std::string requests;
  for (int i = 0; i < 500; ++i) requests += "GET /echo?n" + std::to_string(i) + " HTTP/1.1\r\nHost: x\r\n\r\n";
  requests += "GET /worker HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
  ASSERT_TRUE(socket.Write(requests));
  const std::string answers = socket.ReadToEnd();
  std::size_t at = 0;
  for (int i = 0; i < 500; ++i) {
    at = answers.find("\r\n\r\nn" + std::to_string(i) + "|", at);
    ASSERT_NE(at, std::string::npos) << i;
  }
  EXPECT_TRUE(EndsWith(answers, "from a worker"));
}

TEST(WireHttp1, HeadHasNoBody) {
  TestServer server;
  TestSocket socket(server.address());
  ASSERT_TRUE(socket.Write("HEAD /echo?abc HTTP/1.1\r\nHost: x\r\n\r\nGET /nowhere HTTP/1.1\r\nHost: x\r\n\r\n"));
  const std::string answers = ReadAnswers(&socket, "404 page not found\n");
  EXPECT_NE(answers.find("Content-Length: 4\r\n\r\nHTTP/1.1 404 Not Found\r\n"), std::string::npos) << answers;
}

TEST(WireHttp1, ChunkedBodies) {
  TestServer server;
  TestSocket socket(server.address());
  ASSERT_TRUE(socket.Write("POST /echo HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n"));
  ASSERT_TRUE(socket.Write("4\r\ndefg\r\n0\r\n\r\n"));
  EXPECT_TRUE(EndsWith(ReadAnswers(&socket, "|abcdefg"), "|abcdefg"));
}

// Beast asserts that it has five bytes when it looks at the beginning of a last chunk again.
TEST(WireHttp1, TheBeginningOfALastChunk) {
  TestServer server;
  const std::string start = "POST /echo HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n";
  for (const char* piece : {"0", "0\r", "0\r\n", "0\r\nP", "0\r\n\r", "1\r\na\r\n0\r\nP", "P"}) {
    TestSocket socket(server.address());
    ASSERT_TRUE(socket.Write(start + piece));
    socket.HalfClose();
    socket.ReadToEnd();
    EXPECT_TRUE(socket.at_end()) << piece;
  }
  TestSocket socket(server.address());
  ASSERT_TRUE(socket.Write(start + "0\r\n\r\n"));
  EXPECT_TRUE(EndsWith(ReadAnswers(&socket, "|"), "|"));
}

TEST(WireHttp1, ContinueIsSaidBeforeTheBody) {
  TestServer server;
  TestSocket socket(server.address());
  ASSERT_TRUE(socket.Write("POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\nExpect: 100-continue\r\n\r\n"));
  EXPECT_EQ(ReadAnswers(&socket, "\r\n\r\n"), "HTTP/1.1 100 Continue\r\n\r\n");
  ASSERT_TRUE(socket.Write("ok"));
  EXPECT_TRUE(EndsWith(ReadAnswers(&socket, "|ok"), "|ok"));
}

TEST(WireHttp1, BodyOverTheLimitIs413) {
  TestServer server([](ServerOptions* options) { options->http_body_bytes_max = 1000; });
  {
    TestSocket socket(server.address());
    ASSERT_TRUE(socket.Write("POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 1001\r\n\r\n"));
    EXPECT_TRUE(socket.ReadToEnd().starts_with("HTTP/1.1 413 "));
  }
  {
    TestSocket socket(server.address());
    ASSERT_TRUE(socket.Write("POST /echo HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n3E9\r\n" +
                             std::string(1001, 'x') + "\r\n0\r\n\r\n"));
    EXPECT_TRUE(socket.ReadToEnd().starts_with("HTTP/1.1 413 "));
  }
  EXPECT_EQ(server.Metric("vellum_wire_requests_refused_total{limit=\"body_size\"}"), 2);
}

TEST(WireHttp1, HeadersOverTheLimitAre431) {
  TestServer server;
  TestSocket socket(server.address());
  ASSERT_TRUE(socket.Write("GET / HTTP/1.1\r\nHost: x\r\nX: " + std::string(70'000, 'y') + "\r\n\r\n"));
  EXPECT_TRUE(socket.ReadToEnd().starts_with("HTTP/1.1 431 "));
}

TEST(WireHttp1, GarbageIs400) {
  TestServer server;
  for (const char* garbage : {"\x01\x02\x03\x04\r\n\r\n", "hello world\r\n\r\n", "GET / HTTP/9.9\r\n\r\n",
                              "POST / HTTP/1.1\r\nContent-Length: -1\r\n\r\n", "PRI * HTTP/2.0\r\n\r\nXX\r\n\r\n"}) {
    TestSocket socket(server.address());
    ASSERT_TRUE(socket.Write(garbage));
    const std::string answer = socket.ReadToEnd();
    EXPECT_TRUE(answer.starts_with("HTTP/1.1 400 ")) << garbage << " -> " << answer;
  }
  EXPECT_TRUE(server.WaitForMetric("vellum_wire_connections_closed_total{reason=\"protocol\"}", 5));
}

TEST(WireHttp1, TlsOnThePlainPortIsClosed) {
  TestServer server;
  TestSocket socket(server.address());
  ASSERT_TRUE(socket.Write(std::string("\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", 11)));
  EXPECT_EQ(socket.ReadToEnd(), "");
  EXPECT_TRUE(socket.at_end());
  EXPECT_TRUE(server.WaitForMetric("vellum_wire_connections_closed_total{reason=\"tls\"}", 1));
}

TEST(WireHttp1, OldVersionAndCloseEndTheConnection) {
  TestServer server;
  for (const char* request :
       {"GET /echo HTTP/1.0\r\n\r\n", "GET /echo HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"}) {
    TestSocket socket(server.address());
    ASSERT_TRUE(socket.Write(request));
    EXPECT_NE(socket.ReadToEnd().find("Connection: close\r\n"), std::string::npos);
    EXPECT_TRUE(socket.at_end());
  }
}

TEST(WireHttp1, OldVersionMayAskToKeepTheConnection) {
  TestServer server;
  TestSocket socket(server.address());
  for (int i = 0; i < 2; ++i) {
    ASSERT_TRUE(socket.Write("GET /echo?x HTTP/1.0\r\nConnection: keep-alive\r\n\r\n"));
    EXPECT_NE(ReadAnswers(&socket, "x|").find("Connection: keep-alive\r\n"), std::string::npos);
  }
}

TEST(WireHttp1, HalfClosedClientStillGetsItsAnswer) {
  TestServer server;
  TestSocket socket(server.address());
  ASSERT_TRUE(socket.Write("GET /echo?1 HTTP/1.1\r\nHost: x\r\n\r\nGET /worker HTTP/1.1\r\nHost: x\r\n\r\n"));
  socket.HalfClose();
  EXPECT_TRUE(EndsWith(socket.ReadToEnd(), "from a worker"));
  EXPECT_TRUE(socket.at_end());
}

TEST(WireHttp1, ForgottenReplyIs500AndProxiesMayUseTheAbsoluteForm) {
  TestServer server;
  TestSocket socket(server.address());
  ASSERT_TRUE(socket.Write("GET /forget HTTP/1.1\r\nHost: x\r\n\r\n"));
  EXPECT_TRUE(ReadAnswers(&socket, "no answer\n").starts_with("HTTP/1.1 500 "));
  ASSERT_TRUE(socket.Write("GET http://other:1/echo?q HTTP/1.1\r\nHost: x\r\n\r\n"));
  EXPECT_TRUE(EndsWith(ReadAnswers(&socket, "q|"), "q|"));
}

TEST(WireHttp1, ClientThatPipelinesAndNeverReadsCostsLittle) {
  TestServer server;
  TestSocket socket(server.address());
  std::string requests;
  for (int i = 0; i < 400; ++i) requests += "GET /big HTTP/1.1\r\nHost: x\r\n\r\n";
  ASSERT_TRUE(socket.Write(requests));
  ASSERT_TRUE(server.WaitForMetric("vellum_wire_paused_connections", 1));
  // Another client is served meanwhile.
  TestSocket other(server.address());
  ASSERT_TRUE(other.Write("GET /echo?x HTTP/1.1\r\nHost: x\r\n\r\n"));
  EXPECT_TRUE(EndsWith(ReadAnswers(&other, "x|"), "x|"));
  // The late reader gets everything after all, from where it stopped.
  std::size_t got = 0;
  while (got < (std::size_t{40} << 20)) {
    const std::string bytes = socket.Read();
    ASSERT_FALSE(bytes.empty());
    got += bytes.size();
  }
}

TEST(WireHttp1, SilentAndHalfOpenConnectionsEnd) {
  TestServer server([](ServerOptions* options) {
    options->first_byte_timeout = milliseconds(400);
    options->http_idle_timeout = milliseconds(60);
    options->http_body_timeout = milliseconds(50);
  });
  TestSocket silent(server.address());
  TestSocket half_preface(server.address());
  ASSERT_TRUE(half_preface.Write("PRI * HTTP/2.0"));
  TestSocket half_request(server.address());
  ASSERT_TRUE(half_request.Write("GET / HTTP/1.1\r\nHost:"));
  TestSocket half_body(server.address());
  ASSERT_TRUE(half_body.Write("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\n123"));
  TestSocket idle(server.address());
  ASSERT_TRUE(idle.Write("GET /echo HTTP/1.1\r\nHost: x\r\n\r\n"));
  EXPECT_EQ(silent.ReadToEnd(), "");
  EXPECT_EQ(half_preface.ReadToEnd(), "");
  EXPECT_TRUE(half_request.ReadToEnd().starts_with("HTTP/1.1 408 "));
  EXPECT_TRUE(half_body.ReadToEnd().starts_with("HTTP/1.1 408 "));
  EXPECT_TRUE(idle.ReadToEnd().starts_with("HTTP/1.1 200 "));
  for (TestSocket* const each : {&half_request, &half_body}) each->Close();
  EXPECT_TRUE(server.WaitForMetric("vellum_wire_connections_closed_total{reason=\"first_byte\"}", 4));
  EXPECT_TRUE(server.WaitForMetric("vellum_wire_connections_closed_total{reason=\"idle\"}", 1));
}

TestHeaders Get(const std::string& path, const std::string& method = "GET") {
  return {{":method", method}, {":scheme", "http"}, {":path", path}, {":authority", "me:1"}};
}

TEST(WireHttp2, ServesPlainRequestsToo) {
  TestServer server;
  TestClient client(server.address());
  TestCall* call = client.StartRaw(Get("/echo?q=1"), nullptr, true);
  ASSERT_TRUE(client.PumpUntilClosed(call));
  EXPECT_EQ(call->header(":status"), "200");
  EXPECT_EQ(call->header("content-type"), "text/plain; charset=utf-8");
  EXPECT_EQ(call->header("x-method"), "GET");
  EXPECT_EQ(call->header("content-length"), "4");
  EXPECT_EQ(call->data, "q=1|");

  const std::string body = "the body";
  call = client.StartRaw(Get("/echo", "POST"), &body, true);
  ASSERT_TRUE(client.PumpUntilClosed(call));
  EXPECT_EQ(call->data, "|the body");

  call = client.StartRaw(Get("/echo?abc", "HEAD"), nullptr, true);
  ASSERT_TRUE(client.PumpUntilClosed(call));
  EXPECT_EQ(call->header("content-length"), "4");
  EXPECT_EQ(call->data, "");

  call = client.StartRaw(Get("/host"), nullptr, true);
  ASSERT_TRUE(client.PumpUntilClosed(call));
  EXPECT_EQ(call->data, "me:1");

  call = client.StartRaw(Get("/worker"), nullptr, true);
  ASSERT_TRUE(client.PumpUntilClosed(call));
  EXPECT_EQ(call->data, "from a worker");

  call = client.StartRaw(Get("/big"), nullptr, true);
  ASSERT_TRUE(client.PumpUntilClosed(call));
  EXPECT_EQ(call->data.size(), 3u << 20);

  call = client.StartRaw(Get("/forget"), nullptr, true);
  ASSERT_TRUE(client.PumpUntilClosed(call));
  EXPECT_EQ(call->header(":status"), "500");

  const std::string large((1u << 20) + 1, 'x');
  call = client.StartRaw(Get("/echo", "POST"), &large, true);
  ASSERT_TRUE(client.PumpUntilClosed(call));
  EXPECT_EQ(call->header(":status"), "413");
  EXPECT_TRUE(server.WaitForMetric("vellum_wire_calls", 0));
}

TEST(WireHttp2, MalformedRequestsAreReset) {
  TestServer server;
  TestClient client(server.address());
  const std::vector<TestHeaders> requests = {
      {{":method", "GET"}, {":scheme", "http"}, {":authority", "x"}},                 // no path
      {{":scheme", "http"}, {":path", "/"}, {":authority", "x"}},                     // no method
      {{":method", "GET"}, {":path", "/"}, {":authority", "x"}},                      // no scheme
      {{":method", "GET"}, {":scheme", "http"}, {":path", "echo"}},                   // relative
      {{":method", "GET"}, {":method", "GET"}, {":scheme", "http"}, {":path", "/"}},  // twice
      {{":method", "GET"}, {"a", "b"}, {":scheme", "http"}, {":path", "/"}},          // out of order
      {{":method", "GET"}, {":scheme", "http"}, {":path", "/"}, {":unknown", "x"}},
      {{":method", "GET"}, {":scheme", "http"}, {":path", "/"}, {"connection", "close"}},
      {{":method", "GET"}, {":scheme", "http"}, {":path", "/"}, {"a", "line\nbreak"}},
      {{":method", "G E T"}, {":scheme", "http"}, {":path", "/"}},
      {{":method", "GET"}, {":scheme", "http"}, {":path", "/echo"}, {"content-length", "3"}},  // but no body
  };
  for (const TestHeaders& headers : requests) {
    TestCall* const call = client.StartRaw(headers, nullptr, true);
    ASSERT_TRUE(client.PumpUntilClosed(call));
    EXPECT_EQ(call->error, 1u) << headers[0].first << " " << headers.back().first;
    EXPECT_EQ(call->header(":status"), "");
  }
  // The connection is as good as before.
  EXPECT_EQ(client.Call("/test.Echo/Unary", "x")->status(), 0);
}

TEST(WireHttp2, HeadersOverTheLimitAreRefused) {
  TestServer server([](ServerOptions* options) { options->metadata_bytes_max = 8192; });
  TestClient client(server.address());
  const TestCall* const call = client.Call("/test.Echo/Unary", "x", {{"a", std::string(9000, 'y')}});
  EXPECT_EQ(call->status(), 8);
  TestHeaders headers = Get("/echo");
  headers.emplace_back("a", std::string(9000, 'y'));
  TestCall* const plain = client.StartRaw(headers, nullptr, true);
  ASSERT_TRUE(client.PumpUntilClosed(plain));
  EXPECT_EQ(plain->header(":status"), "431");
  EXPECT_EQ(client.Call("/test.Echo/Unary", "x", {{"a", std::string(7000, 'y')}})->status(), 0);
  EXPECT_EQ(server.Metric("vellum_wire_requests_refused_total{limit=\"metadata\"}"), 2);
}

TEST(WireEndpoints, MetricsOnlyServesNoGrpc) {
  TestServer server([](ServerOptions* options) { options->endpoints[0].metrics_only = true; });
  TestClient client(server.address());
  EXPECT_EQ(client.Call("/test.Echo/Unary", "x")->status(), 12);
  TestCall* const call = client.StartRaw(Get("/echo"), nullptr, true);
  ASSERT_TRUE(client.PumpUntilClosed(call));
  EXPECT_EQ(call->header(":status"), "200");
}

}  // namespace
}  // namespace vellum::wire
