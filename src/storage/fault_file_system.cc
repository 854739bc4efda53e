#include "storage/fault_file_system.h"

#include <algorithm>
#include <array>
#include <filesystem>
#include <fstream>
#include <limits>
#include <map>
#include <optional>
#include <random>
#include <utility>
#include <vector>

#include "base/mutex.h"
#include "storage/engine_file_system.h"

namespace vellum::storage {
namespace {

namespace fs = std::filesystem;
using Operation = FaultFileSystem::Operation;
using rocksdb::IODebugContext;
using rocksdb::IOOptions;
using rocksdb::IOStatus;

constexpr std::uint64_t kSectorBytes = 512;

std::string ParentOf(const std::string& path) { return fs::path(path).parent_path().string(); }

std::string Slurp(const std::string& path) {
  std::ifstream in(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), std::istreambuf_iterator<char>()};
}

void Spill(const std::string& path, const std::string& bytes) {
  std::ofstream(path, std::ios::binary | std::ios::trunc).write(bytes.data(), static_cast<std::streamsize>(bytes.size()));
}

/// A change of a directory that its next sync makes durable.
struct NameChange {
  enum class Kind { kCreated, kCreatedDirectory, kRenamed, kDeleted };
  Kind kind;
  std::string name;
  std::string target;   // kRenamed: the new name
  std::optional<std::string> replaced;  // what `target` (kRenamed) or `name` (the others) held before, durable bytes
};

/// What is known of one file's data.
struct FileData {
  std::uint64_t durable_bytes = 0;
  std::string cut;  // durable bytes behind durable_bytes that an unsynced truncation took away
};

/// What all the files and the file system share.
class FaultState {
 public:
  struct Verdict {
    IOStatus status;
    std::size_t bytes_allowed = 0;  // of an append that fails: written all the same
  };

  /// Asked before each operation.
  Verdict Begin(Operation operation, const std::string& path, std::size_t bytes = 0) {
    MutexLock lock(&mu_);
    ++counts_[static_cast<std::size_t>(operation)];
    if (operation == Operation::kSync && power_left_.has_value() && --*power_left_ == 0) {
      power_cut_ = true;
      power_left_.reset();
    }
    if (power_cut_ && operation != Operation::kRead) return {IOStatus::IOError("power is off", path), 0};
    if (fault_.has_value() && fault_->operation == operation &&
        path.find(fault_->name_contains) != std::string::npos && ++matched_ >= fault_->nth &&
        (fault_->forever || matched_ == fault_->nth)) {
      ++faults_;
      const std::size_t allowed = fault_->half_done ? bytes / 2 : 0;
      return {fault_->no_space ? IOStatus::NoSpace("injected", path) : IOStatus::IOError("injected", path), allowed};
    }
    if (operation == Operation::kAppend && free_bytes_.has_value()) {
      if (bytes > *free_bytes_) {
        const auto allowed = static_cast<std::size_t>(*free_bytes_);
        free_bytes_ = 0;
        return {IOStatus::NoSpace("disk is full", path), allowed};
      }
      *free_bytes_ -= bytes;
    }
    return {IOStatus::OK(), bytes};
  }

  void Inject(const FaultFileSystem::Fault& fault) {
    MutexLock lock(&mu_);
    fault_ = fault;
    matched_ = 0;
    faults_ = 0;
  }
  void ClearFault() {
    MutexLock lock(&mu_);
    fault_.reset();
  }
  std::uint64_t faults() const {
    MutexLock lock(&mu_);
    return faults_;
  }
  void SetFreeBytes(std::optional<std::uint64_t> bytes) {
    MutexLock lock(&mu_);
    free_bytes_ = bytes;
  }
  std::optional<std::uint64_t> free_bytes() const {
    MutexLock lock(&mu_);
    return free_bytes_;
  }
  std::uint64_t count(Operation operation) const {
    MutexLock lock(&mu_);
    return counts_[static_cast<std::size_t>(operation)];
  }
  void CutPowerAtSync(std::uint64_t nth) {
    MutexLock lock(&mu_);
    power_left_ = nth;
  }
  void CutPower() {
    MutexLock lock(&mu_);
    power_cut_ = true;
  }
  bool power_is_cut() const {
    MutexLock lock(&mu_);
    return power_cut_;
  }

