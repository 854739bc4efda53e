#include "server/signals.h"

#include <gtest/gtest.h>

#include <csignal>
#include <cstdlib>
#include <thread>

namespace vellum::server {
namespace {

constexpr std::chrono::seconds kPatience(30);
using Event = SignalWaiter::Event;

// Signals go to the whole process, so each case runs in a child that has no other threads.
int Answer(bool as_expected) { return as_expected ? 0 : 1; }

bool WaitsFor(SignalWaiter* waiter, int number, Event event) {
  kill(getpid(), number);
  return waiter->Wait(kPatience) == event;
}

TEST(SignalWaiterDeathTest, HandsOverSignalsInsteadOfDying) {
  EXPECT_EXIT(
      {
        Result<SignalWaiter> waiter = SignalWaiter::Make();
        const auto none = std::chrono::milliseconds(0);
        std::_Exit(Answer(waiter.ok() && !waiter->Wait(none) && WaitsFor(&*waiter, SIGTERM, Event::kTerminate) &&
                          WaitsFor(&*waiter, SIGINT, Event::kTerminate) &&
                          WaitsFor(&*waiter, SIGHUP, Event::kReopenLogs) && !waiter->Wait(none)));
      },
      ::testing::ExitedWithCode(0), "");
}

TEST(SignalWaiterDeathTest, ThreadsStartedLaterDoNotTakeThem) {
  EXPECT_EXIT(
      {
        Result<SignalWaiter> waiter = SignalWaiter::Make();
        std::thread([] { kill(getpid(), SIGTERM); }).join();
        std::_Exit(Answer(waiter.ok() && waiter->Wait(kPatience) == Event::kTerminate));
      },
      ::testing::ExitedWithCode(0), "");
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
