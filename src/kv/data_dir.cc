#include "kv/data_dir.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <charconv>
#include <cstring>
#include <filesystem>
#include <utility>

#include "base/bytes.h"
#include "kv/meta.h"

namespace vellum::kv {
namespace {

Status SystemError(const std::string& what, int error) {
  const Code code = error == ENOSPC || error == EDQUOT ? Code::kResourceExhausted : Code::kUnavailable;
  return {error == EACCES || error == EPERM || error == EROFS ? Code::kPermissionDenied : code,
          what + ": " + std::strerror(error)};
}

/// A file descriptor that is closed when it goes.
class File {
 public:
  File(const std::string& path, int flags) : fd_(::open(path.c_str(), flags | O_CLOEXEC, 0600)), error_(errno) {}
  ~File() {
    if (fd_ >= 0) ::close(fd_);
  }
  File(const File&) = delete;
  File& operator=(const File&) = delete;
  int fd() const { return fd_; }
  int error() const { return error_; }
  int Release() { return std::exchange(fd_, -1); }

 private:
  int fd_;
  const int error_;
};

/// The first bytes of a small text file.
std::string ReadStart(int fd) {
  char buffer[64];
  const ssize_t size = ::pread(fd, buffer, sizeof(buffer), 0);
  std::string text(buffer, size > 0 ? static_cast<std::size_t>(size) : 0);
  while (!text.empty() && (text.back() == '\n' || text.back() == ' ')) text.pop_back();
  return text;
}

Status WriteAll(int fd, const std::string& path, const std::string& text) {
  if (::pwrite(fd, text.data(), text.size(), 0) != static_cast<ssize_t>(text.size())) {
    return SystemError("cannot write " + path, errno);
  }
  return ::fsync(fd) == 0 ? Status() : SystemError("cannot sync " + path, errno);
}

Status SyncDirectory(const std::string& path) {
  const File directory(path, O_RDONLY | O_DIRECTORY);
  if (directory.fd() < 0) return SystemError("cannot open the directory " + path, directory.error());
  return ::fsync(directory.fd()) == 0 ? Status() : SystemError("cannot sync the directory " + path, errno);
}

/// Makes the directory and its missing parents, all with mode 0700.
Status MakeDirectories(const std::string& path) {
  std::filesystem::path so_far;
  for (const std::filesystem::path& part : std::filesystem::path(path)) {
    const std::filesystem::path parent = so_far.empty() ? "." : so_far;
    so_far /= part;
    if (so_far.empty()) continue;
    if (::mkdir(so_far.c_str(), 0700) == 0) {
      // Power loss would take the directory away with all that is synced inside it.
      VELLUM_TRY(SyncDirectory(parent.string()));
      continue;
    }
    const int error = errno;
    struct stat info {};
    if (::stat(so_far.c_str(), &info) != 0) return SystemError("cannot make the directory " + so_far.string(), error);
    if (!S_ISDIR(info.st_mode)) return FailedPrecondition(so_far.string() + " is not a directory");
  }
  return {};
}

bool Exists(const std::string& path) { return ::access(path.c_str(), F_OK) == 0; }

/// Whoever puts Vellum in etcd's place must not find an empty store where the keys were.
bool IsOfEtcd(const std::string& path) { return Exists(path + "/member") && !Exists(path + "/FORMAT"); }

}  // namespace

Result<std::unique_ptr<DataDir>> DataDir::Open(const std::string& path, bool create_if_missing) {
  if (path.empty()) return InvalidArgument("the data directory has no name");
  if (IsOfEtcd(path)) {
    return FailedPrecondition("the data directory " + path +
                              " holds a member of etcd, which Vellum does not read: give it another directory, and copy the "
                              "keys from a running etcd with 'etcdctl make-mirror'");
  }
  if (create_if_missing) {
    VELLUM_TRY(MakeDirectories(path));
  } else if (::access((path + "/FORMAT").c_str(), F_OK) != 0) {
    if (errno != ENOENT && errno != ENOTDIR) return SystemError("cannot look into " + path, errno);
    return FailedPrecondition("there is no store in " + path);
  }
  const std::string lock_path = path + "/LOCK";
  File lock(lock_path, O_RDWR | O_CREAT);
  if (lock.fd() < 0) return SystemError("cannot open " + lock_path, lock.error());
  if (::flock(lock.fd(), LOCK_EX | LOCK_NB) != 0) {
    if (errno != EWOULDBLOCK) return SystemError("cannot lock " + lock_path, errno);
    const std::string holder = Printable(ReadStart(lock.fd()));
    return FailedPrecondition("the data directory " + path + " is in use by " +
                              (holder.empty() ? "another process" : "process " + holder));
  }
  std::unique_ptr<DataDir> directory(new DataDir(path, lock.Release()));
  if (::ftruncate(directory->lock_fd_, 0) != 0) return SystemError("cannot write " + lock_path, errno);
  const std::string pid = std::to_string(::getpid()) + "\n";
  // Who holds the lock is for people to read: on a full disk it may stay unknown.
  if (::pwrite(directory->lock_fd_, pid.data(), pid.size(), 0) < 0 && errno != ENOSPC && errno != EDQUOT) {
    return SystemError("cannot write " + lock_path, errno);
  }
  VELLUM_TRY(directory->ReadFormat());
  return directory;
}

DataDir::~DataDir() {
  // Closing would do; truncating first keeps a later message from naming a process that is gone.
  static_cast<void>(::ftruncate(lock_fd_, 0) == 0);
  ::close(lock_fd_);
}

Status DataDir::ReadFormat() {
  const std::string format_path = path_ + "/FORMAT";
  const File file(format_path, O_RDONLY);
  if (file.fd() < 0) {
    return file.error() == ENOENT ? Status() : SystemError("cannot open " + format_path, file.error());
  }
  const std::string text = ReadStart(file.fd());
  std::uint64_t number = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (error != std::errc() || end != text.data() + text.size() || number == 0) {
    return DataLoss(format_path + " does not hold a format number but '" + Printable(text) + "'");
  }
  if (number > kFormatNumber) {
    return FailedPrecondition("the data directory " + path_ + " has format " + std::to_string(number) +
                              ", this program knows formats up to " + std::to_string(kFormatNumber));
  }
  initialized_ = true;
  return {};
}

Status DataDir::MarkInitialized() {
  const std::string final_path = path_ + "/FORMAT";
  const std::string path = final_path + ".new";
  {
    const File file(path, O_WRONLY | O_CREAT | O_TRUNC);
    if (file.fd() < 0) return SystemError("cannot make " + path, file.error());
    VELLUM_TRY(WriteAll(file.fd(), path, std::to_string(kFormatNumber) + "\n"));
  }
  if (::rename(path.c_str(), final_path.c_str()) != 0) return SystemError("cannot rename " + path, errno);
  VELLUM_TRY(SyncDirectory(path_));
  initialized_ = true;
  return {};
}

}  // namespace vellum::kv
