#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

namespace CLI {
class App;
}

namespace vellum::cli {

/// `vellum sync …` on a data directory or a running server, and `vellum c1z …` on files.
///
/// Exit codes: 0 done, 1 differences or problems found, 2 failed.
class SyncVerbs {
 public:
  /// Adds the commands to `app`, which must outlive this object.
  explicit SyncVerbs(CLI::App* app);
  ~SyncVerbs();

  /// After parsing: runs the command that was given. Nullopt if it was none of these.
  /// `endpoints` were given before the command; empty: none were.
  std::optional<int> Run(const std::vector<std::string>& endpoints);

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace vellum::cli
