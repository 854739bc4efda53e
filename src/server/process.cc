#include "server/process.h"

#include <algorithm>
#include <atomic>
#include <filesystem>
#include <utility>

#include "base/bytes.h"
#include "base/worker_pool.h"
#include "kv/auto_compactor.h"
#include "kv/engine.h"
#include "kv/view.h"
#include "rpc/services.h"
#include "rpc/sync_service.h"
#include "server/call_observer.h"
#include "server/go_duration.h"
#include "server/http_routes.h"
#include "server/listen_url.h"
#include "server/process_metrics.h"
#include "server/version.h"
#include "service/host.h"
#include "wire/server.h"

namespace vellum::server {
namespace {

constexpr std::chrono::seconds kStopGrace(5);

std::string Hex(std::uint64_t number) {
  std::string text(16, '0');
  for (std::size_t i = text.size(); i > 0; number >>= 4) text[--i] = "0123456789abcdef"[number & 15];
  return text;
}

std::string Join(const std::vector<std::string>& items) {
  std::string text;
  for (const std::string& item : items) text += (text.empty() ? "" : ",") + item;
  return text;
}

// The checks of /health and its kin, on the engine.
class EngineHealth final : public HealthSource {
 public:
  explicit EngineHealth(kv::Engine* engine) : engine_(engine) {}

  std::vector<kv::AlarmType> Alarms() override {
    std::vector<kv::AlarmType> alarms;
    for (const kv::AlarmEntry& entry : engine_->GetInfo().alarms) alarms.push_back(entry.alarm);
    return alarms;
  }

  // The newest view holds every answered write, so a local read is a current one.
  Status CheckRead(bool /*serializable*/) override {
    VELLUM_TRY(engine_->GetInfo().writer);
    RangeRequest request;
    request.key = std::string(1, '\0');
    request.range_end = std::string(kFromKey, 1);
    request.limit = 1;
    request.keys_only = true;
    return kv::ReadRange(*engine_->CurrentView(), request).error();
  }

 private:
  kv::Engine* const engine_;
};

kv::AutoCompactor::Hooks HooksOf(kv::Engine* engine) {
  return {.position =
              [engine] {
                const std::shared_ptr<const kv::View> view = engine->CurrentView();
                return kv::AutoCompactor::Position{view->revision(), view->compacted()};
              },
          .compact =
              [engine](Revision revision, std::function<void(Status)> done) {
                engine->Compact(revision, /*physical=*/false,
                                [done = std::move(done)](Result<kv::CompactResult> result) { done(result.error()); });
              },
          .propose =
              [engine](kv::Command command, std::function<void(Result<kv::CommandResult>)> done) {
                engine->Propose(std::move(command), std::move(done));
              }};
}

}  // namespace

// In the order of starting: what stands below uses what stands above and is destroyed before it.
struct Process::Impl {
  Impl(Config settings, LogSink* log) : config(std::move(settings)), sink(log), logger(log, config.log_level_least) {}

  Config config;
  LogSink* sink;
  Logger logger;
  Metrics metrics;
  std::unique_ptr<kv::Engine> engine;
  std::unique_ptr<kv::AutoCompactor> compactor;
  std::unique_ptr<WorkerPool> reads;
  std::unique_ptr<WorkerPool> long_reads;
  std::unique_ptr<WorkerPool> http_work;  // of its own, so that long reads cannot keep health checks waiting
  std::unique_ptr<EngineHealth> health;
  std::unique_ptr<HttpRoutes> routes;
  std::unique_ptr<ProcessMetrics> process_metrics;
  std::unique_ptr<service::Host> syncs;
  std::unique_ptr<rpc::Services> services;
  std::unique_ptr<rpc::SyncServices> sync_services;
  wire::ServiceTable table;
  std::unique_ptr<CallObserver> observer;
  std::unique_ptr<wire::Server> server;

  // Set before the loops start, constant afterwards.
  rpc::Member member;

  bool writer_failed = false;  // as seen by the thread that looks after the store
  bool serving = false;
  bool stopped = false;
  Status stop_status;

