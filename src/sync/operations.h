#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "sync/staging.h"
#include "sync/store.h"

/// What is done to syncs, over one Store or two: write, replace, merge, verify.
namespace vellum::sync {

/// Writes one sync. Until Seal it can be read by its name alone, as far as it goes (a replacement cannot). Not thread-safe. A writer that goes unsealed leaves what its
/// last Checkpoint kept, or nothing.
class SyncWriter final : public RecordSink {
 public:
  enum class IfExists : std::uint8_t { kRefuse, kReplace };

  /// Starts a sync. kFailedPrecondition if `run.id` exists (unless kReplace) or is being written.
  /// `lanes`: of threads that put at once, see PutInLane; more than one makes checkpoints impossible.
  static Result<std::unique_ptr<SyncWriter>> Begin(Store* store, SyncRun run, std::string connector,
                                                   IfExists if_exists = IfExists::kRefuse, std::size_t lanes = 1);
  /// Goes on with an open sync from its last checkpoint. kFailedPrecondition if another writer has it.
  static Result<std::unique_ptr<SyncWriter>> Resume(Store* store, std::string_view sync_id);
  ~SyncWriter() override;

  Status Put(const RecordView& record) override { return PutInLane(0, record); }
  /// Threads may put into different lanes at once. Of equal identities the last put of the highest lane wins.
  Status PutInLane(std::size_t lane, const RecordView& record);
  /// Makes everything so far survive, and the sync with it: it stays in the catalog as open.
  Status Checkpoint(std::string_view token);
  const std::string& token() const { return staging_->token(); }
  std::uint64_t records() const { return staging_->records(); }

  /// Ends putting: builds the tables and indexes. Returns the digest of the records.
  Result<Sum128> Build(const Work& work = {});
  /// Switches the sync to what was built, building it first if Build was not called. `ended_at` 0 leaves it unfinished,
  /// but readable. `operation` goes into the history.
  Result<std::shared_ptr<const Generation>> Seal(Stamp ended_at, std::string operation, const Work& work = {});

 private:
  SyncWriter(Store* store, SyncEntry entry, std::unique_ptr<Store::Building> building, std::shared_ptr<Staging> staging);

  Store* const store_;
  SyncEntry entry_;
  std::unique_ptr<Store::Building> building_;
  std::shared_ptr<Staging> staging_;  // shared with those who read meanwhile
  std::optional<Derived> derived_;
  /// Replacing a sync that exists: its row stays as it is until the switch.
  bool replaces_ = false;
  /// The row is there only because of this writer: without a checkpoint it goes with it.
  bool row_is_mine_ = false;
};

struct ReplaceOutcome {
  std::shared_ptr<const Generation> generation;
  bool created = false;            ///< The base did not have the sync.
  bool emptied = false;            ///< The source had nothing under the id, so the sync is empty now.
  std::uint64_t files_linked = 0;
  std::uint64_t bytes_copied = 0;  ///< Where links were impossible.
};

/// Makes the sync in `base` exactly what it is in `source`, attributes included; nothing else changes. Cost: the number of
/// table files, or their bytes where they cannot be linked. Errors as in the table of docs/formats.md, "Replace".
/// `scratch_dir` takes the files on their way; it exists, on the base's file system. Empty: the base's staging directory,
/// which is swept after a crash.
Result<ReplaceOutcome> ReplaceSync(Store* base, Store* source, std::string_view sync_id, const Work& work = {},
                                   const std::string& scratch_dir = {});

using Strategy = MergeStrategy;
using Ties = MergeTies;

struct MergeSourceSync {
  Store* store = nullptr;
  std::string sync_id;
};
struct MergeOptions {
  Strategy strategy = Strategy::kAuto;
  Ties ties = Ties::kFirst;
  std::size_t fan_in_max = 64;  ///< Sources that are open at once; more go in rounds of neighbours.
  /// Sources of the destination's store are forgotten in the transaction that switches the destination.
  bool forget_sources = false;
  /// A destination that does not exist is made, by the switch that gives it its records.
  bool create = false;
};
struct MergeOutcome {
  std::shared_ptr<const Generation> generation;
  MergeStats stats{};
  Strategy strategy = Strategy::kMerge;
  std::string why;                ///< Of the strategy, for people.
  std::uint64_t rounds = 1;
  std::uint64_t bytes_written = 0;
  bool changed = true;            ///< False: no record changed, so the generation is the one it was.
};

/// Unites syncs: per identity the strictly newest stamp wins; on a tie what `dest` has stays, then the earlier source.
/// Absence never deletes. `dest_sync_id` must exist, unless it is to be created; its type becomes the widest of the
/// inputs, its start the earliest, its end the latest.
Result<MergeOutcome> MergeSyncs(Store* dest, std::vector<MergeSourceSync> sources, std::string_view dest_sync_id,
                                const MergeOptions& options = {}, const Work& work = {});

/// The wider of two sync types: full, then resources_only, then partial; others never widen.
std::string WiderType(const std::string& a, const std::string& b);

/// Records that break a rule of the domain although every byte is in order: whoever wrote the sync left something out.
struct Finding {
  std::string rule;                ///< "grants without their principal", ...
  std::uint64_t count = 0;
  std::vector<std::string> first;  ///< The first kNamedMax, for people.
  static constexpr std::size_t kNamedMax = 10;
};

struct VerifyReport {
  std::uint64_t records = 0;
  std::uint64_t files = 0;
  /// Damage: at most kProblemsMax, then a line that counts the rest. What concerns records comes before what concerns indexes.
  std::vector<std::string> problems;
  std::uint64_t record_problems = 0;      ///< Of files, counts, digests and contents of records: lost, whatever is done.
  std::uint64_t index_problems = 0;       ///< Of indexes: RepairSync makes them anew.
  std::uint64_t index_entries_wrong = 0;  ///< Stale and missing entries, among index_problems.
  /// No damage; looked for only where there is none.
  std::vector<Finding> findings;
  static constexpr std::size_t kProblemsMax = 20;
  bool ok() const { return problems.empty(); }
};
/// Reads all of a generation: files against their SHA-256, records against counts and digest, indexes against a rebuild, and
/// references between records.
Result<VerifyReport> VerifyGeneration(const Generation& generation, const std::string& scratch, const Work& work = {});

}  // namespace vellum::sync
