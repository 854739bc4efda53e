#include "kv/auto_compactor.h"

#include <algorithm>
#include <cctype>
#include <charconv>
#include <string>
#include <thread>
#include <utility>

#include "base/mutex.h"
#include "kv/meta.h"

namespace vellum::kv {
namespace {

using std::chrono::hours;
using std::chrono::milliseconds;
using std::chrono::minutes;
using std::chrono::nanoseconds;
using std::chrono::seconds;

/// The longest period. It leaves room for times before and after it in 64 bits of nanoseconds.
constexpr hours kPeriodMax{24 * 365 * 100};
/// Samples per period at most, so that a long period does not need many.
constexpr int kSamplesPerPeriodMax = 1000;
constexpr minutes kRevisionModeInterval{5};
/// How often the thread looks at the clock, and at a compaction that it waits for.
constexpr milliseconds kPoll{1000};
constexpr milliseconds kRunPoll{20};

struct Unit {
  std::string_view name;
  double ns;
};
constexpr Unit kUnits[] = {{"ns", 1},          {"us", 1e3}, {"\xc2\xb5s", 1e3}, {"ms", 1e6},
                           {"s", 1e9}, {"m", 60e9}, {"h", 3600e9}};

/// Go's duration syntax without a sign: "1h30m", "1.5h", "300ms". nullopt if it is none, or above the longest period.
std::optional<nanoseconds> ParseDuration(std::string_view text) {
  if (text.empty()) return std::nullopt;
  double total = 0;
  while (!text.empty()) {
    double number = 0;
    // from_chars would also take a sign, "inf" and exponents.
    const std::size_t digits = std::min(text.find_first_not_of("0123456789."), text.size());
    const auto [end, error] = std::from_chars(text.data(), text.data() + digits, number, std::chars_format::fixed);
    if (error != std::errc() || end != text.data() + digits) return std::nullopt;
    text.remove_prefix(digits);
    const std::string_view name = text.substr(0, std::min(text.find_first_of("0123456789."), text.size()));
    const auto* const unit = std::find_if(std::begin(kUnits), std::end(kUnits), [&](const Unit& u) { return u.name == name; });
    if (unit == std::end(kUnits)) return std::nullopt;
    text.remove_prefix(name.size());
    total += number * unit->ns;
    if (total > static_cast<double>(nanoseconds(kPeriodMax).count())) return std::nullopt;
  }
  return nanoseconds(static_cast<std::int64_t>(total));
}

std::optional<std::int64_t> ParseNumber(std::string_view text) {
  std::int64_t number = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (error != std::errc() || end != text.data() + text.size() || number < 0) return std::nullopt;
  return number;
}

std::int64_t WallSeconds(const Clock& clock) {
  return std::chrono::floor<seconds>(clock.WallNow().time_since_epoch()).count();
}

}  // namespace

Result<AutoCompactionOptions> AutoCompactionOptions::FromFlags(std::string_view mode, std::string_view retention) {
  AutoCompactionOptions options;
  options.mode = Mode::kOff;
  options.interval = kRevisionModeInterval;
  const bool periodic = mode.empty() || mode == "periodic";
  if (!periodic && mode != "revision") {
    return InvalidArgument("auto-compaction-mode is \"" + std::string(mode) + "\", must be periodic or revision");
  }
  if (retention.empty()) return options;
  const std::optional<std::int64_t> number = ParseNumber(retention);
  if (!periodic) {
    if (!number) {
      return InvalidArgument("auto-compaction-retention is \"" + std::string(retention) +
                             "\", must be a number of revisions in mode revision");
    }
    options.revisions = *number;
    if (*number > 0) options.mode = Mode::kRevision;
    return options;
  }
  std::optional<nanoseconds> period = ParseDuration(retention);
  if (number && *number <= kPeriodMax.count()) period = hours(*number);
  if (!period) {
    return InvalidArgument("auto-compaction-retention is \"" + std::string(retention) +
                           "\", must be a duration such as 5m or 1h30m, or a number of hours, up to " +
                           std::to_string(kPeriodMax.count()) + "h");
  }
  options.period = *period;
  if (period->count() > 0) options.mode = Mode::kPeriodic;
  return options;
}

Result<std::vector<RevisionSample>> LoadSamples(const storage::Database& database) {
  std::vector<RevisionSample> samples;
  storage::Iterator it = database.NewIterator(kMeta);
  for (it.Seek(kMetaSamplePrefix); it.valid() && it.key().starts_with(kMetaSamplePrefix); it.Next()) {
    const std::optional<std::int64_t> wall_s = SampleRowSeconds(it.key());
    if (!wall_s) return DataLoss("a sample's row has a damaged name");
    VELLUM_ASSIGN_OR_RETURN(const std::int64_t revision, DecodeMetaNumber(it.key(), it.value()));
    samples.push_back({*wall_s, revision});
  }
  VELLUM_TRY(it.status());
  return samples;
}

AutoCompactionPlan::AutoCompactionPlan(AutoCompactionOptions options, Clock::TimePoint now, std::int64_t wall_s,
                                       const std::vector<RevisionSample>& stored)
    : options_(options), look_at_(now), sample_at_(now) {
  if (options_.mode == AutoCompactionOptions::Mode::kRevision) look_at_ = now + options_.interval;
  if (options_.mode != AutoCompactionOptions::Mode::kPeriodic) return;
  for (const RevisionSample& sample : stored) {
    // One from the future tells nothing: the wall clock has been put back since.
    if (sample.wall_s > wall_s || sample.wall_s < 0) continue;
    const auto age = std::min<std::int64_t>(wall_s - sample.wall_s, seconds(kPeriodMax).count() + 1);
    samples_.push_back({now - seconds(age), sample.wall_s, sample.revision});
  }
  // Where the wall clock was put back meanwhile, the samples contradict each other; the lower revision compacts less.
  for (std::size_t i = samples_.size(); i > 1; --i) {
    samples_[i - 2].revision = std::min(samples_[i - 2].revision, samples_[i - 1].revision);
  }
}

nanoseconds AutoCompactionPlan::LookInterval() const { return std::min<nanoseconds>(options_.period, hours(1)); }

nanoseconds AutoCompactionPlan::SampleInterval() const {
  // The rows count in seconds.
  return std::max<nanoseconds>({LookInterval() / 10, options_.period / kSamplesPerPeriodMax, seconds(1)});
}

std::optional<Revision> AutoCompactionPlan::PeriodicTarget(Clock::TimePoint now) {
  const Clock::TimePoint horizon = now - options_.period;
  const auto younger = std::find_if(samples_.begin(), samples_.end(), [&](const Sample& s) { return s.taken > horizon; });
  if (younger == samples_.begin()) return std::nullopt;
  samples_.erase(samples_.begin(), younger - 1);
  return samples_.front().revision;
}

std::optional<SampleCommand> AutoCompactionPlan::TakeSample(Clock::TimePoint now, std::int64_t wall_s,
                                                            Revision revision) {
  // While nothing changes, the last sample says it all, and an idle store writes nothing.
  if (!samples_.empty() && samples_.back().revision >= revision) return std::nullopt;
  samples_.push_back({now, wall_s, revision});
  return SampleCommand{wall_s, samples_.front().wall_s};
}

AutoCompactionPlan::Step AutoCompactionPlan::Next(Clock::TimePoint now, std::int64_t wall_s, Revision revision,
                                                  Revision compacted) {
  Step step;
  std::optional<Revision> target;
  if (options_.mode == AutoCompactionOptions::Mode::kRevision && now >= look_at_) {
    look_at_ = now + options_.interval;
    target = revision - options_.revisions;
  } else if (options_.mode == AutoCompactionOptions::Mode::kPeriodic) {
    if (now >= look_at_) target = PeriodicTarget(now);
    if (now >= sample_at_) {
      sample_at_ = now + SampleInterval();
      step.sample = TakeSample(now, wall_s, revision);
    }
    if (now >= look_at_) look_at_ = sample_at_;
  }
  if (target && *target > 0 && *target > compacted && *target > reached_) step.target = target;
  if (step.target && options_.mode == AutoCompactionOptions::Mode::kPeriodic) look_at_ = now + LookInterval();
  return step;
}

void AutoCompactionPlan::Finished(Revision target, bool ok) {
  if (ok)
    reached_ = std::max(reached_, target);
  else if (options_.mode == AutoCompactionOptions::Mode::kPeriodic)
    look_at_ = sample_at_;
}

struct AutoCompactor::Impl {
  Impl(AutoCompactionOptions opts, Hooks h, const std::vector<RevisionSample>& stored, Clock* c, Logger l)
      : options(opts), hooks(std::move(h)), clock(c), logger(l), plan(opts, c->Now(), WallSeconds(*c), stored) {}

