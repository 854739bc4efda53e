// What survives kill -9 and power loss, and in which order.
#include <gtest/gtest.h>

#include <random>

#include "storage/step_workload.h"
#include "storage/test_files.h"

namespace vellum::storage {
namespace {

using Leftover = FaultFileSystem::Leftover;

/// One life of a database whose power goes at the given sync, and two lives after it.
void CutAt(std::uint64_t sync, Leftover leftover, bool* was_cut) {
  SCOPED_TRACE("power cut at sync " + std::to_string(sync));
  TestDir dir;
  auto faults = FaultFileSystem::Create();
  std::mt19937_64 random(sync);
  faults->CutPowerAtSync(sync);
  Progress progress;
  if (auto db = Database::Open(StepOptions(dir.path() + "/member/db", faults)); db.ok()) progress = RunSteps(db->get(), 1, 150, &random);
  *was_cut = faults->power_is_cut();
  faults->CutPower();  // a close after the end of the run changes nothing either
  faults->DropUnsynced(leftover, sync);

  auto db = Database::Open(StepOptions(dir.path() + "/member/db", faults));
  ASSERT_TRUE(db.ok()) << db.error().ToString();
  const int last = CheckPrefix(db->get(), progress.written);
  ASSERT_GE(last, progress.acknowledged);
  ASSERT_LE(last, progress.written);
  // It goes on, and survives a second loss.
  const Progress more = RunSteps(db->get(), last + 1, 20, &random);
  db->reset();
  faults->CutPower();
  faults->DropUnsynced(leftover, sync + 1);
  db = Database::Open(StepOptions(dir.path() + "/member/db", faults));
  ASSERT_TRUE(db.ok()) << db.error().ToString();
  ASSERT_GE(CheckPrefix(db->get(), more.written), more.acknowledged);
}

void CutAtEverySync(Leftover leftover, std::uint64_t first = 1, std::uint64_t stride = 1) {
  std::uint64_t sync = first;
  for (bool was_cut = true; was_cut && !::testing::Test::HasFailure(); sync += stride) CutAt(sync, leftover, &was_cut);
  EXPECT_GT(sync, 30u);
}

TEST(PowerLoss, AcknowledgedBatchesSurviveACutAtEverySync) { CutAtEverySync(Leftover::kNothing); }
TEST(PowerLoss, UnsyncedBatchesVanishOnlyAsASuffix) { CutAtEverySync(Leftover::kPrefixes, 1, 2); }
TEST(PowerLoss, HolesInUnsyncedDataAreATornTail) { CutAtEverySync(Leftover::kHoles, 2, 2); }

}  // namespace
}  // namespace vellum::storage
