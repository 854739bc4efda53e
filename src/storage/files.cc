#include "storage/files.h"

#include <rocksdb/file_system.h>
#include <sys/stat.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
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

Status CreateIn(rocksdb::FileSystem* files, const std::string& path) {
  const rocksdb::IOStatus exists = files->FileExists(path, {}, nullptr);
  if (exists.ok()) return {};
  if (!exists.IsNotFound()) return FromEngine(exists).WithContext(path);
  const std::string parent = ParentOf(path);
  if (parent != path) VELLUM_TRY(CreateIn(files, parent));
  VELLUM_TRY(FromEngine(files->CreateDirIfMissing(path, {}, nullptr)).WithContext(path));
  // RocksDB gives all the rights that the umask leaves.
  if (::chmod(path.c_str(), S_IRWXU) != 0) return Internal(path + ": cannot set the rights of the directory");
  std::unique_ptr<rocksdb::FSDirectory> directory;
  VELLUM_TRY(FromEngine(files->NewDirectory(parent, {}, &directory, nullptr)).WithContext(parent));
  return FromEngine(directory->Fsync({}, nullptr)).WithContext(parent);
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

Status CreateDirectories(FileSystem* files, const std::string& path) {
  std::string name = path;
  while (name.size() > 1 && name.ends_with('/')) name.pop_back();
  if (name.empty()) return InvalidArgument("a directory has no name");
  return CreateIn(Engine(files), name);
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

Status SyncDirectory(FileSystem* files, const std::string& path) {
  std::unique_ptr<rocksdb::FSDirectory> directory;
  VELLUM_TRY(Check(Engine(files)->NewDirectory(path, {}, &directory, nullptr), path));
  return Check(directory->Fsync({}, nullptr), path);
}

Status SyncFile(FileSystem* files, const std::string& path) {
  std::unique_ptr<rocksdb::FSWritableFile> file;
  VELLUM_TRY(Check(Engine(files)->ReopenWritableFile(path, {}, &file, nullptr), path));
  VELLUM_TRY(Check(file->Fsync({}, nullptr), path));
  return Check(file->Close({}, nullptr), path);
}

Status CreateDirectory(FileSystem* files, const std::string& path) {
  return Check(Engine(files)->CreateDirIfMissing(path, {}, nullptr), path);
}

Result<bool> Exists(FileSystem* files, const std::string& path) {
  const rocksdb::IOStatus exists = Engine(files)->FileExists(path, {}, nullptr);
  if (exists.IsNotFound()) return false;
  VELLUM_TRY(Check(exists, path));
  return true;
}

Result<std::uint64_t> FileSize(FileSystem* files, const std::string& path) {
  std::uint64_t bytes = 0;
  VELLUM_TRY(Check(Engine(files)->GetFileSize(path, {}, &bytes, nullptr), path));
  return bytes;
}

Result<std::vector<std::string>> ListDirectory(FileSystem* files, const std::string& path) {
  std::vector<std::string> names;
  VELLUM_TRY(Check(Engine(files)->GetChildren(path, {}, &names, nullptr), path));
  std::erase_if(names, [](const std::string& name) { return name == "." || name == ".."; });
  std::sort(names.begin(), names.end());
  return names;
}

std::uint64_t DirectoryBytes(FileSystem* files, const std::string& path) {
  const auto names = ListDirectory(files, path);
  if (!names.ok()) return 0;
  std::uint64_t bytes = 0;
  for (const std::string& name : *names) {
    const std::string each = path + "/" + name;
    bool is_directory = false;
    if (!Engine(files)->IsDirectory(each, {}, &is_directory, nullptr).ok()) continue;
    bytes += is_directory ? DirectoryBytes(files, each) : FileSize(files, each).value_or(0);
  }
  return bytes;
}

Status ReadFile(FileSystem* files, const std::string& path, const std::function<Status(std::string_view piece)>& visit) {
  std::unique_ptr<rocksdb::FSSequentialFile> file;
  VELLUM_TRY(Check(Engine(files)->NewSequentialFile(path, {}, &file, nullptr), path));
  constexpr std::size_t kPieceBytes = 1u << 20;
  const auto scratch = std::make_unique_for_overwrite<char[]>(kPieceBytes);
  for (;;) {
    rocksdb::Slice piece;
    VELLUM_TRY(Check(file->Read(kPieceBytes, {}, &piece, scratch.get(), nullptr), path));
    if (piece.empty()) return {};
    VELLUM_TRY(visit({piece.data(), piece.size()}));
  }
}

Status Rename(FileSystem* files, const std::string& from, const std::string& to) {
  return Check(Engine(files)->RenameFile(from, to, {}, nullptr), "rename " + from + " to " + to);
}

Result<bool> LinkFile(FileSystem* files, const std::string& from, const std::string& to) {
  errno = 0;
  const rocksdb::IOStatus linked = Engine(files)->LinkFile(from, to, {}, nullptr);
  const int error = errno;
  if (linked.IsNotSupported()) return false;
  // RocksDB tells only some of the reasons apart.
  if (linked.IsIOError() && (error == EPERM || error == EMLINK || error == EOPNOTSUPP)) return false;
  VELLUM_TRY(Check(linked, "link " + from + " to " + to));
  return true;
}

Status CopyFile(FileSystem* files, const std::string& from, const std::string& to) {
  std::unique_ptr<rocksdb::FSWritableFile> copy;
  VELLUM_TRY(Check(Engine(files)->NewWritableFile(to, {}, &copy, nullptr), to));
  VELLUM_TRY(ReadFile(files, from, [&](std::string_view piece) {
    return Check(copy->Append({piece.data(), piece.size()}, {}, nullptr), to);
  }));
  VELLUM_TRY(Check(copy->Fsync({}, nullptr), to));
  return Check(copy->Close({}, nullptr), to);
}

Status MakeReadOnly(const std::string& path) {
  if (::chmod(path.c_str(), S_IRUSR | S_IRGRP | S_IROTH) == 0) return {};
  return Internal("cannot make " + path + " read-only: " + std::strerror(errno));
}

Status RemoveFile(FileSystem* files, const std::string& path) {
  const rocksdb::IOStatus removed = Engine(files)->DeleteFile(path, {}, nullptr);
  return removed.IsNotFound() || removed.IsPathNotFound() ? Status() : Check(removed, path);
}

Status RemoveTree(FileSystem* files, const std::string& path) {
  // What a symbolic link leads to is not part of the tree.
  struct stat own {};
  if (::lstat(path.c_str(), &own) != 0 && errno == ENOENT) return {};
  if (S_ISLNK(own.st_mode)) return RemoveFile(files, path);
  bool is_directory = false;
  const rocksdb::IOStatus kind = Engine(files)->IsDirectory(path, {}, &is_directory, nullptr);
  if (kind.IsNotFound() || kind.IsPathNotFound()) return {};
  VELLUM_TRY(Check(kind, path));
  if (!is_directory) return RemoveFile(files, path);
  const auto names = ListDirectory(files, path);
  if (!names.ok()) return names.error().code() == Code::kNotFound ? Status() : names.error();
  for (const std::string& name : *names) VELLUM_TRY(RemoveTree(files, path + "/" + name));
  const rocksdb::IOStatus removed = Engine(files)->DeleteDir(path, {}, nullptr);
  return removed.IsNotFound() || removed.IsPathNotFound() ? Status() : Check(removed, path);
}

}  // namespace vellum::storage
