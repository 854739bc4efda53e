#include "server/option_rows.h"

namespace vellum::server {
namespace {

using enum ValueType;

// Reasons that many rows share.
constexpr std::string_view kNoRaft = "one member, no raft";
constexpr std::string_view kNoPeers = "there are no peers";
constexpr std::string_view kNoBolt = "the storage is RocksDB, not bbolt";
constexpr std::string_view kNoTls = "this version of Vellum serves no TLS";
constexpr std::string_view kNoDiscovery = "Vellum is one member and joins no cluster";
constexpr std::string_view kNoDiscoveryUsed = "nothing is discovered";
constexpr std::string_view kNoV2 = "etcd's v2 API is not served";
constexpr std::string_view kNoProxy = "the v2 proxy is not there";
constexpr std::string_view kNoAuth = "this version of Vellum has no users and roles";
constexpr std::string_view kNoTracing = "traces are not exported";
constexpr std::string_view kReclaim = "history is reclaimed by files; see --reclaim-bytes-per-second";
constexpr std::string_view kChecksums = "every block has a checksum that is checked when it is read";
constexpr std::string_view kRotation = "rotate with logrotate; SIGHUP opens the files anew";

constexpr Option Ignored(std::string_view name, ValueType type, std::string_view why, bool experimental = false,
                         std::string_view file_key = {}) {
  return {.name = name,
          .kind = OptionKind::kNoMeaning,
          .type = type,
          .experimental = experimental,
          .file_key = file_key,
          .help = why};
}

constexpr Option Refused(std::string_view name, ValueType type, std::string_view why, std::string_view harmless = {},
                         std::string_view file_key = {}) {
  return {.name = name,
          .kind = OptionKind::kRefused,
          .type = type,
          .file_key = file_key,
          .help = why,
          .harmless = harmless};
}

// One row, one or a few lines: a table is read down its columns.
// clang-format off
constexpr Option kRows[] = {
    // Member.
    Ignored("wal-dir", kText, "the write-ahead log lies in the data directory"),
    Ignored("snapshot-count", kNumber, kNoRaft),
    Ignored("snapshot-catchup-entries", kNumber, kNoRaft, true),
    Ignored("heartbeat-interval", kNumber, kNoRaft),
    Ignored("election-timeout", kNumber, kNoRaft),
    Ignored("initial-election-tick-advance", kBool, kNoRaft),
    Ignored("listen-peer-urls", kList, kNoPeers),
    Ignored("max-wals", kNumber, "the write-ahead log is bounded in bytes"),
    Ignored("max-snapshots", kNumber, "there are no snapshot files"),
    Ignored("memory-mlock", kBool, "memory is not locked", true),
    Ignored("backend-bbolt-freelist-type", kText, kNoBolt, true),
    Ignored("backend-batch-interval", kDuration, kNoBolt),
    Ignored("backend-batch-limit", kNumber, kNoBolt),
    Ignored("bootstrap-defrag-threshold-megabytes", kNumber, "space is returned without defragmenting", true),
    Ignored("enable-grpc-gateway", kBool, "the JSON gateway is not served yet"),
    Ignored("raft-read-timeout", kDuration, kNoRaft),
    Ignored("raft-write-timeout", kDuration, kNoRaft),
    Ignored("feature-gates", kText, "none of etcd's feature gates exists here"),

    // Clustering.
    Refused("initial-cluster", kText, "it names several members, and Vellum is one", "@single"),
    Ignored("initial-cluster-state", kText, kNoPeers),
    Ignored("initial-cluster-token", kText, kNoPeers),
    Ignored("strict-reconfig-check", kBool, kNoPeers),
    Ignored("pre-vote", kBool, kNoRaft),
    Ignored("max-learners", kNumber, kNoPeers, true),
    Ignored("downgrade-check-time", kDuration, "there is no cluster to downgrade", true),
    Refused("discovery", kText, kNoDiscovery),
    Refused("discovery-endpoints", kText, kNoDiscovery, {}, "discovery-config.endpoints"),
    Refused("discovery-token", kText, kNoDiscovery, {}, "discovery-config.token"),
    Refused("discovery-srv", kText, kNoDiscovery),
    Ignored("discovery-srv-name", kText, kNoDiscoveryUsed),
    Ignored("discovery-fallback", kText, kNoDiscoveryUsed),
    Ignored("discovery-proxy", kText, kNoDiscoveryUsed),
    Ignored("discovery-dial-timeout", kDuration, kNoDiscoveryUsed),
    Ignored("discovery-request-timeout", kDuration, kNoDiscoveryUsed),
    Ignored("discovery-keepalive-time", kDuration, kNoDiscoveryUsed),
    Ignored("discovery-keepalive-timeout", kDuration, kNoDiscoveryUsed),
    Ignored("discovery-insecure-transport", kBool, kNoDiscoveryUsed),
    Ignored("discovery-insecure-skip-tls-verify", kBool, kNoDiscoveryUsed),
    Ignored("discovery-cert", kText, kNoDiscoveryUsed),
    Ignored("discovery-key", kText, kNoDiscoveryUsed),
    Ignored("discovery-cacert", kText, kNoDiscoveryUsed),
    Ignored("discovery-user", kText, kNoDiscoveryUsed),
    Ignored("discovery-password", kText, kNoDiscoveryUsed),

    // Security.
    Refused("cert-file", kText, kNoTls, {}, "client-transport-security.cert-file"),
    Refused("key-file", kText, kNoTls, {}, "client-transport-security.key-file"),
    Refused("client-cert-auth", kBool, kNoTls, "false", "client-transport-security.client-cert-auth"),
    Refused("trusted-ca-file", kText, kNoTls, {}, "client-transport-security.trusted-ca-file"),
    Refused("client-cert-file", kText, kNoTls, {}, "client-transport-security.client-cert-file"),
    Refused("client-key-file", kText, kNoTls, {}, "client-transport-security.client-key-file"),
    Refused("client-crl-file", kText, kNoTls, {}, "client-transport-security.client-crl-file"),
    Refused("client-cert-allowed-hostname", kText, kNoTls, {}, "client-transport-security.allowed-hostname"),
    Refused("auto-tls", kBool, kNoTls, "false", "client-transport-security.auto-tls"),
    Ignored("peer-cert-file", kText, kNoPeers, false, "peer-transport-security.cert-file"),
    Ignored("peer-key-file", kText, kNoPeers, false, "peer-transport-security.key-file"),
    Ignored("peer-client-cert-auth", kBool, kNoPeers, false, "peer-transport-security.client-cert-auth"),
    Ignored("peer-client-cert-file", kText, kNoPeers, false, "peer-transport-security.client-cert-file"),
    Ignored("peer-client-key-file", kText, kNoPeers, false, "peer-transport-security.client-key-file"),
    Ignored("peer-trusted-ca-file", kText, kNoPeers, false, "peer-transport-security.trusted-ca-file"),
    Ignored("peer-cert-allowed-cn", kText, kNoPeers, false, "peer-transport-security.allowed-cn"),
    Ignored("peer-cert-allowed-hostname", kText, kNoPeers, false, "peer-transport-security.allowed-hostname"),
    Ignored("peer-auto-tls", kBool, kNoPeers, false, "peer-transport-security.auto-tls"),
    Ignored("peer-crl-file", kText, kNoPeers, false, "peer-transport-security.client-crl-file"),
    Ignored("peer-skip-client-san-verification", kBool, kNoPeers, true,
            "peer-transport-security.skip-client-san-verification"),
    Ignored("self-signed-cert-validity", kNumber, kNoTls),
    Ignored("cipher-suites", kList, kNoTls),
    Ignored("tls-min-version", kText, kNoTls),
    Ignored("tls-max-version", kText, kNoTls),
    Ignored("cors", kText, "no page of another origin may read the answers"),
    Refused("host-whitelist", kText, "this version of Vellum does not check the Host of requests", "*"),

    // Users.
    Refused("auth-token", kText, "this version of Vellum has no users and roles", "simple"),
    Ignored("bcrypt-cost", kNumber, kNoAuth),
    Ignored("auth-token-ttl", kNumber, kNoAuth),

    // Logs and monitoring.
    Ignored("enable-pprof", kBool, "there are no Go profiles to serve"),
    Ignored("logger", kText, "there is one logger"),
    Ignored("debug", kBool, "use --log-level=debug"),
    Ignored("log-package-levels", kText, "use --log-level"),
    Ignored("enable-log-rotation", kBool, kRotation),
    Ignored("log-rotation-config-json", kText, kRotation),
    Ignored("enable-distributed-tracing", kBool, kNoTracing, true),
    Ignored("distributed-tracing-address", kText, kNoTracing, true),
    Ignored("distributed-tracing-service-name", kText, kNoTracing, true),
    Ignored("distributed-tracing-instance-id", kText, kNoTracing, true),
    Ignored("distributed-tracing-sampling-rate", kNumber, kNoTracing, true),
    Ignored("warning-apply-duration", kDuration, "use --warning-unary-request-duration", true),

    // Features.
    Ignored("corrupt-check-time", kDuration, kChecksums, true),
    Ignored("compact-hash-check-time", kDuration, kNoPeers, true),
    Ignored("experimental-compact-hash-check-enabled", kBool, kNoPeers),
    Ignored("experimental-initial-corrupt-check", kBool, kChecksums),
    Ignored("compaction-batch-limit", kNumber, kReclaim, true),
    Ignored("compaction-sleep-interval", kDuration, kReclaim, true),
    Ignored("experimental-enable-lease-checkpoint", kBool, "the time that leases have left is always stored"),
    Ignored("experimental-enable-lease-checkpoint-persist", kBool, "the time that leases have left is always stored"),
    Ignored("experimental-txn-mode-write-with-shared-buffer", kBool, kNoBolt),
    Ignored("experimental-stop-grpc-service-on-defrag", kBool, "defragmentation does not stop the service"),
    Ignored("experimental-enable-v2v3", kText, kNoV2),
    Ignored("enable-v2", kBool, kNoV2),
    Ignored("v2-deprecation", kText, kNoV2),
    Refused("proxy", kText, kNoProxy, "off"),
    Ignored("proxy-failure-wait", kNumber, kNoProxy),
    Ignored("proxy-refresh-interval", kNumber, kNoProxy),
    Ignored("proxy-dial-timeout", kNumber, kNoProxy),
    Ignored("proxy-write-timeout", kNumber, kNoProxy),
    Ignored("proxy-read-timeout", kNumber, kNoProxy),

    // Unsafe.
    Refused("force-new-cluster", kBool, "the data directory holds no cluster to be cut down to one member", "false"),
};
// clang-format on

}  // namespace

std::span<const Option> EtcdOnlyRows() { return kRows; }

}  // namespace vellum::server
