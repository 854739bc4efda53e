#pragma once

#include <cstdint>
#include <string_view>
#include <vector>

#include "c1z/v3/bytes.h"
#include "vellum/status.h"

/// Columnar blocks. Everything is checked when a column is parsed, so that reading a value afterwards cannot leave the block.
/// All views are of the block's bytes.
namespace vellum::c1z::v3 {

/// Column of unsigned integers, or the offsets within another column.
class UintColumn {
 public:
  std::uint64_t operator[](std::uint32_t row) const {
    switch (width_) {
      case 1: return base_ + static_cast<std::uint8_t>(values_[row]);
      case 2: return base_ + LoadLe<std::uint16_t>(values_ + std::size_t{row} * 2);
      case 4: return base_ + LoadLe<std::uint32_t>(values_ + std::size_t{row} * 4);
      case 8: return base_ + LoadLe<std::uint64_t>(values_ + std::size_t{row} * 8);
      default: return base_;
    }
  }

 private:
  friend class ColumnParser;
  const char* values_ = nullptr;
  std::uint64_t base_ = 0;
  std::uint8_t width_ = 0;
};

class BytesColumn {
 public:
  std::string_view operator[](std::uint32_t row) const {
    const std::uint64_t start = offsets_[row];
    return {data_ + start, static_cast<std::size_t>(offsets_[row + 1] - start)};
  }

 private:
  friend class ColumnParser;
  UintColumn offsets_;
  const char* data_ = nullptr;
};

/// Sorted strings: a prefix of all, one of each bundle of rows, and suffixes.
class PrefixColumn {
 public:
  std::string_view block_prefix() const { return {data_, static_cast<std::size_t>(ends_[0])}; }
  std::string_view bundle_prefix(std::uint32_t row) const { return Slice(Bundle(row)); }
  bool starts_bundle(std::uint32_t row) const { return (row & ((1u << shift_) - 1)) == 0; }
  /// Empty, unless the row starts its bundle: the suffix of the row before is repeated.
  std::string_view suffix(std::uint32_t row) const { return Slice(Bundle(row) + 1 + row - (row >> shift_ << shift_)); }

 private:
  friend class ColumnParser;
  /// Each bundle is its prefix and 2^shift suffixes; slice 0 is the prefix of all.
  std::uint32_t Bundle(std::uint32_t row) const { return 1 + (row >> shift_) + (row >> shift_ << shift_); }
  std::string_view Slice(std::uint32_t slice) const {
    const std::uint64_t start = ends_[slice - 1];
    return {data_ + start, static_cast<std::size_t>(ends_[slice] - start)};
  }
  UintColumn ends_;
  const char* data_ = nullptr;
  std::uint8_t shift_ = 0;
};

class BitmapColumn {
 public:
  bool operator[](std::uint32_t row) const {
    return words_ != nullptr && (LoadLe<std::uint64_t>(words_ + std::size_t{row / 64} * 8) >> (row % 64) & 1) != 0;
  }
  bool all_zero() const { return words_ == nullptr; }

 private:
  friend class ColumnParser;
  const char* words_ = nullptr;
};

/// Parses a block's header, then its columns in order; each must end where the next begins.
class ColumnParser {
 public:
  enum class Type : std::uint8_t { kBitmap = 1, kUint = 2, kBytes = 3, kPrefix = 4 };

  /// `custom_bytes` stand before the header. The types must be exactly those the block's kind has.
  static Result<ColumnParser> Start(std::string_view block, std::size_t custom_bytes, std::vector<Type> types);

  std::uint32_t rows() const { return rows_; }
  /// Each takes the next column.
  Status Uint(std::uint32_t rows, UintColumn* column);
  Status Bytes(std::uint32_t rows, BytesColumn* column);
  Status Prefix(std::uint32_t rows, PrefixColumn* column);
  Status Bitmap(std::uint32_t rows, BitmapColumn* column);

 private:
  Status Begin(Type type);
  /// `at` is where the column's bytes were used up.
  Status End(std::uint64_t at);
  /// Reads integers from at_; `offsets`: they place data, so they must be plain, and their values are checked by the caller.
  Status Integers(std::uint64_t rows, bool offsets, UintColumn* column);
  Status Fail(const std::string& what) const;

  std::string_view block_;
  std::vector<Type> types_;
  std::vector<std::uint64_t> starts_;  ///< Of the columns, and where the last one ends.
  std::uint32_t rows_ = 0;
  std::size_t next_ = 0;
  std::uint64_t at_ = 0;   ///< In the column that is being read.
  std::uint64_t end_ = 0;
};

/// Rows of a table's data.
struct DataBlock {
  std::uint32_t rows = 0;
  std::uint32_t key_bytes_max = 0;
  PrefixColumn prefix;
  BytesColumn suffix;
  UintColumn trailer;
  BytesColumn value;
  BitmapColumn value_external;
};
Result<DataBlock> ParseDataBlock(std::string_view block);

struct IndexBlock {
  std::uint32_t rows = 0;
  BytesColumn separator;  ///< A user key at or above every key of the block behind the handle.
  UintColumn offset;
  UintColumn size;
};
Result<IndexBlock> ParseIndexBlock(std::string_view block);

/// Entries [first(i), first(i + 1)) span the keys from boundary(i) to boundary(i + 1).
struct RangeDeletionBlock {
  std::uint32_t boundaries = 0;
  std::uint32_t rows = 0;
  BytesColumn boundary;
  UintColumn first;
  UintColumn trailer;
};
Result<RangeDeletionBlock> ParseRangeDeletionBlock(std::string_view block);

struct KeyValueBlock {
  std::uint32_t rows = 0;
  BytesColumn key;
  BytesColumn value;
};
Result<KeyValueBlock> ParseKeyValueBlock(std::string_view block);

}  // namespace vellum::c1z::v3
