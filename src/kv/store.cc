#include "vellum/store.h"

#include <algorithm>
#include <atomic>
#include <future>
#include <shared_mutex>
#include <utility>

#include "kv/auto_compactor.h"
#include "kv/engine.h"
#include "kv/lease_keys.h"
#include "kv/lessor.h"
#include "kv/operations.h"
#include "kv/store_handle.h"
#include "kv/store_watch.h"
#include "kv/validate.h"
#include "kv/watch_hub.h"

// The public store: an engine and its automatic compaction behind plain calls that wait.
namespace vellum {
namespace {

Status Closed() { return Unavailable("the store is closed", Reason::kStopped); }

kv::EngineOptions ToEngineOptions(const StoreOptions& options) {
  kv::EngineOptions engine;
  engine.data_dir = options.directory;
  engine.create_if_missing = options.create_if_missing;
  engine.read_only = options.read_only;
  engine.unsafe_no_fsync = !options.sync_writes;
  engine.block_cache_bytes = options.block_cache_bytes;
  engine.txn_ops_max = options.txn_ops_max;
  engine.quota_backend_bytes = options.quota_bytes;
  engine.free_space_floor_bytes = options.free_space_floor_bytes;
  engine.lease_ttl_min = options.lease_ttl_min;
  engine.rocksdb_options = options.rocksdb_options;
  engine.clock = options.clock;
  engine.log_sink = options.log_sink;
  engine.log_level = options.log_level;
  return engine;
}

Status CheckOptions(const StoreOptions& options) {
  if (options.directory.empty()) return InvalidArgument("the store needs a directory");
  if (options.clock == nullptr) return InvalidArgument("the store needs a clock");
  if (options.txn_ops_max < 1) return InvalidArgument("txn_ops_max must be at least 1");
  if (options.lease_ttl_min < std::chrono::seconds(1)) return InvalidArgument("lease_ttl_min must be at least 1 s");
  if (options.revisions_kept < 0) return InvalidArgument("revisions_kept must not be negative");
  if (options.compaction_interval <= std::chrono::nanoseconds(0)) {
    return InvalidArgument("compaction_interval must be above 0");
  }
  return {};
}

class StoreImpl final : public Store {
 public:
  explicit StoreImpl(std::shared_ptr<kv::EngineHandle> handle) : handle_(std::move(handle)) {}
  ~StoreImpl() override { StoreImpl::Close().IgnoreError("whoever wants to know has called Close before"); }

  void StartAutoCompaction(const StoreOptions& options);
  const std::shared_ptr<kv::EngineHandle>& handle() const { return handle_; }

  Status Close() override;
  Result<PutResponse> Put(PutRequest request) override {
    return Propose<PutResponse>(kv::PutCommand{std::move(request)});
  }
  Result<std::optional<KeyValue>> Get(std::string_view key) override;
  Result<RangeResponse> Range(const RangeRequest& request) override;
  Result<DeleteRangeResponse> DeleteRange(DeleteRangeRequest request) override {
    return Propose<DeleteRangeResponse>(kv::DeleteRangeCommand{std::move(request)});
  }
  Result<TxnResponse> Txn(TxnRequest request) override;
  Status Compact(Revision revision, const CompactOptions& options) override;
  Status Defragment() override;
  Result<LeaseGrantResponse> LeaseGrant(std::int64_t ttl_s, LeaseId id) override;
  Result<Revision> LeaseRevoke(LeaseId id) override;
  Result<std::int64_t> LeaseKeepAlive(LeaseId id) override;
  Result<LeaseTimeToLiveResponse> LeaseTimeToLive(LeaseId id, LeaseKeys keys) override;
  Result<std::vector<LeaseId>> LeaseList() override;
  Result<std::unique_ptr<WatchStream>> Watch(const WatchRequest& request) override;
  Result<StoreHash> Hash(Revision revision) override;
  StoreInfo Info() override;
  Status ClearSpaceAlarm() override;
  std::string Metrics() override;

 private:
  template <typename Response>
  Result<Response> Propose(kv::Command command) {
    const kv::EngineHandle::Use engine(*handle_);
    if (!engine) return Closed();
    VELLUM_ASSIGN_OR_RETURN(kv::CommandResult result, engine->ProposeAndWait(std::move(command)));
    return std::get<Response>(std::move(result));
  }

