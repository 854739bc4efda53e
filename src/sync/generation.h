#pragma once

#include <array>
#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/mutex.h"
#include "storage/tables.h"
#include "sync/buckets.h"
#include "vellum/status.h"

namespace vellum::sync {

using GenerationId = std::string;

/// Where everything of the data plane is kept; null: the machine's.
using FileSystemPtr = std::shared_ptr<storage::FileSystem>;

/// A number modulo 2^128. Adding is commutative, so sums over parts of a bucket add up in any order.
struct Sum128 {
  std::uint64_t high = 0;
  std::uint64_t low = 0;

  void Add(const Sum128& other) {
    low += other.low;
    high += other.high + (low < other.low ? 1u : 0u);
  }
  void Subtract(const Sum128& other) {
    const std::uint64_t borrow = low < other.low ? 1u : 0u;
    low -= other.low;
    high -= other.high + borrow;
  }
  std::string ToHex() const;
  friend bool operator==(const Sum128&, const Sum128&) = default;
};

/// What a bucket holds in all. Records can be added and taken away again.
struct Totals {
  std::uint64_t records = 0;
  std::uint64_t bytes = 0;
  std::uint64_t stamp_min = 0;  ///< Over stamped records; 0: none. Taking away leaves the bounds: they stay bounds.
  std::uint64_t stamp_max = 0;
  Sum128 digest;            ///< XXH3-128 of (bucket, key length, key, value), summed. Record buckets only.
  Sum128 digest_unstamped;  ///< The same without the stamps.

  void Add(const BucketInfo& bucket, std::string_view key, std::string_view value);
  void Subtract(const BucketInfo& bucket, std::string_view key, std::string_view value);
  void Merge(const Totals& other);
};

struct GenerationFile {
  std::string name;
  Bucket bucket = Bucket::kResourceType;
  std::uint32_t layer = 0;
  std::uint64_t bytes = 0;
  std::string sha256;  ///< 32 raw bytes.
  std::uint64_t entries = 0;
  std::uint64_t deletions = 0;
};

/// The contents of GENERATION.
struct GenerationInfo {
  static constexpr std::uint32_t kFormat = 1;
  static constexpr std::uint32_t kIndexVersion = 1;

  GenerationId id;
  std::string operation;
  std::vector<GenerationId> parents;
  std::vector<GenerationFile> files;
  std::map<Bucket, Totals> totals;
  std::uint32_t layers = 1;
  std::uint64_t dead_bytes = 0;
  std::uint32_t index_version = kIndexVersion;

  /// Over all record buckets: equal for equal contents, however they were made.
  Sum128 Digest() const;
  Sum128 DigestUnstamped() const;
  std::uint64_t records(RecordType type) const;
  std::uint64_t records() const;
  std::uint64_t bytes() const;  ///< Of the files.

  std::string Encode() const;
  /// kFailedPrecondition for another format; kDataLoss for bytes that are no GENERATION. Any index version: Open looks at it.
  static Result<GenerationInfo> Decode(std::string_view bytes);
};

/// Entitlements without a record that grants name by an id that is not the conventional "type:id:..." one, so that no index
/// leads from that id to them: by id, the beginnings of their grants' keys.
using StrayEntitlements = std::multimap<std::string, std::string>;

/// A sealed generation, open for reading. Immutable; thread-safe; shared by pointer by all who read it.
class Generation {
 public:
  /// Reads GENERATION and opens the tables. `check_files`: compare each file's bytes with its SHA-256 first, for
  /// directories that come from elsewhere. kDataLoss for what is missing or damaged.
  /// kFailedPrecondition: its indexes are of another version.
  enum class Check : std::uint8_t { kTrust, kFiles };
  static Result<std::shared_ptr<const Generation>> Open(const std::string& path, const storage::TableCache& cache,
                                                        Check check = Check::kTrust, const FileSystemPtr& files = nullptr);

  const GenerationInfo& info() const { return info_; }
  const std::string& path() const { return path_; }
  const storage::TableDirectory& tables() const { return *tables_; }
  const FileSystemPtr& file_system() const { return files_; }
  std::string FilePath(const GenerationFile& file) const { return path_ + "/" + file.name; }

  /// All of a bucket in key order; the cursor stands on the first record.
  std::unique_ptr<storage::TableCursor> Scan(Bucket bucket) const;
  /// Worked out at the first call, with one look per resource that has grants and one per unconventional entitlement, and
  /// kept. Null where there are more than kStraysMax.
  Result<std::shared_ptr<const StrayEntitlements>> Strays() const;
  static constexpr std::size_t kStraysMax = 10'000;

  /// Everything with a prefix, in key order.
  std::unique_ptr<storage::TableCursor> ScanPrefix(std::string_view prefix) const;

 private:
  Generation() = default;
  GenerationInfo info_;
  std::string path_;
  FileSystemPtr files_;
  std::shared_ptr<storage::TableDirectory> tables_;
  mutable Mutex strays_mu_;
  mutable bool strays_known_ VELLUM_GUARDED_BY(strays_mu_) = false;
  mutable std::shared_ptr<const StrayEntitlements> strays_ VELLUM_GUARDED_BY(strays_mu_);
};

/// A table file that is ready to become part of a generation.
struct NewFile {
  std::string path;
  GenerationFile file;  ///< `name` is given by Assemble.
};

/// Writes the sorted records of one bucket into table files of about `file_bytes` each, counting and digesting.
/// Not thread-safe. Several may write different buckets of one generation at once.
class BucketWriter {
 public:
  BucketWriter(std::string directory, Bucket bucket, std::uint32_t layer, std::uint64_t file_bytes = 64u << 20,
               FileSystemPtr files = nullptr);
  ~BucketWriter();
  /// Ascending keys, bucket byte included.
  Status Put(std::string_view key, std::string_view value);
  /// Keeps its files apart from those of writers of the same bucket in the same directory. Before the first Put.
  void set_part(std::uint32_t part) { part_ = part; }
  /// Overlays only.
  Status Delete(std::string_view key);
  Status Finish();
  const Totals& totals() const { return totals_; }
  std::vector<NewFile> TakeFiles() { return std::move(files_); }

 private:
  Status Roll();
  Status EnsureOpen();

  const std::string directory_;
  const BucketInfo& bucket_;
  const std::uint32_t layer_;
  const std::uint64_t file_bytes_;
  const FileSystemPtr file_system_;
  std::uint32_t part_ = 0;
  std::unique_ptr<storage::TableWriter> writer_;
  std::string path_;
  std::vector<NewFile> files_;
  Totals totals_;
};

/// Puts a generation together at `path`, which must not exist: links the files of `info` (whose names are replaced by the
/// new ones), writes GENERATION by temporary file and rename, syncs everything but the parent. After it the
/// directory is complete and its files are read-only.
Status Assemble(const std::string& path, std::vector<NewFile> files, GenerationInfo* info,
                const FileSystemPtr& file_system = nullptr);

/// SHA-256 of a file, raw. Reads all of it.
Result<std::string> FileSha256(const std::string& path, const FileSystemPtr& files = nullptr);

}  // namespace vellum::sync
