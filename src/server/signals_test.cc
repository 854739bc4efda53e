#include "server/signals.h"

#include <gtest/gtest.h>

#include <csignal>
#include <thread>

namespace vellum::server {
namespace {

constexpr std::chrono::seconds kPatience(30);

TEST(SignalWaiter, HandsOverSignalsInsteadOfDying) {
  Result<SignalWaiter> waiter = SignalWaiter::Make();
  ASSERT_TRUE(waiter.ok());
  EXPECT_EQ(waiter->Wait(std::chrono::milliseconds(0)), std::nullopt);
  kill(getpid(), SIGTERM);
  EXPECT_EQ(waiter->Wait(kPatience), SignalWaiter::Event::kTerminate);
  kill(getpid(), SIGINT);
  EXPECT_EQ(waiter->Wait(kPatience), SignalWaiter::Event::kTerminate);
  kill(getpid(), SIGHUP);
  EXPECT_EQ(waiter->Wait(kPatience), SignalWaiter::Event::kReopenLogs);
  EXPECT_EQ(waiter->Wait(std::chrono::milliseconds(0)), std::nullopt);
}

TEST(SignalWaiter, ThreadsStartedLaterDoNotTakeThem) {
  Result<SignalWaiter> waiter = SignalWaiter::Make();
  ASSERT_TRUE(waiter.ok());
  std::thread([] { kill(getpid(), SIGTERM); }).join();
  EXPECT_EQ(waiter->Wait(kPatience), SignalWaiter::Event::kTerminate);
}

TEST(SignalWaiterDeathTest, ASecondSignalEndsTheProcess) {
  EXPECT_EXIT(
      {
        Result<SignalWaiter> waiter = SignalWaiter::Make();
        kill(getpid(), SIGTERM);
        static_cast<void>(waiter->Wait(kPatience));
        waiter->RestoreDefault();
        kill(getpid(), SIGTERM);
        static_cast<void>(waiter->Wait(kPatience));
      },
      ::testing::KilledBySignal(SIGTERM), "");
}

}  // namespace
}  // namespace vellum::server
