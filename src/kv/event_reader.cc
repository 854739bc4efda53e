// Events read back from `rev`, for watches that catch up.
#include <algorithm>
#include <utility>

#include "base/bytes.h"
#include "kv/scan.h"
#include "kv/view.h"

namespace vellum::kv {
namespace {

constexpr std::size_t kEventOverheadBytes = 64;

/// Membership in any of several intervals; one binary search.
class IntervalSet {
 public:
  explicit IntervalSet(std::vector<KeyInterval> intervals) {
    std::erase_if(intervals, [](const KeyInterval& interval) { return interval.empty(); });
    std::sort(intervals.begin(), intervals.end(),
              [](const KeyInterval& a, const KeyInterval& b) { return a.begin < b.begin; });
    for (KeyInterval& next : intervals) {
      if (merged_.empty() || (merged_.back().end && *merged_.back().end < next.begin)) {
        merged_.push_back(std::move(next));
        continue;
      }
      std::optional<std::string>& end = merged_.back().end;
      if (end && (!next.end || *next.end > *end)) end = std::move(next.end);
    }
  }

  bool Contains(std::string_view key) const {
    const auto behind = std::upper_bound(merged_.begin(), merged_.end(), key,
                                         [](std::string_view k, const KeyInterval& interval) { return k < interval.begin; });
    return behind != merged_.begin() && std::prev(behind)->Contains(key);
  }

 private:
  std::vector<KeyInterval> merged_;
};

/// Turns rev entries into events by fetching the records that they stand for.
class EventMaker {
 public:
  EventMaker(const View& view, bool with_previous) : view_(view), with_previous_(with_previous) {
    options_.snapshot = view.snapshot();
  }

  Result<Event> Make(Revision main, const RevEntry& entry) {
    Event event;
    event.type = entry.type;
    bool had_previous = entry.previous_mod != 0;
    if (entry.type == EventType::kDelete) {
      event.kv.key.assign(entry.key);
      event.kv.mod_revision = main;
    } else if (entry.superseded) {
      event.kv = entry.superseded->ToKeyValue(entry.key);
    } else {
      VELLUM_ASSIGN_OR_RETURN(const auto record, FindPut(entry.key, main));
      event.kv = record.ToKeyValue(entry.key);
    }
    // A key that was deleted and put again in one revision is a creation: it has no previous value then.
    if (entry.type == EventType::kPut && event.kv.create_revision == main) had_previous = false;
    if (with_previous_ && had_previous) {
      VELLUM_ASSIGN_OR_RETURN(event.prev_kv, FindPrevious(entry.key, main, entry.previous_mod));
    }
    return event;
  }

 private:
  /// What a put of revision `main` left, wherever it is now. Borrows until the next search.
  Result<Record> FindPut(std::string_view key, Revision main) {
    Record record;
    VELLUM_ASSIGN_OR_RETURN(const bool exists, GetLatest(view_, key, &value_, &record));
    if (exists && record.mod == main) return record;
    VELLUM_ASSIGN_OR_RETURN(const bool found, FindInHistory(key, main, &record));
    if (!found) return Missing(key, main);
    return record;
  }

  Result<std::optional<KeyValue>> FindPrevious(std::string_view key, Revision main, Revision previous_mod) {
    if (main - 1 < view_.compacted()) return std::optional<KeyValue>();
    Record record;
    VELLUM_ASSIGN_OR_RETURN(const bool found, FindInHistory(key, previous_mod, &record));
    if (found) return std::optional<KeyValue>(record.ToKeyValue(key));
    // Compacted since the check above.
    if (main - 1 < view_.compacted()) return std::optional<KeyValue>();
    return Missing(key, previous_mod);
  }

  Result<bool> FindInHistory(std::string_view key, Revision mod, Record* record) {
    VELLUM_ASSIGN_OR_RETURN(const bool found, view_.database().Get(kHistory, HistoryKey(key, mod), &value_, options_));
    if (!found) return false;
    auto history = DecodeHistoryRecord(value_.view());
    if (!history.ok()) return std::move(history).error().WithContext("key " + Printable(key));
    *record = history->record;
    return true;
  }

  static Status Missing(std::string_view key, Revision mod) {
    return DataLoss("history: key " + Printable(key) + " has no record of revision " + std::to_string(mod) +
                    ", which rev names");
  }

  const View& view_;
  const bool with_previous_;
  storage::ReadOptions options_;
  storage::PinnedValue value_;
};

std::size_t BytesOf(const Event& event) {
  std::size_t bytes = kEventOverheadBytes + event.kv.key.size() + event.kv.value.size();
  if (event.prev_kv) bytes += event.prev_kv->key.size() + event.prev_kv->value.size();
  return bytes;
}

Result<EventBatch> Collect(const View& view, const EventQuery& query, Revision to) {
  const IntervalSet intervals(query.intervals);
  const std::string lower = RevKey(query.from, 0), upper = RevKey(to + 1, 0);
  storage::ReadOptions options;
  options.snapshot = view.snapshot();
  options.lower = lower;
  options.upper = upper;
  auto rows = view.database().NewIterator(kRev, options);
  EventMaker maker(view, query.with_previous);
  EventBatch batch;
  std::size_t bytes = 0, scanned = 0;
  Revision main = 0;
  for (rows.Seek(lower); rows.valid(); rows.Next()) {
    VELLUM_ASSIGN_OR_RETURN(const RevKeyParts at, DecodeRevKey(rows.key()));
    if (at.main != main) {
      const bool enough = (!batch.revisions.empty() && batch.revisions.size() >= query.revisions_max) ||
                          bytes >= query.bytes_max || scanned >= query.scan_bytes_max;
      if (main != 0 && enough) {
        batch.next = main + 1;
        return batch;
      }
      main = at.main;
    }
    scanned += rows.key().size() + rows.value().size();
    VELLUM_ASSIGN_OR_RETURN(const RevEntry entry, DecodeRevEntry(main, rows.value()));
    if (!intervals.Contains(entry.key)) continue;
    VELLUM_ASSIGN_OR_RETURN(Event event, maker.Make(main, entry));
    bytes += BytesOf(event);
    if (batch.revisions.empty() || batch.revisions.back().revision != main) batch.revisions.push_back({main, {}});
    batch.revisions.back().events.push_back(std::move(event));
  }
  VELLUM_TRY(rows.status());
  batch.next = to + 1;
  return batch;
}

}  // namespace

Result<EventBatch> ReadEvents(const View& view, const EventQuery& query) {
  if (query.from < view.compacted()) return CompactedError();
  const Revision to = std::min(query.to, view.revision());
  EventQuery checked = query;
  checked.from = std::max<Revision>(query.from, 1);
  if (checked.from > to) return EventBatch{{}, query.from};
  auto batch = Collect(view, checked, to);
  // Rows that a compaction frees go without regard to the snapshot, so what was read below C may be incomplete.
  if (query.from < view.compacted()) return CompactedError();
  return batch;
}

}  // namespace vellum::kv