  const std::shared_ptr<kv::EngineHandle> handle_;
  std::unique_ptr<kv::AutoCompactor> compactor_;  // constant after Open
};

void StoreImpl::StartAutoCompaction(const StoreOptions& options) {
  if (options.revisions_kept == 0 || options.read_only) return;
  kv::AutoCompactionOptions compaction;
  compaction.mode = kv::AutoCompactionOptions::Mode::kRevision;
  compaction.revisions = options.revisions_kept;
  compaction.interval = options.compaction_interval;
  const kv::EngineHandle::Use use(*handle_);
  kv::Engine* const engine = use.get();  // the compactor is stopped before the engine goes
  kv::AutoCompactor::Hooks hooks;
  hooks.position = [engine] {
    const auto view = engine->CurrentView();
    return kv::AutoCompactor::Position{view->revision(), view->compacted()};
  };
  hooks.compact = [engine](Revision revision, std::function<void(Status)> done) {
    engine->Compact(revision, /*physical=*/false,
                    [done = std::move(done)](const Result<kv::CompactResult>& result) { done(result.error()); });
  };
  hooks.propose = [engine](kv::Command command, kv::ProposalDone done) {
    engine->Propose(std::move(command), std::move(done));
  };
  compactor_ = std::make_unique<kv::AutoCompactor>(compaction, std::move(hooks), std::vector<kv::RevisionSample>(),
                                                   options.clock, Logger(options.log_sink, options.log_level));
  compactor_->Start();
}

Status StoreImpl::Close() {
  if (compactor_ != nullptr) compactor_->Stop();
  return handle_->Close();
}

Result<std::optional<KeyValue>> StoreImpl::Get(std::string_view key) {
  VELLUM_ASSIGN_OR_RETURN(RangeResponse response, Range({.key = std::string(key)}));
  if (response.kvs.empty()) return std::optional<KeyValue>();
  return std::optional<KeyValue>(std::move(response.kvs.front()));
}

Result<RangeResponse> StoreImpl::Range(const RangeRequest& request) {
  const kv::EngineHandle::Use engine(*handle_);
  if (!engine) return Closed();
  VELLUM_TRY(kv::CheckRange(request));
  return kv::ReadRange(*engine->CurrentView(), request);
}

Result<TxnResponse> StoreImpl::Txn(TxnRequest request) {
  if (!kv::IsReadOnly(request)) return Propose<TxnResponse>(kv::TxnCommand{std::move(request)});
  const kv::EngineHandle::Use engine(*handle_);
  if (!engine) return Closed();
  VELLUM_TRY(kv::CheckTxn(request, engine->options().txn_ops_max));
  return kv::ReadOnlyTxn(*engine->CurrentView(), request);
}

Status StoreImpl::Compact(Revision revision, const CompactOptions& options) {
  const kv::EngineHandle::Use engine(*handle_);
  if (!engine) return Closed();
  // Shared, because the answer may come after the caller has given up.
  auto promise = std::make_shared<std::promise<Status>>();
  std::future<Status> future = promise->get_future();
  engine->Compact(revision, options.physical,
                  [promise](const Result<kv::CompactResult>& result) { promise->set_value(result.error()); });
  if (options.timeout && future.wait_for(*options.timeout) != std::future_status::ready) {
    return DeadlineExceeded("the compaction to revision " + std::to_string(revision) + " goes on").WithMaybeApplied();
  }
  return future.get();
}

Status StoreImpl::Defragment() {
  const kv::EngineHandle::Use engine(*handle_);
  if (!engine) return Closed();
  std::promise<Status> promise;
  std::future<Status> future = promise.get_future();
  engine->Defragment([&promise](Status status) { promise.set_value(std::move(status)); });
  return future.get();
}

Result<LeaseGrantResponse> StoreImpl::LeaseGrant(std::int64_t ttl_s, LeaseId id) {
  const kv::EngineHandle::Use engine(*handle_);
  if (!engine) return Closed();
  const LeaseId chosen = id == 0 ? engine->lessor().PickId() : id;
  VELLUM_ASSIGN_OR_RETURN(kv::CommandResult result, engine->ProposeAndWait(kv::LeaseGrantCommand{chosen, ttl_s}));
  return std::get<LeaseGrantResponse>(std::move(result));
}

Result<Revision> StoreImpl::LeaseRevoke(LeaseId id) {
  VELLUM_ASSIGN_OR_RETURN(const kv::LeaseRevokeResult result,
                          Propose<kv::LeaseRevokeResult>(kv::LeaseRevokeCommand{id}));
  return result.revision;
}

Result<std::int64_t> StoreImpl::LeaseKeepAlive(LeaseId id) {
  const kv::EngineHandle::Use engine(*handle_);
  if (!engine) return Closed();
  std::promise<Result<std::int64_t>> promise;
  std::future<Result<std::int64_t>> future = promise.get_future();
  engine->lessor().KeepAlive(id, [&promise](Result<std::int64_t> ttl) { promise.set_value(std::move(ttl)); });
  return future.get();
}

Result<LeaseTimeToLiveResponse> StoreImpl::LeaseTimeToLive(LeaseId id, LeaseKeys keys) {
  const kv::EngineHandle::Use engine(*handle_);
  if (!engine) return Closed();
  const auto view = engine->CurrentView();
  LeaseTimeToLiveResponse response;
  response.revision = view->revision();
  response.id = id;
  const auto remaining = engine->lessor().TimeToLive(id);
  if (!remaining) return response;
  response.ttl_s = remaining->ttl_s;
  response.granted_ttl_s = remaining->granted_ttl_s;
  if (keys == LeaseKeys::kInclude) {
    VELLUM_ASSIGN_OR_RETURN(response.keys, kv::LeaseKeys(*view, id));
  }
  return response;
}

Result<std::vector<LeaseId>> StoreImpl::LeaseList() {
  const kv::EngineHandle::Use engine(*handle_);
  if (!engine) return Closed();
  return engine->lessor().List();
}

Result<std::unique_ptr<WatchStream>> StoreImpl::Watch(const WatchRequest& request) {
  if (request.key.empty()) return InvalidArgument("key is not provided", Reason::kKeyEmpty);
  const kv::EngineHandle::Use engine(*handle_);
  if (!engine) return Closed();
  return kv::OpenStoreWatch(handle_, *engine.get(), request);
}

Result<StoreHash> StoreImpl::Hash(Revision revision) {
  const kv::EngineHandle::Use engine(*handle_);
  if (!engine) return Closed();
  VELLUM_ASSIGN_OR_RETURN(const kv::HashResult hash,
                          kv::HashKeyValues(*engine->CurrentView(), std::max<Revision>(revision, 0)));
  return StoreHash{hash.hash, hash.hash_revision, hash.compact_revision};
}

StoreInfo StoreImpl::Info() {
  StoreInfo info;
  const kv::EngineHandle::Use engine(*handle_);
  if (!engine) {
    info.writer = Closed();
    return info;
  }
  const kv::Engine::Info all = engine->GetInfo();
  info.revision = all.revision;
  info.compacted = all.compacted;
  info.keys = all.keys;
  info.disk_bytes = all.sizes.total();
  info.in_use_bytes = all.sizes.in_use();
  info.space_alarm = std::any_of(all.alarms.begin(), all.alarms.end(), [](const kv::AlarmEntry& entry) {
    return entry.alarm == kv::AlarmType::kNoSpace;
  });
  info.writer = all.writer;
  return info;
}

Status StoreImpl::ClearSpaceAlarm() {
  const kv::EngineHandle::Use engine(*handle_);
  if (!engine) return Closed();
  for (const kv::AlarmEntry& entry : engine->GetInfo().alarms) {
    if (entry.alarm != kv::AlarmType::kNoSpace) continue;
    VELLUM_TRY(engine->ProposeAndWait(kv::AlarmCommand{false, entry.alarm, entry.member_id}).error());
  }
  return {};
}

std::string StoreImpl::Metrics() {
  const kv::EngineHandle::Use engine(*handle_);
  return engine ? engine->metrics().Expose() : std::string();
}

}  // namespace

std::shared_ptr<kv::EngineHandle> kv::HandleOf(Store* store) {
  const auto* const ours = dynamic_cast<const StoreImpl*>(store);
  return ours == nullptr ? nullptr : ours->handle();
}

Result<std::unique_ptr<Store>> Store::Open(StoreOptions options) {
  VELLUM_TRY(CheckOptions(options));
  VELLUM_ASSIGN_OR_RETURN(std::unique_ptr<kv::Engine> engine, kv::Engine::Open(ToEngineOptions(options)));
  auto store = std::make_unique<StoreImpl>(std::make_shared<kv::EngineHandle>(std::move(engine)));
  store->StartAutoCompaction(options);
  return std::unique_ptr<Store>(std::move(store));
}

}  // namespace vellum
