#include "sync/diff.h"

#include <algorithm>
#include <set>
#include <tuple>

#include "sync/codec.h"
#include "sync/messages.h"

namespace vellum::sync {
namespace {

using storage::TableCursor;

constexpr std::uint64_t kPollEvery = 4096;  ///< Keys between looks at the cancel flag.
constexpr int kStepsBeforeSeek = 8;         ///< A key that is near is cheaper to walk to.

/// Counts what differs in one bucket, and hands it over.
class Differences {
 public:
  Differences(RecordType type, const DiffOptions& options, const DiffVisitor& visit, DiffSummary* summary)
      : options_(options), visit_(visit), counts_(summary->counts[static_cast<std::size_t>(type)]) {}

  /// The values of one key on both sides; nullopt where it is not there.
  Status Compare(std::string_view key, std::optional<std::string_view> before, std::optional<std::string_view> after) {
    if (before && after) {
      if (*before == *after) return {};
      if (!options_.stamps && ValueWithoutStamp(*before) == ValueWithoutStamp(*after)) return {};
    }
    std::optional<StoredRecord> old_record;
    std::optional<StoredRecord> new_record;
    DiffRow row;
    if (before && (after || visit_)) {
      VELLUM_ASSIGN_OR_RETURN(old_record, StoredRecord::Parse(key, *before));
      before_ = old_record->view();
      row.before = &before_;
    }
    if (after && (before || visit_)) {
      VELLUM_ASSIGN_OR_RETURN(new_record, StoredRecord::Parse(key, *after));
      after_ = new_record->view();
      row.after = &after_;
    }
    if (before && after) {
      if (SameContent(before_, after_, options_.stamps)) return {};
      row.change = Change::kChanged;
      ++counts_.changed;
    } else {
      row.change = after ? Change::kAdded : Change::kRemoved;
      ++(after ? counts_.added : counts_.removed);
    }
    return visit_ ? visit_(row) : Status();
  }

 private:
  const DiffOptions& options_;
  const DiffVisitor& visit_;
  DiffSummary::Counts& counts_;
  RecordView before_;
  RecordView after_;
};

/// Looks whether to stop, and says how far the work is.
class Pulse {
 public:
  explicit Pulse(const Work& work) : work_(work) {}
  Status Tick() {
    if (++done_ % kPollEvery != 0) return {};
    if (work_.progress) work_.progress(done_);
    if (work_.cancel != nullptr && work_.cancel->load(std::memory_order_relaxed)) {
      return Cancelled("the comparison was cancelled after " + std::to_string(done_) + " records");
    }
    return {};
  }

 private:
  const Work& work_;
  std::uint64_t done_ = 0;
};

/// One pass over both sides.
Status CompareAll(const ReadView& before, const ReadView& after, Bucket bucket, Differences* differences, Pulse* pulse) {
  const std::string prefix = BucketPrefix(bucket);
  const auto old_side = before.Prefix(prefix, ReadView::Reach::kAll);
  const auto new_side = after.Prefix(prefix, ReadView::Reach::kAll);
  old_side->Seek(prefix);
  new_side->Seek(prefix);
  while (old_side->valid() || new_side->valid()) {
    const int order = !old_side->valid()   ? 1
                      : !new_side->valid() ? -1
                                           : old_side->key().compare(new_side->key());
    VELLUM_TRY(differences->Compare(order <= 0 ? old_side->key() : new_side->key(),
                                    order <= 0 ? std::optional(old_side->value()) : std::nullopt,
                                    order >= 0 ? std::optional(new_side->value()) : std::nullopt));
    if (order <= 0) old_side->Next();
    if (order >= 0) new_side->Next();
    VELLUM_TRY(pulse->Tick());
  }
  VELLUM_TRY(old_side->status());
  return new_side->status();
}

/// Walks one side to keys that ascend.
class Follower {
 public:
  Follower(const ReadView& view, Bucket bucket)
      : cursor_(view.Prefix(BucketPrefix(bucket), ReadView::Reach::kSome)) {}

