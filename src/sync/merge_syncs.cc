#include <algorithm>
#include <functional>
#include <utility>

#include "base/bytes.h"
#include "storage/files.h"
#include "sync/operations.h"
#include "sync/waste.h"

namespace vellum::sync {
namespace {

/// A fold beats a merge while what comes in is small beside what is there ...
constexpr double kFoldShareMax = 0.10;
/// ... and what earlier folds left is within limits; past them the merge is also the rewrite.

bool IsDiffType(const std::string& type) { return type == "partial_upserts" || type == "partial_deletions"; }

int Width(const std::string& type) {
  if (type == "full") return 3;
  if (type == "resources_only") return 2;
  return type == "partial" ? 1 : 0;
}

struct Input {
  SyncEntry entry;
  std::shared_ptr<const Generation> generation;
};

Result<Input> OpenSource(const MergeSourceSync& source) {
  VELLUM_ASSIGN_OR_RETURN(SyncEntry entry, source.store->Get(source.sync_id));
  const std::string name = "source sync " + Printable(source.sync_id);
  if (IsDiffType(entry.run.type)) {
    return FailedPrecondition(name + " is a diff (" + entry.run.type + "): diffs cannot be merged");
  }
  if (!entry.staging.empty()) return FailedPrecondition(name + " is being written");
  auto generation = source.store->OpenGeneration(entry.generation());
  if (!generation.ok()) return std::move(generation).error().WithContext(name);
  return Input{std::move(entry), *std::move(generation)};
}

/// kAuto's choice, and the reason that people are told.
Strategy Choose(const GenerationInfo& base, std::uint64_t incoming, Strategy wanted, std::string* why) {
  const std::uint64_t there = base.records();
  const Waste waste = WasteOf(base);
  if (wanted == Strategy::kMerge) {
    *why = "asked for";
  } else if (there == 0) {
    *why = "the destination is empty";
  } else if (waste.overlays >= kOverlaysMax) {
    *why = "the destination has " + std::to_string(waste.overlays) + " overlays already";
  } else if (wanted == Strategy::kFold) {
    *why = "asked for";
    return Strategy::kFold;
  } else if (static_cast<double>(incoming) > kFoldShareMax * static_cast<double>(there)) {
    *why = std::to_string(incoming) + " incoming records are more than 10 % of " + std::to_string(there);
  } else if (waste.dead_share > kDeadShareMax) {
    *why = "more than 15 % of the destination is waste";
  } else {
    *why = std::to_string(incoming) + " incoming records are at most 10 % of " + std::to_string(there);
    return Strategy::kFold;
  }
  return Strategy::kMerge;
}

/// One MergeSyncs call.
class Merging {
 public:
  Merging(Store* dest, const MergeOptions& options, const Work& work) : dest_(dest), options_(options), work_(work) {}

  Result<MergeOutcome> Run(SyncEntry entry, const std::vector<MergeSourceSync>& sources) {
    VELLUM_ASSIGN_OR_RETURN(building_, dest_->Register());
    std::shared_ptr<const Generation> base;  // null: there is no such sync yet
    if (entry.mod_revision != 0) {
      VELLUM_ASSIGN_OR_RETURN(base, dest_->OpenGeneration(entry.generation()));
      parents_.push_back(base->info().id);
    }
    VELLUM_ASSIGN_OR_RETURN(const auto inputs, Narrow(&entry, sources));
    std::uint64_t incoming = 0;
    for (const auto& input : inputs) incoming += input->info().records();

    MergeOutcome outcome;
    outcome.rounds = rounds_;
    outcome.strategy = Choose(base ? base->info() : GenerationInfo(), incoming, options_.strategy, &outcome.why);
    const MergeLimits limits = building_->Limits(work_);
    Result<Derived> derived = Internal("nothing was derived");
    if (outcome.strategy == Strategy::kFold) {
      derived = FoldIntoGeneration(base, inputs, limits);
    } else {
      std::vector<std::shared_ptr<const Generation>> all = {base};
      all.insert(all.end(), inputs.begin(), inputs.end());
      derived = MergeGenerations(all, limits);
    }
    if (!derived.ok()) return std::move(derived).error();
    outcome.stats = derived->stats;
    outcome.changed = std::any_of(outcome.stats.begin(), outcome.stats.end(),
                                  [](const MergeCounts& each) { return each.added + each.replaced > 0; });
    const std::string operation = outcome.strategy == Strategy::kFold ? "fold" : "merge";
    if (!outcome.changed && base) {
      VELLUM_TRY(dest_->SwitchTo(base->info().id, {{std::move(entry), operation}}, forgotten_));
      outcome.generation = base;
      return outcome;
    }
    for (const NewFile& file : derived->files) {
      if (file.path.starts_with(building_->directory())) outcome.bytes_written += file.file.bytes;
    }
    VELLUM_ASSIGN_OR_RETURN(outcome.generation, dest_->Publish(building_.get(), *std::move(derived), parents_,
                                                               {{std::move(entry), operation}}, forgotten_));
    return outcome;
  }

