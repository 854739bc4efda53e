#include "server/version.h"

#include "server/build_info.h"
#include "server/git_commit.h"
#include "server/log_output.h"

namespace vellum::server {

std::string_view VellumVersion() { return kVellumVersion; }
std::string_view GitCommit() { return kGitCommit; }
std::string_view BuildType() { return kBuildType; }

std::string VersionText(const Components& components) {
  return "Vellum " + std::string(kVellumVersion) + "\n" + "speaks the protocol of etcd " + std::string(kEtcdVersion) +
         "\n" + "RocksDB " + components.rocksdb + "\n" + "nghttp2 " + components.nghttp2 + "\n" + "build " +
         std::string(kBuildType) + ", " + std::string(kCompiler) + ", " + std::string(kProcessor) + "\n" + "commit " +
         std::string(kGitCommit) + "\n";
}

std::string VersionJson(const Components& components) {
  const auto field = [](std::string_view name, std::string_view value) {
    return JsonString(name) + ":" + JsonString(value);
  };
  return "{" + field("vellum", kVellumVersion) + "," + field("etcd", kEtcdVersion) + "," +
         field("rocksdb", components.rocksdb) + "," + field("nghttp2", components.nghttp2) + "," +
         field("build", kBuildType) + "," + field("compiler", kCompiler) + "," + field("commit", kGitCommit) + "}\n";
}

std::string EtcdVersionText() {
  return "etcd Version: " + std::string(kEtcdVersion) + "\nGit SHA: " + std::string(kGitCommit) + " (Vellum " +
         std::string(kVellumVersion) + ")\nGo Version: none (C++20, " + std::string(kCompiler) +
         ")\nGo OS/Arch: linux/" +
         std::string(kProcessor == "x86_64"    ? "amd64"
                     : kProcessor == "aarch64" ? "arm64"
                                               : kProcessor) +
         "\n";
}

}  // namespace vellum::server
