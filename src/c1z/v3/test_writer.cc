#include "c1z/v3/test_writer.h"

#include <snappy.h>
#include <xxhash.h>
#include <zstd.h>

#include <algorithm>

#include "base/bytes.h"
#include "base/crc32c.h"
#include "c1z/v3/keys.h"

namespace vellum::c1z::v3 {
namespace {

template <typename T>
void PutLe(std::string* out, T value) {
  out->append(reinterpret_cast<const char*>(&value), sizeof value);
}
template <typename T>
void SetLe(std::string* out, std::size_t at, T value) {
  out->replace(at, sizeof value, reinterpret_cast<const char*>(&value), sizeof value);
}

/// A columnar block that is being written: header first, with the columns' places filled in as they come.
class ColumnWriter {
 public:
  ColumnWriter(std::string custom, std::uint16_t columns, std::uint32_t rows) : out_(std::move(custom)) {
    out_.push_back('\x01');
    PutLe(&out_, columns);
    PutLe(&out_, rows);
    next_ = out_.size();
    out_.append(std::size_t{columns} * 5, '\0');
  }

  void Uints(const std::vector<std::uint64_t>& values) {
    Begin(2);
    if (!values.empty()) Integers(values, /*offsets=*/false);
  }
  void Bytes(const std::vector<std::string>& rows) {
    Begin(3);
    if (rows.empty()) return;
    std::vector<std::uint64_t> offsets = {0};
    std::string data;
    for (const std::string& row : rows) {
      data += row;
      offsets.push_back(data.size());
    }
    Integers(offsets, /*offsets=*/true);
    out_ += data;
  }
  void Prefix(const std::vector<std::string>& rows, unsigned shift) {
    Begin(4);
    out_.push_back(static_cast<char>(shift));
    const std::size_t bundle = std::size_t{1} << shift;
    const std::size_t block_prefix = Shared(rows.front(), rows.back());
    std::string data = rows.front().substr(0, block_prefix);
    std::vector<std::uint64_t> ends = {data.size()};
    for (std::size_t first = 0; first < rows.size(); first += bundle) {
      const std::size_t last = std::min(first + bundle, rows.size()) - 1;
      const std::size_t prefix = Shared(rows[first], rows[last]);
      data += rows[first].substr(block_prefix, prefix - block_prefix);
      ends.push_back(data.size());
      for (std::size_t row = first; row <= last; ++row) {
        // A repeated key is an empty suffix, which it is anyway at a bundle's start.
        if (row == first || rows[row] != rows[row - 1]) data += rows[row].substr(prefix);
        ends.push_back(data.size());
      }
    }
    Integers(ends, /*offsets=*/true);
    out_ += data;
  }
  void Bits(const std::vector<bool>& bits) {
    Begin(1);
    if (std::find(bits.begin(), bits.end(), true) == bits.end()) {
      out_.push_back('\x01');
      return;
    }
    out_.push_back('\0');
    out_.resize((out_.size() + 7) / 8 * 8);
    const std::size_t words = (bits.size() + 63) / 64;
    std::vector<std::uint64_t> bitmap(words);
    std::vector<std::uint64_t> summary((words + 63) / 64);
    for (std::size_t i = 0; i < bits.size(); ++i) {
      if (!bits[i]) continue;
      bitmap[i / 64] |= std::uint64_t{1} << (i % 64);
      summary[i / 4096] |= std::uint64_t{1} << (i / 64 % 64);
    }
    for (const std::uint64_t word : bitmap) PutLe(&out_, word);
    for (const std::uint64_t word : summary) PutLe(&out_, word);
  }
  std::string Finish() {
    out_.push_back('\0');
    return std::move(out_);
  }

