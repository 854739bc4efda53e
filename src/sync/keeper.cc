#include "sync/keeper.h"

#include <algorithm>
#include <charconv>
#include <thread>

#include "base/bytes.h"
#include "base/mutex.h"
#include "sync/retention.h"
#include "sync/rollup.h"
#include "sync/upkeep.h"

namespace vellum::sync {
namespace {

/// A clock that tests move does not wake anybody: it is looked at this often.
constexpr std::chrono::milliseconds kLook(100);

Result<std::uint32_t> ReadCount(const std::string& word, std::string_view digits) {
  std::uint32_t count = 0;
  const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), count);
  if (error != std::errc() || end != digits.data() + digits.size()) {
    return InvalidArgument("retention " + Printable(word) + " is neither NUMBER nor CONNECTOR=NUMBER");
  }
  return count;
}

}  // namespace

Status KeeperOptions::SetRetention(const std::vector<std::string>& words) {
  keep.clear();
  keep_others.reset();
  for (const std::string& word : words) {
    const auto at = word.rfind('=');
    if (at == std::string::npos) {
      VELLUM_ASSIGN_OR_RETURN(keep_others, ReadCount(word, word));
    } else {
      VELLUM_ASSIGN_OR_RETURN(keep[word.substr(0, at)], ReadCount(word, std::string_view(word).substr(at + 1)));
    }
  }
  return {};
}

void KeeperOptions::SetRollup(const std::vector<std::string>& words) {
  rollup.clear();
  rollup_others = false;
  for (const std::string& word : words) {
    if (word == "*") {
      rollup_others = true;
    } else {
      rollup.insert(word);
    }
  }
}

// ---- Pace --------------------------------------------------------------------------------------------------------

struct Pace::Impl {
  Impl(std::uint64_t rate, Clock* time) : bytes_per_second(rate), clock(time), began(time->Now()) {}
  const std::uint64_t bytes_per_second;
  Clock* const clock;
  const Clock::TimePoint began;
  mutable Mutex mu;
  CondVar changed;
  bool stopped VELLUM_GUARDED_BY(mu) = false;
  int waiting VELLUM_GUARDED_BY(mu) = 0;
};

Pace::Pace(std::uint64_t bytes_per_second, Clock* clock)
    : impl_(std::make_unique<Impl>(bytes_per_second, clock)) {}
Pace::~Pace() = default;

void Pace::Wait(std::uint64_t bytes) {
  if (impl_->bytes_per_second == 0) return;
  const auto due = impl_->began + std::chrono::duration_cast<std::chrono::nanoseconds>(std::chrono::duration<double>(
                                      static_cast<double>(bytes) / static_cast<double>(impl_->bytes_per_second)));
  MutexLock lock(&impl_->mu);
  ++impl_->waiting;
  while (!impl_->stopped) {
    const auto now = impl_->clock->Now();
    if (now >= due) break;
    impl_->changed.WaitFor(&impl_->mu, std::min<std::chrono::nanoseconds>(due - now, kLook));
  }
  --impl_->waiting;
}

void Pace::Stop() {
  MutexLock lock(&impl_->mu);
  impl_->stopped = true;
  impl_->changed.NotifyAll();
}

void Pace::Wake() {
  MutexLock lock(&impl_->mu);
  impl_->changed.NotifyAll();
}

int Pace::waiting() const {
  MutexLock lock(&impl_->mu);
  return impl_->waiting;
}

// ---- Keeper ------------------------------------------------------------------------------------------------------

struct Keeper::Impl {
  Impl(KeeperOptions settings, Store* kept, Logger log)
      : options(std::move(settings)), store(kept), logger(std::move(log)), clock(kept->options().clock) {}

  /// Ends one task: counts it, and says what went wrong.
  void Ended(std::string_view task, std::string_view what, const Status& status, bool* all_well) {
    // A pass that is told to stop has not failed.
    if (status.code() == Code::kCancelled && cancel.load()) return;
    store->metrics().Kept(task, status.ok());
    if (status.ok()) return;
    *all_well = false;
    VELLUM_LOG(logger, kWarn, "keeping the syncs healthy failed at a task; it is tried again",
               {{"task", task}, {"of", what}, {"error", status.ToString()}});
  }

  Work PacedWork(std::uint64_t records, std::uint64_t bytes);
  Status Expire();
  bool LookAfterConnectors();
  Status RollUpConnector(const std::string& connector);
  Status RetainConnector(const std::string& connector, std::uint32_t keep);
  Status Rewrite(const GenerationId& id);
  bool Pass();
  void Run();

