#include "storage/tables.h"

#include <rocksdb/cache.h>
#include <rocksdb/db.h>
#include <rocksdb/env.h>
#include <rocksdb/filter_policy.h>
#include <rocksdb/options.h>
#include <rocksdb/sst_file_reader.h>
#include <rocksdb/sst_file_writer.h>
#include <rocksdb/table.h>

#include <algorithm>

#include "storage/engine_file_system.h"
#include "storage/engine_status.h"
#include "storage/files.h"
#include "storage/sealed_files.h"

namespace vellum::storage {
namespace {

rocksdb::Slice ToSlice(std::string_view bytes) { return {bytes.data(), bytes.size()}; }
std::string_view ToView(const rocksdb::Slice& slice) { return {slice.data(), slice.size()}; }

/// Enough for the disk to stream; a merge holds it once for each of its sources.
constexpr std::size_t kScanReadAhead = 256u << 10;

/// Generations keep no log of RocksDB's own: there is nothing in it that GENERATION does not say.
class SilentLog final : public rocksdb::Logger {
 public:
  using rocksdb::Logger::Logv;
  void Logv(const char* /*format*/, va_list /*arguments*/) override {}
};

std::shared_ptr<rocksdb::TableFactory> FactoryOf(const TableOptions& table,
                                                 const std::shared_ptr<rocksdb::Cache>& cache) {
  rocksdb::BlockBasedTableOptions block;
  block.block_size = table.block_bytes;
  block.format_version = 5;
  block.checksum = rocksdb::kXXH3;
  if (table.bloom_filter) block.filter_policy.reset(rocksdb::NewBloomFilterPolicy(10));
  if (cache) {
    block.block_cache = cache;
    block.cache_index_and_filter_blocks = true;
  } else {
    block.no_block_cache = true;
  }
  return std::shared_ptr<rocksdb::TableFactory>(rocksdb::NewBlockBasedTableFactory(block));
}

rocksdb::Options OptionsIn(rocksdb::Env* env, std::shared_ptr<rocksdb::TableFactory> tables) {
  rocksdb::Options options;
  options.table_factory = std::move(tables);
  if (env != nullptr) options.env = env;
  options.compression = rocksdb::kLZ4Compression;
  options.info_log = std::make_shared<SilentLog>();
  options.info_log_level = rocksdb::FATAL_LEVEL;
  options.max_open_files = -1;
  options.disable_auto_compactions = true;
  options.skip_stats_update_on_db_open = true;
  options.skip_checking_sst_file_sizes_on_db_open = true;
  options.stats_dump_period_sec = 0;
  options.stats_persist_period_sec = 0;
  return options;
}

/// The surroundings for `files`; null: RocksDB's own will do. Must outlive what is opened in them.
std::unique_ptr<rocksdb::Env> EnvFor(const std::shared_ptr<FileSystem>& files) {
  return files == nullptr ? nullptr : MakeEnv(files, EngineView(files));
}

}  // namespace

struct TableWriter::Impl {
  Impl(const TableOptions& table, std::shared_ptr<FileSystem> file_system)
      : files(std::move(file_system)), env(EnvFor(files)), options(OptionsIn(env.get(), FactoryOf(table, nullptr))),
        writer(rocksdb::EnvOptions(), options) {}
  const std::shared_ptr<FileSystem> files;
  const std::unique_ptr<rocksdb::Env> env;
  rocksdb::Options options;
  rocksdb::SstFileWriter writer;
  std::string path;
  std::uint64_t deletions = 0;
  bool finished = false;
};

TableWriter::TableWriter(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}

TableWriter::~TableWriter() {
  if (!impl_ || impl_->finished) return;
  RemoveFile(impl_->files.get(), impl_->path).IgnoreError("its directory is removed with what is left in it");
}

Result<std::unique_ptr<TableWriter>> TableWriter::Create(const std::string& path, const TableOptions& options,
                                                         const std::shared_ptr<FileSystem>& files) {
  auto impl = std::make_unique<Impl>(options, files);
  impl->path = path;
  VELLUM_TRY(FromEngine(impl->writer.Open(path)).WithContext("table file " + path));
  return std::unique_ptr<TableWriter>(new TableWriter(std::move(impl)));
}

Status TableWriter::Put(std::string_view key, std::string_view value) {
  return FromEngine(impl_->writer.Put(ToSlice(key), ToSlice(value)));
}

Status TableWriter::Delete(std::string_view key) {
  ++impl_->deletions;
  return FromEngine(impl_->writer.Delete(ToSlice(key)));
}

std::uint64_t TableWriter::bytes() const { return impl_->writer.FileSize(); }

Result<TableInfo> TableWriter::Finish() {
  rocksdb::ExternalSstFileInfo file;
  const rocksdb::Status finished = impl_->writer.Finish(&file);
  if (!finished.ok()) {
    if (file.num_entries == 0 && finished.IsInvalidArgument()) {
      return FailedPrecondition("table file " + impl_->path + " has no records");
    }
    return FromEngine(finished).WithContext("table file " + impl_->path);
  }
  impl_->finished = true;
  TableInfo info;
  info.bytes = file.file_size;
  info.entries = file.num_entries;
  info.deletions = impl_->deletions;
  info.smallest = file.smallest_key;
  info.largest = file.largest_key;
  return info;
}

namespace {

class IteratorCursor : public TableCursor {
 public:
  void Seek(std::string_view key) override { iterator_->Seek(ToSlice(key)); }
  void Next() override { iterator_->Next(); }
  bool valid() const override { return iterator_->Valid(); }
  std::string_view key() const override { return ToView(iterator_->key()); }
  std::string_view value() const override { return ToView(iterator_->value()); }
  Status status() const override { return FromEngine(iterator_->status()); }

