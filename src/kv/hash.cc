// etcd's HashKV: a CRC-32C over records in revision order, which is not the order of any family here.
//
// Checksums of pieces can be combined, so each record becomes 24 bytes (its revision, its own checksum, its size), and only
// those are sorted. When they are too many for memory, passes over the rows take the lowest ones first.
#include "kv/hash.h"

#include <algorithm>
#include <limits>
#include <utility>

#include "base/bytes.h"
#include "base/crc32c.h"
#include "kv/scan.h"

namespace vellum::kv {
namespace {

constexpr int kAttemptsMax = 5;

/// A place in the order of all changes.
struct Place {
  Revision main = 0;
  std::int32_t sub = 0;
  friend auto operator<=>(const Place&, const Place&) = default;
};
constexpr Place kBeforeAll{-1, 0};
constexpr Place kAfterAll{std::numeric_limits<Revision>::max(), std::numeric_limits<std::int32_t>::max()};

struct Piece {
  Revision main = 0;
  std::int32_t sub = 0;
  std::uint32_t crc = 0;
  std::uint32_t size = 0;

  Place place() const { return {main, sub}; }
  friend bool operator<(const Piece& a, const Piece& b) { return a.place() < b.place(); }
};

/// Checksum of one record in etcd's form: its key in etcd's storage, then its KeyValue message.
class RecordSum {
 public:
  RecordSum(Place place, std::string_view key, bool tombstone) {
    std::string head;
    AppendBe64(&head, static_cast<std::uint64_t>(place.main));
    head.push_back('_');
    AppendBe64(&head, static_cast<std::uint64_t>(place.sub));
    if (tombstone) head.push_back('t');
    head.push_back('\x0A');
    AppendVarint(&head, key.size());
    Take(head);
    Take(key);
  }

  void TakeRest(const Record& record) {
    std::string numbers;
    AppendField(&numbers, '\x10', static_cast<std::uint64_t>(record.create));
    AppendField(&numbers, '\x18', static_cast<std::uint64_t>(record.mod));
    AppendField(&numbers, '\x20', static_cast<std::uint64_t>(record.version));
    AppendField(&numbers, '\x2A', record.value.size());
    Take(numbers);
    Take(record.value);
    numbers.clear();
    AppendField(&numbers, '\x30', static_cast<std::uint64_t>(record.lease));
    Take(numbers);
  }

  std::uint32_t crc() const { return crc_; }
  std::uint32_t size() const { return static_cast<std::uint32_t>(size_); }

 private:
  static void AppendField(std::string* out, char tag, std::uint64_t value) {
    if (value == 0) return;
    out->push_back(tag);
    AppendVarint(out, value);
  }
  void Take(std::string_view bytes) {
    crc_ = ExtendCrc32c(crc_, bytes);
    size_ += bytes.size();
  }

  std::uint32_t crc_ = 0;
  std::size_t size_ = 0;
};

class Hasher {
 public:
  Hasher(const View& view, Revision revision, Revision compacted, std::size_t records_max, const CancelFlag* cancel)
      : view_(view), revision_(revision), compacted_(compacted), pieces_max_(records_max), poll_(cancel) {}

  Result<std::uint32_t> Run() {
    VELLUM_ASSIGN_OR_RETURN(nothing_lives_, NothingLives());
    do {
      pieces_.clear();
      last_ = kAfterAll;
      VELLUM_TRY(TakeLatest());
      VELLUM_TRY(TakeHistory());
      std::sort(pieces_.begin(), pieces_.end());
      VELLUM_TRY(AddUp());
      done_ = last_;
    } while (done_ != kAfterAll);
    return crc_;
  }

 private:
  static Status WasCancelled() { return Cancelled("hash was cancelled"); }

  Result<bool> NothingLives() const {
    if (revision_ == view_.revision()) return CountTree::Total(view_.count_root()) == 0;
    PastCursor cursor(view_, revision_, KeyInterval::Everything());
    VELLUM_TRY(cursor.status());
    return !cursor.valid();
  }

  /// Keeps the record if its turn comes in this pass.
  void Take(std::string_view key, const Record& record) {
    const Place place{record.mod, record.mod_sub};
    if (place <= done_ || place > last_) return;
    RecordSum sum(place, key, /*tombstone=*/false);
    sum.TakeRest(record);
    if (pieces_.size() == pieces_max_) MakeRoom();
    if (place > last_) return;
    pieces_.push_back({place.main, place.sub, sum.crc(), sum.size()});
  }

  /// Leaves the highest eighth for a later pass.
  void MakeRoom() {
    const auto keep = static_cast<std::ptrdiff_t>(std::max<std::size_t>(pieces_max_ - pieces_max_ / 8 - 1, 1));
    std::nth_element(pieces_.begin(), pieces_.begin() + keep - 1, pieces_.end());
    pieces_.resize(static_cast<std::size_t>(keep));
    last_ = pieces_.back().place();
  }

  Status TakeLatest() {
    LatestCursor cursor(view_, KeyInterval::Everything(), CacheUse::kPassBy);
    for (; cursor.valid(); cursor.Next()) {
      if (poll_.Cancelled()) return WasCancelled();
      VELLUM_ASSIGN_OR_RETURN(const Record record, cursor.record());
      if (record.mod <= revision_) Take(cursor.key(), record);
    }
    return cursor.status();
  }

