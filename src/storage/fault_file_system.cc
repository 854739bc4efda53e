#include "storage/fault_file_system.h"

#include <sys/stat.h>

#include <algorithm>
#include <array>
#include <filesystem>
#include <fstream>
#include <limits>
#include <map>
#include <optional>
#include <random>
#include <set>
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

std::string WithoutSlash(const std::string& path) {
  return path.size() > 1 && path.ends_with('/') ? path.substr(0, path.size() - 1) : path;
}

std::string ParentOf(const std::string& path) { return fs::path(WithoutSlash(path)).parent_path().string(); }
std::string LeafOf(const std::string& path) { return fs::path(WithoutSlash(path)).filename().string(); }

/// Whether `path` is `directory` or lies in it.
bool IsWithin(const std::string& path, const std::string& directory) {
  return path.starts_with(directory) && (path.size() == directory.size() || path[directory.size()] == '/');
}

bool IsSealed(const std::string& path) {
  struct stat stat {};
  return ::stat(path.c_str(), &stat) == 0 && S_ISREG(stat.st_mode) && (stat.st_mode & 0222) == 0;
}

std::string Slurp(const std::string& path) {
  std::ifstream in(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), std::istreambuf_iterator<char>()};
}

void Spill(const std::string& path, const std::string& bytes) {
  std::error_code ignored;
  if (IsSealed(path)) fs::permissions(path, fs::perms::owner_write, fs::perm_options::add, ignored);
  std::ofstream(path, std::ios::binary | std::ios::trunc).write(bytes.data(), static_cast<std::streamsize>(bytes.size()));
}

/// A directory, whatever it is called: names that changed in it are known by it, so that they are found again after it was
/// renamed.
using DirectoryId = std::size_t;

