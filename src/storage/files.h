#pragma once

#include <cstddef>
#include <string>
#include <string_view>

#include "storage/file_system.h"
#include "vellum/status.h"

namespace vellum::storage {

/// Creates a directory and those above it that are missing, with rights for the owner only, and makes their names
/// durable: what is synced inside a directory does not survive power loss without the directory's own name.
/// `files` null: the machine's. Errors name the path; a full disk is kResourceExhausted with Reason::kNoSpace.
Status CreateDirectories(FileSystem* files, const std::string& path);

/// The whole file. kNotFound; kDataLoss if it holds more than `bytes_max` bytes, which nobody wrote.
Result<std::string> ReadSmallFile(FileSystem* files, const std::string& path, std::size_t bytes_max = 1u << 20);

/// Replaces the file by `bytes`, durably: after a crash at any point it has its old content or the new one. Leaves at
/// worst "<path>.tmp" behind, which the next call overwrites.
Status WriteFileDurably(FileSystem* files, const std::string& path, std::string_view bytes);

/// Makes created, renamed and removed names in a directory durable.
Status SyncDirectory(FileSystem* files, const std::string& path);

}  // namespace vellum::storage
