#include "server/config_loader.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <fstream>

#include "server/option_table.h"

namespace vellum::server {
namespace {

using Variables = std::vector<std::pair<std::string, std::string>>;

Result<LoadedConfig> Load(std::vector<std::string> arguments, Variables environment = {},
                          Personality personality = Personality::kEtcd) {
  return LoadConfig(
      {.personality = personality, .arguments = std::move(arguments), .environment = std::move(environment)});
}

// A file that goes with the test.
class TemporaryFile {
 public:
  explicit TemporaryFile(const std::string& text) {
    std::string pattern = (std::filesystem::temp_directory_path() / "vellum_config_XXXXXX").string();
    const int descriptor = mkstemp(pattern.data());
    EXPECT_GE(descriptor, 0);
    close(descriptor);
    path_ = pattern;
    std::ofstream(path_) << text;
  }
  ~TemporaryFile() { std::filesystem::remove(path_); }
  const std::string& path() const { return path_; }

 private:
  std::string path_;
};

bool AnyWarning(const LoadedConfig& loaded, std::string_view part) {
  return std::any_of(loaded.warnings.begin(), loaded.warnings.end(),
                     [part](const std::string& warning) { return warning.find(part) != std::string::npos; });
}

TEST(LoadConfig, FlagsAreReadAsGoReadsThem) {
  const Result<LoadedConfig> loaded = Load({"--name=m1", "-max-txn-ops", "7", "--unsafe-no-fsync",
                                            "-socket-reuse-port=true", "--max-request-bytes", "2000"});
  ASSERT_TRUE(loaded.ok()) << loaded.error().ToString();
  EXPECT_EQ(loaded->config.engine.node_name, "m1");
  EXPECT_EQ(loaded->config.engine.txn_ops_max, 7u);
  EXPECT_TRUE(loaded->config.engine.unsafe_no_fsync);
  EXPECT_TRUE(loaded->config.wire.socket_reuse_port);
  EXPECT_EQ(loaded->config.limits.request_bytes_max, 2000u);
  EXPECT_EQ(loaded->config.wire.receive_message_bytes_max, 2000u + 524'288u);
  EXPECT_EQ(loaded->config.engine.data_dir, "m1.etcd");
  EXPECT_TRUE(loaded->warnings.empty());
}

TEST(LoadConfig, TheLastOfARepeatedFlagCounts) {
  const Result<LoadedConfig> loaded = Load({"--name=a", "--name=b"});
  ASSERT_TRUE(loaded.ok());
  EXPECT_EQ(loaded->config.engine.node_name, "b");
}

TEST(LoadConfig, PersonalitiesDifferInDefaultsOnly) {
  const Result<LoadedConfig> vellum = Load({}, {}, Personality::kVellum);
  const Result<LoadedConfig> etcd = Load({}, {}, Personality::kEtcd);
  ASSERT_TRUE(vellum.ok() && etcd.ok());
  EXPECT_EQ(vellum->config.engine.data_dir, "default.vellum");
  EXPECT_EQ(etcd->config.engine.data_dir, "default.etcd");
  EXPECT_EQ(vellum->config.log_format_kind, LogFormat::kAuto);
  EXPECT_EQ(etcd->config.log_format_kind, LogFormat::kJson);
  ASSERT_EQ(etcd->config.endpoints.size(), 1u);
  EXPECT_EQ(etcd->config.endpoints[0].port, 2379);
}

TEST(LoadConfig, WhatIsNotUnderstoodIsNamed) {
  struct Case {
    std::vector<std::string> arguments;
    std::string_view part;
  };
  for (const Case& each : std::vector<Case>{
           {{"--no-such-flag"}, "flag provided but not defined: --no-such-flag"},
           {{"--data-dri=x"}, "did you mean --data-dir?"},
           {{"stray"}, "'stray' is not a valid flag"},
           {{"--unsafe-no-fsync", "false"}, "'false' is not a valid flag"},
           {{"--", "--name=x"}, "is not a valid flag"},
           {{"--name"}, "flag needs an argument: --name"},
           {{"--max-txn-ops=many"}, "flag --max-txn-ops: invalid value \"many\""},
           {{"--heartbeat-interval=often"}, "--heartbeat-interval"},
           {{"--pre-vote=maybe"}, "--pre-vote"},
           {{"--listen-client-urls=nonsense"}, "--listen-client-urls: invalid listen URL \"nonsense\""},
           {{"--listen-client-urls="}, "--listen-client-urls"},
           {{"--name="}, "--name"},
           {{"--auto-compaction-retention=soon"}, "auto-compaction-retention"},
           {{"--auto-compaction-mode=revision", "--auto-compaction-retention=5m"}, "auto-compaction-retention"}}) {
    const Result<LoadedConfig> loaded = Load(each.arguments);
    ASSERT_FALSE(loaded.ok()) << each.part;
    EXPECT_EQ(loaded.error().code(), Code::kInvalidArgument) << loaded.error().ToString();
    EXPECT_NE(loaded.error().message().find(each.part), std::string::npos) << loaded.error().message();
  }
}

TEST(LoadConfig, RefusesWhatWouldBeALie) {
  for (const std::string flag :
       {"--cert-file=a.crt", "--key-file=a.key", "--client-cert-auth", "--auto-tls=true", "--trusted-ca-file=ca.crt",
        "--client-crl-file=a.crl", "--client-cert-allowed-hostname=h", "--auth-token=jwt,pub-key=a",
        "--force-new-cluster", "--discovery=https://discovery/x", "--discovery-endpoints=http://a:1",
        "--discovery-srv=example.org", "--initial-cluster=a=http://a:1,b=http://b:1",
        "--listen-client-urls=https://localhost:0", "--listen-metrics-urls=https://localhost:0",
        "--host-whitelist=example.org", "--proxy=on"}) {
    const Result<LoadedConfig> loaded = Load({flag});
    ASSERT_FALSE(loaded.ok()) << flag;
    EXPECT_EQ(loaded.error().code(), Code::kFailedPrecondition) << flag;
  }
}

TEST(LoadConfig, AcceptsWhatAsksForNothing) {
  for (const std::string flag : {"--cert-file=", "--client-cert-auth=false", "--auto-tls=false", "--auth-token=simple",
                                 "--force-new-cluster=false", "--discovery=", "--initial-cluster=a=http://a:1",
                                 "--host-whitelist=*", "--proxy=off"}) {
    const Result<LoadedConfig> loaded = Load({flag});
    ASSERT_TRUE(loaded.ok()) << loaded.error().ToString();
    EXPECT_EQ(loaded->warnings.size(), 1u) << flag;
  }
}

TEST(LoadConfig, EveryRowIsAcceptedOrRefusedWithAnExplanation) {
  for (const Option& option : Options()) {
    if (option.kind == OptionKind::kSetting) continue;
    const std::string value = option.type == ValueType::kBool       ? "true"
                              : option.type == ValueType::kNumber   ? "5"
                              : option.type == ValueType::kDuration ? "5s"
                                                                    : "a,b";
    std::vector<std::string> spellings{std::string(option.name)};
    if (option.experimental) spellings.push_back("experimental-" + std::string(option.name));
    for (const std::string& name : spellings) {
      const Result<LoadedConfig> loaded = Load({"--" + name + "=" + value});
      if (option.kind == OptionKind::kRefused) {
        ASSERT_FALSE(loaded.ok()) << name;
        EXPECT_EQ(loaded.error().message(), "flag --" + name + " is refused: " + std::string(option.help));
        continue;
      }
      ASSERT_TRUE(loaded.ok()) << loaded.error().ToString();
      ASSERT_EQ(loaded->warnings.size(), 1u) << name;
      EXPECT_EQ(loaded->warnings[0],
                "flag --" + name + " has no meaning in Vellum and is ignored: " + std::string(option.help));
      EXPECT_TRUE(Load({}, {{EnvironmentName(name), value}}).ok()) << name;
    }
  }
}

TEST(LoadConfig, TheFlagsOfEtcdsHarnessStart) {
  const Result<LoadedConfig> loaded = Load({"--name",
                                            "test-0",
                                            "--listen-client-urls",
                                            "http://localhost:0",
                                            "--advertise-client-urls",
                                            "http://localhost:0",
                                            "--listen-peer-urls",
                                            "http://localhost:0",
                                            "--initial-advertise-peer-urls",
                                            "http://localhost:0",
                                            "--initial-cluster-token",
                                            "new",
                                            "--data-dir",
                                            "d",
                                            "--snapshot-count",
                                            "10000",
                                            "--initial-cluster",
                                            "test-0=http://localhost:0",
                                            "--initial-cluster-state",
                                            "new",
                                            "--quota-backend-bytes",
                                            "4294967296",
                                            "--strict-reconfig-check=false",
                                            "--enable-v2",
                                            "--experimental-initial-corrupt-check",
                                            "--listen-metrics-urls",
                                            "http://localhost:0",
                                            "--max-concurrent-streams",
                                            "500",
                                            "--experimental-watch-progress-notify-interval=5s",
                                            "--feature-gates=InitialCorruptCheck=true"});
  ASSERT_TRUE(loaded.ok()) << loaded.error().ToString();
  EXPECT_EQ(loaded->config.engine.data_dir, "d");
  EXPECT_EQ(loaded->config.engine.quota_backend_bytes, 4'294'967'296);
  EXPECT_EQ(loaded->config.engine.watch_progress_interval, std::chrono::seconds(5));
  EXPECT_TRUE(AnyWarning(
      *loaded, "--experimental-watch-progress-notify-interval is deprecated, use --watch-progress-notify-interval"));
  EXPECT_TRUE(AnyWarning(*loaded, "flag --snapshot-count has no meaning in Vellum and is ignored"));
  ASSERT_EQ(loaded->config.endpoints.size(), 2u);
  EXPECT_FALSE(loaded->config.endpoints[0].metrics_only);
  EXPECT_TRUE(loaded->config.endpoints[1].metrics_only);
}

TEST(LoadConfig, FlagsBeatTheEnvironment) {
  const Result<LoadedConfig> loaded = Load({"--name=flag"}, {{"ETCD_NAME", "variable"},
                                                             {"ETCD_MAX_TXN_OPS", "9"},
                                                             {"ETCD_DATA_DIR", ""},
                                                             {"PATH", "x"},
                                                             {"ETCD_EXPERIMENTAL_WATCH_PROGRESS_NOTIFY_INTERVAL", "7s"},
                                                             {"ETCD_NO_SUCH", "1"},
                                                             {"ETCD_HEARTBEAT_INTERVAL", "100"}});
  ASSERT_TRUE(loaded.ok()) << loaded.error().ToString();
  EXPECT_EQ(loaded->config.engine.node_name, "flag");
  EXPECT_EQ(loaded->config.engine.txn_ops_max, 9u);
  EXPECT_EQ(loaded->config.engine.watch_progress_interval, std::chrono::seconds(7));
  EXPECT_EQ(loaded->config.engine.data_dir, "flag.etcd");
  EXPECT_TRUE(AnyWarning(*loaded, "ETCD_NAME is overridden by the flag --name"));
  EXPECT_TRUE(AnyWarning(*loaded, "ETCD_NO_SUCH is not known"));
  EXPECT_TRUE(AnyWarning(*loaded, "ETCD_HEARTBEAT_INTERVAL has no meaning"));
  EXPECT_FALSE(AnyWarning(*loaded, "PATH"));
  EXPECT_EQ(Load({}, {{"ETCD_CERT_FILE", "a"}}).error().code(), Code::kFailedPrecondition);
  EXPECT_EQ(Load({}, {{"ETCD_MAX_TXN_OPS", "x"}}).error().code(), Code::kInvalidArgument);
}

TEST(LoadConfig, AFileReplacesFlagsAndEnvironment) {
  const TemporaryFile file(
      "name: file\n"
      "max-txn-ops: 11\n"
      "watch-progress-notify-interval: 5000000000\n"
      "grpc-keepalive-timeout: 30s\n"
      "listen-client-urls: http://localhost:0,unix://a.sock\n"
      "client-transport-security:\n  client-cert-auth: false\n"
      "socket-options:\n  reuse-port: true\n"
      "heartbeat-interval: 100\n"
      "auto-compaction-mode: periodic\n"
      "auto-compaction-retention: \"1\"\n"
      "no-such-key: 1\n");
  const Result<LoadedConfig> loaded = Load({"--config-file", file.path(), "--name=flag"}, {{"ETCD_MAX_TXN_OPS", "9"}});
  ASSERT_TRUE(loaded.ok()) << loaded.error().ToString();
  EXPECT_EQ(loaded->config.engine.node_name, "file");
  EXPECT_EQ(loaded->config.engine.txn_ops_max, 11u);
  EXPECT_EQ(loaded->config.engine.watch_progress_interval, std::chrono::seconds(5));
  EXPECT_EQ(loaded->config.wire.keepalive_timeout, std::chrono::seconds(30));
  EXPECT_EQ(loaded->config.endpoints.size(), 2u);
  EXPECT_TRUE(loaded->config.wire.socket_reuse_port);
  EXPECT_EQ(loaded->config.auto_compaction.mode, kv::AutoCompactionOptions::Mode::kPeriodic);
  EXPECT_EQ(loaded->config.auto_compaction.period, std::chrono::hours(1));
  EXPECT_TRUE(AnyWarning(*loaded, "all other flags"));
  EXPECT_TRUE(AnyWarning(*loaded, "\"no-such-key\" of the configuration file is not known"));
  EXPECT_TRUE(AnyWarning(*loaded, "heartbeat-interval"));
  const Result<LoadedConfig> by_variable = Load({}, {{"ETCD_CONFIG_FILE", file.path()}});
  ASSERT_TRUE(by_variable.ok());
  EXPECT_EQ(by_variable->config.engine.node_name, "file");
}

TEST(LoadConfig, AFileCannotAskForTlsEither) {
  const TemporaryFile file("client-transport-security:\n  cert-file: a.crt\n");
  const Result<LoadedConfig> loaded = Load({"--config-file=" + file.path()});
  ASSERT_FALSE(loaded.ok());
  EXPECT_EQ(loaded.error().code(), Code::kFailedPrecondition);
  EXPECT_NE(loaded.error().message().find("client-transport-security.cert-file"), std::string::npos);
}

TEST(LoadConfig, AutomaticCompactionReadsBothModes) {
  struct Case {
    std::string mode;
    std::string retention;
    kv::AutoCompactionOptions::Mode expected;
  };
  using enum kv::AutoCompactionOptions::Mode;
  for (const Case& each : std::vector<Case>{{"periodic", "0", kOff},
                                            {"periodic", "0s", kOff},
                                            {"revision", "0", kOff},
                                            {"periodic", "10", kPeriodic},
                                            {"periodic", "5m", kPeriodic},
                                            {"revision", "1000", kRevision}}) {
    const Result<LoadedConfig> loaded =
        Load({"--auto-compaction-mode=" + each.mode, "--auto-compaction-retention=" + each.retention});
    ASSERT_TRUE(loaded.ok()) << each.retention;
    EXPECT_EQ(loaded->config.auto_compaction.mode, each.expected) << each.mode << " " << each.retention;
  }
  for (const std::string retention : {"-1", "-5m", "99999999999", "1d", "x"}) {
    EXPECT_FALSE(Load({"--auto-compaction-retention=" + retention}).ok()) << retention;
  }
}

TEST(LoadConfig, TheUpkeepOfSyncsIsRead) {
  const Result<LoadedConfig> usual = Load({});
  ASSERT_TRUE(usual.ok());
  EXPECT_FALSE(usual->config.keeper.keep_others.has_value());
  EXPECT_FALSE(usual->config.keeper.rollup_others);
  EXPECT_EQ(usual->config.sync_unreferenced_keep, std::chrono::minutes(10));
  const Result<LoadedConfig> loaded =
      Load({"--sync-retention=7,okta=3", "--sync-rollup=okta,hr", "--sync-upkeep-interval=5m", "--sync-open-keep=48h",
            "--sync-upkeep-bytes-per-second=1000", "--sync-rewrite=false", "--sync-unreferenced-keep=30s", "--sync-history=5"});
  ASSERT_TRUE(loaded.ok()) << loaded.error().ToString();
  const sync::KeeperOptions& keeper = loaded->config.keeper;
  EXPECT_EQ(keeper.keep_others, 7u);
  EXPECT_EQ(keeper.keep.at("okta"), 3u);
  EXPECT_EQ(keeper.rollup, (std::set<std::string>{"hr", "okta"}));
  EXPECT_EQ(keeper.interval, std::chrono::minutes(5));
  EXPECT_EQ(keeper.open_keep, std::chrono::hours(48));
  EXPECT_EQ(keeper.bytes_per_second, 1000u);
  EXPECT_FALSE(keeper.rewrite);
  EXPECT_EQ(loaded->config.sync_unreferenced_keep, std::chrono::seconds(30));
  EXPECT_EQ(loaded->config.syncs.history_max, 5u);
  const Result<LoadedConfig> bad = Load({"--sync-retention=okta"});
  ASSERT_FALSE(bad.ok());
  EXPECT_NE(bad.error().message().find("--sync-retention"), std::string::npos) << bad.error().message();
  EXPECT_NE(bad.error().message().find("okta"), std::string::npos) << bad.error().message();
}

TEST(LoadConfig, HelpAndVersionNeedNothingElse) {
  for (const std::string flag : {"--help", "-h", "-help"}) EXPECT_TRUE(Load({flag})->help);
  EXPECT_TRUE(Load({"--version"})->version);
  EXPECT_FALSE(Load({"--help", "--no-such-flag"}).ok());
}

}  // namespace
}  // namespace vellum::server
