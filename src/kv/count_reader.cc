// Counting keys at a view, and before it.
#include <string>
#include <unordered_map>

#include "kv/scan.h"

namespace vellum::kv {
namespace {

/// Beyond so much of `rev` between a version of the count tree and the revision asked for, a scan is no slower and
/// needs no memory.
constexpr std::int64_t kCorrectionEntriesMax = 65536;
constexpr std::size_t kCorrectionBytesMax = 16u << 20;

/// Adds up how the changes of one main revision after another changed the number of keys.
class Correction {
 public:
  Correction(const KeyInterval& interval, const std::vector<KeyInterval>& excluded)
      : interval_(interval), excluded_(excluded) {}

  void Add(Revision main, const RevEntry& entry) {
    if (main != main_) Finish(main);
    if (!interval_.Contains(entry.key)) return;
    for (const KeyInterval& part : excluded_) {
      if (part.Contains(entry.key)) return;
    }
    // A key may change several times in one revision: it existed before if any entry says so, and after if its last
    // entry is a put.
    Change& change = changes_[std::string(entry.key)];
    change.existed = entry.previous_mod != 0;
    change.exists = entry.type == EventType::kPut;
  }
  void Finish(Revision next_main) {
    for (const auto& [key, change] : changes_) net_ += (change.exists ? 1 : 0) - (change.existed ? 1 : 0);
    changes_.clear();
    main_ = next_main;
  }
  /// Keys that came minus keys that went.
  std::int64_t net() const { return net_; }

 private:
  struct Change {
    bool existed = false;
    bool exists = false;
  };
  const KeyInterval& interval_;
  const std::vector<KeyInterval>& excluded_;
  Revision main_ = 0;
  std::unordered_map<std::string, Change> changes_;
  std::int64_t net_ = 0;
};

/// Net change of the number of keys in `interval`, but not in `excluded`, over the revisions (after, up_to]; nullopt if
/// there are too many changes.
Result<std::optional<std::int64_t>> NetChange(const View& view, Revision after, Revision up_to,
                                              const KeyInterval& interval, const std::vector<KeyInterval>& excluded,
                                              const CancelFlag* cancel) {
  const std::string lower = RevKey(after + 1, 0), upper = RevKey(up_to + 1, 0);
  storage::ReadOptions options;
  options.snapshot = view.snapshot();
  options.lower = lower;
  options.upper = upper;
  auto rows = view.database().NewIterator(kRev, options);
  Correction correction(interval, excluded);
  CancelPoll poll(cancel);
  std::int64_t entries = 0;
  std::size_t bytes = 0;
  for (rows.Seek(lower); rows.valid(); rows.Next()) {
    bytes += rows.value().size();
    if (++entries > kCorrectionEntriesMax || bytes > kCorrectionBytesMax) return std::optional<std::int64_t>();
    if (poll.Cancelled()) return Cancelled("count was cancelled");
    VELLUM_ASSIGN_OR_RETURN(const RevKeyParts at, DecodeRevKey(rows.key()));
    VELLUM_ASSIGN_OR_RETURN(const RevEntry entry, DecodeRevEntry(at.main, rows.value()));
    correction.Add(at.main, entry);
  }
  VELLUM_TRY(rows.status());
  correction.Finish(0);
  return std::optional<std::int64_t>(correction.net());
}

Result<std::int64_t> ScanCount(const View& view, Revision revision, const KeyInterval& interval,
                               const CancelFlag* cancel) {
  std::int64_t count = 0;
  CancelPoll poll(cancel);
  bool cancelled = false;
  VELLUM_TRY(ScanPast(view, revision, interval, [&](std::string_view, const Record&) {
    ++count;
    cancelled = poll.Cancelled();
    return !cancelled;
  }));
  if (cancelled) return Cancelled("count was cancelled");
  return count;
}

}  // namespace

Result<std::int64_t> CountLatest(const View& view, const KeyInterval& interval) {
  const auto estimate = CountTree::Split(view.count_root(), interval);
  std::int64_t count = estimate.whole;
  for (const KeyInterval& part : estimate.partial) {
    if (part.empty()) continue;
    LatestCursor cursor(view, part);
    for (; cursor.valid(); cursor.Next()) ++count;
    VELLUM_TRY(cursor.status());
  }
  return count;
}

Result<std::int64_t> CountPast(const View& view, Revision revision, const KeyInterval& interval,
                               const CancelFlag* cancel) {
  if (interval.empty()) return 0;
  CountRing::Entry near{view.revision(), view.count_root()};
  if (view.count_ring() != nullptr) {
    // A version from after this view would need changes that its snapshot does not show.
    auto found = view.count_ring()->Find(revision);
    if (found && found->revision <= view.revision()) near = *std::move(found);
  }
  const auto estimate = CountTree::Split(near.root, interval);
  // Where few keys lie in whole leaves, walking over them is cheaper than over the changes since.
  if (estimate.whole <= near.revision - revision) return ScanCount(view, revision, interval, cancel);
  VELLUM_ASSIGN_OR_RETURN(const auto net,
                          NetChange(view, revision, near.revision, interval, estimate.partial, cancel));
  if (!net) return ScanCount(view, revision, interval, cancel);
  std::int64_t count = estimate.whole - *net;
  for (const KeyInterval& part : estimate.partial) {
    VELLUM_ASSIGN_OR_RETURN(const std::int64_t in_part, ScanCount(view, revision, part, cancel));
    count += in_part;
  }
  return count;
}

}  // namespace vellum::kv
