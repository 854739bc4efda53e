#pragma once

#include <atomic>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "base/log.h"
#include "base/metrics.h"
#include "base/mutex.h"
#include "kv/applier.h"
#include "kv/commit_log.h"
#include "kv/data_dir.h"
#include "kv/disk_guard.h"
#include "kv/engine.h"
#include "kv/engine_metrics.h"
#include "kv/group_runner.h"
#include "kv/lessor.h"
#include "kv/reclaimer.h"
#include "kv/space_pacer.h"
#include "kv/watch_hub.h"
#include "kv/writer_state.h"
#include "storage/database.h"

namespace vellum::kv {

/// The parts of an engine, in the order in which they are made; they go the other way round.
struct Engine::Impl {
  explicit Impl(EngineOptions engine_options);

  // Opening, step by step (engine_open.cc).
  Status OpenDatabase();
  Status InitializeStore();
  Status ReadIdentity();
  void MakeGuard();
  Status OpenApplier();
  void MakeParts();
  Status RestoreLeases();
  void AddStateMetrics();
  void StartParts();

  /// The stateless checks and the refusals that need no applier. May raise a TTL to the minimum.
  Status Admit(Command* command);
  Status CheckFields(Command* command) const;
  /// Switches the alarm on, if it is not on already, and then calls `done`: after the alarm can be seen, or could not be
  /// written.
  void RaiseNoSpace(std::function<void()> done) VELLUM_EXCLUDES(space_mu);
  /// Whether there is room for what a delete leaves behind until it is compacted.
  Status CheckRoomForDeletes(const Command& command);
  /// Without the checks, also while stopping: for the engine's own parts.
  void ProposeInternal(Command command, ProposalDone done);
  void CompactNow(const CompactCommand& command, bool physical, std::function<void(Result<CompactResult>)> done);
  Status StopParts();
  Status CheckpointLeases();

  EngineOptions options;
  const std::unique_ptr<Metrics> own_metrics;  // if the options bring none
  Metrics* const metrics;
  const Logger logger;
  const std::shared_ptr<WriterState> writer;  // shared with RocksDB's error listener
  const std::shared_ptr<CompactionMark> mark = std::make_shared<CompactionMark>();

  std::unique_ptr<DataDir> directory;
  std::unique_ptr<storage::Database> database;
  std::uint64_t cluster_id = 0;
  std::uint64_t member_id = 0;
  std::unique_ptr<DiskGuard> guard;
  std::unique_ptr<SpacePacer> pacer;
  std::unique_ptr<Applier> applier;
  std::unique_ptr<ApplyMetrics> apply_metrics;
  std::unique_ptr<CompactMetrics> compact_metrics;
  std::unique_ptr<WatchHub> hub;
  std::unique_ptr<LocalCommitLog> log;
  std::unique_ptr<Lessor> lessor;
  std::unique_ptr<GroupRunner> runner;
  std::unique_ptr<Reclaimer> reclaimer;
  std::vector<Metrics::CallbackHandle> state_metrics;

  std::atomic<bool> stopping{false};
  Mutex space_mu;
  /// Who waits for the alarm NOSPACE; not empty while it is on its way to the applier.
  std::vector<std::function<void()>> awaiting_no_space VELLUM_GUARDED_BY(space_mu);
  Mutex stop_mu;                              // one Stop at a time
  bool stopped VELLUM_GUARDED_BY(stop_mu) = false;
  Status stop_status VELLUM_GUARDED_BY(stop_mu);
};

}  // namespace vellum::kv
