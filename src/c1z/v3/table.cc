#include "c1z/v3/table.h"

#include <snappy.h>
#include <xxhash.h>
#include <zstd.h>

#include <algorithm>

#include "base/bytes.h"
#include "base/check.h"
#include "base/crc32c.h"

namespace vellum::c1z::v3 {
namespace {

constexpr std::string_view kMagic("\xF0\x9F\xAA\xB3\xF0\x9F\xAA\xB3", 8);
constexpr std::uint32_t kVersionMax = 7;
constexpr std::size_t kHandlesEnd = 41;
constexpr std::uint64_t kRangeDeletionsMax = 1'000'000;

enum Attribute : std::uint32_t {
  kRangeKeySets = 1 << 1,
  kRangeKeyUnsets = 1 << 2,
  kRangeKeyDeletes = 1 << 3,
  kTwoLevels = 1 << 5,
  kBlobValues = 1 << 6,
};

enum Compression : std::uint8_t { kRaw = 0, kSnappy = 1, kZstd = 7, kMinLz = 8 };

constexpr std::uint64_t kSnappyRatioMax = 64;
constexpr std::uint64_t kSnappyBytesFree = 64;

std::size_t FooterBytes(std::uint32_t version) { return version == 7 ? 61 : version == 6 ? 57 : 53; }

/// Reads one handle of the footer and checks its place.
Result<Handle> FooterHandle(std::string_view* rest, const Footer& footer, const char* what) {
  const auto handle = ParseHandle(*rest, rest);
  if (!handle) return Damaged(std::string("a table's footer has no handle of its ") + what);
  if (handle->offset > footer.offset || footer.offset - handle->offset < kBlockTrailerBytes ||
      handle->size > footer.offset - handle->offset - kBlockTrailerBytes) {
    return Damaged(std::string("a table's ") + what + " lies at " + std::to_string(handle->offset) + " with " +
                   std::to_string(handle->size) + " bytes: blocks end at " + std::to_string(footer.offset));
  }
  return *handle;
}

Result<std::string_view> DecompressSnappy(std::string_view stored, std::uint64_t block_bytes_max, Budget* budget, Buffer* room) {
  std::size_t size = 0;
  if (!snappy::GetUncompressedLength(stored.data(), stored.size(), &size)) return Damaged("a Snappy block has no length");
  if (size > block_bytes_max) {
    return ResourceExhausted("a block of " + std::to_string(size) + " decompressed bytes: the limit is " + std::to_string(block_bytes_max));
  }
  if (size > stored.size() * kSnappyRatioMax + kSnappyBytesFree) {
    return Damaged("a Snappy block of " + std::to_string(stored.size()) + " bytes claims to hold " + std::to_string(size) +
                   ": at most " + std::to_string(kSnappyRatioMax) + " times as many are possible");
  }
  VELLUM_TRY(room->Reset(budget, size, "a decompressed block"));
  if (!snappy::RawUncompress(stored.data(), stored.size(), room->data())) return Damaged("a Snappy block is damaged");
  return room->view();
}

Result<std::string_view> DecompressZstd(std::string_view stored, std::uint64_t block_bytes_max, Budget* budget, Buffer* room) {
  ByteReader reader(stored);
  const auto size = reader.ReadVarint();
  if (!size) return Damaged("a zstd block has no length");
  if (*size > block_bytes_max) {
    return ResourceExhausted("a block of " + std::to_string(*size) + " decompressed bytes: the limit is " + std::to_string(block_bytes_max));
  }
  VELLUM_TRY(room->Reset(budget, *size, "a decompressed block"));
  const std::string_view frame = reader.rest();
  const std::size_t got = ZSTD_decompress(room->data(), room->size(), frame.data(), frame.size());
  if (ZSTD_isError(got)) return Damaged("a zstd block is damaged: " + std::string(ZSTD_getErrorName(got)));
  if (got != *size) return Damaged("a zstd block holds " + std::to_string(got) + " bytes and claims " + std::to_string(*size));
  return room->view();
}

}  // namespace

std::optional<Handle> ParseHandle(std::string_view bytes, std::string_view* rest) {
  ByteReader reader(bytes);
  const auto offset = reader.ReadVarint();
  const auto size = offset ? reader.ReadVarint() : std::nullopt;
  if (!size) return std::nullopt;
  if (rest != nullptr) *rest = reader.rest();
  return Handle{*offset, *size};
}

Result<Footer> ParseFooter(std::string_view tail, std::uint64_t file_size) {
  if (tail.size() < FooterBytes(1)) return Damaged("a table has " + std::to_string(tail.size()) + " bytes, fewer than its footer");
  const std::string_view magic = tail.substr(tail.size() - kMagic.size());
  if (magic != kMagic) return Refused("a table ends with " + Printable(magic) + ", which is not the mark of a Pebble table");
  Footer footer;
  footer.version = LoadLe<std::uint32_t>(tail.data() + tail.size() - 12);
  if (footer.version == 0 || footer.version > kVersionMax) {
    return Refused("a table has the footer version " + std::to_string(footer.version) + ": 1 to " + std::to_string(kVersionMax) +
                   " can be read");
  }
  const std::size_t size = FooterBytes(footer.version);
  if (tail.size() < size) return Damaged("a table has " + std::to_string(tail.size()) + " bytes, fewer than its footer");
  const std::string_view bytes = tail.substr(tail.size() - size);
  footer.offset = file_size - size;
  if (footer.version >= 6) {
    const std::size_t crc_at = footer.version == 7 ? 45 : 41;
    if (footer.version == 7) footer.attributes = LoadLe<std::uint32_t>(bytes.data() + 41);
    const std::uint32_t crc = MaskCrc(ExtendCrc32c(Crc32c(bytes.substr(0, crc_at)), bytes.substr(crc_at + 4)));
    if (crc != LoadLe<std::uint32_t>(bytes.data() + crc_at)) return Damaged("a table's footer does not match its checksum");
  }
  const auto checksum = static_cast<std::uint8_t>(bytes[0]);
  if (checksum != 1 && checksum != 3) {
    return Refused("a table has the checksum type " + std::to_string(checksum) + ": 1 (CRC-32C) and 3 (xxh64) can be read");
  }
  footer.checksum = static_cast<Checksum>(checksum);
  if ((footer.attributes & (kRangeKeySets | kRangeKeyUnsets | kRangeKeyDeletes)) != 0) {
    return Refused("a table has range keys (attributes " + std::to_string(footer.attributes) + "), which are not read");
  }
  if ((footer.attributes & kBlobValues) != 0) {
    return Refused("a table has values in blob files (attributes " + std::to_string(footer.attributes) + "), which are not read");
  }
  std::string_view handles = bytes.substr(1, kHandlesEnd - 1);
  VELLUM_ASSIGN_OR_RETURN(footer.metaindex, FooterHandle(&handles, footer, "metaindex"));
  VELLUM_ASSIGN_OR_RETURN(footer.index, FooterHandle(&handles, footer, "index"));
  return footer;
}

Result<std::string_view> Decompress(std::uint8_t compression, std::string_view stored, std::uint64_t block_bytes_max,
                                    Budget* budget, Buffer* room) {
  switch (compression) {
    case kRaw:
      if (stored.size() > block_bytes_max) {
        return ResourceExhausted("a block of " + std::to_string(stored.size()) + " bytes: the limit is " + std::to_string(block_bytes_max));
      }
      return stored;
    case kSnappy: return DecompressSnappy(stored, block_bytes_max, budget, room);
    case kZstd: return DecompressZstd(stored, block_bytes_max, budget, room);
    case kMinLz:
      if (!stored.empty() && stored[0] != '\0') return DecompressSnappy(stored, block_bytes_max, budget, room);
      return Refused("a block is compressed with MinLZ, which is not read");
    default: return Refused("a block has the compression " + std::to_string(compression) + ": 0 (none), 1 (Snappy) and 7 (zstd) can be read");
  }
}

Result<std::shared_ptr<const Table>> Table::Open(const Checkpoint* checkpoint, std::size_t file, std::uint64_t block_bytes_max,
                                                 Budget* budget) {
  std::shared_ptr<Table> table(new Table(checkpoint, file, block_bytes_max, budget));
  const Status read = [&]() -> Status {
    const std::uint64_t size = checkpoint->size(file);
    const std::uint64_t tail = std::min<std::uint64_t>(size, kFooterBytesMax);
    Buffer room;
    VELLUM_ASSIGN_OR_RETURN(const std::string_view bytes, checkpoint->Read(file, size - tail, tail, &room));
    VELLUM_ASSIGN_OR_RETURN(table->footer_, ParseFooter(bytes, size));
    return table->ReadMetadata();
  }();
  if (!read.ok()) return Status(read).WithContext(Printable(table->name()));
  return std::shared_ptr<const Table>(std::move(table));
}

std::uint64_t Table::file_size() const { return checkpoint_->size(file_); }
const std::string& Table::name() const { return checkpoint_->name(file_); }

Status Table::ReadBlock(const Handle& handle, const char* what, Block* block) const {
  const auto fail = [&](Status why) {
    return std::move(why).WithContext(Printable(name()) + ", " + what + " at " + std::to_string(handle.offset));
  };
  if (handle.offset > footer_.offset || footer_.offset - handle.offset < kBlockTrailerBytes ||
      handle.size > footer_.offset - handle.offset - kBlockTrailerBytes) {
    return fail(Damaged("its " + std::to_string(handle.size) + " bytes do not end before the footer at " + std::to_string(footer_.offset)));
  }
  auto read = checkpoint_->Read(file_, handle.offset, handle.size + kBlockTrailerBytes, &block->stored);
  if (!read.ok()) return fail(std::move(read).error());
  const std::string_view checked = read->substr(0, static_cast<std::size_t>(handle.size) + 1);
  const auto recorded = LoadLe<std::uint32_t>(read->data() + handle.size + 1);
  const std::uint32_t actual = footer_.checksum == Checksum::kCrc32c
                                   ? MaskCrc(Crc32c(checked))
                                   : static_cast<std::uint32_t>(XXH64(checked.data(), checked.size(), 0));
  if (actual != recorded) return fail(Damaged("it does not match its checksum"));
  auto decoded = Decompress(static_cast<std::uint8_t>(checked.back()), checked.substr(0, checked.size() - 1), block_bytes_max_,
                            budget_, &block->decoded);
  if (!decoded.ok()) return fail(std::move(decoded).error());
  block->bytes = *decoded;
  return {};
}

Status Table::ForEachPair(std::string_view bytes, bool columnar,
                          const std::function<Status(std::string_view, std::string_view)>& visit) const {
  if (columnar) {
    VELLUM_ASSIGN_OR_RETURN(const KeyValueBlock pairs, ParseKeyValueBlock(bytes));
    for (std::uint32_t row = 0; row < pairs.rows; ++row) VELLUM_TRY(visit(pairs.key[row], pairs.value[row]));
    return {};
  }
  VELLUM_ASSIGN_OR_RETURN(RowBlock rows, RowBlock::Start(bytes));
  for (;;) {
    VELLUM_ASSIGN_OR_RETURN(const bool any, rows.Next());
    if (!any) return {};
    VELLUM_TRY(visit(rows.key(), rows.value()));
  }
}

Status Table::ReadMetadata() {
  Block block;
  VELLUM_TRY(ReadBlock(footer_.metaindex, "the metaindex", &block));
  std::optional<Handle> properties;
  bool old_range_deletions = false;
  VELLUM_TRY(ForEachPair(block.bytes, footer_.version >= 6, [&](std::string_view name, std::string_view value) -> Status {
    const bool wanted = name == "rocksdb.properties" || name == "rocksdb.range_del2";
    if (name == "pebble.range_key") return Refused("it has range keys, which are not read");
    if (name == "pebble.blob_ref_index") return Refused("it has values in blob files, which are not read");
    if (name == "rocksdb.range_del") old_range_deletions = true;
    if (!wanted) return {};
    const auto handle = ParseHandle(value);
    if (!handle) return Damaged("the metaindex gives no handle for " + Printable(name));
    (name == "rocksdb.properties" ? properties : range_deletion_block_) = handle;
    return {};
  }));
  if (!properties) return Damaged("the metaindex names no properties");
  if (old_range_deletions && !range_deletion_block_) return Refused("it has range deletions of the oldest form, which are not read");
  return ReadProperties(*properties);
}

Status Table::TakeProperty(std::string_view name, std::string_view value) {
  const auto number = [&](std::uint64_t* to) -> Status {
    const auto read = ByteReader(value).ReadVarint();
    if (!read) return Damaged("the property " + Printable(name) + " is no number: " + Printable(value));
    *to = *read;
    return {};
  };
  if (name == "rocksdb.comparator" && value != "leveldb.BytewiseComparator") {
    return Refused("its keys are ordered by " + Printable(value) + ", which is not read");
  }
  if (name == "pebble.colblk.schema") {
    constexpr std::string_view kSchema = "DefaultKeySchema(leveldb.BytewiseComparator,";
    const std::string_view bundle = value.size() > kSchema.size() ? value.substr(kSchema.size()) : std::string_view();
    if (!value.starts_with(kSchema) || bundle.size() < 2 || bundle.find_first_not_of("0123456789") != bundle.size() - 1 ||
        bundle.back() != ')') {
      return Refused("its columns follow the schema " + Printable(value) + ", which is not known");
    }
    has_schema_ = true;
  }
  if (name == "rocksdb.block.based.table.index.type") {
    if (value.size() != 4) return Damaged("the property " + Printable(name) + " has " + std::to_string(value.size()) + " bytes, not 4");
    index_type_ = LoadLe<std::uint32_t>(value.data());
  }
  if (name == "rocksdb.num.entries") return number(&entries_);
  if (name == "rocksdb.num.range-deletions") return number(&range_deletions_);
  return {};
}

Status Table::ReadProperties(const Handle& handle) {
  Block block;
  VELLUM_TRY(ReadBlock(handle, "the properties", &block));
  VELLUM_TRY(ForEachPair(block.bytes, footer_.version >= 7,
                         [this](std::string_view name, std::string_view value) { return TakeProperty(name, value); }));
  if (footer_.columnar() && !has_schema_) return Damaged("its properties name no schema of columns");
  if (index_type_ && *index_type_ != 0 && *index_type_ != 2) {
    return Refused("its index has the type " + std::to_string(*index_type_) + ": 0 (one level) and 2 (two levels) can be read");
  }
  const bool attribute = (footer_.attributes & kTwoLevels) != 0;
  two_levels_ = index_type_ ? *index_type_ == 2 : attribute;
  if (footer_.version == 7 && two_levels_ != attribute) {
    return Damaged("its footer and its properties disagree about the levels of its index");
  }
  if (range_deletions_ > entries_ || range_deletions_ > kRangeDeletionsMax) {
    return Damaged("its properties claim " + std::to_string(range_deletions_) + " range deletions among " + std::to_string(entries_) +
                   " entries: the limit is " + std::to_string(kRangeDeletionsMax));
  }
  if ((range_deletions_ > 0) != range_deletion_block_.has_value()) {
    return Damaged("its properties claim " + std::to_string(range_deletions_) + " range deletions, and the metaindex has " +
                   (range_deletion_block_ ? "a" : "no") + " block of them");
  }
  return {};
}

Status Table::ForEachRangeDeletion(const std::function<Status(const StoredDeletion&)>& visit) const {
  if (!range_deletion_block_) return {};
  Block block;
  VELLUM_TRY(ReadBlock(*range_deletion_block_, "the range deletions", &block));
  std::uint64_t seen = 0;
  const auto take = [&](const StoredDeletion& deletion) -> Status {
    constexpr std::uint8_t kRangeDelete = 15;
    const auto kind = static_cast<std::uint8_t>(deletion.trailer);
    if (kind != kRangeDelete) return Refused("a range deletion of the kind " + std::to_string(kind) + ", not 15");
    if (deletion.start >= deletion.end) {
      return Damaged("a range deletion from " + Printable(deletion.start) + " to " + Printable(deletion.end) + " is empty");
    }
    if (++seen > range_deletions_) return Damaged("more range deletions than the " + std::to_string(range_deletions_) + " it claims");
    return visit(deletion);
  };
  const auto walk = [&]() -> Status {
    if (footer_.columnar()) {
      VELLUM_ASSIGN_OR_RETURN(const RangeDeletionBlock columns, ParseRangeDeletionBlock(block.bytes));
      for (std::uint32_t span = 0; span + 1 < columns.boundaries; ++span) {
        for (std::uint64_t entry = columns.first[span]; entry < columns.first[span + 1]; ++entry) {
          VELLUM_TRY(take({columns.boundary[span], columns.boundary[span + 1], columns.trailer[static_cast<std::uint32_t>(entry)]}));
        }
      }
      return {};
    }
    VELLUM_ASSIGN_OR_RETURN(RowBlock rows, RowBlock::Start(block.bytes));
    for (;;) {
      VELLUM_ASSIGN_OR_RETURN(const bool any, rows.Next());
      if (!any) return {};
      if (rows.key().size() < 8) return Damaged("a range deletion's key has " + std::to_string(rows.key().size()) + " bytes");
      const std::size_t user = rows.key().size() - 8;
      VELLUM_TRY(take({rows.key().substr(0, user), rows.value(), LoadLe<std::uint64_t>(rows.key().data() + user) & ~std::uint64_t{0x40}}));
    }
  };
  if (Status walked = walk(); !walked.ok()) return std::move(walked).WithContext(Printable(name()) + ", the range deletions");
  if (seen != range_deletions_) {
    return Damaged(Printable(name()) + " has " + std::to_string(seen) + " range deletions and claims " + std::to_string(range_deletions_));
  }
  return {};
}

Status BlockWalk::Enter(const Handle& handle, Level* level) {
  VELLUM_TRY(table_->ReadBlock(handle, "an index block", &level->block));
  level->row = 0;
  const Status parsed = [&]() -> Status {
    if (table_->footer().columnar()) {
      VELLUM_ASSIGN_OR_RETURN(level->columns, ParseIndexBlock(level->block.bytes));
      if (level->columns.rows > table_->file_size() / 6) {
        return Damaged(std::to_string(level->columns.rows) + " blocks in a file of " + std::to_string(table_->file_size()) + " bytes");
      }
      return {};
    }
    VELLUM_ASSIGN_OR_RETURN(level->rows, RowBlock::Start(level->block.bytes));
    return {};
  }();
  if (parsed.ok()) return {};
  return Status(parsed).WithContext(Printable(table_->name()) + ", the index block at " + std::to_string(handle.offset));
}

Result<bool> BlockWalk::Advance(Level* level, Handle* handle) {
  for (;;) {
    std::string_view separator;
    if (table_->footer().columnar()) {
      if (level->row == level->columns.rows) return false;
      const std::uint32_t row = level->row++;
      separator = level->columns.separator[row];
      *handle = {level->columns.offset[row], level->columns.size[row]};
    } else {
      VELLUM_ASSIGN_OR_RETURN(const bool any, level->rows.Next());
      if (!any) return false;
      const std::string_view key = level->rows.key();
      if (key.size() < 8) return Damaged(Printable(table_->name()) + ": an index key has " + std::to_string(key.size()) + " bytes");
      separator = key.substr(0, key.size() - 8);
      const auto parsed = ParseHandle(level->rows.value());
      if (!parsed) return Damaged(Printable(table_->name()) + ": an index entry has no handle");
      *handle = *parsed;
    }
    level->reached = level->reached || separator >= from_;
    if (!level->reached) continue;
    separator_ = separator;
    return true;
  }
}

Result<bool> BlockWalk::Next(Handle* handle) {
  const auto ascend = [this](std::optional<std::uint64_t>* last, const Handle& next, const char* what) -> Status {
    if (*last && next.offset <= **last) {
      return Damaged(Printable(table_->name()) + " lists the " + what + " at " + std::to_string(next.offset) + " behind the one at " +
                     std::to_string(**last));
    }
    *last = next.offset;
    return {};
  };
  if (!started_) VELLUM_TRY(Enter(table_->footer().index, &upper_));
  started_ = true;
  for (;;) {
    if (table_->two_levels() && !inside_) {
      Handle lower;
      VELLUM_ASSIGN_OR_RETURN(const bool any, Advance(&upper_, &lower));
      if (!any) return false;
      VELLUM_TRY(ascend(&last_index_, lower, "index block"));
      VELLUM_TRY(Enter(lower, &lower_));
      inside_ = true;
    }
    VELLUM_ASSIGN_OR_RETURN(const bool any, Advance(inside_ ? &lower_ : &upper_, handle));
    if (any) {
      VELLUM_TRY(ascend(&last_data_, *handle, "data block"));
      return true;
    }
    if (!inside_) return false;
    inside_ = false;
  }
}

}  // namespace vellum::c1z::v3
