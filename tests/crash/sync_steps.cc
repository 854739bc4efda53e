// Kills a process at every step of every way to change syncs, and looks at what it leaves.
//
// Per scene: a child prepares a data directory; another one plays the act to its end and says which steps it took; then,
// for each step, a child plays it on a copy of the directory and kills itself (SIGKILL) there, and a last one opens what is
// left: each sync is as it was before or as the act makes it, wholly; nothing belongs to nobody; and the act can be played
// again, to its end. This process itself never has a thread or a store, so that it can fork.
//
//   vellum_sync_steps                            every named step
//   vellum_sync_steps --scene fold --event 17    one of them; --keep leaves the directories
//
// VELLUM_TEST_SCALE above 1 takes in some of the steps without a name (appends, links, ...), from 100 on all of them.
#include <signal.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <iostream>
#include <map>
#include <set>

#include "kv/engine.h"
#include "scenes.h"
#include "steps.h"
#include "sync/kv_catalog.h"

namespace vellum::sync {
namespace {

namespace fs = std::filesystem;

/// Runs `body` in a child. Its exit code, or minus the signal that ended it.
int InChild(const std::function<int()>& body) {
  std::fflush(nullptr);
  const pid_t child = ::fork();
  if (child == 0) {
    const int code = body();
    std::fflush(nullptr);
    ::_exit(code);
  }
  int status = 0;
  if (child < 0 || ::waitpid(child, &status, 0) != child) std::abort();
  return WIFSIGNALED(status) ? -WTERMSIG(status) : WEXITSTATUS(status);
}

int Fail(const std::string& what) {
  std::cerr << what << std::endl;
  return 1;
}

/// Counts steps, and kills at the one it is told.
class Watch {
 public:
  /// `kill_at` 0: never.
  explicit Watch(int kill_at) : kill_at_(kill_at) {}

  void Arm() { armed_ = true; }
  void See(const std::string& step) {
    if (!armed_) return;
    const int event = ++events_;
    if (event == kill_at_) ::kill(::getpid(), SIGKILL);
    if (kill_at_ != 0) return;
    MutexLock lock(&mu_);
    steps_.push_back(step);
  }
  std::vector<std::string> steps() const {
    MutexLock lock(&mu_);
    return steps_;
  }

 private:
  const int kill_at_;
  std::atomic<bool> armed_{false};
  std::atomic<int> events_{0};
  mutable Mutex mu_;
  std::vector<std::string> steps_ VELLUM_GUARDED_BY(mu_);
};

/// A world over a metadata plane, as the program has it.
class Life {
 public:
  Status Open(const std::string& directory, Watch* watch) {
    kv::EngineOptions options;
    options.data_dir = directory;
    options.unsafe_no_fsync = true;  // a kill takes nothing from the machine's memory
    options.block_cache_bytes = 4u << 20;
    options.event_ring_bytes = 1u << 20;
    options.count_ring_bytes = 1u << 20;
    VELLUM_ASSIGN_OR_RETURN(engine_, kv::Engine::Open(options));
    kept_catalog_ = std::make_unique<KvCatalog>(engine_.get());
    catalog_ = std::make_unique<WatchedCatalog>(kept_catalog_.get(), [watch](const std::string& step) {
      if (watch != nullptr) watch->See(step);
    });
    world_.directory = directory;
    world_.catalog = catalog_.get();
    world_.faults = storage::FaultFileSystem::Create();
    if (watch != nullptr) {
      world_.faults->SetObserver([watch](auto operation, auto moment, const std::string& path) {
        using Operation = storage::FaultFileSystem::Operation;
        if (operation != Operation::kRead) watch->See(StepOf(operation, moment, path));
      });
    }
    return world_.Open();
  }
  World* world() { return &world_; }

 private:
  std::unique_ptr<kv::Engine> engine_;
  std::unique_ptr<KvCatalog> kept_catalog_;
  std::unique_ptr<WatchedCatalog> catalog_;
  World world_;
};

/// One scene, played again and again in directories of its own.
class Play {
 public:
  Play(const Scene& scene, std::string root) : scene_(scene), root_(std::move(root)) {}