  void Created(const std::string& path, std::optional<std::string> replaced) {
    MutexLock lock(&mu_);
    if (replaced.has_value()) replaced = DurablePart(path, *std::move(replaced));
    changes_[ParentOf(path)].push_back({NameChange::Kind::kCreated, path, "", std::move(replaced)});
    data_[path] = {};
  }
  void CreatedDirectory(const std::string& path) {
    MutexLock lock(&mu_);
    changes_[ParentOf(path)].push_back({NameChange::Kind::kCreatedDirectory, path, "", std::nullopt});
  }
  void Deleted(const std::string& path, std::string bytes) {
    MutexLock lock(&mu_);
    if (free_bytes_.has_value()) *free_bytes_ += bytes.size();
    changes_[ParentOf(path)].push_back({NameChange::Kind::kDeleted, path, "", DurablePart(path, std::move(bytes))});
    data_.erase(path);
  }
  void Renamed(const std::string& path, const std::string& target, std::optional<std::string> replaced) {
    MutexLock lock(&mu_);
    if (replaced.has_value()) replaced = DurablePart(target, *std::move(replaced));
    changes_[ParentOf(target)].push_back({NameChange::Kind::kRenamed, path, target, std::move(replaced)});
    data_.erase(target);
    if (auto known = data_.extract(path); !known.empty()) {
      known.key() = target;
      data_.insert(std::move(known));
    }
  }
  void Synced(const std::string& path, std::uint64_t bytes) {
    MutexLock lock(&mu_);
    FileData& data = data_[path];
    // A slower sync that began earlier does not take back what a later one made durable.
    data.durable_bytes = std::max(data.durable_bytes, bytes);
    data.cut.clear();
  }
  void SyncedDirectory(const std::string& path) {
    MutexLock lock(&mu_);
    changes_.erase(path.ends_with('/') ? path.substr(0, path.size() - 1) : path);
  }
  /// A file that was there before counts as durable from its first change on.
  void Opened(const std::string& path, std::uint64_t bytes) {
    MutexLock lock(&mu_);
    data_.try_emplace(path, FileData{bytes, ""});
  }
  void Truncated(const std::string& path, const std::string& before, std::uint64_t bytes) {
    MutexLock lock(&mu_);
    FileData& data = data_.try_emplace(path, FileData{before.size(), ""}).first->second;
    if (bytes >= data.durable_bytes) return;
    data.cut = before.substr(bytes, data.durable_bytes - bytes) + data.cut;
    data.durable_bytes = bytes;
  }

  void DropUnsynced(FaultFileSystem::Leftover leftover, std::uint64_t seed) {
    MutexLock lock(&mu_);
    std::mt19937_64 random(seed);
    for (auto& [path, data] : data_) DropData(path, data, leftover, &random);
    for (auto& [directory, changes] : changes_) {
      const std::size_t kept =
          leftover == FaultFileSystem::Leftover::kNothing ? 0 : random() % (changes.size() + 1);
      for (std::size_t index = changes.size(); index > kept; --index) Undo(changes[index - 1]);
    }
    data_.clear();
    changes_.clear();
    power_cut_ = false;
    power_left_.reset();
  }

 private:
  /// What of the bytes of a file that goes would be on the disk.
  std::string DurablePart(const std::string& path, std::string bytes) const VELLUM_REQUIRES(mu_) {
    const auto known = data_.find(path);
    if (known == data_.end()) return bytes;
    return bytes.substr(0, known->second.durable_bytes) + known->second.cut;
  }

  static void DropData(const std::string& path, const FileData& data, FaultFileSystem::Leftover leftover,
                       std::mt19937_64* random) {
    std::error_code error;
    const std::uint64_t size = fs::file_size(path, error);
    if (error) return;
    std::string bytes = Slurp(path);
    std::uint64_t kept = std::min(size, data.durable_bytes);
    if (leftover != FaultFileSystem::Leftover::kNothing && size > kept && data.cut.empty()) {
      kept += (*random)() % (size - kept + 1);
    }
    if (kept == size && data.cut.empty() && leftover != FaultFileSystem::Leftover::kHoles) return;
    bytes.resize(kept);
    if (leftover == FaultFileSystem::Leftover::kHoles) {
      const std::uint64_t first = (data.durable_bytes + kSectorBytes - 1) / kSectorBytes * kSectorBytes;
      for (std::uint64_t sector = first; sector < kept; sector += kSectorBytes) {
        if ((*random)() % 4 != 0) continue;
        const std::uint64_t end = std::min(sector + kSectorBytes, kept);
        std::fill(bytes.begin() + static_cast<std::ptrdiff_t>(sector), bytes.begin() + static_cast<std::ptrdiff_t>(end), '\0');
      }
    }
    Spill(path, bytes + data.cut);
  }

