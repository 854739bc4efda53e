#include "sync/store_metrics.h"

namespace vellum::sync {
namespace {

const std::vector<double>& Seconds() {
  static const std::vector<double> kBuckets = ExponentialBuckets(0.001, 4, 10);
  return kBuckets;
}

}  // namespace

StoreMetrics::StoreMetrics(Metrics* metrics)
    : own_(metrics == nullptr ? std::make_unique<Metrics>() : nullptr),
      metrics_(metrics == nullptr ? own_.get() : metrics),
      open_generations_(metrics_->AddGauge("vellum_sync_open_generations", "Generations that are open for reading.")),
      open_files_(metrics_->AddGauge("vellum_sync_open_files", "Table files of generations that are open.")),
      readers_(metrics_->AddGauge("vellum_sync_readers", "Generations that somebody read or derived from at the last look.")),
      open_hits_(metrics_->AddCounter("vellum_sync_generation_opens_total",
                                      "Times that a generation was asked for, by whether it was open already.",
                                      {{"result", "hit"}})),
      open_misses_(metrics_->AddCounter("vellum_sync_generation_opens_total",
                                        "Times that a generation was asked for, by whether it was open already.",
                                        {{"result", "miss"}})),
      exported_(metrics_->AddCounter("vellum_sync_exported_records_total", "Records that were written into files.")),
      sweeps_(metrics_->AddCounter("vellum_sync_sweeps_total", "Sweeps, those that found nothing included.")),
      swept_generations_(metrics_->AddCounter("vellum_sync_swept_generations_total",
                                              "Generations deleted because nothing referred to them.")),
      swept_directories_(metrics_->AddCounter("vellum_sync_swept_directories_total",
                                              "Directories deleted that half-made generations had left.")),
      swept_bytes_(metrics_->AddCounter("vellum_sync_swept_bytes_total",
                                        "Bytes of what was swept; files that other generations have count too.")),
      refused_(metrics_->AddCounter("vellum_sync_refused_writers_total",
                                    "Writers and imports that were refused because staging was full.")),
      rollups_(metrics_->AddCounter("vellum_sync_rollups_total", "Rollups that merged something.")),
      rolled_up_(metrics_->AddCounter("vellum_sync_rolled_up_total", "Syncs that were merged into a full one and deleted.")),
      last_success_(metrics_->AddGauge("vellum_sync_keeper_last_success_seconds",
                                       "When the keeper last did all of its tasks without a failure, in seconds since 1970.")),
      pass_seconds_(metrics_->AddHistogram("vellum_sync_keeper_pass_seconds", "What a pass of the keeper takes.", Seconds())) {
  Surveyed({});
  for (const char* rule : {"open", "diff", "partial", "full"}) RetiredCounter(rule);
  for (const char* operation : {"import", "write", "merge", "fold", "replace", "rollback", "rewrite", "repair"}) {
    SwitchCounter(operation);
    if (std::string_view(operation) != "rollback") MadeShape(operation);
  }
  for (const char* task : {"sweep", "expire", "rollup", "retain", "rewrite", "survey"}) {
    for (const char* result : {"ok", "failed"}) {
      metrics_->AddCounter("vellum_sync_keeper_tasks_total", "Tasks that the keeper ended, by outcome.",
                           {{"task", task}, {"result", result}});
    }
  }
}

void StoreMetrics::Surveyed(const StoreFacts& facts) {
  const auto set = [this](const char* name, const char* help, std::uint64_t value, const MetricLabels& labels = {}) {
    metrics_->AddGauge(name, help, labels).Set(static_cast<double>(value));
  };
  constexpr const char* kSyncs = "Syncs, by state.";
  set("vellum_sync_syncs", kSyncs, facts.syncs_open, {{"state", "open"}});
  set("vellum_sync_syncs", kSyncs, facts.syncs_sealed, {{"state", "sealed"}});
  constexpr const char* kGenerations = "Generations, by state.";
  set("vellum_sync_generations", kGenerations, facts.generations_building, {{"state", "building"}});
  set("vellum_sync_generations", kGenerations, facts.generations_sealed, {{"state", "sealed"}});
  set("vellum_sync_generations", kGenerations, facts.generations_deleting, {{"state", "deleting"}});
  set("vellum_sync_unreferenced_generations",
      "Sealed generations that nothing refers to any more and that wait for their readers.", facts.generations_unreferenced);
  set("vellum_sync_unreadable_generations", "Sealed generations whose description is missing or damaged.",
      facts.generations_unreadable);
  set("vellum_sync_wasteful_generations", "Sealed generations whose waste is past the limit, so that they are rewritten.",
      facts.generations_wasteful);
  set("vellum_sync_overlays", "Overlays that folds have left, over all generations.", facts.overlays);
  constexpr const char* kBytes =
      "Bytes of generations: live files, what sharing files saves, and what overlays hide (uncompressed).";
  set("vellum_sync_generation_bytes", kBytes, facts.bytes, {{"kind", "live"}});
  set("vellum_sync_generation_bytes", kBytes, facts.bytes_shared, {{"kind", "shared"}});
  set("vellum_sync_generation_bytes", kBytes, facts.bytes_dead, {{"kind", "dead"}});
  set("vellum_sync_staging_bytes", "Bytes of syncs that are being written and of generations that are being made.",
      facts.staging_bytes);
  set("vellum_sync_trash_bytes", "Bytes on their way out.", facts.trash_bytes);
}

void StoreMetrics::OpenGenerations(std::size_t generations, std::size_t files) {
  open_generations_.Set(static_cast<double>(generations));
  open_files_.Set(static_cast<double>(files));
}

void StoreMetrics::Switched(const std::string& operation) {
  SwitchCounter(operation).Increment();
}

Counter& StoreMetrics::SwitchCounter(const std::string& operation) {
  return metrics_->AddCounter("vellum_sync_switches_total",
                              "Times that a sync was pointed at a generation, by the operation.", {{"operation", operation}});
}

StoreMetrics::Shape StoreMetrics::MadeShape(const std::string& operation) {
  const MetricLabels labels = {{"operation", operation}};
  return {metrics_->AddCounter("vellum_sync_made_records_total",
                               "Records of the generations that were made, by the operation.", labels),
          metrics_->AddCounter("vellum_sync_made_bytes_total",
                               "Bytes written for the generations that were made, by the operation.", labels),
          metrics_->AddHistogram("vellum_sync_made_seconds", "What it takes to make a generation, by the operation.", Seconds(),
                                 labels)};
}

void StoreMetrics::Made(const std::string& operation, std::uint64_t records, std::uint64_t bytes_written, double seconds) {
  const Shape shape = MadeShape(operation);
  shape.records.Increment(static_cast<double>(records));
  shape.bytes.Increment(static_cast<double>(bytes_written));
  shape.seconds.Observe(seconds);
}

void StoreMetrics::Swept(std::uint64_t generations, std::uint64_t directories, std::uint64_t bytes) {
  sweeps_.Increment();
  swept_generations_.Increment(static_cast<double>(generations));
  swept_directories_.Increment(static_cast<double>(directories));
  swept_bytes_.Increment(static_cast<double>(bytes));
}

Counter& StoreMetrics::RetiredCounter(const std::string& rule) {
  return metrics_->AddCounter("vellum_sync_retired_total", "Syncs that retention deleted, by the rule.", {{"rule", rule}});
}

void StoreMetrics::Retired(const std::string& rule) { RetiredCounter(rule).Increment(); }

void StoreMetrics::RolledUp(std::uint64_t syncs) {
  rollups_.Increment();
  rolled_up_.Increment(static_cast<double>(syncs));
}

void StoreMetrics::Kept(std::string_view task, bool ok) {
  metrics_->AddCounter("vellum_sync_keeper_tasks_total", "Tasks that the keeper ended, by outcome.",
                       {{"task", std::string(task)}, {"result", ok ? "ok" : "failed"}})
      .Increment();
}

void StoreMetrics::KeeperPass(bool ok, double seconds, double wall_s) {
  pass_seconds_.Observe(seconds);
  if (ok) last_success_.Set(wall_s);
}

void StoreMetrics::Limit(const std::string& name, double value) {
  metrics_->AddGauge("vellum_sync_limit", "Limits of the data plane, by name.", {{"name", name}}).Set(value);
}

}  // namespace vellum::sync
