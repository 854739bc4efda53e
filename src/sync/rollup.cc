#include "sync/rollup.h"

#include <algorithm>
#include <set>
#include <tuple>

namespace vellum::sync {
namespace {

bool IsFinished(const SyncEntry& entry) { return entry.state == SyncState::kSealed && entry.run.ended_at != 0; }

bool Older(const SyncEntry& a, const SyncEntry& b) {
  return std::tie(a.run.ended_at, a.run.id) < std::tie(b.run.ended_at, b.run.id);
}

struct Pending {
  std::optional<SyncEntry> full;
  std::vector<SyncEntry> parts;
};

Result<Pending> FindPending(const Store& store, std::string_view connector) {
  VELLUM_ASSIGN_OR_RETURN(auto syncs, store.List());
  std::erase_if(syncs, [&](const SyncEntry& entry) { return entry.connector != connector || !IsFinished(entry); });
  std::sort(syncs.begin(), syncs.end(), Older);
  Pending pending;
  for (SyncEntry& entry : syncs) {
    if (entry.run.type == "full") {
      pending.full = std::move(entry);
      pending.parts.clear();  // older than it
    } else if (pending.full && (entry.run.type == "partial" || entry.run.type == "resources_only")) {
      pending.parts.push_back(std::move(entry));
    }
  }
  return pending;
}

/// How many of the parts from `begin` on go into one transaction. The end of the last one becomes the full sync's, so those that end
/// at the same instant stay together where they can.
std::size_t BatchEnd(const std::vector<SyncEntry>& parts, std::size_t begin, std::size_t batch) {
  if (parts.size() - begin <= batch) return parts.size();
  std::size_t end = begin + batch;
  while (end > begin + 1 && parts[end].run.ended_at == parts[end - 1].run.ended_at) --end;
  return end > begin + 1 ? end : begin + batch;
}

void AddUp(MergeOutcome* sum, MergeOutcome next) {
  for (std::size_t i = 0; i < next.stats.size(); ++i) {
    next.stats[i].added += sum->stats[i].added;
    next.stats[i].replaced += sum->stats[i].replaced;
    next.stats[i].kept += sum->stats[i].kept;
    next.stats[i].unchanged += sum->stats[i].unchanged;
  }
  next.rounds += sum->rounds;
  next.bytes_written += sum->bytes_written;
  next.changed = next.changed || sum->changed;
  *sum = std::move(next);
}

}  // namespace

Result<RollupOutcome> RollUp(Store* store, std::string_view connector, bool dry_run, const Work& work,
                             std::size_t batch) {
  VELLUM_ASSIGN_OR_RETURN(const Pending pending, FindPending(*store, connector));
  RollupOutcome outcome;
  if (pending.parts.empty()) return outcome;
  outcome.into = pending.full->run.id;
  for (const SyncEntry& part : pending.parts) outcome.merged.push_back(part.run.id);
  if (dry_run) return outcome;
  MergeOptions options;
  options.forget_sources = true;
  std::size_t merged = 0;
  while (merged < pending.parts.size()) {
    const std::size_t end = BatchEnd(pending.parts, merged, std::max<std::size_t>(1, batch));
    std::vector<MergeSourceSync> sources;
    for (; merged < end; ++merged) sources.push_back({store, pending.parts[merged].run.id});
    VELLUM_ASSIGN_OR_RETURN(MergeOutcome made, MergeSyncs(store, std::move(sources), outcome.into, options, work));
    if (!outcome.merge) {
      outcome.merge = std::move(made);
    } else {
      AddUp(&*outcome.merge, std::move(made));
    }
  }
  store->metrics().RolledUp(outcome.merged.size());
  VELLUM_TRY(store->Sweep().error());
  return outcome;
}

Result<std::vector<std::string>> Connectors(const Store& store) {
  VELLUM_ASSIGN_OR_RETURN(const auto syncs, store.List());
  std::set<std::string> names;
  for (const SyncEntry& entry : syncs) names.insert(entry.connector);
  return std::vector<std::string>(names.begin(), names.end());
}

}  // namespace vellum::sync
