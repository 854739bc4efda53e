// What a Database says about itself: files, sizes, properties, metrics.
#include <rocksdb/cache.h>
#include <rocksdb/metadata.h>
#include <rocksdb/statistics.h>
#include <rocksdb/version.h>

#include <algorithm>
#include <array>
#include <string_view>
#include <utility>

#include "storage/core.h"
#include "storage/engine_status.h"
#include "storage/number_property.h"

// Part of RocksDB exactly when it was compiled without NDEBUG, that is, with assertions. Weak: null where it is absent.
extern "C" void vellum_rocksdb_debug_probe() __asm__("_ZN7rocksdb9SyncPoint11GetInstanceEv")
    __attribute__((weak, visibility("default")));

namespace vellum::storage {
namespace {

std::string BaseName(const std::string& path) { return path.substr(path.rfind('/') + 1); }

/// Of the database as a whole, or of the cache that all families share: summing them over families would count them
/// more than once.
bool IsShared(const std::string& name) {
  static constexpr std::array<std::string_view, 14> kShared = {
      "rocksdb.num-snapshots", "rocksdb.oldest-snapshot-time", "rocksdb.oldest-snapshot-sequence",
      "rocksdb.background-errors", "rocksdb.is-file-deletions-enabled", "rocksdb.num-running-flushes",
      "rocksdb.num-running-compactions", "rocksdb.actual-delayed-write-rate", "rocksdb.is-write-stopped",
      "rocksdb.block-cache-capacity", "rocksdb.block-cache-usage", "rocksdb.block-cache-pinned-usage",
      "rocksdb.min-log-number-to-keep", "rocksdb.min-obsolete-sst-number-to-keep"};
  for (std::string_view shared : kShared) {
    if (name == shared) return true;
  }
  return false;
}

std::optional<std::uint64_t> ReadProperty(const Core& core, const std::string& name) {
  std::uint64_t value = 0;
  const bool found = IsShared(name) ? core.db()->GetIntProperty(name, &value)
                                    : core.db()->GetAggregatedIntProperty(name, &value);
  return found ? std::optional<std::uint64_t>(value) : std::nullopt;
}

std::uint64_t PropertyOrZero(const Core& core, const std::string& name) { return ReadProperty(core, name).value_or(0); }

std::uint64_t LogFileBytes(const Core& core) {
  std::vector<rocksdb::Env::FileAttributes> files;
  if (!core.parts().env->GetChildrenFileAttributes(core.path(), &files).ok()) return 0;
  std::uint64_t bytes = 0;
  for (const auto& file : files) {
    if (file.name.ends_with(".log")) bytes += file.size_bytes;
  }
  return bytes;
}

/// What was taken ahead is not content. A log that is closed meanwhile may be seen before or after its end was cut: then once more.
std::uint64_t WalBytes(const Core& core) {
  constexpr int kAttemptsMax = 3;
  const LogHealth& logs = *core.parts().log_health;
  std::uint64_t bytes = 0, ahead = 0;
  for (int attempt = 0; attempt < kAttemptsMax; ++attempt) {
    ahead = logs.bytes_ahead();
    bytes = LogFileBytes(core);
    if (logs.bytes_ahead() == ahead) break;
  }
  return bytes - std::min(bytes, ahead);
}

std::uint64_t LevelZeroFiles(const Core& core) {
  std::uint64_t files = 0;
  for (Family family = 0; family < core.family_count(); ++family) {
    std::string text;
    if (core.db()->GetProperty(core.family(family), "rocksdb.num-files-at-level0", &text)) {
      files += std::strtoull(text.c_str(), nullptr, 10);
    }
  }
  return files;
}

struct EngineMetric {
  const char* name;
  const char* help;
  const char* property;
};

constexpr EngineMetric kEngineGauges[] = {
    {"vellum_rocksdb_block_cache_capacity_bytes", "Capacity of the block cache.", "rocksdb.block-cache-capacity"},
    {"vellum_rocksdb_block_cache_usage_bytes", "Blocks and memtables charged to the block cache.",
     "rocksdb.block-cache-usage"},
    {"vellum_rocksdb_block_cache_pinned_bytes", "Cached blocks that are in use.", "rocksdb.block-cache-pinned-usage"},
    {"vellum_rocksdb_memtable_bytes", "All memtables, those waiting for their flush too.",
     "rocksdb.size-all-mem-tables"},
    {"vellum_rocksdb_immutable_memtables", "Memtables that wait for their flush.",
     "rocksdb.num-immutable-mem-table"},
    {"vellum_rocksdb_pending_compaction_bytes", "Estimate of what compaction has to rewrite.",
     "rocksdb.estimate-pending-compaction-bytes"},
    {"vellum_rocksdb_running_flushes", "Flushes that are running.", "rocksdb.num-running-flushes"},
    {"vellum_rocksdb_running_compactions", "Compactions that are running.", "rocksdb.num-running-compactions"},
    {"vellum_rocksdb_write_stopped", "1 while RocksDB makes writers wait for flushes or compactions.",
     "rocksdb.is-write-stopped"},
    {"vellum_rocksdb_delayed_write_bytes_per_second", "To what RocksDB slows writers down; 0: not at all.",
     "rocksdb.actual-delayed-write-rate"},
    {"vellum_rocksdb_snapshots", "Snapshots that keep overwritten records.", "rocksdb.num-snapshots"},
    {"vellum_rocksdb_background_errors", "Errors of flushes and compactions so far.", "rocksdb.background-errors"},
    {"vellum_rocksdb_live_table_bytes", "Table files in use.", "rocksdb.live-sst-files-size"},
    {"vellum_rocksdb_total_table_bytes", "Table files, those on their way out too.", "rocksdb.total-sst-files-size"},
};

struct EngineCounter {
  const char* name;
  const char* help;
  rocksdb::Tickers ticker;
};

constexpr EngineCounter kEngineCounters[] = {
    {"vellum_rocksdb_block_cache_hits_total", "Blocks found in the cache.", rocksdb::BLOCK_CACHE_HIT},
    {"vellum_rocksdb_block_cache_misses_total", "Blocks read from the disk.", rocksdb::BLOCK_CACHE_MISS},
    {"vellum_rocksdb_flush_written_bytes_total", "Written by flushes.", rocksdb::FLUSH_WRITE_BYTES},
    {"vellum_rocksdb_compaction_read_bytes_total", "Read by compactions.", rocksdb::COMPACT_READ_BYTES},
    {"vellum_rocksdb_compaction_written_bytes_total", "Written by compactions.", rocksdb::COMPACT_WRITE_BYTES},
    {"vellum_rocksdb_stall_microseconds_total", "How long writers had to wait.", rocksdb::STALL_MICROS},
};

}  // namespace

std::vector<Metrics::CallbackHandle> ExposeEngine(Metrics* metrics, const std::shared_ptr<Core>& core) {
  // The callbacks do not share the core: a scrape must not be what closes the database.
  Core* const engine = core.get();
  std::vector<Metrics::CallbackHandle> handles;
  for (const EngineMetric& metric : kEngineGauges) {
    handles.push_back(metrics->AddCallback(
        Metrics::Kind::kGauge, metric.name, metric.help,
        [engine, property = std::string(metric.property)] {
          return static_cast<double>(PropertyOrZero(*engine, property));
        }));
  }
  handles.push_back(metrics->AddCallback(Metrics::Kind::kGauge, "vellum_rocksdb_level0_files",
                                         "Table files that reads have to look into one by one.",
                                         [engine] { return static_cast<double>(LevelZeroFiles(*engine)); }));
  handles.push_back(metrics->AddCallback(Metrics::Kind::kGauge, "vellum_rocksdb_wal_bytes",
                                         "Write-ahead logs on the disk.",
                                         [engine] { return static_cast<double>(WalBytes(*engine)); }));
  for (const EngineCounter& counter : kEngineCounters) {
    handles.push_back(metrics->AddCallback(
        Metrics::Kind::kCounter, counter.name, counter.help, [engine, ticker = counter.ticker] {
          return static_cast<double>(engine->parts().statistics->getTickerCount(ticker));
        }));
  }
  return handles;
}

Result<std::vector<TableFile>> Database::ListTables(Family family) const {
  rocksdb::DB* const db = impl_->core->db();
  rocksdb::ColumnFamilyHandle* const handle = impl_->core->family(family);
  // Properties first, files second: a file that came in between has no properties here and counts as one that cannot
  // be skipped.
  rocksdb::TablePropertiesCollection properties;
  if (const rocksdb::Status status = db->GetPropertiesOfAllTables(handle, &properties); !status.ok()) {
    return FromEngine(status).WithContext("properties of the table files");
  }
  std::map<std::string, std::shared_ptr<const rocksdb::TableProperties>> by_name;
  for (const auto& [path, table] : properties) by_name.emplace(BaseName(path), table);

  rocksdb::ColumnFamilyMetaData meta;
  db->GetColumnFamilyMetaData(handle, &meta);
  std::vector<TableFile> tables;
  for (const rocksdb::LevelMetaData& level : meta.levels) {
    for (const rocksdb::SstFileMetaData& file : level.files) {
      TableFile table;
      table.name = BaseName(file.name);
      table.smallest = file.smallestkey;
      table.largest = file.largestkey;
      table.level = level.level;
      table.bytes = file.size;
      table.entries = file.num_entries;
      table.deletions = file.num_deletions;
      const auto found = by_name.find(table.name);
      table.min_number =
          found == by_name.end() ? std::optional<std::uint64_t>(0) : ReadMinNumber(found->second->user_collected_properties);
      tables.push_back(std::move(table));
    }
  }
  return tables;
}

Database::Sizes Database::GetSizes() const {
  const Core& core = *impl_->core;
  Sizes sizes;
  sizes.table_bytes = PropertyOrZero(core, "rocksdb.live-sst-files-size");
  sizes.live_bytes = PropertyOrZero(core, "rocksdb.estimate-live-data-size");
  sizes.memtable_bytes = PropertyOrZero(core, "rocksdb.cur-size-all-mem-tables");
  const std::uint64_t total = PropertyOrZero(core, "rocksdb.total-sst-files-size");
  sizes.obsolete_bytes = total > sizes.table_bytes ? total - sizes.table_bytes : 0;
  sizes.wal_bytes = WalBytes(core);
  return sizes;
}

std::uint64_t Database::EstimateBytes(Family family, std::string_view begin, std::string_view end) const {
  rocksdb::SizeApproximationOptions options;
  options.include_memtables = true;
  options.include_files = true;
  const rocksdb::Range range(rocksdb::Slice(begin.data(), begin.size()), rocksdb::Slice(end.data(), end.size()));
  std::uint64_t bytes = 0;
  const rocksdb::Status status =
      impl_->core->db()->GetApproximateSizes(options, impl_->core->family(family), &range, 1, &bytes);
  return status.ok() ? bytes : 0;
}

std::optional<std::uint64_t> Database::Property(const std::string& name) const {
  return ReadProperty(*impl_->core, name);
}

std::string Database::EngineVersion() {
  std::string version = rocksdb::GetRocksVersionAsString();
  version += &vellum_rocksdb_debug_probe != nullptr ? " (assertions on, " : " (assertions off, ";
  version += VELLUM_ROCKSDB_BUILD ")";
  return version;
}

}  // namespace vellum::storage
