// What fails, and what power loss takes away, while syncs change: each sync stays wholly as it was or becomes wholly what it
// was to become, nothing stays behind, and the act can be done again.
//
// By default a few places per scene and kind of operation, others in each run; VELLUM_TEST_SCALE times as many, from 100 on
// all of them.
#include <gtest/gtest.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <random>

#include "base/test_dir.h"
#include "base/test_random.h"
#include "scenes.h"

namespace vellum::sync {
namespace {

namespace fs = std::filesystem;
using storage::FaultFileSystem;
using Operation = FaultFileSystem::Operation;

/// A catalog on the same power: what was committed stays, and without power nothing is.
class PoweredCatalog final : public Catalog {
 public:
  PoweredCatalog(MemoryCatalog* target, const FaultFileSystem* power) : target_(target), power_(power) {}

  Result<std::optional<Row>> Get(std::string_view key) const override { return target_->Get(key); }
  Result<std::vector<Row>> List(std::string_view prefix) const override { return target_->List(prefix); }
  Status Commit(const Change& change) override {
    return power_->power_is_cut() ? Unavailable("power is off") : target_->Commit(change);
  }
  Result<LeaseId> GrantLease(std::int64_t ttl_s) override { return target_->GrantLease(ttl_s); }
  Result<bool> RenewLease(LeaseId id) override { return target_->RenewLease(id); }
  Status RevokeLease(LeaseId id) override {
    return power_->power_is_cut() ? Unavailable("power is off") : target_->RevokeLease(id);
  }

 private:
  MemoryCatalog* const target_;
  const FaultFileSystem* const power_;
};

/// A world in a directory of its own, made from another one's directory and rows.
class Life {
 public:
  explicit Life(const Life* from = nullptr) {
    world_.directory = dir_.path() + "/data";
    fs::create_directories(world_.directory);
    world_.faults = FaultFileSystem::Create();
    catalog_ = std::make_unique<PoweredCatalog>(&rows_, world_.faults.get());
    world_.catalog = catalog_.get();
    if (from == nullptr) return;
    fs::copy(from->world_.directory, world_.directory, fs::copy_options::recursive);
    Catalog::Change change;
    const auto rows = from->rows_.List("/");
    for (const Catalog::Row& row : *rows) {
      if (row.lease == 0) change.put.push_back({row.key, row.value, 0});
    }
    EXPECT_TRUE(rows_.Commit(change).ok());
  }

  World* world() { return &world_; }
  FaultFileSystem& faults() { return *world_.faults; }

 private:
  const TestDir dir_;
  MemoryCatalog rows_;
  std::unique_ptr<PoweredCatalog> catalog_;
  World world_;
};

double Scale() {
  const char* const scale = std::getenv("VELLUM_TEST_SCALE");
  return scale == nullptr ? 1 : std::atof(scale);
}

class SyncFault : public testing::TestWithParam<const Scene*> {
 protected:
  const Scene& scene() const { return *GetParam(); }

  void SetUp() override {
    Make(&before_, scene().prepare, &states_);
    if (HasFatalFailure()) return;
    Life after(&before_);
    ASSERT_TRUE(after.world()->Open().ok());
    for (int each = 0; each < FaultFileSystem::kOperationCount; ++each) {
      counts_[static_cast<std::size_t>(each)] = after.faults().count(static_cast<Operation>(each));
    }
    const Status acted = scene().act(after.world());
    ASSERT_TRUE(acted.ok()) << acted.ToString();
    for (int each = 0; each < FaultFileSystem::kOperationCount; ++each) {
      auto& count = counts_[static_cast<std::size_t>(each)];
      count = after.faults().count(static_cast<Operation>(each)) - count;
    }
    Settle(&after, &states_);
    for (const auto& between : scene().between) {
      Life life(&before_);
      Make(&life, between, &states_);
    }
    allowed_ = AllowedBy(states_);
  }

  /// Opens, does it, opens again, and files how things stand then.
  static void Make(Life* life, const std::function<Status(World*)>& what, std::vector<Described>* states) {
    ASSERT_TRUE(life->world()->Open().ok());
    const Status done = what(life->world());
    ASSERT_TRUE(done.ok()) << done.ToString();
    Settle(life, states);
  }
  static void Settle(Life* life, std::vector<Described>* states) {
    life->faults().ClearFault();
    const Status opened = life->world()->Open();
    ASSERT_TRUE(opened.ok()) << opened.ToString();
    const auto state = Describe(life->world());
    ASSERT_TRUE(state.ok()) << state.error().ToString();
    states->push_back(*state);
    life->world()->store.reset();
  }

  void ExpectAllowed(Life* life, const Allowed& allowed) {
    const auto state = Describe(life->world());
    ASSERT_TRUE(state.ok()) << state.error().ToString();
    EXPECT_EQ(Compare(*state, allowed), "");
  }
  /// After a stop: opened anew it is in order, and the act leads where it always leads.
  void ExpectRecovers(Life* life) {
    const Status opened = life->world()->Open();
    ASSERT_TRUE(opened.ok()) << opened.ToString();
    ASSERT_NO_FATAL_FAILURE(ExpectAllowed(life, allowed_));
    ExpectTidy(life);
    const Status again = scene().act(life->world());
    ASSERT_TRUE(again.ok()) << again.ToString();
    ASSERT_TRUE(life->world()->store->Sweep().ok());
    ASSERT_NO_FATAL_FAILURE(ExpectAllowed(life, AllowedBy({states_[1]})));
    ExpectTidy(life);
    EXPECT_TRUE(life->faults().violations().empty()) << life->faults().violations().front();
  }
  static void ExpectTidy(Life* life) {
    const auto left = LeftBehind(life->world());
    ASSERT_TRUE(left.ok()) << left.error().ToString();
    EXPECT_TRUE(left->empty()) << left->front();
  }

