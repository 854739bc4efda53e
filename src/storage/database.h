#pragma once

#include <algorithm>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/log.h"
#include "base/metrics.h"
#include "vellum/status.h"

namespace vellum::storage {

class FileSystem;  // file_system.h: the real one, or the tests' fault-injecting one

/// Position of a column family in DatabaseOptions::families.
using Family = std::size_t;

/// Decides, while RocksDB compacts a family, which records are garbage. One object serves one compaction and is used
/// by one thread; it must answer from what it captured when it was made.
class RecordFilter {
 public:
  virtual ~RecordFilter() = default;
  /// True: the record may go for good. Must not depend on anything but the arguments and the captured state.
  virtual bool ShouldDrop(std::string_view key, std::string_view value) const = 0;
};

/// Makes a RecordFilter when a compaction starts; may return null ("keep everything"). Called from RocksDB's threads.
using RecordFilterFactory = std::function<std::unique_ptr<RecordFilter>()>;

struct FamilyOptions {
  std::string name;  ///< "default" must be the first.
  bool point_lookups = false;       ///< Bloom filter, data-block hash index, memtable bloom.
  bool tombstone_heavy = false;     ///< Tables with many close deletions are compacted early.
  std::size_t memtable_bytes = 16u << 20;
  RecordFilterFactory filter = {};  ///< May be empty.
  /// A number per record, whose minimum is kept as a property of each table file (TableFile::min_number) so that whole
  /// files can be skipped; nullopt does not count. May be empty.
  std::function<std::optional<std::uint64_t>(std::string_view key, std::string_view value)> number = {};
};

struct DatabaseOptions {
  std::string path;
  std::vector<FamilyOptions> families;
  bool create_if_missing = true;
  std::size_t block_cache_bytes = 128u << 20;  ///< Index, filter and data blocks, and memtables are charged to it.
  std::uint64_t wal_bytes_max = 64u << 20;     ///< Beyond it the oldest memtables are flushed.
  std::uint64_t background_bytes_per_second = 0;  ///< Rate limit of flush and compaction writes; 0: none.
  std::size_t table_file_bytes = 64u << 20;
  int background_threads = 2;  ///< For compactions; flushes have one more.
  bool sync_wal = true;  ///< false: Sync() does not reach the disk (--unsafe-no-fsync).
  /// Rescue: open although the middle of the log is damaged, accepting that everything after it is lost.
  bool accept_wal_loss = false;
  std::string rocksdb_options;  ///< RocksDB's own option string for tuning ("a=1;b=2"), applied last, checked.
  std::shared_ptr<FileSystem> file_system;  ///< Null: the machine's.
  Logger logger;
  Metrics* metrics = nullptr;  ///< May be null. Must outlive the database.
  /// Called at most once, from any thread, with the first error after which RocksDB refuses writes.
  std::function<void(const Status&)> on_background_error;
};

/// A consistent read position. Holding it keeps overwritten records from being reclaimed. May outlive the database:
/// it shares the database's core, so any order of destruction is safe.
class Snapshot {
 public:
  virtual ~Snapshot() = default;
};

struct ReadOptions {
  const Snapshot* snapshot = nullptr;  ///< Null: the live state.
  std::string_view lower = {};         ///< Iterators only: first key that may be returned; borrowed while iterating.
  std::string_view upper = {};         ///< Iterators only: exclusive; empty means no bound; borrowed while iterating.
  bool memory_only = false;            ///< kUnavailable instead of a disk read (kBlockCacheTier).
  bool fill_cache = true;
  std::size_t readahead_bytes = 0;
};

/// Bytes that stay where RocksDB keeps them (block cache or memtable) until this goes.
class PinnedValue {
 public:
  PinnedValue();
  ~PinnedValue();
  PinnedValue(PinnedValue&&) noexcept;
  PinnedValue& operator=(PinnedValue&&) noexcept;
  std::string_view view() const;

 private:
  friend class Database;
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

/// Writes that happen all or not at all. Not thread-safe.
class Batch {
 public:
  Batch();
  ~Batch();
  Batch(Batch&&) noexcept;
  Batch& operator=(Batch&&) noexcept;

  void Put(Family family, std::string_view key, std::string_view value);
  void Delete(Family family, std::string_view key);
  /// [begin, end).
  void DeleteRange(Family family, std::string_view begin, std::string_view end);
  void Clear();
  std::size_t bytes() const;
  std::size_t count() const;
  bool empty() const { return count() == 0; }

 private:
  friend class Database;
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

/// Records of one family in key order. Not thread-safe. Views are valid until the next move. Check status() when
/// valid() turns false: the end, or an error (kDataLoss names the file; kUnavailable for memory_only).
class Iterator {
 public:
  Iterator(Iterator&&) noexcept;
  Iterator& operator=(Iterator&&) noexcept;
  ~Iterator();

