#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "storage/file_system.h"
#include "vellum/status.h"

/// Immutable directories of sorted table files: what a generation of the data plane is made of. Beside database.h,
/// which is the metadata plane's one live database. `files` null: the machine's.
namespace vellum::storage {

struct TableOptions {
  std::size_t block_bytes = 32u << 10;
  bool bloom_filter = true;  ///< Off for files that are only ever read from front to back.
};

/// What Finish says of a table file.
struct TableInfo {
  std::uint64_t bytes = 0;
  std::uint64_t entries = 0;
  std::uint64_t deletions = 0;
  std::string smallest;
  std::string largest;
};

/// Writes one sorted table file, LZ4-compressed and checksummed. Not thread-safe. A file that is not finished is removed.
class TableWriter {
 public:
  static Result<std::unique_ptr<TableWriter>> Create(const std::string& path, const TableOptions& options = {},
                                                     const std::shared_ptr<FileSystem>& files = nullptr);
  ~TableWriter();

  /// Keys must ascend strictly: kInvalidArgument otherwise.
  Status Put(std::string_view key, std::string_view value);
  /// A point tombstone: hides the key in the tables below an overlay.
  Status Delete(std::string_view key);
  /// Bytes written so far, about.
  std::uint64_t bytes() const;
  /// Syncs the file to disk and closes it. kFailedPrecondition if nothing was put.
  Result<TableInfo> Finish();

 private:
  struct Impl;
  explicit TableWriter(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

/// Walks records in key order. Not thread-safe. Views are valid until the next move; check status() when valid() turns
/// false. Keeps what it reads from alive.
class TableCursor {
 public:
  virtual ~TableCursor() = default;
  virtual void Seek(std::string_view key) = 0;  ///< First record >= key.
  virtual void Next() = 0;
  virtual bool valid() const = 0;
  virtual std::string_view key() const = 0;
  virtual std::string_view value() const = 0;
  virtual Status status() const = 0;
};

/// Reads one table file on its own, front to back or from a key. `path` must be a file that TableWriter finished and
/// nobody has touched since: bytes from elsewhere are checked against their SHA-256 before they come here.
Result<std::unique_ptr<TableCursor>> OpenTable(const std::string& path,
                                               const std::shared_ptr<FileSystem>& files = nullptr);

/// One table file on its own, open for reading: what OpenTable reads, for several cursors. Thread-safe. The file may be
/// unlinked while it is open.
class StandaloneTable {
 public:
  static Result<std::shared_ptr<const StandaloneTable>> Open(const std::string& path,
                                                             const std::shared_ptr<FileSystem>& files = nullptr);
  virtual ~StandaloneTable();
  /// Seek first. The cursor keeps the file open.
  virtual std::unique_ptr<TableCursor> NewCursor() const = 0;
};

/// Decoded blocks, shared by all directories that are open.
class TableCache {
 public:
  explicit TableCache(std::size_t bytes);
  ~TableCache();
  std::size_t used_bytes() const;

 private:
  friend class TableDirectory;
  struct Impl;
  std::shared_ptr<Impl> impl_;
};

/// What TableDirectory::GetMany found. The bytes stay where RocksDB keeps them until this goes or is filled again; it keeps the
/// directory open as long. Not thread-safe.
class TableValues {
 public:
  TableValues();
  ~TableValues();
  TableValues(TableValues&&) noexcept;
  TableValues& operator=(TableValues&&) noexcept;

  /// Of the key at this place. nullopt: no such key.
  Result<std::optional<std::string_view>> at(std::size_t place) const;

 private:
  friend class TableDirectory;
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

/// A sealed directory of table files, open for reading. Thread-safe. Cursors and values share ownership of it.
class TableDirectory : public std::enable_shared_from_this<TableDirectory> {
 public:
  /// Makes a new directory out of finished table files: `layers[0]` becomes the bottom, each further layer hides what
  /// lies under it. Files of one layer must not overlap. Files are taken over by hard link, so they must lie on the same
  /// file system and stay untouched; their bytes are never written to. `path` must not exist. What readers need is synced
  /// but for the names: sync `path` and its parent. An empty list of layers makes an empty directory. Returns, per layer
  /// and file, the name that the file has in the new directory.
  static Result<std::vector<std::vector<std::string>>> Build(const std::string& path,
                                                             const std::vector<std::vector<std::string>>& layers,
                                                             const std::shared_ptr<FileSystem>& files = nullptr);

  /// kDataLoss, naming the file, for a directory whose files are missing or damaged.
  static Result<std::shared_ptr<TableDirectory>> Open(const std::string& path, const TableCache& cache,
                                                      const std::shared_ptr<FileSystem>& files = nullptr);
  virtual ~TableDirectory();

  /// nullopt: no such key.
  virtual Result<std::optional<std::string>> Get(std::string_view key) const = 0;
  /// All keys at once, in any order, although ascending ones cost least: for many, far less than one after the other. Fills
  /// `values`, place by place; as many blocks stay in memory as it has values.
  void GetMany(const std::vector<std::string_view>& keys, TableValues* values) const;
  /// Whether the key exists; may answer from filters alone when it does not.
  virtual Result<bool> Contains(std::string_view key) const = 0;
  /// Records in [lower, upper), positioned before the first: Seek first. An empty `upper` means no bound. `scan`: the whole
  /// range will be read, so read ahead and leave the cache alone.
  virtual std::unique_ptr<TableCursor> NewCursor(std::string_view lower, std::string_view upper, bool scan) const = 0;
  /// Keys, ascending, that cut the records of several directories with a prefix into at most `parts` parts of about the same
  /// number of bytes; fewer where nearly all keys begin alike. Cost: some look-ups in the files' indexes, no records.
  static std::vector<std::string> Cuts(const std::vector<std::shared_ptr<const TableDirectory>>& directories,
                                       std::string_view prefix, std::size_t parts);
  /// File descriptors that it holds.
  virtual std::size_t open_files() const = 0;
};

}  // namespace vellum::storage
