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
/// shutdown, superseded by a newer compaction, resumed after a restart. Owns one thread. Never blocks readers or writers.
///
/// One pass: have the applier delete `rev` below C; let the compaction filter know C; flush; rewrite those parts of
/// `history` that hold ended records, of `rev` what lies below C, and of `latest` what is mostly garbage. A newer C is
/// taken over between two slices: the rest of the pass works for it at once, and another pass follows for what lay behind.
/// So compactions in quick succession cannot keep the work from getting anywhere.
class Reclaimer {
 public:
  struct Options {
    std::chrono::milliseconds delay{1000};
    /// How fast table files are rewritten, on average; 0: no limit. Kept by pauses between slices, so it slows down no
    /// flush and no other compaction.
    std::uint64_t bytes_per_second = 64u << 20;
    std::uint64_t slice_bytes_max = 64u << 20;
    /// `latest` is rewritten where its files hold more than this many entries per 100 keys; the second if somebody waits
    /// for the space.
    std::uint64_t latest_entries_percent_max = 200;
    std::uint64_t latest_entries_percent_max_urgent = 125;
    std::chrono::milliseconds retry_delay{10'000};  ///< After a failure.
    Clock* clock = SystemClock();
    Logger logger;
    Metrics* metrics = nullptr;  ///< Must outlive the reclaimer.
  };
  /// Exact number of keys of an interval, to find ranges of `latest` that hold mostly garbage.
  using CountKeys = std::function<Result<std::int64_t>(const KeyInterval&)>;

  /// `propose` gets a ReclaimCommand when everything up to a revision has been reclaimed. The database must outlive
  /// this object; `count` and `propose` are used until Stop returns.
  Reclaimer(Options options, storage::Database* database, std::shared_ptr<CompactionMark> mark, CountKeys count,
            ProposeFunction propose);
  /// Stops.
  ~Reclaimer();
  /// Resumes a reclaim that a stop or crash cut short (`compacted` > `reclaimed` as stored).
  void Start(Revision compacted, Revision reclaimed);
  /// Cancels what runs, which a later Start with the same database resumes. Idempotent.
  void Stop();

  /// C is stored and published: reclaim up to it, after the delay, or at once if `urgent`. Supersedes a running one.
  /// `done` (may be empty) runs once space up to at least C has been reclaimed; with kCancelled on Stop, and with the
  /// error if it fails, which does not keep the reclaimer from trying again. On any thread.
  void Reclaim(Revision compacted, bool urgent, std::function<void(Status)> done);
  /// Rewrites all of `latest`, after what there is to reclaim, for which it does not wait out the delay. A call while one
  /// waits or runs joins it. `done` as above.
  void Defragment(std::function<void(Status)> done);

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace vellum::kv
