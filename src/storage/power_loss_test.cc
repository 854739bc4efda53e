// What survives kill -9 and power loss, and in which order.
#include <gtest/gtest.h>

#include <random>

#include "storage/database.h"
#include "storage/fault_file_system.h"
#include "storage/test_dir.h"

namespace vellum::storage {
namespace {

using Leftover = FaultFileSystem::Leftover;

DatabaseOptions Options(const std::string& path, const std::shared_ptr<FaultFileSystem>& faults) {
  DatabaseOptions options;
  options.path = path;
  options.families = {{.name = "default"}, {.name = "one", .point_lookups = true}, {.name = "two"}};
  // Tiny, so that memtables, logs and table files turn over during a short test.
  for (FamilyOptions& family : options.families) family.memtable_bytes = 64u << 10;
  options.table_file_bytes = 64u << 10;
  options.wal_bytes_max = 256u << 10;
  options.block_cache_bytes = 8u << 20;
  options.file_system = faults->file_system();
  return options;
}

std::string Key(int step) {
  char text[16];
  std::snprintf(text, sizeof(text), "k%08d", step);
  return text;
}

/// Step n writes "last" = n into every family and a record of its own into one of them, in one batch.
Status WriteStep(Database* db, int step, std::mt19937_64* random) {
  Batch batch;
  const std::string number = std::to_string(step);
  for (Family family = 0; family < 3; ++family) batch.Put(family, "last", number);
  batch.Put(static_cast<Family>(step % 3), Key(step), std::string(100 + (*random)() % 4000, static_cast<char>('a' + step % 26)));
  return db->Write(std::move(batch));
}

/// The step up to which everything is there; fails the test unless the families agree and nothing is missing before
/// it or left over after it.
int CheckPrefix(Database* db, int written) {
  PinnedValue value;
  int last = 0;
  for (Family family = 0; family < 3; ++family) {
    auto got = db->Get(family, "last", &value);
    EXPECT_TRUE(got.ok()) << got.error().ToString();
    const int here = got.ok() && *got ? std::stoi(std::string(value.view())) : 0;
    if (family == 0) last = here;
    EXPECT_EQ(here, last) << "family " << family << " is at another step";
  }
  for (int step = 1; step <= written; ++step) {
    auto got = db->Get(static_cast<Family>(step % 3), Key(step), &value);
    EXPECT_TRUE(got.ok()) << got.error().ToString();
    EXPECT_EQ(*got, step <= last) << "step " << step << ", last " << last;
    if (*got) {
      EXPECT_EQ(value.view()[0], static_cast<char>('a' + step % 26));
    }
  }
  return last;
}

struct Progress {
  int written = 0;
  int acknowledged = 0;
};

/// Writes in groups until `steps` are done or the disk fails.
Progress Run(Database* db, int first, int steps, std::mt19937_64* random) {
  Progress progress{first - 1, first - 1};
  for (int step = first; step < first + steps; ++step) {
    progress.written = step;  // may be there even if the write fails
    if (!WriteStep(db, step, random).ok()) return progress;
    if ((*random)() % 5 == 0) {
      if (!db->Sync().ok()) return progress;
      progress.acknowledged = step;
    }
  }
  return progress;
}

/// One life of a database whose power goes at the given sync, and two lives after it.
void CutAt(std::uint64_t sync, Leftover leftover, bool* was_cut) {
  SCOPED_TRACE("power cut at sync " + std::to_string(sync));
  TestDir dir;
  auto faults = FaultFileSystem::Create();
  std::mt19937_64 random(sync);
  faults->CutPowerAtSync(sync);
  Progress progress;
  if (auto db = Database::Open(Options(dir.path(), faults)); db.ok()) progress = Run(db->get(), 1, 150, &random);
  *was_cut = faults->power_is_cut();
  faults->CutPower();  // a close after the end of the run changes nothing either
  faults->DropUnsynced(leftover, sync);

  auto db = Database::Open(Options(dir.path(), faults));
  ASSERT_TRUE(db.ok()) << db.error().ToString();
  const int last = CheckPrefix(db->get(), progress.written);
  ASSERT_GE(last, progress.acknowledged);
  ASSERT_LE(last, progress.written);
  // It goes on, and survives a second loss.
  const Progress more = Run(db->get(), last + 1, 20, &random);
  db->reset();
  faults->CutPower();
  faults->DropUnsynced(leftover, sync + 1);
  db = Database::Open(Options(dir.path(), faults));
  ASSERT_TRUE(db.ok()) << db.error().ToString();
  ASSERT_GE(CheckPrefix(db->get(), more.written), more.acknowledged);
}

void CutAtEverySync(Leftover leftover) {
  std::uint64_t sync = 1;
  for (bool was_cut = true; was_cut && !::testing::Test::HasFailure(); ++sync) CutAt(sync, leftover, &was_cut);
  EXPECT_GT(sync, 30u);
}

TEST(PowerLoss, AcknowledgedBatchesSurviveACutAtEverySync) { CutAtEverySync(Leftover::kNothing); }
TEST(PowerLoss, UnsyncedBatchesVanishOnlyAsASuffix) { CutAtEverySync(Leftover::kPrefixes); }
TEST(PowerLoss, HolesInUnsyncedDataAreATornTail) { CutAtEverySync(Leftover::kHoles); }

}  // namespace
}  // namespace vellum::storage
