#include "model/harness.h"

#include <gtest/gtest.h>

#include <future>
#include <utility>

#include "kv/lease_keys.h"
#include "kv/lessor.h"
#include "kv/meta.h"

namespace vellum::model {
namespace {

const RangeRequest kEverything{.key = std::string(1, '\0'), .range_end = std::string(1, '\0')};

std::uint64_t Mix(std::uint64_t digest, std::string_view bytes) {
  for (const char byte : bytes) digest = (digest ^ static_cast<unsigned char>(byte)) * 0x100000001b3u;
  return (digest ^ bytes.size()) * 0x100000001b3u;
}

}  // namespace

void CheckState(const kv::Engine& engine, const Reference& reference) {
  const auto view = engine.CurrentView();
  ASSERT_EQ(view->revision(), reference.revision());
  const auto all = kv::ReadRange(*view, kEverything);
  ASSERT_EQ(Describe(all), Describe(reference.Range(kEverything)));
  std::map<LeaseId, std::vector<std::string>> attached;
  for (const auto& [key, kv] : reference.state()) {
    if (kv.lease != 0) attached[kv.lease].push_back(key);
  }
  for (const LeaseId lease : reference.leases()) {
    const auto keys = kv::LeaseKeys(*view, lease);
    ASSERT_TRUE(keys.ok()) << keys.error().ToString();
    ASSERT_EQ(*keys, attached[lease]) << "lease " << lease;
  }
}

void CheckHistory(const kv::Engine& engine, const Reference& reference) {
  const auto view = engine.CurrentView();
  for (Revision r = 1; r <= reference.revision(); ++r) {
    RangeRequest request = kEverything;
    request.revision = r;
    const auto all = kv::ReadRange(*view, request);
    ASSERT_EQ(Describe(all), Describe(reference.Range(request))) << "at revision " << r;
  }
  kv::EventQuery query;
  query.from = std::max<Revision>(reference.compacted(), 1);
  query.to = reference.revision();
  query.intervals = {kv::KeyInterval::Everything()};
  std::vector<Event> got;
  while (query.from <= query.to) {
    const auto batch = kv::ReadEvents(*view, query);
    ASSERT_TRUE(batch.ok()) << batch.error().ToString();
    for (const kv::RevisionEvents& revision : batch->revisions) {
      got.insert(got.end(), revision.events.begin(), revision.events.end());
    }
    query.from = batch->next;
  }
  std::vector<Event> expected;
  for (Revision r = std::max<Revision>(reference.compacted(), 2); r <= reference.revision(); ++r) {
    for (Event event : reference.EventsAt(r)) {
      if (r <= reference.compacted()) event.prev_kv.reset();  // compacted
      expected.push_back(std::move(event));
    }
  }
  for (Event& event : got) {
    if (event.kv.mod_revision <= reference.compacted()) event.prev_kv.reset();  // may or may not be there still
  }
  ASSERT_EQ(Describe(got), Describe(expected));
}

Result<kv::CommandResult> Run(kv::Engine* engine, const kv::Command& command, bool physical) {
  const auto* compact = std::get_if<kv::CompactCommand>(&command);
  if (compact == nullptr) return engine->ProposeAndWait(command);
  std::promise<Result<kv::CompactResult>> promise;
  engine->Compact(compact->revision, physical,
                  [&](Result<kv::CompactResult> result) { promise.set_value(std::move(result)); });
  VELLUM_ASSIGN_OR_RETURN(const kv::CompactResult result, promise.get_future().get());
  return kv::CommandResult(result);
}

std::uint64_t DigestOfRows(const kv::Engine& engine) {
  const auto view = engine.CurrentView();
  std::uint64_t digest = 0xcbf29ce484222325u;
  for (const storage::Family family : {kv::kMeta, kv::kLatest, kv::kHistory, kv::kRev, kv::kCount, kv::kLease}) {
    storage::ReadOptions options;
    options.snapshot = view->snapshot();
    storage::Iterator it = view->database().NewIterator(family, options);
    for (it.SeekToFirst(); it.valid(); it.Next()) {
      if (family == kv::kMeta && (it.key() == kv::kMetaClusterId || it.key() == kv::kMetaMemberId)) continue;
      digest = Mix(Mix(digest, it.key()), it.value());
    }
    EXPECT_TRUE(it.status().ok());
  }
  return digest;
}

kv::EngineOptions TinyOptions(const std::string& directory, Clock* clock) {
  kv::EngineOptions options;
  options.data_dir = directory;
  options.clock = clock;
  options.block_cache_bytes = 8u << 20;
  options.free_space_floor_bytes = 0;
  options.apply_batch_bytes_max = 600;
  options.event_ring_bytes = 8u << 10;
  options.count_ring_bytes = 4u << 10;
  options.reclaim_delay = std::chrono::milliseconds(0);
  options.reclaim_bytes_per_second = 0;
  options.rocksdb_options = "write_buffer_size=65536;target_file_size_base=16384;max_bytes_for_level_base=65536";
  return options;
}

}  // namespace vellum::model
