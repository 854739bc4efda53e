#include <algorithm>
#include <utility>

#include "kv/applier.h"

// How the applier finds its state when a store is opened.
namespace vellum::kv {

Result<std::optional<std::int64_t>> ReadMetaNumber(const storage::Database& database, std::string_view row) {
  storage::PinnedValue value;
  VELLUM_ASSIGN_OR_RETURN(const bool found, database.Get(kMeta, row, &value));
  if (!found) return std::optional<std::int64_t>();
  VELLUM_ASSIGN_OR_RETURN(const std::int64_t number, DecodeMetaNumber(row, value.view()));
  return std::optional<std::int64_t>(number);
}

Applier::Applier(Options options, storage::Database* database, std::shared_ptr<const CompactionMark> mark,
                 CountTree tree)
    : options_(options), database_(database), mark_(std::move(mark)), count_tree_(std::move(tree)) {}

Result<std::unique_ptr<Applier>> Applier::Open(Options options, storage::Database* database,
                                               std::shared_ptr<const CompactionMark> mark, bool read_only) {
  VELLUM_ASSIGN_OR_RETURN(CountTree tree, CountTree::Load(*database));
  std::unique_ptr<Applier> applier(new Applier(options, database, std::move(mark), std::move(tree)));
  VELLUM_TRY(applier->LoadMeta());
  VELLUM_TRY(applier->FinishPending(read_only));
  return applier;
}

Status Applier::LoadMeta() {
  VELLUM_ASSIGN_OR_RETURN(const auto revision, ReadMetaNumber(*database_, kMetaRevision));
  VELLUM_ASSIGN_OR_RETURN(const auto compacted, ReadMetaNumber(*database_, kMetaCompacted));
  VELLUM_ASSIGN_OR_RETURN(const auto reclaimed, ReadMetaNumber(*database_, kMetaReclaimed));
  VELLUM_ASSIGN_OR_RETURN(const auto index, ReadMetaNumber(*database_, kMetaAppliedIndex));
  compacted_ = compacted.value_or(kNeverCompacted);
  reclaimed_ = reclaimed.value_or(kNeverCompacted);
  revision_ = std::max({Revision{1}, revision.value_or(1), compacted_});
  applied_index_ = static_cast<std::uint64_t>(index.value_or(0));
  if (reclaimed_ > compacted_) return DataLoss("the store has reclaimed more than it has compacted");

  storage::PinnedValue alarms;
  VELLUM_ASSIGN_OR_RETURN(const bool has_alarms, database_->Get(kMeta, kMetaAlarms, &alarms));
  if (has_alarms) {
    VELLUM_ASSIGN_OR_RETURN(alarms_, DecodeAlarms(alarms.view()));
  }
  return {};
}

Status Applier::FinishPending(bool read_only) {
  storage::PinnedValue row;
  VELLUM_ASSIGN_OR_RETURN(const bool found, database_->Get(kMeta, kMetaPending, &row));
  if (!found) return {};
  if (read_only) {
    return FailedPrecondition("the store stopped in the middle of a large command; open it for writing once");
  }
  Sweep sweep;
  sweep.in_parts = true;
  VELLUM_ASSIGN_OR_RETURN(sweep.progress, DecodePending(row.view()));
  if (sweep.progress.main != revision_ + 1) return DataLoss("the pending command is not the next one");
  if (const auto* del = std::get_if<DeleteRangeCommand>(&sweep.progress.command)) {
    sweep.interval = KeyInterval::FromRequest(del->request.key, del->request.range_end);
  } else if (const auto* revoke = std::get_if<LeaseRevokeCommand>(&sweep.progress.command)) {
    sweep.lease = revoke->id;
  } else if (const auto* expire = std::get_if<LeaseExpireCommand>(&sweep.progress.command);
             expire != nullptr && expire->entries.size() == 1) {
    sweep.lease = expire->entries[0].id;
  } else {
    return DataLoss("the pending command is of a kind that is never applied in parts");
  }
  applied_index_ = std::max(applied_index_, sweep.progress.index);
  Outcome outcome{Applied{}};
  VELLUM_TRY(RunSweep(&sweep, &outcome));
  return database_->Sync();
}

}  // namespace vellum::kv
