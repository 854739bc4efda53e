#include "server/config_loader.h"

#include <unistd.h>

#include <algorithm>
#include <map>
#include <optional>
#include <thread>

#include "base/bytes.h"
#include "server/config_file.h"
#include "server/listen_url.h"
#include "server/option_table.h"

namespace vellum::server {
namespace {

struct FlagUse {
  std::string name;
  std::string value;
};

struct ParsedFlags {
  std::vector<FlagUse> uses;
  std::optional<std::string> config_file;
  bool help = false;
  bool version = false;
};

Status UnknownFlag(std::string_view name) {
  std::string message = "flag provided but not defined: --" + Printable(name);
  const std::string_view nearest = NearestOption(name);
  if (!nearest.empty()) message += " (did you mean --" + std::string(nearest) + "?)";
  return InvalidArgument(message);
}

// Flags as Go's flag package reads them: one or two dashes, "--name=value" or "--name value", and for truth values a
// bare "--name"; "--name false" would therefore be a flag and a stray word.
Result<ParsedFlags> ParseFlags(const std::vector<std::string>& arguments) {
  ParsedFlags parsed;
  for (std::size_t i = 0; i < arguments.size(); ++i) {
    std::string_view text = arguments[i];
    if (text == "--" && i + 1 == arguments.size()) break;
    if (text == "--") return InvalidArgument("'" + Printable(arguments[i + 1]) + "' is not a valid flag");
    if (text.size() < 2 || text.front() != '-') return InvalidArgument("'" + Printable(text) + "' is not a valid flag");
    text.remove_prefix(text.starts_with("--") ? 2 : 1);
    const std::size_t equals = text.find('=');
    const std::string_view name = text.substr(0, equals);
    std::optional<std::string> value;
    if (equals != std::string_view::npos) value = std::string(text.substr(equals + 1));
    if (name == "help" || name == "h") {
      parsed.help = true;
      continue;
    }
    if (name == "version") {
      parsed.version = true;
      continue;
    }
    const Option* const option = FindOption(name);
    if (option == nullptr && name != "config-file") return UnknownFlag(name);
    if (!value && option != nullptr && option->type == ValueType::kBool) value = "true";
    if (!value) {
      if (i + 1 == arguments.size()) return InvalidArgument("flag needs an argument: --" + std::string(name));
      value = arguments[++i];
    }
    if (option == nullptr) {
      parsed.config_file = *value;
    } else {
      parsed.uses.push_back({std::string(name), *std::move(value)});
    }
  }
  return parsed;
}

// Applies one value and notes what has to be said about it. `what` names the origin: "flag --name".
Status Apply(const Option& option, const std::string& what, std::string_view value, ValueSyntax syntax,
             LoadedConfig* loaded) {
  if (Status status = ApplyOption(option, value, syntax, &loaded->config); !status.ok()) {
    if (status.code() == Code::kFailedPrecondition) return FailedPrecondition(what + " " + status.message());
    return std::move(status).WithContext(what);
  }
  if (option.kind != OptionKind::kSetting) {
    // A harmless value of a refused option has nothing to explain.
    const std::string why = option.kind == OptionKind::kNoMeaning ? ": " + std::string(option.help) : "";
    loaded->warnings.push_back(what + " has no meaning in Vellum and is ignored" + why);
  }
  return {};
}

Status ApplyFile(const std::string& path, LoadedConfig* loaded) {
  VELLUM_ASSIGN_OR_RETURN(const std::vector<FileEntry> entries, ReadConfigFile(path));
  for (const FileEntry& entry : entries) {
    const Option* const option = FindOptionByFileKey(entry.key);
    if (option == nullptr) {
      // etcd does not look at keys that it does not know; a typing error should at least be seen.
      loaded->warnings.push_back("key \"" + Printable(entry.key) +
                                 "\" of the configuration file is not known and is ignored");
      continue;
    }
    VELLUM_TRY(
        Apply(*option, "key " + entry.key + " of the configuration file", entry.value, ValueSyntax::kFile, loaded));
  }
  return {};
}

Status ApplyEnvironment(const ConfigInput& input, const ParsedFlags& flags, LoadedConfig* loaded) {
  std::map<std::string, std::string> names;  // variable -> option
  for (const Option& option : Options()) {
    names.emplace(EnvironmentName(option.name), option.name);
    if (option.experimental) names.emplace(EnvironmentName("experimental-" + std::string(option.name)), option.name);
  }
  for (const auto& [variable, value] : input.environment) {
    if (!variable.starts_with("ETCD_") || value.empty() || variable == "ETCD_CONFIG_FILE") continue;
    const auto known = names.find(variable);
    if (known == names.end()) {
      loaded->warnings.push_back("environment variable " + Printable(variable) + " is not known and is ignored");
      continue;
    }
    const Option* const option = FindOption(known->second);
    const bool shadowed = std::any_of(flags.uses.begin(), flags.uses.end(),
                                      [option](const FlagUse& use) { return FindOption(use.name) == option; });
    if (shadowed) {
      loaded->warnings.push_back("environment variable " + variable + " is overridden by the flag --" +
                                 std::string(option->name));
      continue;
    }
    VELLUM_TRY(Apply(*option, "environment variable " + variable, value, ValueSyntax::kFlag, loaded));
  }
  return {};
}

Status ApplyFlags(const ParsedFlags& flags, LoadedConfig* loaded) {
  for (std::size_t i = 0; i < flags.uses.size(); ++i) {
    const FlagUse& use = flags.uses[i];
    bool experimental = false;
    const Option* const option = FindOption(use.name, &experimental);
    const bool repeated = std::any_of(flags.uses.begin() + static_cast<std::ptrdiff_t>(i) + 1, flags.uses.end(),
                                      [option](const FlagUse& later) { return FindOption(later.name) == option; });
    if (repeated) continue;  // The last one counts.
    VELLUM_TRY(Apply(*option, "flag --" + use.name, use.value, ValueSyntax::kFlag, loaded));
    if (experimental && option->kind == OptionKind::kSetting) {
      loaded->warnings.push_back("flag --" + use.name + " is deprecated, use --" + std::string(option->name));
    }
  }
  return {};
}

LogLevel ParseLevel(std::string_view level) {
  if (level == "debug") return LogLevel::kDebug;
  if (level == "info") return LogLevel::kInfo;
  if (level == "warn") return LogLevel::kWarn;
  return LogLevel::kError;  // And etcd's levels above it, which nothing here has.
}

Status AddEndpoints(std::string_view flag, const std::vector<std::string>& urls, bool metrics_only,
                    std::vector<wire::Endpoint>* endpoints) {
  for (const std::string& url : urls) {
    Result<wire::Endpoint> endpoint = ParseListenUrl(url, metrics_only);
    if (!endpoint.ok()) return std::move(endpoint).error().WithContext(flag);
    endpoints->push_back(*std::move(endpoint));
  }
  return {};
}

}  // namespace

Status FinishConfig(Config* config) {
  config->endpoints.clear();
  if (config->listen_client_urls.empty()) return InvalidArgument("--listen-client-urls must name at least one address");
  VELLUM_TRY(
      AddEndpoints("--listen-client-urls", config->listen_client_urls, /*metrics_only=*/false, &config->endpoints));
  VELLUM_TRY(AddEndpoints("--listen-client-http-urls", config->listen_client_http_urls, /*metrics_only=*/true,
                          &config->endpoints));
  VELLUM_TRY(
      AddEndpoints("--listen-metrics-urls", config->listen_metrics_urls, /*metrics_only=*/true, &config->endpoints));
  if (config->engine.node_name.empty()) return InvalidArgument("--name must not be empty");
  VELLUM_ASSIGN_OR_RETURN(
      config->auto_compaction,
      kv::AutoCompactionOptions::FromFlags(config->auto_compaction_mode, config->auto_compaction_retention));
  if (Status words = config->keeper.SetRetention(config->sync_retention); !words.ok()) {
    return std::move(words).WithContext("--sync-retention");
  }
  config->keeper.SetRollup(config->sync_rollup);
  config->log_level_least = ParseLevel(config->log_level);
  const std::string& format = config->log_format;
  config->log_format_kind = format == "json"   ? LogFormat::kJson
                            : format == "auto" ? LogFormat::kAuto
                                               : LogFormat::kText;
  const bool etcd = config->personality == Personality::kEtcd;
  if (etcd && config->log_format_kind == LogFormat::kAuto) config->log_format_kind = LogFormat::kJson;
  if (config->log_outputs.empty()) config->log_outputs = {"default"};
  if (config->engine.data_dir.empty())
    config->engine.data_dir = config->engine.node_name + (etcd ? ".etcd" : ".vellum");
  if (config->event_loops == 0) {
    config->event_loops = std::clamp<std::int64_t>(std::thread::hardware_concurrency() / 2, 1, 16);
  }
  config->wire.loops = static_cast<int>(config->event_loops);
  config->wire.endpoints = config->endpoints;
  // etcd's margin, so that a request that is a little too large still gets the error that clients know.
  config->wire.receive_message_bytes_max = config->limits.request_bytes_max + config->limits.fragment_slack_bytes;
  return {};
}

Result<LoadedConfig> LoadConfig(const ConfigInput& input) {
  LoadedConfig loaded;
  loaded.config.personality = input.personality;
  VELLUM_ASSIGN_OR_RETURN(const ParsedFlags flags, ParseFlags(input.arguments));
  loaded.help = flags.help;
  loaded.version = flags.version;
  if (loaded.help || loaded.version) return loaded;
  std::optional<std::string> file = flags.config_file;
  for (const auto& [variable, value] : input.environment) {
    if (!file && variable == "ETCD_CONFIG_FILE" && !value.empty()) file = value;
  }
  if (file) {
    if (!flags.uses.empty()) {
      loaded.warnings.push_back("a configuration file is given: all other flags and environment variables are ignored");
    }
    VELLUM_TRY(ApplyFile(*file, &loaded));
  } else {
    VELLUM_TRY(ApplyEnvironment(input, flags, &loaded));
    VELLUM_TRY(ApplyFlags(flags, &loaded));
  }
  VELLUM_TRY(FinishConfig(&loaded.config));
  return loaded;
}

std::vector<std::pair<std::string, std::string>> ReadEnvironment() {
  std::vector<std::pair<std::string, std::string>> variables;
  for (char** entry = environ; entry != nullptr && *entry != nullptr; ++entry) {
    const std::string_view text = *entry;
    const std::size_t equals = text.find('=');
    if (equals == std::string_view::npos || !text.starts_with("ETCD_")) continue;
    variables.emplace_back(text.substr(0, equals), text.substr(equals + 1));
  }
  return variables;
}

}  // namespace vellum::server
