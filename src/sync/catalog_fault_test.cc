// The write that points a sync at another generation fails in the metadata plane's log, after it may have taken effect: whoever
// opens the store next finds the old generation or the new one, whole, and nothing else.
#include <gtest/gtest.h>

#include <algorithm>
#include <set>

#include "kv/engine.h"
#include "storage/fault_file_system.h"
#include "storage/files.h"
#include "sync/kv_catalog.h"
#include "sync/test_syncs.h"

namespace vellum::sync {
namespace {

using storage::FaultFileSystem;
using testing::TestStore;
using Operation = FaultFileSystem::Operation;

constexpr std::size_t kOld = 10;
constexpr std::size_t kNew = 25;

/// Both planes in one directory, on files that fail.
struct Planes {
  std::string DataDir() const { return dir.path() + "/data"; }
  void Open() {
    kv::EngineOptions engine_options;
    engine_options.data_dir = DataDir();
    engine_options.file_system = faults->file_system();
    engine_options.free_space_floor_bytes = 0;
    auto started = kv::Engine::Open(engine_options);
    ASSERT_TRUE(started.ok()) << started.error().ToString();
    engine = *std::move(started);
    catalog = std::make_unique<KvCatalog>(engine.get());
    StoreOptions options;
    options.data_dir = DataDir();
    options.files = faults->file_system();
    auto opened = Store::Open(options, catalog.get());
    ASSERT_TRUE(opened.ok()) << opened.error().ToString();
    store = *std::move(opened);
  }
  void Close() {
    store.reset();
    catalog.reset();
    engine.reset();
  }
  std::set<std::string> Names(const std::string& folder) const {
    const auto names = storage::ListDirectory(nullptr, DataDir() + "/" + folder);
    EXPECT_TRUE(names.ok()) << names.error().ToString();
    return {names->begin(), names->end()};
  }

  TestDir dir;
  const std::shared_ptr<FaultFileSystem> faults = FaultFileSystem::Create();
  std::unique_ptr<kv::Engine> engine;
  std::unique_ptr<KvCatalog> catalog;
  std::unique_ptr<Store> store;
};

class CatalogFault : public ::testing::Test {
 protected:
  CatalogFault() { testing::Write(&source_, {.id = "S", .grants = static_cast<int>(kNew)}); }

  void Prepare(Planes* planes) {
    ASSERT_NO_FATAL_FAILURE(planes->Open());
    auto writer = SyncWriter::Begin(planes->store.get(), testing::RunOf({.id = "S"}), "test");
    ASSERT_TRUE(writer.ok()) << writer.error().ToString();
    for (std::size_t i = 0; i < kOld; ++i) testing::PutGrant(writer->get(), "g", std::to_string(i), 5, "x");
    ASSERT_TRUE((*writer)->Seal(2000, "seal").ok());
  }
  Status Act(Planes* planes) { return ReplaceSync(planes->store.get(), source_.store.get(), "S").error(); }

  /// The operations on the log that replacing the sync takes; the last one is the switch's.
  std::uint64_t CountOf(Operation operation) {
    Planes planes;
    Prepare(&planes);
    std::atomic<std::uint64_t> count{0};
    planes.faults->SetObserver([&](Operation each, FaultFileSystem::Moment moment, const std::string& path) {
      if (each == operation && moment == FaultFileSystem::Moment::kBefore && path.ends_with(".log")) ++count;
    });
    EXPECT_TRUE(Act(&planes).ok());
    planes.faults->SetObserver(nullptr);
    return count;
  }

  /// Opened again: S is old or new, whole, and nothing is there that nothing refers to. How many records it has.
  static std::size_t Settle(Planes* planes) {
    planes->Open();
    if (HasFatalFailure()) return 0;
    const auto entry = planes->store->Get("S");
    EXPECT_TRUE(entry.ok()) << entry.error().ToString();
    if (!entry.ok()) return 0;
    std::set<std::string> referenced;
    for (const HistoryEntry& each : entry->history) {
      referenced.insert(each.generation);
      const auto generation = planes->store->OpenGeneration(each.generation);
      EXPECT_TRUE(generation.ok()) << generation.error().ToString();
      if (!generation.ok()) continue;
      const auto report = VerifyGeneration(**generation, planes->dir.path());
      EXPECT_TRUE(report.ok() && report->ok());
    }
    EXPECT_EQ(planes->Names("generations"), referenced);
    EXPECT_TRUE(planes->Names("staging").empty());
    EXPECT_TRUE(planes->Names("trash").empty());
    const auto rows = planes->catalog->List(kGenerationPrefix);
    EXPECT_TRUE(rows.ok() && rows->size() == referenced.size());
    const auto generation = planes->store->OpenSync("S");
    return generation.ok() ? (*generation)->info().records() : 0;
  }

  TestStore source_;
};

TEST_F(CatalogFault, ASwitchThatMayHaveHappenedLeavesOldOrNewWhole) {
  std::set<std::size_t> outcomes;
  for (const Operation operation : {Operation::kAppend, Operation::kSync}) {
    const std::uint64_t count = CountOf(operation);
    ASSERT_GE(count, 2u);
    // What came before the switch fails as well: registering. Then nothing may have happened.
    for (std::uint64_t nth = 1; nth <= count; ++nth) {
      for (const bool power_loss : {false, true}) {
        SCOPED_TRACE("operation " + std::to_string(static_cast<int>(operation)) + " number " + std::to_string(nth) + " of " +
                     std::to_string(count) + (power_loss ? ", then power loss" : ""));
        Planes planes;
        ASSERT_NO_FATAL_FAILURE(Prepare(&planes));
        FaultFileSystem::Fault fault;
        fault.operation = operation;
        fault.name_contains = ".log";
        fault.nth = nth;
        planes.faults->Inject(fault);
        const Status acted = Act(&planes);
        ASSERT_FALSE(acted.ok());
        EXPECT_GT(planes.faults->faults(), 0u);
        if (nth == count) {
          EXPECT_TRUE(acted.maybe_applied()) << acted.ToString();
          // Nobody knows which one will be pointed at, so both stay.
          planes.store->Sweep().error().IgnoreError("nothing can be written any more");
          EXPECT_EQ(planes.Names("generations").size(), 2u);
        }
        planes.Close();
        planes.faults->ClearFault();
        if (power_loss) {
          planes.faults->CutPower();
          planes.faults->DropUnsynced(FaultFileSystem::Leftover::kNothing);
        }
        const std::size_t records = Settle(&planes);
        if (HasFatalFailure()) return;
        EXPECT_TRUE(records == kOld || (records == kNew && nth == count)) << records << " records";
        if (nth == count) outcomes.insert(records);
        // It can be done again, and then it is new.
        const Status again = Act(&planes);
        EXPECT_TRUE(again.ok()) << again.ToString();
        planes.Close();
        EXPECT_EQ(Settle(&planes), kNew);
        if (HasFailure()) return;
      }
    }
  }
  EXPECT_EQ(outcomes, (std::set<std::size_t>{kOld, kNew})) << "one of the two was never seen";
}

}  // namespace
}  // namespace vellum::sync
