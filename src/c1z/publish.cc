#include "c1z/publish.h"

#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <utility>

#include "storage/files.h"

namespace vellum::c1z {

namespace fs = std::filesystem;

Result<Publication> Publication::Begin(const std::string& path, WriteOptions::IfExists if_exists) {
  VELLUM_TRY(CheckTarget(path, if_exists));
  // A name of its own beside the target, so that the rename is within one file system.
  std::string temporary = path + ".XXXXXX.tmp";
  const int fd = ::mkstemps(temporary.data(), 4);
  if (fd < 0) return FailedPrecondition("cannot write beside " + path + ": " + std::strerror(errno));
  ::fchmod(fd, 0644);
  ::close(fd);
  return Publication(path, if_exists, std::move(temporary));
}

Publication::~Publication() {
  std::error_code error;
  if (!temporary_.empty()) fs::remove(temporary_, error);
}

Publication::Publication(Publication&& other) noexcept
    : path_(std::move(other.path_)), if_exists_(other.if_exists_), temporary_(std::exchange(other.temporary_, {})) {}

Result<std::uint64_t> Publication::Publish() {
  std::error_code error;
  const std::uint64_t bytes = fs::file_size(temporary_, error);
  if (error) return Internal("cannot stat " + temporary_ + ": " + error.message());
  // A link fails where a file has appeared meanwhile; a rename would take its place.
  const bool refuse = if_exists_ == WriteOptions::IfExists::kRefuse;
  if (refuse && ::link(temporary_.c_str(), path_.c_str()) == 0) {
    fs::remove(temporary_, error);
  } else if (refuse && errno == EEXIST) {
    return FailedPrecondition(path_ + " exists already");
  } else {  // to be replaced, or a file system without links
    fs::rename(temporary_, path_, error);
    if (error) return Internal("cannot rename " + temporary_ + " to " + path_ + ": " + error.message());
  }
  temporary_.clear();
  const fs::path parent = fs::path(path_).parent_path();
  VELLUM_TRY(storage::SyncDirectory(nullptr, parent.empty() ? "." : parent.string()));
  return bytes;
}

}  // namespace vellum::c1z
