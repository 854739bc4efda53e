#include "storage/files.h"

#include <rocksdb/file_system.h>
#include <sys/stat.h>

#include <algorithm>
#include <memory>
#include <utility>

#include "storage/engine_file_system.h"
#include "storage/engine_status.h"

namespace vellum::storage {
namespace {

rocksdb::FileSystem* Engine(FileSystem* files) {
  return files == nullptr ? rocksdb::FileSystem::Default().get()
                          : static_cast<const EngineFileSystem&>(*files).target().get();
}

std::string ParentOf(const std::string& path) {
  const auto slash = path.rfind('/');
  if (slash == std::string::npos) return ".";
  return slash == 0 ? "/" : path.substr(0, slash);
}

Status Check(const rocksdb::IOStatus& status, const std::string& path) {
  if (status.ok()) return {};
  if (status.IsNotFound() || status.IsPathNotFound()) return NotFound(path + ": " + status.ToString());
  return FromEngine(status).WithContext(path);
}

Status WriteAndSync(FileSystem* files, const std::string& path, std::string_view bytes) {
  std::unique_ptr<rocksdb::FSWritableFile> file;
  VELLUM_TRY(Check(Engine(files)->NewWritableFile(path, {}, &file, nullptr), path));
  VELLUM_TRY(Check(file->Append({bytes.data(), bytes.size()}, {}, nullptr), path));
  VELLUM_TRY(Check(file->Fsync({}, nullptr), path));
  return Check(file->Close({}, nullptr), path);
}

}  // namespace

Result<bool> FileExists(FileSystem* files, const std::string& path) {
  const rocksdb::IOStatus status = Engine(files)->FileExists(path, {}, nullptr);
  if (status.ok()) return true;
  if (status.IsNotFound()) return false;
  return Check(status, path);
}

Status CreateDirectories(FileSystem* files, const std::string& path) {
  VELLUM_ASSIGN_OR_RETURN(const bool exists, FileExists(files, path));
  if (exists) return {};
  if (const std::string parent = ParentOf(path); parent != path) VELLUM_TRY(CreateDirectories(files, parent));
  VELLUM_TRY(Check(Engine(files)->CreateDirIfMissing(path, {}, nullptr), path));
  // RocksDB creates directories with rights for all that the umask leaves.
  if (::chmod(path.c_str(), S_IRWXU) != 0) return Internal(path + ": cannot set the rights of the directory");
  return SyncDirectory(files, ParentOf(path));
}

Result<std::string> ReadSmallFile(FileSystem* files, const std::string& path, std::size_t bytes_max) {
  std::unique_ptr<rocksdb::FSSequentialFile> file;
  VELLUM_TRY(Check(Engine(files)->NewSequentialFile(path, {}, &file, nullptr), path));
  std::string content;
  char scratch[4096];
  for (;;) {
    rocksdb::Slice piece;
    VELLUM_TRY(Check(file->Read(sizeof(scratch), {}, &piece, scratch, nullptr), path));
    if (piece.empty()) return content;
    if (content.size() + piece.size() > bytes_max) {
      return DataLoss(path + " holds more than " + std::to_string(bytes_max) + " bytes", Reason::kCorrupt);
    }
    content.append(piece.data(), piece.size());
  }
}

Status WriteFileDurably(FileSystem* files, const std::string& path, std::string_view bytes) {
  const std::string temporary = path + ".tmp";
  VELLUM_TRY(WriteAndSync(files, temporary, bytes));
  VELLUM_TRY(Check(Engine(files)->RenameFile(temporary, path, {}, nullptr), path));
  return SyncDirectory(files, ParentOf(path));
}

Status ReserveFile(FileSystem* files, const std::string& path, std::uint64_t bytes) {
  std::uint64_t size = 0;
  const rocksdb::IOStatus status = Engine(files)->GetFileSize(path, {}, &size, nullptr);
  if (!status.ok() && !status.IsNotFound() && !status.IsPathNotFound()) return Check(status, path);
  if (status.ok() && size >= bytes) return {};
  std::unique_ptr<rocksdb::FSWritableFile> file;
  VELLUM_TRY(Check(Engine(files)->NewWritableFile(path, {}, &file, nullptr), path));
  // Written, not only allocated: file systems that compress or copy on write promise nothing for less. And not zeros,
  // for the same reason.
  std::string block(1u << 20, '\0');
  std::uint32_t noise = 1;
  for (char& byte : block) {
    noise = noise * 1664525u + 1013904223u;
    byte = static_cast<char>(noise >> 24);
  }
  for (std::uint64_t written = 0; written < bytes;) {
    const std::size_t piece = static_cast<std::size_t>(std::min<std::uint64_t>(block.size(), bytes - written));
    VELLUM_TRY(Check(file->Append({block.data(), piece}, {}, nullptr), path));
    written += piece;
  }
  VELLUM_TRY(Check(file->Fsync({}, nullptr), path));
  VELLUM_TRY(Check(file->Close({}, nullptr), path));
  return SyncDirectory(files, ParentOf(path));
}

Status RemoveFile(FileSystem* files, const std::string& path) {
  VELLUM_ASSIGN_OR_RETURN(const bool exists, FileExists(files, path));
  if (!exists) return {};
  VELLUM_TRY(Check(Engine(files)->DeleteFile(path, {}, nullptr), path));
  return SyncDirectory(files, ParentOf(path));
}

Status SyncDirectory(FileSystem* files, const std::string& path) {
  std::unique_ptr<rocksdb::FSDirectory> directory;
  VELLUM_TRY(Check(Engine(files)->NewDirectory(path, {}, &directory, nullptr), path));
  return Check(directory->Fsync({}, nullptr), path);
}

Result<std::uint64_t> FreeSpace(FileSystem* files, const std::string& path) {
  std::uint64_t bytes = 0;
  VELLUM_TRY(Check(Engine(files)->GetFreeSpace(path, {}, &bytes, nullptr), path));
  return bytes;
}

}  // namespace vellum::storage
