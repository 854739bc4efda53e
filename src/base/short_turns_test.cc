#include "base/short_turns.h"

#include <gtest/gtest.h>
#include <sched.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cstdint>
#include <thread>

namespace vellum {
namespace {

/// The kernel's sched_attr in its first version: its header and the C library's exclude each other.
struct Scheduling {
  std::uint32_t size = 0;
  std::uint32_t sched_policy = 0;
  std::uint64_t sched_flags = 0;
  std::int32_t sched_nice = 0;
  std::uint32_t sched_priority = 0;
  std::uint64_t sched_runtime = 0;
  std::uint64_t sched_deadline = 0;
  std::uint64_t sched_period = 0;
};

Scheduling Attributes() {
  Scheduling attributes;
  EXPECT_EQ(syscall(SYS_sched_getattr, 0, &attributes, sizeof(attributes), 0), 0);
  return attributes;
}

TEST(ShortTurns, ChangeTheTurnAloneAndAreInherited) {
  std::thread([] {
    ASSERT_EQ(setpriority(PRIO_PROCESS, static_cast<id_t>(gettid()), 7), 0);
    const Scheduling before = Attributes();
    if (!TakeShortTurns()) {
      EXPECT_EQ(Attributes().sched_runtime, before.sched_runtime);
      GTEST_SKIP() << "this kernel has no turns of a thread's own";
    }
    EXPECT_EQ(Attributes().sched_runtime, 100'000u);
    EXPECT_EQ(Attributes().sched_policy, before.sched_policy);
    EXPECT_EQ(Attributes().sched_nice, 7);
    std::thread([] { EXPECT_EQ(Attributes().sched_runtime, 100'000u); }).join();
  }).join();
}

TEST(ShortTurns, WhatWorksInTheBackgroundHasOrdinaryOnes) {
  std::thread([] {
    if (!TakeShortTurns()) GTEST_SKIP() << "this kernel has no turns of a thread's own";
    {
      const OrdinaryTurns background;
      EXPECT_GT(Attributes().sched_runtime, 100'000u);
      std::thread([] { EXPECT_GT(Attributes().sched_runtime, 100'000u); }).join();
    }
    EXPECT_EQ(Attributes().sched_runtime, 100'000u);
  }).join();
}

TEST(ShortTurns, ClassWithoutTurnsIsLeftAlone) {
  std::thread([] {
    const sched_param none{};
    ASSERT_EQ(pthread_setschedparam(pthread_self(), SCHED_IDLE, &none), 0);
    EXPECT_FALSE(TakeShortTurns());
    EXPECT_EQ(Attributes().sched_policy, static_cast<std::uint32_t>(SCHED_IDLE));
  }).join();
}

}  // namespace
}  // namespace vellum
