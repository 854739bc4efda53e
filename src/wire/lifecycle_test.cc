// Starting, stopping, keeping alive; addresses.
#include <gtest/gtest.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <thread>

#include "wire/test_client.h"
#include "wire/test_services.h"

namespace vellum::wire {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;
using SteadyClock = std::chrono::steady_clock;

class TemporaryDirectory {
 public:
  TemporaryDirectory() {
    path_ = testing::TempDir() + "vellum_wire_XXXXXX";
    if (::mkdtemp(path_.data()) == nullptr) path_.clear();
  }
  ~TemporaryDirectory() { ::rmdir(path_.c_str()); }
  std::string path(const std::string& name) const { return path_ + "/" + name; }

 private:
  std::string path_;
};

Result<std::unique_ptr<Server>> ListenOn(std::vector<Endpoint> endpoints, const ServiceTable* table) {
  ServerOptions options;
  options.endpoints = std::move(endpoints);
  return Server::Listen(std::move(options), table);
}

Endpoint Tcp(const std::string& host, std::uint16_t port = 0) {
  Endpoint endpoint;
  endpoint.host = host;
  endpoint.port = port;
  return endpoint;
}

Endpoint Unix(const std::string& path) {
  Endpoint endpoint;
  endpoint.kind = Endpoint::Kind::kUnix;
  endpoint.path = path;
  return endpoint;
}

TEST(WireListen, SeveralAddressesOfAllKinds) {
  TemporaryDirectory directory;
  const std::string path = directory.path("socket");
  TestServices services;
  auto server = ListenOn({Tcp("127.0.0.1"), Tcp("::1"), Tcp(""), Tcp("localhost"), Unix(path)}, &services.table());
  ASSERT_TRUE(server.ok()) << server.error().ToString();
  (*server)->Start();
  const auto addresses = (*server)->addresses();
  ASSERT_EQ(addresses.size(), 5u);
  EXPECT_TRUE(addresses[0].starts_with("127.0.0.1:"));
  EXPECT_TRUE(addresses[1].starts_with("[::1]:"));
  EXPECT_EQ(addresses[4], path);
  for (const std::string& address : addresses) {
    TestClient client(address);
    ASSERT_TRUE(client.socket().connected()) << address;
    EXPECT_EQ(client.Call("/test.Echo/Unary", "x")->status(), 0) << address;
  }
  // "All" takes IPv4 as well.
  TestClient v4("127.0.0.1" + addresses[2].substr(addresses[2].rfind(':')));
  EXPECT_EQ(v4.Call("/test.Echo/Unary", "x")->status(), 0);
  (*server)->Stop(seconds(1));
  EXPECT_NE(::access(path.c_str(), F_OK), 0);
}

TEST(WireListen, AddressInUseIsNamed) {
  TemporaryDirectory directory;
  TestServer server;
  TestServices services;
  const std::string& address = server.address();
  const auto port = static_cast<std::uint16_t>(std::stoi(address.substr(address.rfind(':') + 1)));
  const auto second = ListenOn({Tcp("127.0.0.1", port)}, &services.table());
  ASSERT_FALSE(second.ok());
  EXPECT_EQ(second.error().code(), Code::kFailedPrecondition);
  EXPECT_NE(second.error().message().find(address), std::string::npos) << second.error().message();
  EXPECT_NE(second.error().message().find("in use"), std::string::npos);

  const auto nowhere = ListenOn({Unix(directory.path("no/such/place"))}, &services.table());
  EXPECT_EQ(nowhere.error().code(), Code::kFailedPrecondition);
  EXPECT_EQ(ListenOn({Unix(std::string(200, 'x'))}, &services.table()).error().code(), Code::kFailedPrecondition);
}

TEST(WireListen, StaleUnixSocketIsReplacedAndALiveOneIsNot) {
  TemporaryDirectory directory;
  const std::string path = directory.path("socket");
  TestServices services;
  {
    auto first = ListenOn({Unix(path)}, &services.table());
    ASSERT_TRUE(first.ok());
    EXPECT_EQ(ListenOn({Unix(path)}, &services.table()).error().code(), Code::kFailedPrecondition);
    // As after kill -9: the name stays although nobody listens.
    ASSERT_EQ(::rename(path.c_str(), (path + ".kept").c_str()), 0);
  }
  ASSERT_EQ(::rename((path + ".kept").c_str(), path.c_str()), 0);
  auto second = ListenOn({Unix(path)}, &services.table());
  EXPECT_TRUE(second.ok()) << second.error().ToString();
  (*second)->Stop(milliseconds(0));
}

TEST(WireStop, IdleServerStopsAtOnce) {
  TestServer server;
  TestClient client(server.address());
  EXPECT_EQ(client.Call("/test.Echo/Unary", "x")->status(), 0);
  TestSocket silent(server.address());
  TestSocket http(server.address());
  ASSERT_TRUE(http.Write("GET /echo?x HTTP/1.1\r\n\r\n"));
  http.ReadUntil([](const std::string& all) { return all.ends_with("x|"); });
  const auto before = SteadyClock::now();
  std::thread stop([&] { server.server().Stop(seconds(10)); });
  client.Pump([&] { return client.gone(); });
  stop.join();
  EXPECT_LT(SteadyClock::now() - before, Patient(milliseconds(900)));
  EXPECT_GE(client.goaways(), 1);  // a client without streams stops listening after the notice
  EXPECT_EQ(client.goaway_error(), 0u);
  EXPECT_FALSE(TestSocket(server.address()).connected());
}

TEST(WireStop, ClientThatDoesNotAnswerDoesNotHoldItUp) {
  TestServer server;
  TestClient client(server.address());
  EXPECT_EQ(client.Call("/test.Echo/Unary", "x")->status(), 0);
  const auto before = SteadyClock::now();
  server.server().Stop(seconds(10));  // nobody reads the notice
  EXPECT_LT(SteadyClock::now() - before, Patient(milliseconds(900)));
}

TEST(WireStop, CallsInFlightAreFinished) {
  TestServer server;
  TestClient client(server.address());
  std::vector<TestCall*> calls;
  for (int i = 0; i < 20; ++i) calls.push_back(client.Start("/test.Echo/Hold", {}, {"x"}, true));
  TestCall* const stream = client.Start("/test.Echo/Feed", {}, {"x"}, false);
  ASSERT_TRUE(
      client.Pump([&] { return server.services().seen.messages == 1 && server.services().contexts().size() == 21; }));
  std::thread stop([&] { server.server().Stop(seconds(10)); });
  ASSERT_TRUE(client.Pump([&] { return client.goaways() == 2; }));  // the notice, then the last word
  EXPECT_EQ(client.goaway_error(), 0u);
  EXPECT_EQ(client.goaway_last_stream(), stream->id);
  EXPECT_FALSE(stream->closed);
  for (auto& reply : server.services().TakeHeld()) reply->Finish(OneMessage("done"));
  server.services().writers()[0]->Send(OneMessage("last words"));
  server.services().writers()[0]->Finish(Unavailable("etcdserver: server stopped"));
  client.Pump([&] { return client.gone(); });
  stop.join();
  for (const TestCall* const call : calls) {
    EXPECT_EQ(call->status(), 0);
    EXPECT_EQ(call->Messages(), std::vector<std::string>{"done"});
  }
  EXPECT_EQ(stream->status(), 14);
  EXPECT_EQ(stream->Messages(), std::vector<std::string>{"last words"});
  EXPECT_EQ(server.services().seen.streams_open, 0);
}

TEST(WireStop, GraceIsTheLimit) {
  TestServer server;
  TestClient client(server.address());
  client.Start("/test.Echo/Hold", {}, {"x"}, true);
  client.Start("/test.Echo/Feed", {}, {"x"}, false);
  ASSERT_TRUE(client.Pump([&] { return server.services().contexts().size() == 2; }));
  server.server().Stop(milliseconds(100));
  EXPECT_EQ(server.services().seen.streams_closed, 1);
  EXPECT_EQ(server.services().seen.streams_open, 0);
  for (const auto& context : server.services().contexts()) EXPECT_TRUE(context->cancelled);
  // Late answers find nobody.
  for (auto& reply : server.services().TakeHeld()) reply->Finish(OneMessage("late"));
  server.services().writers()[0]->Send(OneMessage("late"));
  server.services().writers()[0]->Finish({});
  server.server().Stop(milliseconds(100));
}

TEST(WireStop, RequestsOfTheLastRoundTripAreServed) {
  TestServer server;
  TestClient client(server.address());
  EXPECT_EQ(client.Call("/test.Echo/Unary", "x")->status(), 0);
  std::thread stop([&] { server.server().Stop(seconds(10)); });
  // The notice must not have been read when these are sent, so nothing is pumped before.
  ASSERT_TRUE(Eventually([&] { return !TestSocket(server.address()).connected(); }));
  TestCall* const call = client.Start("/test.Echo/Unary", {}, {"just in time"}, true);
  client.Pump([&] { return client.gone(); });
  stop.join();
  EXPECT_EQ(call->status(), 0);
}

TEST(WireStop, UnderLoad) {
  for (int round = 0; round < 5; ++round) {
    TestServer server([](ServerOptions* options) { options->loops = 2; });
    std::vector<std::thread> clients;
    std::atomic<int> answered{0};
    for (int i = 0; i < 4; ++i) {
      clients.emplace_back([&] {
        TestClient client(server.address());
        while (!client.gone() && !client.goaway_error()) {
          TestCall* const call = client.Start("/test.Echo/Worker", {}, {"x"}, true);
          if (call == nullptr || !client.PumpUntilClosed(call)) break;
          if (call->status() == 0) ++answered;
        }
      });
    }
    ASSERT_TRUE(Eventually([&] { return answered > 100; }));
    server.server().Stop(seconds(5));
    for (std::thread& client : clients) client.join();
    EXPECT_EQ(server.Metric("vellum_wire_connections"), 0);
    EXPECT_EQ(server.Metric("vellum_wire_calls"), 0);
  }
}

TEST(WireStop, NeverStarted) {
  TestServices services;
  auto server = ListenOn({Tcp("127.0.0.1")}, &services.table());
  ASSERT_TRUE(server.ok());
  (*server)->Stop(seconds(1));
}

TEST(WireKeepalive, SilentClientIsAskedAndThenClosed) {
  TestServer server([](ServerOptions* options) {
    options->keepalive_interval = seconds(1);
    options->keepalive_timeout = seconds(2);
  });
  TestClient lively(server.address());
  TestClient dead(server.address());
  lively.Start("/test.Echo/Feed", {}, {"x"}, false);
  dead.Start("/test.Echo/Feed", {}, {"x"}, false);
  ASSERT_TRUE(lively.Pump([&] { return server.services().seen.messages >= 1; }));
  ASSERT_TRUE(dead.Pump([&] { return server.services().seen.messages == 2; }));
  // Only one of them goes on answering.
  lively.Pump([&] { return server.Metric("vellum_wire_connections_closed_total{reason=\"keepalive\"}") == 1; });
  EXPECT_EQ(server.Metric("vellum_wire_connections"), 1);
  EXPECT_FALSE(lively.gone());
  EXPECT_EQ(lively.Call("/test.Echo/Unary", "x")->status(), 0);
}

TEST(WireAccept, RunsOutOfDescriptorsAndRecovers) {
#ifdef __SANITIZE_ADDRESS__
  // It looks at an object's memory through a pipe of its own, and takes the object for a bad one when it gets none.
  GTEST_SKIP() << "the sanitizer of undefined behaviour needs descriptors itself";
#endif
  TestServer server;
  TestClient before(server.address());
  EXPECT_EQ(before.Call("/test.Echo/Unary", "x")->status(), 0);
  TestSocket waiting(server.address());
  ASSERT_TRUE(server.WaitForMetric("vellum_wire_connections", 2));

  // Leave the process one descriptor: it is the test's own connection that takes it, and the server that goes without.
  rlimit saved{};
  ASSERT_EQ(::getrlimit(RLIMIT_NOFILE, &saved), 0);
  const int next = ::dup(0);
  ::close(next);
  rlimit tight = saved;
  tight.rlim_cur = static_cast<rlim_t>(next) + 1;
  ASSERT_EQ(::setrlimit(RLIMIT_NOFILE, &tight), 0);
  TestSocket starved(server.address());
  const bool connected = starved.connected();
  const bool paused = Eventually([&] { return server.Metric("vellum_wire_accept_pauses_total") >= 1; });
  const int during = before.Call("/test.Echo/Unary", "x")->status();
  ASSERT_EQ(::setrlimit(RLIMIT_NOFILE, &saved), 0);
  EXPECT_TRUE(connected);
  EXPECT_TRUE(paused);
  EXPECT_EQ(during, 0);
  ASSERT_TRUE(starved.Write("GET /echo?x HTTP/1.0\r\n\r\n"));
  EXPECT_TRUE(starved.ReadToEnd().starts_with("HTTP/1.1 200 "));
}

}  // namespace
}  // namespace vellum::wire
