#pragma once

#include <atomic>
#include <functional>
#include <memory>
#include <vector>

#include "base/log.h"
#include "base/mutex.h"
#include "kv/applier.h"
#include "kv/commit_log.h"
#include "kv/count_ring.h"
#include "kv/engine_metrics.h"
#include "kv/view.h"
#include "kv/writer_state.h"
#include "storage/database.h"
#include "vellum/clock.h"

namespace vellum::kv {

/// The state that readers take: the view of the last finished group. Thread-safe.
class ViewSlot {
 public:
  std::shared_ptr<const View> Get() const VELLUM_EXCLUDES(mu_) {
    MutexLock lock(&mu_);
    return view_;
  }
  void Set(std::shared_ptr<const View> view) VELLUM_EXCLUDES(mu_) {
    {
      MutexLock lock(&mu_);
      view_.swap(view);
    }
    // The old view goes here, outside of the lock: its snapshot may cost a moment to release.
  }

 private:
  mutable Mutex mu_;
  std::shared_ptr<const View> view_ VELLUM_GUARDED_BY(mu_);
};

/// Drives the applier, group by group: apply -> sync -> publish the view -> leases -> answers -> events. Nothing is
/// answered before it can be read, and leases are known before their grant is answered, because a client may renew at
/// once. On the commit log's thread, but for the functions that say otherwise.
class GroupRunner final : public GroupHandler {
 public:
  struct Hooks {
    std::function<void(const Outcome::LeaseChange&)> on_lease;
    std::function<void(std::vector<PublishedRevisionPtr>)> on_revisions;
    std::function<void(std::size_t bytes)> on_written;
    std::function<void(const std::vector<AlarmEntry>&)> on_alarms;
  };
  struct Options {
    Clock* clock = SystemClock();
    std::size_t count_ring_bytes = 32u << 20;
  };

  /// All pointers must outlive this object. Publishes the first view at once.
  GroupRunner(Options options, storage::Database* database, Applier* applier, WriterState* writer,
              std::shared_ptr<CompactionMark> mark, ApplyMetrics* metrics, Hooks hooks);

  void HandleGroup(std::vector<Proposal>&& group, Durability durability) override;

  /// From any thread.
  std::shared_ptr<const View> CurrentView() const { return view_.Get(); }
  std::vector<AlarmEntry> alarms() const VELLUM_EXCLUDES(mu_);
  std::uint64_t applied_index() const { return applied_index_.load(std::memory_order_acquire); }

 private:
  void Publish(const std::vector<Outcome>& outcomes, bool wrote);
  void FailGroup(const std::vector<Proposal>& group, std::size_t attempted);

  const Options options_;
  storage::Database* const database_;
  Applier* const applier_;
  WriterState* const writer_;
  const std::shared_ptr<CompactionMark> mark_;
  const std::shared_ptr<CountRing> ring_;
  ApplyMetrics* const metrics_;
  const Hooks hooks_;
  ViewSlot view_;
  std::atomic<std::uint64_t> applied_index_{0};

  mutable Mutex mu_;
  std::vector<AlarmEntry> alarms_ VELLUM_GUARDED_BY(mu_);
};

}  // namespace vellum::kv
