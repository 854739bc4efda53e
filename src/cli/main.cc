#include <CLI/CLI.hpp>

#include <cstdio>
#include <string>
#include <string_view>
#include <vector>

#include "cli/rescue.h"
#include "cli/verbs.h"
#include "server/run.h"
#include "server/version.h"

namespace {

using vellum::server::Personality;

constexpr char kAbout[] =
    "Vellum keeps metadata: a store of keys with history, transactions, watches and leases, for etcd v3 clients.\n"
    "Started under the name etcd, it takes etcd's flags.";

// The server has a parser of its own, which reads flags exactly as etcd does.
bool IsServer(std::string_view command, Personality* personality) {
  *personality = command == "etcd" ? Personality::kEtcd : Personality::kVellum;
  return command == "serve" || command == "etcd";
}

int PrintVersion(bool json) {
  const vellum::server::Components components = vellum::server::FindComponents();
  using vellum::server::VersionJson;
  using vellum::server::VersionText;
  std::fputs((json ? VersionJson(components) : VersionText(components)).c_str(), stdout);
  return 0;
}

int RunTool(int argc, char** argv) {
  CLI::App app{kAbout, "vellum"};
  app.require_subcommand(1);
  app.set_help_flag("-h,--help", "Say this");
  app.add_subcommand("serve", "Serve the store; see 'vellum serve --help'");
  app.add_subcommand("etcd", "The same with etcd's flags, manners and defaults; see 'vellum etcd --help'");

  std::string format = "text";
  CLI::App* const version = app.add_subcommand("version", "Versions of Vellum and of what it is built on");
  version->add_option("-o,--output", format, "text or json")->check(CLI::IsMember({"text", "json"}));

  vellum::cli::RescueOptions rescue_options;
  CLI::App* const rescue = app.add_subcommand("rescue", "Open a data directory whose write-ahead log is damaged");
  rescue->add_option("--data-dir", rescue_options.data_dir, "The data directory; no server may run on it")->required();
  rescue->add_flag("--accept-loss", rescue_options.accept_loss, "Give up every write behind the damage");

  vellum::cli::Verbs verbs(&app);
  CLI::App* const help = app.add_subcommand("help", "Say this");
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    // CLI11's way to say "help was asked for" (0) and "not understood".
    return app.exit(error) == 0 ? 0 : 2;
  }
  if (version->parsed()) return PrintVersion(format == "json");
  if (rescue->parsed()) return vellum::cli::Rescue(rescue_options, stdout);
  if (help->parsed()) std::fputs(app.help().c_str(), stdout);
  return verbs.Run().value_or(0);
}

}  // namespace

int main(int argc, char** argv) {
  const std::vector<std::string> arguments(argv + (argc > 0 ? 1 : 0), argv + argc);
  std::string_view name = argc > 0 ? argv[0] : "vellum";
  if (const std::size_t slash = name.rfind('/'); slash != std::string_view::npos) name.remove_prefix(slash + 1);
  if (name == "etcd") return vellum::server::RunServer(Personality::kEtcd, arguments);
  Personality personality{};
  if (!arguments.empty() && IsServer(arguments[0], &personality)) {
    return vellum::server::RunServer(personality, {arguments.begin() + 1, arguments.end()});
  }
  return RunTool(argc, argv);
}
