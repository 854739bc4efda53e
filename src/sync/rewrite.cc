#include <algorithm>
#include <set>

#include "base/bytes.h"
#include "sync/upkeep.h"

namespace vellum::sync {
namespace {

bool RefersTo(const SyncEntry& entry, const GenerationId& id) {
  return std::any_of(entry.history.begin(), entry.history.end(), [&](const HistoryEntry& each) { return each.generation == id; });
}

}  // namespace

Result<RewriteOutcome> RewriteGeneration(Store* store, const GenerationId& id, const Work& work) {
  VELLUM_ASSIGN_OR_RETURN(auto syncs, store->List());
  std::erase_if(syncs, [&](const SyncEntry& entry) { return !RefersTo(entry, id); });
  if (syncs.empty()) return NotFound("no sync refers to generation " + Printable(id));
  VELLUM_ASSIGN_OR_RETURN(const auto old, store->OpenGeneration(id));
  RewriteOutcome outcome;
  outcome.before = WasteOf(old->info());
  outcome.bytes_before = old->info().bytes();

  VELLUM_ASSIGN_OR_RETURN(const auto building, store->Register());
  VELLUM_ASSIGN_OR_RETURN(Derived derived, MergeGenerations({old}, building->Limits(work)));
  GenerationInfo made;
  made.totals = derived.totals;
  if (!(made.Digest() == old->info().Digest())) {
    return DataLoss("generation " + id + " holds records of digest " + made.Digest().ToHex() + " and says " +
                    old->info().Digest().ToHex() + ": it was not rewritten");
  }
  std::vector<Store::Switch> switches;
  for (SyncEntry& entry : syncs) {
    outcome.syncs.push_back(entry.run.id);
    switches.push_back({std::move(entry), "rewrite", id});
  }
  VELLUM_ASSIGN_OR_RETURN(outcome.generation, store->Publish(building.get(), std::move(derived), {id}, std::move(switches)));
  outcome.bytes_after = outcome.generation->info().bytes();
  return outcome;
}

Result<std::vector<GenerationId>> WastefulGenerations(const Store& store) {
  VELLUM_ASSIGN_OR_RETURN(const auto syncs, store.List());
  std::set<GenerationId> seen;
  std::vector<std::pair<double, GenerationId>> wasteful;
  for (const SyncEntry& entry : syncs) {
    if (entry.history.empty() || !entry.staging.empty() || !seen.insert(entry.generation()).second) continue;
    const auto info = store.InfoOf(entry.generation());
    if (!info.ok()) continue;  // verify says so, and nothing can be done about it here
    const Waste waste = WasteOf(**info);
    if (waste.past_limit()) wasteful.emplace_back(-waste.dead_share, entry.generation());
  }
  std::sort(wasteful.begin(), wasteful.end());
  std::vector<GenerationId> ids;
  for (auto& [share, id] : wasteful) ids.push_back(std::move(id));
  return ids;
}

}  // namespace vellum::sync
