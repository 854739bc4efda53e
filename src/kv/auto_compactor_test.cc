#include "kv/auto_compactor.h"

#include <gtest/gtest.h>

#include <algorithm>

#include "base/manual_clock.h"
#include "base/mutex.h"
#include "base/test_dir.h"
#include "kv/meta.h"

namespace vellum::kv {
namespace {

using Mode = AutoCompactionOptions::Mode;
using std::chrono::hours;
using std::chrono::milliseconds;
using std::chrono::minutes;
using std::chrono::nanoseconds;
using std::chrono::seconds;

TEST(KvAutoCompactionFlags, Forms) {
  struct Case {
    std::string mode;
    std::string retention;
    Mode expected;
    nanoseconds period;
    Revision revisions;
  };
  const Case cases[] = {
      {"", "", Mode::kOff, {}, 0},
      {"periodic", "0", Mode::kOff, {}, 0},
      {"periodic", "0s", Mode::kOff, {}, 0},
      {"revision", "0", Mode::kOff, {}, 0},
      {"", "1", Mode::kPeriodic, hours(1), 0},
      {"periodic", "5m", Mode::kPeriodic, minutes(5), 0},
      {"periodic", "1h30m", Mode::kPeriodic, minutes(90), 0},
      {"periodic", "1.5h", Mode::kPeriodic, minutes(90), 0},
      {"periodic", "300ms", Mode::kPeriodic, milliseconds(300), 0},
      {"periodic", "876000", Mode::kPeriodic, hours(876000), 0},
      {"revision", "1000", Mode::kRevision, {}, 1000},
  };
  for (const Case& c : cases) {
    SCOPED_TRACE(c.mode + " " + c.retention);
    const auto options = AutoCompactionOptions::FromFlags(c.mode, c.retention);
    ASSERT_TRUE(options.ok()) << options.error().ToString();
    EXPECT_EQ(options->mode, c.expected);
    if (c.expected == Mode::kPeriodic) {
      EXPECT_EQ(options->period, c.period);
    }
    if (c.expected == Mode::kRevision) {
      EXPECT_EQ(options->revisions, c.revisions);
      EXPECT_EQ(options->interval, minutes(5));
    }
  }
}

TEST(KvAutoCompactionFlags, Refused) {
  const std::pair<const char*, const char*> cases[] = {
      {"hourly", "1"},     {"periodic", "-1"},  {"periodic", "-5m"},      {"periodic", "5x"},  {"periodic", "m"},
      {"periodic", "5m3"}, {"periodic", "1e3s"}, {"periodic", "876001"},   {"periodic", "inf"},      {"periodic", "1..5h"},
      {"revision", "5m"},  {"revision", "-7"},  {"revision", "99999999999999999999"}, {"periodic", "99999999999999999999h"},
      {"periodic", " 5m"}, {"periodic", "."}};
  for (const auto& [mode, retention] : cases) {
    const auto options = AutoCompactionOptions::FromFlags(mode, retention);
    ASSERT_FALSE(options.ok()) << mode << " " << retention;
    EXPECT_EQ(options.error().code(), Code::kInvalidArgument);
  }
}

/// A plan, driven by hand.
class Plan {
 public:
  explicit Plan(AutoCompactionOptions options, const std::vector<RevisionSample>& stored = {}, ManualClock* clock = nullptr)
      : clock_(clock == nullptr ? &own_clock_ : clock), plan_(options, clock_->Now(), wall(), stored) {}

  std::int64_t wall() const { return std::chrono::floor<seconds>(clock_->WallNow().time_since_epoch()).count(); }
  std::optional<Revision> At(nanoseconds later, Revision revision, Revision compacted = kNeverCompacted) {
    clock_->Advance(later);
    const auto step = plan_.Next(clock_->Now(), wall(), revision, compacted);
    if (step.sample) samples_.push_back(*step.sample);
    return step.target;
  }
  void Finished(Revision target, bool ok) { plan_.Finished(target, ok); }
  const std::vector<SampleCommand>& samples() const { return samples_; }

