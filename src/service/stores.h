#pragma once

#include <memory>
#include <string>

#include "kv/engine.h"
#include "sync/kv_catalog.h"
#include "sync/memory_catalog.h"
#include "sync/store.h"

/// Where syncs lie: a data directory with its metadata plane, or a directory for the time of one deed.
namespace vellum::service {

/// A data directory that this process has for itself: the metadata plane and the syncs in it.
class DataDirectory {
 public:
  enum class IfMissing : std::uint8_t { kFail, kCreate };
  /// kFailedPrecondition naming the directory, and what to do instead, if a server or another tool holds it.
  static Result<std::unique_ptr<DataDirectory>> Open(const std::string& path, IfMissing if_missing);
  ~DataDirectory();
  sync::Store* store() const { return store_.get(); }

 private:
  DataDirectory() = default;
  std::unique_ptr<kv::Engine> engine_;
  std::unique_ptr<sync::KvCatalog> catalog_;
  std::unique_ptr<sync::Store> store_;
};

/// An empty directory for the time of one deed, among the system's temporary ones.
class ScratchDirectory {
 public:
  static Result<std::unique_ptr<ScratchDirectory>> Make();
  ~ScratchDirectory();
  const std::string& path() const { return path_; }

 private:
  explicit ScratchDirectory(std::string path) : path_(std::move(path)) {}
  const std::string path_;
};

/// A store without a metadata plane: nothing of it is to outlive the deed that it is for.
class ScratchStore {
 public:
  /// In a directory of its own under `beside` (the present one if empty), so that files can be linked or renamed to where they
  /// are going; it goes with this object.
  static Result<std::unique_ptr<ScratchStore>> MakeBeside(const std::string& beside);
  /// In `directory`, which stays.
  static Result<std::unique_ptr<ScratchStore>> OpenIn(const std::string& directory);
  ~ScratchStore();
  sync::Store* store() const { return store_.get(); }
  const std::string& directory() const { return directory_; }

 private:
  explicit ScratchStore(std::string directory, bool owns) : directory_(std::move(directory)), owns_(owns) {}
  Status Open();
  const std::string directory_;
  const bool owns_;
  sync::MemoryCatalog catalog_;
  std::unique_ptr<sync::Store> store_;
};

}  // namespace vellum::service
