#pragma once

#include <string>
#include <string_view>

namespace vellum::server {

/// The release of etcd whose protocol is spoken: what Status, /version and etcd --version say.
inline constexpr std::string_view kEtcdVersion = "3.6.16";
inline constexpr std::string_view kEtcdClusterVersion = "3.6.0";
inline constexpr std::string_view kEtcdClusterVersionShort = "3.6";
inline constexpr std::string_view kEtcdStorageVersion = "3.6.0";

/// "0.1.0".
std::string_view VellumVersion();
/// The commit that was built, shortened, or "unknown" outside a repository.
std::string_view GitCommit();
/// "Release", "Debug" ...
std::string_view BuildType();

/// The libraries whose versions are known only when the program runs.
struct Components {
  std::string rocksdb;
  std::string nghttp2;
};

Components FindComponents();

/// What `vellum version` prints: one fact a line.
std::string VersionText(const Components& components);
/// The same as one JSON object.
std::string VersionJson(const Components& components);
/// etcd's four lines, each true: there is no Go in it, and it says so.
std::string EtcdVersionText();

}  // namespace vellum::server
