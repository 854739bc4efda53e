#pragma once

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <string>

#include "vellum/status.h"

/// Sending the caller's own files. Only this room's sources include it.
namespace vellum::client {

inline constexpr std::size_t kFileChunkBytes = 256u << 10;

/// A file of the caller's, open for reading.
class OpenedFile {
 public:
  /// kNotFound, kFailedPrecondition: it cannot be opened.
  static Result<OpenedFile> Open(const std::string& path) {
    const int fd = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
    if (fd >= 0) return OpenedFile(fd, path);
    const std::string text = "cannot open " + path + ": " + std::strerror(errno);
    return errno == ENOENT ? NotFound(text) : FailedPrecondition(text);
  }
  OpenedFile(OpenedFile&& other) noexcept : fd_(std::exchange(other.fd_, -1)), path_(std::move(other.path_)) {}
  OpenedFile& operator=(OpenedFile&&) = delete;
  ~OpenedFile() {
    if (fd_ >= 0) ::close(fd_);
  }

  /// Sends its bytes in messages whose field `chunk` is. Stops early, and well, where the server wants no more: the call's status
  /// says why.
  template <typename Request, typename Stream>
  Status Send(Stream* stream, std::string* (Request::*chunk)()) const {
    Request request;
    std::string bytes;
    for (;;) {
      bytes.resize(kFileChunkBytes);
      const ssize_t read = ::read(fd_, bytes.data(), bytes.size());
      if (read < 0 && errno == EINTR) continue;
      if (read < 0) return Internal("cannot read " + path_ + ": " + std::strerror(errno));
      if (read == 0) return {};
      bytes.resize(static_cast<std::size_t>(read));
      (request.*chunk)()->swap(bytes);
      if (!stream->Write(request)) return {};
    }
  }

 private:
  OpenedFile(int fd, std::string path) : fd_(fd), path_(std::move(path)) {}
  int fd_;
  std::string path_;
};

}  // namespace vellum::client
