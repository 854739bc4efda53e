#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string_view>
#include <vector>

#include "kv/command.h"
#include "kv/count_tree.h"
#include "kv/meta.h"
#include "kv/operations.h"
#include "kv/view.h"
#include "kv/watch_hub.h"
#include "kv/write_set.h"
#include "storage/database.h"
#include "vellum/status.h"
#include "vellum/types.h"

namespace vellum::kv {

/// What one command did, besides its answer. Nothing of it may be shown to anyone before the batches are durable.
struct Outcome {
  explicit Outcome(CommandResult answer) : result(std::move(answer)) {}
  explicit Outcome(Status error) : result(std::move(error)) {}

  struct LeaseChange {
    bool granted = false;  ///< Else it is gone.
    LeaseId id = 0;
    std::int64_t ttl_s = 0;
    std::uint64_t incarnation = 0;
  };

  Result<CommandResult> result;
  bool wrote = false;
  std::vector<PublishedRevisionPtr> revisions;
  std::vector<LeaseChange> leases;
  std::optional<Revision> compacted;
  bool alarms_changed = false;
  OperationCounts counts;
  std::size_t put_bytes = 0;
};

/// Has a say in how large commands are cut into parts. On the applier's thread. Nothing depends on it but how much room
/// they take meanwhile.
class PartPacer {
 public:
  virtual ~PartPacer() = default;
  /// How many bytes of keys and values the next part may have at most.
  virtual std::size_t PartBytes() = 0;
  /// A part was written, unsynced, which deleted keys of the interval; another one follows.
  virtual Status AfterPart(const KeyInterval& interval) = 0;
};

/// Applies commands to the database, one batch each (several for a huge one), in the order given. Deterministic: what it
/// does depends on the commands and on what is stored, on nothing else. One thread at a time.
///
/// After the first error of a write it is terminal (see failure()): what was written so far may or may not survive, and
/// going on could give out a revision twice.
class Applier {
 public:
  struct Options {
    std::size_t apply_batch_bytes_max = 64u << 20;
    std::size_t txn_bytes_max = 256u << 20;
    PartPacer* pacer = nullptr;  ///< May be null. Must outlive the applier.
  };

  /// Reads the stored state, finishes a command that was cut short between two of its parts (unless `read_only`, when
  /// such a store is refused with kFailedPrecondition) and syncs it. Cost: the leaves of the count tree.
  static Result<std::unique_ptr<Applier>> Open(Options options, storage::Database* database,
                                               std::shared_ptr<const CompactionMark> mark, bool read_only);

  /// The command must have passed the stateless checks.
  Outcome Apply(Command&& command);
  /// Not OK: a write failed, or a command failed between two of its parts. Nothing must be applied any more.
  const Status& failure() const { return failure_; }

  Revision revision() const { return revision_; }
  Revision compacted() const { return compacted_; }
  Revision reclaimed() const { return reclaimed_; }
  std::uint64_t applied_index() const { return applied_index_; }
  const std::vector<AlarmEntry>& alarms() const { return alarms_; }
  CountTree::Root count_root() const { return count_tree_.root(); }
  std::int64_t keys() const { return count_tree_.total(); }

  /// Stores the applied index, which commands that changed nothing advanced in memory only. Unsynced.
  Status StoreAppliedIndex();

 private:
  Applier(Options options, storage::Database* database, std::shared_ptr<const CompactionMark> mark, CountTree tree);
  Status LoadMeta();
  Status FinishPending(bool read_only);

  Outcome Refused(const Command& command) const;
  Outcome ApplyPut(PutRequest&& request);
  Outcome ApplyTxn(TxnRequest&& request);
  Outcome ApplyDeleteRange(DeleteRangeRequest&& request);
  Outcome ApplyCompact(const CompactCommand& command);
  Outcome ApplyGrant(const LeaseGrantCommand& command);
  Outcome ApplyRevoke(const LeaseRevokeCommand& command);
  Outcome ApplyExpire(const LeaseExpireCommand& command);
  Outcome ApplyCheckpoint(const LeaseCheckpointCommand& command);
  Outcome ApplyAlarm(const AlarmCommand& command);
  Outcome ApplySample(const SampleCommand& command);
  Outcome ApplyReclaim(const ReclaimCommand& command);

  /// A command that may take several parts: a delete range, or the keys of one lease.
  struct Sweep {
    PendingCommand progress;  ///< What of it is done; `cursor` is where the next part begins.
    KeyInterval interval;     ///< Of a delete range.
    LeaseId lease = 0;        ///< Else: the lease that goes with its keys.
    std::vector<KeyValue>* previous = nullptr;  ///< May take what was deleted.
    bool in_parts = false;    ///< Some part was written before.
  };
  Status RunSweep(Sweep* sweep, Outcome* outcome);
  Result<bool> CollectPart(Sweep* sweep, WriteSet* set);
  std::size_t PartBytes() const;
  Status PausePart(const std::string& begin, const std::string& end);
  Status EndLease(LeaseId id, std::uint64_t incarnation, Command&& command, Outcome* outcome);
  Result<std::optional<LeaseRecord>> FindLease(LeaseId id) const;

  /// Turns the write set into a batch, writes it, and takes over the new revision. Without changes: nothing.
  Status Commit(WriteSet* set, Outcome* outcome);
  /// Commits the write set if there is a response, which then is the outcome's result; the error is, otherwise.
  template <typename Response>
  void Conclude(Result<Response>&& response, WriteSet* set, Outcome* outcome);
  Status Write(storage::Batch&& batch);
  Status WriteMeta(storage::Batch* batch, Outcome* outcome);
  std::unique_ptr<View> LiveView() const;

  const Options options_;
  storage::Database* const database_;
  const std::shared_ptr<const CompactionMark> mark_;
  CountTree count_tree_;
  Revision revision_ = 1;
  Revision compacted_ = kNeverCompacted;
  Revision reclaimed_ = kNeverCompacted;
  std::uint64_t applied_index_ = 0;
  std::vector<AlarmEntry> alarms_;
  Status failure_;
};

/// Whether a store at `current` that has compacted up to `compacted` may compact further, with the library's texts.
Status CheckCompact(const CompactCommand& command, Revision current, Revision compacted);

/// nullopt: no such row in `meta`.
Result<std::optional<std::int64_t>> ReadMetaNumber(const storage::Database& database, std::string_view row);

}  // namespace vellum::kv
