#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>

#include "kv/schema.h"
#include "kv/view.h"
#include "storage/database.h"

/// How this room's readers walk the stored rows. Functions are templates where one call per key would otherwise go through a
/// std::function.
namespace vellum::kv {

/// The library's two refusals of a revision.
Status CompactedError();
Status FutureRevisionError();

/// Answers a reader's poll once every few hundred steps, so that polling costs nothing.
class CancelPoll {
 public:
  explicit CancelPoll(const CancelFlag* flag) : flag_(flag) {}
  bool Cancelled() { return flag_ != nullptr && (++steps_ & 0xFF) == 0 && flag_->load(std::memory_order_relaxed); }

 private:
  const CancelFlag* const flag_;
  std::uint32_t steps_ = 0;
};

/// How a walk treats the block cache: a walk over everything should not push out what others use.
enum class CacheUse : std::uint8_t { kFill, kPassBy };

/// The keys of `latest` in an interval, in order. Not thread-safe; what it returns is valid until Next.
class LatestCursor {
 public:
  LatestCursor(const View& view, const KeyInterval& interval, CacheUse cache = CacheUse::kFill);
  LatestCursor(const LatestCursor&) = delete;
  LatestCursor& operator=(const LatestCursor&) = delete;

  bool valid() const { return rows_.valid(); }
  std::string_view key() const { return rows_.key(); }
  /// kDataLoss naming the key, if its row is damaged.
  Result<Record> record() const;
  void Next() { rows_.Next(); }
  Status status() const { return rows_.status(); }

 private:
  const KeyInterval interval_;
  storage::Iterator rows_;
};

/// The keys of an interval as they were at `revision`, which is older than the view: the rows of `latest` that are old
/// enough, merged with those of `history`. The reader looks at the live compacted revision when it is done.
class PastCursor {
 public:
  PastCursor(const View& view, Revision revision, const KeyInterval& interval, CacheUse cache = CacheUse::kFill);
  PastCursor(const PastCursor&) = delete;
  PastCursor& operator=(const PastCursor&) = delete;

  /// False at the end and after an error.
  bool valid() const { return status_.ok() && (have_latest_ || have_history_); }
  std::string_view key() const { return on_history_ ? std::string_view(history_key_) : latest_.key(); }
  const Record& record() const { return on_history_ ? history_record_ : latest_record_; }
  void Next();
  Status status() const;

 private:
  void LoadLatest();
  void LoadHistory();
  /// Behind the last version of the key that `prefix` (escaped, terminated) stands for.
  void SkipKey(const std::string& prefix);
  void Choose();

  const Revision revision_;
  LatestCursor latest_;
  const std::string history_lower_;
  const std::string history_upper_;
  storage::Iterator history_;
  Status status_;
  bool have_latest_ = false;
  bool have_history_ = false;
  bool on_history_ = false;
  Record latest_record_;
  std::string history_prefix_;
  std::string history_key_;
  Record history_record_;
};

/// A history row's key, taken apart without copying. kDataLoss if it cannot be one.
struct HistoryRowKey {
  std::string_view prefix;  ///< Escaped and terminated.
  Revision mod = 0;
};
Result<HistoryRowKey> SplitHistoryKey(std::string_view bytes);
/// The user's key that `prefix` stands for, into `key`.
Status UnescapePrefix(std::string_view prefix, std::string* key);

/// Reads one key of `latest`. `value` keeps the record's bytes. Returns whether there is such a key; with `memory_only`
/// kUnavailable if that cannot be told without the disk.
Result<bool> GetLatest(const View& view, std::string_view key, storage::PinnedValue* value, Record* record,
                       bool memory_only = false);

/// One key as of an older revision.
template <typename Found>
Result<bool> GetPast(const View& view, Revision revision, std::string_view key, Found&& found) {
  PastCursor cursor(view, revision, KeyInterval::SingleKey(key));
  if (cursor.valid()) found(cursor.record());
  VELLUM_TRY(cursor.status());
  return cursor.valid();
}

/// Visits keys until `visit` returns false.
template <typename Visit>
Status ScanLatest(const View& view, const KeyInterval& interval, Visit&& visit) {
  if (interval.empty()) return {};
  LatestCursor cursor(view, interval);
  for (; cursor.valid(); cursor.Next()) {
    VELLUM_ASSIGN_OR_RETURN(const Record record, cursor.record());
    if (!visit(cursor.key(), record)) return {};
  }
  return cursor.status();
}
template <typename Visit>
Status ScanPast(const View& view, Revision revision, const KeyInterval& interval, Visit&& visit) {
  if (interval.empty()) return {};
  PastCursor cursor(view, revision, interval);
  for (; cursor.valid(); cursor.Next()) {
    if (!visit(cursor.key(), cursor.record())) return {};
  }
  return cursor.status();
}

/// Exact number of keys at the view's own revision. Cost: two searches and two leaves' ends.
Result<std::int64_t> CountLatest(const View& view, const KeyInterval& interval);
/// The same at an older revision: from a version of the count tree that is near, or by a scan. kCancelled when `cancel`
/// gets set.
Result<std::int64_t> CountPast(const View& view, Revision revision, const KeyInterval& interval,
                               const CancelFlag* cancel);

}  // namespace vellum::kv