  /// Prepares, plays to the end. False: it already fails without a kill.
  bool Rehearse() {
    fs::create_directories(root_);
    if (InChild([&] { return Do(root_ + "/before", scene_.prepare, nullptr, "0"); }) != 0) return false;
    Copy("after");
    const int played = InChild([&] {
      Watch watch(0);
      const int code = Do(root_ + "/after", scene_.act, &watch, "1");
      std::ofstream steps(root_ + "/steps");
      for (const std::string& step : watch.steps()) steps << step << "\n";
      return code;
    });
    if (played != 0) return false;
    for (std::size_t i = 0; i < scene_.between.size(); ++i) {
      const std::string name = "between" + std::to_string(i);
      Copy(name);
      if (InChild([&] { return Do(root_ + "/" + name, scene_.between[i], nullptr, std::to_string(i + 2)); }) != 0) return false;
    }
    std::ifstream in(root_ + "/steps");
    for (std::string step; std::getline(in, step);) steps_.push_back(step);
    return true;
  }

  /// Event n is steps()[n - 1].
  const std::vector<std::string>& steps() const { return steps_; }
  std::vector<std::string> missing() const {
    std::vector<std::string> missing;
    for (const std::string& step : scene_.steps) {
      if (std::find(steps_.begin(), steps_.end(), step) == steps_.end()) missing.push_back(step);
    }
    return missing;
  }

  /// Kills at the event, and looks. False after printing what is wrong.
  bool KillAt(int event) {
    Copy("killed");
    const int ended = InChild([&] {
      Watch watch(event);
      return Do(root_ + "/killed", scene_.act, &watch, "");
    });
    // Its order is not always the same: it may take fewer events than in the rehearsal, and then ends well.
    if (ended != -SIGKILL && ended != 0) {
      Fail("the act failed before event " + std::to_string(event));
    } else if (InChild([&] { return Look(root_ + "/killed"); }) == 0) {
      killed_ += ended == -SIGKILL ? 1 : 0;
      return true;
    }
    const std::string step = event <= static_cast<int>(steps_.size()) ? steps_[static_cast<std::size_t>(event) - 1] : "";
    Fail("again: vellum_sync_steps --keep --scene '" + scene_.name + "' --event " + std::to_string(event) +
         (step.empty() ? "" : "  (" + step + ")"));
    return false;
  }
  int killed() const { return killed_; }

 private:
  void Copy(const std::string& name) const {
    fs::remove_all(root_ + "/" + name);
    fs::copy(root_ + "/before", root_ + "/" + name, fs::copy_options::recursive);
  }
  std::string StatePath(const std::string& number) const { return root_ + "/state" + number; }

  /// Opens, does it, opens again and writes down how things stand under `number`.
  int Do(const std::string& directory, const std::function<Status(World*)>& what, Watch* watch, const std::string& number) {
    {
      Life life;
      fs::create_directories(directory);
      if (Status opened = life.Open(directory, watch); !opened.ok()) return Fail("open: " + opened.ToString());
      if (watch != nullptr) watch->Arm();
      if (Status done = what(life.world()); !done.ok()) return Fail(scene_.name + ": " + done.ToString());
    }
    if (number.empty()) return 0;
    Life life;
    if (Status opened = life.Open(directory, nullptr); !opened.ok()) return Fail("open: " + opened.ToString());
    const auto described = Describe(life.world());
    if (!described.ok()) return Fail(scene_.name + ": " + described.error().ToString());
    std::ofstream out(StatePath(number));
    for (const auto& [id, text] : *described) out << id << "\n" << text << "\n";
    return 0;
  }

  Described ReadState(const std::string& number) const {
    Described state;
    std::ifstream in(StatePath(number));
    std::string text;
    for (std::string id; std::getline(in, id) && std::getline(in, text);) state[id] = text;
    return state;
  }

  int Look(const std::string& directory) const {
    std::vector<Described> states;
    for (std::size_t i = 0; i < 2 + scene_.between.size(); ++i) states.push_back(ReadState(std::to_string(i)));
    Life life;
    if (Status opened = life.Open(directory, nullptr); !opened.ok()) return Fail("does not open: " + opened.ToString());
    if (const std::string wrong = Check(life.world(), AllowedBy(states)); !wrong.empty()) return Fail("after the kill: " + wrong);
    if (Status again = scene_.act(life.world()); !again.ok()) return Fail("cannot be done again: " + again.ToString());
    if (const auto swept = life.world()->store->Sweep(); !swept.ok()) return Fail("sweep: " + swept.error().ToString());
    if (const std::string wrong = Check(life.world(), AllowedBy({states[1]})); !wrong.empty()) return Fail("done again: " + wrong);
    const auto violations = life.world()->faults->violations();
    return violations.empty() ? 0 : Fail("a sealed file was opened for writing: " + violations.front());
  }