 protected:
  std::unique_ptr<rocksdb::Iterator> iterator_;
};

class FileCursor final : public IteratorCursor {
 public:
  explicit FileCursor(std::unique_ptr<rocksdb::Env> env)
      : env_(std::move(env)), reader_(OptionsIn(env_.get(), FactoryOf({}, nullptr))) {}
  ~FileCursor() override { iterator_.reset(); }

  Status Open(const std::string& path) {
    VELLUM_TRY(FromEngine(reader_.Open(path)).WithContext("table file " + path));
    rocksdb::ReadOptions read;
    read.readahead_size = kScanReadAhead;
    read.fill_cache = false;
    iterator_.reset(reader_.NewIterator(read));
    return {};
  }

 private:
  const std::unique_ptr<rocksdb::Env> env_;
  rocksdb::SstFileReader reader_;
};

}  // namespace

Result<std::unique_ptr<TableCursor>> OpenTable(const std::string& path, const std::shared_ptr<FileSystem>& files) {
  auto cursor = std::make_unique<FileCursor>(EnvFor(files));
  VELLUM_TRY(cursor->Open(path));
  return std::unique_ptr<TableCursor>(std::move(cursor));
}

StandaloneTable::~StandaloneTable() = default;

namespace {

class OpenFile final : public StandaloneTable, public std::enable_shared_from_this<OpenFile> {
 public:
  explicit OpenFile(std::unique_ptr<rocksdb::Env> env)
      : env_(std::move(env)), reader_(OptionsIn(env_.get(), FactoryOf({}, nullptr))) {}
  Status Load(const std::string& path) { return FromEngine(reader_.Open(path)).WithContext("table file " + path); }

  std::unique_ptr<TableCursor> NewCursor() const override {
    rocksdb::ReadOptions read;
    read.fill_cache = false;
    auto cursor = std::make_unique<Cursor>();
    cursor->Start(shared_from_this(), reader_.NewIterator(read));
    return cursor;
  }

