#include "server/config_file.h"

#include <yaml-cpp/yaml.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <fstream>
#include <sstream>

#include "base/bytes.h"

namespace vellum::server {
namespace {

constexpr std::size_t kFileBytesMax = 1u << 20;

std::string At(const YAML::Node& node) { return "line " + std::to_string(node.Mark().line + 1); }

Result<std::string> ScalarText(const YAML::Node& node, const std::string& key) {
  if (node.IsScalar()) return node.Scalar();
  return InvalidArgument(At(node) + ": the value of \"" + Printable(key) +
                         "\" must be text, a number or a list of them");
}

Status Append(const YAML::Node& map, const std::string& prefix, int depth, std::vector<FileEntry>* entries) {
  for (const auto& item : map) {
    if (!item.first.IsScalar()) return InvalidArgument(At(item.first) + ": a key must be text");
    const std::string key = prefix + item.first.Scalar();
    const bool repeated =
        std::any_of(entries->begin(), entries->end(), [&key](const FileEntry& entry) { return entry.key == key; });
    if (repeated) return InvalidArgument(At(item.first) + ": \"" + Printable(key) + "\" is given twice");
    const YAML::Node& value = item.second;
    if (value.IsNull() || !value.IsDefined()) continue;
    if (value.IsMap()) {
      if (depth == 2) return InvalidArgument(At(value) + ": \"" + Printable(key) + "\" is nested too deeply");
      VELLUM_TRY(Append(value, key + ".", depth + 1, entries));
    } else if (value.IsSequence()) {
      std::string joined;
      for (const auto& each : value) {
        VELLUM_ASSIGN_OR_RETURN(const std::string text, ScalarText(each, key));
        joined += (joined.empty() ? "" : ",") + text;
      }
      if (!joined.empty()) entries->push_back({key, joined});
    } else {
      VELLUM_ASSIGN_OR_RETURN(std::string text, ScalarText(value, key));
      if (!text.empty()) entries->push_back({key, std::move(text)});
    }
  }
  return {};
}

}  // namespace

Result<std::vector<FileEntry>> ParseConfigText(std::string_view text) {
  if (text.size() > kFileBytesMax) return InvalidArgument("a configuration file has at most 1 MiB");
  std::vector<FileEntry> entries;
  try {
    const YAML::Node root = YAML::Load(std::string(text));
    if (!root.IsDefined() || root.IsNull()) return entries;
    if (!root.IsMap()) return InvalidArgument("the file must be a map of settings, such as \"name: value\"");
    VELLUM_TRY(Append(root, "", 1, &entries));
  } catch (const YAML::Exception& error) {
    // yaml-cpp's only way to say so; it ends here.
    return InvalidArgument("not YAML: " + std::string(error.what()));
  }
  return entries;
}

Result<std::vector<FileEntry>> ReadConfigFile(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  if (!file) {
    const std::string message = "cannot read configuration file " + Printable(path, 256) + ": " + std::strerror(errno);
    return errno == EACCES ? PermissionDenied(message) : NotFound(message);
  }
  std::string text(kFileBytesMax + 1, '\0');
  file.read(text.data(), static_cast<std::streamsize>(text.size()));
  if (file.bad() || (file.fail() && !file.eof())) {
    return InvalidArgument("cannot read configuration file " + Printable(path, 256));
  }
  text.resize(static_cast<std::size_t>(file.gcount()));
  Result<std::vector<FileEntry>> entries = ParseConfigText(text);
  if (!entries.ok()) return std::move(entries).error().WithContext("configuration file " + Printable(path, 256));
  return entries;
}

}  // namespace vellum::server
