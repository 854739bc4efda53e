#include "kv/scan.h"

#include "base/bytes.h"

namespace vellum::kv {
namespace {

constexpr std::string_view kTerminator("\x00\x01", 2);
/// Versions of a key that are stepped over before a search jumps to the one that is wanted.
constexpr int kStepsBeforeSeek = 8;
constexpr std::size_t kModBytes = 8;
constexpr std::size_t kReadaheadBytes = 1u << 20;

storage::ReadOptions OptionsFor(const View& view, std::string_view lower, std::string_view upper, CacheUse cache) {
  storage::ReadOptions options;
  options.snapshot = view.snapshot();
  options.lower = lower;
  options.upper = upper;
  if (cache == CacheUse::kPassBy) {
    options.fill_cache = false;
    options.readahead_bytes = kReadaheadBytes;
  }
  return options;
}

/// Before every version of `key`, and of everything after it.
std::string HistoryBound(const std::string& key) { return key.empty() ? std::string() : HistoryPrefix(key); }

}  // namespace

Status CompactedError() { return OutOfRange("required revision has been compacted", Reason::kCompacted); }
Status FutureRevisionError() {
  return OutOfRange("required revision is a future revision", Reason::kFutureRevision);
}

LatestCursor::LatestCursor(const View& view, const KeyInterval& interval, CacheUse cache)
    : interval_(interval),
      rows_(view.database().NewIterator(
          kLatest, OptionsFor(view, interval_.begin, interval_.end ? *interval_.end : std::string_view(), cache))) {
  if (interval_.begin.empty()) {
    rows_.SeekToFirst();
  } else {
    rows_.Seek(interval_.begin);
  }
}

Result<Record> LatestCursor::record() const {
  auto record = DecodeRecord(rows_.value());
  if (!record.ok()) return std::move(record).error().WithContext("key " + Printable(rows_.key()));
  return record;
}

Result<HistoryRowKey> SplitHistoryKey(std::string_view bytes) {
  HistoryRowKey parts;
  if (bytes.size() > kModBytes + kTerminator.size()) {
    parts.prefix = bytes.substr(0, bytes.size() - kModBytes);
    ByteReader reader(bytes.substr(parts.prefix.size()));
    parts.mod = static_cast<Revision>(~*reader.ReadBe64());
    if (parts.mod > 0 && parts.prefix.ends_with(kTerminator)) return parts;
  }
  return DataLoss("history: bad key " + Printable(bytes));
}

Status UnescapePrefix(std::string_view prefix, std::string* key) {
  const auto escaped = prefix.substr(0, prefix.size() - kTerminator.size());
  if (escaped.find('\0') == std::string_view::npos) {
    key->assign(escaped);
    return {};
  }
  ByteReader reader(prefix);
  auto unescaped = reader.ReadEscaped();
  if (!unescaped || !reader.empty()) return DataLoss("history: bad key " + Printable(prefix));
  *key = *std::move(unescaped);
  return {};
}

PastCursor::PastCursor(const View& view, Revision revision, const KeyInterval& interval, CacheUse cache)
    : revision_(revision),
      latest_(view, interval, cache),
      history_lower_(HistoryBound(interval.begin)),
      history_upper_(interval.end ? HistoryBound(*interval.end) : std::string()),
      history_(view.database().NewIterator(kHistory, OptionsFor(view, history_lower_, history_upper_, cache))) {
  if (history_lower_.empty()) {
    history_.SeekToFirst();
  } else {
    history_.Seek(history_lower_);
  }
  LoadLatest();
  LoadHistory();
  Choose();
}

void PastCursor::LoadLatest() {
  for (; latest_.valid(); latest_.Next()) {
    auto record = latest_.record();
    if (!record.ok()) {
      status_ = std::move(record).error();
      return;
    }
    if (record->mod <= revision_) {
      latest_record_ = *record;
      have_latest_ = true;
      return;
    }
  }
  have_latest_ = false;
  if (status_.ok()) status_ = latest_.status();
}

void PastCursor::SkipKey(const std::string& prefix) {
  for (int step = 0; step < kStepsBeforeSeek; ++step) {
    if (!history_.valid() || !history_.key().starts_with(prefix)) return;
    history_.Next();
  }
  // The terminator ends in 01; nothing lies between it and the same with 02, but this key's versions.
  std::string behind(prefix);
  behind.back() = '\x02';
  history_.Seek(behind);
}

void PastCursor::LoadHistory() {
  int steps = 0;
  have_history_ = false;
  while (history_.valid()) {
    const auto row = SplitHistoryKey(history_.key());
    if (!row.ok()) {
      status_ = row.error();
      return;
    }
    if (row->prefix != history_prefix_) {
      history_prefix_.assign(row->prefix);
      steps = 0;
    }
    if (row->mod > revision_) {
      if (++steps < kStepsBeforeSeek) {
        history_.Next();
        continue;
      }
      std::string wanted(row->prefix);
      AppendBe64(&wanted, ~static_cast<std::uint64_t>(revision_));
      history_.Seek(wanted);
      continue;
    }
    // The newest version that is old enough: the key's state, unless that had ended.
    auto history = DecodeHistoryRecord(history_.value());
    if (!history.ok()) {
      status_ = std::move(history).error().WithContext("key " + Printable(history_prefix_));
      return;
    }
    if (history->end > revision_) {
      history_record_ = history->record;
      if (Status bad = UnescapePrefix(history_prefix_, &history_key_); !bad.ok()) {
        status_ = std::move(bad);
        return;
      }
      have_history_ = true;
      return;
    }
    SkipKey(history_prefix_);
  }
  if (status_.ok()) status_ = history_.status();
}

void PastCursor::Choose() {
  if (!valid()) return;
  if (!have_latest_ || !have_history_) {
    on_history_ = have_history_;
    return;
  }
  const int order = history_key_.compare(latest_.key());
  on_history_ = order < 0;
  if (order == 0) {
    status_ = DataLoss("history: key " + Printable(history_key_) + " has two records at revision " +
                       std::to_string(revision_));
  }
}

void PastCursor::Next() {
  if (on_history_) {
    SkipKey(history_prefix_);
    LoadHistory();
  } else {
    latest_.Next();
    LoadLatest();
  }
  Choose();
}

Status PastCursor::status() const { return status_; }

Result<bool> GetLatest(const View& view, std::string_view key, storage::PinnedValue* value, Record* record,
                       bool memory_only) {
  storage::ReadOptions options;
  options.snapshot = view.snapshot();
  options.memory_only = memory_only;
  VELLUM_ASSIGN_OR_RETURN(const bool found, view.database().Get(kLatest, key, value, options));
  if (!found) return false;
  auto decoded = DecodeRecord(value->view());
  if (!decoded.ok()) return std::move(decoded).error().WithContext("key " + Printable(key));
  *record = *decoded;
  return true;
}

}  // namespace vellum::kv
