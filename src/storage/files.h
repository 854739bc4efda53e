#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

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

/// Makes the bytes of a file that nobody writes any more durable, not its name.
Status SyncFile(FileSystem* files, const std::string& path);

/// Makes created, renamed and removed names in a directory durable.
Status SyncDirectory(FileSystem* files, const std::string& path);

/// Creates one directory, unless it exists. Its name is durable after a sync of its parent.
Status CreateDirectory(FileSystem* files, const std::string& path);

/// Whether anything has this name.
Result<bool> Exists(FileSystem* files, const std::string& path);

/// Bytes. kNotFound if nothing has this name.
Result<std::uint64_t> FileSize(FileSystem* files, const std::string& path);

/// The names in a directory, sorted, without "." and "..". kNotFound if there is no such directory.
Result<std::vector<std::string>> ListDirectory(FileSystem* files, const std::string& path);

/// Sizes of all files in the directory and below, as far as they can be read. 0 for what is not there.
std::uint64_t DirectoryBytes(FileSystem* files, const std::string& path);

/// Shows all of a file piece by piece, front to back, until `visit` fails. Pieces are valid during the call.
Status ReadFile(FileSystem* files, const std::string& path, const std::function<Status(std::string_view piece)>& visit);

/// Gives a file or directory another name on the same device, taking the place of a file of that name. Durable after a
/// sync of the new name's directory. kNotFound if there is nothing to rename.
Status Rename(FileSystem* files, const std::string& from, const std::string& to);

/// Gives a file a second name. False where this device, or this pair of names, cannot have that: copy then.
Result<bool> LinkFile(FileSystem* files, const std::string& from, const std::string& to);

/// Copies a file and syncs the copy, not its name.
Status CopyFile(FileSystem* files, const std::string& from, const std::string& to);

/// Takes every right to write a file away: its bytes are final.
Status MakeReadOnly(const std::string& path);

/// Removes a file, if it is there.
Status RemoveFile(FileSystem* files, const std::string& path);

/// Removes a file or a directory with all that is in it, if it is there. Stops at the first failure; what remains can be
/// removed by another call. Two may do it at once.
Status RemoveTree(FileSystem* files, const std::string& path);

}  // namespace vellum::storage
