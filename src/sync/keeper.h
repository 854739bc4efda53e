#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "base/log.h"
#include "sync/store.h"
#include "vellum/clock.h"

/// The background worker that keeps a store of syncs healthy.
namespace vellum::sync {

/// What the keeper does and how fast. Each default stands here and nowhere else.
struct KeeperOptions {
  std::chrono::nanoseconds interval = std::chrono::minutes(1);  ///< From the end of one pass to the beginning of the next. 0: off.
  /// For rewriting and rollups, over the records that they read. 0: no limit.
  std::uint64_t bytes_per_second = 32u << 20;
  bool rewrite = true;                       ///< Generations past the waste limit.
  std::chrono::seconds open_keep = std::chrono::days(7);  ///< See RetentionOptions.
  /// Full syncs that stay, by connector; for those that are not named `keep_others`. None: all stay.
  std::map<std::string, std::uint32_t> keep;
  std::optional<std::uint32_t> keep_others;
  bool rollup_others = false;                ///< Also connectors that `rollup` does not name.
  std::set<std::string> rollup;

  /// Reads the flag's words: a number for all connectors, NAME=NUMBER for one. kInvalidArgument naming the word.
  Status SetRetention(const std::vector<std::string>& words);
  /// Names of connectors; "*" for all.
  void SetRollup(const std::vector<std::string>& words);
};

/// Holds work back to a number of bytes per second, counted from when it began. Wait may be called from several threads.
class Pace {
 public:
  /// 0 bytes per second: no limit.
  Pace(std::uint64_t bytes_per_second, Clock* clock);
  ~Pace();
  /// Returns once `bytes` in all may have been done; at once after Stop.
  void Wait(std::uint64_t bytes);
  void Stop();
  /// Looks at the clock again: for tests, after they have advanced it.
  void Wake();
  /// How many threads are held back now.
  int waiting() const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

/// In passes: sweeps, deletes unfinished syncs that nobody takes up again, rolls up, retires, rewrites, and surveys. A task that
/// fails is logged and counted, and does not keep the others from being done; the next pass tries again.
class Keeper {
 public:
  /// `store` must outlive this. Time comes from the store's clock.
  Keeper(KeeperOptions options, Store* store, Logger logger = Logger());
  /// Stops.
  ~Keeper();
  Keeper(const Keeper&) = delete;
  Keeper& operator=(const Keeper&) = delete;

  /// Starts the thread, unless the interval is 0. The first pass begins at once.
  void Start();
  /// Cancels what is under way, which leaves every sync as it was or done, and waits for the thread. Idempotent.
  void Stop();

  /// One pass, on this thread. False if any task failed. For tests, and for those who have a thread of their own.
  bool RunPass();
  /// Looks at the clock again: for tests, after they have advanced it.
  void Wake();
  /// Passes ended by the thread.
  std::uint64_t passes() const;
  /// Threads that the rate holds back at this moment.
  int held_back() const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace vellum::sync