 private:
  class Cursor final : public IteratorCursor {
   public:
    ~Cursor() override { iterator_.reset(); }
    void Start(std::shared_ptr<const OpenFile> file, rocksdb::Iterator* iterator) {
      file_ = std::move(file);
      iterator_.reset(iterator);
    }

   private:
    std::shared_ptr<const OpenFile> file_;
  };

  const std::unique_ptr<rocksdb::Env> env_;
  mutable rocksdb::SstFileReader reader_;  // makes iterators without changing, but its method is not const
};

}  // namespace

Result<std::shared_ptr<const StandaloneTable>> StandaloneTable::Open(const std::string& path,
                                                                          const std::shared_ptr<FileSystem>& files) {
  auto file = std::make_shared<OpenFile>(EnvFor(files));
  VELLUM_TRY(file->Load(path));
  return std::shared_ptr<const StandaloneTable>(std::move(file));
}

namespace {

/// RocksDB would cut the cache into up to 64 shards, of a megabyte each where we have 64. The index and the filter of one large
/// file are about as large, so they would drive each other out, and each look-up would read half a megabyte again.
constexpr std::size_t kShardBytes = 8u << 20;

std::shared_ptr<rocksdb::Cache> NewBlockCache(std::size_t bytes) {
  int shard_bits = 0;
  while (shard_bits < 6 && (kShardBytes << (shard_bits + 1)) <= bytes) ++shard_bits;
  return rocksdb::NewLRUCache(bytes, shard_bits);
}

}  // namespace

struct TableCache::Impl {
  explicit Impl(std::size_t bytes) : cache(NewBlockCache(bytes)), tables(FactoryOf({}, cache)) {}
  const std::shared_ptr<rocksdb::Cache> cache;
  /// For all directories: it learns how much of a file's end is worth reading ahead. A new one begins with half a megabyte.
  const std::shared_ptr<rocksdb::TableFactory> tables;
};

TableCache::TableCache(std::size_t bytes) : impl_(std::make_shared<Impl>(bytes)) {}
TableCache::~TableCache() = default;
std::size_t TableCache::used_bytes() const { return impl_->cache->GetUsage(); }

TableDirectory::~TableDirectory() = default;

struct TableValues::Impl {
  std::shared_ptr<const TableDirectory> directory;  // before `values`, which give their blocks back to its cache
  std::vector<rocksdb::Slice> keys;
  std::vector<rocksdb::PinnableSlice> values;
  std::vector<rocksdb::Status> statuses;
};

TableValues::TableValues() : impl_(std::make_unique<Impl>()) {}
TableValues::~TableValues() = default;
TableValues::TableValues(TableValues&&) noexcept = default;
TableValues& TableValues::operator=(TableValues&&) noexcept = default;

Result<std::optional<std::string_view>> TableValues::at(std::size_t place) const {
  const rocksdb::Status& status = impl_->statuses[place];
  if (status.IsNotFound()) return std::optional<std::string_view>();
  VELLUM_TRY(FromEngine(status));
  return std::optional<std::string_view>(ToView(impl_->values[place]));
}

namespace {

class OpenDirectory final : public TableDirectory {
 public:
  OpenDirectory(std::unique_ptr<rocksdb::Env> env, std::unique_ptr<rocksdb::DB> db, std::size_t files)
      : env_(std::move(env)), db_(std::move(db)), files_(files) {}

  Result<std::optional<std::string>> Get(std::string_view key) const override {
    std::string value;
    const rocksdb::Status status = db_->Get(rocksdb::ReadOptions(), ToSlice(key), &value);
    if (status.IsNotFound()) return std::optional<std::string>();
    VELLUM_TRY(FromEngine(status));
    return std::optional<std::string>(std::move(value));
  }

  Result<bool> Contains(std::string_view key) const override {
    rocksdb::PinnableSlice value;
    const rocksdb::Status status =
        db_->Get(rocksdb::ReadOptions(), db_->DefaultColumnFamily(), ToSlice(key), &value);
    if (status.IsNotFound()) return false;
    VELLUM_TRY(FromEngine(status));
    return true;
  }