/// A change of a directory that its next sync makes durable.
struct NameChange {
  enum class Kind { kCreated, kCreatedDirectory, kRenamed, kDeleted, kDeletedDirectory };
  Kind kind;
  DirectoryId directory;  // kRenamed: of the new name
  std::string name;       // kRenamed: the new one
  DirectoryId old_directory = 0;        // kRenamed
  std::string old_name = {};            // kRenamed
  std::optional<std::string> replaced = {};  // what the name held before, durable bytes
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
    Tell(operation, FaultFileSystem::Moment::kBefore, path);
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
      if (fault_->impossible) return {IOStatus::NotSupported("injected", path), 0};
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
    Changed({NameChange::Kind::kCreated, DirectoryOf(path), LeafOf(path), 0, {}, std::move(replaced)}, path);
    data_[path] = std::make_shared<FileData>();
  }
  void CreatedDirectory(const std::string& path) {
    MutexLock lock(&mu_);
    Changed({NameChange::Kind::kCreatedDirectory, DirectoryOf(path), LeafOf(path)}, WithoutSlash(path));
  }
  void Linked(const std::string& path, const std::string& target) {
    MutexLock lock(&mu_);
    Changed({NameChange::Kind::kCreated, DirectoryOf(target), LeafOf(target)}, target);
    // Two names of one file: what one of them has synced, the other one has too.
    if (const auto known = data_.find(path); known != data_.end()) data_[target] = known->second;
  }
  void Deleted(const std::string& path, std::string bytes, bool last_name) {
    MutexLock lock(&mu_);
    if (free_bytes_.has_value() && last_name) *free_bytes_ += bytes.size();
    changes_.push_back({NameChange::Kind::kDeleted, DirectoryOf(path), LeafOf(path), 0, {}, DurablePart(path, std::move(bytes))});
    data_.erase(path);
  }
  void DeletedDirectory(const std::string& path) {
    MutexLock lock(&mu_);
    changes_.push_back({NameChange::Kind::kDeletedDirectory, DirectoryOf(path), LeafOf(path)});
  }
  void Renamed(const std::string& path, const std::string& target, std::optional<std::string> replaced) {
    MutexLock lock(&mu_);
    if (replaced.has_value()) replaced = DurablePart(target, *std::move(replaced));
    Changed({NameChange::Kind::kRenamed, DirectoryOf(target), LeafOf(target), DirectoryOf(path), LeafOf(path),
             std::move(replaced)}, target);
    data_.erase(target);
    Move(path, target);
  }
  void Synced(const std::string& path, std::uint64_t bytes) {
    MutexLock lock(&mu_);
    auto& data = data_[path];
    if (!data) data = std::make_shared<FileData>();
    // A slower sync that began earlier does not take back what a later one made durable.
    data->durable_bytes = std::max(data->durable_bytes, bytes);
    data->cut.clear();
  }
  void SyncedDirectory(const std::string& path) {
    MutexLock lock(&mu_);
    const DirectoryId directory = IdOf(WithoutSlash(path));
    std::erase_if(changes_, [directory](const NameChange& change) { return change.directory == directory; });
  }
  /// A file that was there before counts as durable from its first change on.
  void Opened(const std::string& path, std::uint64_t bytes) {
    MutexLock lock(&mu_);
    data_.try_emplace(path, std::make_shared<FileData>(FileData{bytes, ""}));
  }
  void Truncated(const std::string& path, const std::string& before, std::uint64_t bytes) {
    MutexLock lock(&mu_);
    auto& data = data_.try_emplace(path, std::make_shared<FileData>(FileData{before.size(), ""})).first->second;
    if (bytes >= data->durable_bytes) return;
    data->cut = before.substr(bytes, data->durable_bytes - bytes) + data->cut;
    data->durable_bytes = bytes;
  }

  void SetObserver(FaultFileSystem::Observer observer) { observer_ = std::move(observer); }
  void Tell(Operation operation, FaultFileSystem::Moment moment, const std::string& path) const {
    if (observer_) observer_(operation, moment, path);
  }
  /// Called before a file is opened for writing or cut.
  void CheckNotSealed(const std::string& path) {
    if (!IsSealed(path)) return;
    MutexLock lock(&mu_);
    violations_.push_back(path);
  }
  std::vector<std::string> violations() const {
    MutexLock lock(&mu_);
    return violations_;
  }
  bool Made(const std::string& path) const {
    MutexLock lock(&mu_);
    return made_.contains(path);
  }

  void DropUnsynced(FaultFileSystem::Leftover leftover, std::uint64_t seed) {
    MutexLock lock(&mu_);
    std::mt19937_64 random(seed);
    std::set<const FileData*> done;
    for (const auto& [path, data] : data_) {
      if (done.insert(data.get()).second) DropData(path, *data, leftover, &random);
    }
    // Of each directory's changes a first part stays; the others are undone, the latest first.
    std::map<DirectoryId, std::size_t> kept;
    for (const NameChange& change : changes_) ++kept[change.directory];
    for (auto& [directory, count] : kept) {
      count = leftover == FaultFileSystem::Leftover::kNothing ? 0 : random() % (count + 1);
    }
    std::vector<const NameChange*> undone;
    for (const NameChange& change : changes_) {
      if (kept[change.directory] > 0) {
        --kept[change.directory];
      } else {
        undone.push_back(&change);
      }
    }
    for (auto change = undone.rbegin(); change != undone.rend(); ++change) Undo(**change);
    data_.clear();
    changes_.clear();
    ids_.clear();
    directories_.clear();
    power_cut_ = false;
    power_left_.reset();
  }

 private:
  /// What of the bytes of a file that goes would be on the disk.
  std::string DurablePart(const std::string& path, std::string bytes) const VELLUM_REQUIRES(mu_) {
    const auto known = data_.find(path);
    if (known == data_.end()) return bytes;
    return bytes.substr(0, known->second->durable_bytes) + known->second->cut;
  }

  DirectoryId IdOf(const std::string& directory) VELLUM_REQUIRES(mu_) {
    const auto [found, is_new] = ids_.try_emplace(directory, directories_.size());
    if (is_new) directories_.push_back(directory);
    return found->second;
  }
  DirectoryId DirectoryOf(const std::string& path) VELLUM_REQUIRES(mu_) { return IdOf(ParentOf(path)); }

  void Changed(NameChange change, const std::string& path) VELLUM_REQUIRES(mu_) {
    changes_.push_back(std::move(change));
    made_.insert(path);
  }

  /// What is known of `path`, and if it is a directory of everything in it, is known of `target` from now on.
  void Move(const std::string& path, const std::string& target) VELLUM_REQUIRES(mu_) {
    const auto moved = [&](const std::string& name) { return target + name.substr(path.size()); };
    std::map<std::string, std::shared_ptr<FileData>> data;
    for (auto& [name, known] : data_) data[IsWithin(name, path) ? moved(name) : name] = std::move(known);
    data_ = std::move(data);
    std::set<std::string> made;
    for (const std::string& name : made_) made.insert(IsWithin(name, path) ? moved(name) : name);
    made_ = std::move(made);
    ids_.clear();
    for (DirectoryId id = 0; id < directories_.size(); ++id) {
      if (IsWithin(directories_[id], path)) directories_[id] = moved(directories_[id]);
      ids_[directories_[id]] = id;
    }
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
    const bool whole = leftover != FaultFileSystem::Leftover::kHoles || data.durable_bytes >= size;
    if (kept == size && data.cut.empty() && whole) return;
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

  void Undo(const NameChange& change) VELLUM_REQUIRES(mu_) {
    std::error_code error;
    const std::string path = directories_[change.directory] + "/" + change.name;
    switch (change.kind) {
      case NameChange::Kind::kCreated:
        fs::remove(path, error);
        if (change.replaced.has_value()) Spill(path, *change.replaced);
        return;
      case NameChange::Kind::kCreatedDirectory:
        fs::remove_all(path, error);
        return;
      case NameChange::Kind::kDeleted:
        Spill(path, *change.replaced);
        return;
      case NameChange::Kind::kDeletedDirectory:
        fs::create_directory(path, error);
        return;
      case NameChange::Kind::kRenamed: {
        const std::string old_path = directories_[change.old_directory] + "/" + change.old_name;
        fs::rename(path, old_path, error);
        Move(path, old_path);
        if (change.replaced.has_value()) Spill(path, *change.replaced);
        return;
      }
    }
  }

  FaultFileSystem::Observer observer_;  // set while nobody uses the files
  mutable Mutex mu_;
  std::array<std::uint64_t, FaultFileSystem::kOperationCount> counts_ VELLUM_GUARDED_BY(mu_){};
  std::optional<FaultFileSystem::Fault> fault_ VELLUM_GUARDED_BY(mu_);
  std::uint64_t matched_ VELLUM_GUARDED_BY(mu_) = 0;
  std::uint64_t faults_ VELLUM_GUARDED_BY(mu_) = 0;
  std::optional<std::uint64_t> free_bytes_ VELLUM_GUARDED_BY(mu_);
  bool power_cut_ VELLUM_GUARDED_BY(mu_) = false;
  std::optional<std::uint64_t> power_left_ VELLUM_GUARDED_BY(mu_);  // syncs until it is cut
  std::map<std::string, DirectoryId> ids_ VELLUM_GUARDED_BY(mu_);   // by present path
  std::vector<std::string> directories_ VELLUM_GUARDED_BY(mu_);     // present paths
  std::vector<NameChange> changes_ VELLUM_GUARDED_BY(mu_);          // the latest last
  std::map<std::string, std::shared_ptr<FileData>> data_ VELLUM_GUARDED_BY(mu_);  // by path; links share
  std::set<std::string> made_ VELLUM_GUARDED_BY(mu_);
  std::vector<std::string> violations_ VELLUM_GUARDED_BY(mu_);
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
    if (verdict.status.ok()) state_->Tell(Operation::kAppend, FaultFileSystem::Moment::kAfter, path_);
    return verdict.status;
  }
  IOStatus Append(const rocksdb::Slice& data, const IOOptions& options, const rocksdb::DataVerificationInfo&,
                  IODebugContext* debug) override {
    return Append(data, options, debug);
  }
  IOStatus Truncate(std::uint64_t size, const IOOptions& options, IODebugContext* debug) override {
    FaultState::Verdict verdict = state_->Begin(Operation::kTruncate, path_);
    if (!verdict.status.ok()) return verdict.status;
    state_->CheckNotSealed(path_);
    const std::string before = Slurp(path_);
    IOStatus status = target()->Truncate(size, options, debug);
    if (status.ok()) {
      if (fs::exists(path_)) state_->Truncated(path_, before, size);  // else power loss has nothing to bring back
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
    if (!verdict.status.ok()) return verdict.status;
    state_->Synced(path_, bytes);
    state_->Tell(Operation::kSync, FaultFileSystem::Moment::kAfter, path_);
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
  IOStatus MultiRead(rocksdb::FSReadRequest* requests, std::size_t count, const IOOptions& options,
                     IODebugContext* debug) override {
    return FSRandomAccessFile::MultiRead(requests, count, options, debug);  // each by Read
  }
  IOStatus Prefetch(std::uint64_t, std::size_t, const IOOptions&, IODebugContext*) override {
    return IOStatus::NotSupported();  // so that every read is a Read
  }

 private:
  const std::string path_;
  const std::shared_ptr<FaultState> state_;
};

class FaultSequentialFile final : public rocksdb::FSSequentialFileOwnerWrapper {
 public:
  FaultSequentialFile(std::unique_ptr<rocksdb::FSSequentialFile> file, std::string path,
                      std::shared_ptr<FaultState> state)
      : FSSequentialFileOwnerWrapper(std::move(file)), path_(std::move(path)), state_(std::move(state)) {}

  IOStatus Read(std::size_t bytes, const IOOptions& options, rocksdb::Slice* result, char* scratch,
                IODebugContext* debug) override {
    FaultState::Verdict verdict = state_->Begin(Operation::kRead, path_);
    if (!verdict.status.ok()) return verdict.status;
    return FSSequentialFileOwnerWrapper::Read(bytes, options, result, scratch, debug);
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
    if (!verdict.status.ok()) return verdict.status;
    state_->SyncedDirectory(path_);
    state_->Tell(Operation::kSync, FaultFileSystem::Moment::kAfter, path_);
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
    state_->CheckNotSealed(path);
    std::optional<std::string> replaced;
    if (fs::exists(path)) replaced = Slurp(path);
    IOStatus status = target()->NewWritableFile(path, options, file, debug);
    if (!status.ok()) return status;
    state_->Created(path, std::move(replaced));
    state_->Tell(Operation::kCreate, FaultFileSystem::Moment::kAfter, path);
    *file = std::make_unique<FaultWritableFile>(std::move(*file), path, 0, state_);
    return status;
  }
  IOStatus ReopenWritableFile(const std::string& path, const rocksdb::FileOptions& options,
                              std::unique_ptr<rocksdb::FSWritableFile>* file, IODebugContext* debug) override {
    if (!fs::exists(path)) return NewWritableFile(path, options, file, debug);
    state_->CheckNotSealed(path);
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
  IOStatus LinkFile(const std::string& path, const std::string& name, const IOOptions& options,
                    IODebugContext* debug) override {
    return Do(Operation::kLink, name, [&] {
      IOStatus status = target()->LinkFile(path, name, options, debug);
      if (status.ok()) state_->Linked(path, name);
      return status;
    });
  }
  IOStatus NewSequentialFile(const std::string& path, const rocksdb::FileOptions& options,
                             std::unique_ptr<rocksdb::FSSequentialFile>* file, IODebugContext* debug) override {
    IOStatus status = target()->NewSequentialFile(path, options, file, debug);
    if (status.ok()) *file = std::make_unique<FaultSequentialFile>(std::move(*file), path, state_);
    return status;
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
    return Do(Operation::kMakeDirectory, path, [&] {
      IOStatus status = target()->CreateDirIfMissing(path, options, debug);
      if (status.ok()) state_->CreatedDirectory(path);
      return status;
    });
  }
  IOStatus CreateDir(const std::string& path, const IOOptions& options, IODebugContext* debug) override {
    return Do(Operation::kMakeDirectory, path, [&] {
      IOStatus status = target()->CreateDir(path, options, debug);
      if (status.ok()) state_->CreatedDirectory(path);
      return status;
    });
  }
  IOStatus DeleteDir(const std::string& path, const IOOptions& options, IODebugContext* debug) override {
    return Do(Operation::kDelete, path, [&] {
      IOStatus status = target()->DeleteDir(path, options, debug);
      if (status.ok()) state_->DeletedDirectory(path);
      return status;
    });
  }
  IOStatus RenameFile(const std::string& path, const std::string& name, const IOOptions& options,
                      IODebugContext* debug) override {
    return Do(Operation::kRename, name, [&] {
      std::optional<std::string> replaced;
      if (fs::is_regular_file(name)) replaced = Slurp(name);
      IOStatus status = target()->RenameFile(path, name, options, debug);
      if (status.ok()) state_->Renamed(path, name, std::move(replaced));
      return status;
    });
  }
  IOStatus DeleteFile(const std::string& path, const IOOptions& options, IODebugContext* debug) override {
    return Do(Operation::kDelete, path, [&] {
      std::string bytes = Slurp(path);
      std::error_code ignored;
      const bool last_name = fs::hard_link_count(path, ignored) == 1;
      IOStatus status = target()->DeleteFile(path, options, debug);
      if (status.ok()) state_->Deleted(path, std::move(bytes), last_name);
      return status;
    });
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
  /// Asks first, and tells afterwards.
  template <typename Action>
  IOStatus Do(Operation operation, const std::string& path, const Action& action) {
    FaultState::Verdict verdict = state_->Begin(operation, path);
    if (!verdict.status.ok()) return verdict.status;
    IOStatus status = action();
    if (status.ok()) state_->Tell(operation, FaultFileSystem::Moment::kAfter, path);
    return status;
  }

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
  void SetObserver(Observer observer) override { state_->SetObserver(std::move(observer)); }
  std::vector<std::string> violations() const override { return state_->violations(); }
  bool Made(const std::string& path) const override { return state_->Made(path); }
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
