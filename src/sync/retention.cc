#include "sync/retention.h"

#include <sys/stat.h>

#include <algorithm>
#include <array>
#include <optional>
#include <tuple>

#include "base/bytes.h"

namespace vellum::sync {
namespace {

constexpr Stamp kSecond = 1'000'000'000;

bool IsDiff(const SyncEntry& entry) { return entry.run.type == "partial_upserts" || entry.run.type == "partial_deletions"; }
bool IsPart(const SyncEntry& entry) { return entry.run.type == "partial" || entry.run.type == "resources_only"; }
bool IsFinished(const SyncEntry& entry) { return entry.state == SyncState::kSealed && entry.run.ended_at != 0; }

using Pointers = std::vector<const RetentionSync*>;

void SortNewestFirst(Pointers* syncs) {
  std::sort(syncs->begin(), syncs->end(), [](const RetentionSync* a, const RetentionSync* b) {
    return std::tie(a->entry.run.ended_at, a->entry.run.id) > std::tie(b->entry.run.ended_at, b->entry.run.id);
  });
}

/// When a generation was registered: the first four bytes of its KSUID. 0 for other names.
Stamp RegisteredAt(std::string_view id) {
  constexpr std::string_view kDigits = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
  constexpr std::uint64_t kEpoch = 1'400'000'000;
  if (id.size() != 27) return 0;
  std::array<std::uint8_t, 20> bytes{};
  for (const char c : id) {
    const auto digit = kDigits.find(c);
    if (digit == std::string_view::npos) return 0;
    auto carry = static_cast<unsigned>(digit);
    for (auto byte = bytes.rbegin(); byte != bytes.rend(); ++byte) {
      carry += *byte * 62u;
      *byte = static_cast<std::uint8_t>(carry);
      carry >>= 8;
    }
    if (carry != 0) return 0;
  }
  std::uint64_t seconds = 0;
  for (int i = 0; i < 4; ++i) seconds = seconds << 8 | bytes[static_cast<std::size_t>(i)];
  return (seconds + kEpoch) * kSecond;
}

/// The last thing that is known to have happened to an unfinished sync.
Stamp LastSign(const SyncEntry& entry) {
  Stamp last = std::max(entry.run.started_at, RegisteredAt(entry.staging));
  if (!entry.history.empty()) last = std::max(last, entry.history.front().switched_at);
  return last;
}

std::string Ago(std::int64_t seconds) {
  if (seconds % 86400 == 0) return std::to_string(seconds / 86400) + " days";
  if (seconds % 3600 == 0) return std::to_string(seconds / 3600) + " hours";
  return std::to_string(seconds) + " seconds";
}

void PlanOpen(const std::vector<RetentionSync>& syncs, std::int64_t open_keep_s, Stamp now, std::vector<Retiring>* plan) {
  if (open_keep_s <= 0) return;
  const Stamp keep = static_cast<Stamp>(open_keep_s) * kSecond;
  Pointers expired;
  for (const RetentionSync& sync : syncs) {
    if (sync.entry.state != SyncState::kOpen || sync.has_writer) continue;
    const Stamp last = LastSign(sync.entry);
    // Without any sign nobody knows how old it is.
    if (last != 0 && last < now && now - last > keep) expired.push_back(&sync);
  }
  std::sort(expired.begin(), expired.end(), [](const RetentionSync* a, const RetentionSync* b) {
    const Stamp first = LastSign(a->entry);
    const Stamp second = LastSign(b->entry);
    return std::tie(first, a->entry.run.id) < std::tie(second, b->entry.run.id);
  });
  for (const RetentionSync* sync : expired) {
    plan->push_back({sync->entry, "open", "unfinished, and nobody has written it for " + Ago(open_keep_s)});
  }
}

void PlanDiffs(Pointers diffs, std::vector<Retiring>* plan) {
  if (diffs.size() < 2) return;
  SortNewestFirst(&diffs);
  const SyncRun& newest = diffs.front()->entry.run;
  const auto partner = std::find_if(diffs.begin() + 1, diffs.end(), [&](const RetentionSync* sync) {
    return sync->entry.run.id == newest.linked_id || sync->entry.run.linked_id == newest.id;
  });
  const RetentionSync* const second = partner == diffs.end() ? diffs[1] : *partner;
  for (auto sync = diffs.rbegin(); sync != diffs.rend(); ++sync) {
    if (*sync == diffs.front() || *sync == second) continue;
    plan->push_back({(*sync)->entry, "diff", "an older diff than " + Printable(newest.id)});
  }
}

}  // namespace

std::vector<Retiring> PlanRetention(const std::vector<RetentionSync>& syncs, const RetentionOptions& options, Stamp now) {
  std::vector<Retiring> plan;
  PlanOpen(syncs, options.open_keep_s, now, &plan);
  Pointers diffs;
  Pointers parts;
  Pointers fulls;
  for (const RetentionSync& sync : syncs) {
    if (!IsFinished(sync.entry) || sync.has_writer || !sync.readable) continue;
    (IsDiff(sync.entry) ? diffs : IsPart(sync.entry) ? parts : fulls).push_back(&sync);
  }
  PlanDiffs(std::move(diffs), &plan);
  const std::size_t keep = std::max<std::size_t>(1, options.keep);
  if (fulls.size() <= keep) return plan;
  SortNewestFirst(&fulls);
  SortNewestFirst(&parts);
  const SyncRun& oldest_kept = fulls[keep - 1]->entry.run;
  for (auto sync = parts.rbegin(); sync != parts.rend(); ++sync) {
    if ((*sync)->entry.run.ended_at >= oldest_kept.started_at) continue;  // also if nobody knows when that one began
    plan.push_back({(*sync)->entry, "partial",
                    "ended before " + Printable(oldest_kept.id) + ", the oldest full sync that stays, began"});
  }
  for (auto sync = fulls.rbegin(); sync != fulls.rend() - static_cast<std::ptrdiff_t>(keep); ++sync) {
    plan.push_back({(*sync)->entry, "full",
                    "beyond the " + (keep == 1 ? std::string("newest finished full sync")
                                               : std::to_string(keep) + " newest finished full syncs")});
  }
  return plan;
}

namespace {

Result<std::vector<RetentionSync>> SyncsOf(Store* store, std::string_view connector, const RetentionOptions& options) {
  VELLUM_ASSIGN_OR_RETURN(auto all, store->List());
  std::vector<RetentionSync> syncs;
  for (SyncEntry& entry : all) {
    if (entry.connector != connector) continue;
    RetentionSync sync{std::move(entry)};
    VELLUM_ASSIGN_OR_RETURN(sync.has_writer, store->HasWriter(sync.entry));
    syncs.push_back(std::move(sync));
  }
  // Those that would be kept must be worth keeping; older ones are not opened for it.
  std::vector<RetentionSync*> fulls;
  for (RetentionSync& sync : syncs) {
    if (IsFinished(sync.entry) && IsFullForRetention(sync.entry) && !sync.has_writer) fulls.push_back(&sync);
  }
  std::sort(fulls.begin(), fulls.end(), [](const RetentionSync* a, const RetentionSync* b) {
    return std::tie(a->entry.run.ended_at, a->entry.run.id) > std::tie(b->entry.run.ended_at, b->entry.run.id);
  });
  if (fulls.size() <= options.keep) return syncs;
  std::size_t kept = 0;
  for (RetentionSync* sync : fulls) {
    if (kept >= std::max<std::size_t>(1, options.keep)) break;
    sync->readable = store->OpenGeneration(sync->entry.generation()).ok();
    kept += sync->readable ? 1 : 0;
  }
  return syncs;
}

Retired Describe(Store* store, Retiring retiring) {
  Retired retired;
  for (std::size_t i = 0; i < retiring.entry.history.size(); ++i) {
    const GenerationId& id = retiring.entry.history[i].generation;
    const auto info = store->InfoOf(id);
    if (!info.ok()) continue;
    if (i == 0) retired.records = (*info)->records();
    for (const GenerationFile& file : (*info)->files) {
      struct stat status {};
      const std::string path = store->GenerationPath(id) + "/" + file.name;
      if (::stat(path.c_str(), &status) == 0 && status.st_nlink == 1) retired.bytes += file.bytes;
    }
  }
  retired.retiring = std::move(retiring);
  return retired;
}

Stamp Now(const Store& store) { return static_cast<Stamp>(store.options().clock->WallNow().time_since_epoch().count()); }

Result<std::vector<Retired>> CarryOut(Store* store, std::vector<Retiring> plan, bool dry_run, const Work& work) {
  std::vector<Retired> done;
  for (Retiring& retiring : plan) {
    if (work.cancel != nullptr && work.cancel->load()) return Cancelled("retention was cancelled");
    Retired retired = Describe(store, std::move(retiring));
    if (!dry_run) {
      Status removed = store->Remove(retired.retiring.entry, Store::Writers::kRefuse);
      if (removed.code() == Code::kAborted) continue;
      VELLUM_TRY(std::move(removed));
      store->metrics().Retired(retired.retiring.rule);
    }
    done.push_back(std::move(retired));
    if (work.progress) work.progress(done.size());
  }
  if (!dry_run && !done.empty()) VELLUM_TRY(store->Sweep().error());
  return done;
}

}  // namespace

bool IsFullForRetention(const SyncEntry& entry) { return !IsDiff(entry) && !IsPart(entry); }

Result<std::vector<Retired>> Retain(Store* store, std::string_view connector, const RetentionOptions& options, bool dry_run,
                                    const Work& work) {
  VELLUM_ASSIGN_OR_RETURN(const auto syncs, SyncsOf(store, connector, options));
  return CarryOut(store, PlanRetention(syncs, options, Now(*store)), dry_run, work);
}

Result<std::vector<Retired>> ExpireOpen(Store* store, std::int64_t open_keep_s, const Work& work) {
  VELLUM_ASSIGN_OR_RETURN(auto all, store->List());
  std::vector<RetentionSync> open;
  for (SyncEntry& entry : all) {
    if (entry.state != SyncState::kOpen) continue;
    RetentionSync sync{std::move(entry)};
    VELLUM_ASSIGN_OR_RETURN(sync.has_writer, store->HasWriter(sync.entry));
    open.push_back(std::move(sync));
  }
  std::vector<Retiring> plan;
  PlanOpen(open, open_keep_s, Now(*store), &plan);
  return CarryOut(store, std::move(plan), /*dry_run=*/false, work);
}

}  // namespace vellum::sync
