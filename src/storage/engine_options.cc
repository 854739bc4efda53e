// How RocksDB is set up: the table of "Layout on RocksDB" in the design, and the adapters that it calls back.
#include <rocksdb/cache.h>
#include <rocksdb/compaction_filter.h>
#include <rocksdb/convenience.h>
#include <rocksdb/filter_policy.h>
#include <rocksdb/listener.h>
#include <rocksdb/statistics.h>
#include <rocksdb/table.h>
#include <rocksdb/utilities/table_properties_collectors.h>

#include <algorithm>
#include <cstdarg>
#include <cstdio>
#include <limits>
#include <utility>

#include "base/bytes.h"
#include "storage/core.h"
#include "storage/engine_file_system.h"
#include "storage/engine_status.h"
#include "storage/number_property.h"

namespace vellum::storage {
namespace {

/// How often the limiter hands out its bytes. They go to the disk at once, and a sync of the log waits behind them: RocksDB's
/// own ten times a second would be six megabytes at a time.
constexpr std::int64_t kLimiterPeriodMicros = 10'000;

class EngineLogger final : public rocksdb::Logger {
 public:
  explicit EngineLogger(vellum::Logger logger) : rocksdb::Logger(rocksdb::WARN_LEVEL), logger_(logger) {}

  void Logv(const rocksdb::InfoLogLevel level, const char* format, std::va_list arguments) override {
    if (level < GetInfoLogLevel() || level == rocksdb::HEADER_LEVEL) return;
    char text[1024];
    const int size = std::vsnprintf(text, sizeof(text), format, arguments);
    if (size < 0) return;
    // RocksDB's lines may end in a newline.
    std::string_view line(text, std::min(static_cast<std::size_t>(size), sizeof(text) - 1));
    while (line.ends_with('\n')) line.remove_suffix(1);
    // Its errors are outcomes that also come back as a Status, and what they mean is decided there.
    VELLUM_LOG(logger_, kWarn, "rocksdb", {{"text", std::string(line)}});
  }
  void Logv(const char* format, std::va_list arguments) override {
    Logv(rocksdb::INFO_LEVEL, format, arguments);
  }

 private:
  const vellum::Logger logger_;
};

class FilterAdapter final : public rocksdb::CompactionFilter {
 public:
  explicit FilterAdapter(std::unique_ptr<RecordFilter> filter) : filter_(std::move(filter)) {}
  bool Filter(int, const rocksdb::Slice& key, const rocksdb::Slice& value, std::string*, bool*) const override {
    return filter_->ShouldDrop({key.data(), key.size()}, {value.data(), value.size()});
  }
  const char* Name() const override { return "vellum.RecordFilter"; }

 private:
  const std::unique_ptr<RecordFilter> filter_;
};

class FilterFactoryAdapter final : public rocksdb::CompactionFilterFactory {
 public:
  explicit FilterFactoryAdapter(RecordFilterFactory factory) : factory_(std::move(factory)) {}
  std::unique_ptr<rocksdb::CompactionFilter> CreateCompactionFilter(
      const rocksdb::CompactionFilter::Context&) override {
    std::unique_ptr<RecordFilter> filter = factory_();
    if (filter == nullptr) return nullptr;
    return std::make_unique<FilterAdapter>(std::move(filter));
  }
  const char* Name() const override { return "vellum.RecordFilterFactory"; }

 private:
  const RecordFilterFactory factory_;
};

/// Reports the first error after which RocksDB refuses writes.
class ErrorListener final : public rocksdb::EventListener {
 public:
  explicit ErrorListener(std::function<void(const Status&)> report) : report_(std::move(report)) {}
  void OnBackgroundError(rocksdb::BackgroundErrorReason, rocksdb::Status* error) override {
    if (error->severity() < rocksdb::Status::Severity::kHardError) return;
    if (!report_ || reported_.exchange(true)) return;
    report_(FromEngine(*error));
  }
  void OnErrorRecoveryBegin(rocksdb::BackgroundErrorReason reason, rocksdb::Status, bool* auto_recovery) override {
    // From a failed flush or compaction RocksDB may recover by trying again. From a failed log it would recover by
    // flushing one family after the other, and a crash in between would leave them at different batches.
    if (reason == rocksdb::BackgroundErrorReason::kWriteCallback ||
        reason == rocksdb::BackgroundErrorReason::kMemTable) {
      *auto_recovery = false;
    }
  }

