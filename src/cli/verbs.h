#pragma once

#include <memory>
#include <optional>

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
  std::optional<int> Run();

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace vellum::cli