  static std::string Check(World* world, const Allowed& allowed) {
    const auto state = Describe(world);
    if (!state.ok()) return state.error().ToString();
    if (const std::string wrong = Compare(*state, allowed); !wrong.empty()) return wrong;
    const auto left = LeftBehind(world);
    if (!left.ok()) return left.error().ToString();
    return left->empty() ? "" : "left behind: " + left->front();
  }

  const Scene& scene_;
  const std::string root_;
  std::vector<std::string> steps_;
  int killed_ = 0;
};

struct Arguments {
  std::string scene;
  int event = 0;
  bool keep = false;
  double scale = 1;
};

/// Each named step the first time it is taken; with more time also the last, and of the others every `stride`-th.
std::set<int> EventsToKillAt(const std::vector<std::string>& steps, double scale) {
  const int stride = scale >= 100 ? 1 : scale > 1 ? 23 : 1 << 30;
  std::map<std::string, std::pair<int, int>> named;
  std::set<int> events;
  for (int event = 1; event <= static_cast<int>(steps.size()); ++event) {
    const std::string& step = steps[static_cast<std::size_t>(event) - 1];
    if (event % stride == 0) events.insert(event);
    if (step.empty()) continue;
    named.try_emplace(step, event, event).first->second.second = event;
  }
  for (const auto& [step, ends] : named) events.insert({ends.first, scale > 1 ? ends.second : ends.first});
  return events;
}

bool PlayScene(const Scene& scene, const std::string& root, const Arguments& arguments) {
  Play play(scene, root);
  if (!play.Rehearse()) return Fail("scene '" + scene.name + "' fails when nothing stops it") == 0;
  bool good = true;
  for (const std::string& step : play.missing()) {
    good = Fail("scene '" + scene.name + "' never takes the step " + step) == 0;
  }
  std::set<int> events = EventsToKillAt(play.steps(), arguments.scale);
  if (arguments.event != 0) events = {arguments.event};
  for (const int event : events) good = play.KillAt(event) && good;
  std::cout << scene.name << ": " << play.steps().size() << " events, killed at " << play.killed() << " of " << events.size()
            << std::endl;
  // The order of a few events differs from run to run; most of them must have been met.
  if (play.killed() * 10 < static_cast<int>(events.size()) * 9) good = Fail("too few kills struck") == 0;
  return good;
}

int Main(const Arguments& arguments) {
  // In memory where that is possible: a kill does not ask the disk.
  const char* const given = ::getenv("TMPDIR");
  std::string root = given != nullptr ? given : fs::is_directory("/dev/shm") ? "/dev/shm" : "/tmp";
  root += "/vellum-sync-steps-XXXXXX";
  if (::mkdtemp(root.data()) == nullptr) return Fail("no directory " + root);
  bool good = true;
  for (const Scene& scene : Scenes()) {
    if (!arguments.scene.empty() && scene.name != arguments.scene) continue;
    good = PlayScene(scene, root + "/" + std::to_string(&scene - Scenes().data()), arguments) && good;
  }
  if (arguments.keep) {
    std::cout << root << std::endl;
  } else {
    fs::remove_all(root);
  }
  return good ? 0 : 1;
}

}  // namespace
}  // namespace vellum::sync

int main(int argc, char** argv) {
  vellum::sync::Arguments arguments;
  if (const char* const scale = ::getenv("VELLUM_TEST_SCALE")) arguments.scale = std::atof(scale);
  for (int i = 1; i < argc; ++i) {
    if (std::strcmp(argv[i], "--keep") == 0) {
      arguments.keep = true;
    } else if (std::strcmp(argv[i], "--scene") == 0 && i + 1 < argc) {
      arguments.scene = argv[++i];
    } else if (std::strcmp(argv[i], "--event") == 0 && i + 1 < argc) {
      arguments.event = std::atoi(argv[++i]);
    } else {
      std::fprintf(stderr, "usage: %s [--keep] [--scene NAME [--event N]]\n", argv[0]);
      return 2;
    }
  }
  return vellum::sync::Main(arguments);
}
