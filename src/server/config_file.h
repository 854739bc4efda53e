#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "vellum/status.h"

namespace vellum::server {

/// One setting of a configuration file: the path of its key, joined by dots, and its value. A list's items are joined
/// by commas. Keys without a value are left out.
struct FileEntry {
  std::string key;
  std::string value;
};

/// Reads YAML (or JSON, which is YAML). kInvalidArgument, with the line, for what is neither, nests deeper than two
/// maps or gives a key twice.
Result<std::vector<FileEntry>> ParseConfigText(std::string_view text);

/// The same from a file of at most 1 MiB. kNotFound or kPermissionDenied name the file.
Result<std::vector<FileEntry>> ReadConfigFile(const std::string& path);

}  // namespace vellum::server