 private:
  ManualClock own_clock_;
  ManualClock* const clock_;
  AutoCompactionPlan plan_;
  std::vector<SampleCommand> samples_;
};

AutoCompactionOptions Revisions(Revision keep, nanoseconds interval) {
  AutoCompactionOptions options;
  options.mode = Mode::kRevision;
  options.revisions = keep;
  options.interval = interval;
  return options;
}

AutoCompactionOptions Periodic(nanoseconds period) {
  AutoCompactionOptions options;
  options.mode = Mode::kPeriodic;
  options.period = period;
  return options;
}

TEST(KvAutoCompactionPlan, DefaultsAreTheContractsWorker) {
  const AutoCompactionOptions options;
  EXPECT_EQ(options.mode, Mode::kRevision);
  EXPECT_EQ(options.revisions, 100'000);
  EXPECT_EQ(options.interval, hours(1));
  EXPECT_EQ(options.run_timeout, minutes(5));
}

TEST(KvAutoCompactionPlan, RevisionModeKeepsTheLastOnes) {
  Plan plan(Revisions(100, minutes(5)));
  EXPECT_EQ(plan.At({}, 500), std::nullopt) << "not at once";
  EXPECT_EQ(plan.At(minutes(5) - nanoseconds(1), 500), std::nullopt);
  EXPECT_EQ(plan.At(nanoseconds(1), 500), 400);
  plan.Finished(400, true);
  EXPECT_EQ(plan.At(minutes(5), 500), std::nullopt) << "unchanged";
  EXPECT_EQ(plan.At(minutes(5), 550, 450), std::nullopt) << "not above what is compacted";
  EXPECT_EQ(plan.At(minutes(5), 551, 450), 451);
  plan.Finished(451, false);
  EXPECT_EQ(plan.At(minutes(1), 551, 450), std::nullopt);
  EXPECT_EQ(plan.At(minutes(4), 551, 450), 451) << "a failure is tried again";
  EXPECT_TRUE(plan.samples().empty());
}

TEST(KvAutoCompactionPlan, RevisionModeOnAYoungStore) {
  Plan plan(Revisions(100, minutes(5)));
  EXPECT_EQ(plan.At(minutes(5), 50), std::nullopt);
  EXPECT_EQ(plan.At(minutes(5), 100), std::nullopt);
  EXPECT_EQ(plan.At(minutes(5), 101), 1);
}

TEST(KvAutoCompactionPlan, PeriodicModeCompactsToWhatWasCurrentAPeriodAgo) {
  Plan plan(Periodic(minutes(30)));
  // One revision per second; the plan is asked every minute.
  std::vector<std::pair<int, Revision>> targets;
  for (int minute = 0; minute <= 120; ++minute) {
    const auto target = plan.At(minute == 0 ? minutes(0) : minutes(1), 2 + minute * 60);
    if (target) {
      targets.emplace_back(minute, *target);
      plan.Finished(*target, true);
    }
  }
  // Nothing before a full period, then each period.
  using Targets = std::vector<std::pair<int, Revision>>;
  EXPECT_EQ(targets, (Targets{{30, 2}, {60, 2 + 30 * 60}, {90, 2 + 60 * 60}, {120, 2 + 90 * 60}}));
}

TEST(KvAutoCompactionPlan, LongPeriodsCompactEveryHourAndKeepFewSamples) {
  Plan plan(Periodic(hours(24 * 30)));
  int compactions = 0;
  for (int hour = 0; hour < 24 * 60; ++hour) {
    const auto target = plan.At(hours(1), 100 + hour);
    if (!target) continue;
    ++compactions;
    EXPECT_LE(*target, 100 + hour - 24 * 30);
    EXPECT_GE(*target, 100 + hour - 24 * 30 - 2);
    plan.Finished(*target, true);
  }
  EXPECT_GT(compactions, 24 * 29);
  // What the rows would be: everything from the last drop on.
  const std::int64_t drop = plan.samples().back().drop_before_s;
  const auto kept = std::count_if(plan.samples().begin(), plan.samples().end(),
                                  [&](const SampleCommand& sample) { return sample.wall_s >= drop; });
  EXPECT_LE(kept, 1002);
}

TEST(KvAutoCompactionPlan, APeriodGoesOnAcrossARestart) {
  ManualClock clock;
  std::vector<RevisionSample> stored;
  {
    Plan before(Periodic(minutes(30)), {}, &clock);
    for (int minute = 0; minute < 20; ++minute) EXPECT_EQ(before.At(minutes(1), 10 + minute), std::nullopt);
    std::int64_t wall = before.samples().front().wall_s;
    EXPECT_GT(before.samples().size(), 3u);
    Revision revision = 10;
    for (const SampleCommand& sample : before.samples()) {
      stored.push_back({sample.wall_s, revision + (sample.wall_s - wall) / 60});
    }
  }
  clock.Advance(minutes(5));  // down
  Plan after(Periodic(minutes(30)), stored, &clock);
  std::optional<Revision> target;
  int minute = 0;
  while (!target && ++minute < 60) target = after.At(minutes(1), 40);
  EXPECT_LE(minute, 9) << "not another full period";
  EXPECT_GE(*target, 10);
  EXPECT_LE(*target, 15);
}

TEST(KvAutoCompactionPlan, SamplesFromTheFutureOrInContradictionNeverCompactTooMuch) {
  ManualClock clock;
  const auto wall = std::chrono::floor<seconds>(clock.WallNow().time_since_epoch()).count();
  Plan future(Periodic(minutes(10)), {{wall + 5000, 900}}, &clock);
  EXPECT_EQ(future.At({}, 1000), std::nullopt);
  Plan contradicting(Periodic(minutes(10)), {{wall - 3000, 500}, {wall - 2000, 300}, {wall - 10, 700}}, &clock);
  EXPECT_EQ(contradicting.At({}, 1000), 300);
  Plan hostile(Periodic(minutes(10)), {{-5, 5}, {0, -7}}, &clock);
  EXPECT_EQ(hostile.At({}, 1000), std::nullopt);
}

TEST(KvAutoCompactionPlan, AnIdleStoreWritesNothing) {
  Plan plan(Periodic(hours(1)));
  for (int minute = 0; minute < 600; ++minute) plan.At(minutes(1), 7, 7);
  EXPECT_EQ(plan.samples().size(), 1u);
}

TEST(KvAutoCompactionPlan, OffDoesNothing) {
  AutoCompactionOptions options;
  options.mode = Mode::kOff;
  Plan plan(options);
  EXPECT_EQ(plan.At(hours(100), 1'000'000), std::nullopt);
  EXPECT_TRUE(plan.samples().empty());
}

TEST(KvAutoCompactionPlan, AFailedPeriodicCompactionIsTriedAtTheNextSample) {
  Plan plan(Periodic(minutes(30)));
  EXPECT_EQ(plan.At({}, 10), std::nullopt);
  ASSERT_EQ(plan.At(minutes(30), 20), 10);
  plan.Finished(10, false);
  EXPECT_EQ(plan.At(minutes(1), 21), std::nullopt);
  EXPECT_EQ(plan.At(minutes(2), 22), 10);
}

class Lines final : public LogSink {
 public:
  void Write(const LogRecord& record) override {
    MutexLock lock(&mu_);
    lines_.emplace_back(record.message);
  }
  std::vector<std::string> lines() {
    MutexLock lock(&mu_);
    return lines_;
  }

 private:
  Mutex mu_;
  std::vector<std::string> lines_ VELLUM_GUARDED_BY(mu_);
};

TEST(KvAutoCompactor, LogsWhatHappensAndGoesOnAfterFailures) {
  ManualClock clock;
  Lines lines;
  std::vector<Revision> targets;
  Status next;
  Revision current = 150;
  AutoCompactor::Hooks hooks;
  hooks.position = [&] { return AutoCompactor::Position{current, kNeverCompacted}; };
  hooks.compact = [&](Revision target, const std::function<void(Status)>& done) {
    targets.push_back(target);
    done(next);
  };
  AutoCompactor compactor(Revisions(100, hours(1)), hooks, {}, &clock, Logger(&lines));
  compactor.Tick();
  EXPECT_TRUE(targets.empty());
  clock.Advance(hours(1));
  next = Unavailable("the writer has stopped");
  compactor.Tick();
  clock.Advance(hours(1));
  next = Status();
  compactor.Tick();
  clock.Advance(hours(1));
  current = 200;
  next = OutOfRange("already compacted to revision 120 (requested: 100)", Reason::kCompacted);
  compactor.Tick();
  EXPECT_EQ(targets, (std::vector<Revision>{50, 50, 100}));
  EXPECT_EQ(lines.lines(),
            (std::vector<std::string>{"Auto-compact failed: the writer has stopped", "Auto-compact succeeded: target=50"}));
}

TEST(KvAutoCompactor, ARunThatTakesTooLongFails) {
  ManualClock clock;
  Lines lines;
  std::function<void(Status)> late;
  AutoCompactor::Hooks hooks;
  hooks.position = [&] { return AutoCompactor::Position{150, kNeverCompacted}; };
  hooks.compact = [&](Revision, std::function<void(Status)> done) {
    late = std::move(done);
    clock.Advance(minutes(5));
  };
  {
    AutoCompactor compactor(Revisions(100, hours(1)), hooks, {}, &clock, Logger(&lines));
    clock.Advance(hours(1));
    compactor.Tick();
  }
  late(Status());  // after the compactor has gone
  EXPECT_EQ(lines.lines(), (std::vector<std::string>{
                               "Auto-compact failed: compaction to revision 50 took longer than 300 s"}));
}

TEST(KvAutoCompactor, TheThreadCompactsAndStopsWhileACompactionHangs) {
  ManualClock clock;
  Mutex mu;
  CondVar called_wake;
  bool called = false;
  AutoCompactor::Hooks hooks;
  hooks.position = [&] {
    clock.Advance(hours(1));
    return AutoCompactor::Position{150, kNeverCompacted};
  };
  hooks.compact = [&](Revision, const std::function<void(Status)>&) {
    MutexLock lock(&mu);
    called = true;
    called_wake.NotifyAll();
  };
  AutoCompactionOptions options = Revisions(100, hours(1));
  options.run_timeout = hours(1000);
  AutoCompactor compactor(options, hooks, {}, &clock);
  compactor.Start();
  {
    MutexLock lock(&mu);
    while (!called) called_wake.Wait(&mu);
  }
  compactor.Stop();
  compactor.Stop();
}

TEST(KvAutoCompactor, SamplesAreProposedAndLoaded) {
  const TestDir dir;
  storage::DatabaseOptions options;
  options.path = dir.path();
  options.families = FamilyList({});
  auto database = storage::Database::Open(std::move(options));
  ASSERT_TRUE(database.ok());
  ManualClock clock;
  Revision current = 7;
  AutoCompactor::Hooks hooks;
  hooks.position = [&] { return AutoCompactor::Position{current, kNeverCompacted}; };
  hooks.propose = [&](Command command, const std::function<void(Result<CommandResult>)>& done) {
    const auto& sample = std::get<SampleCommand>(command);  // what the applier does
    storage::Batch batch;
    batch.DeleteRange(kMeta, SampleRow(0), SampleRow(sample.drop_before_s));
    batch.Put(kMeta, SampleRow(sample.wall_s), EncodeMetaNumber(current));
    ASSERT_TRUE((*database)->Write(std::move(batch)).ok());
    done(CommandResult(Applied{}));
  };
  AutoCompactor compactor(Periodic(hours(10)), hooks, {}, &clock);
  const auto wall = std::chrono::floor<seconds>(clock.WallNow().time_since_epoch()).count();
  compactor.Tick();
  clock.Advance(minutes(6));
  current = 9;
  compactor.Tick();
  const auto samples = LoadSamples(**database);
  ASSERT_TRUE(samples.ok());
  EXPECT_EQ(*samples, (std::vector<RevisionSample>{{wall, 7}, {wall + 360, 9}}));
  storage::Batch damage;
  damage.Put(kMeta, SampleRow(5), "short");
  ASSERT_TRUE((*database)->Write(std::move(damage)).ok());
  EXPECT_EQ(LoadSamples(**database).error().code(), Code::kDataLoss);
}

}  // namespace
}  // namespace vellum::kv
