#include "server/process_metrics.h"

#include <gtest/gtest.h>

#include <chrono>

namespace vellum::server {
namespace {

TEST(ProcessUsage, LooksLikeThisProcess) {
  const ProcessUsage usage = ReadProcessUsage();
  EXPECT_GT(usage.resident_bytes, 1'000'000);
  EXPECT_GT(usage.virtual_bytes, usage.resident_bytes);
  EXPECT_GE(usage.open_descriptors, 3);
  EXPECT_GE(usage.descriptors_max, usage.open_descriptors);
  EXPECT_GE(usage.threads, 1);
  const auto now = std::chrono::duration<double>(std::chrono::system_clock::now().time_since_epoch()).count();
  EXPECT_NEAR(usage.start_time_s, now, 600);
}

TEST(ProcessMetrics, HasWhatDashboardsRead) {
  Metrics metrics;
  bool writable = true;
  const ProcessMetrics process(
      {.metrics = &metrics, .member_id = 0x8e9e05c52164694d, .writable = [&writable] { return writable; }});
  const std::string text = metrics.Expose();
  for (const std::string_view line :
       {"etcd_server_has_leader 1", "etcd_server_is_leader 1", "etcd_server_leader_changes_seen_total 0",
        "etcd_server_id{server_id=\"8e9e05c52164694d\"} 1", "etcd_cluster_version{cluster_version=\"3.6\"} 1",
        "etcd_server_version{server_version=\"3.6.16\"} 1", "etcd_network_peer_sent_bytes_total{To=\"0\"} 0",
        "etcd_network_peer_received_bytes_total{From=\"0\"} 0", "process_resident_memory_bytes ", "os_fd_used ",
        "process_cpu_seconds_total ", "vellum_build_info{"}) {
    EXPECT_NE(text.find(line), std::string::npos) << line;
  }
  writable = false;
  EXPECT_NE(metrics.Expose().find("\netcd_server_has_leader 0\n"), std::string::npos);
}

}  // namespace
}  // namespace vellum::server
