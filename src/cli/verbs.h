#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

namespace CLI {
class App;
}

namespace vellum::cli {

/// The commands that talk to a running server: status, health, get, put, del, watch, compact, defrag, hashkv.
///
/// Exit codes: 0 done, 1 a negative answer (no such key, not healthy), 2 failed.
class Verbs {
 public:
  /// Adds the commands to `app`, which must outlive this object.
  explicit Verbs(CLI::App* app);
  ~Verbs();

  /// After parsing: runs the command that was given. Nullopt if it was none of these.
  /// `endpoints` were given before the command and beat those after it; empty: none were.
  std::optional<int> Run(const std::vector<std::string>& endpoints);

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace vellum::cli
