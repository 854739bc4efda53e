// The compaction contract, through the whole engine: its five tests under their names, and what they leave open.
#include <algorithm>
#include <atomic>
#include <random>
#include <thread>

#include "kv/engine_test_util.h"

namespace vellum::kv {
namespace {

class KvCompact : public EngineTest {
 protected:
  void PutMany(int count) {
    for (int i = 0; i < count; ++i) ASSERT_TRUE(Put("key" + std::to_string(i % 10), std::to_string(i)).ok());
  }
  std::string Exposed(const std::string& name) {
    const std::string text = engine_->metrics().Expose();
    const std::size_t at = text.find("\n" + name);
    return at == std::string::npos ? "" : text.substr(at + 1, text.find('\n', at + 1) - at - 1);
  }
};

TEST_F(KvCompact, Basic) {
  PutMany(99);
  ASSERT_EQ(revision(), 100);
  const auto result = Compact(50);
  ASSERT_TRUE(result.ok()) << result.error().ToString();
  EXPECT_EQ(result->revision, 100);
  EXPECT_EQ(engine_->GetInfo().compacted, 50);
  EXPECT_EQ(revision(), 100);
  const Status below = Range({.key = "key1", .revision = 49}).error();
  EXPECT_EQ(below.reason(), Reason::kCompacted);
  EXPECT_NE(below.message().find("required revision has been compacted"), std::string::npos);
  EXPECT_TRUE(Range({.key = "key1", .revision = 50}).ok());

  const auto starts = lines_.Starting("Starting compact: ");
  ASSERT_EQ(starts.size(), 1u);
  EXPECT_EQ(starts[0], "Starting compact: target=50, current=100, lastCompacted=0");
  const auto ends = lines_.Starting("Compact completed: revision=50, duration=");
  ASSERT_EQ(ends.size(), 1u);
  EXPECT_TRUE(ends[0].ends_with("ms, cleanedLeases=0")) << ends[0];

  EXPECT_EQ(Exposed("storage_compacted_revision{"), "storage_compacted_revision{node=\"default\"} 50");
  EXPECT_TRUE(Exposed("storage_compact_duration_seconds{").starts_with("storage_compact_duration_seconds{revision=\"50\"} "));
  EXPECT_EQ(Exposed("vellum_compaction_duration_seconds_count"), "vellum_compaction_duration_seconds_count 1");

  Open();
  EXPECT_EQ(engine_->GetInfo().compacted, 50);
  EXPECT_EQ(Range({.key = "key1", .revision = 49}).error().reason(), Reason::kCompacted);
}

TEST_F(KvCompact, Validation) {
  PutMany(99);
  EXPECT_EQ(Compact(0).error().message(), "invalid compact revision: 0");
  EXPECT_EQ(Compact(0).error().code(), Code::kInvalidArgument);
  EXPECT_EQ(Compact(-7).error().message(), "invalid compact revision: -7");
  EXPECT_EQ(Compact(300).error().message(), "cannot compact to future revision 300 (current: 100)");
  EXPECT_EQ(Compact(300).error().code(), Code::kOutOfRange);
  EXPECT_EQ(Compact(300).error().reason(), Reason::kFutureRevision);
  ASSERT_TRUE(Compact(60).ok());
  EXPECT_EQ(Compact(50).error().message(), "already compacted to revision 60 (requested: 50)");
  EXPECT_EQ(Compact(60).error().message(), "already compacted to revision 60 (requested: 60)");
  EXPECT_EQ(Compact(50).error().code(), Code::kOutOfRange);
  EXPECT_EQ(Compact(50).error().reason(), Reason::kCompacted);
  EXPECT_TRUE(Compact(100).ok());
  EXPECT_EQ(lines_.Starting("Starting compact: ").size(), 2u);  // what is refused leaves no line
}

TEST_F(KvCompact, ExpiredLeases) {
  options_.lease_tick = std::chrono::hours(1000);  // the lessor's own round stays out of it
  Open();
  ASSERT_TRUE(Do(LeaseGrantCommand{1, 10}).ok());
  ASSERT_TRUE(Do(LeaseGrantCommand{2, 10'000}).ok());
  ASSERT_TRUE(Put("short", "1", 1).ok());
  ASSERT_TRUE(Put("long", "1", 2).ok());
  clock_.Advance(std::chrono::seconds(20));
  ASSERT_TRUE(Compact(2).ok());
  EXPECT_EQ(Exposed("storage_compact_leases_cleaned_total"), "storage_compact_leases_cleaned_total 1");
  const auto ends = lines_.Starting("Compact completed: ");
  ASSERT_EQ(ends.size(), 1u);
  EXPECT_TRUE(ends[0].ends_with(", cleanedLeases=1")) << ends[0];
  EXPECT_FALSE(engine_->lessor().TimeToLive(1).has_value());
  EXPECT_TRUE(engine_->lessor().TimeToLive(2).has_value());
  EXPECT_TRUE(Get("short").kvs.empty());
  EXPECT_EQ(Get("long").kvs.size(), 1u);
  EXPECT_EQ(revision(), 4);  // the expiry is a revision like any other
  Open();
  EXPECT_EQ(engine_->lessor().size(), 1u);
}

TEST_F(KvCompact, PhysicalCompaction) {
  std::mt19937 random(1);  // values that do not compress away
  const auto value = [&] {
    std::string bytes(1024, '\0');
    for (char& byte : bytes) byte = static_cast<char>(random());
    return bytes;
  };
  for (int i = 0; i < 1000; ++i) ASSERT_TRUE(Put("key" + std::to_string(i), value()).ok());
  for (int i = 0; i < 500; ++i) ASSERT_TRUE(Delete("key" + std::to_string(i)).ok());
  const storage::Database::Sizes before = engine_->GetInfo().sizes;
  EXPECT_GT(before.table_bytes + before.wal_bytes, 1'000'000u);
  const auto result = Compact(revision(), /*physical=*/true);
  ASSERT_TRUE(result.ok()) << result.error().ToString();
  const storage::Database::Sizes after = engine_->GetInfo().sizes;
  // 500 keys of 1 KiB are left; what 500 deleted ones took is back.
  EXPECT_LT(after.table_bytes + after.wal_bytes, 650'000u);
  EXPECT_EQ(engine_->GetInfo().keys, 500);
  EXPECT_TRUE(Get("key1").kvs.empty());
  EXPECT_EQ(Get("key700").kvs.size(), 1u);
  ASSERT_TRUE(Put("key1", "again").ok());
  EXPECT_EQ(Get("key1").kvs.at(0).version, 1);
  Open();
  EXPECT_EQ(engine_->GetInfo().keys, 501);
  EXPECT_EQ(Get("key1").kvs.at(0).value, "again");
}

TEST_F(KvCompact, Sequential) {
  PutMany(199);
  Revision last = 0;
  for (const Revision target : {50, 100, 150}) {
    ASSERT_TRUE(Compact(target).ok());
    EXPECT_EQ(engine_->GetInfo().compacted, target);
    EXPECT_EQ(lines_.Starting("Starting compact: target=" + std::to_string(target) + ", current=200, lastCompacted=" +
                              std::to_string(last)).size(), 1u);
    EXPECT_EQ(Range({.key = "key1", .revision = target - 1}).error().reason(), Reason::kCompacted);
    EXPECT_TRUE(Range({.key = "key1", .revision = target}).ok());
    last = target;
  }
  // Only the last one's duration is exposed.
  const std::string text = engine_->metrics().Expose();
  EXPECT_EQ(text.find("storage_compact_duration_seconds{revision=\"100\"}"), std::string::npos);
  EXPECT_NE(text.find("storage_compact_duration_seconds{revision=\"150\"}"), std::string::npos);
}

TEST_F(KvCompact, ReadsAtEveryRevisionStayWhatTheyWere) {
  PutMany(60);
  ASSERT_TRUE(Delete("key3").ok());
  ASSERT_TRUE(Delete("key5", "key8").ok());
  PutMany(20);
  const auto read_all = [&](Revision from) {
    std::vector<std::vector<KeyValue>> states;
    for (Revision r = from; r <= revision(); ++r) {
      auto response = Range({.key = "k", .range_end = "l", .revision = r});
      EXPECT_TRUE(response.ok()) << r << ": " << response.error().ToString();
      if (response.ok()) {
        EXPECT_EQ(response->count, static_cast<std::int64_t>(response->kvs.size()));
        states.push_back(std::move(response->kvs));
      }
    }
    return states;
  };
  for (const Revision target : {20, 62, 63, 70}) {
    const auto before = read_all(target);
    ASSERT_TRUE(Compact(target, /*physical=*/true).ok());
    EXPECT_EQ(read_all(target), before) << target;
    Open();
    EXPECT_EQ(read_all(target), before) << target << ", reopened";
  }
}

TEST_F(KvCompact, ReadersAndAWriterGoOnBesideIt) {
  PutMany(200);
  std::atomic<bool> stop{false};
  std::atomic<int> reads{0};
  std::vector<std::thread> readers;
  for (int r = 0; r < 2; ++r) {
    readers.emplace_back([&, r] {
      std::mt19937 random(static_cast<unsigned>(r));
      while (!stop.load()) {
        const auto view = engine_->CurrentView();
        const Revision at = view->revision() - static_cast<Revision>(random() % 100);
        const auto response = ReadRange(*view, {.key = "k", .range_end = "l", .revision = at});
        // Each revision has all ten keys; a compacted one is refused, and never a part of one returned.
        if (response.ok()) {
          EXPECT_EQ(response->kvs.size(), 10u) << at;
          for (const KeyValue& kv : response->kvs) EXPECT_LE(kv.mod_revision, at);
        } else {
          EXPECT_EQ(response.error().reason(), Reason::kCompacted);
        }
        reads.fetch_add(1);
      }
    });
  }
  for (int round = 0; round < 6; ++round) {
    std::promise<Status> physical;
    engine_->Compact(revision() - 20, /*physical=*/true,
                     [&](const Result<CompactResult>& result) { physical.set_value(result.error()); });
    PutMany(60);
    EXPECT_TRUE(physical.get_future().get().ok());
  }
  stop.store(true);
  for (std::thread& reader : readers) reader.join();
  EXPECT_GT(reads.load(), 0);
}

TEST_F(KvCompact, HashesAreEtcdsBeforeAndAfter) {
  // Section by section the vectors that were taken from running etcd servers.
  ASSERT_TRUE(Put("a", "1").ok());
  ASSERT_TRUE(Put("a", "2").ok());
  ASSERT_TRUE(Put("b", "x").ok());
  ASSERT_TRUE(Delete("a").ok());
  constexpr LeaseId kLeaseOfVector = 0x2040a1f7ee437509;
  ASSERT_TRUE(Do(LeaseGrantCommand{kLeaseOfVector, 1000}).ok());
  ASSERT_TRUE(Put("c", "y", kLeaseOfVector).ok());
  const auto hash = [&](Revision at) {
    const auto result = HashKeyValues(*engine_->CurrentView(), at);
    EXPECT_TRUE(result.ok()) << result.error().ToString();
    return result.ok() ? result->hash : 0;
  };
  EXPECT_EQ(hash(0), 1573597862u);
  ASSERT_TRUE(Compact(4).ok());
  EXPECT_EQ(hash(6), 1167642316u);
  EXPECT_EQ(hash(5), 3373979763u);
  ASSERT_TRUE(Compact(5, /*physical=*/true).ok());
  EXPECT_EQ(hash(6), 270815502u);
  EXPECT_EQ(hash(-1), 1084519789u);
}

TEST_F(KvCompact, HashesOfSeveralChangesPerRevisionAreEtcds) {
  const std::string from_key(1, '\0');
  const TxnOp del{DeleteRangeRequest{.key = "a", .range_end = from_key}};
  const auto put = [](std::string value) { return TxnOp{PutRequest{.key = "a", .value = std::move(value)}}; };
  ASSERT_TRUE(Put("a", "0").ok());
  ASSERT_TRUE(Txn({put("1"), del}).ok());
  ASSERT_TRUE(Put("a", "2").ok());
  ASSERT_TRUE(Txn({del, put("4"), del}).ok());
  ASSERT_TRUE(Txn({put("5"), del}).ok());
  const auto hash = [&](Revision at) { return HashKeyValues(*engine_->CurrentView(), at)->hash; };
  EXPECT_EQ(hash(1), 1084519789u);
  EXPECT_EQ(hash(2), 1750265556u);
  EXPECT_EQ(hash(6), 3340427521u);
  ASSERT_TRUE(Compact(4).ok());
  EXPECT_EQ(hash(5), 2401627110u);
  EXPECT_EQ(hash(6), 3340427521u);
}

}  // namespace
}  // namespace vellum::kv