  const KeeperOptions options;
  Store* const store;
  const Logger logger;
  Clock* const clock;
  std::atomic<bool> cancel{false};

  mutable Mutex mu;
  CondVar changed;
  bool stopping VELLUM_GUARDED_BY(mu) = false;
  bool running VELLUM_GUARDED_BY(mu) = false;
  std::uint64_t passes VELLUM_GUARDED_BY(mu) = 0;
  std::shared_ptr<Pace> pace VELLUM_GUARDED_BY(mu);  // of the work under way
  std::thread thread;
};

/// Work that is held back to the rate. Progress comes in records, so their average size stands for their bytes.
Work Keeper::Impl::PacedWork(std::uint64_t records, std::uint64_t bytes) {
  const auto begun = std::make_shared<Pace>(options.bytes_per_second, clock);
  {
    MutexLock lock(&mu);
    pace = begun;
    if (stopping) begun->Stop();
  }
  const double each = records == 0 ? 0 : static_cast<double>(bytes) / static_cast<double>(records);
  Work work;
  work.cancel = &cancel;
  work.progress = [begun, each](std::uint64_t done) { begun->Wait(static_cast<std::uint64_t>(each * static_cast<double>(done))); };
  return work;
}

Status Keeper::Impl::Expire() {
  const Work work{&cancel, {}};
  VELLUM_ASSIGN_OR_RETURN(const auto gone, ExpireOpen(store, options.open_keep.count(), work));
  for (const Retired& each : gone) {
    VELLUM_LOG(logger, kInfo, "an unfinished sync was deleted",
               {{"sync", each.retiring.entry.run.id},
                {"connector", each.retiring.entry.connector},
                {"why", each.retiring.why}});
  }
  return {};
}

Status Keeper::Impl::RetainConnector(const std::string& connector, std::uint32_t keep) {
  RetentionOptions retention;
  retention.keep = keep;
  retention.open_keep_s = options.open_keep.count();
  const Work work{&cancel, {}};
  VELLUM_ASSIGN_OR_RETURN(const auto gone, Retain(store, connector, retention, /*dry_run=*/false, work));
  for (const Retired& each : gone) {
    VELLUM_LOG(logger, kInfo, "a sync was retired",
               {{"sync", each.retiring.entry.run.id}, {"connector", connector}, {"why", each.retiring.why}});
  }
  return {};
}

Status Keeper::Impl::RollUpConnector(const std::string& connector) {
  VELLUM_ASSIGN_OR_RETURN(const RollupOutcome planned, RollUp(store, connector, /*dry_run=*/true));
  if (planned.merged.empty()) return {};
  std::uint64_t records = 0;
  std::uint64_t bytes = 0;
  std::vector<std::string> inputs = planned.merged;
  inputs.push_back(planned.into);
  for (const std::string& id : inputs) {
    VELLUM_ASSIGN_OR_RETURN(const SyncEntry entry, store->Get(id));
    if (entry.history.empty()) continue;  // replaced meanwhile
    VELLUM_ASSIGN_OR_RETURN(const auto info, store->InfoOf(entry.generation()));
    records += info->records();
    bytes += info->bytes();
  }
  VELLUM_ASSIGN_OR_RETURN(const RollupOutcome done, RollUp(store, connector, /*dry_run=*/false, PacedWork(records, bytes)));
  VELLUM_LOG(logger, kInfo, "pending syncs were merged into the latest full one",
             {{"sync", done.into}, {"connector", connector}, {"merged", done.merged.size()}});
  return {};
}

Status Keeper::Impl::Rewrite(const GenerationId& id) {
  VELLUM_ASSIGN_OR_RETURN(const auto info, store->InfoOf(id));
  const Work work = PacedWork(info->records(), info->bytes());
  auto outcome = RewriteGeneration(store, id, work);
  // Switched away from or deleted meanwhile: there is nothing left to do.
  if (outcome.error().code() == Code::kAborted || outcome.error().code() == Code::kNotFound) return {};
  if (!outcome.ok()) return std::move(outcome).error();
  VELLUM_LOG(logger, kInfo, "a generation was rewritten",
             {{"generation", id},
              {"into", outcome->generation->info().id},
              {"overlays", outcome->before.overlays},
              {"dead-bytes", outcome->before.dead_bytes},
              {"bytes", outcome->bytes_after}});
  return {};
}

