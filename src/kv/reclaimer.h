#pragma once

#include <chrono>
#include <functional>
#include <memory>

#include "base/log.h"
#include "base/metrics.h"
#include "kv/command.h"
#include "kv/view.h"
#include "storage/database.h"
#include "vellum/clock.h"

namespace vellum::kv {

/// Returns the space of compacted history in the background: sliced by table files, rate-limited, cancelled by
/// shutdown and by a newer compaction, resumed after a restart. Owns one thread. Never blocks readers or writers.
class Reclaimer {
 public:
  struct Options {
    std::chrono::milliseconds delay{1000};
    std::uint64_t bytes_per_second = 64u << 20;
    std::uint64_t slice_bytes_max = 64u << 20;
    Clock* clock = SystemClock();
    Logger logger;
    Metrics* metrics = nullptr;
  };
  /// Exact number of keys of an interval, to find ranges of `latest` that hold mostly garbage.
  using CountKeys = std::function<Result<std::int64_t>(const KeyInterval&)>;

  /// `propose` gets a ReclaimCommand when everything up to a revision has been reclaimed. The database must outlive
  /// this object; `count` and `propose` are used until Stop returns.
  Reclaimer(Options options, storage::Database* database, std::shared_ptr<CompactionMark> mark, CountKeys count,
            ProposeFunction propose);
  ~Reclaimer();
  /// Resumes a reclaim that a stop or crash cut short (`compacted` > `reclaimed` as stored).
  void Start(Revision compacted, Revision reclaimed);
  void Stop();

  /// C is stored and published: reclaim up to it, after the delay, or at once if `urgent`. Supersedes a running one.
  /// `done` (may be empty) runs once space up to at least C has been reclaimed, or with kCancelled on Stop.
  void Reclaim(Revision compacted, bool urgent, std::function<void(Status)> done);
  /// Rewrites all of `latest`; a call while one runs joins it.
  void Defragment(std::function<void(Status)> done);

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace vellum::kv
