#pragma once

#include <memory>
#include <string>

#include "storage/file_system.h"
#include "vellum/status.h"

namespace rocksdb {
class Env;
}

namespace vellum::storage {

/// The surroundings in which a new directory takes finished table files over. RocksDB alone is not careful enough there:
///
/// - It opens each file for appending, only to sync it. Ours are synced already, and sealed ones are read-only, which
///   whoever is not root cannot open so: it is told that this is not possible, and does without.
/// - It reads the first and the last key of each file. Where the first cannot be read it goes on with a file that has no
///   keys, whose records are hidden for good; where the last cannot be read it ends the process. So both are read here
///   first, and it is given what was read then.
/// - It syncs each of its own small files, and the directory, a dozen times, although nobody looks at the directory before it is
///   complete. Here nothing is synced: whoever puts the directory together does it once, at the end.
///
/// Not thread-safe, but RocksDB's own threads may use what it hands out.
class SealedFiles {
 public:
  /// `files` null: the machine's.
  explicit SealedFiles(std::shared_ptr<FileSystem> files);
  ~SealedFiles();
  SealedFiles(const SealedFiles&) = delete;
  SealedFiles& operator=(const SealedFiles&) = delete;

  /// For the database that takes the files over. Valid as long as this object.
  rocksdb::Env* env() const;

  /// Reads both ends of a table file and remembers the blocks. kDataLoss for a damaged one. Cost: a few reads; up to half
  /// a megabyte stays in memory until Forget.
  Status ReadEnds(const std::string& path);
  /// OK unless a read failed that RocksDB may have taken lightly.
  Status status() const;
  void Forget();

 private:
  struct Impl;
  const std::unique_ptr<Impl> impl_;
};

}  // namespace vellum::storage
