#include "wire/reply.h"

#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <memory>
#include <string>
#include <thread>
#include <utility>

#include "base/test_await.h"
#include "wire/grpc.h"
#include "wire/mailbox.h"
#include "wire/session.h"
#include "wire/test_services.h"

namespace vellum::wire {
namespace {

constexpr std::size_t kHighWaterBytes = 64;

/// A session whose client takes everything at once: what is delivered has left.
class GreedySession final : public Session {
 public:
  void OnOutbox(std::int32_t, Outbox* outbox) override {
    Outbox::Contents contents;
    outbox->Take(&contents);
    std::size_t bytes = 0;
    for (const Outbox::Sent& sent : contents.messages) bytes += MessageBytes(sent.message) + kMessagePrefixBytes;
    // As handlers do when they are told: with no room they wait to be told again.
    if (bytes > 0 && outbox->Left(bytes) && outbox->unsent_bytes() <= kHighWaterBytes) told_.fetch_add(1);
  }
  /// How often the handler was told that it may go on, and there was room.
  int told() const { return told_.load(); }

  void Receive(std::string_view) override {}
  void ReceiveEnd() override {}
  void Produce(Output*) override {}
  bool finished() const override { return false; }
  bool awaiting_start() const override { return false; }
  std::size_t unproduced_bytes() const override { return 0; }
  CloseReason close_reason() const override { return CloseReason::kShutdown; }
  void BeginShutdown() override {}
  void Abandon() override {}
  void Reap() override {}
  void OnUnaryReply(std::int32_t, Message, Status) override {}
  void OnHttpReply(std::int32_t, HttpResponse) override {}

 private:
  std::atomic<int> told_{0};
};

/// A sender that sends again in the moment in which it sees its last bytes leave, and then relies on being told. Each round
/// is one try to hit the moment in which the loop notes that they left.
TEST(WireOutbox, WhoSendsWhileTheLastBytesLeaveIsToldAgain) {
  constexpr int kRounds = 150'000;  // the bug that this is about showed itself after some tens of thousands
  const auto enough = std::chrono::steady_clock::now() + std::chrono::seconds(10);
  constexpr int kLooks = 1'000;
  GreedySession session;
  const auto mailbox = std::make_shared<Mailbox>();
  const auto outbox = std::make_shared<Outbox>(mailbox, 1, 1, kHighWaterBytes);
  std::atomic<bool> done{false};
  std::thread loop([&] {
    while (!done.load()) {
      for (int look = 0; look < kLooks; ++look) mailbox->Drain([&](Mail* mail) { mail->Deliver(&session); });
      std::this_thread::yield();
    }
  });

  bool told = true;
  for (int round = 0; told && round < kRounds && std::chrono::steady_clock::now() < enough; ++round) {
    Message first = OneMessage(std::string(2 * kHighWaterBytes, 'x'));
    Message second = first;
    const int before = session.told();
    outbox->Send(std::move(first));
    for (int look = 0; look < kLooks && outbox->unsent_bytes() > kHighWaterBytes; ++look) {
    }
    outbox->Send(std::move(second));
    for (int look = 0; look < kLooks && session.told() == before; ++look) {
    }
    told = Await([&] { return session.told() > before && outbox->unsent_bytes() == 0; });
  }
  EXPECT_TRUE(told) << "a sender waits in vain";
  done.store(true);
  loop.join();
  mailbox->Close();
}

}  // namespace
}  // namespace vellum::wire