 private:
  static std::size_t Shared(const std::string& a, const std::string& b) {
    return static_cast<std::size_t>(std::mismatch(a.begin(), a.end(), b.begin(), b.end()).first - a.begin());
  }
  void Begin(char type) {
    out_[next_] = type;
    SetLe(&out_, next_ + 1, static_cast<std::uint32_t>(out_.size()));
    next_ += 5;
  }
  void Integers(const std::vector<std::uint64_t>& values, bool offsets) {
    const auto [low, high] = std::minmax_element(values.begin(), values.end());
    const auto width_of = [](std::uint64_t value) {
      return value == 0 ? 0 : value < 0x100 ? 1 : value < 0x10000 ? 2 : value < 0x100000000 ? 4 : 8;
    };
    const int plain = width_of(*high);
    const int delta = width_of(*high - *low);
    const bool based = !offsets && static_cast<std::size_t>(plain - delta) * values.size() > 8;
    const int width = based ? delta : plain;
    out_.push_back(static_cast<char>(width | (based ? 0x80 : 0)));
    if (based) PutLe(&out_, *low);
    if (width == 0) return;
    const auto align = static_cast<std::size_t>(width);
    out_.resize((out_.size() + align - 1) / align * align);
    for (const std::uint64_t value : values) {
      const std::uint64_t stored = value - (based ? *low : 0);
      out_.append(reinterpret_cast<const char*>(&stored), align);
    }
  }

