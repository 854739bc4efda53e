#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "vellum/records.h"
#include "vellum/status.h"
#include "vellum/sync_store.h"

namespace vellum {

enum class CompactResult : std::uint8_t {
  kCreated,    ///< The base did not have the sync.
  kReplaced,
  kEmptySync,  ///< The source has no records under the id, so now the base has none either.
};

struct CompactOutcome {
  CompactResult result = CompactResult::kReplaced;
  std::uint64_t records = 0;       ///< That the sync has now.
  std::uint64_t files_linked = 0;
  std::uint64_t bytes_copied = 0;  ///< Where files could not be linked.
  std::string generation{};        ///< What the base's sync points at now.
};

/// Replaces syncs of one store by what another store has under the same id. Thread-safe.
class Compactor {
 public:
  /// `base` must outlive it; null is refused by Compact. `scratch_dir` takes the files on their way, which are gone when
  /// Compact returns; it must exist, on the base's file system. Empty: the base's own directory, which is also swept after
  /// a crash.
  Compactor(SyncStore* base, std::string scratch_dir) : base_(base), scratch_dir_(std::move(scratch_dir)) {}
  explicit Compactor(SyncStore* base) : Compactor(base, {}) {}

  /// Afterwards the sync is exactly what the source has, its type, times and parent included; no other sync has changed.
  /// Readers see the old or the new one, never a mixture. Cost: the number of table files, or their bytes where the
  /// source lies on another file system.
  ///
  /// A source that knows the id without records, or does not know it, empties the base's sync: kEmptySync.
  /// kNotFound: neither side knows it. kFailedPrecondition: a writer has it on either side, or it is unfinished in the
  /// source. kInvalidArgument: no source, no base, an empty id, source and base are the same store, a scratch directory
  /// that will not do. kUnavailable: one of them is closed. kAborted: the sync changed meanwhile. After every error the
  /// base is what it was, and running it again is safe.
  Result<CompactOutcome> Compact(SyncStore* source, std::string_view sync_id, const SyncWork& work = {});

 private:
  SyncStore* const base_;
  const std::string scratch_dir_;
};

enum class MergeStrategy : std::uint8_t {
  kAuto,   ///< By counts, sizes and what earlier folds left.
  kMerge,  ///< One pass over everything, into new tables.
  kFold,   ///< The destination's tables stay, one overlay on top holds what changes.
};
enum class MergeTies : std::uint8_t {
  kFirst,  ///< On equal stamps the earlier source wins.
  kLast,   ///< The later one. What the destination has wins over every source either way.
};

struct MergeIntoOptions {
  MergeStrategy strategy = MergeStrategy::kAuto;  ///< Never changes the result.
  MergeTies ties = MergeTies::kFirst;
  std::size_t fan_in_max = 64;  ///< Sources that are open at once; more are merged in rounds of neighbours.
};

/// A sync somewhere. `store` must outlive the call.
struct SourceSync {
  SyncStore* store = nullptr;
  std::string sync_id{};
};

/// How the sources changed the destination, per record type.
struct MergeCounts {
  std::uint64_t added = 0;      ///< The destination had no such identity.
  std::uint64_t replaced = 0;   ///< A strictly newer record took the place of the destination's.
  std::uint64_t kept = 0;       ///< The destination's stayed although a source had another one.
  std::uint64_t unchanged = 0;  ///< Both had the same bytes.
};
using MergeStats = std::array<MergeCounts, kRecordTypes>;

struct MergeIntoOutcome {
  MergeStats stats{};
  MergeStrategy strategy = MergeStrategy::kMerge;  ///< The one that was used ...
  std::string why{};                               ///< ... and the reason, for people.
  bool changed = true;                             ///< False: no record differs from what was there.
  std::uint64_t records = 0;                       ///< That the destination has now.
  std::uint64_t bytes_written = 0;
  double seconds = 0;
  std::string generation{};
};

/// Unites syncs. Per identity the strictly newest stamp wins; on a tie what the destination has stays, then the earlier
/// source; a stamp beats none; absence never deletes. Resource types, resources, entitlements and grants are folded in; the
/// destination keeps its own assets. Its type becomes the widest of all (full, resources_only, partial; others never
/// widen), its start the earliest, its end the latest. A destination left at a checkpoint is sealed first.
///
/// kNotFound: an id that does not exist, the destination's included. kFailedPrecondition: a sync that is being written, or
/// a diff. kInvalidArgument: no destination, an empty id, a source without store or id, the destination as a source.
/// kUnavailable: a closed store. kAborted: the destination changed meanwhile. After an error the destination's records are
/// what they were. Memory and open files are bounded whatever the number of sources.
Result<MergeIntoOutcome> MergeInto(SyncStore* dest, const std::vector<SourceSync>& sources, std::string_view dest_sync_id,
                                   const MergeIntoOptions& options = {}, const SyncWork& work = {});

}  // namespace vellum
