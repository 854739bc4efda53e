#include <google/protobuf/stubs/logging.h>

#include <CLI/CLI.hpp>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <optional>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>
#include <vector>

#include "base/bytes.h"
#include "cli/bench_verb.h"
#include "cli/rescue.h"
#include "cli/sync_verbs.h"
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

/// Called when an exception ends the program. A store cannot do without its threads: where the system refuses them this
/// says so, and ends with 2; what is on the disk is as after a kill. Returns where it was something else.
void EndForWantOfThreads() {
  try {
    if (const std::exception_ptr failure = std::current_exception()) std::rethrow_exception(failure);
  } catch (const std::system_error& failure) {
    if (failure.code() == std::errc::resource_unavailable_try_again) {
      std::fputs("vellum: the system refuses the threads that a store needs\n", stderr);
      std::_Exit(2);
    }
  } catch (...) {
  }
}

int RunTool(std::vector<std::string> arguments) {
  static const std::terminate_handler otherwise = std::get_terminate();
  std::set_terminate([] {
    EndForWantOfThreads();
    otherwise();
  });
  // Protobuf writes a line of its own to standard error for each string that is no UTF-8, and hostile files have many. What
  // the commands say of such records says it all.
  google::protobuf::SetLogHandler(nullptr);
  CLI::App app{kAbout, "vellum"};
  app.set_help_flag("-h,--help", "Say this");
  std::vector<std::string> endpoints;
  app.add_option("--endpoint,--endpoints", endpoints, "Where the server is that a command talks to; also after the command")
      ->delimiter(',')
      ->allow_extra_args(false);
  app.add_subcommand("serve", "Serve the store; see 'vellum serve --help'");
  app.add_subcommand("etcd", "The same with etcd's flags, manners and defaults; see 'vellum etcd --help'");
  vellum::cli::Verbs verbs(&app);
  vellum::cli::SyncVerbs sync_verbs(&app);
  vellum::cli::BenchVerb bench(&app);

  vellum::cli::RescueOptions rescue_options;
  CLI::App* const rescue = app.add_subcommand("rescue", "Open a data directory whose write-ahead log is damaged");
  rescue->add_option("--data-dir", rescue_options.data_dir, "The data directory; no server may run on it")->required();
  rescue->add_flag("--accept-loss", rescue_options.accept_loss, "Give up every write behind the damage");

  std::string format = "text";
  CLI::App* const version = app.add_subcommand("version", "Versions of Vellum and of what it is built on");
  version->add_option("-o,--output", format, "text or json")->check(CLI::IsMember({"text", "json"}));
  app.add_subcommand("help", "Say this, or what a command does");

  if (arguments.empty()) {
    std::fputs(app.help().c_str(), stderr);
    return 2;
  }
  if (arguments[0] == "--version") return PrintVersion(/*json=*/false);
  // "help" and "help COMMAND" are other spellings of "--help" and "COMMAND --help".
  if (arguments[0] == "help") {
    arguments.erase(arguments.begin());
    arguments.resize(std::min<std::size_t>(arguments.size(), 1));
    arguments.emplace_back("--help");
  }
  const auto named = [&arguments](const CLI::App* command) { return command->get_name() == arguments[0]; };
  if (!arguments[0].starts_with('-') && app.get_subcommands(named).empty()) {
    std::fprintf(stderr, "vellum: there is no command '%s'; 'vellum help' lists them\n",
                 vellum::Printable(arguments[0]).c_str());
    return 2;
  }
  try {
    std::reverse(arguments.begin(), arguments.end());  // as CLI11 wants them
    app.parse(std::move(arguments));
  } catch (const CLI::ParseError& error) {
    // CLI11's way to say "help was asked for" (0) and "not understood".
    return app.exit(error) == 0 ? 0 : 2;
  }
  if (version->parsed()) return PrintVersion(format == "json");
  if (rescue->parsed()) return vellum::cli::Rescue(rescue_options, stdout);
  if (const std::optional<int> code = sync_verbs.Run(endpoints)) return *code;
  if (const std::optional<int> code = bench.Run(endpoints)) return *code;
  return verbs.Run(endpoints).value_or(2);
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
  if (arguments.size() == 2 && arguments[0] == "help" && IsServer(arguments[1], &personality)) {
    return vellum::server::RunServer(personality, {"--help"});
  }
  const int code = RunTool(arguments);
  if (std::fflush(stdout) == 0 && std::ferror(stdout) == 0) return code;
  std::fputs("vellum: not everything could be written to standard output\n", stderr);
  return 2;
}
