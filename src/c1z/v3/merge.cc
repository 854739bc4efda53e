#include "c1z/v3/merge.h"

#include <algorithm>
#include <set>

#include "base/bytes.h"
#include "c1z/v3/bytes.h"

namespace vellum::c1z::v3 {
namespace {

constexpr std::size_t kDeletionsMax = 1'000'000;

/// True if `a` comes after `b`: heaps keep the greatest in front, and we want the smallest key, of equal ones the newest.
bool ComesAfter(const std::unique_ptr<TableScan>& a, const std::unique_ptr<TableScan>& b) {
  const int order = a->key().compare(b->key());
  if (order != 0) return order > 0;
  return std::make_pair(a->sequence(), a->kind()) < std::make_pair(b->sequence(), b->kind());
}

bool Overlaps(const TableMeta& meta, std::string_view from, std::string_view until) {
  if (!until.empty() && meta.smallest.user >= until) return false;
  return meta.largest_exclusive() ? meta.largest.user > from : meta.largest.user >= from;
}

}  // namespace

void DeletedRanges::Add(std::string start, std::string end, std::uint64_t sequence) {
  added_.push_back({std::move(start), std::move(end), sequence});
}

void DeletedRanges::Build() {
  std::sort(added_.begin(), added_.end(), [](const Range& a, const Range& b) { return a.start < b.start; });
  // The ranges that cover the place the sweep stands at, by end, and how often each sequence number is among them.
  std::multimap<std::string_view, std::uint64_t> open;
  std::multiset<std::uint64_t> sequences;
  std::string_view at;
  const auto emit = [&](std::string_view until) {
    if (!sequences.empty() && at < until) {
      const std::uint64_t highest = *sequences.rbegin();
      if (!pieces_.empty() && pieces_.back().end == at && pieces_.back().sequence == highest) {
        pieces_.back().end = until;
      } else {
        pieces_.push_back({std::string(at), std::string(until), highest});
      }
    }
    at = until;
  };
  const auto close_until = [&](const std::string_view* start) {
    while (!open.empty() && (start == nullptr || open.begin()->first <= *start)) {
      emit(open.begin()->first);
      sequences.erase(sequences.find(open.begin()->second));
      open.erase(open.begin());
    }
  };
  for (const Range& range : added_) {
    const std::string_view start = range.start;
    close_until(&start);
    emit(start);
    open.emplace(range.end, range.sequence);
    sequences.insert(range.sequence);
  }
  close_until(nullptr);
}

std::uint64_t DeletedRanges::Covering(std::string_view key) {
  while (at_ < pieces_.size() && pieces_[at_].end <= key) ++at_;
  return at_ < pieces_.size() && pieces_[at_].start <= key ? pieces_[at_].sequence : 0;
}

Result<std::shared_ptr<const Table>> TableSet::Open(const TableMeta& meta) {
  const std::lock_guard lock(mu_);
  const std::size_t file = database_->files.at(meta.number);
  auto& table = open_[file];
  if (table == nullptr) {
    VELLUM_ASSIGN_OR_RETURN(table, Table::Open(checkpoint_, file, block_bytes_max_, budget_));
  }
  return table;
}

Result<std::vector<std::string>> FindCuts(TableSet* tables, const std::string& from, const std::string& until, std::size_t parts) {
  constexpr std::uint64_t kPartBytesMin = 1u << 20;
  constexpr std::size_t kSamplesMax = 100'000;
  struct Sample {
    std::string key;
    std::uint64_t bytes = 0;
  };
  std::vector<Sample> samples;
  std::uint64_t bytes = 0;
  for (const auto& [number, meta] : tables->database().version.tables()) {
    if (!Overlaps(meta, from, until)) continue;
    VELLUM_ASSIGN_OR_RETURN(const auto table, tables->Open(meta));
    BlockWalk walk(table.get(), std::max(from, meta.smallest.user));
    for (Handle handle; samples.size() < kSamplesMax;) {
      VELLUM_ASSIGN_OR_RETURN(const bool any, walk.Next(&handle));
      if (!any || (!until.empty() && walk.separator() >= until) || walk.separator() > meta.largest.user) break;
      samples.push_back({std::string(walk.separator()), handle.size});
      bytes += handle.size;
    }
  }
  std::vector<std::string> cuts;
  parts = std::min<std::uint64_t>(parts, bytes / kPartBytesMin);
  if (parts < 2) return cuts;
  std::sort(samples.begin(), samples.end(), [](const Sample& a, const Sample& b) { return a.key < b.key; });
  std::uint64_t before = 0;
  for (const Sample& sample : samples) {
    before += sample.bytes;
    if (cuts.size() + 1 < parts && before >= bytes / parts * (cuts.size() + 1) && sample.key > from &&
        (cuts.empty() || sample.key > cuts.back())) {
      cuts.push_back(sample.key);
    }
  }
  return cuts;
}

Result<std::unique_ptr<MergedScan>> MergedScan::Start(TableSet* tables, std::string from, std::string until) {
  std::unique_ptr<MergedScan> scan(new MergedScan(tables, std::move(from), std::move(until)));
  for (const auto& [number, meta] : tables->database().version.tables()) {
    if (Overlaps(meta, scan->from_, scan->until_)) scan->waiting_.push_back(&meta);
  }
  std::sort(scan->waiting_.begin(), scan->waiting_.end(),
            [](const TableMeta* a, const TableMeta* b) { return a->smallest.user > b->smallest.user; });
  VELLUM_TRY(scan->CollectDeletions());
  return scan;
}

Status MergedScan::CollectDeletions() {
  for (const TableMeta* const meta : waiting_) {
    VELLUM_ASSIGN_OR_RETURN(const auto table, tables_->Open(*meta));
    VELLUM_TRY(table->ForEachRangeDeletion([&](const StoredDeletion& stored) -> Status {
      std::uint64_t sequence = stored.trailer >> 8;
      if (const auto override = meta->sequence_override()) {
        sequence = *override;
      } else if (meta->has_sequences && (sequence < meta->smallest_sequence || sequence > meta->largest_sequence) &&
                 !meta->is_virtual()) {
        return Damaged(Printable(table->name()) + ": a range deletion from " + Printable(stored.start) +
                       " has the sequence number " + std::to_string(sequence) + ", outside the table's");
      }
      std::string_view start = std::max<std::string_view>(stored.start, from_);
      std::string_view end = until_.empty() ? stored.end : std::min<std::string_view>(stored.end, until_);
      std::string after;
      if (meta->is_virtual()) {
        start = std::max<std::string_view>(start, meta->smallest.user);
        after = meta->largest.user;
        if (!meta->largest_exclusive()) after.push_back('\0');  // the least key above an inclusive bound
        end = std::min<std::string_view>(end, after);
      }
      if (start >= end) return {};
      if (deleted_.added() == kDeletionsMax) {
        return ResourceExhausted("more than " + std::to_string(kDeletionsMax) + " range deletions: that is the limit");
      }
      VELLUM_TRY(charge_.Take(2 * (start.size() + end.size()) + DeletedRanges::kBytesEach, "range deletions"));
      deleted_.Add(std::string(start), std::string(end), sequence);
      return {};
    }));
  }
  deleted_.Build();
  return {};
}

std::unique_ptr<TableScan> MergedScan::Pop() {
  std::pop_heap(heap_.begin(), heap_.end(), ComesAfter);
  std::unique_ptr<TableScan> scan = std::move(heap_.back());
  heap_.pop_back();
  return scan;
}

Status MergedScan::Advance(std::unique_ptr<TableScan> scan) {
  do {
    VELLUM_ASSIGN_OR_RETURN(const bool any, scan->Next());
    if (!any) return {};
  } while (scan->repeats_key());  // older states of the key we leave
  heap_.push_back(std::move(scan));
  std::push_heap(heap_.begin(), heap_.end(), ComesAfter);
  return {};
}

Status MergedScan::Admit() {
  while (!waiting_.empty() && (heap_.empty() || waiting_.back()->smallest.user <= heap_.front()->key())) {
    const TableMeta* const meta = waiting_.back();
    waiting_.pop_back();
    VELLUM_ASSIGN_OR_RETURN(auto table, tables_->Open(*meta));
    VELLUM_TRY(Advance(std::make_unique<TableScan>(std::move(table), meta, from_, until_, tables_->budget())));
  }
  return {};
}

Result<bool> MergedScan::Next() {
  for (;;) {
    if (current_ != nullptr) VELLUM_TRY(Advance(std::move(current_)));
    VELLUM_TRY(Admit());
    if (heap_.empty()) return false;
    current_ = Pop();
    while (!heap_.empty() && heap_.front()->key() == current_->key()) VELLUM_TRY(Advance(Pop()));
    if (Deletes(current_->kind()) || deleted_.Covering(current_->key()) > current_->sequence()) continue;
    if (current_->value_elsewhere()) {
      return Damaged(Printable(current_->table_name()) + ": the newest value of the key " + Printable(current_->key()) +
                     " lies in a value block, where only older ones can be");
    }
    return true;
  }
}

}  // namespace vellum::c1z::v3
