#include "storage/files.h"

#include <rocksdb/file_system.h>
#include <sys/stat.h>

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

}  // namespace vellum::storage
