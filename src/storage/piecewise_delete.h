#pragma once

#include <rocksdb/file_system.h>

#include <cstdint>
#include <string>

namespace vellum::storage {

/// How much of a large file is given back to the disk at once. Where a file system tells the disk what is free
/// (`discard`), a disk may take 8 ms for 64 MiB, and nothing else gets through meanwhile: a sync of the log waits.
constexpr std::uint64_t kDeletePieceBytes = 2u << 20;

/// Removes a file as FileSystem::DeleteFile does, and gives back the space of a large one piece by piece. The name goes
/// first, durably, so that neither a crash nor power loss ever shows a file that lacks its end; what is left over when
/// the process dies goes with it at once. A file that has other names, or whose name cannot be made to go durably, is
/// only removed.
///
/// For files that nobody reads any more. Waits for the disk, as long as removing the file at once takes.
rocksdb::IOStatus DeletePiecewise(rocksdb::FileSystem* files, const std::string& name,
                                  const rocksdb::IOOptions& options, rocksdb::IODebugContext* debug);

}  // namespace vellum::storage
