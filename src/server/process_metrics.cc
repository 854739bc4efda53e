#include "server/process_metrics.h"

#include <dirent.h>
#include <sys/resource.h>
#include <unistd.h>

#include <array>
#include <fstream>
#include <memory>
#include <sstream>
#include <string>
#include <utility>

#include "server/version.h"
#include "storage/database.h"

namespace vellum::server {
namespace {

std::string ReadAll(const char* path) {
  std::ifstream file(path);
  std::ostringstream text;
  text << file.rdbuf();
  return text.str();
}

double CountDescriptors() {
  const std::unique_ptr<DIR, int (*)(DIR*)> directory(opendir("/proc/self/fd"), &closedir);
  if (directory == nullptr) return 0;
  int count = -3;  // ".", ".." and the directory itself
  while (readdir(directory.get()) != nullptr) ++count;
  return count;
}

double BootTime() {
  std::istringstream lines(ReadAll("/proc/stat"));
  std::string word;
  while (lines >> word) {
    double seconds = 0;
    if (word == "btime" && lines >> seconds) return seconds;
  }
  return 0;
}

std::string Hex(std::uint64_t number) {
  constexpr std::string_view kDigits = "0123456789abcdef";
  std::string text;
  for (; number != 0 || text.empty(); number >>= 4) text.insert(text.begin(), kDigits[number & 15]);
  return text;
}

struct Constant {
  const char* name;
  const char* help;
  double value;
};
constexpr std::array kGauges{
    Constant{"etcd_server_is_learner", "Whether or not this member is a learner. 1 if is, 0 otherwise.", 0},
    Constant{"etcd_server_snapshot_apply_in_progress_total",
             "1 if the server is applying the incoming snapshot. 0 if none.", 0},
};
constexpr std::array kCounters{
    Constant{"etcd_server_leader_changes_seen_total", "The number of leader changes seen.", 0},
    Constant{"etcd_server_heartbeat_send_failures_total", "The total number of leader heartbeat send failures.", 0},
    Constant{"etcd_server_read_indexes_failed_total", "The total number of failed read indexes seen.", 0},
    Constant{"etcd_server_slow_read_indexes_total",
             "The total number of pending read indexes not in sync with leader's.", 0},
    Constant{"etcd_server_learner_promote_successes", "The total number of successful learner promotions.", 0},
};
constexpr std::array<std::pair<const char*, const char*>, 4> kPeerCounters{{
    {"etcd_network_peer_sent_bytes_total", "To"},
    {"etcd_network_peer_received_bytes_total", "From"},
    {"etcd_network_peer_sent_failures_total", "To"},
    {"etcd_network_peer_received_failures_total", "From"},
}};

void AddConstants(Metrics* metrics, std::uint64_t member_id) {
  for (const Constant& constant : kGauges) metrics->AddGauge(constant.name, constant.help).Set(constant.value);
  for (const Constant& constant : kCounters) metrics->AddCounter(constant.name, constant.help);
  for (const auto& [name, label] : kPeerCounters) {
    metrics->AddCounter(name, "Traffic with peers, of which there are none.", {{label, "0"}});
  }
  metrics->AddHistogram("etcd_network_peer_round_trip_time_seconds",
                        "Round-trip times to peers, of which there are none.", ExponentialBuckets(0.0001, 2, 16),
                        {{"To", "0"}});
  metrics
      ->AddGauge("etcd_server_version", "Which version is running. 1 for 'server_version' label with current version.",
                 {{"server_version", std::string(kEtcdVersion)}})
      .Set(1);
  metrics
      ->AddGauge("etcd_cluster_version",
                 "Which version is running. 1 for 'cluster_version' label with current cluster version",
                 {{"cluster_version", std::string(kEtcdClusterVersionShort)}})
      .Set(1);
  metrics
      ->AddGauge("etcd_server_id",
                 "Server or member ID in hexadecimal format. 1 for 'server_id' label with current ID.",
                 {{"server_id", Hex(member_id)}})
      .Set(1);
  metrics
      ->AddGauge("vellum_build_info", "Vellum's own version, and what it was built with. Always 1.",
                 {{"version", std::string(VellumVersion())},
                  {"commit", std::string(GitCommit())},
                  {"build", std::string(BuildType())},
                  {"rocksdb", storage::Database::EngineVersion()}})
      .Set(1);
}

}  // namespace

ProcessUsage ReadProcessUsage() {
  ProcessUsage usage;
  // "pid (name) state ..." where the name may hold anything, so the fields are counted from the last bracket.
  const std::string stat = ReadAll("/proc/self/stat");
  if (const std::size_t bracket = stat.rfind(')'); bracket != std::string::npos) {
    std::istringstream fields(stat.substr(bracket + 1));
    std::array<double, 22> value{};
    std::string state;
    fields >> state;
    for (double& each : value) fields >> each;
    const auto ticks = static_cast<double>(sysconf(_SC_CLK_TCK));
    usage.cpu_seconds = (value[10] + value[11]) / ticks;
    usage.threads = value[16];
    usage.start_time_s = BootTime() + value[18] / ticks;
    usage.virtual_bytes = value[19];
    usage.resident_bytes = value[20] * static_cast<double>(sysconf(_SC_PAGESIZE));
  }
  usage.open_descriptors = CountDescriptors();
  rlimit limit{};
  if (getrlimit(RLIMIT_NOFILE, &limit) == 0) usage.descriptors_max = static_cast<double>(limit.rlim_cur);
  return usage;
}

ProcessMetrics::ProcessMetrics(const Options& options) {
  AddConstants(options.metrics, options.member_id);
  const auto add = [&](Metrics::Kind kind, const char* name, const char* help, double ProcessUsage::*field) {
    callbacks_.push_back(options.metrics->AddCallback(kind, name, help, [field] { return ReadProcessUsage().*field; }));
  };
  using enum Metrics::Kind;
  const auto lead = [writable = options.writable] { return writable() ? 1.0 : 0.0; };
  callbacks_.push_back(options.metrics->AddCallback(
      kGauge, "etcd_server_has_leader",
      "Whether or not a leader exists. 1 is existence, 0 is not: writes are not taken.", lead));
  callbacks_.push_back(options.metrics->AddCallback(
      kGauge, "etcd_server_is_leader", "Whether or not this member is a leader. 1 if is, 0 otherwise.", lead));
  add(kCounter, "process_cpu_seconds_total", "Total user and system CPU time spent in seconds.",
      &ProcessUsage::cpu_seconds);
  add(kGauge, "process_resident_memory_bytes", "Resident memory size in bytes.", &ProcessUsage::resident_bytes);
  add(kGauge, "process_virtual_memory_bytes", "Virtual memory size in bytes.", &ProcessUsage::virtual_bytes);
  add(kGauge, "process_start_time_seconds", "Start time of the process since unix epoch in seconds.",
      &ProcessUsage::start_time_s);
  add(kGauge, "process_open_fds", "Number of open file descriptors.", &ProcessUsage::open_descriptors);
  add(kGauge, "process_max_fds", "Maximum number of open file descriptors.", &ProcessUsage::descriptors_max);
  add(kGauge, "process_threads", "Number of threads.", &ProcessUsage::threads);
  add(kGauge, "os_fd_used", "The number of used file descriptors.", &ProcessUsage::open_descriptors);
  add(kGauge, "os_fd_limit", "The file descriptor limit.", &ProcessUsage::descriptors_max);
}

}  // namespace vellum::server
