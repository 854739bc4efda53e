#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string_view>
#include <vector>

#include "base/log.h"
#include "kv/command.h"
#include "storage/database.h"
#include "vellum/clock.h"
#include "vellum/types.h"

namespace vellum::kv {

/// When compaction happens by itself, and how much history it leaves.
struct AutoCompactionOptions {
  enum class Mode : std::uint8_t {
    kOff,
    kRevision,  ///< Keeps the last `revisions` revisions; looks every `interval`.
    kPeriodic,  ///< Keeps what is younger than `period`; looks as often as etcd does.
  };
  Mode mode = Mode::kRevision;
  Revision revisions = 100'000;
  std::chrono::nanoseconds interval = std::chrono::hours(1);  ///< Of revision mode only.
  std::chrono::nanoseconds period = std::chrono::hours(1);
  std::chrono::nanoseconds run_timeout = std::chrono::minutes(5);  ///< A compaction that takes longer counts as failed.

  /// From etcd's two flags: "periodic" or "revision" (empty: periodic), and "5m", "1h30m", or a bare number, which
  /// means hours in periodic mode and revisions in revision mode, where it is the only form. Zero and nothing switch
  /// off. kInvalidArgument otherwise. The interval of revision mode is etcd's 5 minutes.
  static Result<AutoCompactionOptions> FromFlags(std::string_view mode, std::string_view retention);
};

/// Which revision was current at a time.
struct RevisionSample {
  std::int64_t wall_s = 0;  ///< Seconds since 1970.
  Revision revision = 0;

  friend bool operator==(const RevisionSample&, const RevisionSample&) = default;
};

/// The samples that SampleCommand left in `meta`, in the order of their times.
Result<std::vector<RevisionSample>> LoadSamples(const storage::Database& database);

/// Decides when to compact and to what. Pure: time comes in, targets go out. Not thread-safe.
class AutoCompactionPlan {
 public:
  /// `stored` are the samples of earlier runs, by which a period goes on across a restart.
  AutoCompactionPlan(AutoCompactionOptions options, Clock::TimePoint now, std::int64_t wall_s,
                     const std::vector<RevisionSample>& stored);

  struct Step {
    std::optional<Revision> target;       ///< Compact to it, and report by Finished.
    std::optional<SampleCommand> sample;  ///< Store it.
  };
  /// What is to be done at `now`, when the store is at `revision`, compacted up to `compacted`. A target that is not
  /// above `compacted`, or was reached before, is skipped without a word.
  Step Next(Clock::TimePoint now, std::int64_t wall_s, Revision revision, Revision compacted);
  /// How the compaction to a target ended. A failure is tried again: with the next sample, or, where revisions count, at
  /// the next look.
  void Finished(Revision target, bool ok);

 private:
  struct Sample {
    Clock::TimePoint taken;
    std::int64_t wall_s = 0;
    Revision revision = 0;
  };
  /// What was current a period ago; nullopt if nobody knows.
  std::optional<Revision> PeriodicTarget(Clock::TimePoint now);
  std::optional<SampleCommand> TakeSample(Clock::TimePoint now, std::int64_t wall_s, Revision revision);
  std::chrono::nanoseconds LookInterval() const;
  std::chrono::nanoseconds SampleInterval() const;

  const AutoCompactionOptions options_;
  std::vector<Sample> samples_;  ///< In order; at most one of them is older than the period.
  Clock::TimePoint look_at_;     ///< When to consider compacting next.
  Clock::TimePoint sample_at_;
  Revision reached_ = 0;         ///< The last target that succeeded.
};

/// Runs an AutoCompactionPlan on a thread of its own. Thread-safe. A failure is logged and does not stop it.
class AutoCompactor {
 public:
  struct Position {
    Revision revision = 0;
    Revision compacted = kNeverCompacted;
  };
  struct Hooks {
    std::function<Position()> position;
    /// Engine::Compact without `physical`.
    std::function<void(Revision, std::function<void(Status)> done)> compact;
    ProposeFunction propose;  ///< For SampleCommand.
  };

  AutoCompactor(AutoCompactionOptions options, Hooks hooks, const std::vector<RevisionSample>& stored,
                Clock* clock = SystemClock(), Logger logger = Logger());
  /// Stops.
  ~AutoCompactor();
  void Start();
  /// Waits for the thread, not for a compaction that it started. Idempotent.
  void Stop();

  /// Runs what is due by the clock, now, and waits for it. For tests with a manual clock.
  void Tick();

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace vellum::kv