  Status OpenStore();
  Status Serve();
  void AnnounceStart() const;
  void AnnounceReady(const kv::Engine::Info& info) const;
  Status Stop();
};

void Process::Impl::AnnounceStart() const {
  VELLUM_LOG(logger, kInfo, "starting Vellum",
             {{"vellum-version", VellumVersion()},
              {"etcd-version", kEtcdVersion},
              {"git-commit", GitCommit()},
              {"name", config.engine.node_name},
              {"data-dir", config.engine.data_dir},
              {"listen-client-urls", Join(config.listen_client_urls)},
              {"event-loops", config.event_loops},
              {"block-cache-bytes", config.engine.block_cache_bytes},
              {"quota-backend-bytes", config.engine.quota_backend_bytes},
              {"auto-compaction-mode", config.auto_compaction_mode},
              {"auto-compaction-retention", config.auto_compaction_retention}});
  if (config.engine.unsafe_no_fsync) {
    VELLUM_LOG(
        logger, kWarn,
        "--unsafe-no-fsync is set: a power loss or a crash of the machine will take acknowledged writes with it");
  }
}

Status Process::Impl::OpenStore() {
  config.engine.log_sink = sink;
  config.engine.log_level = config.log_level_least;
  config.engine.metrics = &metrics;
  VELLUM_ASSIGN_OR_RETURN(engine, kv::Engine::Open(config.engine));
  VELLUM_ASSIGN_OR_RETURN(const std::vector<kv::RevisionSample> samples,
                          kv::LoadSamples(engine->CurrentView()->database()));
  compactor = std::make_unique<kv::AutoCompactor>(config.auto_compaction, HooksOf(engine.get()), samples,
                                                  config.engine.clock, logger);
  return {};
}

Status Process::Impl::Serve() {
  const std::size_t readers = std::clamp<std::size_t>(std::thread::hardware_concurrency(), 2, 32);
  reads = std::make_unique<WorkerPool>(WorkerPool::Options{.name = "reads", .threads = readers, .queue_max = 65'536});
  long_reads = std::make_unique<WorkerPool>(WorkerPool::Options{.name = "long-reads", .threads = 2, .queue_max = 64});
  http_work = std::make_unique<WorkerPool>(WorkerPool::Options{.name = "http", .threads = 1, .queue_max = 256});
  const kv::Engine::Info info = engine->GetInfo();
  health = std::make_unique<EngineHealth>(engine.get());
  routes = std::make_unique<HttpRoutes>(
      HttpRoutes::Options{.health = health.get(), .metrics = &metrics, .pool = http_work.get(), .logger = logger});
  process_metrics = std::make_unique<ProcessMetrics>(
      ProcessMetrics::Options{.metrics = &metrics, .member_id = info.member_id, .writable = [store = engine.get()] {
                                return store->GetInfo().writer.ok();
                              }});

  config.syncs.data_dir = config.engine.data_dir;
  config.syncs.unreferenced_keep_s = config.sync_unreferenced_keep.count();
  config.syncs.clock = config.engine.clock;
  config.syncs.logger = logger;
  config.syncs.metrics = &metrics;
  syncs = std::make_unique<service::Host>(engine.get(), config.syncs, config.keeper);

  rpc::ServiceContext context;
  context.engine = engine.get();
  context.reads = reads.get();
  context.long_reads = long_reads.get();
  context.identity.cluster_id = info.cluster_id;
  context.identity.member_id = info.member_id;
  context.identity.server_version = std::string(kEtcdVersion);
  context.identity.cluster_version = std::string(kEtcdClusterVersion);
  context.identity.storage_version = std::string(kEtcdStorageVersion);
  context.limits = config.limits;
  context.member = [this] { return member; };
  context.is_writer_lease = [this](LeaseId id) { return syncs->IsWriterLease(id); };
  context.clock = config.engine.clock;
  context.logger = logger;
  context.metrics = &metrics;
  services = std::make_unique<rpc::Services>(std::move(context));
  services->Register(&table);
  sync_services = std::make_unique<rpc::SyncServices>(
      rpc::SyncServiceContext{.host = syncs.get(), .limits = config.sync_limits, .logger = logger, .metrics = &metrics});
  sync_services->Register(&table);
  table.SetHttp([this](wire::HttpRequest request, wire::HttpReply reply) {
    routes->Handle(std::move(request), std::move(reply));
  });
  observer = std::make_unique<CallObserver>(CallObserver::Options{.slow_from = config.warning_unary_request_duration,
                                                                  .histograms = config.metrics == "extensive",
                                                                  .metrics = &metrics,
                                                                  .logger = logger},
                                            &table);
  wire::ServerOptions options = config.wire;
  options.logger = logger;
  options.metrics = &metrics;
  options.on_call_done = [this](std::string_view method, Code code, double seconds) {
    observer->OnCallDone(method, code, seconds);
  };
  VELLUM_ASSIGN_OR_RETURN(server, wire::Server::Listen(std::move(options), &table));

  member.name = config.engine.node_name;
  member.client_urls = config.advertise_client_urls;
  if (member.client_urls.empty()) member.client_urls = DeriveAdvertised(config.endpoints, server->addresses());
  member.peer_urls = config.shown_peer_urls;
  server->Start();
  compactor->Start();
  syncs->Start();
  serving = true;
  AnnounceReady(info);
  return {};
}

void Process::Impl::AnnounceReady(const kv::Engine::Info& info) const {
  // Scripts and test harnesses wait for these texts, which are etcd's; so "raft" is named although there is none.
  VELLUM_LOG(logger, kInfo, "published local member to cluster through raft",
             {{"local-member-id", Hex(info.member_id)},
              {"cluster-id", Hex(info.cluster_id)},
              {"local-member-attributes", "{Name:" + member.name + " ClientURLs:[" + Join(member.client_urls) + "]}"}});
  VELLUM_LOG(logger, kInfo, "enabled capabilities for version", {{"cluster-version", kEtcdClusterVersionShort}});
  const std::vector<std::string> bound = server->addresses();
  for (std::size_t i = 0; i < bound.size() && i < config.endpoints.size(); ++i) {
    const wire::Endpoint& endpoint = config.endpoints[i];
    VELLUM_LOG(logger, kInfo,
               endpoint.metrics_only ? "serving metrics and health checks" : "serving clients, in plain text",
               {{"address", bound[i]}});
    if (!endpoint.metrics_only && IsWildcard(endpoint) && config.advertise_client_urls.empty()) {
      VELLUM_LOG(logger, kWarn, "clients elsewhere cannot dial what the member list says; set --advertise-client-urls",
                 {{"advertised", Join(member.client_urls)}});
    }
  }
  VELLUM_LOG(logger, kInfo, "ready to serve client requests",
             {{"revision", info.revision}, {"compacted-revision", info.compacted}, {"keys", info.keys}});
}

Status Process::Impl::Stop() {
  if (std::exchange(stopped, true)) return stop_status;
  if (serving) VELLUM_LOG(logger, kInfo, "stopping", {});
  if (compactor != nullptr) compactor->Stop();
  if (services != nullptr) {
    services->SetServing(false);
    services->Stop();
  }
  if (sync_services != nullptr) sync_services->Stop();
  if (server != nullptr) server->Stop(kStopGrace);
  for (WorkerPool* pool : {reads.get(), long_reads.get(), http_work.get()}) {
    if (pool != nullptr) pool->Stop();
  }
  if (syncs != nullptr) syncs->Stop();
  if (engine != nullptr) stop_status = engine->Stop();
  if (!stop_status.ok()) {
    VELLUM_LOG(logger, kError, "stopped, but not cleanly", {{"error", stop_status.ToString()}});
  } else if (serving) {
    VELLUM_LOG(logger, kInfo, "stopped", {});
  }
  return stop_status;
}

Process::Process(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}

Process::~Process() { Stop().IgnoreError("it has been logged, and there is nobody left to tell"); }

Result<std::unique_ptr<Process>> Process::Start(Config config, LogSink* log) {
  // From here on the destructor takes down whatever has been started.
  std::unique_ptr<Process> process(new Process(std::make_unique<Impl>(std::move(config), log)));
  process->impl_->AnnounceStart();
  VELLUM_TRY(process->impl_->OpenStore());
  VELLUM_TRY(process->impl_->Serve());
  return process;
}

Status Process::Stop() { return impl_->Stop(); }

void Process::LookAfterStore() {
  if (impl_->writer_failed || impl_->engine->GetInfo().writer.ok()) return;
  impl_->writer_failed = true;
  impl_->services->SetServing(false);
}

std::vector<std::string> Process::addresses() const { return impl_->server->addresses(); }

}  // namespace vellum::server
