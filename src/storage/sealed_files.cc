#include "storage/sealed_files.h"

#include <rocksdb/env.h>
#include <rocksdb/file_system.h>
#include <rocksdb/options.h>
#include <rocksdb/sst_file_reader.h>
#include <rocksdb/table.h>
#include <rocksdb/table_properties.h>

#include <algorithm>
#include <cstring>
#include <map>
#include <vector>

#include "base/mutex.h"
#include "storage/engine_file_system.h"
#include "storage/engine_status.h"
#include "storage/unsynced_files.h"

namespace vellum::storage {
namespace {

using rocksdb::IODebugContext;
using rocksdb::IOOptions;
using rocksdb::IOStatus;

/// What was read, by file and place; and whether a read failed. Thread-safe.
class Memory {
 public:
  /// True: `scratch` holds what is there of [offset, offset + bytes).
  bool Recall(const std::string& path, std::uint64_t offset, std::size_t bytes, char* scratch, rocksdb::Slice* result) {
    MutexLock lock(&mu_);
    const auto pieces = pieces_.find(path);
    if (pieces == pieces_.end()) return false;
    for (const Piece& piece : pieces->second) {
      if (offset < piece.offset || offset > piece.offset + piece.bytes.size()) continue;
      const auto skip = static_cast<std::size_t>(offset - piece.offset);
      const std::size_t there = piece.bytes.size() - skip;
      if (there < bytes && !piece.to_the_end) continue;
      std::memcpy(scratch, piece.bytes.data() + skip, std::min(bytes, there));
      *result = rocksdb::Slice(scratch, std::min(bytes, there));
      return true;
    }
    return false;
  }
  void Keep(const std::string& path, std::uint64_t offset, std::size_t wanted, const rocksdb::Slice& bytes) {
    MutexLock lock(&mu_);
    pieces_[path].push_back({offset, bytes.ToString(), bytes.size() < wanted});
  }
  void Fail(const std::string& path, const IOStatus& status) {
    MutexLock lock(&mu_);
    if (failure_.ok()) failure_ = FromEngine(status).WithContext(path);
  }
  Status failure() const {
    MutexLock lock(&mu_);
    return failure_;
  }
  void Forget() {
    MutexLock lock(&mu_);
    pieces_.clear();
  }

 private:
  struct Piece {
    std::uint64_t offset = 0;
    std::string bytes;
    bool to_the_end = false;
  };
  mutable Mutex mu_;
  std::map<std::string, std::vector<Piece>> pieces_ VELLUM_GUARDED_BY(mu_);
  Status failure_ VELLUM_GUARDED_BY(mu_);
};

class RememberedFile final : public rocksdb::FSRandomAccessFileOwnerWrapper {
 public:
  RememberedFile(std::unique_ptr<rocksdb::FSRandomAccessFile> file, std::string path, std::shared_ptr<Memory> memory)
      : FSRandomAccessFileOwnerWrapper(std::move(file)), path_(std::move(path)), memory_(std::move(memory)) {}

  IOStatus Read(std::uint64_t offset, std::size_t bytes, const IOOptions& options, rocksdb::Slice* result,
                char* scratch, IODebugContext* debug) const override {
    if (memory_->Recall(path_, offset, bytes, scratch, result)) return IOStatus::OK();
    IOStatus status = FSRandomAccessFileOwnerWrapper::Read(offset, bytes, options, result, scratch, debug);
    if (status.ok()) {
      memory_->Keep(path_, offset, bytes, *result);
    } else {
      memory_->Fail(path_, status);
    }
    return status;
  }
  IOStatus MultiRead(rocksdb::FSReadRequest* requests, std::size_t count, const IOOptions& options,
                     IODebugContext* debug) override {
    for (std::size_t i = 0; i < count; ++i) {
      rocksdb::FSReadRequest& each = requests[i];
      each.status = Read(each.offset, each.len, options, &each.result, each.scratch, debug);
    }
    return IOStatus::OK();
  }

 private:
  const std::string path_;
  const std::shared_ptr<Memory> memory_;
};

class SealedFileSystem final : public rocksdb::FileSystemWrapper {
 public:
  SealedFileSystem(std::shared_ptr<rocksdb::FileSystem> target, std::shared_ptr<Memory> memory)
      : FileSystemWrapper(std::move(target)), memory_(std::move(memory)) {}
  const char* Name() const override { return "vellum.SealedFileSystem"; }

  IOStatus NewRandomAccessFile(const std::string& path, const rocksdb::FileOptions& options,
                               std::unique_ptr<rocksdb::FSRandomAccessFile>* file, IODebugContext* debug) override {
    IOStatus status = target()->NewRandomAccessFile(path, options, file, debug);
    if (status.ok()) *file = std::make_unique<RememberedFile>(std::move(*file), path, memory_);
    return status;
  }
  IOStatus ReopenWritableFile(const std::string& /*path*/, const rocksdb::FileOptions& /*options*/,
                              std::unique_ptr<rocksdb::FSWritableFile>* /*file*/, IODebugContext* /*debug*/) override {
    return IOStatus::NotSupported("files are sealed");
  }

 private:
  const std::shared_ptr<Memory> memory_;
};

}  // namespace

struct SealedFiles::Impl {
  explicit Impl(std::shared_ptr<FileSystem> file_system)
      : files(std::move(file_system)),
        env(MakeEnv(files, std::make_shared<SealedFileSystem>(LeaveUnsynced(EngineView(files)), memory))) {}
  const std::shared_ptr<FileSystem> files;
  const std::shared_ptr<Memory> memory = std::make_shared<Memory>();
  const std::unique_ptr<rocksdb::Env> env;
};

SealedFiles::SealedFiles(std::shared_ptr<FileSystem> files) : impl_(std::make_unique<Impl>(std::move(files))) {}
SealedFiles::~SealedFiles() = default;

rocksdb::Env* SealedFiles::env() const { return impl_->env.get(); }

Status SealedFiles::ReadEnds(const std::string& path) {
  rocksdb::BlockBasedTableOptions block;
  block.no_block_cache = true;
  rocksdb::Options options;
  options.table_factory.reset(rocksdb::NewBlockBasedTableFactory(block));
  options.env = impl_->env.get();
  rocksdb::SstFileReader reader(options);
  VELLUM_TRY(FromEngine(reader.Open(path)).WithContext("table file " + path));
  const std::unique_ptr<rocksdb::Iterator> ends(reader.NewIterator(rocksdb::ReadOptions()));
  ends->SeekToFirst();
  const bool first = ends->Valid();
  VELLUM_TRY(FromEngine(ends->status()).WithContext("table file " + path));
  ends->SeekToLast();
  VELLUM_TRY(FromEngine(ends->status()).WithContext("table file " + path));
  if (first && ends->Valid()) return {};
  // The iterator passes over tombstones, and an overlay may have a file of nothing else.
  const auto properties = reader.GetTableProperties();
  const bool tombstones_only = properties != nullptr && properties->num_entries > 0 &&
                               properties->num_deletions == properties->num_entries;
  if (!tombstones_only) return DataLoss("table file " + path + " has no records", Reason::kCorrupt);
  return {};
}

Status SealedFiles::status() const {
  Status failure = impl_->memory->failure();
  return failure.ok() ? failure : Status(failure).WithContext("a file could not be read while it was taken over");
}

void SealedFiles::Forget() { impl_->memory->Forget(); }

}  // namespace vellum::storage
