// The two paths of src/storage that every request takes: a batch with its sync, and a read.
#include <benchmark/benchmark.h>
#include <stdlib.h>

#include <cstdio>
#include <filesystem>
#include <string>

#include "storage/database.h"

namespace vellum::storage {
namespace {

/// A database in a temporary directory. Syncs of the disk are off: they cost what the disk costs.
class Bench {
 public:
  Bench() {
    std::string pattern = (std::filesystem::temp_directory_path() / "vellum_bench_XXXXXX").string();
    path_ = ::mkdtemp(pattern.data());
    DatabaseOptions options;
    options.path = path_;
    options.families = {{.name = "default"},
                        {.name = "latest", .point_lookups = true, .tombstone_heavy = true},
                        {.name = "history"},
                        {.name = "rev"}};
    options.sync_wal = false;
    auto db = Database::Open(std::move(options));
    if (db.ok()) db_ = *std::move(db);
  }
  ~Bench() {
    db_.reset();
    std::filesystem::remove_all(path_);
  }
  Database* db() { return db_.get(); }

 private:
  std::string path_;
  std::unique_ptr<Database> db_;
};

std::string Key(std::uint64_t index) {
  char text[24];
  std::snprintf(text, sizeof(text), "key/%016llx", static_cast<unsigned long long>(index));
  return text;
}

/// What a put of the metadata plane writes: a record, its history, its revision, a counter. One sync per `range(0)`.
void WriteAndSync(benchmark::State& state) {
  Bench bench;
  const std::string value(256, 'v');
  std::uint64_t index = 0;
  Batch batch;
  for (auto _ : state) {
    const std::string key = Key(index * 7919 % 100000);
    batch.Put(1, key, value);
    batch.Put(2, key + Key(index), value);
    batch.Put(3, Key(index), key);
    batch.Put(0, "applied", key);
    if (!bench.db()->Write(std::move(batch)).ok()) state.SkipWithError("write");
    if (++index % static_cast<std::uint64_t>(state.range(0)) == 0 && !bench.db()->Sync().ok()) state.SkipWithError("sync");
  }
  state.SetItemsProcessed(state.iterations());
}
BENCHMARK(WriteAndSync)->Arg(1)->Arg(16)->Arg(256);

void Fill(Database* db, std::uint64_t keys) {
  const std::string value(256, 'v');
  for (std::uint64_t index = 0; index < keys; ++index) {
    Batch batch;
    batch.Put(1, Key(index * 2), value);
    if (!db->Write(std::move(batch)).ok()) return;
  }
}

/// 0: from the memtable, 1: from cached blocks; odd keys are absent.
void GetOne(benchmark::State& state) {
  Bench bench;
  Fill(bench.db(), 20000);
  if (state.range(0) == 1 && !bench.db()->Flush().ok()) state.SkipWithError("flush");
  std::uint64_t index = 0;
  PinnedValue value;
  for (auto _ : state) {
    auto got = bench.db()->Get(1, Key(index++ * 7919 % 40000), &value);
    benchmark::DoNotOptimize(got);
  }
}
BENCHMARK(GetOne)->Arg(0)->Arg(1);

/// A page of 100 records, with a new iterator as each range request makes one.
void ScanPage(benchmark::State& state) {
  Bench bench;
  Fill(bench.db(), 20000);
  if (!bench.db()->Flush().ok()) state.SkipWithError("flush");
  std::uint64_t index = 0;
  for (auto _ : state) {
    const std::string lower = Key(index++ * 7919 % 39000);
    Iterator it = bench.db()->NewIterator(1, {.lower = lower});
    int records = 0;
    for (it.Seek(lower); it.valid() && records < 100; it.Next()) {
      benchmark::DoNotOptimize(it.value());
      ++records;
    }
  }
  state.SetItemsProcessed(state.iterations() * 100);
}
BENCHMARK(ScanPage);

}  // namespace
}  // namespace vellum::storage
