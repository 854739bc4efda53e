#include "kv/hash.h"

#include <gtest/gtest.h>

#include "base/bytes.h"
#include "base/crc32c.h"
#include "base/test_random.h"
#include "kv/test_store.h"

namespace vellum::kv {
namespace {

using Put = TestStore::Put;
using Delete = TestStore::Delete;

std::uint32_t Hash(TestStore& store, Revision revision, Revision want_compacted) {
  const auto view = store.Publish();
  const auto result = HashKeyValues(*view, revision);
  EXPECT_TRUE(result.ok()) << result.error().ToString();
  if (!result.ok()) return 0;
  EXPECT_EQ(result->compact_revision, want_compacted);
  EXPECT_EQ(result->hash_revision, revision == 0 ? store.revision() : revision);
  for (const std::size_t records_max : {2, 3, 5}) {
    const auto in_passes = HashKeyValuesInPasses(*view, revision, records_max, nullptr);
    EXPECT_TRUE(in_passes.ok()) << in_passes.error().ToString();
    if (in_passes.ok()) {
      EXPECT_EQ(in_passes->hash, result->hash);
    }
  }
  return result->hash;
}

void FillStore1(TestStore* store) {
  store->ApplyPut("a", "1");
  store->ApplyPut("a", "2");
  store->ApplyPut("b", "x");
  store->ApplyDelete("a");
  store->ApplyPut("c", "y", 0x2040a1f7ee437509);
}

TEST(KvHash, Store1) {
  TestStore store;
  FillStore1(&store);
  EXPECT_EQ(Hash(store, 6, kNeverCompacted), 1573597862u);
  EXPECT_EQ(Hash(store, 0, kNeverCompacted), 1573597862u);
  EXPECT_EQ(Hash(store, -1, kNeverCompacted), 1084519789u);
  EXPECT_EQ(Hash(store, 4, kNeverCompacted), 1523780942u);
  store.Compact(4);
  for (int round = 0; round < 2; ++round) {
    EXPECT_EQ(Hash(store, 6, 4), 1167642316u);
    EXPECT_EQ(Hash(store, 5, 4), 3373979763u);
    EXPECT_EQ(Hash(store, -1, 4), 1084519789u);
    store.Reclaim();
  }
  store.Compact(5);
  for (int round = 0; round < 2; ++round) {
    EXPECT_EQ(Hash(store, 6, 5), 270815502u);
    store.Reclaim();
  }
  const auto view = store.Publish();
  EXPECT_EQ(HashKeyValues(*view, 4).error().reason(), Reason::kCompacted);
  EXPECT_EQ(HashKeyValues(*view, 7).error().reason(), Reason::kFutureRevision);
}

TEST(KvHash, Store2WithSeveralChangesPerRevision) {
  TestStore store;
  const Delete everything{KeyInterval{"a", std::nullopt}};
  store.ApplyPut("a", "0");
  store.Apply({Put{"a", "1"}, everything});
  store.ApplyPut("a", "2");
  store.Apply({everything, Put{"a", "4"}, everything});
  store.Apply({Put{"a", "5"}, everything});
  EXPECT_EQ(Hash(store, 1, kNeverCompacted), 1084519789u);
  EXPECT_EQ(Hash(store, 2, kNeverCompacted), 1750265556u);
  EXPECT_EQ(Hash(store, 6, kNeverCompacted), 3340427521u);
  store.Compact(4);
  EXPECT_EQ(Hash(store, 5, 4), 2401627110u);
  EXPECT_EQ(Hash(store, 6, 4), 3340427521u);
}

/// The recipe, on everything that ever happened.
std::uint32_t Recipe(const TestStore& store, Revision revision, Revision compacted) {
  std::uint32_t crc = Crc32c("key");
  const auto& live = store.StateAt(revision);
  for (Revision main = 2; main <= revision; ++main) {
    const auto& events = store.EventsAt(main);
    for (std::size_t sub = 0; sub < events.size(); ++sub) {
      const Event& event = events[sub];
      const bool tombstone = event.type == EventType::kDelete;
      if (main <= compacted && !live.empty()) {
        const auto kept = live.find(event.kv.key);
        if (tombstone || kept == live.end() || kept->second != event.kv) continue;
      }
      if (tombstone && main == compacted) continue;
      std::string bytes;
      AppendBe64(&bytes, static_cast<std::uint64_t>(main));
      bytes.push_back('_');
      AppendBe64(&bytes, sub);
      if (tombstone) bytes.push_back('t');
      const auto number = [&bytes](char tag, std::uint64_t value) {
        if (value == 0) return;
        bytes.push_back(tag);
        AppendVarint(&bytes, value);
      };
      number('\x0A', event.kv.key.size());
      bytes += event.kv.key;
      if (!tombstone) {
        number('\x10', static_cast<std::uint64_t>(event.kv.create_revision));
        number('\x18', static_cast<std::uint64_t>(event.kv.mod_revision));
        number('\x20', static_cast<std::uint64_t>(event.kv.version));
        number('\x2A', event.kv.value.size());
        bytes += event.kv.value;
        number('\x30', static_cast<std::uint64_t>(event.kv.lease));
      }
      crc = ExtendCrc32c(crc, bytes);
    }
  }
  return crc;
}

TEST(KvHash, WhereNothingLivesAllButATombstoneAtCCounts) {
  TestStore store;
  store.ApplyPut("a", "1");
  store.ApplyPut("a", "2");
  store.ApplyDelete("a");
  store.ApplyPut("b", "1");
  store.ApplyDelete("b");
  for (const Revision compacted : {2, 4, 5, 6}) {
    store.Compact(compacted);
    for (const Revision revision : {4, 6}) {
      if (revision >= compacted) {
        EXPECT_EQ(Hash(store, revision, compacted), Recipe(store, revision, compacted));
      }
    }
  }
  // How much is still there is nobody's promise, but it must be an answer.
  store.Reclaim();
  EXPECT_NE(Hash(store, 6, 6), 0u);
}

TEST(KvHash, FollowsTheRecipeAtEveryRevisionInAnyNumberOfPasses) {
  auto random = SeededRandom();
  TestStore store;
  store.ApplyPut("stays", "so that something lives");
  for (int step = 0; step < 120; ++step) {
    std::vector<TestStore::Change> changes;
    const std::string key(1 + random() % 2, "\0ab"[random() % 3]), other(1, "\0ab"[random() % 3]);
    if (random() % 3 == 0) changes.push_back(Delete{KeyInterval::SingleKey(key)});
    if (random() % 4 != 0) changes.push_back(Put{key, std::string(random() % 3, 'v'), static_cast<LeaseId>(random() % 2)});
    if (random() % 3 == 0) changes.push_back(Put{other + "x", "v", -7});
    if (random() % 4 == 0) changes.push_back(Delete{{key, other}});
    store.Apply(changes);
    if (random() % 30 == 0) store.Compact(std::max<Revision>(store.mark().published, store.revision() - 15));
    if (random() % 40 == 0) store.Reclaim();
    if (step % 6 != 0) continue;
    const Revision compacted = store.mark().published;
    const Revision least = std::max<Revision>(compacted, 2);
    for (const Revision revision :
         {store.revision(), least,
          least + static_cast<Revision>(random() % static_cast<std::uint64_t>(store.revision() - least + 1))}) {
      ASSERT_EQ(Hash(store, revision, compacted), Recipe(store, revision, compacted))
          << "revision " << revision << " of " << store.revision() << ", compacted " << compacted;
    }
  }
}

TEST(KvHash, LostRowsAreDataLoss) {
  TestStore store;
  FillStore1(&store);
  storage::Batch batch;
  batch.Delete(kHistory, HistoryKey("a", 2));
  ASSERT_TRUE(store.database().Write(std::move(batch)).ok());
  EXPECT_EQ(HashKeyValues(*store.Publish(), 0).error().code(), Code::kDataLoss);

  TestStore other;
  FillStore1(&other);
  batch.Delete(kRev, RevKey(4, 0));
  ASSERT_TRUE(other.database().Write(std::move(batch)).ok());
  EXPECT_EQ(HashKeyValues(*other.Publish(), 0).error().code(), Code::kDataLoss);
}

TEST(KvHash, CanBeCancelled) {
  TestStore store;
  std::vector<TestStore::Change> changes;
  for (int i = 0; i < 1000; ++i) changes.push_back(Put{"k" + std::to_string(i), "v"});
  store.Apply(changes);
  const CancelFlag cancel{true};
  EXPECT_EQ(HashKeyValues(*store.Publish(), 0, &cancel).error().code(), Code::kCancelled);
}

}  // namespace
}  // namespace vellum::kv
