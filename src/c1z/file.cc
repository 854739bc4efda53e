#include "c1z/file.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <cstring>

namespace vellum::c1z {
namespace {

Status CannotWrite(const std::string& path, int error) {
  const std::string text = "cannot write " + path + ": " + std::strerror(error);
  return error == ENOSPC ? ResourceExhausted(text, Reason::kNoSpace) : Internal(text);
}

}  // namespace

Result<File> File::OpenForReading(const std::string& path) {
  const int fd = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (fd < 0) {
    const std::string text = "cannot open " + path + ": " + std::strerror(errno);
    return errno == ENOENT ? NotFound(text) : FailedPrecondition(text);
  }
  return File(fd, path);
}

Result<File> File::Create(const std::string& path, int flags) {
  const int fd = ::open(path.c_str(), O_WRONLY | O_CREAT | O_CLOEXEC | flags, 0644);
  if (fd < 0) return FailedPrecondition("cannot create " + path + ": " + std::strerror(errno));
  return File(fd, path);
}

Result<File> File::CreateScratch(const std::string& path) {
  std::string name = path + ".XXXXXX.tmp";
  const int fd = ::mkostemps(name.data(), 4, O_CLOEXEC);
  if (fd < 0) return FailedPrecondition("cannot write beside " + path + ": " + std::strerror(errno));
  ::unlink(name.c_str());
  return File(fd, name);
}

File::~File() {
  if (fd_ >= 0) ::close(fd_);
}

Result<std::size_t> File::Read(char* to, std::size_t size) const {
  for (;;) {
    const ssize_t got = ::read(fd_, to, size);
    if (got >= 0) return static_cast<std::size_t>(got);
    if (errno != EINTR) return DataLoss("cannot read " + path_ + ": " + std::strerror(errno));
  }
}

Status File::ReadAt(std::uint64_t offset, char* to, std::size_t size) const {
  while (size > 0) {
    const ssize_t got = ::pread(fd_, to, size, static_cast<off_t>(offset));
    if (got < 0 && errno == EINTR) continue;
    if (got <= 0)
      return DataLoss("cannot read " + path_ + ": " + (got < 0 ? std::strerror(errno) : "it ends too early"));
    to += got;
    offset += static_cast<std::uint64_t>(got);
    size -= static_cast<std::size_t>(got);
  }
  return {};
}

Status File::Write(std::string_view bytes) const {
  while (!bytes.empty()) {
    const ssize_t put = ::write(fd_, bytes.data(), bytes.size());
    if (put < 0 && errno == EINTR) continue;
    if (put < 0) return CannotWrite(path_, errno);
    bytes.remove_prefix(static_cast<std::size_t>(put));
  }
  return {};
}

Status File::WriteAt(std::uint64_t offset, std::string_view bytes) const {
  while (!bytes.empty()) {
    const ssize_t put = ::pwrite(fd_, bytes.data(), bytes.size(), static_cast<off_t>(offset));
    if (put < 0 && errno == EINTR) continue;
    if (put < 0) return CannotWrite(path_, errno);
    offset += static_cast<std::uint64_t>(put);
    bytes.remove_prefix(static_cast<std::size_t>(put));
  }
  return {};
}

Result<std::uint64_t> File::Size() const {
  struct stat status {};
  if (::fstat(fd_, &status) != 0) return Internal("cannot stat " + path_ + ": " + std::strerror(errno));
  return static_cast<std::uint64_t>(status.st_size);
}

Status File::Sync() const {
  return ::fsync(fd_) == 0 ? Status() : Internal("cannot sync " + path_ + ": " + std::strerror(errno));
}

}  // namespace vellum::c1z
