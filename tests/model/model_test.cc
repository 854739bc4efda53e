// Random commands against the reference, under several configurations.
#include <gtest/gtest.h>

#include <chrono>
#include <cstdlib>
#include <future>
#include <iostream>

#include "base/test_dir.h"
#include "base/test_random.h"
#include "model/harness.h"
#include "model/watcher.h"

namespace vellum::model {
namespace {

/// How long each test goes on; more for a night, by VELLUM_TEST_SECONDS.
std::chrono::duration<double> Budget() {
  const char* const given = std::getenv("VELLUM_TEST_SECONDS");
  return std::chrono::duration<double>(given != nullptr ? std::stod(given) : 3.0);
}

struct Course {
  kv::EngineOptions options;
  int reopen_every = 0;      ///< 0: never.
  int physical_one_in = 4;   ///< Of the compactions.
  int commands_max = 400;    ///< Per store; then a new one is begun.
};

class Story {
 public:
  Story(Course course, std::uint64_t seed) : course_(std::move(course)), generator_(seed) {}

  void Run() {
    Open();
    for (int step = 1; step <= course_.commands_max && !::testing::Test::HasFatalFailure(); ++step) {
      Step();
      if (course_.reopen_every > 0 && step % course_.reopen_every == 0) Reopen();
      if (step % 40 == 0) VerifyWatchers();
    }
    if (::testing::Test::HasFatalFailure()) return;
    VerifyWatchers();
    if (::testing::Test::HasFatalFailure()) return;
    CheckHistory(*engine_, reference_);
  }

 private:
  void Open() {
    engine_.reset();
    auto engine = kv::Engine::Open(course_.options);
    ASSERT_TRUE(engine.ok()) << engine.error().ToString();
    engine_ = *std::move(engine);
    for (Watcher& watcher : watchers_) watcher.Attach(engine_.get());
  }
  void Reopen() {
    VerifyWatchers();
    if (::testing::Test::HasFatalFailure()) return;
    for (Watcher& watcher : watchers_) watcher.Detach();
    Open();
    if (::testing::Test::HasFatalFailure()) return;
    CheckState(*engine_, reference_);
  }
  void VerifyWatchers() {
    for (Watcher& watcher : watchers_) {
      if (!::testing::Test::HasFatalFailure()) watcher.Verify(reference_);
    }
  }

  void Step() {
    const kv::Command command = generator_.NextCommand(reference_);
    const bool physical = generator_.Below(static_cast<std::uint64_t>(course_.physical_one_in)) == 0;
    const std::string expected = Describe(reference_.Apply(command));
    ASSERT_EQ(Describe(model::Run(engine_.get(), command, physical)), expected);
    const RangeRequest request = generator_.NextRange(reference_);
    ASSERT_EQ(Describe(kv::ReadRange(*engine_->CurrentView(), request)), Describe(reference_.Range(request)));
    if (generator_.Below(10) == 0) CheckState(*engine_, reference_);
    if (watchers_.size() < 8 && generator_.Below(10) == 0) AddWatcher();
  }
  void AddWatcher() {
    const std::string key = generator_.NextKey();
    const Revision span = reference_.revision() - std::max<Revision>(reference_.compacted(), 1) + 2;
    const Revision start =
        std::max<Revision>(reference_.compacted(), 1) + static_cast<Revision>(generator_.Below(static_cast<std::uint64_t>(span)));
    watchers_.emplace_back(key, generator_.NextRangeEnd(key), start);
    watchers_.back().Attach(engine_.get());
  }

  const Course course_;
  Generator generator_;
  Reference reference_;
  std::unique_ptr<kv::Engine> engine_;
  std::vector<Watcher> watchers_;
};

/// Store after store until the time is over.
void RunStories(const std::function<Course(const std::string&, Clock*)>& course) {
  std::mt19937_64 random = SeededRandom();
  const auto begin = std::chrono::steady_clock::now();
  int stories = 0;
  do {
    const std::uint64_t seed = random();
    SCOPED_TRACE("story " + std::to_string(stories) + ", its seed " + std::to_string(seed));
    TestDir dir;
    ManualClock clock;
    Story(course(dir.path() + "/data", &clock), seed).Run();
    ++stories;
  } while (std::chrono::steady_clock::now() - begin < Budget() && !::testing::Test::HasFailure());
  std::cout << stories << " stores\n";
}

TEST(Model, RandomCommandsAnswerAsTheReference) {
  RunStories([](const std::string& directory, Clock* clock) {
    Course course;
    course.options.data_dir = directory;
    course.options.clock = clock;
    course.options.free_space_floor_bytes = 0;
    course.options.block_cache_bytes = 8u << 20;
    course.options.unsafe_no_fsync = true;
    return course;
  });
}

TEST(Model, TinyFilesAndPartsChangeNothing) {
  RunStories([](const std::string& directory, Clock* clock) {
    Course course;
    course.options = TinyOptions(directory, clock);
    course.options.unsafe_no_fsync = true;
    course.physical_one_in = 2;
    return course;
  });
}

TEST(Model, ReopeningChangesNothing) {
  RunStories([](const std::string& directory, Clock* clock) {
    Course course;
    course.options = TinyOptions(directory, clock);
    course.options.unsafe_no_fsync = true;
    course.reopen_every = 7;
    course.commands_max = 100;
    return course;
  });
}

/// Proposes all commands, as the groups come, and returns a digest of what is stored then.
std::uint64_t DigestOfRun(const std::vector<kv::Command>& commands, std::size_t group_max, bool one_by_one) {
  TestDir dir;
  ManualClock clock;
  kv::EngineOptions options = TinyOptions(dir.path() + "/data", &clock);
  options.group_commands_max = group_max;
  options.reclaim_delay = std::chrono::hours(1000);  // its commands would come when they come
  auto engine = kv::Engine::Open(options);
  EXPECT_TRUE(engine.ok());
  if (!engine.ok()) return 0;
  std::vector<std::future<Result<kv::CommandResult>>> answers;
  for (const kv::Command& command : commands) {
    auto promise = std::make_shared<std::promise<Result<kv::CommandResult>>>();
    answers.push_back(promise->get_future());
    (*engine)->Propose(command, [promise](Result<kv::CommandResult> result) { promise->set_value(std::move(result)); });
    if (one_by_one) answers.back().wait();
  }
  std::string all;
  for (auto& answer : answers) all += Describe(answer.get());
  return DigestOfRows(**engine) ^ std::hash<std::string>()(all);
}

TEST(Model, GroupingChangesNothing) {
  std::mt19937_64 random = SeededRandom();
  Generator generator(random());
  Reference reference;
  std::vector<kv::Command> commands;
  for (int i = 0; i < 400; ++i) {
    commands.push_back(generator.NextCommand(reference));
    static_cast<void>(reference.Apply(commands.back()).ok());
  }
  const std::uint64_t digest = DigestOfRun(commands, 1, true);
  EXPECT_EQ(DigestOfRun(commands, 3, false), digest);
  EXPECT_EQ(DigestOfRun(commands, 4096, false), digest);
}

}  // namespace
}  // namespace vellum::model