/// Rolls up and retires where that is configured and there may be something to do: one look at the catalog says that of all
/// connectors.
bool Keeper::Impl::LookAfterConnectors() {
  if (!options.rollup_others && options.rollup.empty() && !options.keep_others && options.keep.empty()) return true;
  struct Counts {
    std::uint64_t fulls = 0;
    std::uint64_t others = 0;
  };
  bool all_well = true;
  const auto syncs = store->List();
  if (!syncs.ok()) {
    Ended("retain", "", syncs.error(), &all_well);
    return all_well;
  }
  std::map<std::string, Counts> connectors;
  for (const SyncEntry& entry : *syncs) {
    if (entry.state != SyncState::kSealed) continue;
    Counts& counts = connectors[entry.connector];
    ++(IsFullForRetention(entry) ? counts.fulls : counts.others);
  }
  for (const auto& [connector, counts] : connectors) {
    if (cancel.load()) break;
    if ((options.rollup_others || options.rollup.contains(connector)) && counts.fulls > 0 && counts.others > 0) {
      Ended("rollup", connector, RollUpConnector(connector), &all_well);
    }
    const auto named = options.keep.find(connector);
    const auto keep = named != options.keep.end() ? std::optional(named->second) : options.keep_others;
    if (!keep || cancel.load() || (counts.fulls <= *keep && counts.others < 2)) continue;
    Ended("retain", connector, RetainConnector(connector, *keep), &all_well);
  }
  return all_well;
}

bool Keeper::Impl::Pass() {
  const auto began = clock->Now();
  bool all_well = true;
  Ended("sweep", "", store->Sweep().error(), &all_well);
  if (!cancel.load()) Ended("expire", "", Expire(), &all_well);
  if (!cancel.load()) all_well = LookAfterConnectors() && all_well;
  if (options.rewrite && !cancel.load()) {
    const auto wasteful = WastefulGenerations(*store);
    if (!wasteful.ok()) Ended("rewrite", "", wasteful.error(), &all_well);
    for (std::size_t i = 0; wasteful.ok() && i < wasteful->size() && !cancel.load(); ++i) {
      Ended("rewrite", (*wasteful)[i], Rewrite((*wasteful)[i]), &all_well);
    }
  }
  if (cancel.load()) return false;
  Ended("survey", "", store->Survey().error(), &all_well);
  store->metrics().KeeperPass(all_well, std::chrono::duration<double>(clock->Now() - began).count(),
                              std::chrono::duration<double>(clock->WallNow().time_since_epoch()).count());
  return all_well;
}

void Keeper::Impl::Run() {
  MutexLock lock(&mu);
  while (!stopping) {
    mu.Unlock();
    static_cast<void>(Pass());
    mu.Lock();
    pace.reset();
    ++passes;
    changed.NotifyAll();
    const auto due = clock->Now() + options.interval;
    while (!stopping) {
      const auto now = clock->Now();
      if (now >= due) break;
      changed.WaitFor(&mu, clock == SystemClock() ? due - now : std::min<std::chrono::nanoseconds>(due - now, kLook));
    }
  }
}

Keeper::Keeper(KeeperOptions options, Store* store, Logger logger)
    : impl_(std::make_unique<Impl>(std::move(options), store, std::move(logger))) {}

Keeper::~Keeper() { Stop(); }

void Keeper::Start() {
  MutexLock lock(&impl_->mu);
  if (impl_->running || impl_->stopping || impl_->options.interval <= std::chrono::nanoseconds(0)) return;
  impl_->running = true;
  impl_->thread = std::thread([impl = impl_.get()] { impl->Run(); });
}

void Keeper::Stop() {
  impl_->cancel.store(true);
  {
    MutexLock lock(&impl_->mu);
    impl_->stopping = true;
    if (impl_->pace) impl_->pace->Stop();
    impl_->changed.NotifyAll();
  }
  if (impl_->thread.joinable()) impl_->thread.join();
}

bool Keeper::RunPass() {
  const bool all_well = impl_->Pass();
  MutexLock lock(&impl_->mu);
  impl_->pace.reset();
  return all_well;
}

void Keeper::Wake() {
  MutexLock lock(&impl_->mu);
  if (impl_->pace) impl_->pace->Wake();
  impl_->changed.NotifyAll();
}

std::uint64_t Keeper::passes() const {
  MutexLock lock(&impl_->mu);
  return impl_->passes;
}

int Keeper::held_back() const {
  MutexLock lock(&impl_->mu);
  return impl_->pace ? impl_->pace->waiting() : 0;
}

}  // namespace vellum::sync
