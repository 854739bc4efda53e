// Random lives of a store against plain maps: whatever is written, merged, folded, replaced, rolled back, deleted and swept,
// by whatever split of the work, each sync holds what the rules say, and its indexes are what a rebuild would make.
#include <gtest/gtest.h>

#include <cstdlib>
#include <set>
#include <utility>

#include "base/test_dir.h"
#include "base/test_random.h"
#include "storage/fault_file_system.h"
#include "sync/memory_catalog.h"
#include "sync/operations.h"
#include "sync/test_model.h"

namespace vellum::sync {
namespace {

double Scale() {
  const char* const scale = std::getenv("VELLUM_TEST_SCALE");
  return scale == nullptr ? 1 : std::max(1.0, std::atof(scale));
}

/// What the catalog says of a sync, and what it holds.
struct Expected {
  std::string type;
  Stamp started_at = 0;
  Stamp ended_at = 0;
  Model model;
};

class Life {
 public:
  explicit Life(std::mt19937_64* random) : random_(*random), draws_(random) {
    Reopen();
    auto opened = Store::Open(Options(other_dir_.path()), &other_catalog_);
    EXPECT_TRUE(opened.ok()) << opened.error().ToString();
    other_ = *std::move(opened);
  }

  /// One random act, and a look at what it changed.
  void Step() {
    const std::string id = "S" + std::to_string(random_() % 4);
    const bool known = expected_.contains(id);
    const auto act = random_() % 12;
    SCOPED_TRACE(id + ", act " + std::to_string(act));
    if (!known || act < 2) {
      Write(store_.get(), id, &expected_[id]);
    } else if (act < 8) {
      Merge(id);
    } else if (act == 8) {
      Write(other_.get(), id, &expected_[id]);
      const auto replaced = ReplaceSync(store_.get(), other_.get(), id);
      ASSERT_TRUE(replaced.ok()) << replaced.error().ToString();
    } else if (act == 9) {
      Rollback(id);
    } else if (act == 10) {
      ASSERT_TRUE(store_->Delete(id).ok());
      expected_.erase(id);
    } else {
      Reopen();
    }
    if (random_() % 3 == 0) {
      ASSERT_TRUE(store_->Sweep().ok());
    }
    Remember(id);
    Check(id);
  }

  void CheckAll() {
    const auto syncs = store_->List();
    ASSERT_TRUE(syncs.ok());
    EXPECT_EQ(syncs->size(), expected_.size());
    for (const auto& [id, each] : expected_) Check(id);
  }

  const std::set<std::string>& seen() const { return seen_; }

 private:
  StoreOptions Options(const std::string& directory) {
    StoreOptions options;
    options.data_dir = directory;
    options.threads = 1 + static_cast<int>(random_() % 4);
    options.memory_bytes = std::size_t{1} << (14 + random_() % 8);  // the least spills after a few records
    options.file_bytes = std::uint64_t{1} << (11 + random_() % 14);
    options.open_files_max = random_() % 2 ? 1 : 512;
    options.history_max = 3;
    options.files = storage::FaultFileSystem::Create()->file_system();  // waits for no disk
    return options;
  }

  void Reopen() {
    store_.reset();
    auto opened = Store::Open(Options(dir_.path()), &catalog_);
    ASSERT_TRUE(opened.ok()) << opened.error().ToString();
    store_ = *std::move(opened);
  }

  void Write(Store* store, const std::string& id, Expected* expected) {
    static const std::vector<std::string> kTypes = {"partial", "resources_only", "full", "partial_of_its_own"};
    *expected = {kTypes[random_() % kTypes.size()], random_() % 3, 10 + random_() % 5, {}};
    SyncRun run;
    run.id = id;
    run.type = expected->type;
    run.started_at = expected->started_at;
    auto writer = SyncWriter::Begin(store, run, "property", SyncWriter::IfExists::kReplace);
    ASSERT_TRUE(writer.ok()) << writer.error().ToString();
    for (auto records = random_() % 300; records > 0; --records) {
      const Fields fields = draws_.Identity();
      const Content content = draws_.Record(fields);
      const Status put = PutInto(writer->get(), fields, content);
      ASSERT_TRUE(put.ok()) << put.ToString();
      expected->model[fields] = content;  // the latest put of an identity wins
    }
    const auto sealed = (*writer)->Seal(expected->ended_at, "write");
    ASSERT_TRUE(sealed.ok()) << sealed.error().ToString();
  }

