#include "kv/reclaimer.h"

#include <algorithm>
#include <atomic>
#include <future>
#include <optional>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "base/mutex.h"
#include "kv/reclaim_plan.h"

namespace vellum::kv {
namespace {

using std::chrono::duration;
using std::chrono::milliseconds;
using storage::Family;
using storage::TableFile;

/// How often a wait looks at the injected clock, which may be a test's.
constexpr milliseconds kClockPoll{20};

constexpr std::uint64_t kHistoryRoundsMax = 4;

struct ReclaimMetrics {
  explicit ReclaimMetrics(Metrics* m)
      : running(m->AddGauge("vellum_compaction_running", "1 while space is being reclaimed.")),
        slices_planned(m->AddGauge("vellum_compaction_slices_planned", "Slices of the present or last pass.")),
        slices_done(m->AddGauge("vellum_compaction_slices_done", "Of these, finished or found clean.")),
        bytes_before(m->AddGauge("vellum_compaction_bytes_before", "Bytes on disk when the last pass began.")),
        bytes_after(m->AddGauge("vellum_compaction_bytes_after", "Bytes on disk when the last pass ended.")),
        reclaimed(m->AddGauge("vellum_compaction_reclaimed_revision",
                              "Up to this revision the space of compacted history has been returned.")),
        seconds(m->AddGauge("vellum_compaction_reclaim_seconds", "How long the last finished pass took.")),
        rewritten(m->AddCounter("vellum_compaction_slices_rewritten_total", "Slices rewritten.")),
        superseded(m->AddCounter("vellum_compaction_superseded_total",
                                 "How often a newer compaction took over a running pass.")),
        failed(m->AddCounter("vellum_compaction_failed_total", "Passes that ended with an error.")) {}
  Gauge& running;
  Gauge& slices_planned;
  Gauge& slices_done;
  Gauge& bytes_before;
  Gauge& bytes_after;
  Gauge& reclaimed;
  Gauge& seconds;
  Counter& rewritten;
  Counter& superseded;
  Counter& failed;
};

std::uint64_t BytesOnDisk(const storage::Database& database) {
  const storage::Database::Sizes sizes = database.GetSizes();
  return sizes.table_bytes + sizes.wal_bytes;
}

}  // namespace

struct Reclaimer::Impl {
  using Done = std::function<void(Status)>;

  Impl(Options opts, storage::Database* db, std::shared_ptr<CompactionMark> compaction_mark, CountKeys count_keys,
       ProposeFunction propose_function)
      : options(std::move(opts)),
        database(db),
        mark(std::move(compaction_mark)),
        count(std::move(count_keys)),
        propose(std::move(propose_function)) {
    if (options.metrics != nullptr) metrics.emplace(options.metrics);
  }

  /// One pass over the store, as far as it has come.
  struct Pass {
    Revision target = 0;   ///< Reclaimed when the pass ends.
    Revision horizon = 0;  ///< What the compaction filter knows, once a newer compaction took over; else the target.
    bool urgent = false;
    std::uint64_t slices = 0;      ///< Rewritten.
    std::uint64_t superseded = 0;
  };
  /// Whether the slice needs to be rewritten, given the family's present tables.
  using Needed = std::function<Result<bool>(const ReclaimSlice&, const std::vector<TableFile>&)>;

  void Run() VELLUM_EXCLUDES(mu);
  void RunReclaim() VELLUM_EXCLUDES(mu);
  void RunDefragment() VELLUM_EXCLUDES(mu);
  /// Waits for something to do. False: stop.
  bool AwaitWork() VELLUM_EXCLUDES(mu);
  bool ReclaimIsDue() VELLUM_REQUIRES(mu);
  Status RunPass(Pass* pass) VELLUM_EXCLUDES(mu);
  /// Has the applier delete what `rev` holds below C, and waits for it.
  Status DropRev(Revision compacted) VELLUM_EXCLUDES(mu);
  Status RewriteHistory(Pass* pass);
  Status RewriteRev(Pass* pass);
  Status RewriteLatest(Pass* pass);
  /// Rewrites the slices that need it.
  Status RewriteSlices(Family family, Pass* pass, const Needed& needed);
  Status RewriteSlice(Family family, const ReclaimSlice& slice, Pass* pass);
  /// Lets a newer compaction take over the rest of the pass, if there is one.
  void TakeNewerTarget(Pass* pass) VELLUM_EXCLUDES(mu);
  /// Keeps the rate: waits until `bytes` may have taken the time since `began`. Real time, because disks live in it.
  void Pause(std::uint64_t bytes, Clock::TimePoint began) VELLUM_EXCLUDES(mu);
  void LetFilterKnow(Revision compacted);
  void LogFinished(const Pass& pass, std::uint64_t before, std::uint64_t after, double seconds);
  void Answer(Revision reclaimed, const Status& status) VELLUM_EXCLUDES(mu);

