#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>

#include "c1z/v3/budget.h"
#include "c1z/v3/bytes.h"
#include "c1z/v3/checkpoint.h"
#include "c1z/v3/columns.h"
#include "c1z/v3/row_block.h"
#include "vellum/status.h"

/// Table files: footer, blocks, properties, and what the metaindex leads to.
namespace vellum::c1z::v3 {

inline constexpr std::size_t kFooterBytesMax = 61;
inline constexpr std::size_t kBlockTrailerBytes = 5;

enum class Checksum : std::uint8_t { kCrc32c = 1, kXxh64 = 3 };

struct Footer {
  std::uint32_t version = 0;  ///< 1 to 7.
  Checksum checksum = Checksum::kCrc32c;
  Handle metaindex;
  Handle index;
  std::uint32_t attributes = 0;
  std::uint64_t offset = 0;  ///< Where the footer begins: blocks lie before it.

  bool columnar() const { return version >= 5; }
};

/// `tail` is the file's last 61 bytes, or all of a shorter file.
Result<Footer> ParseFooter(std::string_view tail, std::uint64_t file_size);

/// Undoes a block's compression. `stored` is without the trailer; the result is a view of it or of `room`.
Result<std::string_view> Decompress(std::uint8_t compression, std::string_view stored, std::uint64_t block_bytes_max,
                                    Budget* budget, Buffer* room);

/// One block, decoded, with what its bytes lie in.
struct Block {
  Buffer stored;
  Buffer decoded;
  std::string_view bytes;
};

/// A range deletion as it is stored: keys in [start, end) that are older are gone.
struct StoredDeletion {
  std::string_view start;
  std::string_view end;
  std::uint64_t trailer = 0;
};

/// One table file, open. Thread-safe.
class Table {
 public:
  /// The file and the budget must outlive the table.
  static Result<std::shared_ptr<const Table>> Open(const Checkpoint* checkpoint, std::size_t file,
                                                   std::uint64_t block_bytes_max, Budget* budget);

  const Footer& footer() const { return footer_; }
  bool two_levels() const { return two_levels_; }
  /// The file's own statement of its rows and range deletions.
  std::uint64_t entries() const { return entries_; }
  std::uint64_t range_deletions() const { return range_deletions_; }
  std::uint64_t file_size() const;
  const std::string& name() const;

  /// Reads, checks and decodes a block. Errors name its place.
  Status ReadBlock(const Handle& handle, const char* what, Block* block) const;
  Status ForEachRangeDeletion(const std::function<Status(const StoredDeletion&)>& visit) const;

 private:
  Table(const Checkpoint* checkpoint, std::size_t file, std::uint64_t block_bytes_max, Budget* budget)
      : checkpoint_(checkpoint), file_(file), block_bytes_max_(block_bytes_max), budget_(budget) {}
  Status ReadMetadata();
  Status ReadProperties(const Handle& handle);
  Status TakeProperty(std::string_view name, std::string_view value);
  /// The metaindex and the properties: names and values.
  Status ForEachPair(std::string_view bytes, bool columnar,
                     const std::function<Status(std::string_view, std::string_view)>& visit) const;

  const Checkpoint* const checkpoint_;
  const std::size_t file_;
  const std::uint64_t block_bytes_max_;
  Budget* const budget_;
  Footer footer_;
  bool two_levels_ = false;
  bool has_schema_ = false;
  std::optional<std::uint32_t> index_type_;
  std::uint64_t entries_ = 0;
  std::uint64_t range_deletions_ = 0;
  std::optional<Handle> range_deletion_block_;
};

/// A handle's encoding; the rest of `bytes` goes to `rest`, if given.
std::optional<Handle> ParseHandle(std::string_view bytes, std::string_view* rest = nullptr);

/// Walks the data blocks of a table in order, through one level of index or two.
class BlockWalk {
 public:
  /// Skips blocks whose keys all lie below `from`.
  BlockWalk(const Table* table, std::string from) : table_(table), from_(std::move(from)) {}

  /// False at the end. Handles ascend strictly.
  Result<bool> Next(Handle* handle);
  /// No key of the block is above it, says the index. Valid until the next move.
  std::string_view separator() const { return separator_; }

 private:
  /// An index block, whichever its form, and where in it we are.
  struct Level {
    Block block;
    IndexBlock columns;
    std::uint32_t row = 0;
    RowBlock rows;
    bool reached = false;  ///< A separator that is not below from_ was seen: nothing is skipped any more.
  };
  Status Enter(const Handle& handle, Level* level);
  /// The next handle of a level, from the first one whose separator is not below from_.
  Result<bool> Advance(Level* level, Handle* handle);

  const Table* const table_;
  const std::string from_;
  bool started_ = false;
  bool inside_ = false;  ///< With two levels: lower_ is being read.
  Level upper_;
  Level lower_;
  std::string_view separator_;
  std::optional<std::uint64_t> last_index_;
  std::optional<std::uint64_t> last_data_;
};

}  // namespace vellum::c1z::v3
