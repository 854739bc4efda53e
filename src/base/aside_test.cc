#include "base/aside.h"

#include <gtest/gtest.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <memory>
#include <thread>

namespace vellum {
namespace {

TEST(Aside, WorkIsDoneOnAnotherThread) {
  auto number = std::make_unique<int>(6);  // what cannot be copied goes along
  auto done = DoAside([number = std::move(number)] { return std::make_pair(*number * 7, std::this_thread::get_id()); });
  const auto [product, thread] = done.get();
  EXPECT_EQ(product, 42);
  EXPECT_NE(thread, std::this_thread::get_id());
}

TEST(Aside, TheFutureWaitsForItsWork) {
  bool done = false;
  { const auto working = DoAside([&done] { done = true; }); }
  EXPECT_TRUE(done);
}

/// What a process that may not start threads finds: 0 as it should be, 1 otherwise, 2 if it may start them after all.
int WithoutThreads() {
  constexpr uid_t kNobody = 65534;
  const rlimit none{1, 1};
  // Root's processes are not counted.
  if (::setrlimit(RLIMIT_NPROC, &none) != 0 || (::getuid() == 0 && ::setuid(kNobody) != 0)) return 2;
  try {
    std::thread([] {}).join();
    return 2;
  } catch (const std::system_error&) {
  }
  auto number = std::make_unique<int>(6);
  bool done = false;
  auto working = DoAside([&done, number = std::move(number)] {
    done = true;
    return std::make_pair(*number * 7, std::this_thread::get_id());
  });
  if (!done) return 1;
  return working.get() == std::make_pair(42, std::this_thread::get_id()) ? 0 : 1;
}

TEST(Aside, WithoutThreadsTheCallerDoesIt) {
  const pid_t child = ::fork();
  if (child == 0) ::_exit(WithoutThreads());
  ASSERT_GT(child, 0);
  int status = 0;
  ASSERT_EQ(::waitpid(child, &status, 0), child);
  ASSERT_TRUE(WIFEXITED(status)) << status;
  if (WEXITSTATUS(status) == 2) GTEST_SKIP() << "this system's processes start threads beyond RLIMIT_NPROC";
  EXPECT_EQ(WEXITSTATUS(status), 0);
}

}  // namespace
}  // namespace vellum