  // Constant after construction.
  const Options options;
  storage::Database* const database;
  const std::shared_ptr<CompactionMark> mark;
  const CountKeys count;
  const ProposeFunction propose;
  std::optional<ReclaimMetrics> metrics;

  std::atomic<bool> cancel{false};  ///< Set by Stop; RocksDB polls it.
  Mutex mu;
  CondVar wake;
  Revision wanted VELLUM_GUARDED_BY(mu) = kNeverCompacted;
  Revision reclaimed VELLUM_GUARDED_BY(mu) = kNeverCompacted;
  bool urgent VELLUM_GUARDED_BY(mu) = false;  ///< Do not wait for `due`.
  Clock::TimePoint due VELLUM_GUARDED_BY(mu);
  std::vector<std::pair<Revision, Done>> waiting VELLUM_GUARDED_BY(mu);
  std::vector<Done> defragment_waiting VELLUM_GUARDED_BY(mu);
  bool stopped VELLUM_GUARDED_BY(mu) = false;

  std::thread thread;  ///< Touched by Start and Stop only.
};

bool Reclaimer::Impl::ReclaimIsDue() {
  if (wanted <= reclaimed) return false;
  return urgent || !defragment_waiting.empty() || options.clock->Now() >= due;
}

bool Reclaimer::Impl::AwaitWork() {
  MutexLock lock(&mu);
  while (!stopped && !ReclaimIsDue() && !(wanted <= reclaimed && !defragment_waiting.empty())) {
    if (wanted > reclaimed)
      wake.WaitFor(&mu, kClockPoll);
    else
      wake.Wait(&mu);
  }
  return !stopped;
}

void Reclaimer::Impl::Run() {
  while (AwaitWork()) {
    bool reclaim = false;
    {
      MutexLock lock(&mu);
      reclaim = ReclaimIsDue();
    }
    if (reclaim)
      RunReclaim();
    else
      RunDefragment();
  }
}

void Reclaimer::Impl::LetFilterKnow(Revision compacted) {
  Revision known = mark->filter.load();
  while (known < compacted && !mark->filter.compare_exchange_weak(known, compacted)) {
  }
}

void Reclaimer::Impl::TakeNewerTarget(Pass* pass) {
  {
    MutexLock lock(&mu);
    pass->urgent = pass->urgent || urgent;
    if (wanted <= pass->horizon) return;
    pass->horizon = wanted;
  }
  LetFilterKnow(pass->horizon);
  ++pass->superseded;
  if (metrics) metrics->superseded.Increment();
}

void Reclaimer::Impl::Pause(std::uint64_t bytes, Clock::TimePoint began) {
  if (options.bytes_per_second == 0) return;
  const duration<double> budget(static_cast<double>(bytes) / static_cast<double>(options.bytes_per_second));
  MutexLock lock(&mu);
  while (!stopped) {
    const duration<double> left = budget - (SystemClock()->Now() - began);
    if (left <= milliseconds(1)) return;
    wake.WaitFor(&mu, std::chrono::duration_cast<std::chrono::nanoseconds>(left));
  }
}

Status Reclaimer::Impl::RewriteSlice(Family family, const ReclaimSlice& slice, Pass* pass) {
  const Clock::TimePoint began = SystemClock()->Now();
  storage::CompactRangeOptions range;
  range.begin = slice.begin;
  range.end = slice.last;
  range.cancel = &cancel;
  VELLUM_TRY(database->CompactRange(family, range));
  ++pass->slices;
  if (metrics) metrics->rewritten.Increment();
  Pause(slice.bytes, began);
  return {};
}

Status Reclaimer::Impl::RewriteSlices(Family family, Pass* pass, const Needed& needed) {
  VELLUM_ASSIGN_OR_RETURN(std::vector<TableFile> tables, database->ListTables(family));
  std::vector<ReclaimSlice> slices = CutIntoSlices(tables, options.slice_bytes_max);
  if (metrics) metrics->slices_planned.Increment(static_cast<double>(slices.size()));
  for (std::size_t i = 0; i < slices.size(); ++i) {
    if (cancel.load()) return Cancelled("the reclaimer is stopping");
    TakeNewerTarget(pass);
    VELLUM_ASSIGN_OR_RETURN(const bool rewrite, needed(slices[i], tables));
    if (rewrite) {
      VELLUM_TRY(RewriteSlice(family, slices[i], pass));
      // The files of upper levels went with it, and with them what later slices had in them.
      VELLUM_ASSIGN_OR_RETURN(tables, database->ListTables(family));
      SpreadSizes(tables, &slices);
    }
    if (metrics) metrics->slices_done.Increment();
  }
  return {};
}

Status Reclaimer::Impl::RewriteHistory(Pass* pass) {
  return RewriteSlices(kHistory, pass,
                       [pass](const ReclaimSlice& slice, const std::vector<TableFile>& tables) -> Result<bool> {
                         return HoldsEndedRecords(slice, tables, pass->horizon);
                       });
}

Status Reclaimer::Impl::RewriteRev(Pass* pass) {
  const std::string first_kept = RevKey(std::max<Revision>(0, pass->target), 0);
  return RewriteSlices(kRev, pass,
                       [&](const ReclaimSlice& slice, const std::vector<TableFile>& tables) -> Result<bool> {
                         return std::any_of(tables.begin(), tables.end(), [&](const TableFile& table) {
                           return slice.begin < first_kept && table.smallest < first_kept && slice.Overlaps(table);
                         });
                       });
}

Status Reclaimer::Impl::RewriteLatest(Pass* pass) {
  return RewriteSlices(kLatest, pass,
                       [&](const ReclaimSlice& slice, const std::vector<TableFile>&) -> Result<bool> {
                         VELLUM_ASSIGN_OR_RETURN(const std::int64_t keys, count(slice.Interval()));
                         const std::uint64_t percent = pass->urgent ? options.latest_entries_percent_max_urgent
                                                                    : options.latest_entries_percent_max;
                         return slice.entries * 100 > static_cast<std::uint64_t>(keys) * percent;
                       });
}

Status Reclaimer::Impl::DropRev(Revision compacted) {
  // On the heap: the answer is waited for, but that is the caller's business.
  auto dropped = std::make_shared<std::promise<Status>>();
  std::future<Status> answer = dropped->get_future();
  propose(ReclaimCommand{compacted, ReclaimCommand::Step::kBegin},
          [dropped](const Result<CommandResult>& result) { dropped->set_value(result.error()); });
  return answer.get();
}

Status Reclaimer::Impl::RunPass(Pass* pass) {
  VELLUM_TRY(DropRev(pass->target));
  LetFilterKnow(pass->target);
  // All families, so that the write-ahead log goes with what is flushed.
  VELLUM_TRY(database->Flush());
  // A compaction that RocksDB had begun before the filter knew may have put back what a slice would have dropped: look
  // again until nothing was left to do.
  for (std::uint64_t round = 0, slices = 0; round < kHistoryRoundsMax; ++round, slices = pass->slices) {
    VELLUM_TRY(RewriteHistory(pass));
    if (pass->slices == slices) break;
  }
  VELLUM_TRY(RewriteRev(pass));
  return RewriteLatest(pass);
}

void Reclaimer::Impl::RunReclaim() {
  Pass pass;
  {
    MutexLock lock(&mu);
    pass.target = wanted;
    pass.horizon = wanted;
    pass.urgent = std::exchange(urgent, false);
  }
  const Clock::TimePoint began = SystemClock()->Now();
  const std::uint64_t before = BytesOnDisk(*database);
  if (metrics) {
    metrics->running.Set(1);
    metrics->slices_planned.Set(0);
    metrics->slices_done.Set(0);
    metrics->bytes_before.Set(static_cast<double>(before));
  }
  const Status status = RunPass(&pass);
  const std::uint64_t after = BytesOnDisk(*database);
  const double seconds = duration<double>(SystemClock()->Now() - began).count();
  if (metrics) {
    metrics->running.Set(0);
    metrics->bytes_after.Set(static_cast<double>(after));
  }
  if (status.ok()) {
    if (metrics) {
      metrics->reclaimed.Set(static_cast<double>(pass.target));
      metrics->seconds.Set(seconds);
    }
    LogFinished(pass, before, after, seconds);
    propose(ReclaimCommand{pass.target, ReclaimCommand::Step::kFinished}, [](const Result<CommandResult>& result) {
      if (!result.ok()) result.error().IgnoreError("the next start finds little to reclaim, and says so again");
    });
  } else if (!cancel.load()) {
    if (metrics) metrics->failed.Increment();
    VELLUM_LOG(options.logger, kWarn, "failed to reclaim the space of compacted history; trying again",
               {{"revision", pass.target}, {"error", status.ToString()}});
  }
  Answer(pass.target, status);
}

void Reclaimer::Impl::LogFinished(const Pass& pass, std::uint64_t before, std::uint64_t after, double seconds) {
  VELLUM_LOG(options.logger, kInfo, "reclaimed the space of compacted history",
             {{"revision", pass.target},
              {"slices", pass.slices},
              {"bytes_before", before},
              {"bytes_after", after},
              {"duration_ms", static_cast<std::int64_t>(seconds * 1000)},
              {"superseded", pass.superseded}});
}

void Reclaimer::Impl::Answer(Revision target, const Status& status) {
  std::vector<Done> answer;
  {
    MutexLock lock(&mu);
    if (status.ok()) {
      reclaimed = std::max(reclaimed, target);
    } else {
      due = options.clock->Now() + options.retry_delay;
    }
    const auto later = std::partition(waiting.begin(), waiting.end(),
                                      [target](const auto& entry) { return entry.first > target; });
    for (auto it = later; it != waiting.end(); ++it) answer.push_back(std::move(it->second));
    waiting.erase(later, waiting.end());
    if (!status.ok()) {
      // Who waits for a defragmentation does not wait for ever.
      for (Done& done : std::exchange(defragment_waiting, {})) answer.push_back(std::move(done));
    }
  }
  for (const Done& done : answer) {
    if (done) done(status);
  }
}

void Reclaimer::Impl::RunDefragment() {
  Pass pass;
  const std::uint64_t before = BytesOnDisk(*database);
  const Clock::TimePoint began = SystemClock()->Now();
  Status status = database->Flush();
  std::vector<TableFile> tables;
  if (status.ok()) {
    auto listed = database->ListTables(kLatest);
    if (listed.ok())
      tables = *std::move(listed);
    else
      status = std::move(listed).error();
  }
  for (const ReclaimSlice& slice : CutIntoSlices(tables, options.slice_bytes_max)) {
    if (status.ok()) status = RewriteSlice(kLatest, slice, &pass);
  }
  if (status.ok()) status = database->Flush();
  std::vector<Done> answer;
  {
    MutexLock lock(&mu);
    answer.swap(defragment_waiting);
  }
  if (status.ok()) {
    const double seconds = duration<double>(SystemClock()->Now() - began).count();
    VELLUM_LOG(options.logger, kInfo, "defragmented",
               {{"slices", pass.slices},
                {"bytes_before", before},
                {"bytes_after", BytesOnDisk(*database)},
                {"duration_ms", static_cast<std::int64_t>(seconds * 1000)},
                {"callers", answer.size()}});
  }
  for (const Done& done : answer) {
    if (done) done(status);
  }
}

Reclaimer::Reclaimer(Options options, storage::Database* database, std::shared_ptr<CompactionMark> mark,
                     CountKeys count, ProposeFunction propose)
    : impl_(std::make_unique<Impl>(std::move(options), database, std::move(mark), std::move(count),
                                   std::move(propose))) {}

Reclaimer::~Reclaimer() { Stop(); }

void Reclaimer::Start(Revision compacted, Revision reclaimed) {
  {
    MutexLock lock(&impl_->mu);
    impl_->wanted = compacted;
    impl_->reclaimed = std::min(reclaimed, compacted);
    impl_->due = impl_->options.clock->Now() + impl_->options.delay;
  }
  // What is stored as compacted may go at once; a compaction that RocksDB starts by itself need not wait for a pass.
  impl_->LetFilterKnow(compacted);
  if (impl_->metrics) impl_->metrics->reclaimed.Set(static_cast<double>(std::max<Revision>(0, reclaimed)));
  if (!impl_->thread.joinable()) impl_->thread = std::thread([impl = impl_.get()] { impl->Run(); });
}

void Reclaimer::Stop() {
  impl_->cancel.store(true);
  {
    MutexLock lock(&impl_->mu);
    impl_->stopped = true;
    impl_->wake.NotifyAll();
  }
  if (impl_->thread.joinable()) impl_->thread.join();
  std::vector<Impl::Done> left;
  {
    MutexLock lock(&impl_->mu);
    for (auto& [revision, done] : impl_->waiting) left.push_back(std::move(done));
    for (Impl::Done& done : impl_->defragment_waiting) left.push_back(std::move(done));
    impl_->waiting.clear();
    impl_->defragment_waiting.clear();
  }
  for (const Impl::Done& done : left) {
    if (done) done(Cancelled("the reclaimer has stopped"));
  }
}

void Reclaimer::Reclaim(Revision compacted, bool urgent, std::function<void(Status)> done) {
  Status answer;
  {
    MutexLock lock(&impl_->mu);
    if (impl_->stopped) {
      answer = Cancelled("the reclaimer has stopped");
    } else if (compacted > impl_->reclaimed) {
      if (impl_->wanted <= impl_->reclaimed) impl_->due = impl_->options.clock->Now() + impl_->options.delay;
      impl_->wanted = std::max(impl_->wanted, compacted);
      impl_->urgent = impl_->urgent || urgent;
      if (done) impl_->waiting.emplace_back(compacted, std::move(done));
      impl_->wake.NotifyAll();
      return;
    }
  }
  if (done) done(answer);
}

void Reclaimer::Defragment(std::function<void(Status)> done) {
  {
    MutexLock lock(&impl_->mu);
    if (!impl_->stopped) {
      impl_->defragment_waiting.push_back(std::move(done));
      impl_->wake.NotifyAll();
      return;
    }
  }
  if (done) done(Cancelled("the reclaimer has stopped"));
}

}  // namespace vellum::kv
