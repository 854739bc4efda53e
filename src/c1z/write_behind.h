#pragma once

#include <cstddef>
#include <future>
#include <vector>

#include "c1z/file.h"
#include "vellum/status.h"

namespace vellum::c1z {

/// Writes to a file on a thread of its own while its owner makes the bytes that come next. What fits into one piece
/// needs no thread. Memory: two pieces. Not thread-safe. Included inside this room only.
class WriteBehind {
 public:
  /// `out` must outlive this.
  explicit WriteBehind(const File* out) : out_(*out) {}
  ~WriteBehind();
  WriteBehind(const WriteBehind&) = delete;
  WriteBehind& operator=(const WriteBehind&) = delete;

  /// Where the next bytes go, and how many may; at least one. Valid until Commit.
  char* room();
  std::size_t room_bytes() const { return kPieceBytes - filled_; }
  /// That many bytes are there now. Fails if bytes committed earlier could not be written: File::Write's errors.
  Status Commit(std::size_t bytes);
  /// Everything is in the file, or the first error. What was committed and not finished may be in it or not.
  Status Finish();

 private:
  static constexpr std::size_t kPieceBytes = 1u << 20;
  Status Wait() { return writing_.valid() ? writing_.get() : Status(); }

  const File& out_;
  std::vector<char> filling_;
  std::size_t filled_ = 0;
  std::vector<char> written_;  ///< The other thread's.
  std::future<Status> writing_;
};

}  // namespace vellum::c1z
