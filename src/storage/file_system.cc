#include "storage/file_system.h"

#include <algorithm>
#include <array>
#include <atomic>
#include <utility>

#include "base/mutex.h"
#include "storage/engine_file_system.h"
#include "storage/piecewise_delete.h"

namespace vellum::storage {
namespace {

using rocksdb::IODebugContext;
using rocksdb::IOOptions;
using rocksdb::IOStatus;

class GuardedLog;

/// Shared by the file system and its logs.
struct LogOrder {
  Mutex mu;
  GuardedLog* newest VELLUM_GUARDED_BY(mu) = nullptr;  // that was written to, while it is open
};

/// How far ahead of a log's end the disk's blocks are taken: far enough that few syncs have to note new blocks (a file system
/// that does so may first write whatever else waits, a flush's tables for one), and no more, because an idle store keeps them
/// from others.
constexpr std::size_t kPreallocatedBytes = 256u << 10;

/// Appends of at most so many bytes come from callers who each wait for a sync.
constexpr std::size_t kSmallAppendBytes = 16u << 10;

IOStatus Refusal() { return IOStatus::IOError("the write-ahead log failed before; nothing is written any more"); }

/// A table file, a manifest ...: written to only while the log is healthy.
class GuardedFile : public rocksdb::FSWritableFileOwnerWrapper {
 public:
  GuardedFile(std::unique_ptr<rocksdb::FSWritableFile> file, std::shared_ptr<LogHealth> health)
      : FSWritableFileOwnerWrapper(std::move(file)), health_(std::move(health)) {}

  IOStatus Append(const rocksdb::Slice& data, const IOOptions& options, IODebugContext* debug) override {
    return health_->broken() ? Refusal() : target()->Append(data, options, debug);
  }
  IOStatus Append(const rocksdb::Slice& data, const IOOptions& options, const rocksdb::DataVerificationInfo& info,
                  IODebugContext* debug) override {
    return health_->broken() ? Refusal() : target()->Append(data, options, info, debug);
  }

 protected:
  const std::shared_ptr<LogHealth> health_;
};

/// RocksDB appends to one log at a time and serializes that; syncs may run on other threads.
class GuardedLog final : public GuardedFile {
 public:
  /// `zeros` is the same file, to write to ahead of its end; null where the file system does not know such files.
  GuardedLog(std::unique_ptr<rocksdb::FSWritableFile> file, std::unique_ptr<rocksdb::FSRandomRWFile> zeros,
             std::shared_ptr<LogHealth> health, std::shared_ptr<LogOrder> order)
      : GuardedFile(std::move(file), std::move(health)), zeros_(std::move(zeros)), order_(std::move(order)) {}
  ~GuardedLog() override {
    Leave();
    SetAhead(0);
  }

  IOStatus Append(const rocksdb::Slice& data, const IOOptions& options, IODebugContext* debug) override {
    IOStatus status = BeforeAppend(options, debug);
    return status.ok() ? AfterAppend(GuardedFile::Append(data, options, debug), data.size(), options, debug) : status;
  }
  IOStatus Append(const rocksdb::Slice& data, const IOOptions& options, const rocksdb::DataVerificationInfo& info,
                  IODebugContext* debug) override {
    IOStatus status = BeforeAppend(options, debug);
    if (!status.ok()) return status;
    return AfterAppend(GuardedFile::Append(data, options, info, debug), data.size(), options, debug);
  }
  IOStatus Sync(const IOOptions& options, IODebugContext* debug) override {
    SyncData(options, debug).PermitUncheckedError();
    return IOStatus::OK();  // health_ has it: see GuardLogs
  }
  IOStatus Fsync(const IOOptions& options, IODebugContext* debug) override { return Sync(options, debug); }
  /// RocksDB asks for a memtable's worth at a time.
  void SetPreallocationBlockSize(std::size_t size) override {
    target()->SetPreallocationBlockSize(std::min(size, kPreallocatedBytes));
  }
  /// Takes space ahead, when what there is of it does not suffice.
  void PrepareWrite(std::size_t offset, std::size_t size, const IOOptions& options, IODebugContext* debug) override {
    target()->PrepareWrite(offset, size, options, debug);
    NoteAhead();
  }
  IOStatus Close(const IOOptions& options, IODebugContext* debug) override {
    // Once it is closed, a newer log cannot sync it any more.
    IOStatus synced;
    if (dirty_.load()) synced = SyncData(options, debug);
    Leave();
    IOStatus closed = target()->Close(options, debug);
    SetAhead(0);  // only now is the file as long as what was written to it
    return synced.ok() ? closed : synced;
  }

