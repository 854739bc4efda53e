#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "kv/engine.h"
#include "sync/kv_catalog.h"
#include "sync/operations.h"
#include "syncs/data.h"
#include "syncs/yardstick.h"

/// What a row of the table is made of. Each file of workloads adds its own; main.cc runs them in processes of their own.
namespace vellum::bench {

/// Where one workload lies: an empty directory at first, the same one for all of its steps.
struct Place {
  std::string directory;
  double scale = 1.0;
  int round = 0;
  std::string vellum_program;  ///< For work that is the command's.

  std::string Path(const std::string& name) const { return directory + "/" + name; }
  std::uint64_t Scaled(std::uint64_t count) const {
    return std::max<std::uint64_t>(1, static_cast<std::uint64_t>(static_cast<double>(count) * scale));
  }
};

/// What was measured of one run: only what lies between Start and Stop counts.
class Measure {
 public:
  void Start();
  void Stop();
  void set_rows(std::uint64_t rows) { rows_ = rows; }
  /// A process that did the work instead of this one: its peak memory.
  void set_peak_bytes(std::uint64_t bytes) { peak_bytes_ = bytes; }
  /// One line of JSON for the parent.
  std::string ToJson() const;

 private:
  std::uint64_t rows_ = 0;
  std::uint64_t peak_bytes_ = 0;
  double seconds_ = 0;
  double cpu_seconds_ = 0;
  std::uint64_t bytes_written_ = 0;
  double began_ = 0;
  double cpu_began_ = 0;
  std::uint64_t written_before_ = 0;
};

/// Two ways of doing the same. Every step runs in a process of its own, so that peak memory is its own: preparing once, then
/// the two ways in turn, each round once.
struct Workload {
  using Step = std::function<Status(const Place&)>;
  using Timed = std::function<Status(const Place&, Measure*)>;
  std::string_view name;
  std::string_view what;
  std::string_view goal;
  Step prepare;            ///< Of Vellum. May be empty.
  Timed vellum;
  Step prepare_yardstick;  ///< May be empty.
  Timed yardstick;         ///< Empty: there is nothing to compare with.
};

std::vector<Workload> IngestWorkloads();
std::vector<Workload> WriteWorkloads();  ///< Those of IngestWorkloads too.
std::vector<Workload> CompactWorkloads();
std::vector<Workload> MergeWorkloads();
std::vector<Workload> ReadWorkloads();
std::vector<Workload> AskWorkloads();
std::vector<Workload> FileWorkloads();
std::vector<Workload> V3FileWorkloads();

/// Runs the command, its output to nowhere, and takes over its peak memory.
Status RunCommand(const std::vector<std::string>& words, Measure* measure);

/// A data directory with its syncs, as the command opens it.
class DataDir {
 public:
  /// `cache_bytes` 0: what is usual.
  static Result<std::unique_ptr<DataDir>> Open(const std::string& path, std::size_t cache_bytes = 0);
  ~DataDir();
  sync::Store* store() const { return store_.get(); }

 private:
  std::unique_ptr<kv::Engine> engine_;
  std::unique_ptr<sync::KvCatalog> catalog_;
  std::unique_ptr<sync::Store> store_;
};

/// Writes and seals a sync.
Status WriteSync(sync::Store* store, const std::string& id, const Shape& shape, const std::string& type = "full");
/// An empty one, for a merge to fill.
Status WriteEmpty(sync::Store* store, const std::string& id);

}  // namespace vellum::bench
