#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "storage/file_system.h"
#include "vellum/status.h"

namespace vellum::storage {

// Small files beside a database, through the same file system, so that the tests' one sees them too.
// `files` null: the machine's. Errors name the path; a full disk is kResourceExhausted with Reason::kNoSpace.

/// True if there is a file or directory with this name.
Result<bool> FileExists(FileSystem* files, const std::string& path);

/// Creates a directory and those above it that are missing, with rights for the owner only, durably.
Status CreateDirectories(FileSystem* files, const std::string& path);

/// The whole file. kNotFound; kDataLoss if it holds more than `bytes_max` bytes, which nobody wrote.
Result<std::string> ReadSmallFile(FileSystem* files, const std::string& path, std::size_t bytes_max = 1u << 20);

/// Replaces the file by `bytes`, durably: after a crash at any point it has its old content or the new one. Leaves at
/// worst "<path>.tmp" behind, which the next call overwrites.
Status WriteFileDurably(FileSystem* files, const std::string& path, std::string_view bytes);

/// Makes sure that the file occupies `bytes` bytes of the disk, so that removing it makes room. A file of that size or
/// more stays as it is. Writes the bytes.
Status ReserveFile(FileSystem* files, const std::string& path, std::uint64_t bytes);

/// Removes the file, durably. Absence is fine.
Status RemoveFile(FileSystem* files, const std::string& path);

/// Makes created, renamed and removed names in a directory durable.
Status SyncDirectory(FileSystem* files, const std::string& path);

/// Bytes that this process may still write on the disk that holds `path`.
Result<std::uint64_t> FreeSpace(FileSystem* files, const std::string& path);

}  // namespace vellum::storage
