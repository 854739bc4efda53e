#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>
#include <functional>
#include <string>

#include "base/log.h"
#include "base/mutex.h"
#include "vellum/clock.h"
#include "vellum/status.h"

namespace vellum::kv {

/// Watches over the room that is left: a floor of free space on the disk, and the quota if there is one. While room is
/// short, whatever needs more of it is refused before it is logged. Thread-safe.
///
/// Deletes pass below the floor, as long as compaction, which is never refused, keeps room to work in. But what they delete
/// stays as history until it is compacted: a delete that would fill the disk, and with it end all writing, is refused too.
///
/// A reserve file holds some room that nobody else can take. Half of it goes when space falls below the floor, so that
/// deletes and compaction, which write before they return anything, can go on; the rest when a store is opened on a disk that
/// others have filled, because opening writes, too.
class DiskGuard {
 public:
  struct Space {
    std::uint64_t free_bytes = 0;  ///< For this process's user.
    std::uint64_t total_bytes = 0;
  };
  struct Options {
    std::string directory;     ///< On the disk in question.
    std::string reserve_path;
    /// On a disk of less than four times this, three fifths of the disk: there, deleting everything must fit. 0: no
    /// floor, no reserve.
    std::uint64_t floor_bytes = 256u << 20;
    std::int64_t quota_bytes = 0;            ///< <= 0: none.
    std::chrono::milliseconds interval{1000};  ///< Between two looks at the disk, unless much is written.
    std::uint64_t written_bytes_max = 4u << 20;  ///< After which the disk is looked at again in any case.
    Clock* clock = SystemClock();
    Logger logger;
    std::function<Result<Space>()> space;           ///< Empty: statvfs of `directory`.
    std::function<std::uint64_t()> stored_bytes;    ///< The store's physical size.
    std::function<std::uint64_t()> pending_bytes;   ///< What is in memory and log and goes to tables yet. Empty: none.
  };
  explicit DiskGuard(Options options);

  /// Of the disk that holds the directory.
  static Result<Space> ReadSpace(const std::string& directory);

  /// Before a store is opened: gives up what is left of its reserve if the disk has less room than that.
  static void MakeRoomToOpen(const std::string& directory, const std::string& reserve_path, const Logger& logger);

  /// Looks at the disk for the first time, and makes the reserve if there is room.
  void Start();

  /// True if a command that needs `cost` bytes (0: passes always) has to be refused now. Looks at the disk when the last
  /// look is too old, and before it refuses; otherwise a few atomic reads.
  bool Refuses(std::int64_t cost) VELLUM_EXCLUDES(mu_);
  /// True if a delete has to be refused now. `estimate` tells about how many bytes it needs at most; it is called only
  /// where space is not plentiful, perhaps twice.
  bool RefusesDelete(const std::function<std::uint64_t()>& estimate) VELLUM_EXCLUDES(mu_);
  /// True if there may be no room for the log itself: then nothing is let in at all, because a write that fails ends all
  /// writing. Looks at the disk.
  bool IsExhausted() VELLUM_EXCLUDES(mu_);
  /// How many bytes deletes may still take before only compaction has room; UINT64_MAX where space is plentiful. Looks at
  /// the disk.
  std::uint64_t RoomForDeletes() VELLUM_EXCLUDES(mu_);
  /// So much was written. Looks at the disk when due.
  void OnWritten(std::uint64_t bytes) VELLUM_EXCLUDES(mu_);
  /// An operator has cleared the alarm: forget what was seen, look again, and make the reserve anew if there is room.
  void Recheck() VELLUM_EXCLUDES(mu_);

  bool low() const { return low_.load(std::memory_order_acquire); }

  /// The quota, for those who compare the store's size with it, as etcd's alerts do. Without one: etcd's default, and
  /// for a store that comes near that, what the disk lets it grow to. Never 0.
  std::int64_t ShownQuota() const;

 private:
  Result<Space> See() const { return options_.space ? options_.space() : ReadSpace(options_.directory); }
  std::uint64_t FloorOf(const Space& space) const;
  void LookIfDue() VELLUM_EXCLUDES(mu_);
  void LookNow() VELLUM_EXCLUDES(mu_);
  std::uint64_t SeenRoomForDeletes() const;
  void Look() VELLUM_REQUIRES(mu_);
  void AdjustReserve(const Space& space, std::uint64_t floor, bool low) VELLUM_REQUIRES(mu_);
  bool OverQuota(std::int64_t cost) VELLUM_EXCLUDES(mu_);

  const Options options_;
  std::atomic<bool> low_{false};
  std::atomic<std::uint64_t> free_{UINT64_MAX};    // as of the last look, as the next two; unlimited without a floor
  std::atomic<std::uint64_t> last_reserve_{0};     // what is left for compaction
  std::atomic<std::uint64_t> store_bytes_{0};
  std::atomic<std::int64_t> next_look_ns_{0};
  std::atomic<std::uint64_t> written_{0};  // since the last look

  Mutex mu_;
  std::uint64_t reserve_bytes_ VELLUM_GUARDED_BY(mu_) = 0;  // of the reserve file
  std::uint64_t stored_ VELLUM_GUARDED_BY(mu_) = 0;    // as of the last measurement
  std::uint64_t promised_ VELLUM_GUARDED_BY(mu_) = 0;  // cost of what was let through since
  Clock::TimePoint measured_ VELLUM_GUARDED_BY(mu_){};
};

}  // namespace vellum::kv