 private:
  IOStatus BeforeAppend(const IOOptions& options, IODebugContext* debug) {
    if (started_) {
      dirty_.store(true);
      return IOStatus::OK();
    }
    MutexLock lock(&order_->mu);
    if (order_->newest != nullptr && order_->newest != this) {
      // The lock keeps the older log from being closed meanwhile.
      IOStatus status = order_->newest->SyncData(options, debug);
      if (!status.ok()) return status;
    }
    order_->newest = this;
    started_ = true;
    dirty_.store(true);
    return IOStatus::OK();
  }
  IOStatus AfterAppend(IOStatus status, std::uint64_t bytes, const IOOptions& options, IODebugContext* debug) {
    bytes_ += bytes;
    const std::uint64_t taken = NoteAhead();
    if (status.ok() && bytes <= kSmallAppendBytes) WriteZeros(taken, options, debug);
    return Remember(std::move(status));
  }
  /// How far the file reaches.
  std::uint64_t NoteAhead() {
    std::size_t block = 0;
    std::size_t blocks = 0;
    target()->GetPreallocationStatus(&block, &blocks);
    const std::uint64_t taken = static_cast<std::uint64_t>(block) * blocks;
    SetAhead(taken > bytes_ ? taken - bytes_ : 0);
    return taken;
  }
  /// Writes the zeros that the space ahead reads as anyway. A file system notes for each block whether it was ever written:
  /// without them each sync of new blocks writes such notes besides the data. Large appends need fewer syncs than that costs.
  void WriteZeros(std::uint64_t end, const IOOptions& options, IODebugContext* debug) {
    const std::uint64_t begin = std::max(bytes_, zeros_end_);
    if (zeros_ == nullptr || end <= begin) return;
    static constexpr std::array<char, kPreallocatedBytes> kZeros{};
    const auto size = static_cast<std::size_t>(std::min<std::uint64_t>(end - begin, kZeros.size()));
    // Nothing depends on it.
    zeros_->Write(begin, {kZeros.data(), size}, options, debug).PermitUncheckedError();
    zeros_end_ = begin + size;
  }
  void SetAhead(std::uint64_t bytes) {
    health_->AddAhead(bytes);
    health_->DropAhead(std::exchange(ahead_, bytes));
  }
  /// The data alone, as RocksDB does it too: the length belongs to it.
  IOStatus SyncData(const IOOptions& options, IODebugContext* debug) {
    if (health_->broken()) return Refusal();
    dirty_.store(false);  // before: what is appended meanwhile may be too late for it
    return Remember(target()->Sync(options, debug));
  }
  IOStatus Remember(IOStatus status) {
    if (!status.ok()) health_->Fail(status);
    return status;
  }
  void Leave() {
    MutexLock lock(&order_->mu);
    if (order_->newest == this) order_->newest = nullptr;
  }

  const std::unique_ptr<rocksdb::FSRandomRWFile> zeros_;
  const std::shared_ptr<LogOrder> order_;
  bool started_ = false;     // only the appending thread
  std::uint64_t zeros_end_ = 0;  // the same: written ahead up to here
  std::uint64_t bytes_ = 0;  // appended; the same
  std::uint64_t ahead_ = 0;  // the appending thread, and in the end the closing one
  std::atomic<bool> dirty_{false};  // appended to since the last sync
};

class GuardedFileSystem final : public rocksdb::FileSystemWrapper {
 public:
  GuardedFileSystem(std::shared_ptr<rocksdb::FileSystem> target, std::shared_ptr<LogHealth> health)
      : FileSystemWrapper(std::move(target)), health_(std::move(health)), order_(std::make_shared<LogOrder>()) {}
  const char* Name() const override { return "vellum.GuardedFileSystem"; }

