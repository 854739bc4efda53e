#include "kv/count_tree.h"

#include <gtest/gtest.h>

#include <atomic>
#include <set>
#include <thread>

#include "base/bytes.h"
#include "base/mutex.h"
#include "base/test_dir.h"
#include "base/test_random.h"
#include "kv/count_ring.h"

namespace vellum::kv {
namespace {

using Keys = std::set<std::string, std::less<>>;

std::unique_ptr<storage::Database> OpenStore(const std::string& path) {
  storage::DatabaseOptions options;
  options.path = path;
  options.families = FamilyList({});
  options.block_cache_bytes = 8u << 20;
  auto opened = storage::Database::Open(options);
  EXPECT_TRUE(opened.ok()) << opened.error().ToString();
  return *std::move(opened);
}

CountTree::KeyLister ListerOf(const Keys& keys) {
  return [&keys](const KeyInterval& interval, const std::function<bool(std::string_view)>& visit) -> Status {
    for (auto key = keys.lower_bound(interval.begin); key != keys.end() && (!interval.end || *key < *interval.end);
         ++key) {
      if (!visit(*key)) break;
    }
    return {};
  };
}

std::int64_t CountIn(const Keys& keys, const KeyInterval& interval) {
  if (interval.empty()) return 0;
  const auto end = interval.end ? keys.lower_bound(*interval.end) : keys.end();
  return std::distance(keys.lower_bound(interval.begin), end);
}

std::int64_t Exact(const CountTree::Root& root, const Keys& keys, const KeyInterval& interval) {
  const auto estimate = CountTree::Split(root, interval);
  EXPECT_LE(estimate.partial.size(), 2u);
  std::int64_t count = estimate.whole;
  for (const auto& part : estimate.partial) count += CountIn(keys, part);
  return count;
}

/// A count tree and the keys that it should know of, changed side by side.
class Pair {
 public:
  explicit Pair(storage::Database* database) : database_(database), tree_(Load()) {}

  const Keys& keys() const { return keys_; }
  CountTree& tree() { return tree_; }

  void Insert(const std::string& key) {
    if (next_.insert(key).second) tree_.Add(key, +1);
  }
  void Erase(const std::string& key) {
    if (next_.erase(key) > 0) tree_.Add(key, -1);
  }
  void EraseRange(const KeyInterval& interval) {
    while (true) {
      const auto key = next_.lower_bound(interval.begin);
      if (key == next_.end() || (interval.end && *key >= *interval.end)) return;
      tree_.Add(*key, -1);
      next_.erase(key);
    }
  }
  void Save() {
    storage::Batch batch;
    const Status saved = tree_.Save(ListerOf(next_), &batch);
    ASSERT_TRUE(saved.ok()) << saved.ToString();
    const Status written = database_->Write(std::move(batch));
    ASSERT_TRUE(written.ok()) << written.ToString();
    keys_ = next_;
  }
  void Discard() {
    tree_.Discard();
    next_ = keys_;
  }
  void Reload() { tree_ = Load(); }

  /// Every leaf has exactly its keys, a sane size, and the stored rows say the same.
  void Check() {
    const auto leaves = CountTree::Leaves(tree_.root());
    ASSERT_EQ(CountTree::Total(tree_.root()), static_cast<std::int64_t>(keys_.size()));
    ASSERT_EQ(leaves.empty(), keys_.empty());
    auto rows = database_->NewIterator(kCount);
    rows.SeekToFirst();
    for (std::size_t i = 0; i < leaves.size(); ++i, rows.Next()) {
      KeyInterval leaf{leaves[i].first, std::nullopt};
      if (i + 1 < leaves.size()) leaf.end = leaves[i + 1].first;
      ASSERT_EQ(leaves[i].second, CountIn(keys_, leaf)) << "leaf " << i;
      ASSERT_GT(leaves[i].second, 0);
      ASSERT_LE(leaves[i].second, 2 * CountTree::kLeafTarget);
      ASSERT_TRUE(rows.valid());
      ASSERT_EQ(rows.key(), leaves[i].first);
      ASSERT_EQ(*DecodeLeafCount(rows.value()), leaves[i].second);
    }
    ASSERT_FALSE(rows.valid());
    if (!leaves.empty()) {
      ASSERT_EQ(leaves.front().first, "");
    }
    // Leaves are not so many that the tree would cost memory for nothing.
    ASSERT_LE(leaves.size(), 2 + keys_.size() / 16 * 2);
  }