  Status TakeHistory() {
    storage::ReadOptions options;
    options.snapshot = view_.snapshot();
    options.fill_cache = false;
    options.readahead_bytes = 1u << 20;
    auto rows = view_.database().NewIterator(kHistory, options);
    std::string key;
    for (rows.SeekToFirst(); rows.valid(); rows.Next()) {
      if (poll_.Cancelled()) return WasCancelled();
      VELLUM_ASSIGN_OR_RETURN(const HistoryRowKey row, SplitHistoryKey(rows.key()));
      if (row.mod > revision_) continue;
      VELLUM_TRY(UnescapePrefix(row.prefix, &key));
      auto history = DecodeHistoryRecord(rows.value());
      if (!history.ok()) return std::move(history).error().WithContext("key " + Printable(key));
      const bool lives = history->end > revision_;
      if (lives || history->record.mod > compacted_ || nothing_lives_) Take(key, history->record);
    }
    return rows.status();
  }

  /// Adds this pass's pieces to the checksum, in order, among them what only `rev` keeps: deletes, and puts that were
  /// superseded in their own revision.
  Status AddUp() {
    const Revision first = std::max<Revision>({done_.main, nothing_lives_ ? 1 : compacted_ + 1, 1});
    const Revision last = std::min(last_.main, revision_);
    if (first <= last) VELLUM_TRY(AddUpWithRev(first, last));
    return AddPiecesBefore(kAfterAll);
  }

  Status AddUpWithRev(Revision first, Revision last) {
    const std::string lower = RevKey(first, 0), upper = RevKey(last + 1, 0);
    storage::ReadOptions options;
    options.snapshot = view_.snapshot();
    options.lower = lower;
    options.upper = upper;
    options.fill_cache = false;
    options.readahead_bytes = 1u << 20;
    auto rows = view_.database().NewIterator(kRev, options);
    for (rows.Seek(lower); rows.valid(); rows.Next()) {
      if (poll_.Cancelled()) return WasCancelled();
      VELLUM_ASSIGN_OR_RETURN(const RevKeyParts at, DecodeRevKey(rows.key()));
      const Place place{at.main, at.sub};
      if (place <= done_ || place > last_) continue;
      VELLUM_TRY(AddPiecesBefore(place));
      VELLUM_ASSIGN_OR_RETURN(const RevEntry entry, DecodeRevEntry(at.main, rows.value()));
      if (entry.type == EventType::kDelete) {
        if (at.main == compacted_) continue;
        RecordSum sum(place, entry.key, /*tombstone=*/true);
        Add(sum.crc(), sum.size());
      } else if (entry.superseded) {
        RecordSum sum(place, entry.key, /*tombstone=*/false);
        sum.TakeRest(*entry.superseded);
        Add(sum.crc(), sum.size());
      } else if (next_piece_ < pieces_.size() && pieces_[next_piece_].place() == place) {
        Add(pieces_[next_piece_].crc, pieces_[next_piece_].size);
        ++next_piece_;
      } else if (at.main > compacted_) {
        return DataLoss("history: key " + Printable(entry.key) + " has no record of revision " +
                        std::to_string(at.main) + ", which rev names");
      }
    }
    return rows.status();
  }

  /// Pieces that no rev entry is left for: the state of compacted revisions.
  Status AddPiecesBefore(Place place) {
    for (; next_piece_ < pieces_.size() && pieces_[next_piece_].place() < place; ++next_piece_) {
      const Piece& piece = pieces_[next_piece_];
      if (piece.main > compacted_) {
        return DataLoss("rev: revision " + std::to_string(piece.main) + " has no entry " + std::to_string(piece.sub));
      }
      if (!nothing_lives_) Add(piece.crc, piece.size);
    }
    if (place == kAfterAll) next_piece_ = 0;
    return {};
  }

  void Add(std::uint32_t crc, std::uint32_t size) { crc_ = CombineCrc32c(crc_, crc, size); }

  const View& view_;
  const Revision revision_;
  const Revision compacted_;
  const std::size_t pieces_max_;
  CancelPoll poll_;
  /// etcd skips nothing then, not even what is compacted but still there.
  bool nothing_lives_ = false;
  std::uint32_t crc_ = Crc32c("key");
  Place done_ = kBeforeAll;  ///< Earlier passes added everything up to here.
  Place last_ = kAfterAll;   ///< What is beyond does not fit into this pass.
  std::vector<Piece> pieces_;
  std::size_t next_piece_ = 0;
};

}  // namespace

Result<HashResult> HashKeyValuesInPasses(const View& view, Revision revision, std::size_t records_max,
                                         const CancelFlag* cancel) {
  if (revision < 0) return HashResult{Crc32c("key"), revision, view.compacted()};
  const Revision at = revision == 0 ? view.revision() : revision;
  for (int attempt = 0; attempt < kAttemptsMax; ++attempt) {
    const Revision compacted = view.compacted();
    if (at < compacted) return CompactedError();
    if (at > view.revision()) return FutureRevisionError();
    auto crc = Hasher(view, at, compacted, records_max, cancel).Run();
    // A compaction under way may have taken rows that were not read yet: begin again under the new C.
    if (view.compacted() != compacted) continue;
    if (!crc.ok()) return std::move(crc).error();
    return HashResult{*crc, at, compacted};
  }
  return Aborted("compactions overtook the hash " + std::to_string(kAttemptsMax) + " times");
}

Result<HashResult> HashKeyValues(const View& view, Revision revision, const CancelFlag* cancel) {
  return HashKeyValuesInPasses(view, revision, kHashRecordsMax, cancel);
}

}  // namespace vellum::kv
