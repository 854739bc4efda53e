#include <algorithm>
#include <set>

#include "sync/codec.h"
#include "sync/merge.h"
#include "sync/run_sorter.h"
#include "sync/tournament.h"

namespace vellum::sync {
namespace {

using storage::TableCursor;

/// Marks in the sorter of an overlay's index entries. The last one added for a key counts.
constexpr std::string_view kPresent = "+";
constexpr std::string_view kGone = "-";

/// Records on their way into a base, a few at a time, and what the base has under their keys.
class Incoming {
 public:
  Incoming(const Generation& base, TableCursor* candidates) : base_(base), candidates_(*candidates) {}

  /// Takes the next ones; false: there are none.
  bool Fill() {
    keys_.clear();
    for (size_ = 0; size_ < kAtOnce && candidates_.valid(); candidates_.Next(), ++size_) {
      records_[size_].key.assign(candidates_.key());
      records_[size_].value.assign(candidates_.value());
    }
    for (std::size_t i = 0; i < size_; ++i) keys_.push_back(records_[i].key);
    base_.tables().GetMany(keys_, &before_);
    return size_ > 0;
  }
  std::size_t size() const { return size_; }
  std::string_view key(std::size_t i) const { return records_[i].key; }
  std::string_view value(std::size_t i) const { return records_[i].value; }
  /// nullopt: the base does not have it. Valid until the next Fill.
  Result<std::optional<std::string_view>> before(std::size_t i) const { return before_.at(i); }

 private:
  static constexpr std::size_t kAtOnce = 32;
  struct Record {
    std::string key;
    std::string value;
  };

  const Generation& base_;
  TableCursor& candidates_;
  std::array<Record, kAtOnce> records_;
  std::size_t size_ = 0;
  std::vector<std::string_view> keys_;
  storage::TableValues before_;
};

/// One fold: collects what the overlay says of indexes, and accounts for what it hides.
class Fold {
 public:
  Fold(std::shared_ptr<const Generation> base, const MergeLimits& limits) : base_(std::move(base)), limits_(limits) {
    derived_.totals = base_->info().totals;
    derived_.layers = base_->info().layers + 1;
    derived_.dead_bytes = base_->info().dead_bytes;
    for (const GenerationFile& file : base_->info().files) derived_.files.push_back({base_->FilePath(file), file});
  }

  Status FoldBucket(const BucketInfo& bucket, TableCursor* candidates) {
    BucketWriter overlay(limits_.scratch, bucket.bucket, derived_.layers - 1, limits_.file_bytes, limits_.files);
    MergeCounts* const counts = &derived_.stats[static_cast<std::size_t>(BucketType(bucket.bucket))];
    Incoming incoming(*base_, candidates);
    while (incoming.Fill()) {
      for (std::size_t i = 0; i < incoming.size(); ++i) {
        VELLUM_ASSIGN_OR_RETURN(const auto before, incoming.before(i));
        VELLUM_TRY(FoldRecord(bucket, incoming.key(i), before, incoming.value(i), &overlay, counts));
        if (++seen_ % 4096 == 0) {
          if (limits_.progress) limits_.progress(seen_);
          if (limits_.cancel != nullptr && limits_.cancel->load()) return Cancelled("the fold was cancelled");
        }
      }
    }
    VELLUM_TRY(candidates->status());
    return Take(bucket.bucket, &overlay);
  }

  /// Writes the overlay's index buckets.
  Status Finish() {
    for (auto& [bucket, sorter] : sorters_) {
      const BucketInfo& info = *FindBucket(static_cast<std::uint8_t>(bucket));
      VELLUM_ASSIGN_OR_RETURN(const auto entries, sorter->Finish());
      BucketWriter overlay(limits_.scratch, bucket, derived_.layers - 1, limits_.file_bytes, limits_.files);
      for (entries->Seek({}); entries->valid(); entries->Next()) {
        if (entries->value() == kPresent) {
          VELLUM_TRY(overlay.Put(entries->key(), {}));
        } else {
          VELLUM_TRY(overlay.Delete(entries->key()));
          derived_.totals[bucket].Subtract(info, entries->key(), {});
          derived_.dead_bytes += 2 * entries->key().size();
        }
      }
      VELLUM_TRY(entries->status());
      VELLUM_TRY(Take(bucket, &overlay));
    }
    return {};
  }

  Derived TakeDerived() { return std::move(derived_); }

 private:
  Status FoldRecord(const BucketInfo& bucket, std::string_view key, const std::optional<std::string_view>& before,
                    std::string_view value, BucketWriter* overlay, MergeCounts* counts) {
    if (before && *before == value) {
      ++counts->unchanged;
      return {};
    }
    if (before && ValueStamp(value) <= ValueStamp(*before)) {
      ++counts->kept;
      return {};
    }
    ++(before ? counts->replaced : counts->added);
    VELLUM_TRY(overlay->Put(key, value));
    VELLUM_TRY(ChangeIndexes(key, before, value));
    if (before) {
      derived_.totals[bucket.bucket].Subtract(bucket, key, *before);
      derived_.dead_bytes += key.size() + before->size();
    }
    return {};
  }