 private:
  CountTree Load() {
    auto loaded = CountTree::Load(*database_);
    EXPECT_TRUE(loaded.ok()) << loaded.error().ToString();
    return *std::move(loaded);
  }

  storage::Database* const database_;
  CountTree tree_;
  Keys keys_;  ///< As saved.
  Keys next_;
};

std::string RandomKey(std::mt19937_64& random, int variety) {
  switch (random() % 3) {
    case 0: return std::string("/registry/pods/") + std::to_string(random() % static_cast<unsigned>(variety));
    case 1: return std::string("/registry/leases/a/") + std::to_string(random() % static_cast<unsigned>(variety));
    default: {
      std::string key;
      for (std::uint64_t size = 1 + random() % 4; size > 0; --size) {
        key.push_back("\0\1\x7f\xff" "ab"[random() % 6]);
      }
      return key;
    }
  }
}

KeyInterval RandomInterval(std::mt19937_64& random, int variety) {
  KeyInterval interval{random() % 8 == 0 ? "" : RandomKey(random, variety), std::nullopt};
  if (random() % 4 != 0) interval.end = RandomKey(random, variety);
  return interval;
}

TEST(KvCountTree, AgreesWithTheKeysWhateverHappens) {
  auto random = SeededRandom();
  TestDir dir;
  const auto database = OpenStore(dir.path());
  Pair pair(database.get());
  for (int step = 0; step < 400; ++step) {
    const int variety = 1 + static_cast<int>(random() % 6000);
    const bool large = random() % 8 == 0;
    for (std::uint64_t n = large ? random() % 3000 : random() % 5; n > 0; --n) {
      if (random() % 3 == 0) {
        pair.Erase(RandomKey(random, variety));
      } else {
        pair.Insert(RandomKey(random, variety));
      }
    }
    if (random() % 20 == 0) {
      pair.EraseRange(random() % 4 == 0 ? KeyInterval::Everything() : RandomInterval(random, variety));
    }
    if (random() % 6 == 0) {
      pair.Discard();
    } else {
      pair.Save();
    }
    if (random() % 10 == 0) pair.Reload();
    if (step % 4 == 0 || large) {
      ASSERT_NO_FATAL_FAILURE(pair.Check()) << "step " << step;
    }
    for (int i = 0; i < 5; ++i) {
      const KeyInterval interval = RandomInterval(random, variety);
      ASSERT_EQ(Exact(pair.tree().root(), pair.keys(), interval), CountIn(pair.keys(), interval))
          << Printable(interval.begin) << " .. " << Printable(interval.end.value_or("end"));
    }
  }
}

TEST(KvCountTree, OneBulkInsertMakesManyLeavesAndOneBulkDeleteNone) {
  TestDir dir;
  const auto database = OpenStore(dir.path());
  Pair pair(database.get());
  for (int i = 0; i < 20000; ++i) pair.Insert("key" + std::to_string(i));
  pair.Save();
  ASSERT_NO_FATAL_FAILURE(pair.Check());
  EXPECT_GT(CountTree::Leaves(pair.tree().root()).size(), 200u);
  pair.EraseRange({"key1", "key9"});
  pair.Save();
  ASSERT_NO_FATAL_FAILURE(pair.Check());
  pair.EraseRange(KeyInterval::Everything());
  pair.Save();
  ASSERT_NO_FATAL_FAILURE(pair.Check());
  EXPECT_EQ(pair.tree().total(), 0);
}

TEST(KvCountTree, DeepTreesGrowAndShrink) {
  auto random = SeededRandom();
  TestDir dir;
  const auto database = OpenStore(dir.path());
  Pair pair(database.get());
  const auto name = [](std::uint64_t number) { return "/a/" + std::to_string(number * 2654435761u % 1000003); };
  for (int step = 0; step < 5; ++step) {
    for (std::uint64_t i = 0; i < 12000; ++i) pair.Insert(name(random() % 1000000));
    for (int i = 0; i < 3; ++i) pair.EraseRange({name(random() % 1000000), name(random() % 1000000)});
    pair.Save();
    for (int i = 0; i < 50; ++i) {
      for (std::uint64_t n = random() % 4; n > 0; --n) pair.Insert(name(random() % 1000000));
      if (!pair.keys().empty()) pair.Erase(*pair.keys().begin());
      pair.Save();
      const KeyInterval interval{name(random() % 1000000), name(random() % 1000000)};
      ASSERT_EQ(Exact(pair.tree().root(), pair.keys(), interval), CountIn(pair.keys(), interval));
    }
    ASSERT_NO_FATAL_FAILURE(pair.Check()) << "step " << step;
    if (step % 2 == 1) pair.Reload();
  }
}

TEST(KvCountTree, WholeLeavesNeedNoScan) {
  TestDir dir;
  const auto database = OpenStore(dir.path());
  Pair pair(database.get());
  for (int i = 0; i < 1000; ++i) pair.Insert("key" + std::to_string(i));
  pair.Save();
  for (const auto& everything : {KeyInterval::Everything(), KeyInterval{std::string("\0", 1), std::nullopt}}) {
    const auto estimate = CountTree::Split(pair.tree().root(), everything);
    EXPECT_EQ(estimate.whole, 1000);
    EXPECT_TRUE(estimate.partial.empty());
  }
  const auto leaves = CountTree::Leaves(pair.tree().root());
  const auto estimate = CountTree::Split(pair.tree().root(), {leaves[1].first, leaves[3].first});
  EXPECT_EQ(estimate.whole, leaves[1].second + leaves[2].second);
  EXPECT_TRUE(estimate.partial.empty());
}

TEST(KvCountTree, TheFirstLeafBeginsBeforeAllKeysAlsoWhenItsKeysGo) {
  TestDir dir;
  const auto database = OpenStore(dir.path());
  Pair pair(database.get());
  for (int i = 0; i < 1000; ++i) pair.Insert("key" + std::to_string(i));
  pair.Save();
  for (const std::size_t gone : {1u, 3u}) {
    const auto leaves = CountTree::Leaves(pair.tree().root());
    pair.EraseRange({"", leaves[gone].first});
    pair.Save();
    ASSERT_NO_FATAL_FAILURE(pair.Check());
    pair.Reload();
  }
}

TEST(KvCountTree, AppendingKeysOneByOneStaysShallow) {
  TestDir dir;
  const auto database = OpenStore(dir.path());
  Pair pair(database.get());
  for (int i = 0; i < 3000; ++i) {
    pair.Insert("key" + std::to_string(100000 + i));
    if (i % 10 == 9) pair.Save();
  }
  ASSERT_NO_FATAL_FAILURE(pair.Check());
}

TEST(KvCountTree, OldRootsStayAsTheyWereWhileReadByOthers) {
  TestDir dir;
  const auto database = OpenStore(dir.path());
  Pair pair(database.get());
  for (int i = 0; i < 5000; ++i) pair.Insert("key" + std::to_string(i));
  pair.Save();
  const CountTree::Root before = pair.tree().root();
  const auto leaves_before = CountTree::Leaves(before);

  Mutex mu;
  CountTree::Root published = before;
  std::atomic<bool> stop{false};
  std::vector<std::thread> readers;
  for (int t = 0; t < 2; ++t) {
    readers.emplace_back([&] {
      do {
        CountTree::Root root;
        {
          MutexLock lock(&mu);
          root = published;
        }
        std::int64_t sum = 0;
        for (const auto& [bound, count] : CountTree::Leaves(root)) sum += count;
        EXPECT_EQ(sum, CountTree::Total(root));
      } while (!stop.load());
    });
  }
  for (int step = 0; step < 200; ++step) {
    for (int i = 0; i < 20; ++i) pair.Insert("new" + std::to_string(step * 20 + i));
    pair.Erase("key" + std::to_string(step * 7));
    pair.Save();
    MutexLock lock(&mu);
    published = pair.tree().root();
  }
  stop = true;
  for (auto& reader : readers) reader.join();
  EXPECT_EQ(CountTree::Leaves(before), leaves_before);
}

TEST(KvCountTree, RowsThatCannotBeAreDataLoss) {
  TestDir dir;
  const auto database = OpenStore(dir.path());
  storage::Batch batch;
  batch.Put(kCount, "m", EncodeLeafCount(5));
  ASSERT_TRUE(database->Write(std::move(batch)).ok());
  auto loaded = CountTree::Load(*database);
  ASSERT_FALSE(loaded.ok());
  EXPECT_EQ(loaded.error().code(), Code::kDataLoss);

  batch.Put(kCount, "", EncodeLeafCount(std::numeric_limits<std::int64_t>::max()));
  ASSERT_TRUE(database->Write(std::move(batch)).ok());
  EXPECT_EQ(CountTree::Load(*database).error().code(), Code::kDataLoss);
}

TEST(KvCountTree, AWrongLeafIsDataLossAndChangesNothing) {
  TestDir dir;
  const auto database = OpenStore(dir.path());
  storage::Batch batch;
  batch.Put(kCount, "", EncodeLeafCount(128));
  ASSERT_TRUE(database->Write(std::move(batch)).ok());
  auto tree = CountTree::Load(*database);
  ASSERT_TRUE(tree.ok());
  for (const char* const key : {"b", "c"}) tree->Add(key, 1);
  const Keys too_few = {"a", "b", "c"};
  storage::Batch unused;
  const Status saved = tree->Save(ListerOf(too_few), &unused);
  EXPECT_EQ(saved.code(), Code::kDataLoss) << saved.ToString();
  EXPECT_TRUE(unused.empty());
  tree->Discard();
  EXPECT_EQ(tree->total(), 128);
  for (int i = 0; i < 129; ++i) tree->Add("b", -1);
  EXPECT_EQ(tree->Save(ListerOf({}), &unused).code(), Code::kDataLoss);
}

TEST(KvCountRing, FindsTheFirstRootNotOlderAndDropsTheOldest) {
  TestDir dir;
  const auto database = OpenStore(dir.path());
  Pair pair(database.get());
  constexpr std::size_t kBytesMax = 16u << 10;
  CountRing ring(kBytesMax);
  EXPECT_FALSE(ring.Find(1).has_value());
  std::map<Revision, std::int64_t> totals;
  for (Revision revision = 2; revision <= 400; revision += 2) {
    for (int i = 0; i < 3; ++i) pair.Insert("key" + std::to_string(revision * 3 + i));
    pair.Save();
    totals[revision] = pair.tree().total();
    ring.Publish(revision, pair.tree().root());
    ring.Publish(revision, nullptr);  // a group without keys
    EXPECT_LE(ring.bytes(), kBytesMax);
  }
  EXPECT_FALSE(ring.Find(401).has_value());
  for (Revision revision = 390; revision <= 400; ++revision) {
    const auto found = ring.Find(revision);
    ASSERT_TRUE(found.has_value());
    EXPECT_EQ(found->revision, (revision + 1) / 2 * 2);
    EXPECT_EQ(CountTree::Total(found->root), totals[found->revision]);
  }
  const auto oldest = ring.Find(1);
  ASSERT_TRUE(oldest.has_value());
  EXPECT_GT(oldest->revision, 2);

  CountRing none(0);
  none.Publish(5, pair.tree().root());
  EXPECT_FALSE(none.Find(1).has_value());
}

}  // namespace
}  // namespace vellum::kv
