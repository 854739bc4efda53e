#include "storage/piecewise_delete.h"

#include <algorithm>
#include <memory>

namespace vellum::storage {
namespace {

using rocksdb::IODebugContext;
using rocksdb::IOOptions;
using rocksdb::IOStatus;

std::string DirectoryOf(const std::string& name) {
  const std::size_t slash = name.rfind('/');
  if (slash == std::string::npos) return ".";
  return slash == 0 ? "/" : name.substr(0, slash);
}

/// A handle on a large file whose only name this is; null for any other, or if that cannot be known.
std::unique_ptr<rocksdb::FSWritableFile> OpenLarge(rocksdb::FileSystem* files, const std::string& name,
                                                   const IOOptions& options, std::uint64_t* bytes,
                                                   IODebugContext* debug) {
  std::uint64_t names = 0;
  if (!files->GetFileSize(name, options, bytes, debug).ok() || *bytes <= kDeletePieceBytes) return nullptr;
  if (!files->NumFileLinks(name, options, &names, debug).ok() || names != 1) return nullptr;
  std::unique_ptr<rocksdb::FSWritableFile> file;
  const IOStatus opened = files->ReopenWritableFile(name, rocksdb::FileOptions(), &file, debug);
  return opened.ok() ? std::move(file) : nullptr;
}

IOStatus SyncDirectory(rocksdb::FileSystem* files, const std::string& path, const IOOptions& options,
                       IODebugContext* debug) {
  std::unique_ptr<rocksdb::FSDirectory> directory;
  IOStatus status = files->NewDirectory(path, options, &directory, debug);
  return status.ok() ? directory->Fsync(options, debug) : status;
}

}  // namespace

IOStatus DeletePiecewise(rocksdb::FileSystem* files, const std::string& name, const IOOptions& options,
                         IODebugContext* debug) {
  std::uint64_t bytes = 0;
  const std::unique_ptr<rocksdb::FSWritableFile> file = OpenLarge(files, name, options, &bytes, debug);
  IOStatus deleted = files->DeleteFile(name, options, debug);
  if (file == nullptr) return deleted;
  // The file is gone whatever comes of the rest, which only spreads the disk's work.
  if (deleted.ok() && SyncDirectory(files, DirectoryOf(name), options, debug).ok()) {
    while (bytes > kDeletePieceBytes) {
      bytes -= kDeletePieceBytes;
      if (!file->Truncate(bytes, options, debug).ok()) break;
    }
  }
  file->Close(options, debug).PermitUncheckedError();
  return deleted;
}

}  // namespace vellum::storage
