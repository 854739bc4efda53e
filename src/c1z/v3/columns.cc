#include "c1z/v3/columns.h"

#include <algorithm>
#include <string>

#include "base/check.h"

namespace vellum::c1z::v3 {
namespace {

constexpr std::size_t kHeaderBytes = 7;
constexpr std::size_t kColumnHeaderBytes = 5;
constexpr std::uint8_t kVersion = 1;
constexpr std::uint8_t kDelta = 0x80;
constexpr unsigned kShiftMax = 30;

using Type = ColumnParser::Type;

}  // namespace

Result<ColumnParser> ColumnParser::Start(std::string_view block, std::size_t custom_bytes, std::vector<Type> types) {
  const std::size_t header = custom_bytes + kHeaderBytes + kColumnHeaderBytes * types.size();
  if (block.size() < header + 1) {
    return Damaged("a columnar block has " + std::to_string(block.size()) + " bytes: its header and end need " +
                   std::to_string(header + 1));
  }
  const char* const at = block.data() + custom_bytes;
  if (static_cast<std::uint8_t>(at[0]) != kVersion) {
    return Refused("a columnar block has the version " + std::to_string(static_cast<std::uint8_t>(at[0])) + ": 1 can be read");
  }
  const auto columns = LoadLe<std::uint16_t>(at + 1);
  if (columns != types.size()) {
    return Refused("a columnar block has " + std::to_string(columns) + " columns where " + std::to_string(types.size()) +
                   " are known");
  }
  ColumnParser parser;
  parser.block_ = block;
  parser.rows_ = LoadLe<std::uint32_t>(at + 3);
  if (parser.rows_ > block.size()) {
    return Damaged("a columnar block of " + std::to_string(block.size()) + " bytes claims " + std::to_string(parser.rows_) + " rows");
  }
  std::uint64_t before = header;
  for (std::size_t i = 0; i < types.size(); ++i) {
    const char* const column = at + kHeaderBytes + kColumnHeaderBytes * i;
    const auto type = static_cast<std::uint8_t>(column[0]);
    if (type != static_cast<std::uint8_t>(types[i])) {
      return Refused("column " + std::to_string(i) + " of a columnar block has the type " + std::to_string(type) + " where " +
                     std::to_string(static_cast<int>(types[i])) + " is known");
    }
    const std::uint64_t start = LoadLe<std::uint32_t>(column + 1);
    if (start < before || start > block.size() - 1 || (i == 0 && start != header)) {
      return Damaged("column " + std::to_string(i) + " of a columnar block of " + std::to_string(block.size()) +
                     " bytes begins at " + std::to_string(start) + ", after " + std::to_string(before));
    }
    parser.starts_.push_back(start);
    before = start;
  }
  if (block.back() != '\0') return Damaged("a columnar block does not end with a zero byte");
  parser.starts_.push_back(block.size() - 1);
  parser.types_ = std::move(types);
  return parser;
}

Status ColumnParser::Fail(const std::string& what) const {
  return Damaged("column " + std::to_string(next_ - 1) + " of a columnar block " + what);
}

Status ColumnParser::Begin(Type type) {
  VELLUM_CHECK(next_ < types_.size() && types_[next_] == type);
  at_ = starts_[next_];
  end_ = starts_[next_ + 1];
  ++next_;
  return {};
}

Status ColumnParser::End(std::uint64_t at) {
  if (at == end_) return {};
  return Fail("ends at " + std::to_string(at) + " instead of " + std::to_string(end_));
}

Status ColumnParser::Integers(std::uint64_t rows, bool offsets, UintColumn* column) {
  if (at_ == end_) return Fail("has no encoding");
  const auto encoding = static_cast<std::uint8_t>(block_[static_cast<std::size_t>(at_++)]);
  const std::uint8_t width = encoding & 0x7F;
  const bool delta = (encoding & kDelta) != 0;
  if (width != 0 && width != 1 && width != 2 && width != 4 && width != 8) {
    return Fail("has integers of " + std::to_string(width) + " bytes");
  }
  if ((delta && (width == 8 || offsets)) || (offsets && width == 8)) {
    return Fail("has the integer encoding " + std::to_string(encoding) + ", which cannot be");
  }
  column->width_ = width;
  if (delta) {
    if (end_ - at_ < 8) return Fail("ends within its base");
    column->base_ = LoadLe<std::uint64_t>(block_.data() + at_);
    at_ += 8;
  }
  if (width == 0) return {};
  const std::uint64_t padding = (width - at_ % width) % width;
  if (padding > end_ - at_) return Fail("ends within its padding");
  at_ += padding;
  // rows is at most a few times the block's size, which is checked, so this cannot overflow.
  if (rows * width > end_ - at_) {
    return Fail("has no room for " + std::to_string(rows) + " integers of " + std::to_string(width) + " bytes");
  }
  column->values_ = block_.data() + at_;
  at_ += rows * width;
  return {};
}

Status ColumnParser::Uint(std::uint32_t rows, UintColumn* column) {
  VELLUM_TRY(Begin(Type::kUint));
  if (rows == 0) return End(at_);
  VELLUM_TRY(Integers(rows, /*offsets=*/false, column));
  return End(at_);
}

Status ColumnParser::Bytes(std::uint32_t rows, BytesColumn* column) {
  VELLUM_TRY(Begin(Type::kBytes));
  if (rows == 0) return End(at_);
  VELLUM_TRY(Integers(std::uint64_t{rows} + 1, /*offsets=*/true, &column->offsets_));
  column->data_ = block_.data() + at_;
  const UintColumn& offsets = column->offsets_;
  if (offsets[0] != 0) return Fail("begins at offset " + std::to_string(offsets[0]));
  for (std::uint32_t row = 0; row < rows; ++row) {
    if (offsets[row + 1] < offsets[row]) return Fail("has decreasing offsets at row " + std::to_string(row));
  }
  const std::uint64_t last = offsets[rows];
  if (last > end_ - at_) return Fail("has the offset " + std::to_string(last) + " in " + std::to_string(end_ - at_) + " bytes");
  return End(at_ + last);
}

Status ColumnParser::Prefix(std::uint32_t rows, PrefixColumn* column) {
  VELLUM_TRY(Begin(Type::kPrefix));
  if (rows == 0) return Fail("has no rows");
  if (at_ == end_) return Fail("has no bundle size");
  const auto shift = static_cast<std::uint8_t>(block_[static_cast<std::size_t>(at_++)]);
  if (shift > kShiftMax) return Fail("has bundles of 2^" + std::to_string(shift) + " rows");
  column->shift_ = shift;
  const std::uint64_t bundles = 1 + ((std::uint64_t{rows} - 1) >> shift);
  const std::uint64_t slices = 1 + bundles + rows;
  VELLUM_TRY(Integers(slices, /*offsets=*/true, &column->ends_));
  column->data_ = block_.data() + at_;
  const UintColumn& ends = column->ends_;
  for (std::uint32_t slice = 1; slice < slices; ++slice) {
    if (ends[slice] < ends[slice - 1]) return Fail("has decreasing offsets at slice " + std::to_string(slice));
  }
  const std::uint64_t last = ends[static_cast<std::uint32_t>(slices - 1)];
  if (last > end_ - at_) return Fail("has the offset " + std::to_string(last) + " in " + std::to_string(end_ - at_) + " bytes");
  return End(at_ + last);
}

Status ColumnParser::Bitmap(std::uint32_t rows, BitmapColumn* column) {
  VELLUM_TRY(Begin(Type::kBitmap));
  if (at_ == end_) return Fail("has no encoding");
  const auto encoding = static_cast<std::uint8_t>(block_[static_cast<std::size_t>(at_++)]);
  if (encoding > 1) return Fail("has the bitmap encoding " + std::to_string(encoding));
  if (encoding == 1) return End(at_);
  const std::uint64_t padding = (8 - at_ % 8) % 8;
  const std::uint64_t words = (std::uint64_t{rows} + 63) / 64;
  const std::uint64_t bytes = padding + 8 * (words + (words + 63) / 64);
  if (bytes > end_ - at_) return Fail("has no room for the bits of " + std::to_string(rows) + " rows");
  column->words_ = block_.data() + at_ + padding;
  return End(at_ + bytes);
}

Result<DataBlock> ParseDataBlock(std::string_view block) {
  VELLUM_ASSIGN_OR_RETURN(ColumnParser parser,
                          ColumnParser::Start(block, 4, {Type::kPrefix, Type::kBytes, Type::kUint, Type::kBitmap,
                                                         Type::kBytes, Type::kBitmap, Type::kBitmap}));
  DataBlock data;
  data.rows = parser.rows();
  data.key_bytes_max = LoadLe<std::uint32_t>(block.data());
  BitmapColumn prefix_changed;
  BitmapColumn obsolete;
  VELLUM_TRY(parser.Prefix(data.rows, &data.prefix));
  VELLUM_TRY(parser.Bytes(data.rows, &data.suffix));
  VELLUM_TRY(parser.Uint(data.rows, &data.trailer));
  VELLUM_TRY(parser.Bitmap(data.rows, &prefix_changed));
  VELLUM_TRY(parser.Bytes(data.rows, &data.value));
  VELLUM_TRY(parser.Bitmap(data.rows, &data.value_external));
  VELLUM_TRY(parser.Bitmap(data.rows, &obsolete));
  return data;
}

Result<IndexBlock> ParseIndexBlock(std::string_view block) {
  VELLUM_ASSIGN_OR_RETURN(ColumnParser parser,
                          ColumnParser::Start(block, 0, {Type::kBytes, Type::kUint, Type::kUint, Type::kBytes}));
  IndexBlock index;
  index.rows = parser.rows();
  BytesColumn properties;
  VELLUM_TRY(parser.Bytes(index.rows, &index.separator));
  VELLUM_TRY(parser.Uint(index.rows, &index.offset));
  VELLUM_TRY(parser.Uint(index.rows, &index.size));
  VELLUM_TRY(parser.Bytes(index.rows, &properties));
  return index;
}

Result<RangeDeletionBlock> ParseRangeDeletionBlock(std::string_view block) {
  VELLUM_ASSIGN_OR_RETURN(ColumnParser parser, ColumnParser::Start(block, 4, {Type::kBytes, Type::kUint, Type::kUint,
                                                                              Type::kBytes, Type::kBytes}));
  RangeDeletionBlock deletions;
  deletions.rows = parser.rows();
  deletions.boundaries = LoadLe<std::uint32_t>(block.data());
  if (deletions.boundaries > block.size()) {
    return Damaged("a block of " + std::to_string(block.size()) + " bytes claims " + std::to_string(deletions.boundaries) +
                   " boundaries of range deletions");
  }
  BytesColumn suffix;
  BytesColumn value;
  VELLUM_TRY(parser.Bytes(deletions.boundaries, &deletions.boundary));
  VELLUM_TRY(parser.Uint(deletions.boundaries, &deletions.first));
  VELLUM_TRY(parser.Uint(deletions.rows, &deletions.trailer));
  VELLUM_TRY(parser.Bytes(deletions.rows, &suffix));
  VELLUM_TRY(parser.Bytes(deletions.rows, &value));
  std::uint64_t before = 0;
  for (std::uint32_t i = 0; i < deletions.boundaries; ++i) {
    if (i > 0 && deletions.boundary[i] <= deletions.boundary[i - 1]) {
      return Damaged("the boundaries of range deletions do not ascend at " + std::to_string(i));
    }
    if (deletions.first[i] < before || deletions.first[i] > deletions.rows) {
      return Damaged("the range deletions' index " + std::to_string(deletions.first[i]) + " at boundary " + std::to_string(i) +
                     " does not lie between " + std::to_string(before) + " and " + std::to_string(deletions.rows));
    }
    before = deletions.first[i];
  }
  if (before != deletions.rows || (deletions.boundaries > 0 && deletions.first[0] != 0)) {
    return Damaged("the boundaries of range deletions leave out some of the " + std::to_string(deletions.rows) + " entries");
  }
  return deletions;
}

Result<KeyValueBlock> ParseKeyValueBlock(std::string_view block) {
  VELLUM_ASSIGN_OR_RETURN(ColumnParser parser, ColumnParser::Start(block, 0, {Type::kBytes, Type::kBytes}));
  KeyValueBlock pairs;
  pairs.rows = parser.rows();
  VELLUM_TRY(parser.Bytes(pairs.rows, &pairs.key));
  VELLUM_TRY(parser.Bytes(pairs.rows, &pairs.value));
  return pairs;
}

}  // namespace vellum::c1z::v3