  std::unique_ptr<TableCursor> NewCursor(std::string_view lower, std::string_view upper, bool scan) const override;

  std::size_t open_files() const override { return files_; }
  rocksdb::DB* db() const { return db_.get(); }

 private:
  const std::unique_ptr<rocksdb::Env> env_;
  const std::unique_ptr<rocksdb::DB> db_;
  const std::size_t files_;
};

class DirectoryCursor final : public IteratorCursor {
 public:
  DirectoryCursor(std::shared_ptr<const OpenDirectory> directory, std::string_view lower, std::string_view upper,
                  bool scan)
      : directory_(std::move(directory)), lower_(lower), upper_(upper), lower_slice_(lower_), upper_slice_(upper_) {
    rocksdb::ReadOptions read;
    read.iterate_lower_bound = &lower_slice_;
    if (!upper_.empty()) read.iterate_upper_bound = &upper_slice_;
    read.total_order_seek = true;
    if (scan) {
      read.fill_cache = false;
      read.readahead_size = kScanReadAhead;
    }
    iterator_.reset(directory_->db()->NewIterator(read));
  }
  ~DirectoryCursor() override { iterator_.reset(); }

 private:
  const std::shared_ptr<const OpenDirectory> directory_;
  const std::string lower_;
  const std::string upper_;
  const rocksdb::Slice lower_slice_;
  const rocksdb::Slice upper_slice_;
};

}  // namespace

void TableDirectory::GetMany(const std::vector<std::string_view>& keys, TableValues* values) const {
  TableValues::Impl& found = *values->impl_;
  // They give their blocks back before the directory may go from which they have them.
  for (rocksdb::PinnableSlice& value : found.values) value.Reset();
  found.directory = shared_from_this();
  found.keys.clear();
  for (const std::string_view key : keys) found.keys.push_back(ToSlice(key));
  if (found.values.size() < keys.size()) found.values.resize(keys.size());
  found.statuses.assign(keys.size(), rocksdb::Status::OK());
  if (keys.empty()) return;
  rocksdb::DB* const db = static_cast<const OpenDirectory*>(this)->db();
  db->MultiGet(rocksdb::ReadOptions(), db->DefaultColumnFamily(), keys.size(), found.keys.data(), found.values.data(),
               found.statuses.data(), /*sorted_input=*/std::is_sorted(keys.begin(), keys.end()));
}

namespace {

std::unique_ptr<TableCursor> OpenDirectory::NewCursor(std::string_view lower, std::string_view upper,
                                                      bool scan) const {
  auto self = std::static_pointer_cast<const OpenDirectory>(shared_from_this());
  return std::make_unique<DirectoryCursor>(std::move(self), lower, upper, scan);
}

/// Syncs what readers of a finished directory go by: CURRENT, and the manifest that it names. The others are RocksDB's notes to
/// itself, which nobody reads again.
Status SyncBuilt(FileSystem* files, const std::string& path) {
  VELLUM_ASSIGN_OR_RETURN(std::string manifest, ReadSmallFile(files, path + "/CURRENT"));
  while (!manifest.empty() && manifest.back() == '\n') manifest.pop_back();
  VELLUM_TRY(SyncFile(files, path + "/" + manifest));
  return SyncFile(files, path + "/CURRENT");
}

/// The table files of an open database, lowest layer last added.
std::vector<std::string> TableNames(rocksdb::DB* db) {
  std::vector<rocksdb::LiveFileMetaData> files;
  db->GetLiveFilesMetaData(&files);
  std::vector<std::string> names;
  names.reserve(files.size());
  for (const auto& file : files) names.push_back(file.name.substr(file.name.find_first_not_of('/')));
  std::sort(names.begin(), names.end());
  return names;
}

}  // namespace

Result<std::vector<std::vector<std::string>>> TableDirectory::Build(
    const std::string& path, const std::vector<std::vector<std::string>>& layers,
    const std::shared_ptr<FileSystem>& files) {
  SealedFiles sealed(files);
  // Without filters: nobody asks for keys here, and reading them takes memory.
  TableOptions table;
  table.bloom_filter = false;
  rocksdb::Options options = OptionsIn(sealed.env(), FactoryOf(table, nullptr));
  options.create_if_missing = true;
  options.error_if_exists = true;
  options.max_open_files = 64;
  options.num_levels = 7;
  options.level0_file_num_compaction_trigger = 1 << 30;
  options.level0_slowdown_writes_trigger = 1 << 30;
  options.level0_stop_writes_trigger = 1 << 30;
  rocksdb::DB* raw = nullptr;
  VELLUM_TRY(FromEngine(rocksdb::DB::Open(options, path, &raw)).WithContext("directory " + path));
  std::unique_ptr<rocksdb::DB> db(raw);

  // RocksDB takes files over by moving them: a scratch link is moved, the sealed original stays where it is.
  rocksdb::IngestExternalFileOptions ingest;
  ingest.move_files = true;
  ingest.failed_move_fall_back_to_copy = false;
  // The default would write a sequence number into the file, which other generations share.
  ingest.write_global_seqno = false;
  ingest.snapshot_consistency = false;

  const std::string scratch = path + "/scratch";
  std::vector<std::vector<std::string>> names;
  std::vector<std::string> known;
  for (const auto& layer : layers) {
    names.emplace_back();
    if (layer.empty()) continue;
    VELLUM_TRY(CreateDirectory(files.get(), scratch));
    std::vector<std::string> links;
    for (std::size_t i = 0; i < layer.size(); ++i) {
      links.push_back(scratch + "/" + std::to_string(i) + ".sst");
      VELLUM_ASSIGN_OR_RETURN(const bool linked, LinkFile(files.get(), layer[i], links.back()));
      if (!linked) return FailedPrecondition("cannot link " + layer[i] + " to " + links.back());
      VELLUM_TRY(sealed.ReadEnds(links.back()));
    }
    VELLUM_TRY(FromEngine(db->IngestExternalFile(links, ingest)).WithContext("directory " + path));
    VELLUM_TRY(sealed.status());
    sealed.Forget();
    const std::vector<std::string> now = TableNames(db.get());
    // RocksDB numbers ingested files in the order they were given.
    std::set_difference(now.begin(), now.end(), known.begin(), known.end(), std::back_inserter(names.back()));
    if (names.back().size() != layer.size()) return Internal("directory " + path + ": lost count of its files");
    known = now;
  }
  VELLUM_TRY(RemoveTree(files.get(), scratch));
  VELLUM_TRY(FromEngine(db->Close()).WithContext("directory " + path));
  VELLUM_TRY(SyncBuilt(files.get(), path));
  return names;
}

namespace {

/// What lies between two keys of one prefix that differ: eight bytes behind what they have in common, as a number. Cutting a
/// range of keys is then a search over numbers, whatever the keys look like.
class KeyWindow {
 public:
  KeyWindow(const std::string& smallest, const std::string& largest) {
    std::size_t common = 0;
    while (common < smallest.size() && common < largest.size() && smallest[common] == largest[common]) ++common;
    common_ = smallest.substr(0, common);
    first_ = At(smallest);
    last_ = At(largest);
  }
  std::uint64_t first() const { return first_; }
  std::uint64_t last() const { return last_; }
  std::string KeyAt(std::uint64_t number) const {
    std::string key = common_;
    for (int shift = 56; shift >= 0; shift -= 8) key.push_back(static_cast<char>(number >> shift));
    return key;
  }

