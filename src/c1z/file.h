#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <utility>

#include "vellum/status.h"

namespace vellum::c1z {

/// A file that closes itself. Errors name the path. Included inside this room only.
class File {
 public:
  /// kNotFound, or kFailedPrecondition.
  static Result<File> OpenForReading(const std::string& path);
  /// For writing from the front. `flags`: O_EXCL or O_TRUNC.
  static Result<File> Create(const std::string& path, int flags);
  /// One without a name, in the directory of `path`: it is gone when it is closed, however that happens.
  static Result<File> CreateScratch(const std::string& path);

  File(File&& other) noexcept : fd_(std::exchange(other.fd_, -1)), path_(std::move(other.path_)) {}
  File& operator=(File&&) = delete;
  ~File();

  /// From where the last one ended; 0 at the end.
  Result<std::size_t> Read(char* to, std::size_t size) const;
  /// All of them, from `offset` on: kDataLoss where the file ends earlier.
  Status ReadAt(std::uint64_t offset, char* to, std::size_t size) const;
  /// Behind what was written last. A full disk is kResourceExhausted.
  Status Write(std::string_view bytes) const;
  /// Over what is there.
  Status WriteAt(std::uint64_t offset, std::string_view bytes) const;
  Result<std::uint64_t> Size() const;
  Status Sync() const;
  const std::string& path() const { return path_; }

 private:
  File(int fd, std::string path) : fd_(fd), path_(std::move(path)) {}
  int fd_;
  std::string path_;
};

}  // namespace vellum::c1z
