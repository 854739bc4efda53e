// Readers while syncs are switched under them.
#include <gtest/gtest.h>

#include <atomic>
#include <thread>

#include "base/test_dir.h"
#include "storage/fault_file_system.h"
#include "sync/codec.h"
#include "sync/memory_catalog.h"
#include "sync/operations.h"

namespace vellum::sync {
namespace {

constexpr int kResources = 12;
constexpr int kGrants = 60;

/// Every version has the same identities, so that whatever makes a version of another one leaves nothing of the other.
/// Its number is the stamp and the parent of every resource: it can be seen in records and in indexes.
Status PutVersion(RecordSink* sink, Stamp version) {
  const std::string number = std::to_string(version);
  std::string message = "\x12";
  message += static_cast<char>(number.size() + 7);
  message += "\x0a\x03org\x12";
  message += static_cast<char>(number.size());
  message += number;
  RecordView record;
  record.discovered_at = version;
  for (int i = 0; i < kResources; ++i) {
    const std::string id = "r" + std::to_string(i);
    record.type = RecordType::kResource;
    record.type_id = "group";
    record.id = id;
    record.data = message;
    VELLUM_TRY(sink->Put(record));
  }
  for (int i = 0; i < kGrants; ++i) {
    const std::string user = "u" + std::to_string(i);
    record = RecordView();
    record.type = RecordType::kGrant;
    record.discovered_at = version;
    record.type_id = "group";
    record.resource_id = "r1";
    record.entitlement_id = "member";
    record.principal_type_id = "user";
    record.principal_id = user;
    record.id = number;  // not the conventional id: filed in the index of external ids
    record.data = number;
    VELLUM_TRY(sink->Put(record));
  }
  return {};
}

Status Write(Store* store, const std::string& id, Stamp version) {
  SyncRun run;
  run.id = id;
  run.type = "full";
  VELLUM_ASSIGN_OR_RETURN(const auto writer, SyncWriter::Begin(store, run, "readers", SyncWriter::IfExists::kReplace));
  VELLUM_TRY(PutVersion(writer.get(), version));
  return writer->Seal(9, "write").error();
}

/// All of one version, over all buckets; the version, or 0 after a failure.
Stamp VersionOf(const Generation& generation) {
  Stamp version = 0;
  for (const Bucket bucket : {Bucket::kResource, Bucket::kGrant}) {
    int count = 0;
    const auto cursor = generation.Scan(bucket);
    for (; cursor->valid(); cursor->Next(), ++count) {
      const Stamp stamp = ValueStamp(cursor->value());
      if (version == 0) version = stamp;
      EXPECT_EQ(stamp, version) << "a mixture";
      if (stamp != version) return 0;
    }
    EXPECT_TRUE(cursor->status().ok()) << cursor->status().ToString();
    EXPECT_EQ(count, bucket == Bucket::kGrant ? kGrants : kResources);
  }
  const auto count = [&generation](const std::string& prefix) {
    int entries = 0;
    for (const auto cursor = generation.ScanPrefix(prefix); cursor->valid(); cursor->Next()) ++entries;
    return entries;
  };
  const std::string number = std::to_string(version);
  EXPECT_EQ(count(ChildrenPrefix("org", number)), kResources);
  EXPECT_EQ(count(BucketPrefix(Bucket::kResourceByParent)), kResources);
  EXPECT_EQ(count(ExternalIdPrefix(RecordType::kGrant, number)), kGrants);
  EXPECT_EQ(count(BucketPrefix(Bucket::kByExternalId)), kGrants);
  EXPECT_EQ(count(BucketPrefix(Bucket::kGrantByPrincipal)), kGrants);
  return version;
}

TEST(SyncReaders, NeverSeeAMixtureWhateverSwitches) {
  const TestDir dir;
  const TestDir other_dir;
  MemoryCatalog catalog;
  MemoryCatalog other_catalog;
  StoreOptions options;
  options.data_dir = dir.path();
  options.history_max = 2;     // generations go soon
  options.open_files_max = 4;  // and leave the cache before they are let go
  options.file_bytes = 2048;
  options.files = storage::FaultFileSystem::Create()->file_system();  // waits for no disk
  auto store = Store::Open(options, &catalog);
  ASSERT_TRUE(store.ok()) << store.error().ToString();
  options.data_dir = other_dir.path();
  auto other = Store::Open(options, &other_catalog);
  ASSERT_TRUE(other.ok()) << other.error().ToString();
  ASSERT_TRUE(Write(store->get(), "S", 1).ok());

  std::atomic<bool> stop{false};
  std::atomic<int> reads{0};
  std::vector<std::thread> threads;
  for (int i = 0; i < 3; ++i) {
    threads.emplace_back([&] {
      while (!stop.load() && !testing::Test::HasFailure()) {
        const auto generation = (*store)->OpenSync("S");
        ASSERT_TRUE(generation.ok()) << generation.error().ToString();
        const Stamp before = VersionOf(**generation);
        // It stays what it is for as long as it is held, whatever happens meanwhile.
        EXPECT_EQ(VersionOf(**generation), before);
        reads.fetch_add(1);
      }
    });
  }
  threads.emplace_back([&] {
    while (!stop.load()) {
      const auto swept = (*store)->Sweep();
      ASSERT_TRUE(swept.ok()) << swept.error().ToString();
      std::this_thread::yield();
    }
  });
  Stamp version = 1;
  for (int round = 0; round < 30 && !testing::Test::HasFailure(); ++round) {
    ++version;
    Status switched;
    switch (round % 5) {
      case 0:
        switched = Write(store->get(), "S", version);
        break;
      case 1:
        switched = Write(other->get(), "S", version);
        if (switched.ok()) switched = ReplaceSync(store->get(), other->get(), "S").error();
        break;
      case 4:
        switched = (*store)->Rollback("S", std::nullopt).error();
        break;
      default: {
        MergeOptions merge;
        merge.strategy = round % 5 == 2 ? Strategy::kMerge : Strategy::kFold;
        switched = Write(store->get(), "P", version);
        if (switched.ok()) switched = MergeSyncs(store->get(), {{store->get(), "P"}}, "S", merge).error();
        break;
      }
    }
    EXPECT_TRUE(switched.ok()) << switched.ToString();
  }
  // Everybody has looked at least once, also on a machine that is slow to start threads.
  while (reads.load() < 3 && !testing::Test::HasFailure()) std::this_thread::yield();
  stop.store(true);
  for (auto& thread : threads) thread.join();
}

}  // namespace
}  // namespace vellum::sync
