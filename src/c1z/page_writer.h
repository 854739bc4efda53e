#pragma once

#include <cstdint>
#include <deque>
#include <functional>
#include <string>
#include <string_view>

#include "c1z/page_value.h"
#include "vellum/status.h"

/// The pages of a new SQLite database, written front to back: each one goes out when it is full and is never touched
/// again, because what points to a page comes behind it. Only page 1 is left for the end. Included inside this room
/// only.
namespace vellum::c1z {

/// Numbers pages and hands them on in large pieces, from page 2 on. Not thread-safe.
class PageStream {
 public:
  struct Options {
    std::uint32_t page_bytes = 4096;       ///< A power of two, 512 to 65536.
    std::uint64_t lock_byte = 1ull << 30;  ///< Where SQLite takes locks: the page that has it stays empty.
  };
  using Sink = std::function<Status(std::string_view bytes)>;

  PageStream(Sink sink, Options options);

  /// Writes the next page and returns its number. kResourceExhausted beyond what a database may have.
  Result<std::uint32_t> Append(std::string_view page);
  /// The number of the page that Append will write next, and of the one that comes behind a page.
  std::uint32_t next() const { return next_; }
  std::uint32_t After(std::uint32_t page) const { return page + 1 == lock_page_ ? page + 2 : page + 1; }
  /// Hands on what is left.
  Status Flush();

  std::uint32_t page_bytes() const { return options_.page_bytes; }
  /// How many there are now, page 1 and an empty one included.
  std::uint32_t pages() const { return last_; }

 private:
  const Sink sink_;
  const Options options_;
  const std::uint32_t lock_page_;
  std::uint32_t last_ = 1;
  std::uint32_t next_;
  std::string pending_;
};

/// Builds the bytes of a row or of an index entry. Integers take the fewest bytes that hold them.
class RecordBytes {
 public:
  void Clear();
  void Add(const PageValue& value);
  /// Valid until the next call.
  std::string_view Finish();

 private:
  std::string types_;
  std::string body_;
  std::string whole_;
};

/// A page that is being filled: cells from its end backwards, their places from its head on.
class OpenPage {
 public:
  enum class Type : std::uint8_t { kInnerIndex = 2, kInnerTable = 5, kLeafIndex = 10, kLeafTable = 13 };
  /// `reserved`: bytes at its front that are not the tree's (page 1).
  OpenPage(std::uint32_t page_bytes, Type type, std::uint32_t reserved = 0);

  bool Fits(std::size_t cell_bytes) const { return place_ + 2 + cell_bytes <= top_; }
  /// Room for one cell, which Fits.
  char* Add(std::size_t cell_bytes);
  std::uint32_t cells() const { return cells_; }
  /// The cell added last, which may be taken off again, once.
  std::string_view last() const { return {bytes_.data() + top_, last_bytes_}; }
  void DropLast();
  /// Completes the page; inner ones lead to `right` behind their last cell. Valid until Clear.
  std::string_view Seal(std::uint32_t right);
  void Clear();
  /// Copies the cells into an empty page of this type that may have less room. False, and nothing, if they do not fit.
  bool CopyTo(OpenPage* other) const;
  Type type() const { return type_; }

 private:
  std::uint32_t head_bytes() const { return type_ == Type::kInnerIndex || type_ == Type::kInnerTable ? 12 : 8; }

  const Type type_;
  const std::uint32_t reserved_;
  std::string bytes_;
  std::size_t place_ = 0;  ///< Behind the places of the cells.
  std::size_t top_ = 0;    ///< Where the lowest cell begins.
  std::size_t last_bytes_ = 0;
  std::uint32_t cells_ = 0;
};

/// Writes the pages of one tree from what comes in its order. Pages are full, except for the last of each level.
/// Several may write to one stream in turn. Not thread-safe.
class TreeWriter {
 public:
  enum class Kind : std::uint8_t { kTable, kIndex };
  TreeWriter(PageStream* stream, Kind kind);

  /// Tables: row ids ascend.
  Status AddRow(std::int64_t row_id, std::string_view record);
  /// Indexes: entries ascend, and each has two values at least.
  Status AddEntry(std::string_view record);
  /// Ends the tree and returns its root.
  Result<std::uint32_t> Finish();
  /// The same for the tree whose root is page 1, which is returned instead of written, with `reserved` bytes at its
  /// front.
  Result<std::string> FinishAsFirst(std::uint32_t reserved);

 private:
  Status AddCell(std::string_view head, std::string_view record);
  /// Writes what does not fit into a leaf, and returns the first page of it.
  Result<std::uint32_t> Spill(std::string_view rest);
  Status FinishLeaf();
  /// Puts a page, and what divides it from the next one, into the level above it.
  Status Lift(std::size_t level, std::uint32_t page, std::string_view divider);
  Result<std::uint32_t> Write(OpenPage* page, std::uint32_t right);

  PageStream* const stream_;
  const Kind kind_;
  OpenPage leaf_;
  std::deque<OpenPage> levels_;  ///< Above the leaves, from the lowest on.
  std::int64_t last_row_ = 0;
  std::string overflow_;
};

/// Fixed-width numbers of pages.
void PutBe16(char* to, std::uint32_t value);
void PutBe32(char* to, std::uint32_t value);
/// SQLite's variable-length integers: at most nine bytes. Returns the end.
char* PutVarint(char* to, std::uint64_t value);

}  // namespace vellum::c1z
