#include "storage/database.h"

#include <gtest/gtest.h>
#include <sys/resource.h>

#include <atomic>
#include <filesystem>
#include <fstream>
#include <thread>
#include <utility>
#include <vector>

#include "base/mutex.h"
#include "storage/fault_file_system.h"
#include "storage/test_files.h"

namespace vellum::storage {
namespace {

using Operation = FaultFileSystem::Operation;

DatabaseOptions Options(const std::string& path) {
  DatabaseOptions options;
  options.path = path;
  options.families = {{.name = "default"}, {.name = "one", .point_lookups = true, .tombstone_heavy = true},
                      {.name = "two"}};
  options.block_cache_bytes = 8u << 20;
  return options;
}

std::string Key(int index) {
  char text[16];
  std::snprintf(text, sizeof(text), "k%06d", index);
  return text;
}

std::unique_ptr<Database> MustOpen(DatabaseOptions options) {
  auto db = Database::Open(std::move(options));
  EXPECT_TRUE(db.ok()) << db.error().ToString();
  return db.ok() ? *std::move(db) : nullptr;
}

Status Put(Database* db, Family family, const std::string& key, const std::string& value) {
  Batch batch;
  batch.Put(family, key, value);
  return db->Write(std::move(batch));
}

/// "-" for absent, "!" and the error for a failure.
std::string Get(const Database& db, Family family, const std::string& key, const ReadOptions& options = {}) {
  PinnedValue value;
  auto got = db.Get(family, key, &value, options);
  if (!got.ok()) return "!" + got.error().ToString();
  return *got ? std::string(value.view()) : "-";
}

std::string Scan(const Database& db, Family family, const ReadOptions& options = {}) {
  std::string text;
  Iterator it = db.NewIterator(family, options);
  for (it.SeekToFirst(); it.valid(); it.Next()) text += std::string(it.key()) + "=" + std::string(it.value()) + " ";
  EXPECT_TRUE(it.status().ok()) << it.status().ToString();
  return text;
}

/// The nice value of each of this process's threads of the name.
std::vector<int> NiceOf(const std::string& name) {
  std::vector<int> found;
  for (const auto& task : std::filesystem::directory_iterator("/proc/self/task")) {
    std::string comm;
    std::getline(std::ifstream(task.path() / "comm"), comm);
    if (comm == name) found.push_back(::getpriority(PRIO_PROCESS, static_cast<id_t>(std::stoi(task.path().filename()))));
  }
  return found;
}

TEST(Database, FlushesGiveWayToWhoeverIsWoken) {
  TestDir dir;
  const int own = ::getpriority(PRIO_PROCESS, 0);  // who runs the tests may have been made to give way already
  auto db = MustOpen(Options(dir.path()));
  ASSERT_TRUE(Put(db.get(), 1, "a", "1").ok());
  ASSERT_TRUE(db->Flush().ok());
  const std::vector<int> nice = NiceOf("rocksdb:high");
  ASSERT_FALSE(nice.empty());
  for (const int each : nice) EXPECT_GE(each, 10);
  EXPECT_EQ(::getpriority(PRIO_PROCESS, 0), own) << "and nobody else";
}

TEST(Database, BatchesAreAtomicAndOrdered) {
  TestDir dir;
  auto db = MustOpen(Options(dir.path()));
  Batch batch;
  EXPECT_TRUE(batch.empty());
  batch.Put(1, "a", "1");
  batch.Put(1, "b", "2");
  batch.Put(1, "c", "3");
  batch.Delete(1, "a");
  batch.Put(2, "a", "x");
  batch.DeleteRange(1, "b", "c");
  EXPECT_EQ(batch.count(), 6u);
  EXPECT_GT(batch.bytes(), 20u);
  ASSERT_TRUE(db->Write(std::move(batch)).ok());
  EXPECT_EQ(Scan(*db, 1), "c=3 ");
  EXPECT_EQ(Scan(*db, 2), "a=x ");
  EXPECT_EQ(Get(*db, 1, "a"), "-");
  ASSERT_TRUE(db->Sync().ok());
  db.reset();
  db = MustOpen(Options(dir.path()));
  EXPECT_EQ(Scan(*db, 1), "c=3 ");
  EXPECT_EQ(Scan(*db, 2), "a=x ");
}

TEST(Database, AWrittenBatchIsEmptyAndReusable) {
  TestDir dir;
  auto db = MustOpen(Options(dir.path()));
  Batch batch;
  for (int index = 0; index < 3; ++index) {
    batch.Put(1, Key(index), "v");
    ASSERT_TRUE(db->Write(std::move(batch)).ok());
    EXPECT_TRUE(batch.empty());  // NOLINT(bugprone-use-after-move): that is the subject
    ASSERT_TRUE(db->Sync().ok());
  }
  EXPECT_EQ(Scan(*db, 1), "k000000=v k000001=v k000002=v ");
}

TEST(Database, UnflushedLogsOfManySyncsAreReplayed) {
  TestDir dir;
  std::string expected;
  for (int life = 0; life < 5; ++life) {
    auto db = MustOpen(Options(dir.path()));
    EXPECT_EQ(Scan(*db, 1), expected);
    for (int index = 0; index < 20; ++index) {
      const std::string key = Key(life * 100 + index);
      ASSERT_TRUE(Put(db.get(), 1, key, "v").ok());
      if (index % 7 == 0) {
        ASSERT_TRUE(db->Sync().ok());
      }
      expected += key + "=v ";
    }
    ASSERT_TRUE(db->Sync().ok());
  }
}

TEST(Database, IteratorsMoveBothWaysWithinBounds) {
  TestDir dir;
  auto db = MustOpen(Options(dir.path()));
  for (int index = 0; index < 10; ++index) ASSERT_TRUE(Put(db.get(), 1, Key(index), std::to_string(index)).ok());
  const std::string lower = Key(2);
  const std::string upper = Key(7);
  Iterator it = db->NewIterator(1, {.lower = lower, .upper = upper});
  it.SeekToFirst();
  EXPECT_EQ(it.value(), "2");
  it.SeekToLast();
  EXPECT_EQ(it.value(), "6");
  it.Prev();
  EXPECT_EQ(it.value(), "5");
  it.Seek(Key(4) + "x");
  EXPECT_EQ(it.value(), "5");
  it.SeekForPrev(Key(4) + "x");
  EXPECT_EQ(it.value(), "4");
  it.Seek(Key(7));
  EXPECT_FALSE(it.valid());
  EXPECT_TRUE(it.status().ok());
}

TEST(Database, SnapshotsHold) {
  TestDir dir;
  auto db = MustOpen(Options(dir.path()));
  ASSERT_TRUE(Put(db.get(), 1, "a", "old").ok());
  auto snapshot = db->TakeSnapshot();
  EXPECT_EQ(db->Property("rocksdb.num-snapshots"), 1u);
  Batch batch;
  batch.Put(1, "a", "new");
  batch.Put(1, "b", "new");
  ASSERT_TRUE(db->Write(std::move(batch)).ok());
  ASSERT_TRUE(db->Flush().ok());
  ASSERT_TRUE(db->CompactRange(1, {}).ok());
  EXPECT_EQ(Get(*db, 1, "a", {.snapshot = snapshot.get()}), "old");
  EXPECT_EQ(Scan(*db, 1, {.snapshot = snapshot.get()}), "a=old ");
  EXPECT_EQ(Scan(*db, 1), "a=new b=new ");
  snapshot.reset();
  EXPECT_EQ(db->Property("rocksdb.num-snapshots"), 0u);
  EXPECT_EQ(db->Property("rocksdb.no-such-thing"), std::nullopt);
}

TEST(Database, HandlesMayOutliveTheDatabase) {
  TestDir dir;
  auto db = MustOpen(Options(dir.path()));
  ASSERT_TRUE(Put(db.get(), 1, "a", std::string(1000, 'x')).ok());
  ASSERT_TRUE(db->Flush().ok());
  auto snapshot = db->TakeSnapshot();
  PinnedValue value;
  ASSERT_TRUE(*db->Get(1, "a", &value));
  {
    Iterator it = db->NewIterator(1);
    it.SeekToFirst();
    ASSERT_TRUE(it.valid());
    db.reset();
    // Until the last of them goes, the directory is taken.
    EXPECT_EQ(Database::Open(Options(dir.path())).error().code(), Code::kFailedPrecondition);
    EXPECT_EQ(value.view(), std::string(1000, 'x'));
  }
  snapshot.reset();
  value = PinnedValue();
  EXPECT_NE(MustOpen(Options(dir.path())), nullptr);
}

TEST(Database, ASecondOpenIsRefused) {
  TestDir dir;
  auto db = MustOpen(Options(dir.path()));
  ASSERT_TRUE(Put(db.get(), 1, "a", "1").ok());
  ASSERT_TRUE(db->Sync().ok());
  auto second = Database::Open(Options(dir.path()));
  ASSERT_FALSE(second.ok());
  EXPECT_EQ(second.error().code(), Code::kFailedPrecondition) << second.error().ToString();
  EXPECT_NE(second.error().message().find(dir.path()), std::string::npos);
  // And does not disturb the first.
  ASSERT_TRUE(Put(db.get(), 1, "b", "2").ok());
  ASSERT_TRUE(db->Sync().ok());
  EXPECT_EQ(Scan(*db, 1), "a=1 b=2 ");
}

TEST(Database, MissingAndMisnamedThingsAreRefused) {
  TestDir dir;
  DatabaseOptions options = Options(dir.path() + "/none");
  options.create_if_missing = false;
  EXPECT_FALSE(Database::Open(options).ok());
  options = Options(dir.path());
  options.families.erase(options.families.begin());
  EXPECT_EQ(Database::Open(options).error().code(), Code::kInvalidArgument);
  // Families that this program does not know: a newer one wrote here.
  MustOpen(Options(dir.path()));
  options = Options(dir.path());
  options.families.pop_back();
  auto db = Database::Open(options);
  ASSERT_FALSE(db.ok());
  EXPECT_EQ(db.error().code(), Code::kInvalidArgument);
  EXPECT_NE(db.error().message().find("two"), std::string::npos);
  // In another order the numbers in batches would mean other families.
  options = Options(dir.path());
  std::swap(options.families[1], options.families[2]);
  EXPECT_EQ(Database::Open(options).error().code(), Code::kFailedPrecondition);
}

TEST(Database, MemoryOnlyReadsNeverTouchTheDisk) {
  TestDir dir;
  auto faults = FaultFileSystem::Create();
  DatabaseOptions options = Options(dir.path());
  options.file_system = faults->file_system();
  {
    auto db = MustOpen(options);
    for (int index = 0; index < 1000; ++index) ASSERT_TRUE(Put(db.get(), 1, Key(index), std::string(100, 'v')).ok());
    ASSERT_TRUE(db->Flush().ok());
  }
  auto db = MustOpen(options);
  ASSERT_TRUE(Put(db.get(), 1, "fresh", "f").ok());
  const std::uint64_t reads = faults->count(Operation::kRead);
  PinnedValue value;
  EXPECT_EQ(db->Get(1, Key(500), &value, {.memory_only = true}).error().code(), Code::kUnavailable);
  EXPECT_EQ(Get(*db, 1, "fresh", {.memory_only = true}), "f");
  Iterator it = db->NewIterator(1, {.memory_only = true});
  it.Seek(Key(500));
  EXPECT_FALSE(it.valid());
  EXPECT_EQ(it.status().code(), Code::kUnavailable) << it.status().ToString();
  EXPECT_EQ(faults->count(Operation::kRead), reads);
  // Once the block is cached, memory is enough; also to know that a key of that block is absent.
  EXPECT_EQ(Get(*db, 1, Key(500)), std::string(100, 'v'));
  EXPECT_GT(faults->count(Operation::kRead), reads);
  EXPECT_EQ(Get(*db, 1, Key(500), {.memory_only = true}), std::string(100, 'v'));
  EXPECT_EQ(Get(*db, 1, Key(500) + "x", {.memory_only = true}), "-");
}

/// Drops values below a bar that a test moves.
class BelowBar final : public RecordFilter {
 public:
  explicit BelowBar(int bar) : bar_(bar) {}
  bool ShouldDrop(std::string_view, std::string_view value) const override {
    return std::stoi(std::string(value)) < bar_;
  }

