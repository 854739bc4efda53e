#pragma once

#include <array>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "c1z/transfer.h"
#include "sync/catalog.h"
#include "sync/generation.h"
#include "sync/operations.h"
#include "sync/query.h"
#include "vellum/status.h"

/// Everything that people ask of syncs and do to them, as one interface with two implementations: LocalSyncService on a data
/// directory of this process, and client::RemoteSyncService on a running server. The command line talks to nothing else, so a
/// verb prints the same whichever it is given.
///
/// Paths are always the caller's own: the remote one sends and receives the bytes of files.
namespace vellum::service {

/// What is known of one generation without reading its records.
struct GenerationFacts {
  sync::GenerationId id;
  std::string made_by;              ///< The operation.
  std::uint64_t records = 0;
  std::uint64_t bytes_own = 0;      ///< Of files that no other generation has.
  std::uint64_t bytes_shared = 0;
  std::uint64_t bytes_dead = 0;
  std::uint32_t overlays = 0;
  std::string digest;               ///< Hex.
  std::string digest_unstamped;
  std::map<sync::Bucket, sync::Totals> totals;
};

/// A sync, its present generation, and how many records the generations of its history have.
struct SyncDescription {
  sync::SyncEntry entry;
  std::optional<GenerationFacts> generation;           ///< None: open, or its files are missing (`problem`).
  std::vector<std::optional<std::uint64_t>> history_records;  ///< Beside entry.history; none: it cannot be opened.
  std::string problem;                                 ///< Why there are no facts of a sealed sync; empty otherwise.
};

/// Takes one record; views are valid during the call. A failure ends the answer and is its result.
using RecordVisitor = std::function<Status(const sync::RecordView&)>;

/// One page of records, or all of them.
struct ListRequest {
  std::string sync_id;
  std::optional<sync::GenerationId> generation;  ///< Of its history; none: the present one.
  sync::RecordQuery query;
  std::uint64_t page_records = 0;                ///< 0: no limit.
  std::string page_token;                        ///< Where an earlier page ended; empty: from the beginning.
};
struct ListOutcome {
  std::uint64_t records = 0;
  std::string next_page_token;       ///< Empty: that was all.
  std::uint64_t pending_expansions = 0;  ///< Grants of the sync that wait for expansion: the answer may lack access.
};

struct FindRequest {
  std::string sync_id;
  std::optional<sync::GenerationId> generation;  ///< As ListRequest's.
  sync::RecordType type = sync::RecordType::kGrant;
  std::string id;  ///< An identity as text ("type:id" and so on), or the connector's own id.
};

/// Who may reach what.
struct AccessRequest {
  std::string sync_id;
  std::optional<sync::GenerationId> generation;  ///< As ListRequest's.
  sync::AccessQuestion question;
};
using AccessVisitor = std::function<Status(const sync::AccessRow&)>;

/// One side of a difference: a sync, a generation of its history, or a file of the caller's.
struct DiffSide {
  std::string sync_id;                           ///< Of the store, or of the file; empty with a file: the sync that stands for it.
  std::optional<sync::GenerationId> generation;
  std::string file;
};
struct DiffRequest {
  DiffSide from;
  DiffSide to;
  bool stamps = false;        ///< Also where only the stamp differs.
  bool summary_only = false;  ///< The visitor is not called.
  c1z::ImportOptions file_options;
};
using DiffVisitor = std::function<Status(const sync::DiffRow&)>;

struct MergeRequest {
  std::string into;                   ///< Empty: a new id. Made if it does not exist.
  std::vector<std::string> sources;   ///< Syncs of the same store, in order.
  sync::MergeOptions options;
};
struct MergeReport {
  std::string sync_id;
  sync::MergeStats stats{};
  sync::Strategy strategy = sync::Strategy::kMerge;
  std::string why;
  std::uint64_t records = 0;
  std::uint64_t bytes_written = 0;
  bool changed = true;
};

struct CompactRequest {
  std::string sync_id;
  std::string from;            ///< A data directory or a file of the caller's.
  bool allow_empty = false;
  c1z::ImportOptions file_options;
};
struct CompactReport {
  bool emptied = false;
  std::uint64_t records = 0;
  std::uint64_t files_linked = 0;
  std::uint64_t bytes_copied = 0;
};

struct RepairReport {
  std::uint64_t records = 0;
  std::uint64_t entries_wrong = 0;  ///< Of the indexes, before.
  bool changed = false;             ///< False: they were right, nothing was written.
  std::string why;                  ///< What was wrong, for people; empty if nothing was.
};

/// Which finished full syncs of a connector stay.
struct RetainRequest {
  std::string connector;
  std::uint32_t keep = 2;            ///< The newest stays whatever this says.
  bool dry_run = false;
  std::int64_t open_keep_s = 7 * 24 * 3600;  ///< Unfinished syncs that nobody writes go after so long. 0: never.
};
struct RetainReport {
  struct Gone {
    std::string sync_id;
    std::string type;
    sync::Stamp ended_at = 0;
    std::uint64_t records = 0;
    std::uint64_t bytes = 0;
    std::string why;
  };
  std::vector<Gone> gone;  ///< In the order of deletion; with dry_run: what would go.
};

/// Merges what is pending for a connector (partial syncs newer than its latest full one) into that full one.
struct RollupRequest {
  std::string connector;
  bool dry_run = false;
};
struct RollupReport {
  std::string into;                  ///< Empty: nothing is pending.
  std::vector<std::string> merged;   ///< In order; they are deleted afterwards.
  std::optional<MergeReport> merge;  ///< None with dry_run.
};

/// Writes one sync record by record; see sync::SyncWriter. Not thread-safe.
class RecordWriter : public sync::RecordSink {
 public:
  /// Makes everything so far survive.
  virtual Status Checkpoint(std::string_view token) = 0;
  /// The token of the last checkpoint, when resumed.
  virtual const std::string& token() const = 0;
  /// Switches the sync to what was put. `ended_at` 0 leaves it unfinished, but readable.
  virtual Result<SyncDescription> Seal(sync::Stamp ended_at, const sync::Work& work) = 0;
};
struct WriteRequest {
  sync::SyncRun run;
  std::string connector;
  bool replace = false;  ///< A sync that exists is switched when this is sealed.
  bool resume = false;   ///< Goes on with an open sync; only run.id is looked at.
};

/// Thread-safe. `work` is followed during the call; cancelling leaves everything as it was.
class SyncService {
 public:
  virtual ~SyncService() = default;