 private:
  using Generations = std::vector<std::shared_ptr<const Generation>>;
  /// An input that is opened when its turn comes, and not before: there may be thousands.
  using Opener = std::function<Result<std::shared_ptr<const Generation>>()>;

  /// Opens the sources, widening the destination's attributes by theirs. More than fan_in_max, or than may be open at once,
  /// are first merged with their neighbours, in order, so that an earlier source still wins a tie.
  Result<Generations> Narrow(SyncEntry* entry, const std::vector<MergeSourceSync>& sources) {
    std::vector<Opener> inputs;
    for (const MergeSourceSync& source : sources) {
      inputs.push_back([this, entry, &source]() -> Result<std::shared_ptr<const Generation>> {
        VELLUM_ASSIGN_OR_RETURN(Input input, OpenSource(source));
        Widen(&entry->run, input.entry.run);
        if (options_.forget_sources && source.store == dest_) forgotten_.push_back(std::move(input.entry));
        if (parents_.size() < kParentsMax) parents_.push_back(input.generation->info().id);
        return std::move(input.generation);
      });
    }
    for (;;) {
      std::vector<Opener> next;
      Generations group;
      for (const Opener& open : inputs) {
        VELLUM_ASSIGN_OR_RETURN(auto input, open());
        if (IsFull(group, *input)) {
          VELLUM_TRY(MergeGroup(std::exchange(group, {}), &next));
        }
        group.push_back(std::move(input));
      }
      if (next.empty()) return group;
      if (group.size() == 1) {
        next.push_back([only = group.front()]() -> Result<std::shared_ptr<const Generation>> { return only; });
      } else {
        VELLUM_TRY(MergeGroup(std::move(group), &next));
      }
      inputs = std::move(next);
    }
  }

  /// Whether `more` has no place beside the group. Two always have, or it would not come to an end.
  bool IsFull(const Generations& group, const Generation& more) const {
    if (group.size() < 2) return false;
    std::size_t files = more.tables().open_files();
    for (const auto& each : group) files += each->tables().open_files();
    return group.size() >= std::max<std::size_t>(2, options_.fan_in_max) || files > dest_->options().open_files_max / 2;
  }

  /// Merges neighbours into one generation of the scratch directory, to be opened by the next round.
  Status MergeGroup(Generations group, std::vector<Opener>* next) {
    const std::string name = building_->directory() + "/round-" + std::to_string(rounds_++);
    MergeLimits limits = building_->Limits(work_);
    limits.scratch = name + "-scratch";
    VELLUM_TRY(storage::CreateDirectory(limits.files.get(), limits.scratch));
    group.insert(group.begin(), nullptr);  // nothing is there yet: all count as added
    VELLUM_ASSIGN_OR_RETURN(Derived derived, MergeGenerations(group, limits));
    GenerationInfo info;
    info.id = name.substr(name.rfind('/') + 1);
    info.operation = "round";
    info.totals = std::move(derived.totals);
    VELLUM_TRY(Assemble(name, std::move(derived.files), &info, limits.files));
    VELLUM_TRY(storage::RemoveTree(limits.files.get(), limits.scratch));
    next->push_back([this, name, files = limits.files] {
      return Generation::Open(name, rounds_cache_, Generation::Check::kTrust, files);
    });
    return {};
  }