  /// A compaction that was started; shared with its callback, which may come after everything else has gone.
  struct RunState {
    Mutex mu;
    CondVar ended;
    std::optional<Status> status VELLUM_GUARDED_BY(mu);
  };

  void RunThread() VELLUM_EXCLUDES(mu);
  void Look() VELLUM_EXCLUDES(step_mu, mu);
  Status CompactAndWait(Revision target) VELLUM_EXCLUDES(mu);
  bool stopping() VELLUM_EXCLUDES(mu) {
    MutexLock lock(&mu);
    return stopped;
  }

  // Constant after construction.
  const AutoCompactionOptions options;
  const Hooks hooks;
  Clock* const clock;
  const Logger logger;

  Mutex step_mu;  ///< Held during a whole look, so that Tick and the thread take turns. Before mu.
  AutoCompactionPlan plan VELLUM_GUARDED_BY(step_mu);

  Mutex mu;
  CondVar wake;
  bool stopped VELLUM_GUARDED_BY(mu) = false;
  std::thread thread;  ///< Touched by Start and Stop only.
};

void AutoCompactor::Impl::RunThread() {
  while (!stopping()) {
    Look();
    MutexLock lock(&mu);
    if (!stopped) wake.WaitFor(&mu, kPoll);
  }
}

Status AutoCompactor::Impl::CompactAndWait(Revision target) {
  auto run = std::make_shared<RunState>();
  const Clock::TimePoint deadline = clock->Now() + options.run_timeout;
  hooks.compact(target, [run](Status status) {
    MutexLock lock(&run->mu);
    run->status = std::move(status);
    run->ended.NotifyAll();
  });
  for (;;) {
    {
      MutexLock lock(&run->mu);
      if (!run->status) run->ended.WaitFor(&run->mu, kRunPoll);
      if (run->status) return *run->status;
    }
    if (stopping()) return Cancelled("automatic compaction is stopping");
    if (clock->Now() >= deadline) {
      return DeadlineExceeded("compaction to revision " + std::to_string(target) + " took longer than " +
                              std::to_string(std::chrono::ceil<seconds>(options.run_timeout).count()) + " s");
    }
  }
}

void AutoCompactor::Impl::Look() {
  MutexLock lock(&step_mu);
  const Position position = hooks.position();
  const AutoCompactionPlan::Step step =
      plan.Next(clock->Now(), WallSeconds(*clock), position.revision, position.compacted);
  if (step.sample) {
    hooks.propose(*step.sample, [](const Result<CommandResult>& result) {
      if (!result.ok()) result.error().IgnoreError("a sample that is not stored only makes history stay longer");
    });
  }
  if (!step.target) return;
  const Status status = CompactAndWait(*step.target);
  // Somebody else compacted further meanwhile: nothing is left to do.
  const bool reached = status.ok() || status.reason() == Reason::kCompacted;
  plan.Finished(*step.target, reached);
  if (status.ok()) {
    VELLUM_LOG(logger, kInfo, "Auto-compact succeeded: target=" + std::to_string(*step.target));
  } else if (!reached && !stopping()) {
    VELLUM_LOG(logger, kWarn, "Auto-compact failed: " + status.message());
  }
}

AutoCompactor::AutoCompactor(AutoCompactionOptions options, Hooks hooks, const std::vector<RevisionSample>& stored,
                             Clock* clock, Logger logger)
    : impl_(std::make_unique<Impl>(options, std::move(hooks), stored, clock, logger)) {}

AutoCompactor::~AutoCompactor() { Stop(); }

void AutoCompactor::Start() {
  if (impl_->options.mode == AutoCompactionOptions::Mode::kOff || impl_->thread.joinable()) return;
  impl_->thread = std::thread([impl = impl_.get()] { impl->RunThread(); });
}

void AutoCompactor::Stop() {
  {
    MutexLock lock(&impl_->mu);
    impl_->stopped = true;
    impl_->wake.NotifyAll();
  }
  if (impl_->thread.joinable()) impl_->thread.join();
}

void AutoCompactor::Tick() { impl_->Look(); }

}  // namespace vellum::kv
