#include "base/worker_pool.h"

#include <gtest/gtest.h>

#include <future>
#include <memory>
#include <vector>

namespace vellum {
namespace {

constexpr auto kPatience = std::chrono::seconds(30);

// Occupies one thread of a pool until it is released. What the work touches outlives this object.
class Blocker {
 public:
  explicit Blocker(WorkerPool* pool) {
    auto running = std::make_shared<std::promise<void>>();
    EXPECT_TRUE(pool->Submit([running, released = std::shared_future<void>(release_.get_future())] {
                      running->set_value();
                      released.wait_for(kPatience);
                    }).ok());
    EXPECT_EQ(running->get_future().wait_for(kPatience), std::future_status::ready);
  }
  void Release() { release_.set_value(); }

 private:
  std::promise<void> release_;
};

TEST(WorkerPool, OneThreadWorksInOrder) {
  std::vector<int> seen;
  {
    WorkerPool pool({.name = "ordered", .threads = 1, .queue_max = 100});
    for (int i = 0; i < 50; ++i) ASSERT_TRUE(pool.Submit([&seen, i] { seen.push_back(i); }).ok());
  }
  ASSERT_EQ(seen.size(), 50u);
  for (int i = 0; i < 50; ++i) EXPECT_EQ(seen[static_cast<std::size_t>(i)], i);
}

TEST(WorkerPool, AFullQueueRefusesWithoutRunning) {
  WorkerPool pool({.name = "full", .threads = 1, .queue_max = 2});
  Blocker blocker(&pool);
  std::atomic<int> ran{0};
  ASSERT_TRUE(pool.Submit([&ran] { ++ran; }).ok());
  ASSERT_TRUE(pool.Submit([&ran] { ++ran; }).ok());
  EXPECT_EQ(pool.queued(), 2u);
  const Status refused = pool.Submit([&ran] { ran += 100; });
  EXPECT_EQ(refused.code(), Code::kResourceExhausted);
  EXPECT_EQ(refused.reason(), Reason::kTooManyRequests);
  EXPECT_FALSE(refused.maybe_applied());
  blocker.Release();
  pool.Stop();
  EXPECT_EQ(ran, 2);
}

TEST(WorkerPool, OneLaneDoesNotWaitForAnother) {
  WorkerPool slow({.name = "slow", .threads = 1, .queue_max = 10});
  WorkerPool quick({.name = "quick", .threads = 1, .queue_max = 10});
  Blocker blocker(&slow);
  std::promise<void> done;
  ASSERT_TRUE(quick.Submit([&done] { done.set_value(); }).ok());
  EXPECT_EQ(done.get_future().wait_for(kPatience), std::future_status::ready);
  blocker.Release();
}

TEST(WorkerPool, StopFinishesWhatWasAcceptedAndRefusesTheRest) {
  WorkerPool pool({.name = "stopped", .threads = 2, .queue_max = 1000});
  std::atomic<int> ran{0};
  for (int i = 0; i < 500; ++i) ASSERT_TRUE(pool.Submit([&ran] { ++ran; }).ok());
  pool.Stop();
  EXPECT_EQ(ran, 500);
  const Status refused = pool.Submit([&ran] { ++ran; });
  EXPECT_EQ(refused.code(), Code::kUnavailable);
  EXPECT_EQ(refused.reason(), Reason::kStopped);
  pool.Stop();
  EXPECT_EQ(ran, 500);
}

TEST(WorkerPool, RunsOnSeveralThreadsAtOnce) {
  WorkerPool pool({.name = "parallel", .threads = 2, .queue_max = 10});
  Blocker first(&pool);
  Blocker second(&pool);  // returns only once it runs beside the first
  first.Release();
  second.Release();
}

}  // namespace
}  // namespace vellum
