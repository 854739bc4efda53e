#pragma once

#include <string>
#include <utility>
#include <vector>

#include "server/config.h"
#include "vellum/status.h"

namespace vellum::server {

/// Everything that decides the configuration, as the process found it.
struct ConfigInput {
  Personality personality = Personality::kVellum;
  std::vector<std::string> arguments;                            ///< After the program's name (and "serve").
  std::vector<std::pair<std::string, std::string>> environment;  ///< Only ETCD_* matters.
};

struct LoadedConfig {
  Config config;
  bool help = false;  ///< Asked for; nothing else was looked at.
  bool version = false;
  std::vector<std::string> warnings;  ///< One line each, for the log.
};

/// Flags beat the environment; a configuration file (--config-file or ETCD_CONFIG_FILE) replaces both.
///
/// kInvalidArgument: a flag, variable, key or value that is not understood. kFailedPrecondition: understood, but asks
/// for something that Vellum does not do. The message names the flag, variable or key.
Result<LoadedConfig> LoadConfig(const ConfigInput& input);

/// The process's environment.
std::vector<std::pair<std::string, std::string>> ReadEnvironment();

/// Fills what is derived from other fields (endpoints, levels, automatic compaction, the data directory's default) and
/// checks what concerns several. LoadConfig ends with it.
Status FinishConfig(Config* config);

}  // namespace vellum::server