  std::string out_;
  std::size_t next_ = 0;
};

std::string Le32(std::uint32_t value) {
  std::string bytes;
  PutLe(&bytes, value);
  return bytes;
}

std::string WithTrailer(const std::string& key, std::uint64_t trailer) {
  std::string bytes = key;
  PutLe(&bytes, trailer);
  return bytes;
}

std::string VarintBytes(std::uint64_t value) {
  std::string bytes;
  AppendVarint(&bytes, value);
  return bytes;
}

}  // namespace

std::string WriteDataBlock(const std::vector<WriterRow>& rows, unsigned shift) {
  std::vector<std::string> keys;
  std::vector<std::string> values;
  std::vector<std::uint64_t> trailers;
  std::vector<bool> changed;
  std::size_t longest = 0;
  for (const WriterRow& row : rows) {
    changed.push_back(keys.empty() || keys.back() != row.key);
    keys.push_back(row.key);
    values.push_back(row.value);
    trailers.push_back(row.trailer());
    longest = std::max(longest, row.key.size());
  }
  ColumnWriter writer(Le32(static_cast<std::uint32_t>(longest)), 7, static_cast<std::uint32_t>(rows.size()));
  writer.Prefix(keys, shift);
  writer.Bytes(std::vector<std::string>(rows.size()));
  writer.Uints(trailers);
  writer.Bits(changed);
  writer.Bytes(values);
  writer.Bits(std::vector<bool>(rows.size()));
  writer.Bits(std::vector<bool>(rows.size()));
  return writer.Finish();
}

std::string WriteIndexBlock(const std::vector<IndexEntry>& entries) {
  std::vector<std::string> separators;
  std::vector<std::uint64_t> offsets;
  std::vector<std::uint64_t> sizes;
  for (const IndexEntry& entry : entries) {
    separators.push_back(entry.separator);
    offsets.push_back(entry.handle.offset);
    sizes.push_back(entry.handle.size);
  }
  ColumnWriter writer("", 4, static_cast<std::uint32_t>(entries.size()));
  writer.Bytes(separators);
  writer.Uints(offsets);
  writer.Uints(sizes);
  writer.Bytes(std::vector<std::string>(entries.size()));
  return writer.Finish();
}

std::string WriteRangeDeletionBlock(const std::vector<WriterDeletion>& deletions) {
  std::vector<std::string> boundaries;
  std::vector<std::uint64_t> firsts;
  std::vector<std::uint64_t> trailers;
  for (const WriterDeletion& deletion : deletions) {
    if (boundaries.empty() || boundaries.back() != deletion.start) {
      boundaries.push_back(deletion.start);
      firsts.push_back(trailers.size());
    }
    trailers.push_back(deletion.sequence << 8 | 15);
    boundaries.push_back(deletion.end);
    firsts.push_back(trailers.size());
  }
  ColumnWriter writer(Le32(static_cast<std::uint32_t>(boundaries.size())), 5, static_cast<std::uint32_t>(deletions.size()));
  writer.Bytes(boundaries);
  writer.Uints(firsts);
  writer.Uints(trailers);
  writer.Bytes(std::vector<std::string>(deletions.size()));
  writer.Bytes(std::vector<std::string>(deletions.size()));
  return writer.Finish();
}

std::string WriteKeyValueBlock(const Pairs& pairs) {
  std::vector<std::string> keys;
  std::vector<std::string> values;
  for (const auto& [key, value] : pairs) {
    keys.push_back(key);
    values.push_back(value);
  }
  ColumnWriter writer("", 2, static_cast<std::uint32_t>(pairs.size()));
  writer.Bytes(keys);
  writer.Bytes(values);
  return writer.Finish();
}

std::string WriteRowBlock(const Pairs& entries) {
  constexpr std::size_t kRestartInterval = 16;
  std::string out;
  std::string before;
  std::vector<std::uint32_t> restarts;
  for (std::size_t i = 0; i < entries.size(); ++i) {
    const auto& [key, value] = entries[i];
    std::size_t shared = 0;
    if (i % kRestartInterval == 0) {
      restarts.push_back(static_cast<std::uint32_t>(out.size()));
    } else {
      while (shared < std::min(before.size(), key.size()) && before[shared] == key[shared]) ++shared;
    }
    AppendVarint(&out, shared);
    AppendVarint(&out, key.size() - shared);
    AppendVarint(&out, value.size());
    out += key.substr(shared);
    out += value;
    before = key;
  }
  if (restarts.empty()) restarts.push_back(0);
  for (const std::uint32_t restart : restarts) PutLe(&out, restart);
  PutLe(&out, static_cast<std::uint32_t>(restarts.size()));
  return out;
}

std::string SealBlock(std::string_view block, std::uint8_t compression, Checksum checksum) {
  std::string stored(block);
  if (compression == 1) {
    snappy::Compress(block.data(), block.size(), &stored);
  } else if (compression == 7) {
    std::string frame(ZSTD_compressBound(block.size()), '\0');
    frame.resize(ZSTD_compress(frame.data(), frame.size(), block.data(), block.size(), 3));
    stored = VarintBytes(block.size()) + frame;
  }
  stored.push_back(static_cast<char>(compression));
  const std::uint32_t sum = checksum == Checksum::kCrc32c ? MaskCrc(Crc32c(stored))
                                                          : static_cast<std::uint32_t>(XXH64(stored.data(), stored.size(), 0));
  PutLe(&stored, sum);
  return stored;
}

std::string HandleBytes(const Handle& handle) { return VarintBytes(handle.offset) + VarintBytes(handle.size); }

std::string FooterBytes(const TableFormat& format, std::uint32_t attributes, const Handle& metaindex, const Handle& index) {
  std::string bytes(1, static_cast<char>(format.checksum));
  bytes += HandleBytes(metaindex) + HandleBytes(index);
  bytes.resize(41);
  if (format.version >= 7) PutLe(&bytes, attributes);
  const std::size_t crc_at = bytes.size();
  std::string rest;
  PutLe(&rest, format.version);
  rest += "\xF0\x9F\xAA\xB3\xF0\x9F\xAA\xB3";
  if (format.version >= 6) PutLe(&bytes, MaskCrc(ExtendCrc32c(Crc32c(bytes.substr(0, crc_at)), rest)));
  return bytes + rest;
}

void TestTableWriter::Extend(const InternalKey& smallest, const InternalKey& largest, std::uint64_t sequence) {
  const auto before = [](const InternalKey& a, const InternalKey& b) {
    return a.user != b.user ? a.user < b.user : a.trailer > b.trailer;
  };
  if (!any_ || before(smallest, meta_.smallest)) meta_.smallest = smallest;
  if (!any_ || before(meta_.largest, largest)) meta_.largest = largest;
  meta_.smallest_sequence = any_ ? std::min(meta_.smallest_sequence, sequence) : sequence;
  meta_.largest_sequence = any_ ? std::max(meta_.largest_sequence, sequence) : sequence;
  any_ = true;
}

void TestTableWriter::Add(WriterRow row) {
  Extend({row.key, row.trailer()}, {row.key, row.trailer()}, row.sequence);
  pending_bytes_ += row.key.size() + row.value.size() + 16;
  pending_.push_back(std::move(row));
  ++rows_;
  if (pending_bytes_ >= format_.block_bytes) FlushBlock();
}

Handle TestTableWriter::PutBlock(std::string_view what, std::string block, std::uint8_t compression) {
  if (format_.change_block) format_.change_block(what, &block);
  const std::string sealed = SealBlock(block, compression, format_.checksum);
  const Handle handle{out_.size(), sealed.size() - kBlockTrailerBytes};
  out_ += sealed;
  return handle;
}

void TestTableWriter::FlushBlock() {
  if (pending_.empty()) return;
  std::string block;
  if (format_.version >= 5) {
    block = WriteDataBlock(pending_, format_.shift);
  } else {
    Pairs entries;
    for (const WriterRow& row : pending_) {
      const bool prefixed = format_.version >= 3 && row.kind == 1;
      entries.emplace_back(WithTrailer(row.key, row.trailer()), (prefixed ? std::string(1, '\0') : std::string()) + row.value);
    }
    block = WriteRowBlock(entries);
  }
  index_.push_back({pending_.back().key, PutBlock("data", std::move(block), format_.compression)});
  pending_.clear();
  pending_bytes_ = 0;
}

std::string TestTableWriter::Index(const std::vector<IndexEntry>& entries) const {
  if (format_.version >= 5) return WriteIndexBlock(entries);
  Pairs pairs;
  for (const IndexEntry& entry : entries) pairs.emplace_back(WithTrailer(entry.separator, 0), HandleBytes(entry.handle));
  return WriteRowBlock(pairs);
}

Handle TestTableWriter::PutIndex() {
  if (format_.change_handles) {
    std::vector<Handle> handles;
    for (const IndexEntry& entry : index_) handles.push_back(entry.handle);
    format_.change_handles(&handles);
    for (std::size_t i = 0; i < index_.size(); ++i) index_[i].handle = handles[i];
  }
  if (!format_.two_levels) return PutBlock("index", Index(index_), 0);
  std::vector<IndexEntry> top;
  std::vector<IndexEntry> part;
  std::size_t bytes = 0;
  for (std::size_t i = 0; i < index_.size(); ++i) {
    part.push_back(index_[i]);
    bytes += index_[i].separator.size() + 8;
    if (bytes < format_.index_block_bytes && i + 1 < index_.size()) continue;
    top.push_back({part.back().separator, PutBlock("index", Index(part), format_.compression)});
    part.clear();
    bytes = 0;
  }
  return PutBlock("index", Index(top), 0);
}

std::string TestTableWriter::Properties(std::uint64_t range_deletions) const {
  Pairs pairs = {{"rocksdb.block.based.table.index.type", Le32(format_.two_levels ? 2 : 0)},
                 {"rocksdb.comparator", format_.comparer},
                 {"rocksdb.merge.operator", "pebble.concatenate"},
                 {"rocksdb.num.entries", VarintBytes(rows_ + range_deletions + format_.entries_too_many)}};
  if (range_deletions > 0) pairs.emplace_back("rocksdb.num.range-deletions", VarintBytes(range_deletions));
  if (format_.version >= 5) pairs.emplace_back("pebble.colblk.schema", format_.schema);
  std::sort(pairs.begin(), pairs.end());
  return format_.version >= 7 ? WriteKeyValueBlock(pairs) : WriteRowBlock(pairs);
}

WrittenTable TestTableWriter::Finish() {
  FlushBlock();
  if (rows_ == 0 && format_.version < 5) index_.push_back({"", PutBlock("data", WriteRowBlock({}), 0)});
  const Handle index = PutIndex();
  Pairs metaindex = format_.metaindex;
  if (!deletions_.empty()) {
    std::string block;
    if (format_.version >= 5) {
      block = WriteRangeDeletionBlock(deletions_);
    } else {
      Pairs entries;
      for (const WriterDeletion& each : deletions_) entries.emplace_back(WithTrailer(each.start, each.sequence << 8 | 15), each.end);
      block = WriteRowBlock(entries);
    }
    metaindex.emplace_back("rocksdb.range_del2", HandleBytes(PutBlock("deletions", std::move(block), 0)));
    for (const WriterDeletion& each : deletions_) {
      Extend({each.start, each.sequence << 8 | 15}, {each.end, kSequenceMax << 8 | 15}, each.sequence);
    }
  }
  metaindex.emplace_back("rocksdb.properties", HandleBytes(PutBlock("properties", Properties(deletions_.size()), 0)));
  std::sort(metaindex.begin(), metaindex.end());
  const Handle at = PutBlock("metaindex", format_.version >= 6 ? WriteKeyValueBlock(metaindex) : WriteRowBlock(metaindex), 0);
  std::uint32_t attributes = format_.attributes;
  if (rows_ > 0) attributes |= 1u << 7;
  if (!deletions_.empty()) attributes |= 1u << 4;
  if (format_.two_levels) attributes |= 1u << 5;
  out_ += FooterBytes(format_, attributes, at, index);
  meta_.size = out_.size();
  meta_.level = 6;
  meta_.has_sequences = true;
  return {std::move(out_), std::move(meta_)};
}

WrittenTable WriteTable(std::vector<WriterRow> rows, std::vector<WriterDeletion> deletions, const TableFormat& format) {
  TestTableWriter writer(format);
  for (WriterRow& row : rows) writer.Add(std::move(row));
  for (WriterDeletion& deletion : deletions) writer.AddDeletion(std::move(deletion));
  return writer.Finish();
}

std::string WriteRecordLog(const std::vector<std::string>& records) {
  constexpr std::size_t kBlock = 32u << 10;
  constexpr std::size_t kHeader = 7;
  std::string out;
  for (const std::string& record : records) {
    std::string_view rest = record;
    for (bool first = true;; first = false) {
      if (kBlock - out.size() % kBlock < kHeader) out.resize((out.size() / kBlock + 1) * kBlock);
      const std::size_t left = kBlock - out.size() % kBlock;
      const std::string_view data = rest.substr(0, left - kHeader);
      rest.remove_prefix(data.size());
      const bool last = rest.empty();
      const std::string body = std::string(1, static_cast<char>(first ? (last ? 1 : 2) : (last ? 4 : 3))) + std::string(data);
      PutLe(&out, MaskCrc(Crc32c(body)));
      PutLe(&out, static_cast<std::uint16_t>(data.size()));
      out += body;
      if (last) break;
    }
  }
  return out;
}

std::string InternalKeyBytes(const InternalKey& key) { return WithTrailer(key.user, key.trailer); }

EditWriter& EditWriter::Number(std::uint64_t tag, std::uint64_t value) {
  AppendVarint(&bytes_, tag);
  AppendVarint(&bytes_, value);
  return *this;
}
EditWriter& EditWriter::Comparer(std::string_view name) {
  AppendVarint(&bytes_, 1);
  AppendLengthPrefixed(&bytes_, name);
  return *this;
}
EditWriter& EditWriter::Deleted(int level, std::uint64_t number) {
  Number(6, static_cast<std::uint64_t>(level));
  AppendVarint(&bytes_, number);
  return *this;
}
EditWriter& EditWriter::Backing(std::uint64_t number, std::uint64_t size) {
  Number(105, number);
  AppendVarint(&bytes_, size);
  return *this;
}
EditWriter& EditWriter::Table(const TableMeta& meta, std::string_view custom_fields) {
  Number(103, static_cast<std::uint64_t>(meta.level));
  AppendVarint(&bytes_, meta.number);
  AppendVarint(&bytes_, meta.size);
  AppendLengthPrefixed(&bytes_, InternalKeyBytes(meta.smallest));
  AppendLengthPrefixed(&bytes_, InternalKeyBytes(meta.largest));
  AppendVarint(&bytes_, meta.smallest_sequence);
  AppendVarint(&bytes_, meta.largest_sequence);
  AppendVarint(&bytes_, 6);  // a creation time, to be skipped
  AppendLengthPrefixed(&bytes_, "\x05");
  if (meta.backing) Number(66, *meta.backing);
  bytes_ += custom_fields;
  AppendVarint(&bytes_, 1);
  return *this;
}

Files WriteCheckpoint(const Files& tables, const std::vector<std::string>& edits, int format) {
  Files files = tables;
  std::string version = std::to_string(format);
  version.insert(0, 3 - std::min<std::size_t>(3, version.size()), '0');
  files.emplace_back("MANIFEST-000001", WriteRecordLog(edits));
  files.emplace_back("marker.format-version.000001." + version, "");
  files.emplace_back("marker.manifest.000001.MANIFEST-000001", "");
  files.emplace_back("000002.log", "");
  std::sort(files.begin(), files.end());
  return files;
}

Files WriteCheckpoint(std::vector<WrittenTable> tables, int format) {
  Files files;
  EditWriter edit;
  edit.Comparer().LogNumber(2);
  std::uint64_t number = 10;
  for (WrittenTable& table : tables) {
    table.meta.number = number++;
    edit.Table(table.meta);
    files.emplace_back("0000" + std::to_string(table.meta.number) + ".sst", std::move(table.bytes));
  }
  return WriteCheckpoint(files, {edit.bytes()}, format);
}

}  // namespace vellum::c1z::v3
