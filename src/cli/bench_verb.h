#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

namespace CLI {
class App;
}

namespace vellum::cli {

/// `vellum bench WORKLOAD`: puts load on any etcd v3 server and says what it took.
///
/// Exit codes: 0 done, 1 some calls failed, 2 could not run.
class BenchVerb {
 public:
  /// Adds the command to `app`, which must outlive this object.
  explicit BenchVerb(CLI::App* app);
  ~BenchVerb();

  /// After parsing: runs the command if it was given. `endpoints` were given before it; empty: none were.
  std::optional<int> Run(const std::vector<std::string>& endpoints);

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace vellum::cli
