#include "load/meter.h"

#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <fstream>
#include <sstream>
#include <utility>

namespace vellum::load {
namespace {

double OwnCpuSeconds() {
  rusage usage{};
  ::getrusage(RUSAGE_SELF, &usage);
  const auto seconds = [](const timeval& time) {
    return static_cast<double>(time.tv_sec) + static_cast<double>(time.tv_usec) * 1e-6;
  };
  return seconds(usage.ru_utime) + seconds(usage.ru_stime);
}

// `sorted` is not empty.
double Quantile(const std::vector<float>& sorted, double share) {
  const auto index = static_cast<std::size_t>(share * static_cast<double>(sorted.size()));
  return sorted[std::min(index, sorted.size() - 1)];
}

}  // namespace

std::optional<double> ProcessCpuSeconds(std::int64_t pid) {
  std::ifstream file("/proc/" + std::to_string(pid) + "/stat");
  std::string text;
  std::getline(file, text);
  // The second field is a name that may hold blanks and parentheses.
  const std::size_t name_end = text.rfind(')');
  if (name_end == std::string::npos) return std::nullopt;
  std::istringstream fields(text.substr(name_end + 1));
  std::string skipped;
  for (int i = 3; i < 14; ++i) fields >> skipped;
  double user = 0;
  double system = 0;
  if (!(fields >> user >> system)) return std::nullopt;
  return (user + system) / static_cast<double>(::sysconf(_SC_CLK_TCK));
}

std::optional<double> ProcessMib(std::int64_t pid, const std::string& line) {
  std::ifstream file("/proc/" + std::to_string(pid) + "/status");
  std::string text;
  while (std::getline(file, text)) {
    if (text.starts_with(line + ":")) return std::stod(text.substr(line.size() + 1)) / 1024;
  }
  return std::nullopt;
}

Meter::Meter(std::string name, std::int64_t server_pid) : name_(std::move(name)), server_pid_(server_pid) {}

void Meter::Start(TimePoint now) {
  start_ = now;
  if (server_pid_ != 0) server_cpu_ = ProcessCpuSeconds(server_pid_);
  own_cpu_ = OwnCpuSeconds();
}

void Meter::Stop(TimePoint now) {
  seconds_ = std::chrono::duration<double>(now - start_).count();
  const std::optional<double> cpu = server_cpu_ ? ProcessCpuSeconds(server_pid_) : std::nullopt;
  server_cpu_ = cpu ? std::optional<double>(*cpu - *server_cpu_) : std::nullopt;
  own_cpu_ = OwnCpuSeconds() - own_cpu_;
}

void Meter::Count(SteadyClock::duration latency, std::int64_t operations) {
  operations_ += operations;
  micros_.push_back(std::chrono::duration<float, std::micro>(latency).count());
}

Phase Meter::Finish() {
  Phase phase;
  phase.name = name_;
  phase.operations = operations_;
  phase.failed = failed_;
  phase.seconds = seconds_;
  const auto count = static_cast<double>(std::max<std::int64_t>(1, operations_));
  if (server_cpu_) phase.server_cpu_us = *server_cpu_ * 1e6 / count;
  phase.own_cpu_us = own_cpu_ * 1e6 / count;
  if (micros_.empty()) return phase;
  std::sort(micros_.begin(), micros_.end());
  phase.latencies = {Quantile(micros_, 0.5), Quantile(micros_, 0.9), Quantile(micros_, 0.99), Quantile(micros_, 0.999),
                     micros_.back()};
  return phase;
}

}  // namespace vellum::load