  /// Entries that the new value implies and the old one did not, and the other way round. Each record is replaced at most
  /// once in a fold, and an index key leads to one record, so no key is filed twice.
  Status ChangeIndexes(std::string_view key, const std::optional<std::string_view>& before, std::string_view after) {
    if (!before) {
      Status filed;
      VELLUM_TRY(ForEachIndexKey(key, after, [&](Bucket bucket, std::string_view index_key) {
        if (filed.ok()) filed = File(bucket, index_key, kPresent);
      }));
      return filed;
    }
    // Entries that follow from the identity are there already.
    std::set<std::pair<Bucket, std::string>> old_keys;
    std::set<std::pair<Bucket, std::string>> new_keys;
    const auto gather = [](std::set<std::pair<Bucket, std::string>>* keys) {
      return [keys](Bucket bucket, std::string_view index_key) {
        if (FindBucket(static_cast<std::uint8_t>(bucket))->from_value) keys->emplace(bucket, index_key);
      };
    };
    VELLUM_TRY(ForEachIndexKey(key, *before, gather(&old_keys)));
    VELLUM_TRY(ForEachIndexKey(key, after, gather(&new_keys)));
    for (const auto& entry : new_keys) {
      if (!old_keys.contains(entry)) VELLUM_TRY(File(entry.first, entry.second, kPresent));
    }
    for (const auto& entry : old_keys) {
      if (!new_keys.contains(entry)) VELLUM_TRY(File(entry.first, entry.second, kGone));
    }
    return {};
  }

  Status File(Bucket bucket, std::string_view index_key, std::string_view mark) {
    auto& sorter = sorters_[bucket];
    if (!sorter) {
      sorter = std::make_unique<RunSorter>(RunSorter::Options{
          limits_.scratch, "overlay-" + std::string(FindBucket(static_cast<std::uint8_t>(bucket))->name),
          limits_.memory_bytes / 4, limits_.files});
    }
    return sorter->Add(index_key, mark);
  }

  Status Take(Bucket bucket, BucketWriter* overlay) {
    VELLUM_TRY(overlay->Finish());
    for (NewFile& file : overlay->TakeFiles()) derived_.files.push_back(std::move(file));
    derived_.totals[bucket].Merge(overlay->totals());
    return {};
  }

  const std::shared_ptr<const Generation> base_;
  const MergeLimits& limits_;
  Derived derived_;
  std::map<Bucket, std::unique_ptr<RunSorter>> sorters_;
  std::uint64_t seen_ = 0;
};

/// The candidates of a bucket: the sources merged with each other, the newest stamp first and the earlier source on a tie. Stands
/// on the first one.
class Candidates final : public TableCursor {
 public:
  explicit Candidates(std::vector<std::unique_ptr<TableCursor>> sources)
      : sources_(std::move(sources)), order_(&sources_, Tournament::Ties::kEarlierFirst) {
    for (const auto& source : sources_) NoteEnd(*source);
    order_.Restart();
    Gather();
  }
  void Seek(std::string_view /*key*/) override {}
  void Next() override { Gather(); }
  bool valid() const override { return valid_; }
  std::string_view key() const override { return key_; }
  std::string_view value() const override { return value_; }
  Status status() const override { return status_; }

 private:
  void Gather() {
    valid_ = false;
    if (!status_.ok() || order_.winner() == Tournament::kNone) return;
    key_.assign(order_.key(order_.winner()));
    for (std::size_t rank = order_.winner(); rank != Tournament::kNone && order_.key(rank) == key_; rank = order_.winner()) {
      TableCursor& source = *sources_[rank];
      if (!valid_ || ValueStamp(source.value()) > ValueStamp(value_)) value_.assign(source.value());
      valid_ = true;
      source.Next();
      NoteEnd(source);
      order_.Moved(rank);
    }
    valid_ = status_.ok();
  }
  void NoteEnd(const TableCursor& source) {
    if (!source.valid() && status_.ok()) status_ = source.status();
  }

  const std::vector<std::unique_ptr<TableCursor>> sources_;
  Tournament order_;
  std::string key_;
  std::string value_;
  bool valid_ = false;
  Status status_;
};

}  // namespace

Result<Derived> FoldIntoGeneration(const std::shared_ptr<const Generation>& base,
                                   const std::vector<std::shared_ptr<const Generation>>& sources,
                                   const MergeLimits& limits) {
  Fold fold(base, limits);
  for (const BucketInfo& info : kBuckets) {
    if (info.index || !info.merged) continue;
    std::vector<std::unique_ptr<TableCursor>> cursors;
    for (const auto& source : sources) cursors.push_back(source->Scan(info.bucket));
    Candidates candidates(std::move(cursors));
    VELLUM_TRY(fold.FoldBucket(info, &candidates));
  }
  VELLUM_TRY(fold.Finish());
  return fold.TakeDerived();
}

}  // namespace vellum::sync
