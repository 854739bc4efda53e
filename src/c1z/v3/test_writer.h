#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "c1z/v3/columns.h"
#include "c1z/v3/table.h"
#include "c1z/v3/version.h"
#include "sync/record.h"

/// Writes .c1z v3 files, as far as tests and benchmarks need them: every form of table that is read, and any damage one likes.
/// Not for users: nothing here checks what it is given.
namespace vellum::c1z::v3 {

/// One entry of a table.
struct WriterRow {
  std::string key;
  std::uint64_t sequence = 1;
  std::uint8_t kind = 1;
  std::string value;
  std::uint64_t trailer() const { return sequence << 8 | kind; }
};

struct WriterDeletion {
  std::string start;
  std::string end;
  std::uint64_t sequence = 1;
};

struct TableFormat {
  std::uint32_t version = 7;
  std::uint8_t compression = 0;  ///< 0 none, 1 Snappy, 7 zstd; another: stored raw under that number.
  Checksum checksum = Checksum::kCrc32c;
  std::size_t block_bytes = 32u << 10;
  bool two_levels = false;
  std::size_t index_block_bytes = 4u << 10;  ///< Of the lower level, with two.
  unsigned shift = 4;                        ///< Bundles of 2^shift rows.
  std::uint32_t attributes = 0;              ///< Beside those that follow from the rows.
  std::string schema = "DefaultKeySchema(leveldb.BytewiseComparator,16)";
  std::string comparer = "leveldb.BytewiseComparator";
  std::uint64_t entries_too_many = 0;        ///< Added to the count in the properties.
  std::vector<std::pair<std::string, std::string>> metaindex;  ///< Further entries: name and encoded handle.
  /// Changes the handles of data blocks before they are written into the index.
  std::function<void(std::vector<Handle>*)> change_handles;
  /// Changes a block before it is compressed and checksummed: "data", "index", "metaindex", "properties", "deletions".
  std::function<void(std::string_view what, std::string* block)> change_block;
};

/// Columns of a block, in the order and with the encodings that Pebble chooses.
std::string WriteDataBlock(const std::vector<WriterRow>& rows, unsigned shift = 4);
struct IndexEntry {
  std::string separator;
  Handle handle;
};
std::string WriteIndexBlock(const std::vector<IndexEntry>& entries);
/// Deletions must not overlap, and ascend.
std::string WriteRangeDeletionBlock(const std::vector<WriterDeletion>& deletions);
using Pairs = std::vector<std::pair<std::string, std::string>>;
std::string WriteKeyValueBlock(const Pairs& pairs);
std::string WriteRowBlock(const Pairs& entries);

/// A block with its trailer.
std::string SealBlock(std::string_view block, std::uint8_t compression, Checksum checksum);
std::string HandleBytes(const Handle& handle);
std::string FooterBytes(const TableFormat& format, std::uint32_t attributes, const Handle& metaindex, const Handle& index);

/// A table that was written, and what the MANIFEST says of it.
struct WrittenTable {
  std::string bytes;
  TableMeta meta;
};

/// Takes rows in internal order.
class TestTableWriter {
 public:
  explicit TestTableWriter(TableFormat format) : format_(std::move(format)) {}
  void Add(WriterRow row);
  void AddDeletion(WriterDeletion deletion) { deletions_.push_back(std::move(deletion)); }
  std::size_t bytes() const { return out_.size() + pending_bytes_; }
  bool empty() const { return rows_ == 0 && deletions_.empty(); }
  WrittenTable Finish();

 private:
  void FlushBlock();
  Handle PutBlock(std::string_view what, std::string block, std::uint8_t compression);
  std::string Index(const std::vector<IndexEntry>& entries) const;
  Handle PutIndex();
  std::string Properties(std::uint64_t range_deletions) const;
  void Extend(const InternalKey& smallest, const InternalKey& largest, std::uint64_t sequence);

  const TableFormat format_;
  std::string out_;
  std::vector<WriterRow> pending_;
  std::size_t pending_bytes_ = 0;
  std::vector<IndexEntry> index_;
  std::vector<WriterDeletion> deletions_;
  std::uint64_t rows_ = 0;
  TableMeta meta_;
  bool any_ = false;
};
WrittenTable WriteTable(std::vector<WriterRow> rows, std::vector<WriterDeletion> deletions = {}, const TableFormat& format = {});

/// Records of a MANIFEST.
std::string WriteRecordLog(const std::vector<std::string>& records);

/// Fields of a version edit, in the order of the calls.
class EditWriter {
 public:
  EditWriter& Comparer(std::string_view name = "leveldb.BytewiseComparator");
  EditWriter& LogNumber(std::uint64_t number) { return Number(2, number); }
  EditWriter& Table(const TableMeta& meta, std::string_view custom_fields = {});
  EditWriter& Deleted(int level, std::uint64_t number);
  EditWriter& Backing(std::uint64_t number, std::uint64_t size);
  EditWriter& RemovedBacking(std::uint64_t number) { return Number(106, number); }
  EditWriter& Number(std::uint64_t tag, std::uint64_t value);
  const std::string& bytes() const { return bytes_; }

 private:
  std::string bytes_;
};
std::string InternalKeyBytes(const InternalKey& key);

/// The files of a checkpoint: name and bytes.
using Files = std::vector<std::pair<std::string, std::string>>;
/// Markers, MANIFEST and tables; tables are numbered from 10 in level 6 unless their metas say otherwise.
Files WriteCheckpoint(std::vector<WrittenTable> tables, int format = 24);
/// The same with edits of the caller's.
Files WriteCheckpoint(const Files& tables, const std::vector<std::string>& edits, int format = 24);

struct WrapOptions {
  std::string engine = "pebble3";
  int encoding = 5;
  sync::SyncRun run;
  std::array<std::uint64_t, sync::kRecordTypes> counts{};
  bool list_run = true;  ///< In the manifest.
};
/// The file's bytes.
std::string WrapFiles(const Files& files, const WrapOptions& options);

/// Parts of an envelope with encoding 5, for damaging them before they are put together.
struct FrameParts {
  std::string name;
  std::string compressed;
  std::uint64_t raw_size = 0;
  std::uint64_t xxh64 = 0;
  std::string sha256;
  std::uint64_t offset_added = 0;
};
FrameParts MakeFrame(const std::string& name, const std::string& bytes);
std::string JoinFrames(const std::string& manifest, const std::vector<FrameParts>& frames);
std::string ManifestBytes(const WrapOptions& options);
/// Header, payload and padding of one entry of a tar archive.
std::string TarEntryBytes(const std::string& name, const std::string& bytes, char type = '0');

/// Rows of the database: keys and storage messages.
std::string EncodeStorage(const sync::RecordView& record);
WriterRow RecordRow(const sync::RecordView& record, std::uint64_t sequence);
/// 03 FF keyspace_version and grant_entitlement_id_format, and 03 06, in no order.
std::vector<WriterRow> StampRows(const sync::SyncRun& run, std::uint64_t sequence);
void SortRows(std::vector<WriterRow>* rows);

}  // namespace vellum::c1z::v3
