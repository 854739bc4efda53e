#include "storage/database.h"

#include <rocksdb/convenience.h>

#include <chrono>
#include <limits>
#include <utility>

#include "base/check.h"
#include "storage/core.h"
#include "storage/engine_status.h"
#include "storage/log_scan.h"

namespace vellum::storage {
namespace {

using SteadyClock = std::chrono::steady_clock;

double SecondsSince(SteadyClock::time_point start) {
  return std::chrono::duration<double>(SteadyClock::now() - start).count();
}

rocksdb::ReadOptions ToEngine(const ReadOptions& options) {
  rocksdb::ReadOptions engine;
  if (options.snapshot != nullptr) {
    // Every Snapshot is made by TakeSnapshot.
    engine.snapshot = static_cast<const SnapshotHandle*>(options.snapshot)->get();
  }
  if (options.memory_only) engine.read_tier = rocksdb::kBlockCacheTier;
  engine.fill_cache = options.fill_cache;
  engine.readahead_size = options.readahead_bytes;
  return engine;
}

}  // namespace

Status Database::Impl::Fail(Status status) {
  status = std::move(status).WithMaybeApplied();
  {
    MutexLock lock(&mu);
    if (failure.ok()) failure = status;
  }
  failed.store(true, std::memory_order_release);
  core->StopBackgroundWork();
  return status;
}

Result<std::unique_ptr<Database>> Database::Open(DatabaseOptions options) {
  if (options.families.empty() || options.families.front().name != "default") {
    return InvalidArgument("the first column family must be \"default\"");
  }
  auto impl = std::make_shared<Impl>();
  VELLUM_ASSIGN_OR_RETURN(impl->core, Core::Open(options));
  if (Metrics* metrics = options.metrics; metrics != nullptr) {
    const std::vector<double> buckets = ExponentialBuckets(0.001, 2, 14);
    impl->sync_seconds = &metrics->AddHistogram("etcd_disk_wal_fsync_duration_seconds",
                                                "How long syncs of the write-ahead log take.", buckets);
    impl->write_seconds = &metrics->AddHistogram("etcd_disk_backend_commit_duration_seconds",
                                                 "How long it takes to write one command's batch.", buckets);
    impl->callbacks = ExposeEngine(metrics, impl->core);
    impl->callbacks.push_back(metrics->AddCallback(
        Metrics::Kind::kGauge, "etcd_disk_wal_write_bytes_total", "Bytes written to the write-ahead log.",
        [state = impl.get()] { return static_cast<double>(state->wal_bytes_written.load(std::memory_order_relaxed)); }));
  }
  return std::unique_ptr<Database>(new Database(std::move(impl)));
}

Database::Database(std::shared_ptr<Impl> impl) : impl_(std::move(impl)) {}

Database::~Database() {
  impl_->callbacks.clear();
  impl_->core->FinishBackgroundWork();
  if (const long others = impl_->core.use_count() - 1; others > 0) {
    VELLUM_LOG(impl_->core->logger(), kWarn, "database closed while handles on it are alive; its lock stays until they go",
               {{"path", impl_->core->path()}, {"handles", others}});
  }
}

/// What the log needs to hear behind a batch.
std::string_view Database::Impl::NextMark(const std::string& batch) {
  if (mark_due.load(std::memory_order_relaxed)) {
    mark_due.store(false, std::memory_order_relaxed);
    return kSyncedMark;
  }
  return batch.back() == '\0' ? kEndMark : std::string_view();
}

Status Database::Write(Batch&& batch) {
  if (impl_->failed.load(std::memory_order_acquire)) return impl_->Failure();
  Batch::Impl& content = *batch.impl_;
  if (!content.status.ok()) return FromEngine(content.status).WithContext("the batch");
  if (batch.empty()) return {};
  const auto start = SteadyClock::now();
  if (const std::string_view mark = impl_->NextMark(content.batch.Data()); !mark.empty()) {
    const rocksdb::Status marked = content.batch.PutLogData({mark.data(), mark.size()});
    if (!marked.ok()) return FromEngine(marked).WithContext("the batch");
  }
  rocksdb::Status status = impl_->core->db()->Write(rocksdb::WriteOptions(), &content.batch);
  if (!status.ok()) return impl_->Fail(FromEngine(status).WithContext("write to the log"));
  impl_->dirty.store(true, std::memory_order_release);
  impl_->wal_bytes_written.fetch_add(content.batch.GetDataSize(), std::memory_order_relaxed);
  if (impl_->write_seconds != nullptr) impl_->write_seconds->Observe(SecondsSince(start));
  batch.Clear();
  return {};
}

Status Database::Sync() {
  if (impl_->failed.load(std::memory_order_acquire)) return impl_->Failure();
  if (!impl_->dirty.exchange(false, std::memory_order_acq_rel)) return {};
  const auto start = SteadyClock::now();
  rocksdb::Status status = impl_->core->db()->FlushWAL(impl_->core->sync_wal());
  if (status.ok()) status = impl_->core->parts().log_health->failure();
  if (!status.ok()) return impl_->Fail(FromEngine(status).WithContext("sync of the log"));
  impl_->mark_due.store(impl_->core->sync_wal(), std::memory_order_relaxed);
  if (impl_->sync_seconds != nullptr) impl_->sync_seconds->Observe(SecondsSince(start));
  return {};
}

Result<bool> Database::Get(Family family, std::string_view key, PinnedValue* value, const ReadOptions& options) const {
  if (value->impl_ == nullptr) value->impl_ = std::make_unique<PinnedValue::Impl>();
  PinnedValue::Impl& pinned = *value->impl_;
  VELLUM_DCHECK(family < impl_->core->family_count());
  pinned.slice.Reset();
  if (pinned.core != impl_->core) pinned.core = impl_->core;
  const rocksdb::Status status = impl_->core->db()->Get(ToEngine(options), impl_->core->family(family),
                                                        rocksdb::Slice(key.data(), key.size()), &pinned.slice);
  if (status.ok()) return true;
  pinned.slice.Reset();
  if (status.IsNotFound()) return false;
  return impl_->core->ReadOutcome(status);
}

Iterator Database::NewIterator(Family family, const ReadOptions& options) const {
  auto impl = std::make_unique<Iterator::Impl>();
  impl->core = impl_->core;
  impl->lower = rocksdb::Slice(options.lower.data(), options.lower.size());
  impl->upper = rocksdb::Slice(options.upper.data(), options.upper.size());
  rocksdb::ReadOptions engine = ToEngine(options);
  if (!options.lower.empty()) engine.iterate_lower_bound = &impl->lower;
  if (!options.upper.empty()) engine.iterate_upper_bound = &impl->upper;
  impl->iterator.reset(impl_->core->db()->NewIterator(engine, impl_->core->family(family)));
  return Iterator(std::move(impl));
}

std::shared_ptr<const Snapshot> Database::TakeSnapshot() const {
  return std::make_shared<const SnapshotHandle>(impl_->core);
}

Status Database::Flush(std::optional<Family> family) {
  if (impl_->failed.load(std::memory_order_acquire)) return impl_->Failure();
  rocksdb::FlushOptions options;
  options.wait = true;
  options.allow_write_stall = true;
  if (family.has_value()) return FromEngine(impl_->core->db()->Flush(options, impl_->core->family(*family)));
  std::vector<rocksdb::ColumnFamilyHandle*> families;
  for (Family each = 0; each < impl_->core->family_count(); ++each) families.push_back(impl_->core->family(each));
  return FromEngine(impl_->core->db()->Flush(options, families));
}

Status Database::CompactRange(Family family, const CompactRangeOptions& options) {
  if (impl_->failed.load(std::memory_order_acquire)) return impl_->Failure();
  rocksdb::CompactRangeOptions engine;
  // Automatic compactions and flushes go on beside this one.
  engine.exclusive_manual_compaction = false;
  // The last level too: it is where most garbage lies, and only a rewrite shows it to the filters.
  engine.bottommost_level_compaction = rocksdb::BottommostLevelCompaction::kForceOptimized;
  // RocksDB only reads it.
  engine.canceled = const_cast<std::atomic<bool>*>(options.cancel);
  const rocksdb::Slice begin(options.begin);
  const rocksdb::Slice end = options.end.has_value() ? rocksdb::Slice(*options.end) : rocksdb::Slice();
  return FromEngine(impl_->core->db()->CompactRange(engine, impl_->core->family(family),
                                                    options.begin.empty() ? nullptr : &begin,
                                                    options.end.has_value() ? &end : nullptr));
}

void Database::SetBackgroundBytesPerSecond(std::uint64_t bytes) {
  impl_->core->parts().limiter->SetBytesPerSecond(LimiterBytesPerSecond(bytes));
}

}  // namespace vellum::storage
