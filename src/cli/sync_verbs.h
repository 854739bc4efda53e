#pragma once

#include <memory>
#include <optional>

namespace CLI {
class App;
}

namespace vellum::cli {

/// `vellum sync …` on a data directory, and `vellum c1z …` on files.
///
/// Exit codes: 0 done, 1 differences or problems found, 2 failed.
class SyncVerbs {
 public:
  /// Adds the commands to `app`, which must outlive this object.
  explicit SyncVerbs(CLI::App* app);
  ~SyncVerbs();

  /// After parsing: runs the command that was given. Nullopt if it was none of these.
  std::optional<int> Run();

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace vellum::cli