  Result<std::optional<std::string_view>> At(std::string_view key) {
    for (int step = 0; started_ && step < kStepsBeforeSeek && cursor_->valid() && cursor_->key() < key; ++step) cursor_->Next();
    if (!started_ || (cursor_->valid() && cursor_->key() < key)) cursor_->Seek(key);
    started_ = true;
    if (!cursor_->valid()) {
      VELLUM_TRY(cursor_->status());
      return std::optional<std::string_view>();
    }
    return cursor_->key() == key ? std::optional(cursor_->value()) : std::nullopt;
  }

 private:
  std::unique_ptr<TableCursor> cursor_;
  bool started_ = false;
};

/// What makes two table files the same file in the same place.
using FileIdentity = std::tuple<std::uint32_t, std::string, std::uint64_t>;
FileIdentity IdentityOf(const GenerationFile& file) { return {file.layer, file.sha256, file.bytes}; }

struct Sharing {
  std::set<FileIdentity> shared;
  bool deletes = false;             ///< One of the others hides records: reading its own keys would miss that.
  std::vector<std::string> others;  ///< Paths of the files that one side has alone.
};

Sharing FindSharing(const Generation& before, const Generation& after, Bucket bucket) {
  std::set<FileIdentity> old_files;
  for (const GenerationFile& file : before.info().files) {
    if (file.bucket == bucket) old_files.insert(IdentityOf(file));
  }
  Sharing sharing;
  for (const GenerationFile& file : after.info().files) {
    if (file.bucket != bucket) continue;
    if (old_files.contains(IdentityOf(file))) {
      sharing.shared.insert(IdentityOf(file));
    } else {
      sharing.others.push_back(after.FilePath(file));
      sharing.deletes |= file.deletions > 0;
    }
  }
  for (const GenerationFile& file : before.info().files) {
    if (file.bucket != bucket || sharing.shared.contains(IdentityOf(file))) continue;
    sharing.others.push_back(before.FilePath(file));
    sharing.deletes |= file.deletions > 0;
  }
  return sharing;
}

/// Only the keys of files that one side has alone.
Status CompareOthers(const ReadView& before, const ReadView& after, Bucket bucket, const std::vector<std::string>& files,
                     Differences* differences, Pulse* pulse) {
  VELLUM_ASSIGN_OR_RETURN(const auto runs, OpenRuns(files));
  Follower old_side(before, bucket);
  Follower new_side(after, bucket);
  const auto keys = runs->NewCursor();
  for (keys->Seek({}); keys->valid(); keys->Next()) {
    VELLUM_ASSIGN_OR_RETURN(const auto old_value, old_side.At(keys->key()));
    VELLUM_ASSIGN_OR_RETURN(const auto new_value, new_side.At(keys->key()));
    // A record that no side shows any more is no difference.
    if (old_value || new_value) VELLUM_TRY(differences->Compare(keys->key(), old_value, new_value));
    VELLUM_TRY(pulse->Tick());
  }
  return keys->status();
}

}  // namespace

bool DiffSummary::differ() const {
  return std::any_of(counts.begin(), counts.end(),
                     [](const Counts& each) { return each.added + each.removed + each.changed != 0; });
}

Result<DiffSummary> DiffViews(const ReadView& before, const ReadView& after, const DiffOptions& options,
                              const DiffVisitor& visit, const Work& work) {
  DiffSummary summary;
  Pulse pulse(work);
  for (int type = 0; type < kRecordTypes; ++type) {
    const Bucket bucket = RecordBucket(static_cast<RecordType>(type));
    Differences differences(static_cast<RecordType>(type), options, visit, &summary);
    const auto old_generation = before.generation();
    const auto new_generation = after.generation();
    Sharing sharing;
    if (old_generation && new_generation) sharing = FindSharing(*old_generation, *new_generation, bucket);
    if (sharing.shared.empty() || sharing.deletes) {
      VELLUM_TRY(CompareAll(before, after, bucket, &differences, &pulse));
      continue;
    }
    summary.files_skipped += sharing.shared.size();
    if (!sharing.others.empty()) {
      VELLUM_TRY(CompareOthers(before, after, bucket, sharing.others, &differences, &pulse));
    }
  }
  return summary;
}

}  // namespace vellum::sync
