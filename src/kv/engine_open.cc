#include <algorithm>
#include <random>
#include <utility>

#include "kv/engine_impl.h"
#include "kv/history_filter.h"

// How an engine comes up.
namespace vellum::kv {
namespace {

/// Random and never 0: ids only have to differ from those of other stores.
std::uint64_t RandomId() {
  std::random_device device;
  std::uint64_t id = 0;
  while (id == 0) id = (static_cast<std::uint64_t>(device()) << 32) | device();
  return id;
}

/// A share of the disk where that is less than `usual`: neither the log nor the room that rewriting a table needs must
/// take what the data needs.
std::uint64_t ShareOfDisk(const std::string& directory, std::uint64_t share, std::uint64_t usual) {
  constexpr std::uint64_t kLeast = 2u << 20;
  const Result<DiskGuard::Space> space = DiskGuard::ReadSpace(directory);
  return space.ok() ? std::min(usual, std::max(kLeast, space->total_bytes / share)) : usual;
}
constexpr std::uint64_t kLogShare = 16;
constexpr std::uint64_t kTableShare = 32;

Result<bool> IsEmpty(const storage::Database& database) {
  for (const storage::Family family : {kMeta, kLatest, kHistory, kRev, kCount, kLease}) {
    storage::Iterator it = database.NewIterator(family);
    it.SeekToFirst();
    if (it.valid()) return false;
    VELLUM_TRY(it.status());
  }
  return true;
}

}  // namespace

Engine::Impl::Impl(EngineOptions engine_options)
    : options(std::move(engine_options)),
      own_metrics(options.metrics == nullptr ? std::make_unique<Metrics>() : nullptr),
      metrics(options.metrics == nullptr ? own_metrics.get() : options.metrics),
      logger(options.log_sink, options.log_level),
      writer(std::make_shared<WriterState>([log = logger](const Status& cause) {
        VELLUM_LOG(log, kError, "a write failed: nothing is written any more until the store is opened anew",
                   {{"error", cause.ToString()}});
      })) {}

Status Engine::Impl::OpenDatabase() {
  const bool create = options.create_if_missing && !options.read_only;
  VELLUM_ASSIGN_OR_RETURN(directory, DataDir::Open(options.data_dir, create));
  DiskGuard::MakeRoomToOpen(directory->path(), directory->reserve_path(), logger);
  storage::DatabaseOptions database_options;
  database_options.path = directory->database_path();
  Counter& dropped = metrics->AddCounter("etcd_debugging_mvcc_db_compaction_keys_total",
                                         "Records of history that compaction has taken off the disk.");
  database_options.families = FamilyList(HistoryFilterFactory(mark, &dropped));
  database_options.create_if_missing = create && !directory->initialized();
  database_options.block_cache_bytes = options.block_cache_bytes;
  database_options.wal_bytes_max = ShareOfDisk(directory->path(), kLogShare, database_options.wal_bytes_max);
  database_options.table_file_bytes = ShareOfDisk(directory->path(), kTableShare, database_options.table_file_bytes);
  database_options.sync_wal = !options.unsafe_no_fsync;
  database_options.accept_wal_loss = options.accept_wal_loss;
  database_options.rocksdb_options = options.rocksdb_options;
  database_options.file_system = options.file_system;
  database_options.logger = logger;
  database_options.metrics = metrics;
  database_options.on_background_error = [state = writer](const Status& cause) { state->Fail(cause); };
  VELLUM_ASSIGN_OR_RETURN(database, storage::Database::Open(std::move(database_options)));
  if (!directory->initialized()) VELLUM_TRY(InitializeStore());
  return ReadIdentity();
}

/// A crash may have come between the first batch and FORMAT: then there is a store already, and an empty one.
Status Engine::Impl::InitializeStore() {
  VELLUM_ASSIGN_OR_RETURN(const auto format, ReadMetaNumber(*database, kMetaFormat));
  if (!format) {
    VELLUM_ASSIGN_OR_RETURN(const bool empty, IsEmpty(*database));
    if (!empty) return DataLoss("the database in " + directory->path() + " has rows but no format");
    storage::Batch batch;
    batch.Put(kMeta, kMetaFormat, EncodeMetaNumber(static_cast<std::int64_t>(kFormatNumber)));
    batch.Put(kMeta, kMetaRevision, EncodeMetaNumber(1));
    batch.Put(kMeta, kMetaClusterId, EncodeMetaNumber(static_cast<std::int64_t>(RandomId())));
    batch.Put(kMeta, kMetaMemberId, EncodeMetaNumber(static_cast<std::int64_t>(RandomId())));
    VELLUM_TRY(database->Write(std::move(batch)));
    VELLUM_TRY(database->Sync());
  }
  return directory->MarkInitialized();
}

Status Engine::Impl::ReadIdentity() {
  VELLUM_ASSIGN_OR_RETURN(const auto format, ReadMetaNumber(*database, kMetaFormat));
  VELLUM_ASSIGN_OR_RETURN(const auto cluster, ReadMetaNumber(*database, kMetaClusterId));
  VELLUM_ASSIGN_OR_RETURN(const auto member, ReadMetaNumber(*database, kMetaMemberId));
  if (!format || !cluster || !member || *cluster == 0 || *member == 0) {
    return DataLoss("the database in " + directory->path() + " has lost its format or its ids");
  }
  if (static_cast<std::uint64_t>(*format) > kFormatNumber) {
    return FailedPrecondition("the database in " + directory->path() + " has format " + std::to_string(*format) +
                              ", this program knows formats up to " + std::to_string(kFormatNumber));
  }
  cluster_id = static_cast<std::uint64_t>(*cluster);
  member_id = static_cast<std::uint64_t>(*member);
  return {};
}

void Engine::Impl::MakeGuard() {
  DiskGuard::Options guard_options;
  guard_options.directory = directory->path();
  guard_options.reserve_path = directory->reserve_path();
  guard_options.floor_bytes = options.read_only ? 0 : options.free_space_floor_bytes;
  guard_options.quota_bytes = options.quota_backend_bytes;
  guard_options.clock = options.clock;
  guard_options.logger = logger;
  guard_options.stored_bytes = [db = database.get()] {
    const storage::Database::Sizes sizes = db->GetSizes();
    return sizes.table_bytes + sizes.wal_bytes;
  };
  guard_options.pending_bytes = [db = database.get()] { return db->GetSizes().memtable_bytes; };
  guard = std::make_unique<DiskGuard>(guard_options);
  pacer = std::make_unique<SpacePacer>(guard.get(), database.get());
  guard->Start();
}

Status Engine::Impl::OpenApplier() {
  const Applier::Options applier_options{options.apply_batch_bytes_max, options.txn_bytes_max, pacer.get()};
  VELLUM_ASSIGN_OR_RETURN(applier, Applier::Open(applier_options, database.get(), mark, options.read_only));
  mark->published.store(applier->compacted(), std::memory_order_release);
  // Up to here everything has been dropped before. What lies between waits for the reclaimer.
  mark->filter.store(applier->reclaimed(), std::memory_order_release);
  return {};
}

void Engine::Impl::MakeParts() {
  Lessor::Options lessor_options;
  lessor_options.clock = options.clock;
  lessor_options.tick = options.lease_tick;
  lessor_options.ttl_min_s = options.lease_ttl_min.count();
  lessor_options.logger = logger;
  lessor_options.metrics = metrics;
  const auto propose = [this](Command command, ProposalDone done) {
    ProposeInternal(std::move(command), std::move(done));
  };
  lessor = std::make_unique<Lessor>(lessor_options, propose);

  WatchHub::Options hub_options;
  hub_options.ring_bytes = options.event_ring_bytes;
  hub_options.progress_interval = options.watch_progress_interval;
  hub_options.clock = options.clock;
  hub_options.logger = logger;
  hub_options.metrics = metrics;
  hub = std::make_unique<WatchHub>(hub_options, [this] { return runner->CurrentView(); });

  apply_metrics = std::make_unique<ApplyMetrics>(metrics);
  compact_metrics = std::make_unique<CompactMetrics>(metrics, options.node_name);
  compact_metrics->Opened(applier->compacted());
  GroupRunner::Hooks hooks;
  hooks.on_lease = [this](const Outcome::LeaseChange& change) {
    if (change.granted) {
      lessor->OnGranted(change.id, change.ttl_s, change.incarnation);
    } else {
      lessor->OnRevoked(change.id, change.incarnation);
    }
  };
  hooks.on_revisions = [this](std::vector<PublishedRevisionPtr> revisions) { hub->Publish(std::move(revisions)); };
  hooks.on_written = [this](std::size_t bytes) {
    guard->OnWritten(bytes);
    if (guard->low()) RaiseNoSpace([] {});
  };
  hooks.on_alarms = [this](const std::vector<AlarmEntry>&) { guard->Recheck(); };
  runner = std::make_unique<GroupRunner>(GroupRunner::Options{options.clock, options.count_ring_bytes}, database.get(),
                                         applier.get(), writer.get(), mark, apply_metrics.get(), std::move(hooks));

  LocalCommitLog::Options log_options;
  log_options.group_commands_max = options.group_commands_max;
  log_options.group_bytes_max = options.group_bytes_max;
  log_options.proposals_max = options.proposals_max;
  log_options.proposals_bytes_max = options.proposals_bytes_max;
  log_options.clock = options.clock;
  log_options.metrics = metrics;
  log = std::make_unique<LocalCommitLog>(log_options);
  Reclaimer::Options reclaimer_options;
  reclaimer_options.delay = options.reclaim_delay;
  reclaimer_options.slice_bytes_max =
      ShareOfDisk(directory->path(), kTableShare, reclaimer_options.slice_bytes_max);
  reclaimer_options.bytes_per_second = options.reclaim_bytes_per_second;
  reclaimer_options.clock = options.clock;
  reclaimer_options.logger = logger;
  reclaimer_options.metrics = metrics;
  const auto count = [this](const KeyInterval& interval) {
    const std::shared_ptr<const View> view = runner->CurrentView();
    return ViewLatest(view.get()).Count(interval);
  };
  reclaimer = std::make_unique<Reclaimer>(reclaimer_options, database.get(), mark, count, propose);
}

/// Reads the lease records, jumping over the keys that are attached to each.
Status Engine::Impl::RestoreLeases() {
  storage::Iterator it = database->NewIterator(kLease);
  it.SeekToFirst();
  while (it.valid()) {
    VELLUM_ASSIGN_OR_RETURN(const LeaseKeyParts row, DecodeLeaseKey(it.key()));
    if (row.key) {
      // Ids are ordered as unsigned numbers; behind the last there is nothing.
      const auto next = static_cast<std::uint64_t>(row.id) + 1;
      if (next == 0) break;
      it.Seek(LeaseKey(static_cast<LeaseId>(next)));
      continue;
    }
    VELLUM_ASSIGN_OR_RETURN(const LeaseRecord record, DecodeLeaseRecord(it.value()));
    lessor->Restore(row.id, record);
    it.Next();
  }
  return it.status();
}

void Engine::Impl::AddStateMetrics() {
  const auto gauge = [this](const std::string& name, const std::string& help, std::function<double()> read) {
    state_metrics.push_back(metrics->AddCallback(Metrics::Kind::kGauge, name, help, std::move(read)));
  };
  gauge("etcd_debugging_mvcc_keys_total", "Keys that exist.",
        [this] { return static_cast<double>(CountTree::Total(runner->CurrentView()->count_root())); });
  gauge("etcd_debugging_mvcc_current_revision", "The current revision.",
        [this] { return static_cast<double>(runner->CurrentView()->revision()); });
  gauge("etcd_debugging_mvcc_compact_revision", "The compacted revision.",
        [this] { return static_cast<double>(runner->CurrentView()->compacted()); });
  gauge("etcd_server_quota_backend_bytes", "The quota; without one etcd's default, or what the disk has room for.",
        [this] { return static_cast<double>(guard->ShownQuota()); });
  gauge("etcd_mvcc_db_total_size_in_bytes", "Bytes on disk, tables and log.",
        [this] { return static_cast<double>(database->GetSizes().total()); });
  gauge("etcd_mvcc_db_total_size_in_use_in_bytes", "Estimate of the bytes on disk that are no garbage.",
        [this] { return static_cast<double>(database->GetSizes().in_use()); });
  gauge("etcd_mvcc_db_open_read_transactions", "Positions that readers hold open.", [this] {
    return static_cast<double>(database->Property("rocksdb.num-snapshots").value_or(0));
  });
  gauge("vellum_free_space_low", "1 while the disk has less free space than the floor.",
        [this] { return guard->low() ? 1.0 : 0.0; });
  gauge("vellum_writer_failed", "1 once a write has failed: nothing is written until the store is opened anew.",
        [this] { return writer->ok() ? 0.0 : 1.0; });
}

void Engine::Impl::StartParts() {
  hub->Start();
  log->Start(runner.get());
  if (options.read_only) return;
  lessor->Start();
  reclaimer->Start(applier->compacted(), applier->reclaimed());
  if (guard->low()) RaiseNoSpace([] {});
}

Result<std::unique_ptr<Engine>> Engine::Open(EngineOptions options) {
  auto impl = std::make_unique<Impl>(std::move(options));
  VELLUM_TRY(impl->OpenDatabase());
  impl->MakeGuard();
  VELLUM_TRY(impl->OpenApplier());
  impl->MakeParts();
  VELLUM_TRY(impl->RestoreLeases());
  impl->AddStateMetrics();
  VELLUM_LOG(impl->logger, kInfo, "opened the store",
             {{"directory", impl->directory->path()},
              {"revision", impl->applier->revision()},
              {"compacted", impl->applier->compacted()},
              {"keys", impl->applier->keys()},
              {"leases", impl->lessor->size()}});
  impl->StartParts();
  return std::unique_ptr<Engine>(new Engine(std::move(impl)));
}

}  // namespace vellum::kv
