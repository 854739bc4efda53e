#pragma once

#include <cstddef>
#include <cstdint>
#include <future>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "c1z/page_writer.h"
#include "vellum/status.h"

namespace vellum::c1z {

/// Writes trees one after the other, each by a TreeWriter, on a thread of its own while the caller goes on with the
/// records that come next. Memory: two pieces, or the longest record. Not thread-safe. Included inside this room only.
class TreePipe {
 public:
  /// `stream` must outlive this, which alone uses it from Begin to Finish; its sink is called by the other thread.
  explicit TreePipe(PageStream* stream) : stream_(*stream) {}
  ~TreePipe();
  TreePipe(const TreePipe&) = delete;
  TreePipe& operator=(const TreePipe&) = delete;

  void Begin(TreeWriter::Kind kind);
  /// A row or an entry behind the last one; `row_id` counts for tables only. The bytes are copied, with those from
  /// `at` on replaced by `with`, and `with` fits. Fails if what was added earlier could not be written.
  Status Add(std::int64_t row_id, std::string_view record, std::size_t at = 0, std::string_view with = {});
  /// Ends the tree and returns its root.
  Result<std::uint32_t> Finish();

 private:
  struct Piece {
    struct Record {
      std::int64_t row_id;
      std::size_t end;
    };
    std::string bytes;
    std::vector<Record> records;
  };
  Status Wait() { return writing_.valid() ? writing_.get() : Status(); }
  Status Write(const Piece& piece);

  PageStream& stream_;
  TreeWriter::Kind kind_ = TreeWriter::Kind::kTable;
  std::optional<TreeWriter> tree_;  ///< The other thread's while it writes.
  Piece filling_;
  Piece written_;  ///< As `tree_`.
  std::future<Status> writing_;
};

}  // namespace vellum::c1z
