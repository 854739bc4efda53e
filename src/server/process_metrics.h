#pragma once

#include <cstdint>
#include <functional>
#include <vector>

#include "base/metrics.h"

namespace vellum::server {

/// What the process itself has to say at /metrics: its memory, time and descriptors as every Prometheus client reports
/// them, its version, and the constants of a member that has nobody beside it (it leads, and sends nothing to peers).
/// Those who only ever read zeros here are dashboards made for clusters, which would otherwise show gaps.
class ProcessMetrics {
 public:
  struct Options {
    Metrics* metrics = nullptr;
    std::uint64_t member_id = 0;
    /// Whether writes are taken. A store that takes none any more is what etcd calls a member without a leader.
    std::function<bool()> writable;
  };
  /// `options.metrics`, and what `writable` uses, must outlive this object.
  explicit ProcessMetrics(const Options& options);

 private:
  std::vector<Metrics::CallbackHandle> callbacks_;
};

/// One reading of the running process, from /proc. What cannot be read is 0.
struct ProcessUsage {
  double cpu_seconds = 0;
  double resident_bytes = 0;
  double virtual_bytes = 0;
  double start_time_s = 0;  ///< Since 1970.
  double open_descriptors = 0;
  double descriptors_max = 0;
  double threads = 0;
};
ProcessUsage ReadProcessUsage();

}  // namespace vellum::server