 private:
  std::uint64_t At(const std::string& key) const {
    std::uint64_t number = 0;
    for (std::size_t i = common_.size(); i < common_.size() + 8; ++i) {
      number = number << 8 | (i < key.size() ? static_cast<std::uint8_t>(key[i]) : 0u);
    }
    return number;
  }

  std::string common_;
  std::uint64_t first_ = 0;
  std::uint64_t last_ = 0;
};

/// About how many bytes of the files lie between two keys.
std::uint64_t BytesBetween(const std::vector<rocksdb::DB*>& databases, std::string_view from, std::string_view to) {
  const rocksdb::Range range(ToSlice(from), ToSlice(to));
  rocksdb::SizeApproximationOptions options;
  options.include_memtables = false;
  std::uint64_t bytes = 0;
  for (rocksdb::DB* const db : databases) {
    std::uint64_t each = 0;
    if (db->GetApproximateSizes(options, db->DefaultColumnFamily(), &range, 1, &each).ok()) bytes += each;
  }
  return bytes;
}

}  // namespace

std::vector<std::string> TableDirectory::Cuts(const std::vector<std::shared_ptr<const TableDirectory>>& directories,
                                              std::string_view prefix, std::size_t parts) {
  std::vector<rocksdb::DB*> databases;
  std::string smallest;
  std::string largest;
  for (const auto& directory : directories) {
    rocksdb::DB* const db = static_cast<const OpenDirectory&>(*directory).db();
    databases.push_back(db);
    std::vector<rocksdb::LiveFileMetaData> files;
    db->GetLiveFilesMetaData(&files);
    for (const auto& file : files) {
      if (!std::string_view(file.smallestkey).starts_with(prefix)) continue;
      if (smallest.empty() || file.smallestkey < smallest) smallest = file.smallestkey;
      if (file.largestkey > largest) largest = file.largestkey;
    }
  }
  std::vector<std::string> cuts;
  if (smallest.empty() || parts < 2) return cuts;
  const KeyWindow window(smallest, largest);
  const std::uint64_t all = BytesBetween(databases, smallest, largest);
  std::uint64_t low = window.first();
  for (std::size_t part = 1; part < parts; ++part) {
    const std::uint64_t wanted = all / parts * part;
    std::uint64_t high = window.last();
    constexpr int kStepsMax = 32;
    for (int step = 0; step < kStepsMax && high - low > 1; ++step) {
      const std::uint64_t middle = low + (high - low) / 2;
      (BytesBetween(databases, smallest, window.KeyAt(middle)) < wanted ? low : high) = middle;
    }
    std::string cut = window.KeyAt(high);
    if (cut > smallest && cut <= largest && (cuts.empty() || cut > cuts.back())) cuts.push_back(std::move(cut));
  }
  return cuts;
}

Result<std::shared_ptr<TableDirectory>> TableDirectory::Open(const std::string& path, const TableCache& cache,
                                                             const std::shared_ptr<FileSystem>& files) {
  std::unique_ptr<rocksdb::Env> env = EnvFor(files);
  rocksdb::Options options = OptionsIn(env.get(), cache.impl_->tables);
  // RocksDB would start sixteen threads, for however few files.
  options.max_file_opening_threads = 1;
  // By families: the call without them first tries to open the directory as one that has no overlays, and opens everything
  // again if it has; and where that works it starts a thread, which has to be waited for when the directory is closed.
  std::vector<rocksdb::ColumnFamilyHandle*> families;
  rocksdb::DB* raw = nullptr;
  const rocksdb::Status opened = rocksdb::DB::OpenForReadOnly(
      options, path, {{rocksdb::kDefaultColumnFamilyName, options}}, &families, &raw);
  VELLUM_TRY(FromEngine(opened).WithContext("generation " + path));
  std::unique_ptr<rocksdb::DB> db(raw);
  // The database has a handle of its own for it.
  for (rocksdb::ColumnFamilyHandle* const family : families) delete family;
  const std::size_t open_files = TableNames(db.get()).size();
  return std::shared_ptr<TableDirectory>(std::make_shared<OpenDirectory>(std::move(env), std::move(db), open_files));
}

}  // namespace vellum::storage
