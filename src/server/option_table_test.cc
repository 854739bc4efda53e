#include "server/option_table.h"

#include <gtest/gtest.h>

#include <set>
#include <sstream>

namespace vellum::server {
namespace {

TEST(OptionTable, RowsAreCompleteAndUnique) {
  std::set<std::string> names;
  std::set<std::string_view> file_keys;
  const Config defaults;
  for (const Option& option : Options()) {
    EXPECT_TRUE(names.insert(std::string(option.name)).second) << option.name;
    if (option.experimental) {
      EXPECT_TRUE(names.insert("experimental-" + std::string(option.name)).second) << option.name;
    }
    if (!option.file_key.empty()) {
      EXPECT_TRUE(file_keys.insert(option.file_key).second) << option.file_key;
    }
    EXPECT_FALSE(option.help.empty()) << option.name;
    EXPECT_EQ(option.kind == OptionKind::kSetting, option.target.index() != 0) << option.name;
    EXPECT_EQ(option.kind == OptionKind::kSetting, option.group != OptionGroup::kEtcdOnly) << option.name;
    if (option.kind != OptionKind::kSetting) continue;
    if (option.type == ValueType::kNumber || option.type == ValueType::kDuration) {
      EXPECT_LT(option.min, option.max) << option.name;
    }
    // A default that its own row would refuse could never be written down.
    Config config;
    const std::string value = OptionValue(option, defaults);
    EXPECT_TRUE(ApplyOption(option, value, ValueSyntax::kFlag, &config).ok()) << option.name << "=" << value;
    EXPECT_EQ(OptionValue(option, config), value) << option.name;
  }
}

// Of the releases 3.4 to 3.6.
constexpr char kFlagsOfEtcd[] =
    "name data-dir wal-dir snapshot-count heartbeat-interval election-timeout initial-election-tick-advance "
    "listen-peer-urls listen-client-urls listen-client-http-urls max-wals max-snapshots memory-mlock "
    "quota-backend-bytes backend-bbolt-freelist-type backend-batch-interval backend-batch-limit max-txn-ops "
    "max-request-bytes max-concurrent-streams grpc-keepalive-min-time grpc-keepalive-interval "
    "grpc-keepalive-timeout socket-reuse-port socket-reuse-address enable-grpc-gateway raft-read-timeout "
    "raft-write-timeout feature-gates initial-advertise-peer-urls initial-cluster initial-cluster-state "
    "initial-cluster-token advertise-client-urls strict-reconfig-check pre-vote auto-compaction-mode "
    "auto-compaction-retention discovery discovery-token discovery-endpoints discovery-dial-timeout "
    "discovery-request-timeout discovery-keepalive-time discovery-keepalive-timeout "
    "discovery-insecure-transport discovery-insecure-skip-tls-verify discovery-cert discovery-key "
    "discovery-cacert discovery-user discovery-password discovery-fallback discovery-proxy discovery-srv "
    "discovery-srv-name cert-file key-file client-cert-auth trusted-ca-file client-cert-file client-key-file "
    "client-crl-file client-cert-allowed-hostname auto-tls peer-cert-file peer-key-file peer-client-cert-auth "
    "peer-client-cert-file peer-client-key-file peer-trusted-ca-file peer-cert-allowed-cn "
    "peer-cert-allowed-hostname peer-auto-tls peer-crl-file self-signed-cert-validity cipher-suites cors "
    "host-whitelist tls-min-version tls-max-version auth-token bcrypt-cost auth-token-ttl enable-pprof "
    "metrics listen-metrics-urls logger log-outputs log-level log-format enable-log-rotation "
    "log-rotation-config-json warning-unary-request-duration enable-distributed-tracing "
    "distributed-tracing-address distributed-tracing-service-name distributed-tracing-instance-id "
    "distributed-tracing-sampling-rate corrupt-check-time compact-hash-check-time compaction-batch-limit "
    "compaction-sleep-interval peer-skip-client-san-verification watch-progress-notify-interval "
    "warning-apply-duration bootstrap-defrag-threshold-megabytes max-learners downgrade-check-time "
    "snapshot-catchup-entries force-new-cluster unsafe-no-fsync experimental-initial-corrupt-check "
    "experimental-corrupt-check-time experimental-compact-hash-check-enabled "
    "experimental-compact-hash-check-time experimental-enable-lease-checkpoint "
    "experimental-enable-lease-checkpoint-persist experimental-compaction-batch-limit "
    "experimental-compaction-sleep-interval experimental-peer-skip-client-san-verification "
    "experimental-watch-progress-notify-interval experimental-downgrade-check-time experimental-memory-mlock "
    "experimental-warning-apply-duration experimental-warning-unary-request-duration "
    "experimental-txn-mode-write-with-shared-buffer experimental-bootstrap-defrag-threshold-megabytes "
    "experimental-stop-grpc-service-on-defrag experimental-snapshot-catchup-entries "
    "experimental-enable-distributed-tracing experimental-distributed-tracing-address "
    "experimental-distributed-tracing-service-name experimental-distributed-tracing-instance-id "
    "experimental-distributed-tracing-sampling-rate experimental-backend-bbolt-freelist-type "
    "experimental-enable-v2v3 enable-v2 v2-deprecation proxy proxy-failure-wait proxy-refresh-interval "
    "proxy-dial-timeout proxy-write-timeout proxy-read-timeout debug log-package-levels ";

TEST(OptionTable, HasEveryFlagOfEtcd) {
  std::istringstream names(kFlagsOfEtcd);
  int count = 0;
  for (std::string name; names >> name; ++count) EXPECT_NE(FindOption(name), nullptr) << name;
  EXPECT_EQ(count, 147);
}

TEST(OptionTable, ChecksBoundsOfNumbersAndDurations) {
  Config config;
  const auto apply = [&config](std::string_view name, std::string_view value) {
    return ApplyOption(*FindOption(name), value, ValueSyntax::kFlag, &config);
  };
  EXPECT_TRUE(apply("max-txn-ops", "5").ok());
  EXPECT_EQ(config.engine.txn_ops_max, 5u);
  for (const auto& [name, value] :
       std::initializer_list<std::pair<std::string_view, std::string_view>>{{"max-txn-ops", "0"},
                                                                            {"max-txn-ops", "-1"},
                                                                            {"max-txn-ops", ""},
                                                                            {"max-txn-ops", "5x"},
                                                                            {"max-txn-ops", " 5"},
                                                                            {"max-txn-ops", "99999999999999999999"},
                                                                            {"max-concurrent-streams", "4294967296"},
                                                                            {"watch-progress-notify-interval", "1ms"},
                                                                            {"watch-progress-notify-interval", "5"},
                                                                            {"grpc-keepalive-timeout", "soon"},
                                                                            {"log-level", "loud"},
                                                                            {"unsafe-no-fsync", "yes"},
                                                                            {"metrics", ""}}) {
    const Status status = apply(name, value);
    EXPECT_EQ(status.code(), Code::kInvalidArgument) << name << "=" << value;
  }
  EXPECT_EQ(config.engine.txn_ops_max, 5u);
  EXPECT_TRUE(apply("max-concurrent-streams", "4294967295").ok());
  EXPECT_EQ(config.wire.concurrent_streams_max, 4'294'967'295u);
}

TEST(OptionTable, RoundsDurationsUp) {
  Config config;
  ASSERT_TRUE(ApplyOption(*FindOption("grpc-keepalive-timeout"), "1500ms", ValueSyntax::kFlag, &config).ok());
  EXPECT_EQ(config.wire.keepalive_timeout, std::chrono::seconds(2));
}

TEST(OptionTable, FindsNearNames) {
  EXPECT_EQ(NearestOption("max-tnx-ops"), "max-txn-ops");
  EXPECT_EQ(NearestOption("datadir"), "data-dir");
  EXPECT_EQ(NearestOption("zzzzzzzz"), "");
  EXPECT_EQ(NearestOption(std::string(1'000'000, 'a')), "");
}

TEST(OptionTable, NamesVariables) {
  EXPECT_EQ(EnvironmentName("max-txn-ops"), "ETCD_MAX_TXN_OPS");
  EXPECT_EQ(EnvironmentName("enable-v2"), "ETCD_ENABLE_V2");
}

}  // namespace
}  // namespace vellum::server
