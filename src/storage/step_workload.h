#pragma once

#include <gtest/gtest.h>

#include <memory>
#include <random>
#include <string>

#include "storage/database.h"
#include "storage/fault_file_system.h"

// A workload whose state after any step is known, so that a test can tell where a database stopped.
namespace vellum::storage {

inline DatabaseOptions StepOptions(const std::string& path, const std::shared_ptr<FaultFileSystem>& faults) {
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

inline std::string StepKey(int step) {
  char text[16];
  std::snprintf(text, sizeof(text), "k%08d", step);
  return text;
}

/// Step n writes "last" = n into every family and a record of its own into one of them, in one batch.
inline Status WriteStep(Database* db, int step, std::mt19937_64* random) {
  Batch batch;
  const std::string number = std::to_string(step);
  for (Family family = 0; family < 3; ++family) batch.Put(family, "last", number);
  const std::string value(100 + (*random)() % 4000, static_cast<char>('a' + step % 26));
  batch.Put(static_cast<Family>(step % 3), StepKey(step), value);
  return db->Write(std::move(batch));
}

/// The step up to which everything is there; fails the test unless the families agree and nothing is missing before
/// it or left over after it.
inline int CheckPrefix(Database* db, int written) {
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
    auto got = db->Get(static_cast<Family>(step % 3), StepKey(step), &value);
    EXPECT_TRUE(got.ok()) << got.error().ToString();
    EXPECT_EQ(*got, step <= last) << "step " << step << ", last " << last;
    if (*got) {
      EXPECT_EQ(value.view()[0], static_cast<char>('a' + step % 26));
    }
  }
  return last;
}

struct Progress {
  int written = 0;       ///< The last step that was tried; may be there even if its write failed.
  int acknowledged = 0;  ///< The last step that was synced.
  bool failed = false;
};

/// Writes in groups until `steps` are done or the disk fails.
inline Progress RunSteps(Database* db, int first, int steps, std::mt19937_64* random) {
  Progress progress{first - 1, first - 1, false};
  for (int step = first; step < first + steps; ++step) {
    progress.written = step;
    progress.failed = !WriteStep(db, step, random).ok();
    if (progress.failed) return progress;
    if ((*random)() % 5 != 0) continue;
    progress.failed = !db->Sync().ok();
    if (progress.failed) return progress;
    progress.acknowledged = step;
  }
  return progress;
}

}  // namespace vellum::storage
