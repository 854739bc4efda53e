#pragma once

#include <rocksdb/file_system.h>

#include <memory>
#include <string>
#include <utility>

namespace vellum::storage {

class UnsyncedFile final : public rocksdb::FSWritableFileOwnerWrapper {
 public:
  using FSWritableFileOwnerWrapper::FSWritableFileOwnerWrapper;
  rocksdb::IOStatus Sync(const rocksdb::IOOptions& /*options*/, rocksdb::IODebugContext* /*debug*/) override {
    return rocksdb::IOStatus::OK();
  }
  rocksdb::IOStatus Fsync(const rocksdb::IOOptions& /*options*/, rocksdb::IODebugContext* /*debug*/) override {
    return rocksdb::IOStatus::OK();
  }
  rocksdb::IOStatus RangeSync(std::uint64_t /*offset*/, std::uint64_t /*bytes*/, const rocksdb::IOOptions& /*options*/,
                              rocksdb::IODebugContext* /*debug*/) override {
    return rocksdb::IOStatus::OK();
  }
};

class UnsyncedDirectory final : public rocksdb::FSDirectoryWrapper {
 public:
  using FSDirectoryWrapper::FSDirectoryWrapper;
  rocksdb::IOStatus Fsync(const rocksdb::IOOptions& /*options*/, rocksdb::IODebugContext* /*debug*/) override {
    return rocksdb::IOStatus::OK();
  }
  rocksdb::IOStatus FsyncWithDirOptions(const rocksdb::IOOptions& /*options*/, rocksdb::IODebugContext* /*debug*/,
                                        const rocksdb::DirFsyncOptions& /*reason*/) override {
    return rocksdb::IOStatus::OK();
  }
};

class UnsyncedFileSystem final : public rocksdb::FileSystemWrapper {
 public:
  using FileSystemWrapper::FileSystemWrapper;
  const char* Name() const override { return "vellum.UnsyncedFileSystem"; }
  rocksdb::IOStatus NewWritableFile(const std::string& path, const rocksdb::FileOptions& options,
                                    std::unique_ptr<rocksdb::FSWritableFile>* file,
                                    rocksdb::IODebugContext* debug) override {
    rocksdb::IOStatus opened = target()->NewWritableFile(path, options, file, debug);
    if (opened.ok()) *file = std::make_unique<UnsyncedFile>(std::move(*file));
    return opened;
  }
  rocksdb::IOStatus NewDirectory(const std::string& path, const rocksdb::IOOptions& options,
                                 std::unique_ptr<rocksdb::FSDirectory>* directory,
                                 rocksdb::IODebugContext* debug) override {
    rocksdb::IOStatus opened = target()->NewDirectory(path, options, directory, debug);
    if (opened.ok()) *directory = std::make_unique<UnsyncedDirectory>(std::move(*directory));
    return opened;
  }
};

/// A file system on which writing works, and syncing does nothing: whoever uses it syncs what matters at the end. For
/// putting a directory together that nobody looks at before it is complete. RocksDB would sync each of its own small
/// files, and the directory, a dozen times meanwhile.
inline std::shared_ptr<rocksdb::FileSystem> LeaveUnsynced(std::shared_ptr<rocksdb::FileSystem> target) {
  return std::make_shared<UnsyncedFileSystem>(std::move(target));
}

}  // namespace vellum::storage
