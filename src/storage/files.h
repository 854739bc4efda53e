#pragma once

#include <string>

#include "storage/file_system.h"
#include "vellum/status.h"

namespace vellum::storage {

/// Creates a directory and those above it that are missing, with rights for the owner only, and makes their names
/// durable: what is synced inside a directory does not survive power loss without the directory's own name.
/// `files` null: the machine's. Errors name the path; a full disk is kResourceExhausted with Reason::kNoSpace.
Status CreateDirectories(FileSystem* files, const std::string& path);

}  // namespace vellum::storage