  IOStatus NewWritableFile(const std::string& name, const rocksdb::FileOptions& options,
                           std::unique_ptr<rocksdb::FSWritableFile>* file, IODebugContext* debug) override {
    if (health_->broken()) return Refusal();
    const bool is_log = name.ends_with(".log");
    rocksdb::FileOptions adapted = options;
    // A log takes its space ahead as part of the file, not behind its end: a sync then writes the data, and not the
    // length besides, which costs a third of it. ScanLog knows zeros at the end.
    if (is_log) adapted.fallocate_with_keep_size = false;
    IOStatus status = FileSystemWrapper::NewWritableFile(name, adapted, file, debug);
    if (!status.ok()) return status;
    if (is_log) {
      std::unique_ptr<rocksdb::FSRandomRWFile> zeros;
      FileSystemWrapper::NewRandomRWFile(name, options, &zeros, debug).PermitUncheckedError();
      *file = std::make_unique<GuardedLog>(std::move(*file), std::move(zeros), health_, order_);
    } else {
      *file = std::make_unique<GuardedFile>(std::move(*file), health_);
    }
    return status;
  }
  IOStatus DeleteFile(const std::string& name, const IOOptions& options, IODebugContext* debug) override {
    return DeletePiecewise(target(), name, options, debug);
  }
  IOStatus RenameFile(const std::string& from, const std::string& to, const IOOptions& options,
                      IODebugContext* debug) override {
    return health_->broken() ? Refusal() : FileSystemWrapper::RenameFile(from, to, options, debug);
  }

 private:
  const std::shared_ptr<LogHealth> health_;
  const std::shared_ptr<LogOrder> order_;
};

class ClockedEnv final : public rocksdb::EnvWrapper {
 public:
  ClockedEnv(std::unique_ptr<rocksdb::Env> target, std::shared_ptr<rocksdb::SystemClock> clock)
      : EnvWrapper(std::move(target)) {
    system_clock_ = std::move(clock);
  }
  const char* Name() const override { return "vellum.ClockedEnv"; }
};

}  // namespace

std::shared_ptr<FileSystem> MachineFileSystem() {
  return std::make_shared<EngineFileSystem>(rocksdb::FileSystem::Default());
}

std::shared_ptr<rocksdb::FileSystem> EngineView(const std::shared_ptr<FileSystem>& file_system) {
  if (file_system == nullptr) return rocksdb::FileSystem::Default();
  // Every FileSystem is made in this room, from this class.
  return static_cast<const EngineFileSystem&>(*file_system).target();
}

std::unique_ptr<rocksdb::Env> MakeEnv(const std::shared_ptr<FileSystem>& file_system,
                                      const std::shared_ptr<rocksdb::FileSystem>& files) {
  std::unique_ptr<rocksdb::Env> env = rocksdb::NewCompositeEnv(files);
  if (file_system == nullptr) return env;
  const auto& clock = static_cast<const EngineFileSystem&>(*file_system).clock();
  if (clock == nullptr) return env;
  return std::make_unique<ClockedEnv>(std::move(env), clock);
}

IOStatus LogHealth::failure() const {
  MutexLock lock(&mu_);
  return failure_;
}

void LogHealth::Fail(const IOStatus& status) {
  MutexLock lock(&mu_);
  if (broken_.load(std::memory_order_relaxed)) return;
  failure_ = status;
  broken_.store(true, std::memory_order_release);
}

std::shared_ptr<rocksdb::FileSystem> GuardLogs(std::shared_ptr<rocksdb::FileSystem> target,
                                               std::shared_ptr<LogHealth> health) {
  return std::make_shared<GuardedFileSystem>(std::move(target), std::move(health));
}

}  // namespace vellum::storage
