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

/// Looks keys up in a base in ascending order, which reuses the blocks that the cursor stands on.
class AscendingLookup {
 public:
  AscendingLookup(const Generation& base, Bucket bucket)
      : cursor_(base.tables().NewCursor(BucketPrefix(bucket), BucketPrefix(static_cast<Bucket>(
                                            static_cast<std::uint8_t>(bucket) + 1)), /*scan=*/false)) {}

  /// nullopt: the base does not have it. The view is valid until the next call.
  Result<std::optional<std::string_view>> Find(std::string_view key) {
    cursor_->Seek(key);
    VELLUM_TRY(cursor_->status());
    if (!cursor_->valid() || cursor_->key() != key) return std::optional<std::string_view>();
    return std::optional<std::string_view>(cursor_->value());
  }

 private:
  std::unique_ptr<TableCursor> cursor_;
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
    AscendingLookup lookup(*base_, bucket.bucket);
    BucketWriter overlay(limits_.scratch, bucket.bucket, derived_.layers - 1, limits_.file_bytes, limits_.files);
    MergeCounts* const counts = &derived_.stats[static_cast<std::size_t>(BucketType(bucket.bucket))];
    for (; candidates->valid(); candidates->Next()) {
      const std::string_view key = candidates->key();
      const std::string_view value = candidates->value();
      VELLUM_ASSIGN_OR_RETURN(const auto before, lookup.Find(key));
      if (before && *before == value) {
        ++counts->unchanged;
      } else if (before && ValueStamp(value) <= ValueStamp(*before)) {
        ++counts->kept;
      } else {
        ++(before ? counts->replaced : counts->added);
        VELLUM_TRY(overlay.Put(key, value));
        VELLUM_TRY(ChangeIndexes(key, before, value));
        if (before) {
          derived_.totals[bucket.bucket].Subtract(bucket, key, *before);
          derived_.dead_bytes += key.size() + before->size();
        }
      }
      if (++seen_ % 4096 == 0) {
        if (limits_.progress) limits_.progress(seen_);
        if (limits_.cancel != nullptr && limits_.cancel->load()) return Cancelled("the fold was cancelled");
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
  /// Entries that the new value implies and the old one did not, and the other way round. Each record is replaced at most
  /// once in a fold, and an index key leads to one record, so no key is filed twice.
  Status ChangeIndexes(std::string_view key, const std::optional<std::string_view>& before, std::string_view after) {
    std::set<std::pair<Bucket, std::string>> old_keys;
    std::set<std::pair<Bucket, std::string>> new_keys;
    if (before) {
      VELLUM_TRY(ForEachIndexKey(key, *before, [&](Bucket bucket, std::string_view index_key) {
        old_keys.emplace(bucket, index_key);
      }));
    }
    VELLUM_TRY(ForEachIndexKey(key, after, [&](Bucket bucket, std::string_view index_key) {
      new_keys.emplace(bucket, index_key);
    }));
    for (const auto& entry : new_keys) {
      if (!old_keys.contains(entry)) VELLUM_TRY(File(entry, kPresent));
    }
    for (const auto& entry : old_keys) {
      if (!new_keys.contains(entry)) VELLUM_TRY(File(entry, kGone));
    }
    return {};
  }

  Status File(const std::pair<Bucket, std::string>& entry, std::string_view mark) {
    auto& sorter = sorters_[entry.first];
    if (!sorter) {
      sorter = std::make_unique<RunSorter>(RunSorter::Options{
          limits_.scratch, "overlay-" + std::string(FindBucket(static_cast<std::uint8_t>(entry.first))->name),
          limits_.memory_bytes / 4, limits_.files});
    }
    return sorter->Add(entry.second, mark);
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