  static void Undo(const NameChange& change) {
    std::error_code error;
    switch (change.kind) {
      case NameChange::Kind::kCreated:
        fs::remove(change.name, error);
        if (change.replaced.has_value()) Spill(change.name, *change.replaced);
        return;
      case NameChange::Kind::kCreatedDirectory:
        fs::remove_all(change.name, error);
        return;
      case NameChange::Kind::kDeleted:
        Spill(change.name, *change.replaced);
        return;
      case NameChange::Kind::kRenamed:
        fs::rename(change.target, change.name, error);
        if (change.replaced.has_value()) Spill(change.target, *change.replaced);
        return;
    }
  }

  mutable Mutex mu_;
  std::array<std::uint64_t, FaultFileSystem::kOperationCount> counts_ VELLUM_GUARDED_BY(mu_){};
  std::optional<FaultFileSystem::Fault> fault_ VELLUM_GUARDED_BY(mu_);
  std::uint64_t matched_ VELLUM_GUARDED_BY(mu_) = 0;
  std::uint64_t faults_ VELLUM_GUARDED_BY(mu_) = 0;
  std::optional<std::uint64_t> free_bytes_ VELLUM_GUARDED_BY(mu_);
  bool power_cut_ VELLUM_GUARDED_BY(mu_) = false;
  std::optional<std::uint64_t> power_left_ VELLUM_GUARDED_BY(mu_);  // syncs until it is cut
  std::map<std::string, std::vector<NameChange>> changes_ VELLUM_GUARDED_BY(mu_);  // by directory
  std::map<std::string, FileData> data_ VELLUM_GUARDED_BY(mu_);                    // by path
};

class FaultWritableFile final : public rocksdb::FSWritableFileOwnerWrapper {
 public:
  FaultWritableFile(std::unique_ptr<rocksdb::FSWritableFile> file, std::string path, std::uint64_t bytes,
                    std::shared_ptr<FaultState> state)
      : FSWritableFileOwnerWrapper(std::move(file)), path_(std::move(path)), state_(std::move(state)), bytes_(bytes) {}

  IOStatus Append(const rocksdb::Slice& data, const IOOptions& options, IODebugContext* debug) override {
    const FaultState::Verdict verdict = state_->Begin(Operation::kAppend, path_, data.size());
    const rocksdb::Slice allowed(data.data(), verdict.bytes_allowed);
    if (!allowed.empty()) {
      IOStatus status = target()->Append(allowed, options, debug);
      if (!status.ok()) return status;
      bytes_.fetch_add(allowed.size());
    }
    return verdict.status;
  }
  IOStatus Append(const rocksdb::Slice& data, const IOOptions& options, const rocksdb::DataVerificationInfo&,
                  IODebugContext* debug) override {
    return Append(data, options, debug);
  }
  IOStatus Truncate(std::uint64_t size, const IOOptions& options, IODebugContext* debug) override {
    FaultState::Verdict verdict = state_->Begin(Operation::kTruncate, path_);
    if (!verdict.status.ok()) return verdict.status;
    const std::string before = Slurp(path_);
    IOStatus status = target()->Truncate(size, options, debug);
    if (status.ok()) {
      state_->Truncated(path_, before, size);
      bytes_ = size;
    }
    return status;
  }
  IOStatus Sync(const IOOptions&, IODebugContext*) override { return SyncTo(bytes_.load()); }
  IOStatus Fsync(const IOOptions&, IODebugContext*) override { return SyncTo(bytes_.load()); }
  IOStatus RangeSync(std::uint64_t, std::uint64_t, const IOOptions&, IODebugContext*) override {
    return IOStatus::OK();  // promises nothing
  }
  // A file that is preallocated would not have the length that was written.
  IOStatus Allocate(std::uint64_t, std::uint64_t, const IOOptions&, IODebugContext*) override {
    return IOStatus::OK();
  }
  void PrepareWrite(std::size_t, std::size_t, const IOOptions&, IODebugContext*) override {}

 private:
  IOStatus SyncTo(std::uint64_t bytes) {
    FaultState::Verdict verdict = state_->Begin(Operation::kSync, path_);
    if (verdict.status.ok()) state_->Synced(path_, bytes);
    return verdict.status;
  }

