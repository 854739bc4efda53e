#include <utility>

#include "kv/applier.h"

// The applier's commands about leases.
namespace vellum::kv {

Result<std::optional<LeaseRecord>> Applier::FindLease(LeaseId id) const {
  storage::PinnedValue value;
  VELLUM_ASSIGN_OR_RETURN(const bool exists, database_->Get(kLease, LeaseKey(id), &value));
  if (!exists) return std::optional<LeaseRecord>();
  VELLUM_ASSIGN_OR_RETURN(const LeaseRecord record, DecodeLeaseRecord(value.view()));
  return std::optional<LeaseRecord>(record);
}

Outcome Applier::ApplyGrant(const LeaseGrantCommand& command) {
  const Result<std::optional<LeaseRecord>> existing = FindLease(command.id);
  if (!existing.ok()) return Outcome(existing.error());
  if (existing->has_value()) {
    return Outcome(Status(Code::kAlreadyExists, "lease " + std::to_string(command.id) + " already exists",
                          Reason::kLeaseExists));
  }
  Outcome outcome{LeaseGrantResponse{revision_, command.id, command.ttl_s}};
  LeaseRecord record;
  record.granted_ttl_s = command.ttl_s;
  record.incarnation = applied_index_;
  storage::Batch batch;
  batch.Put(kLease, LeaseKey(command.id), EncodeLeaseRecord(record));
  if (Status status = WriteMeta(&batch, &outcome); !status.ok()) return Outcome(std::move(status));
  outcome.leases.push_back({true, command.id, command.ttl_s, record.incarnation});
  return outcome;
}

/// Deletes a lease's keys, in one revision, and the lease.
Status Applier::EndLease(LeaseId id, std::uint64_t incarnation, Command&& command, Outcome* outcome) {
  Sweep sweep;
  sweep.lease = id;
  sweep.progress.command = std::move(command);
  VELLUM_TRY(RunSweep(&sweep, outcome));
  outcome->leases.push_back({false, id, 0, incarnation});
  return {};
}

Outcome Applier::ApplyRevoke(const LeaseRevokeCommand& command) {
  const Result<std::optional<LeaseRecord>> lease = FindLease(command.id);
  if (!lease.ok()) return Outcome(lease.error());
  if (!lease->has_value()) return Outcome(NotFound("requested lease not found", Reason::kLeaseNotFound));
  Outcome outcome{Applied{}};
  if (Status status = EndLease(command.id, (*lease)->incarnation, command, &outcome); !status.ok()) {
    outcome.result = std::move(status);
  } else {
    outcome.result = CommandResult(LeaseRevokeResult{revision_});
  }
  return outcome;
}

Outcome Applier::ApplyExpire(const LeaseExpireCommand& command) {
  Outcome outcome{Applied{}};
  std::int64_t expired = 0;
  for (const LeaseExpireCommand::Entry& entry : command.entries) {
    Status status;
    Result<std::optional<LeaseRecord>> lease = FindLease(entry.id);
    if (!lease.ok()) {
      status = std::move(lease).error();
    } else if (lease->has_value() && (*lease)->incarnation == entry.incarnation) {
      status = EndLease(entry.id, entry.incarnation, LeaseExpireCommand{{entry}}, &outcome);
      ++expired;
    }
    if (!status.ok()) {
      // Leases before this one are gone for good, each in a revision of its own, and are reported as such.
      outcome.result = outcome.wrote ? std::move(status).WithMaybeApplied() : std::move(status);
      return outcome;
    }
  }
  outcome.result = CommandResult(LeaseExpireResult{revision_, expired});
  return outcome;
}

Outcome Applier::ApplyCheckpoint(const LeaseCheckpointCommand& command) {
  Outcome outcome{Applied{revision_}};
  storage::Batch batch;
  for (const LeaseCheckpointCommand::Entry& entry : command.entries) {
    const Result<std::optional<LeaseRecord>> lease = FindLease(entry.id);
    if (!lease.ok()) return Outcome(lease.error());
    if (!lease->has_value() || (*lease)->incarnation != entry.incarnation) continue;
    LeaseRecord record = **lease;
    record.remaining_ttl_s = std::max<std::int64_t>(entry.remaining_ttl_s, 0);
    batch.Put(kLease, LeaseKey(entry.id), EncodeLeaseRecord(record));
  }
  if (batch.empty()) return outcome;
  if (Status status = WriteMeta(&batch, &outcome); !status.ok()) return Outcome(std::move(status));
  return outcome;
}

}  // namespace vellum::kv
