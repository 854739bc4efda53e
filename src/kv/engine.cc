#include "kv/engine.h"

#include <algorithm>
#include <cstdio>
#include <future>
#include <utility>

#include "kv/engine_impl.h"
#include "kv/validate.h"

namespace vellum::kv {
namespace {

/// Leases whose expiry goes before a compaction.
constexpr std::size_t kCleanedLeasesMax = 1000;
constexpr std::size_t kExpireGroup = 500;
constexpr std::size_t kCheckpointGroup = 10'000;

/// "104ms", and with fractions below ten.
std::string Milliseconds(std::chrono::nanoseconds duration) {
  const double ms = std::chrono::duration<double, std::milli>(duration).count();
  char text[32];
  std::snprintf(text, sizeof(text), ms < 10 ? "%.3gms" : "%.0fms", ms);
  return text;
}

/// What the callbacks of a compaction's expiries add to. All run in the order proposed, one at a time.
struct Cleaned {
  std::int64_t leases = 0;
};

}  // namespace

Engine::Engine(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}

Engine::~Engine() { Stop().IgnoreError("whoever wants to know has called Stop before"); }

Status Engine::Impl::CheckFields(Command* command) const {
  if (const auto* put = std::get_if<PutCommand>(command)) return CheckPut(put->request);
  if (const auto* del = std::get_if<DeleteRangeCommand>(command)) return CheckDeleteRange(del->request);
  if (const auto* txn = std::get_if<TxnCommand>(command)) return CheckTxn(txn->request, options.txn_ops_max);
  if (auto* grant = std::get_if<LeaseGrantCommand>(command)) {
    if (grant->id == 0) return InvalidArgument("a lease needs an id before it is granted");
    VELLUM_ASSIGN_OR_RETURN(grant->ttl_s, lessor->EffectiveTtl(grant->ttl_s));
  }
  return {};
}

Status Engine::Impl::Admit(Command* command) {
  VELLUM_TRY(CheckFields(command));
  if (stopping.load(std::memory_order_acquire)) return Unavailable("the store is stopping", Reason::kStopped);
  if (options.read_only) return Unavailable("the store was opened read-only", Reason::kStopped);
  if (!writer->ok()) return writer->Refusal();
  if (guard->Refuses(SpaceCost(*command))) return ResourceExhausted("database space exceeded", Reason::kNoSpace);
  return {};
}

Status Engine::Impl::CheckRoomForDeletes(const Command& command) {
  if (const auto* txn = std::get_if<TxnCommand>(&command); txn != nullptr && txn->frees_space) {
    if (!guard->IsExhausted()) return {};
    return ResourceExhausted("the disk is too full to give files back: remove something else first", Reason::kNoSpace);
  }
  bool deletes = false;
  VisitDeletes(command, [&](const DeleteRangeRequest&) { deletes = true; });
  if (!deletes) return {};
  std::uint64_t bytes = 0;
  const bool refused = guard->RefusesDelete([&] {
    bytes = 0;
    VisitDeletes(command, [&](const DeleteRangeRequest& request) {
      if (request.range_end.empty()) return;
      const KeyInterval interval = KeyInterval::FromRequest(request.key, request.range_end);
      // No key is longer than any request may be; this one is above all that matter for an estimate.
      const std::string end = interval.end.value_or(std::string(64, '\xff'));
      if (interval.begin < end) bytes += database->EstimateBytes(kLatest, interval.begin, end);
    });
    // A delete range goes in parts (see SpacePacer); a transaction is in the log, in memory and in tables at once.
    return std::holds_alternative<DeleteRangeCommand>(command) ? bytes + bytes / 5 : 3 * bytes;
  });
  if (!refused) return {};
  // What is deleted stays as history, and moves, before it goes.
  return ResourceExhausted("the disk is too full to delete about " + std::to_string(bytes) +
                               " bytes at once: compact, and delete less at a time",
                           Reason::kNoSpace);
}

void Engine::Impl::RaiseNoSpace(std::function<void()> done) {
  const AlarmEntry alarm{member_id, AlarmType::kNoSpace};
  bool raise = false;
  {
    MutexLock lock(&space_mu);
    const std::vector<AlarmEntry> on = runner->alarms();
    raise = !options.read_only && std::find(on.begin(), on.end(), alarm) == on.end();
    if (raise) {
      awaiting_no_space.push_back(done);
      if (awaiting_no_space.size() > 1) return;
    }
  }
  if (!raise) return done();
  ProposeInternal(AlarmCommand{true, alarm.alarm, alarm.member_id}, [this](const Result<CommandResult>& result) {
    if (result.ok()) VELLUM_LOG(logger, kWarn, "alarm NOSPACE is on");
    std::vector<std::function<void()>> waiting;
    {
      MutexLock lock(&space_mu);
      waiting.swap(awaiting_no_space);
    }
    for (const auto& waiter : waiting) waiter();
  });
}

void Engine::Impl::ProposeInternal(Command command, ProposalDone done) {
  if (options.read_only) return done(Unavailable("the store was opened read-only", Reason::kStopped));
  if (!writer->ok()) return done(writer->Refusal());
  log->Propose(std::move(command), std::move(done), CommitLog::Admission::kAlways);
}

void Engine::Propose(Command command, ProposalDone done, CommitLog::Caller caller) {
  if (Status refused = impl_->Admit(&command); !refused.ok()) {
    if (refused.reason() != Reason::kNoSpace) return done(std::move(refused));
    // A client that was refused and then asks why must find the alarm.
    return impl_->RaiseNoSpace([refused = std::move(refused), done = std::move(done)] { done(refused); });
  }
  // No alarm: the disk may have room for everything else.
  if (Status refused = impl_->CheckRoomForDeletes(command); !refused.ok()) return done(std::move(refused));
  impl_->log->Propose(std::move(command), std::move(done), CommitLog::Admission::kLimited, caller);
}

Result<CommandResult> Engine::ProposeAndWait(Command command) {
  std::promise<Result<CommandResult>> promise;
  std::future<Result<CommandResult>> future = promise.get_future();
  Propose(
      std::move(command), [&promise](Result<CommandResult> result) { promise.set_value(std::move(result)); },
      CommitLog::Caller::kMayBlock);
  return future.get();
}

std::shared_ptr<const View> Engine::CurrentView() const { return impl_->runner->CurrentView(); }

void Engine::Impl::CompactNow(const CompactCommand& command, bool physical,
                              std::function<void(Result<CompactResult>)> done) {
  const Clock::TimePoint start = options.clock->Now();
  auto expired = std::make_shared<Cleaned>();
  std::vector<LeaseExpireCommand::Entry> due = lessor->TakeExpired(kCleanedLeasesMax);
  for (std::size_t first = 0; first < due.size(); first += kExpireGroup) {
    const auto begin = due.begin() + static_cast<std::ptrdiff_t>(first);
    const auto end = due.begin() + static_cast<std::ptrdiff_t>(std::min(first + kExpireGroup, due.size()));
    const std::vector<LeaseExpireCommand::Entry> entries(begin, end);
    ProposeInternal(LeaseExpireCommand{entries}, [this, entries, expired](const Result<CommandResult>& result) {
      if (result.ok()) expired->leases += std::get<LeaseExpireResult>(*result).expired;
      lessor->ExpiryDecided(entries, result.error());
    });
  }
  ProposeInternal(command, [=, this, done = std::move(done)](Result<CommandResult> result) {
    if (!result.ok()) return done(std::move(result).error());
    const CompactResult answer = std::get<CompactResult>(*result);
    const std::chrono::nanoseconds duration = options.clock->Now() - start;
    compact_metrics->Done(command.revision, std::chrono::duration<double>(duration).count(), expired->leases);
    VELLUM_LOG(logger, kInfo,
               "Compact completed: revision=" + std::to_string(command.revision) + ", duration=" +
                   Milliseconds(duration) + ", cleanedLeases=" + std::to_string(expired->leases));
    if (!physical) {
      reclaimer->Reclaim(command.revision, /*urgent=*/false, {});
      return done(answer);
    }
    reclaimer->Reclaim(command.revision, /*urgent=*/true, [done, answer](const Status& status) {
      // The logical step stands whatever becomes of the reclaim, which a restart or the next compaction resumes.
      status.ok() ? done(answer) : done(status);
    });
  });
}

void Engine::Compact(Revision revision, bool physical, std::function<void(Result<CompactResult>)> done,
                     CompactRules rules) {
  const CompactCommand command{revision, rules};
  Command checked = command;
  if (Status refused = impl_->Admit(&checked); !refused.ok()) return done(std::move(refused));
  // The applier checks again: this is so that a refused call expires no lease and leaves no line in the log.
  const std::shared_ptr<const View> view = CurrentView();
  if (Status refused = CheckCompact(command, view->revision(), view->compacted()); !refused.ok()) {
    return done(std::move(refused));
  }
  VELLUM_LOG(impl_->logger, kInfo,
             "Starting compact: target=" + std::to_string(revision) + ", current=" + std::to_string(view->revision()) +
                 ", lastCompacted=" + std::to_string(std::max<Revision>(view->compacted(), 0)));
  impl_->CompactNow(command, physical, std::move(done));
}

void Engine::Defragment(std::function<void(Status)> done) {
  if (impl_->options.read_only) return done(Unavailable("the store was opened read-only", Reason::kStopped));
  impl_->reclaimer->Defragment(std::move(done));
}

WatchHub& Engine::watch_hub() { return *impl_->hub; }
Lessor& Engine::lessor() { return *impl_->lessor; }
Metrics& Engine::metrics() { return *impl_->metrics; }
const EngineOptions& Engine::options() const { return impl_->options; }

std::int64_t Engine::ShownQuota() const { return impl_->guard->ShownQuota(); }

Engine::Info Engine::GetInfo() const {
  const std::shared_ptr<const View> view = CurrentView();
  Info info;
  info.cluster_id = impl_->cluster_id;
  info.member_id = impl_->member_id;
  info.applied_index = impl_->runner->applied_index();
  info.revision = view->revision();
  info.compacted = view->compacted();
  info.keys = CountTree::Total(view->count_root());
  info.sizes = impl_->database->GetSizes();
  info.alarms = impl_->runner->alarms();
  info.writer = impl_->writer->status();
  return info;
}

Status Engine::Impl::CheckpointLeases() {
  std::vector<LeaseCheckpointCommand::Entry> entries = lessor->Checkpoints();
  for (std::size_t first = 0; first < entries.size(); first += kCheckpointGroup) {
    const auto begin = entries.begin() + static_cast<std::ptrdiff_t>(first);
    const auto end = entries.begin() + static_cast<std::ptrdiff_t>(std::min(first + kCheckpointGroup, entries.size()));
    std::promise<Status> promise;
    std::future<Status> future = promise.get_future();
    ProposeInternal(LeaseCheckpointCommand{{begin, end}},
                    [&promise](const Result<CommandResult>& result) { promise.set_value(result.error()); });
    VELLUM_TRY(future.get());
  }
  return {};
}

/// The parts that propose go first, then what they proposed is finished; readers and watchers last.
Status Engine::Impl::StopParts() {
  stopping.store(true, std::memory_order_release);
  reclaimer->Stop();
  lessor->Stop();
  const bool writes = !options.read_only && writer->ok();
  Status checkpointed = writes ? CheckpointLeases() : Status();
  log->Stop();
  hub->Stop();
  if (!writes || !writer->ok()) return writer->status();
  VELLUM_TRY(checkpointed);
  VELLUM_TRY(applier->StoreAppliedIndex());
  VELLUM_TRY(database->Sync());
  return database->Flush();
}

Status Engine::Stop() {
  MutexLock lock(&impl_->stop_mu);
  if (!impl_->stopped) {
    impl_->stop_status = impl_->StopParts();
    impl_->stopped = true;
  }
  return impl_->stop_status;
}

}  // namespace vellum::kv
