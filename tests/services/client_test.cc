// The C++ client against servers that misbehave on purpose: what it promises about failures.
#include <gtest/gtest.h>

#include <map>
#include <mutex>

#include "client/client.h"
#include "wire/server.h"

namespace vellum {
namespace {

constexpr std::chrono::milliseconds kPatience{20'000};

/// A server whose every unary method fails in a given way, or never answers.
class FakeServer {
 public:
  /// OK: no answer at all.
  explicit FakeServer(Status failure) {
    for (const char* method : {"/etcdserverpb.KV/Range", "/etcdserverpb.KV/Put", "/etcdserverpb.KV/Compact"}) {
      table_.AddUnary(method, [this, failure](std::shared_ptr<const wire::CallContext>, std::string_view,
                                              std::unique_ptr<wire::UnaryReply> reply) {
        ++calls_;
        if (failure.ok()) {
          std::lock_guard<std::mutex> lock(mu_);
          kept_.push_back(std::move(reply));
        } else {
          reply->Fail(failure);
        }
      });
    }
    wire::ServerOptions options;
    options.endpoints.push_back({.kind = wire::Endpoint::Kind::kTcp, .host = "127.0.0.1", .port = 0, .path = {}});
    auto server = wire::Server::Listen(options, &table_);
    EXPECT_TRUE(server.ok()) << server.error().ToString();
    server_ = *std::move(server);
    server_->Start();
  }
  ~FakeServer() { server_->Stop(std::chrono::milliseconds(0)); }

  std::string address() const { return server_->addresses().front(); }
  int calls() const { return calls_; }

 private:
  wire::ServiceTable table_;
  std::mutex mu_;
  std::vector<std::unique_ptr<wire::UnaryReply>> kept_;
  std::atomic<int> calls_{0};
  std::unique_ptr<wire::Server> server_;
};

std::unique_ptr<client::Client> ConnectTo(std::vector<std::string> endpoints,
                                          std::chrono::milliseconds call_timeout = kPatience) {
  client::ClientOptions options;
  options.endpoints = std::move(endpoints);
  options.dial_timeout = kPatience;
  options.call_timeout = call_timeout;
  auto client = client::Client::Connect(std::move(options));
  EXPECT_TRUE(client.ok()) << client.error().ToString();
  return client.ok() ? *std::move(client) : nullptr;
}

RangeRequest Key(const std::string& key) {
  RangeRequest request;
  request.key = key;
  return request;
}

PutRequest Pair(const std::string& key) {
  PutRequest request;
  request.key = key;
  return request;
}

TEST(Client, AWriteWithoutAnAnswerMayHaveHappened) {
  FakeServer silent{Status()};
  const auto client = ConnectTo({silent.address()}, std::chrono::milliseconds(300));
  const auto put = client->Put(Pair("a"));
  EXPECT_EQ(put.error().code(), Code::kDeadlineExceeded);
  EXPECT_TRUE(put.error().maybe_applied());
  const auto compact = client->Compact(5);
  EXPECT_TRUE(compact.error().maybe_applied());
  const auto range = client->Range(Key("a"));
  EXPECT_EQ(range.error().code(), Code::kDeadlineExceeded);
  EXPECT_FALSE(range.error().maybe_applied());
}

TEST(Client, ARefusedWriteDidNotHappen) {
  FakeServer refusing(Status(Code::kInvalidArgument, "etcdserver: key is not provided"));
  const auto client = ConnectTo({refusing.address()});
  const auto put = client->Put(Pair(""));
  EXPECT_EQ(put.error().code(), Code::kInvalidArgument);
  EXPECT_EQ(put.error().reason(), Reason::kKeyEmpty);
  EXPECT_EQ(put.error().message(), "etcdserver: key is not provided");
  EXPECT_FALSE(put.error().maybe_applied());
}

TEST(Client, ReadsGoElsewhereAndWritesDoNot) {
  FakeServer first(Status(Code::kUnavailable, "etcdserver: server stopped"));
  FakeServer second(Status(Code::kOutOfRange, "etcdserver: mvcc: required revision has been compacted"));
  const auto client = ConnectTo({first.address(), second.address()});
  const auto put = client->Put(Pair("a"));
  EXPECT_EQ(put.error().code(), Code::kUnavailable);
  EXPECT_EQ(put.error().reason(), Reason::kStopped);
  EXPECT_TRUE(put.error().maybe_applied());
  EXPECT_EQ(first.calls() + second.calls(), 1);
  // The failure made the other endpoint the one to use, and a read does not care which one answers.
  const auto range = client->Range(Key("a"));
  EXPECT_EQ(range.error().reason(), Reason::kCompacted);
  const auto again = ConnectTo({first.address(), second.address()})->Range(Key("a"));
  EXPECT_EQ(again.error().reason(), Reason::kCompacted);
}

TEST(Client, NoConnectionMeansThatNothingWasSent) {
  std::string address;
  std::unique_ptr<client::Client> client;
  {
    FakeServer server(Status(Code::kInvalidArgument, "x"));
    address = server.address();
    client::ClientOptions options;
    options.endpoints = {address};
    options.dial_timeout = std::chrono::milliseconds(200);
    auto connected = client::Client::Connect(options);
    ASSERT_TRUE(connected.ok());
    client = *std::move(connected);
    EXPECT_FALSE(client->Put(Pair("a")).ok());
  }
  // The connection's end may be noticed before this call or during it; then it is not known any more, but the next
  // call certainly has nowhere to go.
  client->Put(Pair("a")).error().IgnoreError("either outcome is right");
  const auto put = client->Put(Pair("a"));
  EXPECT_EQ(put.error().code(), Code::kUnavailable);
  EXPECT_FALSE(put.error().maybe_applied()) << put.error().ToString();

  client::ClientOptions options;
  options.endpoints = {address};
  options.dial_timeout = std::chrono::milliseconds(200);
  EXPECT_EQ(client::Client::Connect(options).error().code(), Code::kUnavailable);
}

TEST(Client, EndpointsAreChecked) {
  for (const char* endpoint : {"https://127.0.0.1:1", "", "http://"}) {
    client::ClientOptions options;
    options.endpoints = {endpoint};
    EXPECT_EQ(client::Client::Connect(options).error().code(), Code::kInvalidArgument) << endpoint;
  }
  EXPECT_EQ(client::Client::Connect({}).error().code(), Code::kInvalidArgument);
}

TEST(Client, SpellingsOfOneEndpoint) {
  FakeServer server(Status(Code::kInvalidArgument, "x"));
  for (const std::string& endpoint : {server.address(), "http://" + server.address(), "http://" + server.address() + "/"}) {
    EXPECT_EQ(ConnectTo({endpoint})->Range(Key("a")).error().code(), Code::kInvalidArgument) << endpoint;
  }
}

TEST(Client, UnknownStreamsEndWithTheServersWord) {
  FakeServer server(Status(Code::kInvalidArgument, "x"));
  const auto client = ConnectTo({server.address()});
  auto watch = client->Watch();
  ASSERT_TRUE(watch.ok());
  EXPECT_EQ((*watch)->Next(kPatience).error().code(), Code::kUnimplemented);
  EXPECT_EQ(client->LeaseKeepAliveOnce(1).error().code(), Code::kUnimplemented);
}

}  // namespace
}  // namespace vellum