 private:
  const int bar_;
};

std::optional<std::uint64_t> ValueAsNumber(std::string_view, std::string_view value) {
  const auto number = static_cast<std::uint64_t>(std::stoul(std::string(value)));
  return number == 999 ? std::nullopt : std::optional(number);
}

TEST(Database, FiltersSeeEveryRecordOfACompactedRange) {
  TestDir dir;
  auto bar = std::make_shared<std::atomic<int>>(0);
  DatabaseOptions options = Options(dir.path());
  options.families[2].filter = [bar]() -> std::unique_ptr<RecordFilter> {
    return *bar == 0 ? nullptr : std::make_unique<BelowBar>(bar->load());
  };
  auto db = MustOpen(options);
  auto snapshot = db->TakeSnapshot();
  for (int index = 0; index < 100; ++index) ASSERT_TRUE(Put(db.get(), 2, Key(index), std::to_string(index)).ok());
  ASSERT_TRUE(db->CompactRange(2, {}).ok());
  EXPECT_EQ(Get(*db, 2, Key(3)), "3");
  *bar = 50;
  // Down to the last level, where the records are already; the snapshot is no obstacle.
  ASSERT_TRUE(db->CompactRange(2, {.begin = Key(10), .end = Key(20)}).ok());
  EXPECT_EQ(Get(*db, 2, Key(15)), "-");
  ASSERT_TRUE(db->CompactRange(2, {}).ok());
  EXPECT_EQ(Get(*db, 2, Key(49)), "-");
  EXPECT_EQ(Get(*db, 2, Key(50)), "50");
  auto tables = db->ListTables(2);
  ASSERT_TRUE(tables.ok());
  std::uint64_t entries = 0;
  for (const TableFile& table : *tables) entries += table.entries;
  EXPECT_EQ(entries, 50u);
}

TEST(Database, TableFilesKnowTheirLeastNumber) {
  TestDir dir;
  DatabaseOptions options = Options(dir.path());
  options.families[2].number = ValueAsNumber;
  auto db = MustOpen(options);
  for (const int number : {700, 30, 999, 500}) {
    ASSERT_TRUE(Put(db.get(), 2, Key(number), std::to_string(number)).ok());
  }
  ASSERT_TRUE(db->Flush(2).ok());
  ASSERT_TRUE(Put(db.get(), 2, Key(999), "999").ok());
  ASSERT_TRUE(db->Flush(2).ok());
  ASSERT_TRUE(Put(db.get(), 1, "a", "1").ok());
  ASSERT_TRUE(db->Flush(1).ok());
  for (int life = 0; life < 2; ++life) {
    auto tables = db->ListTables(2);
    ASSERT_TRUE(tables.ok()) << tables.error().ToString();
    ASSERT_EQ(tables->size(), 2u);
    std::map<std::string, std::optional<std::uint64_t>> by_first;
    for (const TableFile& table : *tables) {
      EXPECT_TRUE(table.name.ends_with(".sst"));
      EXPECT_GT(table.bytes, 0u);
      EXPECT_EQ(table.deletions, 0u);
      EXPECT_EQ(table.largest, Key(999));
      by_first[table.smallest] = table.min_number;
    }
    EXPECT_EQ(by_first.at(Key(30)), 30u);
    EXPECT_EQ(by_first.at(Key(999)), std::nullopt);
    // A file without the property cannot be skipped.
    EXPECT_EQ(db->ListTables(1)->at(0).min_number, 0u);
    db.reset();
    db = MustOpen(options);
  }
}

TEST(Database, CompactRangeCanBeCancelled) {
  TestDir dir;
  DatabaseOptions options = Options(dir.path());
  // The compaction stops in the filter until the test has asked for its end.
  struct Gate {
    Mutex mu;
    CondVar changed;
    bool reached VELLUM_GUARDED_BY(mu) = false;
    bool open VELLUM_GUARDED_BY(mu) = false;
  };
  auto gate = std::make_shared<Gate>();
  class Waiting final : public RecordFilter {
   public:
    explicit Waiting(std::shared_ptr<Gate> gate) : gate_(std::move(gate)) {}
    bool ShouldDrop(std::string_view, std::string_view) const override {
      MutexLock lock(&gate_->mu);
      gate_->reached = true;
      gate_->changed.NotifyAll();
      while (!gate_->open) gate_->changed.Wait(&gate_->mu);
      return false;
    }

   private:
    const std::shared_ptr<Gate> gate_;
  };
  options.families[2].filter = [gate] { return std::make_unique<Waiting>(gate); };
  auto db = MustOpen(options);
  for (int index = 0; index < 10000; ++index) ASSERT_TRUE(Put(db.get(), 2, Key(index), "v").ok());
  ASSERT_TRUE(db->Flush().ok());

  std::atomic<bool> cancel{false};
  Status outcome;
  std::thread compaction([&] { outcome = db->CompactRange(2, {.cancel = &cancel}); });
  {
    MutexLock lock(&gate->mu);
    while (!gate->reached) gate->changed.Wait(&gate->mu);
    cancel = true;
    gate->open = true;
    gate->changed.NotifyAll();
  }
  compaction.join();
  EXPECT_EQ(outcome.code(), Code::kCancelled) << outcome.ToString();
  // Nothing is lost, and the next one runs through.
  EXPECT_EQ(Get(*db, 2, Key(9999)), "v");
  EXPECT_TRUE(db->CompactRange(2, {}).ok());
  EXPECT_EQ(db->CompactRange(2, {.cancel = &cancel}).code(), Code::kCancelled);
}

TEST(Database, CompactionGivesSpaceBack) {
  TestDir dir;
  auto db = MustOpen(Options(dir.path()));
  for (int round = 0; round < 4; ++round) {
    for (int index = 0; index < 1000; ++index) {
      // Not compressible, and not the same in each round.
      std::string value;
      std::uint32_t noise = static_cast<std::uint32_t>(round * 1000 + index + 1);
      for (int byte = 0; byte < 500; ++byte) {
        noise = noise * 1664525u + 1013904223u;
        value.push_back(static_cast<char>(noise >> 24));
      }
      ASSERT_TRUE(Put(db.get(), 2, Key(index), value).ok());
    }
    if (round < 2) {
      ASSERT_TRUE(db->Flush(2).ok());
    }
  }
  const Database::Sizes before = db->GetSizes();
  EXPECT_GT(before.table_bytes, 900'000u);
  EXPECT_GT(before.memtable_bytes, 900'000u);
  EXPECT_GT(before.wal_bytes, 0u);
  EXPECT_GT(db->EstimateBytes(2, Key(0), Key(2000)), 1'000'000u);
  EXPECT_EQ(db->EstimateBytes(1, Key(0), Key(2000)), 0u);
  ASSERT_TRUE(db->Flush().ok());
  ASSERT_TRUE(db->CompactRange(2, {}).ok());
  const Database::Sizes after = db->GetSizes();
  EXPECT_LT(after.table_bytes, 700'000u);
  EXPECT_GT(after.live_bytes, 300'000u);
  EXPECT_LT(after.memtable_bytes, before.memtable_bytes);
}

TEST(Database, WritersDoNotWaitForASlowCompaction) {
  TestDir dir;
  DatabaseOptions options = Options(dir.path());
  options.background_bytes_per_second = 64 << 10;
  auto db = MustOpen(options);
  for (int index = 0; index < 2000; ++index) ASSERT_TRUE(Put(db.get(), 2, Key(index), std::string(100, 'v')).ok());
  std::atomic<bool> cancel{false};
  std::thread compaction([&] {
    db->CompactRange(2, {.cancel = &cancel}).IgnoreError("cancelled or done");
  });
  for (int index = 0; index < 500; ++index) {
    ASSERT_TRUE(Put(db.get(), 1, Key(index), "v").ok());
    ASSERT_TRUE(db->Sync().ok());
  }
  cancel = true;
  db->SetBackgroundBytesPerSecond(0);  // lets it go at once
  compaction.join();
  EXPECT_EQ(Get(*db, 2, Key(1999)), std::string(100, 'v'));
}

TEST(Database, TuningIsCheckedAndCannotTouchDurability) {
  TestDir dir;
  DatabaseOptions options = Options(dir.path());
  options.rocksdb_options = "max_write_buffer_number=7;max_subcompactions=2;block_based_table_factory={block_size=8192}";
  EXPECT_NE(MustOpen(options), nullptr);
  for (const char* text : {"no_such_option=1", "max_write_buffer_number=seven", "manual_wal_flush=false",
                           "wal_recovery_mode=kSkipAnyCorruptedRecords", "recycle_log_file_num=3", "wal_dir=/tmp"}) {
    options.rocksdb_options = text;
    auto db = Database::Open(options);
    ASSERT_FALSE(db.ok()) << text;
    EXPECT_EQ(db.error().code(), Code::kInvalidArgument) << db.error().ToString();
  }
}

TEST(Database, MetricsShowWorkAndEndWithTheDatabase) {
  TestDir dir;
  Metrics metrics;
  DatabaseOptions options = Options(dir.path());
  options.metrics = &metrics;
  auto db = MustOpen(options);
  ASSERT_TRUE(Put(db.get(), 1, "a", std::string(5000, 'v')).ok());
  ASSERT_TRUE(db->Sync().ok());
  ASSERT_TRUE(db->Sync().ok());  // nothing to do, and not counted
  const std::string text = metrics.Expose();
  for (const char* line : {"etcd_disk_wal_fsync_duration_seconds_count 1\n", "etcd_disk_backend_commit_duration_seconds_count 1\n",
                           "# TYPE etcd_disk_wal_write_bytes_total gauge\n", "vellum_rocksdb_snapshots 0\n",
                           "vellum_rocksdb_write_stopped 0\n", "vellum_rocksdb_block_cache_misses_total ",
                           "vellum_rocksdb_pending_compaction_bytes 0\n", "vellum_rocksdb_level0_files 0\n"}) {
    EXPECT_NE(text.find(line), std::string::npos) << line << text;
  }
  db.reset();
  EXPECT_EQ(metrics.Expose().find("vellum_rocksdb_snapshots "), std::string::npos);
}

class Lines final : public LogSink {
 public:
  void Write(const LogRecord& record) override {
    MutexLock lock(&mu_);
    text_ += std::string(record.message);
    for (const LogField& field : record.fields) text_ += " " + std::string(field.name) + "=" + field.value;
    text_ += "\n";
  }
  std::string Take() {
    MutexLock lock(&mu_);
    return std::exchange(text_, "");
  }

 private:
  Mutex mu_;
  std::string text_ VELLUM_GUARDED_BY(mu_);
};

TEST(Database, AnOrdinaryLifeLogsNothing) {
  TestDir dir;
  Lines lines;
  DatabaseOptions options = Options(dir.path());
  options.logger = Logger(&lines, LogLevel::kDebug);
  for (FamilyOptions& family : options.families) family.memtable_bytes = 512u << 10;
  for (int life = 0; life < 3; ++life) {
    auto db = MustOpen(options);
    for (int index = 0; index < 2000; ++index) {
      ASSERT_TRUE(Put(db.get(), 1, Key(index), std::string(300, 'v')).ok());
      if (index % 100 == 0) {
        ASSERT_TRUE(db->Sync().ok());
      }
    }
    ASSERT_TRUE(db->CompactRange(1, {}).ok());
    if (life == 1) {
      ASSERT_TRUE(db->Flush().ok());
    }
    ASSERT_TRUE(Put(db.get(), 2, "last", std::to_string(life)).ok());
    ASSERT_TRUE(db->Sync().ok());
  }
  EXPECT_EQ(lines.Take(), "");
  // What is out of the ordinary does get there.
  std::string log;
  for (const auto& entry : std::filesystem::directory_iterator(dir.path())) {
    if (entry.path().extension() == ".log" && entry.file_size() > 0) log = entry.path().string();
  }
  ASSERT_NE(log, "");
  std::filesystem::resize_file(log, std::filesystem::file_size(log) - 1);
  MustOpen(options);
  EXPECT_NE(lines.Take().find(log), std::string::npos);
}

TEST(Database, VersionSaysHowTheEngineWasBuilt) {
  const std::string version = Database::EngineVersion();
  EXPECT_TRUE(std::isdigit(static_cast<unsigned char>(version[0]))) << version;
  EXPECT_NE(version.find("assertions o"), std::string::npos) << version;
  EXPECT_TRUE(version.ends_with(", packaged)") || version.ends_with(", optimised)")) << version;
}

}  // namespace
}  // namespace vellum::storage