  const std::string path_;
  const std::shared_ptr<FaultState> state_;
  std::atomic<std::uint64_t> bytes_;  // appended by one thread, read by the one that syncs
};

class FaultRandomAccessFile final : public rocksdb::FSRandomAccessFileOwnerWrapper {
 public:
  FaultRandomAccessFile(std::unique_ptr<rocksdb::FSRandomAccessFile> file, std::string path,
                        std::shared_ptr<FaultState> state)
      : FSRandomAccessFileOwnerWrapper(std::move(file)), path_(std::move(path)), state_(std::move(state)) {}

  IOStatus Read(std::uint64_t offset, std::size_t bytes, const IOOptions& options, rocksdb::Slice* result,
                char* scratch, IODebugContext* debug) const override {
    FaultState::Verdict verdict = state_->Begin(Operation::kRead, path_);
    if (!verdict.status.ok()) return verdict.status;
    return FSRandomAccessFileOwnerWrapper::Read(offset, bytes, options, result, scratch, debug);
  }
  IOStatus Prefetch(std::uint64_t, std::size_t, const IOOptions&, IODebugContext*) override {
    return IOStatus::NotSupported();  // so that every read is a Read
  }

 private:
  const std::string path_;
  const std::shared_ptr<FaultState> state_;
};

class FaultDirectory final : public rocksdb::FSDirectory {
 public:
  FaultDirectory(std::string path, std::shared_ptr<FaultState> state)
      : path_(std::move(path)), state_(std::move(state)) {}
  IOStatus Fsync(const IOOptions&, IODebugContext*) override {
    FaultState::Verdict verdict = state_->Begin(Operation::kSync, path_);
    if (verdict.status.ok()) state_->SyncedDirectory(path_);
    return verdict.status;
  }

 private:
  const std::string path_;
  const std::shared_ptr<FaultState> state_;
};

/// The file system as RocksDB sees it.
class FaultEngineFileSystem final : public rocksdb::FileSystemWrapper {
 public:
  explicit FaultEngineFileSystem(std::shared_ptr<FaultState> state)
      : FileSystemWrapper(rocksdb::FileSystem::Default()), state_(std::move(state)) {}
  const char* Name() const override { return "vellum.FaultFileSystem"; }

