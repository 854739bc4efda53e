#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "c1z/v1_writer.h"
#include "vellum/status.h"

namespace vellum::c1z {

/// A file that appears whole or not at all: written under another name beside its own, which it gets when it is
/// finished. Included inside this room only.
class Publication {
 public:
  /// kFailedPrecondition if `path` exists and is not to be replaced, or if nothing can be written beside it.
  static Result<Publication> Begin(const std::string& path, WriteOptions::IfExists if_exists);
  /// Removes what was not published.
  ~Publication();
  Publication(Publication&& other) noexcept;
  Publication& operator=(Publication&&) = delete;

  /// Exists, and is empty.
  const std::string& temporary() const { return temporary_; }
  /// Once the file is synced: gives it its name, and makes that durable. Returns its bytes. Errors leave what was
  /// there.
  Result<std::uint64_t> Publish();

 private:
  Publication(std::string path, WriteOptions::IfExists if_exists, std::string temporary)
      : path_(std::move(path)), if_exists_(if_exists), temporary_(std::move(temporary)) {}

  std::string path_;
  WriteOptions::IfExists if_exists_;
  std::string temporary_;  ///< Empty: there is none.
};

}  // namespace vellum::c1z
