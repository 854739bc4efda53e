// Operations that fail, one after the other: what was acknowledged stays, and nothing is written after a failure.
#include <gtest/gtest.h>

#include <random>

#include "storage/step_workload.h"
#include "storage/test_files.h"

namespace vellum::storage {
namespace {

using Operation = FaultFileSystem::Operation;

/// One life in which the n-th operation fails, and one after it. False when no fault struck.
void FailAt(const FaultFileSystem::Fault& fault, bool power_loss, bool* struck) {
  SCOPED_TRACE("operation " + std::to_string(static_cast<int>(fault.operation)) + " number " +
               std::to_string(fault.nth) + (fault.forever ? " and later" : " only") +
               (power_loss ? ", then power loss" : ""));
  TestDir dir;
  auto faults = FaultFileSystem::Create();
  std::mt19937_64 random(fault.nth);
  Progress progress;
  faults->Inject(fault);
  int reported = 0;
  DatabaseOptions options = StepOptions(dir.path(), faults);
  options.on_background_error = [&reported](const Status&) { ++reported; };
  if (auto opened = Database::Open(options); opened.ok()) {
    Database& db = **opened;
    progress = RunSteps(&db, 1, 100, &random);
    if (progress.failed) {
      // Terminal, with an error that says so; reads go on.
      const Status again = WriteStep(&db, 1000, &random);
      EXPECT_FALSE(again.ok());
      EXPECT_TRUE(again.maybe_applied()) << again.ToString();
      EXPECT_FALSE(db.Sync().ok());
      CheckPrefix(&db, progress.written);
    }
    // A clean stop may fail as well.
    db.Flush().IgnoreError("the disk is broken");
  }
  *struck = faults->faults() > 0;
  EXPECT_LE(reported, 1);
  faults->ClearFault();
  if (power_loss) {
    faults->CutPower();
    faults->DropUnsynced(FaultFileSystem::Leftover::kPrefixes, fault.nth);
  }
  auto db = Database::Open(StepOptions(dir.path(), faults));
  ASSERT_TRUE(db.ok()) << db.error().ToString();
  const int last = CheckPrefix(db->get(), progress.written);
  ASSERT_GE(last, progress.acknowledged);
  ASSERT_FALSE(RunSteps(db->get(), last + 1, 10, &random).failed);
}

/// Every `stride`-th operation in each of four ways; all of them if `stride` is at most four.
void FailEach(FaultFileSystem::Fault fault, std::uint64_t stride = 1) {
  std::uint64_t first = 0;
  for (const bool forever : {true, false}) {
    for (const bool power_loss : {false, true}) {
      fault.forever = forever;
      bool struck = true;
      for (fault.nth = 1 + first++ % stride; struck && !::testing::Test::HasFailure(); fault.nth += stride) {
        FailAt(fault, power_loss, &struck);
      }
      EXPECT_GT(fault.nth, 3u);
    }
  }
}

TEST(Fault, EverySync) { FailEach({.operation = Operation::kSync}, 4); }
TEST(Fault, EveryAppendToTheLog) { FailEach({.operation = Operation::kAppend, .name_contains = ".log"}, 2); }
TEST(Fault, EveryTornAppendToTheLog) {
  FailEach({.operation = Operation::kAppend, .name_contains = ".log", .no_space = true, .half_done = true}, 2);
}
TEST(Fault, EveryAppendToATable) { FailEach({.operation = Operation::kAppend, .name_contains = ".sst"}, 5); }
TEST(Fault, EveryAppendToTheManifest) {
  FailEach({.operation = Operation::kAppend, .name_contains = "MANIFEST", .half_done = true}, 2);
}
TEST(Fault, EveryCreation) { FailEach({.operation = Operation::kCreate}, 2); }
TEST(Fault, EveryRenaming) { FailEach({.operation = Operation::kRename}); }

TEST(Fault, AFullDiskSaysSoAndReadsGoOn) {
  for (std::uint64_t room = 0; room < 300u << 10; room += 17u << 10) {
    TestDir dir;
    auto faults = FaultFileSystem::Create();
    std::mt19937_64 random(room);
    DatabaseOptions options = StepOptions(dir.path(), faults);
    int written = 0;
    int acknowledged = 0;
    {
      auto opened = Database::Open(options);
      ASSERT_TRUE(opened.ok()) << opened.error().ToString();
      Database& db = **opened;
      faults->SetFreeBytes(room);
      Status status;
      while (status.ok()) {
        status = WriteStep(&db, ++written, &random);
        if (status.ok()) status = db.Sync();
        if (status.ok()) acknowledged = written;
      }
      EXPECT_EQ(status.code(), Code::kResourceExhausted) << status.ToString();
      EXPECT_EQ(status.reason(), Reason::kNoSpace);
      EXPECT_TRUE(status.maybe_applied());
      EXPECT_GE(CheckPrefix(&db, written), acknowledged);
      // Room does not make it writable again: what is in the log is not known any more.
      faults->ClearFreeBytes();
      EXPECT_FALSE(WriteStep(&db, written, &random).ok());
    }
    auto opened = Database::Open(options);
    ASSERT_TRUE(opened.ok()) << opened.error().ToString();
    EXPECT_GE(CheckPrefix(opened->get(), written), acknowledged);
  }
}

TEST(Fault, ABackgroundErrorIsReportedOnce) {
  TestDir dir;
  auto faults = FaultFileSystem::Create();
  DatabaseOptions options = StepOptions(dir.path(), faults);
  std::atomic<int> reported{0};
  Status error;
  options.on_background_error = [&](const Status& status) {
    if (reported++ == 0) error = status;
  };
  auto db = Database::Open(options);
  ASSERT_TRUE(db.ok());
  std::mt19937_64 random(1);
  ASSERT_FALSE(RunSteps(db->get(), 1, 3, &random).failed);
  faults->Inject({.operation = Operation::kAppend, .name_contains = ".sst"});
  EXPECT_FALSE((*db)->Flush().ok());
  EXPECT_FALSE((*db)->Flush().ok());
  EXPECT_EQ(reported, 1);
  EXPECT_NE(error.message().find("injected"), std::string::npos) << error.ToString();
  EXPECT_FALSE(WriteStep(db->get(), 4, &random).ok());
}

TEST(Fault, AReadErrorIsAnErrorAndPasses) {
  TestDir dir;
  auto faults = FaultFileSystem::Create();
  auto db = Database::Open(StepOptions(dir.path(), faults));
  ASSERT_TRUE(db.ok());
  std::mt19937_64 random(1);
  const Progress progress = RunSteps(db->get(), 1, 30, &random);
  ASSERT_TRUE((*db)->Flush().ok());
  faults->Inject({.operation = Operation::kRead, .name_contains = ".sst"});
  PinnedValue value;
  auto got = (*db)->Get(2, StepKey(2), &value, {.fill_cache = false});
  ASSERT_FALSE(got.ok());
  EXPECT_EQ(got.error().code(), Code::kInternal);
  Iterator it = (*db)->NewIterator(2);
  it.SeekToFirst();
  EXPECT_FALSE(it.valid());
  EXPECT_FALSE(it.status().ok());
  faults->ClearFault();
  EXPECT_EQ(CheckPrefix(db->get(), progress.written), 30);
}

}  // namespace
}  // namespace vellum::storage
