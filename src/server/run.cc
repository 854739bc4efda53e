#include "server/run.h"

#include <sys/resource.h>
#include <unistd.h>

#include <cstdio>
#include <memory>
#include <string_view>

#include "base/short_turns.h"
#include "server/config_loader.h"
#include "server/help.h"
#include "server/log_output.h"
#include "server/process.h"
#include "server/signals.h"
#include "server/version.h"

namespace vellum::server {
namespace {

constexpr std::chrono::seconds kLookInterval(1);

void Print(std::FILE* to, std::string_view text) {
  // Nothing can be done about a closed terminal.
  static_cast<void>(std::fwrite(text.data(), 1, text.size(), to));
  static_cast<void>(std::fflush(to));
}

std::string_view ProgramName(Personality personality) {
  return personality == Personality::kEtcd ? "etcd" : "vellum serve";
}

// Every connection is a descriptor, and the soft limit is made for programs that use select(2).
void RaiseDescriptorLimit(const Logger& logger) {
  rlimit limit{};
  if (getrlimit(RLIMIT_NOFILE, &limit) != 0 || limit.rlim_cur >= limit.rlim_max) return;
  limit.rlim_cur = limit.rlim_max;
  if (setrlimit(RLIMIT_NOFILE, &limit) != 0) VELLUM_LOG(logger, kWarn, "the limit of open files cannot be raised", {});
}

void PrintHint(const Process& process) {
  const std::string address = process.addresses().front();
  const std::string endpoint = address.find('/') == std::string::npos ? address : "unix://" + address;
  Print(stderr, "\nVellum serves on " + endpoint + ". In another terminal:\n\n  etcdctl --endpoints=" + endpoint +
                    " put greeting hello\n  etcdctl --endpoints=" + endpoint +
                    " watch --prefix \"\" --rev 1\n  curl http://" + address + "/health\n\nCtrl-C stops it.\n\n");
}

int RunUntilSignal(Process* process, SignalWaiter* signals, LogOutput* log, const Logger& logger) {
  for (;;) {
    const std::optional<SignalWaiter::Event> event = signals->Wait(kLookInterval);
    if (!event) {
      process->LookAfterStore();
    } else if (*event == SignalWaiter::Event::kReopenLogs) {
      const Status reopened = log->Reopen();
      if (reopened.ok()) {
        VELLUM_LOG(logger, kInfo, "log files opened anew", {});
      } else {
        VELLUM_LOG(logger, kWarn, "log files could not be opened anew", {{"error", reopened.ToString()}});
      }
    } else {
      break;
    }
  }
  VELLUM_LOG(logger, kInfo, "received a signal; a second one ends the process at once", {});
  signals->RestoreDefault();
  return process->Stop().ok() ? 0 : 1;
}

int Serve(LoadedConfig loaded) {
  const std::string name(ProgramName(loaded.config.personality));
  Result<std::unique_ptr<LogOutput>> log =
      LogOutput::Open({.format = loaded.config.log_format_kind, .outputs = loaded.config.log_outputs});
  if (!log.ok()) {
    Print(stderr, name + ": " + log.error().message() + "\n");
    return 1;
  }
  const Logger logger(log->get(), loaded.config.log_level_least);
  Result<SignalWaiter> signals = SignalWaiter::Make();
  if (!signals.ok()) {
    VELLUM_LOG(logger, kError, "cannot start", {{"error", signals.error().message()}});
    return 1;
  }
  for (const std::string& warning : loaded.warnings) VELLUM_LOG(logger, kWarn, warning, {});
  RaiseDescriptorLimit(logger);
  // Before there are other threads, so that all of them have it. A put is a few changes of thread, each of which would
  // wait for whatever has the core.
  if (!TakeShortTurns()) VELLUM_LOG(logger, kDebug, "the kernel gives threads no short turns", {});
  // Who started it by hand wants to know what now; ./dev, which chooses the format, says it itself.
  const bool hint = loaded.config.log_format_kind == LogFormat::kAuto && isatty(STDERR_FILENO) != 0;
  Result<std::unique_ptr<Process>> process = Process::Start(std::move(loaded.config), log->get());
  if (!process.ok()) {
    VELLUM_LOG(logger, kError, "cannot start", {{"error", process.error().message()}});
    Print(stderr, name + ": " + process.error().message() + "\n");
    if (process.error().code() == Code::kDataLoss) {
      Print(stderr, "Restore a copy of the data directory; 'vellum help rescue' is for when there is none.\n");
    }
    return 1;
  }
  if (hint) PrintHint(**process);
  return RunUntilSignal(process->get(), &*signals, log->get(), logger);
}

}  // namespace

int RunServer(Personality personality, const std::vector<std::string>& arguments) {
  const std::string name(ProgramName(personality));
  if (!arguments.empty() && (arguments[0] == "gateway" || arguments[0] == "grpc-proxy") &&
      personality == Personality::kEtcd) {
    Print(stderr,
          "etcd: the sub-command " + arguments[0] + " is not there in Vellum; clients dial the server itself\n");
    return 2;
  }
  Result<LoadedConfig> loaded =
      LoadConfig({.personality = personality, .arguments = arguments, .environment = ReadEnvironment()});
  if (!loaded.ok()) {
    const bool understood = loaded.error().code() != Code::kInvalidArgument;
    Print(stderr, name + ": " + loaded.error().message() + "\n" + (understood ? "" : "Try '" + name + " --help'.\n"));
    return understood ? 1 : 2;
  }
  if (loaded->help) {
    Print(stdout, HelpText(personality));
    return 0;
  }
  if (loaded->version) {
    Print(stdout,
          personality == Personality::kEtcd ? EtcdVersionText() : "Vellum " + std::string(VellumVersion()) + "\n");
    return 0;
  }
  return Serve(*std::move(loaded));
}

}  // namespace vellum::server