 private:
  const std::function<void(const Status&)> report_;
  std::atomic<bool> reported_{false};
};

rocksdb::DBOptions MakeDbOptions(const DatabaseOptions& options, const EngineParts& parts) {
  rocksdb::DBOptions db;
  db.create_if_missing = options.create_if_missing;
  db.create_missing_column_families = true;
  db.env = parts.env.get();
  db.info_log = MakeEngineLogger(options.logger);
  db.info_log_level = rocksdb::WARN_LEVEL;
  db.statistics = parts.statistics;
  db.rate_limiter = parts.limiter;
  db.write_buffer_manager = parts.memtables;
  db.listeners.push_back(std::make_shared<ErrorListener>(options.on_background_error));

  // The log. The applier writes a batch per command and syncs once per group, so RocksDB only buffers on its own.
  db.manual_wal_flush = true;
  db.wal_recovery_mode = options.accept_wal_loss ? rocksdb::WALRecoveryMode::kPointInTimeRecovery
                                                 : rocksdb::WALRecoveryMode::kTolerateCorruptedTailRecords;
  db.track_and_verify_wals_in_manifest = !options.accept_wal_loss;
  db.max_total_wal_size = options.wal_bytes_max;
  db.avoid_flush_during_shutdown = true;  // a clean stop flushes itself; any other is replayed from the log
  db.recycle_log_file_num = 0;            // a recycled log hides its damage behind old records
  db.allow_concurrent_memtable_write = false;  // there is one writer, and this way it is cheaper for it

  // RocksDB keeps a quarter of the jobs, at least one, for flushes. Two for compactions, so that a long slice of
  // reclaiming does not keep the automatic ones waiting when they are urgent.
  db.max_background_jobs = std::max(1, options.background_threads) + 1;
  db.bytes_per_sync = 1u << 20;
  db.delayed_write_rate = 32u << 20;  // by itself RocksDB takes the rate limiter's, which may be "none"
  db.max_open_files = -1;
  db.max_file_opening_threads = 2;
  db.skip_stats_update_on_db_open = true;
  db.stats_dump_period_sec = 0;
  db.stats_persist_period_sec = 0;
  db.avoid_unnecessary_blocking_io = true;  // a reader that lets go of an iterator does not delete files itself
  return db;
}

rocksdb::ColumnFamilyOptions MakeFamilyOptions(const FamilyOptions& family, const DatabaseOptions& options,
                                               const EngineParts& parts) {
  rocksdb::BlockBasedTableOptions table;
  table.block_size = 16u << 10;
  table.format_version = 5;
  table.block_cache = parts.cache;
  table.cache_index_and_filter_blocks = true;
  table.cache_index_and_filter_blocks_with_high_priority = true;
  table.pin_l0_filter_and_index_blocks_in_cache = true;
  if (family.point_lookups) {
    table.filter_policy.reset(rocksdb::NewBloomFilterPolicy(10));
    table.data_block_index_type = rocksdb::BlockBasedTableOptions::kDataBlockBinaryAndHash;
    table.data_block_hash_table_util_ratio = 0.75;
  }

  rocksdb::ColumnFamilyOptions engine;
  engine.table_factory.reset(rocksdb::NewBlockBasedTableFactory(table));
  engine.compression = rocksdb::kLZ4Compression;
  engine.write_buffer_size = family.memtable_bytes;
  engine.max_write_buffer_number = 6;
  engine.level_compaction_dynamic_level_bytes = true;
  engine.target_file_size_base = options.table_file_bytes;
  engine.max_bytes_for_level_base = 4 * options.table_file_bytes;
  if (family.point_lookups) {
    engine.memtable_prefix_bloom_size_ratio = 0.02;
    engine.memtable_whole_key_filtering = true;
  }
  if (family.filter) engine.compaction_filter_factory = std::make_shared<FilterFactoryAdapter>(family.filter);
  if (family.tombstone_heavy) {
    // Half of 1,024 neighbours deleted: a scan pays for each of them until they are compacted away.
    engine.table_properties_collector_factories.push_back(
        rocksdb::NewCompactOnDeletionCollectorFactory(1024, 512));
  }
  if (family.number) engine.table_properties_collector_factories.push_back(MakeNumberCollectorFactory(family.number));
  return engine;
}

/// What durability rests on, and what the rest of this room relies on: not open to tuning.
Status CheckUntouched(const rocksdb::DBOptions& before, const rocksdb::DBOptions& after) {
  const std::pair<const char*, bool> rules[] = {
      {"manual_wal_flush", before.manual_wal_flush == after.manual_wal_flush},
      {"wal_recovery_mode", before.wal_recovery_mode == after.wal_recovery_mode},
      {"track_and_verify_wals_in_manifest",
       before.track_and_verify_wals_in_manifest == after.track_and_verify_wals_in_manifest},
      {"recycle_log_file_num", before.recycle_log_file_num == after.recycle_log_file_num},
      {"wal_dir", before.wal_dir == after.wal_dir},
      {"db_paths", after.db_paths.empty()},
      {"wal_compression", before.wal_compression == after.wal_compression},
      {"allow_mmap_writes", before.allow_mmap_writes == after.allow_mmap_writes},
      {"unordered_write", before.unordered_write == after.unordered_write},
      {"two_write_queues", before.two_write_queues == after.two_write_queues},
      {"enable_pipelined_write", before.enable_pipelined_write == after.enable_pipelined_write},
      {"atomic_flush", before.atomic_flush == after.atomic_flush},
      {"best_efforts_recovery", before.best_efforts_recovery == after.best_efforts_recovery},
      {"paranoid_checks", before.paranoid_checks == after.paranoid_checks},
      {"avoid_flush_during_recovery", before.avoid_flush_during_recovery == after.avoid_flush_during_recovery},
      {"allow_2pc", before.allow_2pc == after.allow_2pc},
  };
  for (const auto& [name, untouched] : rules) {
    if (!untouched) return InvalidArgument(std::string("rocksdb option ") + name + " is not open to tuning");
  }
  return {};
}

Status ApplyTuning(const std::string& text, EngineOptions* engine) {
  if (text.empty()) return {};
  rocksdb::ConfigOptions config;
  config.ignore_unknown_options = false;
  const rocksdb::DBOptions before = engine->db;
  for (rocksdb::ColumnFamilyDescriptor& family : engine->families) {
    rocksdb::Options tuned;
    const rocksdb::Status status =
        rocksdb::GetOptionsFromString(config, rocksdb::Options(before, family.options), text, &tuned);
    if (!status.ok()) return InvalidArgument("rocksdb options: " + status.ToString());
    engine->db = rocksdb::DBOptions(tuned);
    family.options = rocksdb::ColumnFamilyOptions(tuned);
  }
  return CheckUntouched(before, engine->db);
}

}  // namespace

std::shared_ptr<rocksdb::Logger> MakeEngineLogger(Logger logger) { return std::make_shared<EngineLogger>(logger); }

std::int64_t LimiterBytesPerSecond(std::uint64_t bytes_per_second) {
  // RocksDB's limiter has no "off"; this many is never reached, and far enough from overflow.
  constexpr std::uint64_t kUnlimited = std::uint64_t{1} << 50;
  // Less would be no bytes at all in some of the limiter's periods, and in the end in all of them.
  constexpr std::uint64_t kLeast = 4096;
  return static_cast<std::int64_t>(bytes_per_second == 0 ? kUnlimited : std::clamp(bytes_per_second, kLeast, kUnlimited));
}

Result<EngineOptions> MakeEngineOptions(const DatabaseOptions& options, EngineParts* parts) {
  parts->log_health = std::make_shared<LogHealth>();
  parts->files = GuardLogs(EngineView(options.file_system), parts->log_health);
  parts->env = MakeEnv(options.file_system, parts->files);
  parts->cache = rocksdb::NewLRUCache(options.block_cache_bytes);
  parts->memtables = std::make_shared<rocksdb::WriteBufferManager>(
      std::max<std::size_t>(options.block_cache_bytes / 2, 8u << 20), parts->cache);
  parts->limiter.reset(rocksdb::NewGenericRateLimiter(LimiterBytesPerSecond(options.background_bytes_per_second),
                                                      kLimiterPeriodMicros));
  parts->statistics = rocksdb::CreateDBStatistics();
  parts->statistics->set_stats_level(rocksdb::StatsLevel::kExceptHistogramOrTimers);

  EngineOptions engine;
  engine.db = MakeDbOptions(options, *parts);
  for (const FamilyOptions& family : options.families) {
    engine.families.emplace_back(family.name, MakeFamilyOptions(family, options, *parts));
  }
  VELLUM_TRY(ApplyTuning(options.rocksdb_options, &engine));
  return engine;
}

}  // namespace vellum::storage
