#include "kv/applier.h"

#include <algorithm>
#include <utility>

#include "kv/validate.h"

namespace vellum::kv {
namespace {

/// One store has one member and two kinds of alarm; a client may make up members, but not without end.
constexpr std::size_t kAlarmsMax = 1000;

/// Adds the row that says how far a half-applied command has come.
void PutPending(const PendingCommand& progress, storage::Batch* batch) {
  batch->Put(kMeta, kMetaPending, EncodePending(progress));
}

Status FutureCompact(Revision revision, Revision current) {
  return OutOfRange("cannot compact to future revision " + std::to_string(revision) + " (current: " +
                        std::to_string(current) + ")",
                    Reason::kFutureRevision);
}

Status AlreadyCompacted(Revision revision, Revision compacted) {
  return OutOfRange("already compacted to revision " + std::to_string(compacted) + " (requested: " +
                        std::to_string(revision) + ")",
                    Reason::kCompacted);
}

}  // namespace

Status CheckCompact(const CompactCommand& command, Revision current, Revision compacted) {
  const Revision revision = command.revision;
  if (command.rules == CompactRules::kLibrary && revision <= 0) {
    return InvalidArgument("invalid compact revision: " + std::to_string(revision), Reason::kCompacted);
  }
  if (revision <= compacted) return AlreadyCompacted(revision, compacted);
  if (revision > current) return FutureCompact(revision, current);
  return {};
}

Outcome Applier::Refused(const Command& command) const {
  const auto is_on = [this](AlarmType type) {
    return std::any_of(alarms_.begin(), alarms_.end(), [type](const AlarmEntry& entry) { return entry.alarm == type; });
  };
  const bool changes_keys =
      std::holds_alternative<PutCommand>(command) || std::holds_alternative<DeleteRangeCommand>(command) ||
      std::holds_alternative<TxnCommand>(command) || std::holds_alternative<CompactCommand>(command) ||
      std::holds_alternative<LeaseGrantCommand>(command) || std::holds_alternative<LeaseRevokeCommand>(command) ||
      std::holds_alternative<LeaseExpireCommand>(command);
  if (changes_keys && is_on(AlarmType::kCorrupt)) return Outcome(DataLoss("corrupt cluster", Reason::kCorrupt));
  if (SpaceCost(command) > 0 && is_on(AlarmType::kNoSpace)) {
    return Outcome(ResourceExhausted("database space exceeded", Reason::kNoSpace));
  }
  return Outcome(Applied{revision_});
}

Outcome Applier::Apply(Command&& command) {
  if (!failure_.ok()) return Outcome(failure_);
  ++applied_index_;
  if (Outcome refused = Refused(command); !refused.result.ok()) return refused;
  struct Dispatch {
    Applier* self;
    Outcome operator()(PutCommand&& c) const { return self->ApplyPut(std::move(c.request)); }
    Outcome operator()(DeleteRangeCommand&& c) const { return self->ApplyDeleteRange(std::move(c.request)); }
    Outcome operator()(TxnCommand&& c) const { return self->ApplyTxn(std::move(c.request)); }
    Outcome operator()(CompactCommand&& c) const { return self->ApplyCompact(c); }
    Outcome operator()(LeaseGrantCommand&& c) const { return self->ApplyGrant(c); }
    Outcome operator()(LeaseRevokeCommand&& c) const { return self->ApplyRevoke(c); }
    Outcome operator()(LeaseExpireCommand&& c) const { return self->ApplyExpire(c); }
    Outcome operator()(LeaseCheckpointCommand&& c) const { return self->ApplyCheckpoint(c); }
    Outcome operator()(AlarmCommand&& c) const { return self->ApplyAlarm(c); }
    Outcome operator()(SampleCommand&& c) const { return self->ApplySample(c); }
    Outcome operator()(ReclaimCommand&& c) const { return self->ApplyReclaim(c); }
  };
  Outcome outcome = std::visit(Dispatch{this}, std::move(command));
  // A command that failed before its batch was written leaves edits behind; after Save there are none.
  if (!outcome.result.ok()) count_tree_.Discard();
  return outcome;
}

std::unique_ptr<View> Applier::LiveView() const {
  return std::make_unique<View>(database_, nullptr, revision_, count_tree_.root(), mark_);
}

Status Applier::Write(storage::Batch&& batch) {
  Status status = database_->Write(std::move(batch));
  if (status.ok()) return status;
  failure_ = status;
  return std::move(status).WithMaybeApplied();
}

Status Applier::WriteMeta(storage::Batch* batch, Outcome* outcome) {
  batch->Put(kMeta, kMetaAppliedIndex, EncodeMetaNumber(static_cast<std::int64_t>(applied_index_)));
  VELLUM_TRY(Write(std::move(*batch)));
  outcome->wrote = true;
  return {};
}

Status Applier::StoreAppliedIndex() {
  if (!failure_.ok()) return failure_;
  storage::Batch batch;
  batch.Put(kMeta, kMetaAppliedIndex, EncodeMetaNumber(static_cast<std::int64_t>(applied_index_)));
  return Write(std::move(batch));
}

namespace {

PublishedRevisionPtr Publish(WriteSet* set) {
  auto published = std::make_shared<PublishedRevision>();
  published->revision = set->main();
  published->bytes = set->bytes();
  std::vector<Event> events = set->TakeEvents();
  published->events.reserve(events.size());
  for (Event& event : events) published->events.push_back({std::move(event), {}});
  return published;
}

}  // namespace

Status Applier::Commit(WriteSet* set, Outcome* outcome) {
  if (!set->changed()) return {};
  storage::Batch batch;
  VELLUM_TRY(set->Finish(&batch));
  batch.Put(kMeta, kMetaRevision, EncodeMetaNumber(set->main()));
  VELLUM_TRY(WriteMeta(&batch, outcome));
  revision_ = set->main();
  outcome->put_bytes += set->put_bytes();
  outcome->revisions.push_back(Publish(set));
  return {};
}

template <typename Response>
void Applier::Conclude(Result<Response>&& response, WriteSet* set, Outcome* outcome) {
  if (!response.ok()) {
    outcome->result = std::move(response).error();
  } else if (Status status = Commit(set, outcome); !status.ok()) {
    outcome->result = std::move(status);
  } else {
    outcome->result = CommandResult(*std::move(response));
  }
}

Outcome Applier::ApplyPut(PutRequest&& request) {
  Outcome outcome{Applied{}};
  WriteSet set(database_, &count_tree_, revision_ + 1);
  const std::unique_ptr<View> before = LiveView();
  Operations operations(&set, before.get(), compacted_, {options_.txn_bytes_max});
  Result<PutResponse> response = operations.Put(std::move(request));
  outcome.counts = operations.counts();
  Conclude(std::move(response), &set, &outcome);
  return outcome;
}

Outcome Applier::ApplyTxn(TxnRequest&& request) {
  Outcome outcome{Applied{}};
  WriteSet set(database_, &count_tree_, revision_ + 1);
  const std::unique_ptr<View> before = LiveView();
  Operations operations(&set, before.get(), compacted_, {options_.txn_bytes_max});
  Result<Operations::Path> path = operations.Evaluate(request);
  if (!path.ok()) return Outcome(std::move(path).error());

  std::vector<TxnOp>& chosen = path->succeeded ? request.success : request.failure;
  if (chosen.size() == 1 && std::holds_alternative<DeleteRangeRequest>(chosen[0].request)) {
    // Nothing else is in it, so it can be as large as a delete range of its own.
    TxnResponse response;
    response.succeeded = path->succeeded;
    outcome = ApplyDeleteRange(std::get<DeleteRangeRequest>(std::move(chosen[0].request)));
    if (!outcome.result.ok()) return outcome;
    auto& deleted = std::get<DeleteRangeResponse>(*outcome.result);
    response.revision = deleted.revision;
    response.responses.push_back({std::move(deleted)});
    outcome.result = CommandResult(std::move(response));
    return outcome;
  }

  Result<TxnResponse> response = operations.Run(std::move(request), *path);
  outcome.counts = operations.counts();
  Conclude(std::move(response), &set, &outcome);
  return outcome;
}

Outcome Applier::ApplyDeleteRange(DeleteRangeRequest&& request) {
  Outcome outcome{Applied{}};
  DeleteRangeResponse response;
  Sweep sweep;
  sweep.interval = KeyInterval::FromRequest(request.key, request.range_end);
  sweep.previous = request.prev_kv ? &response.prev_kvs : nullptr;
  outcome.counts.deletes = 1;
  outcome.counts.ranges = request.prev_kv ? 1 : 0;
  sweep.progress.cursor = sweep.interval.begin;
  sweep.progress.command = DeleteRangeCommand{std::move(request)};
  if (Status status = RunSweep(&sweep, &outcome); !status.ok()) {
    outcome.result = std::move(status);
    return outcome;
  }
  response.deleted = sweep.progress.changes;
  response.revision = revision_;
  outcome.result = CommandResult(std::move(response));
  return outcome;
}

std::size_t Applier::PartBytes() const {
  if (options_.pacer == nullptr) return options_.apply_batch_bytes_max;
  return std::min(options_.apply_batch_bytes_max, options_.pacer->PartBytes());
}

/// Fills the set with the next part. True: it is the last one.
Result<bool> Applier::CollectPart(Sweep* sweep, WriteSet* set) {
  PendingCommand& progress = sweep->progress;
  if (sweep->lease == 0) {
    KeyInterval rest = sweep->interval;
    rest.begin = progress.cursor;
    VELLUM_ASSIGN_OR_RETURN(WriteSet::Deletion part,
                            set->DeleteRange(rest, PartBytes(), sweep->previous));
    progress.cursor = std::move(part.next);
    progress.changes += part.deleted;
    return part.finished;
  }
  const std::string lower =
      progress.cursor.empty() ? LeaseKey(sweep->lease) : LeaseAttachmentKey(sweep->lease, progress.cursor);
  const std::size_t bytes_max = PartBytes();
  storage::ReadOptions options;
  options.lower = lower;
  storage::Iterator it = database_->NewIterator(kLease, options);
  for (it.Seek(lower); it.valid(); it.Next()) {
    VELLUM_ASSIGN_OR_RETURN(const LeaseKeyParts row, DecodeLeaseKey(it.key()));
    if (row.id != sweep->lease) break;
    if (!row.key) continue;
    if (set->bytes() >= bytes_max) {
      progress.cursor = std::string(*row.key);
      return false;
    }
    VELLUM_ASSIGN_OR_RETURN(const StoredRecord* stored, set->Current(*row.key));
    if (stored == nullptr || stored->lease != sweep->lease) {
      return DataLoss("lease " + std::to_string(sweep->lease) + " is attached to a key that does not have it");
    }
    VELLUM_TRY(set->Delete(*row.key).error());
    ++progress.changes;
  }
  VELLUM_TRY(it.status());
  return true;
}

Status Applier::PausePart(const std::string& begin, const std::string& end) {
  if (options_.pacer == nullptr) return {};
  Status status = options_.pacer->AfterPart({begin, end});
  if (status.ok()) return status;
  failure_ = status;  // half of the command is written
  return std::move(status).WithMaybeApplied();
}

/// Applies a command of which each part is a batch; between two of them the `pending` row says how to go on. All parts
/// have one main revision, which counts only when the last one is written.
Status Applier::RunSweep(Sweep* sweep, Outcome* outcome) {
  PendingCommand& progress = sweep->progress;
  if (!sweep->in_parts) {
    progress.main = revision_ + 1;
    progress.index = applied_index_;
  }
  for (bool last = false; !last;) {
    WriteSet set(database_, &count_tree_, progress.main, progress.sub);
    storage::Batch batch;
    const std::string begin = progress.cursor;
    const Status collected = [&]() -> Status {
      VELLUM_ASSIGN_OR_RETURN(last, CollectPart(sweep, &set));
      return set.Finish(&batch);
    }();
    if (!collected.ok()) {
      count_tree_.Discard();
      if (sweep->in_parts) failure_ = collected;  // half of it is written: only reopening can finish it
      return sweep->in_parts ? Status(collected).WithMaybeApplied() : collected;
    }
    progress.sub = set.next_sub();
    if (last && sweep->lease != 0) batch.Delete(kLease, LeaseKey(sweep->lease));
    if (last && progress.changes > 0) batch.Put(kMeta, kMetaRevision, EncodeMetaNumber(progress.main));
    if (last && sweep->in_parts) batch.Delete(kMeta, kMetaPending);
    if (!last) PutPending(progress, &batch);
    if (last && batch.empty()) return {};
    if (last) {
      VELLUM_TRY(WriteMeta(&batch, outcome));
    } else {
      VELLUM_TRY(Write(std::move(batch)));
      outcome->wrote = true;
      VELLUM_TRY(PausePart(begin, progress.cursor));
    }
    if (last && progress.changes > 0) {
      revision_ = progress.main;
      if (!sweep->in_parts) {
        outcome->revisions.push_back(Publish(&set));
      } else {
        auto published = std::make_shared<PublishedRevision>();
        published->revision = revision_;
        published->stored_only = true;
        outcome->revisions.push_back(std::move(published));
      }
    }
    sweep->in_parts = true;
  }
  return {};
}

Outcome Applier::ApplyCompact(const CompactCommand& command) {
  if (Status status = CheckCompact(command, revision_, compacted_); !status.ok()) return Outcome(std::move(status));
  Outcome outcome{CompactResult{revision_}};
  storage::Batch batch;
  batch.Put(kMeta, kMetaCompacted, EncodeMetaNumber(command.revision));
  if (Status status = WriteMeta(&batch, &outcome); !status.ok()) return Outcome(std::move(status));
  compacted_ = command.revision;
  outcome.compacted = compacted_;
  return outcome;
}

Outcome Applier::ApplyReclaim(const ReclaimCommand& command) {
  if (command.compacted > compacted_) {
    return Outcome(InvalidArgument("cannot reclaim up to " + std::to_string(command.compacted) +
                                   ": compacted is only " + std::to_string(compacted_)));
  }
  Outcome outcome{Applied{revision_}};
  if (command.compacted <= reclaimed_) return outcome;
  storage::Batch batch;
  if (command.step == ReclaimCommand::Step::kBegin) {
    // The last finished reclaim began by dropping what lies below it.
    batch.DeleteRange(kRev, RevKey(std::max<Revision>(reclaimed_, 0), 0), RevKey(command.compacted, 0));
  } else {
    batch.Put(kMeta, kMetaReclaimed, EncodeMetaNumber(command.compacted));
  }
  if (Status status = WriteMeta(&batch, &outcome); !status.ok()) return Outcome(std::move(status));
  if (command.step == ReclaimCommand::Step::kFinished) reclaimed_ = command.compacted;
  return outcome;
}

Outcome Applier::ApplySample(const SampleCommand& command) {
  if (command.wall_s < 0) return Outcome(InvalidArgument("a sample lies before 1970"));
  Outcome outcome{Applied{revision_}};
  storage::Batch batch;
  storage::ReadOptions options;
  const std::string lower = SampleRow(0);
  const std::string upper = SampleRow(std::max<std::int64_t>(command.drop_before_s, 0));
  options.lower = lower;
  options.upper = upper;
  storage::Iterator it = database_->NewIterator(kMeta, options);
  for (it.Seek(lower); it.valid(); it.Next()) batch.Delete(kMeta, it.key());
  if (!it.status().ok()) return Outcome(it.status());
  batch.Put(kMeta, SampleRow(command.wall_s), EncodeMetaNumber(revision_));
  if (Status status = WriteMeta(&batch, &outcome); !status.ok()) return Outcome(std::move(status));
  return outcome;
}

Outcome Applier::ApplyAlarm(const AlarmCommand& command) {
  const AlarmEntry entry{command.member_id, command.alarm};
  AlarmResult result;
  result.revision = revision_;
  if (entry.alarm == AlarmType::kNone) return Outcome(std::move(result));
  std::vector<AlarmEntry> alarms = alarms_;
  const auto at = std::find(alarms.begin(), alarms.end(), entry);
  result.changed = command.activate ? at == alarms.end() : at != alarms.end();
  if (command.activate || result.changed) result.alarms.push_back(entry);
  if (!result.changed) return Outcome(std::move(result));
  if (command.activate && alarms.size() >= kAlarmsMax) {
    return Outcome(ResourceExhausted("more than " + std::to_string(kAlarmsMax) + " alarms are on"));
  }
  if (command.activate) {
    alarms.push_back(entry);
  } else {
    alarms.erase(at);
  }
  Outcome outcome{std::move(result)};
  storage::Batch batch;
  batch.Put(kMeta, kMetaAlarms, EncodeAlarms(alarms));
  if (Status status = WriteMeta(&batch, &outcome); !status.ok()) return Outcome(std::move(status));
  alarms_ = std::move(alarms);
  outcome.alarms_changed = true;
  return outcome;
}

}  // namespace vellum::kv
