#include "kv/group_runner.h"

#include <utility>

namespace vellum::kv {
namespace {

double Seconds(Clock::TimePoint from, Clock::TimePoint to) { return std::chrono::duration<double>(to - from).count(); }

}  // namespace

GroupRunner::GroupRunner(Options options, storage::Database* database, Applier* applier, WriterState* writer,
                         std::shared_ptr<CompactionMark> mark, ApplyMetrics* metrics, Hooks hooks)
    : options_(options),
      database_(database),
      applier_(applier),
      writer_(writer),
      mark_(std::move(mark)),
      ring_(std::make_shared<CountRing>(options.count_ring_bytes)),
      metrics_(metrics),
      hooks_(std::move(hooks)) {
  Publish({}, true);
  metrics_->Alarms(applier_->alarms());
  MutexLock lock(&mu_);
  alarms_ = applier_->alarms();
}

std::vector<AlarmEntry> GroupRunner::alarms() const {
  MutexLock lock(&mu_);
  return alarms_;
}

/// What was never begun certainly has no effect; the rest may be found after a restart.
void GroupRunner::FailGroup(const std::vector<Proposal>& group, std::size_t attempted) {
  for (std::size_t i = 0; i < group.size(); ++i) {
    metrics_->Failed();
    group[i].done(i < attempted ? writer_->Refusal().WithMaybeApplied() : writer_->Refusal());
  }
}

void GroupRunner::Publish(const std::vector<Outcome>& outcomes, bool wrote) {
  bool alarms_changed = false;
  for (const Outcome& outcome : outcomes) {
    // Before the view: whoever sees it must already be refused what is compacted.
    if (outcome.compacted) mark_->published.store(*outcome.compacted, std::memory_order_release);
    alarms_changed = alarms_changed || outcome.alarms_changed;
  }
  applied_index_.store(applier_->applied_index(), std::memory_order_release);
  if (alarms_changed) {
    metrics_->Alarms(applier_->alarms());
    {
      MutexLock lock(&mu_);
      alarms_ = applier_->alarms();
    }
    hooks_.on_alarms(applier_->alarms());
  }
  if (!wrote) return;
  const CountTree::Root root = applier_->count_root();
  ring_->Publish(applier_->revision(), root);
  view_.Set(std::make_shared<const View>(database_, database_->TakeSnapshot(), applier_->revision(), root, mark_, ring_));
}

void GroupRunner::HandleGroup(std::vector<Proposal>&& group, Durability durability) {
  if (!writer_->ok()) return FailGroup(group, 0);
  const Clock::TimePoint start = options_.clock->Now();
  Clock::TimePoint last = start;
  std::vector<Outcome> outcomes;
  outcomes.reserve(group.size());
  bool wrote = false;
  std::size_t bytes = 0;
  for (Proposal& proposal : group) {
    const std::size_t kind = proposal.command.index();
    outcomes.push_back(applier_->Apply(std::move(proposal.command)));
    const Outcome& outcome = outcomes.back();
    wrote = wrote || outcome.wrote;
    for (const PublishedRevisionPtr& revision : outcome.revisions) bytes += revision->bytes;
    const Clock::TimePoint now = options_.clock->Now();
    metrics_->Applied(kind, outcome, Seconds(last, now));
    last = now;
    if (!applier_->failure().ok()) break;
  }

  Status failure = applier_->failure();
  const bool sync = wrote && durability == Durability::kSyncNeeded;
  if (failure.ok() && sync) failure = database_->Sync();
  const Clock::TimePoint synced = options_.clock->Now();
  if (!failure.ok()) {
    writer_->Fail(failure);
    return FailGroup(group, outcomes.size());
  }

  Publish(outcomes, wrote);
  for (const Outcome& outcome : outcomes) {
    for (const Outcome::LeaseChange& change : outcome.leases) hooks_.on_lease(change);
  }
  std::vector<PublishedRevisionPtr> revisions;
  for (std::size_t i = 0; i < group.size(); ++i) {
    for (PublishedRevisionPtr& revision : outcomes[i].revisions) revisions.push_back(std::move(revision));
    group[i].done(std::move(outcomes[i].result));
  }
  if (!revisions.empty()) hooks_.on_revisions(std::move(revisions));
  if (wrote) hooks_.on_written(bytes);
  metrics_->GroupDone(Seconds(start, options_.clock->Now()), Seconds(last, synced), sync);
}

}  // namespace vellum::kv
