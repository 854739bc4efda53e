#include "storage/files.h"

#include <rocksdb/file_system.h>
#include <sys/stat.h>

#include <memory>

#include "storage/engine_file_system.h"
#include "storage/engine_status.h"

namespace vellum::storage {
namespace {

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

}  // namespace

Status CreateDirectories(FileSystem* files, const std::string& path) {
  std::string name = path;
  while (name.size() > 1 && name.ends_with('/')) name.pop_back();
  if (name.empty()) return InvalidArgument("a directory has no name");
  return CreateIn(files == nullptr ? rocksdb::FileSystem::Default().get()
                                   : static_cast<const EngineFileSystem&>(*files).target().get(),
                  name);
}

}  // namespace vellum::storage