  void SeekToFirst();
  void SeekToLast();
  void Seek(std::string_view key);         ///< First record >= key.
  void SeekForPrev(std::string_view key);  ///< Last record <= key.
  void Next();
  void Prev();
  bool valid() const;
  std::string_view key() const;
  std::string_view value() const;
  Status status() const;

 private:
  friend class Database;
  struct Impl;
  explicit Iterator(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

/// One table file, as reclaiming sees it.
struct TableFile {
  std::string name;      ///< "000123.sst"
  std::string smallest;  ///< User keys, inclusive.
  std::string largest;
  int level = 0;
  std::uint64_t bytes = 0;
  std::uint64_t entries = 0;
  std::uint64_t deletions = 0;
  std::optional<std::uint64_t> min_number;  ///< FamilyOptions::number's minimum; nullopt: none counted.
};

struct CompactRangeOptions {
  std::string begin = {};        ///< User key, inclusive; empty with no `end`: the whole family.
  std::optional<std::string> end = std::nullopt;  ///< Inclusive, as RocksDB's; nullopt: to the end.
  const std::atomic<bool>* cancel = nullptr;  ///< Polled; set: the call returns kCancelled soon.
};

/// One RocksDB with its column families. Thread-safe, with one writer at a time.
///
/// Durability: Write puts a batch into the write-ahead log's buffer; Sync makes everything written so far survive
/// power loss. Recovery refuses damage anywhere but in the log's torn tail, and names the file.
class Database {
 public:
  /// kFailedPrecondition: another process holds the directory. kDataLoss: damaged files.
  static Result<std::unique_ptr<Database>> Open(DatabaseOptions options);
  /// Stops background work (no callback of the options is called any more) and closes, unless handles are alive: then
  /// the last of them closes. Flushes nothing by itself (call Flush for a clean stop).
  ~Database();

  /// Appends to the log's buffer and the memtables; visible to live reads at once, durable after Sync.
  /// An error here or from Sync means that the batch may or may not survive. It is final: every later Write, Sync,
  /// Flush and CompactRange returns it, and only opening again resumes. Reads go on.
  Status Write(Batch&& batch);
  /// Writes the log's buffer out and syncs it (unless !sync_wal).
  Status Sync();

  /// False: no such key.
  Result<bool> Get(Family family, std::string_view key, PinnedValue* value, const ReadOptions& options = {}) const;
  Iterator NewIterator(Family family, const ReadOptions& options = {}) const;
  std::shared_ptr<const Snapshot> TakeSnapshot() const;

  /// Memtables to table files, of one family or all. Waits.
  Status Flush(std::optional<Family> family = std::nullopt);

  /// The live table files of a family, in no order.
  Result<std::vector<TableFile>> ListTables(Family family) const;
  /// Rewrites the files that overlap the range, down to the last level, so that filters see every record. Runs beside
  /// automatic compactions, on the calling thread's patience; kCancelled when stopped early (nothing is lost).
  Status CompactRange(Family family, const CompactRangeOptions& options);
  /// Rate limit for flush and compaction from now on; 0: none.
  void SetBackgroundBytesPerSecond(std::uint64_t bytes);

  struct Sizes {
    std::uint64_t table_bytes = 0;     ///< Live table files.
    std::uint64_t live_bytes = 0;      ///< Estimate of what they would be without garbage.
    std::uint64_t wal_bytes = 0;
    std::uint64_t memtable_bytes = 0;
    std::uint64_t obsolete_bytes = 0;  ///< Files that are on their way out.

    /// What the store takes on the disk.
    std::uint64_t total() const { return table_bytes + wal_bytes + obsolete_bytes; }
    /// Estimate of what of that is no garbage. What is not in tables yet is in the log, and all of it is in use as far
    /// as anyone knows.
    std::uint64_t in_use() const { return std::min(total(), live_bytes + wal_bytes); }
  };
  Sizes GetSizes() const;
  /// Estimated number of entries and bytes in [begin, end) of a family's tables and memtables.
  std::uint64_t EstimateBytes(Family family, std::string_view begin, std::string_view end) const;
  /// RocksDB's integer property ("rocksdb.num-snapshots"), if it has it, over all families.
  std::optional<std::uint64_t> Property(const std::string& name) const;

  /// "7.8.3", and whether it was built with assertions.
  static std::string EngineVersion();

 private:
  struct Impl;
  explicit Database(std::shared_ptr<Impl> impl);
  std::shared_ptr<Impl> impl_;
};

}  // namespace vellum::storage
