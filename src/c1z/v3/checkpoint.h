#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "c1z/reader.h"
#include "c1z/v3/budget.h"
#include "c1z/v3/header.h"

namespace vellum::c1z::v3 {

/// The files of a database's checkpoint, unpacked: small ones in memory, the others in one scratch file without a name.
/// The names in the envelope are only compared, never opened. Reading is thread-safe.
class Checkpoint {
 public:
  /// Unpacks the payload of the file at `path` and checks every file's length and checksums. `budget` must outlive the
  /// checkpoint. Errors name the file within, not `path`.
  static Result<std::unique_ptr<Checkpoint>> Open(const std::string& path, const Header& header, const OpenOptions& options,
                                                  Budget* budget);
  /// Of files given as bytes, for tests.
  static Result<std::unique_ptr<Checkpoint>> FromFiles(const std::vector<std::pair<std::string, std::string>>& files,
                                                       Budget* budget);
  ~Checkpoint();

  std::size_t files() const;
  const std::string& name(std::size_t file) const;
  std::uint64_t size(std::size_t file) const;
  std::optional<std::size_t> Find(std::string_view name) const;

  /// `size` bytes from `offset` of a file: a view of `room`, or of memory that lives as long as this. The range must lie in
  /// the file.
  Result<std::string_view> Read(std::size_t file, std::uint64_t offset, std::uint64_t size, Buffer* room) const;

 private:
  struct Impl;
  explicit Checkpoint(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace vellum::c1z::v3
