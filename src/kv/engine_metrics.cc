#include "kv/engine_metrics.h"

#include <cstdio>

namespace vellum::kv {
namespace {

constexpr std::string_view kAlarmNames[] = {"NONE", "NOSPACE", "CORRUPT"};
constexpr double kSlowApplySeconds = 0.1;

/// etcd's names of requests, by the position in Command; those without one are Vellum's own.
constexpr std::string_view kOpNames[] = {"Put",        "DeleteRange", "Txn",             "Compaction", "LeaseGrant", "LeaseRevoke",
                                         "LeaseExpire", "LeaseCheckpoint", "Alarm", "Sample", "Reclaim"};
static_assert(std::size(kOpNames) == std::variant_size_v<Command>);

std::string Hex(std::uint64_t value) {
  char text[17];
  std::snprintf(text, sizeof(text), "%llx", static_cast<unsigned long long>(value));
  return text;
}

}  // namespace

ApplyMetrics::ApplyMetrics(Metrics* metrics)
    : metrics_(metrics),
      puts_(metrics->AddCounter("etcd_mvcc_put_total", "Puts, those inside transactions too.")),
      deletes_(metrics->AddCounter("etcd_mvcc_delete_total", "Deletes, those inside transactions too.")),
      ranges_(metrics->AddCounter("etcd_mvcc_range_total", "Ranges, those inside transactions too.")),
      txns_(metrics->AddCounter("etcd_mvcc_txn_total", "Transactions of more than one operation.")),
      put_bytes_(metrics->AddGauge("etcd_debugging_mvcc_total_put_size_in_bytes",
                                   "Bytes of keys and values that were put since the start.")),
      proposals_committed_(metrics->AddGauge("etcd_server_proposals_committed_total", "Commands that were ordered.")),
      proposals_applied_(metrics->AddGauge("etcd_server_proposals_applied_total", "Commands that were applied.")),
      proposals_failed_(metrics->AddCounter("etcd_server_proposals_failed_total",
                                            "Commands that failed because they could not be made durable.")),
      slow_applies_(metrics->AddCounter("etcd_server_slow_apply_total", "Commands that took more than 100 ms to apply.")),
      group_seconds_(metrics->AddHistogram("vellum_group_duration_seconds",
                                           "From the first command of a group to its last answer.",
                                           ExponentialBuckets(0.0001, 2, 20))),
      commit_seconds_(metrics->AddHistogram("etcd_disk_backend_commit_duration_seconds",
                                            "What it takes to make a group durable.", ExponentialBuckets(0.001, 2, 14))) {
  for (std::size_t kind = 0; kind < durations_.size(); ++kind) {
    const auto histogram = [&](const char* success) {
      return &metrics->AddHistogram("etcd_server_apply_duration_seconds", "What it takes to apply a command, without sync.",
                                    ExponentialBuckets(0.0001, 2, 20),
                                    {{"version", "v3"}, {"op", std::string(kOpNames[kind])}, {"success", success}});
    };
    durations_[kind] = {histogram("true"), histogram("false")};
  }
}

void ApplyMetrics::Applied(std::size_t kind, const Outcome& outcome, double seconds) {
  (outcome.result.ok() ? durations_[kind].succeeded : durations_[kind].failed)->Observe(seconds);
  if (seconds > kSlowApplySeconds) slow_applies_.Increment();
  const OperationCounts& counts = outcome.counts;
  if (counts.puts > 0) puts_.Increment(static_cast<double>(counts.puts));
  if (counts.deletes > 0) deletes_.Increment(static_cast<double>(counts.deletes));
  if (counts.ranges > 0) ranges_.Increment(static_cast<double>(counts.ranges));
  if (counts.puts + counts.deletes + counts.ranges > 1) txns_.Increment();
  if (outcome.put_bytes > 0) put_bytes_.Increment(static_cast<double>(outcome.put_bytes));
  proposals_committed_.Increment();
  proposals_applied_.Increment();
}

void ApplyMetrics::GroupDone(double seconds, double sync_seconds, bool synced) {
  group_seconds_.Observe(seconds);
  if (synced) commit_seconds_.Observe(sync_seconds);
}

void ApplyMetrics::Alarms(const std::vector<AlarmEntry>& alarms) {
  for (const auto& [key, gauge] : alarms_) gauge->Set(0);
  for (const AlarmEntry& entry : alarms) {
    Gauge*& gauge = alarms_[{entry.member_id, entry.alarm}];
    if (gauge == nullptr) {
      gauge = &metrics_->AddGauge("etcd_debugging_server_alarms", "1 while an alarm is on.",
                                  {{"server_id", Hex(entry.member_id)},
                                   {"alarm_type", std::string(kAlarmNames[static_cast<std::size_t>(entry.alarm)])}});
    }
    gauge->Set(1);
  }
}

CompactMetrics::CompactMetrics(Metrics* metrics, const std::string& node)
    : metrics_(metrics),
      seconds_(metrics->AddHistogram("vellum_compaction_duration_seconds",
                                     "Duration of the logical step of compactions.", ExponentialBuckets(0.0001, 2, 20))),
      revision_(metrics->AddGauge("storage_compacted_revision", "The compacted revision.", {{"node", node}})),
      leases_(metrics->AddCounter("storage_compact_leases_cleaned_total",
                                  "Expired leases that compactions have ended.")) {}

void CompactMetrics::Opened(Revision compacted) { revision_.Set(static_cast<double>(std::max<Revision>(compacted, 0))); }

void CompactMetrics::Done(Revision revision, double seconds, std::int64_t leases) {
  seconds_.Observe(seconds);
  revision_.Set(static_cast<double>(revision));
  leases_.Increment(static_cast<double>(leases));
  constexpr const char* kName = "storage_compact_duration_seconds";
  MutexLock lock(&mu_);
  if (last_ != nullptr) metrics_->RemoveGauge(kName, last_);
  last_ = &metrics_->AddGauge(kName, "Duration of the last compaction's logical step.",
                              {{"revision", std::to_string(revision)}});
  last_->Set(seconds);
}

}  // namespace vellum::kv
