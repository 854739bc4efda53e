// Several clients that do all sorts of things at once, rude ones too. Whatever they did, nothing is left in the end.
#include <gtest/gtest.h>

#include <algorithm>
#include <cstdlib>
#include <random>
#include <thread>

#include "wire/test_client.h"
#include "wire/test_services.h"

namespace vellum::wire {
namespace {

using std::chrono::milliseconds;

class ChaoticClient {
 public:
  ChaoticClient(TestServer* server, std::uint64_t seed) : server_(server), random_(seed) {}

  /// One connection's life.
  void Run() {
    TestClient::Options options;
    options.stream_window = Below(2) == 0 ? 1u << 20 : 1000u + static_cast<std::uint32_t>(Below(100'000));
    options.give_credit = Below(4) != 0;
    TestClient client(server_->address(), options);
    if (!client.socket().connected()) return;
    for (std::size_t step = Below(40); step > 0 && !client.gone(); --step) {
      Act(&client);
      if (Below(3) == 0) client.Pump([] { return false; }, milliseconds(1));
    }
    if (Below(2) == 0) client.Pump([&] { return AllClosed(); }, milliseconds(100));
    if (Below(4) == 0) client.socket().Write(std::string(50, static_cast<char>(Below(256))));
    CheckAnswers();
    calls_.clear();
  }

 private:
  struct Expected {
    TestCall* call;
    std::string text;
    bool whole;  // nothing was done that may cut the answer short
  };

  std::size_t Below(std::size_t bound) { return random_() % bound; }

  void Act(TestClient* client) {
    const std::string text(Below(10) == 0 ? Below(200'000) : Below(300), static_cast<char>('a' + Below(26)));
    TestHeaders extra;
    const bool hurry = Below(8) == 0;
    if (hurry) extra.emplace_back("grpc-timeout", std::to_string(Below(20)) + "m");
    switch (Below(8)) {
      case 0:
      case 1: Add({client->Start("/test.Echo/Unary", extra, {text}, true), text, !hurry}); break;
      case 2: Add({client->Start("/test.Echo/Worker", extra, {text}, true), text, !hurry}); break;
      case 3: Add({client->Start("/test.Echo/Big", extra, {std::to_string(Below(1'000'000))}, true), {}, false}); break;
      case 4: Add({client->Start("/test.Echo/Hold", extra, {text}, true), {}, false}); break;
      case 5: Add({client->Start("/test.Echo/Stream", extra, {text, text}, Below(2) == 0), {}, false}); break;
      case 6: {
        if (calls_.empty()) break;
        TestCall* const call = calls_[Below(calls_.size())].call;
        if (!call->closed) client->Reset(call);
        for (Expected& each : calls_) each.whole = each.whole && each.call != call;
        break;
      }
      default: {
        TestCall* const call = client->Start("/test.Echo/Unary", extra, {}, false);
        if (call != nullptr) client->SendBytes(call, Framed(text).substr(0, Below(text.size() + 5)), Below(2) == 0);
        break;
      }
    }
  }

  void Add(Expected expected) {
    if (expected.call != nullptr) calls_.push_back(std::move(expected));
  }
  bool AllClosed() const {
    return std::all_of(calls_.begin(), calls_.end(), [](const Expected& each) { return each.call->closed; });
  }
  void CheckAnswers() const {
    for (const Expected& each : calls_) {
      if (!each.whole || !each.call->closed || each.call->status() == -1) continue;
      EXPECT_EQ(each.call->status(), 0);
      EXPECT_TRUE(each.call->Messages() == std::vector<std::string>{each.text});
    }
  }

  TestServer* const server_;
  std::mt19937_64 random_;
  std::vector<Expected> calls_;
};

TEST(WireChaos, NothingIsLeft) {
  const char* const given = std::getenv("VELLUM_TEST_SEED");
  const std::uint64_t seed = given != nullptr ? std::strtoull(given, nullptr, 10) : std::random_device{}();
  SCOPED_TRACE("VELLUM_TEST_SEED=" + std::to_string(seed));
  TestServer server([](ServerOptions* options) { options->loops = 2; });
  std::vector<std::thread> threads;
  for (std::uint64_t i = 0; i < 4; ++i) {
    threads.emplace_back([&server, seed, i] {
      for (std::uint64_t life = 0; life < 25; ++life) ChaoticClient(&server, seed * 1000 + i * 100 + life).Run();
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_TRUE(server.WaitForMetric("vellum_wire_connections", 0));
  EXPECT_EQ(server.Metric("vellum_wire_calls"), 0);
  EXPECT_EQ(server.Metric("vellum_wire_reply_bytes"), 0);
  EXPECT_EQ(server.Metric("vellum_wire_partial_request_bytes"), 0);
  EXPECT_EQ(server.Metric("vellum_wire_paused_connections"), 0);
  EXPECT_EQ(server.services().seen.streams_open, 0);
  for (auto& reply : server.services().TakeHeld()) reply->Finish(OneMessage("far too late"));
}

}  // namespace
}  // namespace vellum::wire