  void Merge(const std::string& dest) {
    MergeOptions options;
    options.strategy = static_cast<Strategy>(random_() % 3);
    options.ties = static_cast<Ties>(random_() % 2);
    options.fan_in_max = 2 + random_() % 3;
    std::vector<MergeSourceSync> sources;
    std::vector<const Expected*> wanted;
    for (auto count = random_() % 6; count > 0; --count) {
      const auto& [id, expected] = *std::next(expected_.begin(), static_cast<std::ptrdiff_t>(random_() % expected_.size()));
      if (id == dest) continue;
      // A source that is given twice counts where it is named first.
      sources.push_back({store_.get(), id});
      if (std::find(wanted.begin(), wanted.end(), &expected) == wanted.end()) wanted.push_back(&expected);
    }
    if (options.ties == Ties::kLast) std::reverse(wanted.begin(), wanted.end());
    Expected& into = expected_[dest];
    for (const Expected* source : wanted) {
      MergeModel(&into.model, source->model);
      into.type = Wider(into.type, source->type);
      into.ended_at = std::max(into.ended_at, source->ended_at);
      if (source->started_at != 0 && (into.started_at == 0 || source->started_at < into.started_at)) {
        into.started_at = source->started_at;
      }
    }
    const auto merged = MergeSyncs(store_.get(), sources, dest, options);
    ASSERT_TRUE(merged.ok()) << merged.error().ToString();
    seen_.insert(!merged->changed                             ? "unchanged"
                 : merged->strategy == Strategy::kFold        ? "fold"
                 : merged->why.find("overlays") != std::string::npos ? "rewrite"
                                                              : "merge");
  }

  static std::string Wider(const std::string& a, const std::string& b) {
    static const std::vector<std::string> kWidths = {"partial", "resources_only", "full"};
    const auto width = [](const std::string& type) {
      return std::find(kWidths.rbegin(), kWidths.rend(), type) == kWidths.rend()
                 ? 0
                 : 1 + (std::find(kWidths.begin(), kWidths.end(), type) - kWidths.begin());
    };
    return width(b) > width(a) ? b : a;
  }

  void Rollback(const std::string& id) {
    const auto entry = store_->Get(id);
    ASSERT_TRUE(entry.ok());
    const GenerationId target = entry->history[random_() % entry->history.size()].generation;
    const auto rolled = store_->Rollback(id, target);
    ASSERT_TRUE(rolled.ok()) << rolled.error().ToString();
    expected_[id].model = held_.at(target);
  }

  /// What each generation held when a sync pointed at it: it must hold that for ever.
  void Remember(const std::string& id) {
    const auto entry = store_->Get(id);
    if (!entry.ok()) return;
    const auto [known, is_new] = held_.emplace(entry->generation(), expected_[id].model);
    if (!is_new) {
      EXPECT_TRUE(known->second == expected_[id].model);
    }
  }

  void Check(const std::string& id) {
    const auto entry = store_->Find(id);
    ASSERT_TRUE(entry.ok());
    ASSERT_EQ(entry->has_value(), expected_.contains(id));
    if (!entry->has_value()) return;
    const Expected& expected = expected_[id];
    EXPECT_EQ((*entry)->run.type, expected.type);
    EXPECT_EQ((*entry)->run.started_at, expected.started_at);
    EXPECT_EQ((*entry)->run.ended_at, expected.ended_at);
    const auto generation = store_->OpenSync(id);
    ASSERT_TRUE(generation.ok()) << generation.error().ToString();
    ExpectHolds(**generation, expected.model);
    // Equal contents have equal digests, however they came about.
    const auto [known, is_new] = digests_.emplace(expected.model, (*generation)->info().Digest().ToHex());
    EXPECT_EQ(known->second, (*generation)->info().Digest().ToHex());
    if (digests_.size() > 50) digests_.erase(digests_.begin());
  }

