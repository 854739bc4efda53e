#pragma once

#include <array>
#include <chrono>
#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <utility>

#include "base/metrics.h"
#include "base/mutex.h"
#include "kv/applier.h"
#include "kv/command.h"

namespace vellum::kv {

/// The counters and histograms that the applier's thread feeds. Names and buckets are etcd's where etcd has them.
class ApplyMetrics {
 public:
  explicit ApplyMetrics(Metrics* metrics);

  /// One command was applied, in `seconds`. `kind` is Command::index().
  void Applied(std::size_t kind, const Outcome& outcome, double seconds);
  /// A command got no answer because a write failed.
  void Failed() { proposals_failed_.Increment(); }
  /// One group was applied and made durable.
  void GroupDone(double seconds, double sync_seconds, bool synced);
  void Alarms(const std::vector<AlarmEntry>& alarms);

 private:
  struct Durations {
    Histogram* succeeded = nullptr;
    Histogram* failed = nullptr;
  };
  Metrics* const metrics_;
  Counter& puts_;
  Counter& deletes_;
  Counter& ranges_;
  Counter& txns_;
  Gauge& put_bytes_;
  Gauge& proposals_committed_;
  Gauge& proposals_applied_;
  Counter& proposals_failed_;
  Counter& slow_applies_;
  Histogram& group_seconds_;
  Histogram& commit_seconds_;
  std::array<Durations, std::variant_size_v<Command>> durations_;
  std::map<std::pair<std::uint64_t, AlarmType>, Gauge*> alarms_;  // those that were ever on
};

/// The metrics of the compaction contract.
class CompactMetrics {
 public:
  CompactMetrics(Metrics* metrics, const std::string& node);
  /// The logical step to `revision` took so long and was preceded by the expiry of so many leases. Thread-safe.
  void Done(Revision revision, double seconds, std::int64_t leases) VELLUM_EXCLUDES(mu_);
  /// What the store was found at.
  void Opened(Revision compacted);

 private:
  Metrics* const metrics_;
  Histogram& seconds_;
  Gauge& revision_;
  Counter& leases_;
  Mutex mu_;
  Gauge* last_ VELLUM_GUARDED_BY(mu_) = nullptr;  // labelled by its revision, so only one is kept
};

}  // namespace vellum::kv
