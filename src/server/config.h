#pragma once

#include <chrono>
#include <cstdint>
#include <string>
#include <vector>

#include "kv/auto_compactor.h"
#include "kv/engine.h"
#include "rpc/services.h"
#include "rpc/sync_limits.h"
#include "sync/keeper.h"
#include "sync/store.h"
#include "vellum/log.h"
#include "wire/server.h"

namespace vellum::server {

/// Whose manners the process has: its own ("vellum serve"), or etcd's (started under the name "etcd").
enum class Personality : std::uint8_t { kVellum, kEtcd };

/// How the log is written. kAuto: text where standard error is a terminal and the personality is Vellum's, else JSON.
enum class LogFormat : std::uint8_t { kAuto, kJson, kText };

/// Everything that can be set about the process. Rooms below keep their own options; what is not theirs is here, each
/// default once. Filled by LoadConfig from the option table.
struct Config {
  /// A server has the machine's page cache beside it; what embeds the store may not, and has a larger default.
  Config() { engine.block_cache_bytes = 192u << 20; }

  Personality personality = Personality::kVellum;
  kv::EngineOptions engine;
  wire::ServerOptions wire;
  rpc::Limits limits;
  sync::StoreOptions syncs;     ///< Its directory, log and metrics are those of the process.
  rpc::SyncLimits sync_limits;
  sync::KeeperOptions keeper;   ///< Its retention and rollup are derived from the words below.
  std::vector<std::string> sync_retention;
  std::vector<std::string> sync_rollup;
  std::chrono::seconds sync_unreferenced_keep{sync::StoreOptions::kServedKeepS};

  std::vector<std::string> listen_client_urls{"http://127.0.0.1:2379"};
  std::vector<std::string> advertise_client_urls;                     ///< Empty: derived from what is listened on.
  std::vector<std::string> shown_peer_urls{"http://localhost:2380"};  ///< Clients expect a member to have one.
  std::vector<std::string> listen_client_http_urls;
  std::vector<std::string> listen_metrics_urls;
  std::int64_t event_loops = 0;  ///< 0: one for two processors.

  std::string auto_compaction_mode = "periodic";
  std::string auto_compaction_retention = "0";
  std::chrono::nanoseconds warning_unary_request_duration{std::chrono::milliseconds(300)};
  std::string metrics = "basic";

  std::string log_level = "info";
  std::string log_format = "auto";
  std::vector<std::string> log_outputs{"default"};

  /// Derived from the texts above when the configuration is checked.
  kv::AutoCompactionOptions auto_compaction;
  LogLevel log_level_least = LogLevel::kInfo;
  LogFormat log_format_kind = LogFormat::kAuto;
  std::vector<wire::Endpoint> endpoints;
};

}  // namespace vellum::server