  std::mt19937_64& random_;
  Draws draws_;
  const TestDir dir_;
  const TestDir other_dir_;
  MemoryCatalog catalog_;
  MemoryCatalog other_catalog_;
  std::unique_ptr<Store> store_;
  std::unique_ptr<Store> other_;
  std::map<std::string, Expected> expected_;
  std::map<GenerationId, Model> held_;
  std::map<Model, std::string> digests_;
  std::set<std::string> seen_;
};

TEST(SyncProperty, RandomLivesAgreeWithPlainMaps) {
  std::mt19937_64 random = SeededRandom();
  std::set<std::string> seen;
  for (int life = 0; life < static_cast<int>(3 * Scale()); ++life) {
    SCOPED_TRACE("life " + std::to_string(life));
    Life played(&random);
    for (int step = 0; step < 40; ++step) {
      SCOPED_TRACE("step " + std::to_string(step));
      played.Step();
      if (testing::Test::HasFailure()) return;
    }
    played.CheckAll();
    seen.insert(played.seen().begin(), played.seen().end());
  }
  // With this many draws it would be a wonder if one of the two were missing.
  for (const char* way : {"fold", "merge"}) EXPECT_TRUE(seen.contains(way)) << way;
}

/// However the work is split, the bytes are the same: in threads, runs, files, rounds.
TEST(SyncProperty, AnySplitOfTheWorkGivesTheSameDigestAndIndexes) {
  std::mt19937_64 random = SeededRandom();
  std::string first;
  for (const Strategy strategy : {Strategy::kMerge, Strategy::kFold}) {
    for (const int threads : {1, 4}) {
      for (const std::size_t memory_bytes : {std::size_t{16} << 10, std::size_t{64} << 20}) {
        for (const std::size_t fan_in_max : {2, 64}) {
          std::mt19937_64 same(7);
          Draws draws(&same);
          const TestDir dir;
          MemoryCatalog catalog;
          StoreOptions options;
          options.data_dir = dir.path();
          options.threads = threads;
          options.memory_bytes = memory_bytes;
          options.files = storage::FaultFileSystem::Create()->file_system();
          options.file_bytes = 1u << (12 + random() % 14);
          auto store = Store::Open(options, &catalog);
          ASSERT_TRUE(store.ok()) << store.error().ToString();
          std::vector<MergeSourceSync> sources;
          Model model;
          for (int i = 0; i < 5; ++i) {
            SyncRun run;
            run.id = std::to_string(i);
            run.type = "full";
            auto writer = SyncWriter::Begin(store->get(), run, "property");
            ASSERT_TRUE(writer.ok());
            Model each;
            for (int records = 0; records < (i == 0 ? 300 : 80); ++records) {
              const Fields fields = draws.Identity();
              each[fields] = draws.Record(fields);
              ASSERT_TRUE(PutInto(writer->get(), fields, each[fields]).ok());
            }
            ASSERT_TRUE((*writer)->Seal(9, "write").ok());
            if (i == 0) {
              model = each;
            } else {
              MergeModel(&model, each);
              sources.push_back({store->get(), run.id});
            }
          }
          MergeOptions merge;
          merge.strategy = strategy;
          merge.fan_in_max = fan_in_max;
          const auto merged = MergeSyncs(store->get(), sources, "0", merge);
          ASSERT_TRUE(merged.ok()) << merged.error().ToString();
          EXPECT_EQ(merged->strategy, strategy);
          ExpectHolds(*merged->generation, model);
          const std::string digest = merged->generation->info().Digest().ToHex();
          if (first.empty()) first = digest;
          EXPECT_EQ(digest, first);
        }
      }
    }
  }
}

}  // namespace
}  // namespace vellum::sync
