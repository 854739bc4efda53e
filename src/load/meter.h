#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "load/load.h"

namespace vellum::load {

using SteadyClock = std::chrono::steady_clock;
using TimePoint = SteadyClock::time_point;

/// User and system time of a process in seconds; nullopt if it cannot be read.
std::optional<double> ProcessCpuSeconds(std::int64_t pid);
/// A line of /proc/PID/status that ends in kB, "VmRSS" for one, in MiB.
std::optional<double> ProcessMib(std::int64_t pid, const std::string& line);

/// Collects what one phase brings.
class Meter {
 public:
  Meter(std::string name, std::int64_t server_pid);

  void Start(TimePoint now);
  void Stop(TimePoint now);
  /// `operations` that ended now after `latency`.
  void Count(SteadyClock::duration latency, std::int64_t operations = 1);
  void CountFailure() { ++failed_; }
  /// Sorts what was collected.
  Phase Finish();

 private:
  const std::string name_;
  const std::int64_t server_pid_;
  TimePoint start_;
  double seconds_ = 0;
  std::int64_t operations_ = 0;
  std::int64_t failed_ = 0;
  std::optional<double> server_cpu_;
  double own_cpu_ = 0;
  std::vector<float> micros_;
};

}  // namespace vellum::load
