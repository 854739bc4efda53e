// The same commands while the disk fails, or the power.
#include <gtest/gtest.h>

#include "base/test_dir.h"
#include "base/test_random.h"
#include "kv/lessor.h"
#include "model/harness.h"
#include "storage/fault_file_system.h"

namespace vellum::model {
namespace {

using storage::FaultFileSystem;

/// A run's commands, and what the store must be after each of the first n.
struct Script {
  /// `compact_every`: so often a compaction comes in between; 0: only by chance.
  Script(std::uint64_t seed, int count, int compact_every = 0) {
    Generator generator(seed);
    after.emplace_back();
    // A compaction is refused when nothing has changed since the last one: another command then takes its place.
    bool refused = false;
    while (static_cast<int>(commands.size()) < count) {
      // Keys enough for parts, first.
      kv::Command command = commands.size() < 6
                                ? kv::Command(kv::PutCommand{{.key = generator.NextKey(), .value = std::string(300, 'v')}})
                                : generator.NextCommand(after.back());
      const bool compacts =
          compact_every > 0 && commands.size() % static_cast<std::size_t>(compact_every) == 7 && !refused;
      if (compacts) command = kv::CompactCommand{after.back().revision() - 1};
      if (commands.size() == 8) command = kv::DeleteRangeCommand{{.key = "a", .range_end = "z", .prev_kv = true}};
      Reference next = after.back();
      answers.push_back(Describe(next.Apply(command)));
      if (answers.back().starts_with("error")) {  // changes nothing: no use here
        answers.pop_back();
        refused = compacts;
        continue;
      }
      refused = false;
      commands.push_back(std::move(command));
      after.push_back(std::move(next));
    }
  }
  std::vector<kv::Command> commands;
  std::vector<std::string> answers;
  std::vector<Reference> after;  ///< One more than commands.
};

struct Progress {
  std::size_t acknowledged = 0;  ///< Commands.
  std::size_t attempted = 0;     ///< The last of these may or may not have taken effect.
};

/// Runs commands from `first` on until one fails. Compactions are waited for to the end if `physical`; one may then fail
/// although its logical step is done.
Progress RunScript(kv::Engine* engine, const Script& script, std::size_t first, bool physical = false) {
  Progress progress{first, first};
  while (progress.attempted < script.commands.size()) {
    const std::size_t i = progress.attempted++;
    const auto result = Run(engine, script.commands[i], physical);
    if (!result.ok() && physical) return progress;
    if (!result.ok()) {
      EXPECT_EQ(result.error().code(), Code::kUnavailable) << result.error().ToString();
      // The writer is terminal from now on, and reads go on.
      const auto later = engine->ProposeAndWait(kv::PutCommand{{.key = "later", .value = "x"}});
      EXPECT_EQ(later.error().reason(), Reason::kStopped);
      EXPECT_FALSE(engine->GetInfo().writer.ok());
      EXPECT_EQ(engine->CurrentView()->revision(), script.after[progress.acknowledged].revision());
      return progress;
    }
    EXPECT_EQ(Describe(result), script.answers[i]);
    progress.acknowledged = progress.attempted;
  }
  return progress;
}

bool SameStore(const kv::Engine& engine, const Reference& reference) {
  const kv::Engine::Info info = engine.GetInfo();
  if (info.revision != reference.revision() || info.compacted != reference.compacted()) return false;
  std::vector<LeaseId> leases = const_cast<kv::Engine&>(engine).lessor().List();
  return std::set<LeaseId>(leases.begin(), leases.end()) == reference.leases();
}

/// After a failure the store must be what it was after one of the commands from the last acknowledged on, whole; and it
/// goes on from there, giving out no revision twice.
void CheckRecovered(const kv::EngineOptions& options, const Script& script, const Progress& progress) {
  auto engine = kv::Engine::Open(options);
  ASSERT_TRUE(engine.ok()) << engine.error().ToString();
  std::size_t at = progress.acknowledged;
  while (at < progress.attempted && !SameStore(**engine, script.after[at])) ++at;
  ASSERT_TRUE(SameStore(**engine, script.after[at])) << "revision " << (*engine)->GetInfo().revision << ", acknowledged "
                                                     << script.after[progress.acknowledged].revision();
  CheckState(**engine, script.after[at]);
  if (::testing::Test::HasFatalFailure()) return;
  CheckHistory(**engine, script.after[at]);
  if (::testing::Test::HasFatalFailure()) return;
  const Progress rest = RunScript(engine->get(), script, at);
  ASSERT_EQ(rest.acknowledged, script.commands.size());
  CheckHistory(**engine, script.after.back());
}

kv::EngineOptions Options(const TestDir& dir, Clock* clock, FaultFileSystem* files) {
  kv::EngineOptions options = TinyOptions(dir.path() + "/data", clock);
  options.file_system = files->file_system();
  options.reclaim_delay = std::chrono::hours(1000);
  return options;
}

/// True if the fault struck.
bool FailAt(const Script& script, FaultFileSystem::Operation operation, std::uint64_t nth) {
  SCOPED_TRACE("operation " + std::to_string(static_cast<int>(operation)) + ", number " + std::to_string(nth));
  TestDir dir;
  ManualClock clock;
  const auto files = FaultFileSystem::Create();
  files->Inject({.operation = operation, .nth = nth, .name_contains = "", .half_done = nth % 2 == 0});
  Progress progress;
  if (auto engine = kv::Engine::Open(Options(dir, &clock, files.get())); engine.ok()) {
    progress = RunScript(engine->get(), script, 0);
  }
  const bool struck = files->faults() > 0;
  files->ClearFault();
  CheckRecovered(Options(dir, &clock, files.get()), script, progress);
  return struck;
}

TEST(ModelFault, EveryWriteAndEverySyncMayFail) {
  const Script script(SeededRandom()(), 24);
  for (const auto operation : {FaultFileSystem::Operation::kAppend, FaultFileSystem::Operation::kSync}) {
    std::uint64_t nth = 1;
    while (!::testing::Test::HasFailure() && FailAt(script, operation, nth)) ++nth;
    EXPECT_GT(nth, 20u);
  }
}

bool CutPowerAt(const Script& script, std::uint64_t sync, FaultFileSystem::Leftover leftover, bool physical = false) {
  SCOPED_TRACE("power cut at sync " + std::to_string(sync));
  TestDir dir;
  ManualClock clock;
  const auto files = FaultFileSystem::Create();
  files->CutPowerAtSync(sync);
  Progress progress;
  kv::EngineOptions options = Options(dir, &clock, files.get());
  if (physical) options.reclaim_delay = std::chrono::milliseconds(0);
  if (auto engine = kv::Engine::Open(options); engine.ok()) {
    progress = RunScript(engine->get(), script, 0, physical);
  }
  const bool cut = files->power_is_cut();
  files->CutPower();
  files->DropUnsynced(leftover, sync);
  CheckRecovered(Options(dir, &clock, files.get()), script, progress);
  return cut;
}

TEST(ModelFault, PowerMayFailAtEverySync) {
  const Script script(SeededRandom()(), 24);
  std::uint64_t sync = 1;
  while (!::testing::Test::HasFailure() && CutPowerAt(script, sync, FaultFileSystem::Leftover::kNothing)) ++sync;
  EXPECT_GT(sync, 20u);
}

TEST(ModelFault, WhatPowerLeavesBehindMayBeAnyPrefix) {
  const Script script(SeededRandom()(), 24);
  std::uint64_t sync = 1;
  while (!::testing::Test::HasFailure() && CutPowerAt(script, sync, FaultFileSystem::Leftover::kPrefixes)) ++sync;
  EXPECT_GT(sync, 20u);
}

TEST(ModelFault, PowerMayFailInEachStepOfReclaiming) {
  std::mt19937_64 random = SeededRandom();
  const Script script(random(), 24, /*compact_every=*/8);
  // Flushes and rewritten tables have many syncs: a third of them per run, each run another.
  std::uint64_t sync = 1 + random() % 3;
  while (!::testing::Test::HasFailure() && CutPowerAt(script, sync, FaultFileSystem::Leftover::kNothing, true)) sync += 3;
  EXPECT_GT(sync, 50u);
}

/// One run of a delete range in six parts, whose write number `nth` fails. Counts what became of it.
bool FailBetweenParts(std::uint64_t nth, int* untouched, int* finished) {
  SCOPED_TRACE("append number " + std::to_string(nth));
  TestDir dir;
  ManualClock clock;
  const auto files = FaultFileSystem::Create();
  kv::EngineOptions options = Options(dir, &clock, files.get());
  options.apply_batch_bytes_max = 1000;
  options.rocksdb_options = "";
  constexpr int kKeys = 6;
  {
    auto engine = kv::Engine::Open(options);
    EXPECT_TRUE(engine.ok());
    if (!engine.ok()) return false;
    for (int i = 0; i < kKeys; ++i) {
      // Larger than the log's buffer, so that each part reaches the disk by itself.
      const std::string key = "k" + std::to_string(100 + i);
      EXPECT_TRUE((*engine)->ProposeAndWait(kv::PutCommand{{.key = key, .value = std::string(1'200'000, 'v')}}).ok());
    }
    files->Inject({.operation = FaultFileSystem::Operation::kAppend, .nth = nth, .name_contains = ".log"});
    const auto result = (*engine)->ProposeAndWait(kv::DeleteRangeCommand{{.key = "k", .range_end = "l"}});
    EXPECT_EQ(result.ok(), files->faults() == 0);
    EXPECT_EQ(result.error().maybe_applied(), !result.ok());
    if (result.ok()) return false;
  }
  files->ClearFault();
  auto engine = kv::Engine::Open(options);
  EXPECT_TRUE(engine.ok()) << engine.error().ToString();
  if (!engine.ok()) return false;
  const kv::Engine::Info info = (*engine)->GetInfo();
  if (info.revision == kKeys + 1) {
    EXPECT_EQ(info.keys, kKeys);
    ++*untouched;
  } else {
    EXPECT_EQ(info.revision, kKeys + 2);
    EXPECT_EQ(info.keys, 0);
    ++*finished;
    kv::EventQuery query{.from = info.revision, .to = info.revision, .intervals = {kv::KeyInterval::Everything()}};
    const auto events = kv::ReadEvents(*(*engine)->CurrentView(), query);
    EXPECT_TRUE(events.ok());
    EXPECT_EQ(events->revisions.at(0).events.size(), static_cast<std::size_t>(kKeys));
  }
  EXPECT_TRUE((*engine)->ProposeAndWait(kv::PutCommand{{.key = "k100", .value = "new"}}).ok());
  EXPECT_EQ((*engine)->GetInfo().revision, info.revision + 1);
  return true;
}

TEST(ModelFault, ACommandInPartsIsWholeAfterAFailureBetweenAnyTwo) {
  int untouched = 0;
  int finished = 0;
  std::uint64_t nth = 1;
  while (!::testing::Test::HasFailure() && FailBetweenParts(nth, &untouched, &finished)) ++nth;
  EXPECT_GT(finished, 3) << "of " << nth;
  EXPECT_GT(untouched, 0);
}

}  // namespace
}  // namespace vellum::model
