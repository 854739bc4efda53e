#pragma once

#include <atomic>
#include <functional>
#include <memory>
#include <optional>
#include <string_view>
#include <vector>

#include "kv/count_ring.h"
#include "kv/count_tree.h"
#include "kv/schema.h"
#include "storage/database.h"
#include "vellum/types.h"

namespace vellum::kv {

/// Set by whoever asked for something long; the one who works at it polls.
using CancelFlag = std::atomic<bool>;

/// What is compacted, shared by everything that reads. Invariant: filter <= published <= stored. What the compaction
/// filter may drop, readers are already refused; and both wait for the disk, or a crash would leave revisions that a
/// restart still promises but whose history is gone.
struct CompactionMark {
  std::atomic<Revision> published{kNeverCompacted};  ///< Readers below are refused.
  std::atomic<Revision> filter{kNeverCompacted};     ///< The compaction filter drops what ended at or before it.
};

/// A consistent, read-only position: storage snapshot, revision, exact counts. Immutable; shared by pointer; safe from
/// several threads. Valid at its own revision as long as it is held. Older revisions may be compacted under it, so reads
/// that touch `history` or `rev` look at the live mark again before they return.
class View {
 public:
  /// Without a snapshot it reads the live database, which is a consistent position for nobody but the thread that writes.
  /// `ring` makes counts at recent older revisions cheap; null: they are scanned.
  View(const storage::Database* database, std::shared_ptr<const storage::Snapshot> snapshot, Revision revision,
       CountTree::Root count_root, std::shared_ptr<const CompactionMark> mark,
       std::shared_ptr<const CountRing> ring = nullptr);

  Revision revision() const { return revision_; }
  /// Live, not as of the view.
  Revision compacted() const { return mark_->published.load(std::memory_order_acquire); }
  const storage::Database& database() const { return *database_; }
  const storage::Snapshot* snapshot() const { return snapshot_.get(); }
  const CountTree::Root& count_root() const { return count_root_; }
  const CountRing* count_ring() const { return ring_.get(); }

  /// kOutOfRange with kFutureRevision or kCompacted if `revision` cannot be read here.
  Status CheckReadable(Revision revision) const;

 private:
  const storage::Database* const database_;
  const std::shared_ptr<const storage::Snapshot> snapshot_;
  const Revision revision_;
  const CountTree::Root count_root_;
  const std::shared_ptr<const CompactionMark> mark_;
  const std::shared_ptr<const CountRing> ring_;
};

/// The newest state of keys as one reader sees it: a view's snapshot, or the applier's live database under the writes
/// of the command that is running.
class LatestSource {
 public:
  virtual ~LatestSource() = default;
  /// Calls `found` with the record if the key exists. Returns whether it does.
  virtual Result<bool> Get(std::string_view key, const std::function<void(const Record&)>& found) const = 0;
  /// Visits the keys of the interval in order until `visit` returns false.
  virtual Status Scan(const KeyInterval& interval,
                      const std::function<bool(std::string_view key, const Record&)>& visit) const = 0;
  /// Exact number of keys in the interval; cheap (count tree).
  virtual Result<std::int64_t> Count(const KeyInterval& interval) const = 0;
};

/// `latest` as of a view.
class ViewLatest final : public LatestSource {
 public:
  explicit ViewLatest(const View* view) : view_(view) {}
  Result<bool> Get(std::string_view key, const std::function<void(const Record&)>& found) const override;
  Status Scan(const KeyInterval& interval,
              const std::function<bool(std::string_view key, const Record&)>& visit) const override;
  Result<std::int64_t> Count(const KeyInterval& interval) const override;

 private:
  const View* const view_;
};

/// Answers a range request. `latest` is the newest state, `current` its revision (which the answer's header carries),
/// `view` reaches the past. The revision check is etcd's for a plain Range (negative means current): a Txn checks
/// its own way before. Quirks of section 4.2 of the protocol included. kCancelled when `cancel` gets set.
Result<RangeResponse> ReadRange(const LatestSource& latest, const View& view, Revision current,
                                const RangeRequest& request, const CancelFlag* cancel = nullptr);

/// The same from a view alone.
Result<RangeResponse> ReadRange(const View& view, const RangeRequest& request, const CancelFlag* cancel = nullptr);

/// The same for an answer that is made part by part: `count` leaves out the keys behind the limit, which would
/// otherwise be counted again for each part.
Result<RangeResponse> ReadRangePart(const View& view, const RangeRequest& request, const CancelFlag* cancel = nullptr);

/// Answers a request for one key at the view's own revision if that takes no disk; nullopt: ask ReadRange. Never waits, so
/// it may run where nothing else may: on an event loop.
Result<std::optional<RangeResponse>> ReadKeyFromMemory(const View& view, const RangeRequest& request);

/// All events of one main revision, in sub order.
struct RevisionEvents {
  Revision revision = 0;
  std::vector<Event> events;
};

/// Reads events back from `rev`: whole revisions from `from` up to `to` (at most the view's), only keys in `interval`,
/// at most `revisions_max` revisions that have such events and about `bytes_max` bytes (at least one revision). `next`
/// is where to go on: the revision after the last one that was looked at. A call looks at about `scan_bytes_max` of `rev`
/// at most, so where little matches it may return nothing although `next` <= `to`. Previous values are looked up only if
/// `with_previous`. kOutOfRange (kCompacted) if `from` is below C, checked again after reading.
struct EventBatch {
  std::vector<RevisionEvents> revisions;
  Revision next = 0;
};
struct EventQuery {
  Revision from = 0;
  Revision to = 0;
  std::vector<KeyInterval> intervals;  ///< A key in any of them counts.
  bool with_previous = true;
  std::size_t revisions_max = 1000;
  std::size_t bytes_max = 4u << 20;
  std::size_t scan_bytes_max = 16u << 20;
};
Result<EventBatch> ReadEvents(const View& view, const EventQuery& query);

/// etcd's HashKV over everything stored up to `revision` (0: current; negative: etcd's fixed answer over nothing).
/// Long: reads all of `latest` and `history`, once per about two million records; memory stays below 64 MiB.
/// kCancelled when `cancel` gets set; kAborted if compactions keep overtaking it.
struct HashResult {
  std::uint32_t hash = 0;
  Revision hash_revision = 0;
  Revision compact_revision = 0;
};
Result<HashResult> HashKeyValues(const View& view, Revision revision, const CancelFlag* cancel = nullptr);

}  // namespace vellum::kv
