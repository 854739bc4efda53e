#include "kv/disk_guard.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <utility>

namespace vellum::kv {
namespace {

constexpr std::uint64_t kReserveBytesMax = 16u << 20;
/// With so many times the store's size free, no delete can fill the disk.
constexpr std::uint64_t kPlenty = 4;
/// The log takes its space ahead, a quarter of this at a time.
constexpr std::uint64_t kLogBytes = 1u << 20;
/// How much may be let through against a quota before the store is measured again.
constexpr std::uint64_t kPromisedBytesMax = 64u << 10;
/// What etcd's quota is when nobody has set one.
constexpr std::int64_t kEtcdQuota = std::int64_t{2} << 30;

/// Allocates the file's blocks for real.
bool Allocate(const std::string& path, std::uint64_t bytes) {
  const int fd = ::open(path.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
  if (fd < 0) return false;
  const bool done = ::posix_fallocate(fd, 0, static_cast<off_t>(bytes)) == 0;
  ::close(fd);
  if (!done) ::unlink(path.c_str());
  return done;
}

/// 0: there is none.
std::uint64_t FileBytes(const std::string& path) {
  struct stat info {};
  return ::stat(path.c_str(), &info) == 0 ? static_cast<std::uint64_t>(info.st_size) : 0;
}

}  // namespace

Result<DiskGuard::Space> DiskGuard::ReadSpace(const std::string& directory) {
  struct statvfs info {};
  if (::statvfs(directory.c_str(), &info) != 0) {
    return Unavailable("cannot read the free space of " + directory + ": " + std::strerror(errno));
  }
  return Space{static_cast<std::uint64_t>(info.f_bavail) * info.f_frsize,
                          static_cast<std::uint64_t>(info.f_blocks) * info.f_frsize};
}

void DiskGuard::MakeRoomToOpen(const std::string& directory, const std::string& reserve_path, const Logger& logger) {
  const std::uint64_t reserve = FileBytes(reserve_path);
  const Result<Space> space = ReadSpace(directory);
  if (reserve == 0 || !space.ok() || space->free_bytes >= reserve) return;
  VELLUM_LOG(logger, kWarn, "the disk is full: the reserve is given up, so that the store can be opened",
             {{"directory", directory}, {"free-bytes", space->free_bytes}, {"reserve-bytes", reserve}});
  ::unlink(reserve_path.c_str());
}

DiskGuard::DiskGuard(Options options) : options_(std::move(options)) {}

void DiskGuard::Start() {
  {
    MutexLock lock(&mu_);
    reserve_bytes_ = FileBytes(options_.reserve_path);  // of an earlier run
  }
  Recheck();
}

void DiskGuard::Recheck() {
  MutexLock lock(&mu_);
  measured_ = {};
  promised_ = kPromisedBytesMax;
  Look();
}

std::uint64_t DiskGuard::FloorOf(const Space& space) const {
  const bool small = space.total_bytes / 4 < options_.floor_bytes;
  return small ? space.total_bytes / 5 * 3 : options_.floor_bytes;
}

std::int64_t DiskGuard::ShownQuota() const {
  if (options_.quota_bytes > 0) return options_.quota_bytes;
  const std::uint64_t stored = options_.stored_bytes ? options_.stored_bytes() : 0;
  if (stored < static_cast<std::uint64_t>(kEtcdQuota) / 2) return kEtcdQuota;
  const Result<Space> space = See();
  // Of a disk that cannot be read nobody knows: no alarm because of that.
  if (!space.ok()) return static_cast<std::int64_t>(2 * stored);
  const std::uint64_t floor = FloorOf(*space);
  return static_cast<std::int64_t>(stored + space->free_bytes - std::min(space->free_bytes, floor));
}

void DiskGuard::Look() {
  written_.store(0, std::memory_order_relaxed);
  const Clock::TimePoint next = options_.clock->Now() + options_.interval;
  next_look_ns_.store(std::chrono::nanoseconds(next.time_since_epoch()).count(), std::memory_order_relaxed);
  if (options_.floor_bytes == 0) return;
  const Result<Space> space = See();
  if (!space.ok()) {
    VELLUM_LOG(options_.logger, kWarn, "cannot see how much space is left", {{"error", space.error().message()}});
    return;
  }
  const std::uint64_t floor = FloorOf(*space);
  // What has to be flushed will take its room in any case.
  const std::uint64_t pending = options_.pending_bytes ? options_.pending_bytes() : 0;
  const std::uint64_t free = space->free_bytes - std::min(space->free_bytes, pending);
  const bool low = free < floor;
  last_reserve_.store(std::min(floor / 2, space->total_bytes / 10), std::memory_order_relaxed);
  store_bytes_.store(options_.stored_bytes ? options_.stored_bytes() : 0, std::memory_order_relaxed);
  free_.store(free, std::memory_order_relaxed);
  if (low && !low_.load(std::memory_order_relaxed)) {
    VELLUM_LOG(options_.logger, kWarn, "free space is below the floor: writes that need more are refused",
               {{"directory", options_.directory}, {"free-bytes", free}, {"floor-bytes", floor}});
  }
  low_.store(low, std::memory_order_release);
  AdjustReserve({free, space->total_bytes}, floor, low);
}

void DiskGuard::AdjustReserve(const Space& space, std::uint64_t floor, bool low) {
  const std::uint64_t whole = std::min(kReserveBytesMax, floor / 4);
  const std::uint64_t half = whole / 2;
  if (low) {
    if (reserve_bytes_ <= half || ::truncate(options_.reserve_path.c_str(), static_cast<off_t>(half)) != 0) return;
    reserve_bytes_ = half;
  } else if (reserve_bytes_ < whole && space.free_bytes >= floor + 2 * whole) {
    // Twice, so that making the reserve cannot itself be what brings space below the floor.
    reserve_bytes_ = Allocate(options_.reserve_path, whole) ? whole : 0;
  }
}

void DiskGuard::LookIfDue() {
  const std::int64_t now = std::chrono::nanoseconds(options_.clock->Now().time_since_epoch()).count();
  if (now < next_look_ns_.load(std::memory_order_relaxed) &&
      written_.load(std::memory_order_relaxed) < options_.written_bytes_max) {
    return;
  }
  LookNow();
}

void DiskGuard::OnWritten(std::uint64_t bytes) {
  written_.fetch_add(bytes, std::memory_order_relaxed);
  LookIfDue();
}

void DiskGuard::LookNow() {
  MutexLock lock(&mu_);
  Look();
}

bool DiskGuard::OverQuota(std::int64_t cost) {
  MutexLock lock(&mu_);
  const Clock::TimePoint now = options_.clock->Now();
  if (promised_ >= kPromisedBytesMax || now - measured_ >= options_.interval) {
    stored_ = options_.stored_bytes();
    promised_ = 0;
    measured_ = now;
  }
  const std::uint64_t needed = stored_ + promised_ + static_cast<std::uint64_t>(cost);
  if (needed > static_cast<std::uint64_t>(options_.quota_bytes)) return true;
  promised_ += static_cast<std::uint64_t>(cost);
  return false;
}

std::uint64_t DiskGuard::SeenRoomForDeletes() const {
  const std::uint64_t free = free_.load(std::memory_order_relaxed);
  const std::uint64_t last_reserve = last_reserve_.load(std::memory_order_relaxed);
  if (free / kPlenty > store_bytes_.load(std::memory_order_relaxed) + last_reserve) return UINT64_MAX;
  return free - std::min(free, last_reserve);
}

std::uint64_t DiskGuard::RoomForDeletes() {
  LookNow();
  return SeenRoomForDeletes();
}

bool DiskGuard::IsExhausted() {
  LookNow();
  return free_.load(std::memory_order_relaxed) < kLogBytes;
}

bool DiskGuard::RefusesDelete(const std::function<std::uint64_t()>& estimate) {
  LookIfDue();
  const auto refuses = [&] {
    const std::uint64_t room = SeenRoomForDeletes();
    return room != UINT64_MAX && (room == 0 || estimate() > room);
  };
  if (!refuses()) return false;
  LookNow();  // a compaction may have made room a moment ago
  return refuses();
}

bool DiskGuard::Refuses(std::int64_t cost) {
  if (cost <= 0) return false;
  LookIfDue();
  if (low()) LookNow();
  if (low()) return true;
  return options_.quota_bytes > 0 && OverQuota(cost);
}

}  // namespace vellum::kv