  /// Which of `count` operations to stop at, from 1.
  std::vector<std::uint64_t> Places(std::uint64_t count, std::size_t some) {
    std::vector<std::uint64_t> places(count);
    for (std::uint64_t i = 0; i < count; ++i) places[i] = i + 1;
    const auto wanted = static_cast<std::size_t>(static_cast<double>(some) * std::max(1.0, Scale()));
    if (Scale() >= 100 || count <= wanted) return places;
    std::shuffle(places.begin(), places.end(), random_);
    places.resize(wanted);
    std::sort(places.begin(), places.end());
    return places;
  }

  void FailAt(const FaultFileSystem::Fault& fault) {
    SCOPED_TRACE("operation " + std::to_string(static_cast<int>(fault.operation)) + " number " + std::to_string(fault.nth) +
                 (fault.forever ? " and later" : " only") + (fault.no_space ? ", no space" : ""));
    Life life(&before_);
    ASSERT_TRUE(life.world()->Open().ok());
    life.faults().Inject(fault);
    const Status acted = scene().act(life.world());
    life.faults().ClearFault();
    if (!acted.ok() && fault.no_space) {
      EXPECT_EQ(acted.code(), Code::kResourceExhausted) << acted.ToString();
    }
    // The store goes on: what can be read is in order, and the next attempt succeeds.
    ASSERT_NO_FATAL_FAILURE(ExpectAllowed(&life, allowed_)) << acted.ToString();
    if (!fault.forever) {
      const Status again = scene().act(life.world());
      ASSERT_TRUE(again.ok()) << again.ToString();
      ASSERT_NO_FATAL_FAILURE(ExpectAllowed(&life, AllowedBy({states_[1]})));
    }
    ExpectRecovers(&life);
  }

  Life before_;
  std::vector<Described> states_;  // before, after, between
  Allowed allowed_;
  std::array<std::uint64_t, FaultFileSystem::kOperationCount> counts_{};
  std::mt19937_64 random_ = SeededRandom();
};

TEST_P(SyncFault, AnyOperationFails) {
  std::uint64_t played = 0;
  for (int each = 0; each < FaultFileSystem::kOperationCount; ++each) {
    FaultFileSystem::Fault fault;
    fault.operation = static_cast<Operation>(each);
    for (const std::uint64_t nth : Places(counts_[static_cast<std::size_t>(each)], 2)) {
      fault.nth = nth;
      fault.forever = random_() % 2 == 0;
      // Only what needs room runs out of it.
      const bool needs_room = fault.operation != Operation::kRead && fault.operation != Operation::kDelete;
      fault.no_space = needs_room && random_() % 2 == 0;
      fault.half_done = random_() % 2 == 0;
      FailAt(fault);
      if (HasFatalFailure()) return;
      ++played;
    }
  }
  RecordProperty("places", static_cast<int>(played));
  EXPECT_GT(played, scene().name == "rollback" ? 0u : 3u);
}

TEST_P(SyncFault, PowerIsCutAtAnySync) {
  const std::uint64_t syncs = counts_[static_cast<std::size_t>(Operation::kSync)];
  // The last place is behind all syncs: power fails when the act is done.
  for (const std::uint64_t nth : Places(syncs + 1, 5)) {
    SCOPED_TRACE("sync number " + std::to_string(nth) + " of " + std::to_string(syncs));
    Life life(&before_);
    ASSERT_TRUE(life.world()->Open().ok());
    life.faults().CutPowerAtSync(nth);
    const Status acted = scene().act(life.world());
    const bool finished = acted.ok();
    life.faults().CutPower();
    life.world()->store.reset();
    const auto leftover = static_cast<FaultFileSystem::Leftover>(random_() % 3);
    SCOPED_TRACE("leftover " + std::to_string(static_cast<int>(leftover)));
    life.faults().DropUnsynced(leftover, random_());
    if (finished) {
      ASSERT_TRUE(life.world()->Open().ok());
      ASSERT_NO_FATAL_FAILURE(ExpectAllowed(&life, AllowedBy({states_[1]})));
    }
    ExpectRecovers(&life);
    if (HasFatalFailure()) return;
  }
}

/// Whatever a store's directory holds was made through its file system: nothing goes past the faults.
TEST_P(SyncFault, NothingGoesPastTheFileSystem) {
  Life life;
  ASSERT_TRUE(life.world()->Open().ok());
  ASSERT_TRUE(scene().prepare(life.world()).ok());
  ASSERT_TRUE(scene().act(life.world()).ok());
  std::size_t seen = 0;
  for (const auto& file : fs::recursive_directory_iterator(life.world()->directory)) {
    if (file.path().filename() == "LOCK") continue;  // RocksDB's own way, and empty
    EXPECT_TRUE(life.faults().Made(file.path().string())) << file.path();
    ++seen;
  }
  EXPECT_GT(seen, 3u);
  EXPECT_TRUE(life.faults().violations().empty());
}

std::vector<const Scene*> ScenePointers() {
  std::vector<const Scene*> all;
  // Copies are made when linking fails, so that one is a fault already.
  for (const Scene& scene : Scenes()) {
    if (scene.name != "replace by copies") all.push_back(&scene);
  }
  return all;
}

std::string TestName(const testing::TestParamInfo<const Scene*>& scene) {
  std::string name = scene.param->name;
  std::replace(name.begin(), name.end(), ' ', '_');
  return name;
}

INSTANTIATE_TEST_SUITE_P(Scenes, SyncFault, testing::ValuesIn(ScenePointers()), TestName);

}  // namespace
}  // namespace vellum::sync
