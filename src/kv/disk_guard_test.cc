#include "kv/disk_guard.h"

#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>

#include "base/manual_clock.h"
#include "base/test_dir.h"

namespace vellum::kv {
namespace {

constexpr std::uint64_t kMiB = 1u << 20;

class KvDiskGuard : public ::testing::Test {
 protected:
  DiskGuard::Options MakeOptions() {
    DiskGuard::Options options;
    options.directory = dir_.path();
    options.reserve_path = dir_.path() + "/RESERVE";
    options.floor_bytes = 4 * kMiB;
    options.clock = &clock_;
    options.space = [this] {
      ++looks_;
      return space_;
    };
    options.stored_bytes = [this] { return stored_; };
    return options;
  }
  std::string reserve() const { return dir_.path() + "/RESERVE"; }
  std::uint64_t ReserveBytes() const {
    return std::filesystem::exists(reserve()) ? std::filesystem::file_size(reserve()) : 0;
  }

  TestDir dir_;
  ManualClock clock_;
  DiskGuard::Space space_{100 * kMiB, 1000 * kMiB};
  int looks_ = 0;
  std::uint64_t stored_ = 0;
};

TEST_F(KvDiskGuard, BelowTheFloorItRefusesAndGivesUpHalfOfTheReserve) {
  DiskGuard guard(MakeOptions());
  guard.Start();
  EXPECT_EQ(ReserveBytes(), kMiB);
  EXPECT_FALSE(guard.Refuses(100));
  space_.free_bytes = 4 * kMiB - 1;
  EXPECT_FALSE(guard.Refuses(100)) << "it does not look at every call";
  clock_.Advance(std::chrono::seconds(2));
  EXPECT_TRUE(guard.Refuses(100));
  EXPECT_FALSE(guard.Refuses(0)) << "what costs nothing passes";
  EXPECT_TRUE(guard.low());
  EXPECT_EQ(ReserveBytes(), kMiB / 2);
  space_.free_bytes = 5 * kMiB;
  guard.Recheck();
  EXPECT_FALSE(guard.low());
  EXPECT_EQ(ReserveBytes(), kMiB / 2) << "making it whole would leave too little";
  space_.free_bytes = 50 * kMiB;
  guard.Recheck();
  EXPECT_EQ(ReserveBytes(), kMiB);
}

TEST_F(KvDiskGuard, DeletesPassBelowTheFloorUnlessTheyWouldFillTheDisk) {
  DiskGuard guard(MakeOptions());
  stored_ = 50 * kMiB;
  guard.Start();
  int asked = 0;
  const auto refuses = [&](std::uint64_t bytes) {
    return guard.RefusesDelete([&] {
      ++asked;
      return bytes;
    });
  };
  EXPECT_FALSE(refuses(98 * kMiB));
  EXPECT_TRUE(refuses(99 * kMiB));
  EXPECT_EQ(asked, 3) << "it looks again before it refuses";
  space_.free_bytes = 300 * kMiB;
  guard.Recheck();
  EXPECT_FALSE(refuses(500 * kMiB));
  EXPECT_EQ(asked, 3) << "with plenty of room it need not be known";
  space_.free_bytes = 3 * kMiB;
  guard.Recheck();
  ASSERT_TRUE(guard.low());
  EXPECT_FALSE(refuses(100));
  space_.free_bytes = 2 * kMiB - 1;
  guard.Recheck();
  EXPECT_TRUE(refuses(0));
}

TEST_F(KvDiskGuard, WithoutRoomForTheLogItIsExhausted) {
  DiskGuard guard(MakeOptions());
  guard.Start();
  space_.free_bytes = kMiB;
  EXPECT_FALSE(guard.IsExhausted());
  space_.free_bytes = kMiB - 1;
  EXPECT_TRUE(guard.IsExhausted());
}

TEST_F(KvDiskGuard, WhatIsInMemoryCountsAsWritten) {
  DiskGuard::Options options = MakeOptions();
  std::uint64_t pending = 0;
  options.pending_bytes = [&] { return pending; };
  space_.free_bytes = 10 * kMiB;
  DiskGuard guard(options);
  guard.Start();
  EXPECT_FALSE(guard.low());
  pending = 7 * kMiB;
  guard.Recheck();
  EXPECT_TRUE(guard.low());
}

TEST_F(KvDiskGuard, LooksAgainWhenMuchWasWritten) {
  DiskGuard guard(MakeOptions());
  guard.Start();
  const int before = looks_;
  for (int i = 0; i < 100; ++i) guard.OnWritten(1000);
  EXPECT_EQ(looks_, before);
  space_.free_bytes = kMiB;
  guard.OnWritten(8 * kMiB);
  EXPECT_EQ(looks_, before + 1);
  EXPECT_TRUE(guard.low());
}

TEST_F(KvDiskGuard, OnASmallDiskMoreThanHalfIsKeptFree) {
  space_ = {7 * kMiB, 10 * kMiB};
  DiskGuard guard(MakeOptions());
  guard.Start();
  EXPECT_FALSE(guard.low());
  space_.free_bytes = 6 * kMiB - 10;
  guard.Recheck();
  EXPECT_TRUE(guard.low());
}

TEST_F(KvDiskGuard, AReserveOfAnEarlierRunIsGivenUpToo) {
  { DiskGuard(MakeOptions()).Start(); }
  ASSERT_EQ(ReserveBytes(), kMiB);
  space_.free_bytes = kMiB;
  DiskGuard guard(MakeOptions());
  guard.Start();
  EXPECT_TRUE(guard.low());
  EXPECT_EQ(ReserveBytes(), kMiB / 2);
}

TEST_F(KvDiskGuard, WithRoomLeftOpeningKeepsTheReserve) {
  DiskGuard(MakeOptions()).Start();
  DiskGuard::MakeRoomToOpen(dir_.path(), reserve(), {});
  EXPECT_EQ(ReserveBytes(), kMiB);
}

TEST_F(KvDiskGuard, WithLessRoomThanTheReserveOpeningTakesIt) {
  const Result<DiskGuard::Space> space = DiskGuard::ReadSpace(dir_.path());
  ASSERT_TRUE(space.ok());
  // Of no blocks, and larger than what the disk has left.
  std::ofstream(reserve()).close();
  std::filesystem::resize_file(reserve(), space->free_bytes + 100 * kMiB);
  DiskGuard::MakeRoomToOpen(dir_.path(), reserve(), {});
  EXPECT_EQ(ReserveBytes(), 0);
  DiskGuard::MakeRoomToOpen(dir_.path(), reserve(), {});
}

TEST_F(KvDiskGuard, WithoutAFloorItDoesNotLook) {
  DiskGuard::Options options = MakeOptions();
  options.floor_bytes = 0;
  space_.free_bytes = 0;
  DiskGuard guard(options);
  guard.Start();
  EXPECT_FALSE(guard.Refuses(1 << 30));
  EXPECT_FALSE(guard.IsExhausted());
  EXPECT_EQ(looks_, 0);
}

TEST_F(KvDiskGuard, ADiskThatCannotBeReadRefusesNothing) {
  DiskGuard::Options options = MakeOptions();
  options.space = [] { return Result<DiskGuard::Space>(Unavailable("no such disk")); };
  DiskGuard guard(options);
  guard.Start();
  EXPECT_FALSE(guard.Refuses(100));
}

TEST_F(KvDiskGuard, TheQuotaCountsWhatWasLetThrough) {
  DiskGuard::Options options = MakeOptions();
  options.quota_bytes = 10'000;
  stored_ = 9'000;
  DiskGuard guard(options);
  guard.Start();
  EXPECT_TRUE(guard.Refuses(1'001));
  EXPECT_FALSE(guard.Refuses(600));
  EXPECT_TRUE(guard.Refuses(600)) << "the first one is on its way";
  EXPECT_FALSE(guard.Refuses(0));
  stored_ = 100;
  clock_.Advance(std::chrono::seconds(2));
  EXPECT_FALSE(guard.Refuses(600));
}

TEST_F(KvDiskGuard, TheQuotaThatIsShownIsNeverOneThatMakesAnAlarmForNothing) {
  constexpr std::int64_t kGiB = 1024 * std::int64_t{kMiB};
  const DiskGuard none(MakeOptions());
  EXPECT_EQ(none.ShownQuota(), 2 * kGiB) << "etcd's default";
  stored_ = 3 * kGiB;
  EXPECT_EQ(none.ShownQuota(), 3 * kGiB + std::int64_t{96 * kMiB}) << "the disk has so much above the floor";
  space_.free_bytes = kMiB;
  EXPECT_EQ(none.ShownQuota(), 3 * kGiB) << "all that it may ever be";
  DiskGuard::Options options = MakeOptions();
  options.space = [] { return Result<DiskGuard::Space>(Unavailable("no such disk")); };
  EXPECT_EQ(DiskGuard(options).ShownQuota(), 6 * kGiB);
  options.quota_bytes = 10'000;
  EXPECT_EQ(DiskGuard(options).ShownQuota(), 10'000);
}

TEST_F(KvDiskGuard, TheMachinesDiskCanBeRead) {
  DiskGuard::Options options = MakeOptions();
  options.space = {};
  options.floor_bytes = 1;
  DiskGuard guard(options);
  guard.Start();
  EXPECT_FALSE(guard.low());
}

}  // namespace
}  // namespace vellum::kv
