#pragma once

#include <memory>

namespace vellum::storage {

/// The file operations under a Database. Opaque here; file_system.cc wraps RocksDB's. The tests' one, which fails the
/// n-th operation or drops what was not synced, is in fault_file_system.h.
class FileSystem {
 public:
  virtual ~FileSystem() = default;
};

/// The machine's.
std::shared_ptr<FileSystem> MachineFileSystem();

}  // namespace vellum::storage