  /// In the order of their catalog keys, without history_records: those cost an opening each.
  virtual Result<std::vector<SyncDescription>> ListSyncs() = 0;
  /// kNotFound: unknown.
  virtual Result<SyncDescription> DescribeSync(const std::string& sync_id) = 0;

  /// Answered from stored grants, of the sync as it was when the first page was asked for: a switch in between does not show, and
  /// an open sync is read as far as its writer has come. kInvalidArgument: a filter that does not go with the type, or a page
  /// token that is damaged or belongs to another question. kFailedPrecondition: what earlier pages were read from is gone.
  virtual Result<ListOutcome> ListRecords(const ListRequest& request, const RecordVisitor& visit) = 0;
  /// Principals that the grants which the query selects name: distinct, in order; those without a resource record
  /// have only an identity.
  virtual Result<ListOutcome> ListPrincipals(const ListRequest& request, const RecordVisitor& visit) = 0;
  /// kNotFound: none. Several: all are visited, and it is for the caller to call that an error.
  virtual Status FindRecords(const FindRequest& request, const RecordVisitor& visit) = 0;
  virtual Result<sync::AccessSummary> Access(const AccessRequest& request, const AccessVisitor& visit) = 0;
  /// See sync::DiffViews. Either side may be a file.
  virtual Result<sync::DiffSummary> Diff(const DiffRequest& request, const DiffVisitor& visit, const sync::Work& work) = 0;

  /// All syncs of a file, or those that the options name, one switch each. Stops at the first that fails; those before it are in.
  virtual Result<std::vector<c1z::ImportedSync>> Import(const std::string& path, const c1z::ImportOptions& options,
                                                        const sync::Work& work) = 0;
  /// One file of all of them, there whole or not at all.
  virtual Result<c1z::ExportReport> Export(const std::vector<std::string>& sync_ids, const std::string& path,
                                           const c1z::WriteOptions& options, const sync::Work& work) = 0;
  /// kFailedPrecondition if another writer has the sync, or it exists and neither replace nor resume is asked for. The writer must
  /// go before the service.
  virtual Result<std::unique_ptr<RecordWriter>> Write(const WriteRequest& request) = 0;

  /// What the merge made obsolete is swept afterwards. A destination that it had to make goes again if it fails.
  virtual Result<MergeReport> Merge(const MergeRequest& request, const sync::Work& work) = 0;
  /// Makes the sync exactly what it is in `from`. kFailedPrecondition if that would empty one that exists, unless allow_empty.
  virtual Result<CompactReport> Compact(const CompactRequest& request, const sync::Work& work) = 0;
  virtual Result<SyncDescription> Rollback(const std::string& sync_id, const std::optional<sync::GenerationId>& to) = 0;
  virtual Status Delete(const std::string& sync_id) = 0;
  /// Damage that keeps it from being opened is a problem of the report too.
  virtual Result<sync::VerifyReport> Verify(const std::string& sync_id, const sync::Work& work) = 0;
  virtual Result<sync::Store::Swept> Sweep() = 0;

  /// Builds the indexes of a sync anew from its records if they are wrong. kDataLoss, and nothing has changed, if records
  /// are damaged.
  virtual Result<RepairReport> Repair(const std::string& sync_id, const sync::Work& work) = 0;
  /// Deletes what is beyond the newest full syncs of a connector, one transaction per sync; sync/retention.h has the rules.
  /// kNotFound: no sync is of that connector. Cancelled between two syncs, what is deleted stays deleted.
  virtual Result<RetainReport> Retain(const RetainRequest& request, const sync::Work& work) = 0;
  /// kNotFound: no sync is of that connector. kAborted: a pending sync changed meanwhile; ask again.
  virtual Result<RollupReport> Rollup(const RollupRequest& request, const sync::Work& work) = 0;
};

}  // namespace vellum::service
