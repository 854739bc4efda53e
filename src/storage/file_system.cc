#include "storage/file_system.h"

#include <algorithm>
#include <utility>

#include "base/mutex.h"
#include "storage/engine_file_system.h"

namespace vellum::storage {
namespace {

class OrderedLog;

/// The log that was written last, while it is open. Shared by the file system and its logs.
struct LogOrder {
  Mutex mu;
  OrderedLog* newest VELLUM_GUARDED_BY(mu) = nullptr;
};

/// RocksDB appends to one log at a time and serializes that; Sync may run on another thread.
class OrderedLog final : public rocksdb::FSWritableFileOwnerWrapper {
 public:
  OrderedLog(std::unique_ptr<rocksdb::FSWritableFile> file, std::shared_ptr<LogOrder> order)
      : FSWritableFileOwnerWrapper(std::move(file)), order_(std::move(order)) {}
  ~OrderedLog() override { Leave(); }

  rocksdb::IOStatus Append(const rocksdb::Slice& data, const rocksdb::IOOptions& options,
                           rocksdb::IODebugContext* debug) override {
    rocksdb::IOStatus status = BecomeNewest(options, debug);
    return status.ok() ? FSWritableFileOwnerWrapper::Append(data, options, debug) : status;
  }
  rocksdb::IOStatus Append(const rocksdb::Slice& data, const rocksdb::IOOptions& options,
                           const rocksdb::DataVerificationInfo& info, rocksdb::IODebugContext* debug) override {
    rocksdb::IOStatus status = BecomeNewest(options, debug);
    return status.ok() ? FSWritableFileOwnerWrapper::Append(data, options, info, debug) : status;
  }
  rocksdb::IOStatus Close(const rocksdb::IOOptions& options, rocksdb::IODebugContext* debug) override {
    Leave();
    return FSWritableFileOwnerWrapper::Close(options, debug);
  }

 private:
  rocksdb::IOStatus BecomeNewest(const rocksdb::IOOptions& options, rocksdb::IODebugContext* debug) {
    if (started_) return rocksdb::IOStatus::OK();
    MutexLock lock(&order_->mu);
    if (order_->newest != nullptr && order_->newest != this) {
      // The lock keeps the older log from being closed meanwhile.
      rocksdb::IOStatus status = order_->newest->target()->Fsync(options, debug);
      if (!status.ok()) return status;
    }
    order_->newest = this;
    started_ = true;
    return rocksdb::IOStatus::OK();
  }
  void Leave() {
    MutexLock lock(&order_->mu);
    if (order_->newest == this) order_->newest = nullptr;
  }

  const std::shared_ptr<LogOrder> order_;
  bool started_ = false;  // only the appending thread
};

class ClockedEnv final : public rocksdb::EnvWrapper {
 public:
  ClockedEnv(std::unique_ptr<rocksdb::Env> target, std::shared_ptr<rocksdb::SystemClock> clock)
      : EnvWrapper(std::move(target)) {
    system_clock_ = std::move(clock);
  }
  const char* Name() const override { return "vellum.ClockedEnv"; }
};

class OrderedLogFileSystem final : public rocksdb::FileSystemWrapper {
 public:
  explicit OrderedLogFileSystem(std::shared_ptr<rocksdb::FileSystem> target)
      : FileSystemWrapper(std::move(target)), order_(std::make_shared<LogOrder>()) {}
  const char* Name() const override { return "vellum.OrderedLogFileSystem"; }

  rocksdb::IOStatus NewWritableFile(const std::string& name, const rocksdb::FileOptions& options,
                                    std::unique_ptr<rocksdb::FSWritableFile>* file,
                                    rocksdb::IODebugContext* debug) override {
    rocksdb::IOStatus status = FileSystemWrapper::NewWritableFile(name, options, file, debug);
    if (status.ok() && name.ends_with(".log")) *file = std::make_unique<OrderedLog>(std::move(*file), order_);
    return status;
  }

 private:
  const std::shared_ptr<LogOrder> order_;
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

std::shared_ptr<rocksdb::FileSystem> OrderLogs(std::shared_ptr<rocksdb::FileSystem> target) {
  return std::make_shared<OrderedLogFileSystem>(std::move(target));
}

}  // namespace vellum::storage