  IOStatus NewWritableFile(const std::string& path, const rocksdb::FileOptions& options,
                           std::unique_ptr<rocksdb::FSWritableFile>* file, IODebugContext* debug) override {
    FaultState::Verdict verdict = state_->Begin(Operation::kCreate, path);
    if (!verdict.status.ok()) return verdict.status;
    std::optional<std::string> replaced;
    if (fs::exists(path)) replaced = Slurp(path);
    IOStatus status = target()->NewWritableFile(path, options, file, debug);
    if (!status.ok()) return status;
    state_->Created(path, std::move(replaced));
    *file = std::make_unique<FaultWritableFile>(std::move(*file), path, 0, state_);
    return status;
  }
  IOStatus ReopenWritableFile(const std::string& path, const rocksdb::FileOptions& options,
                              std::unique_ptr<rocksdb::FSWritableFile>* file, IODebugContext* debug) override {
    if (!fs::exists(path)) return NewWritableFile(path, options, file, debug);
    const std::uint64_t bytes = fs::file_size(path);
    IOStatus status = target()->ReopenWritableFile(path, options, file, debug);
    if (!status.ok()) return status;
    state_->Opened(path, bytes);
    *file = std::make_unique<FaultWritableFile>(std::move(*file), path, bytes, state_);
    return status;
  }
  // Nothing here writes in place or reuses files, and power loss could not be told for it.
  IOStatus ReuseWritableFile(const std::string&, const std::string&, const rocksdb::FileOptions&,
                             std::unique_ptr<rocksdb::FSWritableFile>*, IODebugContext*) override {
    return IOStatus::NotSupported();
  }
  IOStatus NewRandomRWFile(const std::string&, const rocksdb::FileOptions&, std::unique_ptr<rocksdb::FSRandomRWFile>*,
                           IODebugContext*) override {
    return IOStatus::NotSupported();
  }
  IOStatus LinkFile(const std::string&, const std::string&, const IOOptions&, IODebugContext*) override {
    return IOStatus::NotSupported();
  }
  IOStatus NewRandomAccessFile(const std::string& path, const rocksdb::FileOptions& options,
                               std::unique_ptr<rocksdb::FSRandomAccessFile>* file, IODebugContext* debug) override {
    IOStatus status = target()->NewRandomAccessFile(path, options, file, debug);
    if (status.ok()) *file = std::make_unique<FaultRandomAccessFile>(std::move(*file), path, state_);
    return status;
  }
  IOStatus NewDirectory(const std::string& path, const IOOptions& options, std::unique_ptr<rocksdb::FSDirectory>* dir,
                        IODebugContext* debug) override {
    IOStatus status = target()->NewDirectory(path, options, dir, debug);
    if (status.ok()) *dir = std::make_unique<FaultDirectory>(path, state_);
    return status;
  }
  IOStatus CreateDirIfMissing(const std::string& path, const IOOptions& options, IODebugContext* debug) override {
    if (fs::is_directory(path)) return IOStatus::OK();
    FaultState::Verdict verdict = state_->Begin(Operation::kCreate, path);
    if (!verdict.status.ok()) return verdict.status;
    IOStatus status = target()->CreateDirIfMissing(path, options, debug);
    if (status.ok()) state_->CreatedDirectory(path);
    return status;
  }
  IOStatus RenameFile(const std::string& path, const std::string& name, const IOOptions& options,
                      IODebugContext* debug) override {
    FaultState::Verdict verdict = state_->Begin(Operation::kRename, name);
    if (!verdict.status.ok()) return verdict.status;
    std::optional<std::string> replaced;
    if (fs::exists(name)) replaced = Slurp(name);
    IOStatus status = target()->RenameFile(path, name, options, debug);
    if (status.ok()) state_->Renamed(path, name, std::move(replaced));
    return status;
  }
  IOStatus DeleteFile(const std::string& path, const IOOptions& options, IODebugContext* debug) override {
    FaultState::Verdict verdict = state_->Begin(Operation::kDelete, path);
    if (!verdict.status.ok()) return verdict.status;
    std::string bytes = Slurp(path);
    IOStatus status = target()->DeleteFile(path, options, debug);
    if (status.ok()) state_->Deleted(path, std::move(bytes));
    return status;
  }
  IOStatus GetFreeSpace(const std::string& path, const IOOptions& options, std::uint64_t* bytes,
                        IODebugContext* debug) override {
    if (const auto free = state_->free_bytes(); free.has_value()) {
      *bytes = *free;
      return IOStatus::OK();
    }
    return target()->GetFreeSpace(path, options, bytes, debug);
  }

 private:
  const std::shared_ptr<FaultState> state_;
};

/// RocksDB pauses for a second after each background error; tests do not.
class ImpatientClock final : public rocksdb::SystemClockWrapper {
 public:
  ImpatientClock() : SystemClockWrapper(rocksdb::SystemClock::Default()) {}
  const char* Name() const override { return "vellum.ImpatientClock"; }
  void SleepForMicroseconds(int micros) override { target_->SleepForMicroseconds(std::min(micros, 1000)); }
};

class FaultFileSystemImpl final : public FaultFileSystem {
 public:
  FaultFileSystemImpl()
      : state_(std::make_shared<FaultState>()),
        file_system_(std::make_shared<EngineFileSystem>(std::make_shared<FaultEngineFileSystem>(state_),
                                                        std::make_shared<ImpatientClock>())) {}

  std::shared_ptr<FileSystem> file_system() override { return file_system_; }
  void Inject(const Fault& fault) override { state_->Inject(fault); }
  void ClearFault() override { state_->ClearFault(); }
  std::uint64_t faults() const override { return state_->faults(); }
  void SetFreeBytes(std::uint64_t bytes) override { state_->SetFreeBytes(bytes); }
  void ClearFreeBytes() override { state_->SetFreeBytes(std::nullopt); }
  std::uint64_t count(Operation operation) const override { return state_->count(operation); }
  void CutPowerAtSync(std::uint64_t nth) override { state_->CutPowerAtSync(nth); }
  void CutPower() override { state_->CutPower(); }
  bool power_is_cut() const override { return state_->power_is_cut(); }
  void DropUnsynced(Leftover leftover, std::uint64_t seed) override { state_->DropUnsynced(leftover, seed); }

 private:
  const std::shared_ptr<FaultState> state_;
  const std::shared_ptr<FileSystem> file_system_;
};

}  // namespace

std::shared_ptr<FaultFileSystem> FaultFileSystem::Create() { return std::make_shared<FaultFileSystemImpl>(); }

}  // namespace vellum::storage
