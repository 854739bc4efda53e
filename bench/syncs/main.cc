// The named workloads of the data plane, by Vellum and by SQLite, one after the other on this machine.
//
//   vellum_sync_bench [--only NAME]... [--scale 0.1] [--rounds 3] [--without-sqlite] [--directory DIR] [--list]
//
// What counts on a noisy machine is the ratio within one run. Every run has a process of its own, so that peak memory is that
// of the work; preparing, and opening what is already there, is not timed.
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <cstdio>
#include <filesystem>
#include <map>
#include <nlohmann/json.hpp>
#include <optional>

#include "syncs/workload.h"

namespace vellum::bench {
namespace {

namespace fs = std::filesystem;

struct Arguments {
  std::vector<std::string> only;
  double scale = 1.0;
  int rounds = 3;
  bool without_sqlite = false;
  bool list = false;
  std::string directory;
  std::string vellum_program;
  std::string self;
  std::string step;  ///< In a child: "prepare", "vellum", "prepare-yardstick", "yardstick".
  int round = 0;
};

struct Run {
  double rows = 0;
  double seconds = 0;
  double cpu = 0;
  double peak = 0;
  double written = 0;
};

std::vector<Workload> AllWorkloads() {
  std::vector<Workload> all;
  for (const auto& group : {WriteWorkloads(), FileWorkloads(), V3FileWorkloads(), CompactWorkloads(), MergeWorkloads(), ReadWorkloads(),
                            AskWorkloads()}) {
    all.insert(all.end(), group.begin(), group.end());
  }
  return all;
}

/// What a child does.
int RunStep(const Workload& workload, const Arguments& arguments) {
  const Place place{arguments.directory, arguments.scale, arguments.round, arguments.vellum_program};
  Measure measure;
  Status done;
  if (arguments.step == "prepare") {
    done = workload.prepare(place);
  } else if (arguments.step == "prepare-yardstick") {
    done = workload.prepare_yardstick(place);
  } else {
    done = (arguments.step == "vellum" ? workload.vellum : workload.yardstick)(place, &measure);
  }
  if (!done.ok()) {
    std::fprintf(stderr, "%s, %s: %s\n", std::string(workload.name).c_str(), arguments.step.c_str(), done.ToString().c_str());
    return 1;
  }
  std::puts(measure.ToJson().c_str());
  return 0;
}

/// Runs one step in a process of its own; nullopt if it failed.
std::optional<Run> Spawn(const Workload& workload, const Arguments& arguments, const std::string& directory,
                         const std::string& step, int round) {
  const std::string name(workload.name);
  const std::string scale = std::to_string(arguments.scale);
  const std::string number = std::to_string(round);
  std::vector<std::string> words = {arguments.self, "--only",      name,    "--scale",   scale,
                                    "--directory",  directory,     "--step", step,       "--round",
                                    number,         "--vellum",    arguments.vellum_program};
  std::vector<char*> pointers;
  for (std::string& word : words) pointers.push_back(word.data());
  pointers.push_back(nullptr);
  int out[2];
  if (::pipe(out) != 0) return std::nullopt;
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_adddup2(&actions, out[1], STDOUT_FILENO);
  posix_spawn_file_actions_addclose(&actions, out[0]);
  pid_t pid = 0;
  const int failed = ::posix_spawn(&pid, words[0].c_str(), &actions, nullptr, pointers.data(), environ);
  posix_spawn_file_actions_destroy(&actions);
  ::close(out[1]);
  std::string text;
  char buffer[512];
  for (ssize_t got = 0; failed == 0 && (got = ::read(out[0], buffer, sizeof buffer)) > 0;) {
    text.append(buffer, static_cast<std::size_t>(got));
  }
  ::close(out[0]);
  int status = 0;
  if (failed != 0 || ::waitpid(pid, &status, 0) != pid || !WIFEXITED(status) || WEXITSTATUS(status) != 0) return std::nullopt;
  const auto json = nlohmann::json::parse(text, nullptr, /*allow_exceptions=*/false);
  if (json.is_discarded()) return std::nullopt;
  return Run{json.value("rows", 0.0), json.value("seconds", 0.0), json.value("cpu", 0.0), json.value("peak", 0.0),
             json.value("written", 0.0)};
}

/// Of each figure by itself.
Run Median(const std::vector<Run>& runs) {
  const auto of = [&runs](double Run::*figure) {
    std::vector<double> values;
    for (const Run& run : runs) values.push_back(run.*figure);
    std::sort(values.begin(), values.end());
    return values[values.size() / 2];
  };
  return {of(&Run::rows), of(&Run::seconds), of(&Run::cpu), of(&Run::peak), of(&Run::written)};
}

void Print(std::string_view name, std::string_view who, const Run& run, double ratio, std::string_view note) {
  char against[16] = "";
  if (ratio > 0) std::snprintf(against, sizeof against, "%.1f x", ratio);
  std::printf("%-15.*s %-7.*s %10.4f %8.2f %12.0f %9.1f %10.1f %9s  %.*s\n", static_cast<int>(name.size()), name.data(),
              static_cast<int>(who.size()), who.data(), run.seconds, run.cpu, run.rows / std::max(run.seconds, 1e-9),
              run.peak / 1e6, run.written / 1e6, against, static_cast<int>(note.size()), note.data());
  std::fflush(stdout);
}

/// Rounds of one side; false if a step failed.
bool Rounds(const Workload& workload, const Arguments& arguments, const std::string& directory, bool yardstick,
            std::vector<Run>* runs) {
  const std::string step = yardstick ? "yardstick" : "vellum";
  if (yardstick ? workload.prepare_yardstick != nullptr : workload.prepare != nullptr) {
    if (!Spawn(workload, arguments, directory, yardstick ? "prepare-yardstick" : "prepare", 0)) return false;
  }
  for (int round = 0; round < arguments.rounds; ++round) {
    const auto run = Spawn(workload, arguments, directory, step, round);
    if (!run) return false;
    runs->push_back(*run);
    constexpr double kLongSeconds = 20;  // long enough for noise to even out, too long to wait for twice
    if (run->seconds > kLongSeconds) break;
  }
  return true;
}

int RunAll(const Arguments& arguments) {
  std::printf("%-15s %-7s %10s %8s %12s %9s %10s %9s  %s\n", "workload", "by", "seconds", "cpu s", "rows/s", "peak MB",
              "written MB", "ratio", "what, and what to reach");
  int failures = 0;
  for (const Workload& workload : AllWorkloads()) {
    const bool wanted = arguments.only.empty() ||
                        std::find(arguments.only.begin(), arguments.only.end(), workload.name) != arguments.only.end();
    if (!wanted) continue;
    std::string directory = (arguments.directory.empty() ? fs::temp_directory_path().string() : arguments.directory) +
                            "/vellum-sync-bench-XXXXXX";
    if (::mkdtemp(directory.data()) == nullptr) {
      std::fprintf(stderr, "cannot make a directory %s\n", directory.c_str());
      return 1;
    }
    std::vector<Run> ours;
    std::vector<Run> theirs;
    const bool done = Rounds(workload, arguments, directory, /*yardstick=*/false, &ours) &&
                      (arguments.without_sqlite || workload.yardstick == nullptr ||
                       Rounds(workload, arguments, directory, /*yardstick=*/true, &theirs));
    std::error_code ignored;
    fs::remove_all(directory, ignored);
    if (!done) ++failures;
    if (ours.empty()) continue;
    const Run vellum = Median(ours);
    const std::string note = std::string(workload.what) + (workload.goal.empty() ? "" : ": " + std::string(workload.goal));
    Print(workload.name, "vellum", vellum, theirs.empty() ? 0 : Median(theirs).seconds / vellum.seconds, note);
    if (!theirs.empty()) Print("", "sqlite", Median(theirs), 0, "");
  }
  return failures == 0 ? 0 : 1;
}

int Main(int argc, char** argv) {
  Arguments arguments;
  std::error_code error;
  arguments.self = fs::read_symlink("/proc/self/exe", error).string();
  arguments.vellum_program = fs::path(arguments.self).parent_path().string() + "/vellum";
  CLI::App app{"The data plane's named workloads, by Vellum and by SQLite on the same machine"};
  app.add_option("--only", arguments.only, "Workloads to run (default: all)");
  app.add_option("--scale", arguments.scale, "Of the numbers of grants")->check(CLI::PositiveNumber);
  app.add_option("--rounds", arguments.rounds, "Runs of each; the median counts")->check(CLI::PositiveNumber);
  app.add_flag("--without-sqlite", arguments.without_sqlite, "Vellum only");
  app.add_option("--directory", arguments.directory, "Where to work (default: the temporary directory)");
  app.add_option("--vellum", arguments.vellum_program, "The program, for work on files");
  app.add_flag("--list", arguments.list, "Name the workloads and end");
  app.add_option("--step", arguments.step)->group("");
  app.add_option("--round", arguments.round)->group("");
  CLI11_PARSE(app, argc, argv);
  const std::vector<Workload> all = AllWorkloads();
  const auto named = [&all](const std::string& name) {
    return std::find_if(all.begin(), all.end(), [&name](const Workload& each) { return each.name == name; });
  };
  for (const std::string& name : arguments.only) {
    if (named(name) == all.end()) {
      std::fprintf(stderr, "there is no workload %s; --list names them\n", name.c_str());
      return 2;
    }
  }
  if (!arguments.step.empty()) return RunStep(*named(arguments.only.at(0)), arguments);
  if (!arguments.list) return RunAll(arguments);
  for (const Workload& each : all) {
    std::printf("%-15s %s\n", std::string(each.name).c_str(), std::string(each.what).c_str());
  }
  return 0;
}

}  // namespace
}  // namespace vellum::bench

int main(int argc, char** argv) { return vellum::bench::Main(argc, argv); }