  static void Widen(SyncRun* run, const SyncRun& other) {
    run->type = WiderType(run->type, other.type);
    run->ended_at = std::max(run->ended_at, other.ended_at);
    if (other.started_at != 0) {
      run->started_at = run->started_at == 0 ? other.started_at : std::min(run->started_at, other.started_at);
    }
  }

  static constexpr std::size_t kParentsMax = 64;
  Store* const dest_;
  const MergeOptions& options_;
  const Work& work_;
  const storage::TableCache rounds_cache_{8u << 20};
  std::unique_ptr<Store::Building> building_;
  std::vector<GenerationId> parents_;
  std::vector<SyncEntry> forgotten_;
  std::uint64_t rounds_ = 1;
};

/// What the destination has, as a generation: an open one that nobody writes is sealed first. With `create` an entry
/// without a generation where there is no such sync.
Result<SyncEntry> SealedDestination(Store* dest, std::string_view id, bool create, const Work& work) {
  VELLUM_ASSIGN_OR_RETURN(std::optional<SyncEntry> entry, dest->Find(id));
  if (!entry && create) {
    VELLUM_TRY(CheckSyncId(id));
    entry.emplace();
    entry->run.id = std::string(id);
    entry->run.type = "partial";
  }
  if (!entry) return dest->Get(id);
  if (entry->staging.empty()) return *std::move(entry);
  auto writer = SyncWriter::Resume(dest, id);
  if (!writer.ok()) return std::move(writer).error().WithContext("destination");
  VELLUM_TRY((*writer)->Seal(0, "seal", work).error());
  return dest->Get(id);
}

}  // namespace

std::string WiderType(const std::string& a, const std::string& b) { return Width(b) > Width(a) ? b : a; }

Result<MergeOutcome> MergeSyncs(Store* dest, std::vector<MergeSourceSync> sources, std::string_view dest_sync_id,
                                const MergeOptions& options, const Work& work) {
  if (dest == nullptr) return InvalidArgument("merge: no destination store was given");
  if (dest_sync_id.empty()) return InvalidArgument("merge: the destination's sync id is empty");
  std::vector<MergeSourceSync> distinct;
  for (std::size_t i = 0; i < sources.size(); ++i) {
    const MergeSourceSync& source = sources[i];
    if (source.store == nullptr) return InvalidArgument("merge: source " + std::to_string(i + 1) + " has no store");
    if (source.sync_id.empty()) return InvalidArgument("merge: source " + std::to_string(i + 1) + " has no sync id");
    if (source.store == dest && source.sync_id == dest_sync_id) {
      return InvalidArgument("merge: source " + std::to_string(i + 1) + " is the destination itself, sync " +
                             Printable(dest_sync_id));
    }
    const bool seen = std::any_of(distinct.begin(), distinct.end(), [&](const MergeSourceSync& each) {
      return each.store == source.store && each.sync_id == source.sync_id;
    });
    if (!seen) distinct.push_back(source);
  }
  if (options.ties == Ties::kLast) std::reverse(distinct.begin(), distinct.end());
  VELLUM_ASSIGN_OR_RETURN(SyncEntry entry, SealedDestination(dest, dest_sync_id, options.create, work));
  if (IsDiffType(entry.run.type)) {
    return FailedPrecondition("destination sync " + Printable(dest_sync_id) + " is a diff (" + entry.run.type + ")");
  }
  return Merging(dest, options, work).Run(std::move(entry), distinct);
}

}  // namespace vellum::sync
