#include "sync/read_view.h"

#include "base/bytes.h"
#include "base/check.h"
#include "sync/codec.h"
#include "sync/staging.h"
#include "sync/store.h"

namespace vellum::sync {
namespace {

using storage::TableCursor;

class GenerationView final : public ReadView {
 public:
  explicit GenerationView(std::shared_ptr<const Generation> generation) : generation_(std::move(generation)) {}

  const GenerationId& id() const override { return generation_->info().id; }
  bool has(Bucket /*bucket*/) const override { return true; }
  std::unique_ptr<TableCursor> Prefix(std::string_view prefix, Reach reach) const override {
    return generation_->tables().NewCursor(prefix, PrefixSuccessor(prefix).value_or(std::string()), reach == Reach::kAll);
  }
  Result<std::optional<std::string>> Get(std::string_view key) const override { return generation_->tables().Get(key); }
  Result<std::uint64_t> CountPendingExpansions() const override {
    const auto found = generation_->info().totals.find(Bucket::kGrantNeedingExpansion);
    return found == generation_->info().totals.end() ? 0 : found->second.records;
  }
  Result<std::shared_ptr<const StrayEntitlements>> Strays() const override { return generation_->Strays(); }
  std::shared_ptr<const Generation> generation() const override { return generation_; }

 private:
  const std::shared_ptr<const Generation> generation_;
};

/// Ends where the prefix does.
class PrefixCursor final : public TableCursor {
 public:
  PrefixCursor(std::unique_ptr<TableCursor> all, std::string_view prefix, std::shared_ptr<const SortedRuns> runs)
      : runs_(std::move(runs)), all_(std::move(all)), prefix_(prefix) {}
  void Seek(std::string_view key) override { all_->Seek(key < prefix_ ? std::string_view(prefix_) : key); }
  void Next() override { all_->Next(); }
  bool valid() const override { return all_ && all_->valid() && all_->key().starts_with(prefix_); }
  std::string_view key() const override { return all_->key(); }
  std::string_view value() const override { return all_->value(); }
  Status status() const override { return all_ ? all_->status() : Status(); }

 private:
  const std::shared_ptr<const SortedRuns> runs_;
  const std::unique_ptr<TableCursor> all_;
  const std::string prefix_;
};

class NoCursor final : public TableCursor {
 public:
  void Seek(std::string_view /*key*/) override {}
  void Next() override {}
  bool valid() const override { return false; }
  std::string_view key() const override { return {}; }
  std::string_view value() const override { return {}; }
  Status status() const override { return {}; }
};

class RunsView final : public ReadView {
 public:
  RunsView(const GenerationId& staging, std::map<Bucket, std::shared_ptr<const SortedRuns>> runs)
      : id_("open:" + staging), runs_(std::move(runs)) {}

  const GenerationId& id() const override { return id_; }
  bool has(Bucket bucket) const override {
    return bucket == Bucket::kGrantByPrincipal || !FindBucket(static_cast<std::uint8_t>(bucket))->index;
  }
  std::unique_ptr<TableCursor> Prefix(std::string_view prefix, Reach /*reach*/) const override {
    const auto found = runs_.find(prefix.empty() ? Bucket{} : static_cast<Bucket>(prefix.front()));
    if (found == runs_.end()) return std::make_unique<NoCursor>();
    return std::make_unique<PrefixCursor>(found->second->NewCursor(), prefix, found->second);
  }
  Result<std::optional<std::string>> Get(std::string_view key) const override {
    const auto cursor = Prefix(key, Reach::kSome);
    cursor->Seek(key);
    VELLUM_TRY(cursor->status());
    if (!cursor->valid() || cursor->key() != key) return std::optional<std::string>();
    return std::optional<std::string>(cursor->value());
  }
  Result<std::uint64_t> CountPendingExpansions() const override {
    std::uint64_t pending = 0;
    const std::string grants = BucketPrefix(Bucket::kGrant);
    const auto cursor = Prefix(grants, Reach::kAll);
    for (cursor->Seek(grants); cursor->valid(); cursor->Next()) {
      VELLUM_ASSIGN_OR_RETURN(const ValueView value, ParseValue(cursor->value()));
      if (value.needs_expansion) ++pending;
    }
    VELLUM_TRY(cursor->status());
    return pending;
  }
  Result<std::shared_ptr<const StrayEntitlements>> Strays() const override {
    return std::shared_ptr<const StrayEntitlements>();
  }
  std::shared_ptr<const Generation> generation() const override { return nullptr; }

 private:
  const GenerationId id_;
  const std::map<Bucket, std::shared_ptr<const SortedRuns>> runs_;
};

}  // namespace

std::shared_ptr<const ReadView> ViewOf(std::shared_ptr<const Generation> generation) {
  return std::make_shared<GenerationView>(std::move(generation));
}

std::shared_ptr<const ReadView> ViewOfRuns(const GenerationId& staging,
                                           std::map<Bucket, std::shared_ptr<const SortedRuns>> runs) {
  return std::make_shared<RunsView>(staging, std::move(runs));
}

namespace {

Result<std::shared_ptr<const ReadView>> OpenSealed(const Store& store, const SyncEntry& entry, const GenerationId& generation) {
  auto opened = store.OpenGeneration(generation);
  if (!opened.ok()) return std::move(opened).error().WithContext("sync " + Printable(entry.run.id));
  return ViewOf(*std::move(opened));
}

Result<std::shared_ptr<const ReadView>> OpenUnsealed(const Store& store, const SyncEntry& entry) {
  if (const auto staging = store.open_syncs().Find(entry.run.id)) return staging->Snapshot(entry.staging);
  auto kept = Staging::ReadCheckpoint(store.StagingPath(entry.staging), entry.staging, store.options().files);
  if (kept.error().code() == Code::kNotFound) {
    return FailedPrecondition("sync " + Printable(entry.run.id) + " is still being written, and nothing of it was checkpointed");
  }
  if (!kept.ok()) return std::move(kept).error().WithContext("sync " + Printable(entry.run.id));
  return kept;
}

}  // namespace

Result<std::shared_ptr<const ReadView>> OpenView(const Store& store, std::string_view sync_id,
                                                 const std::optional<GenerationId>& generation) {
  VELLUM_ASSIGN_OR_RETURN(SyncEntry entry, store.Get(sync_id));
  if (generation) {
    const bool known = std::any_of(entry.history.begin(), entry.history.end(),
                                   [&](const HistoryEntry& each) { return each.generation == *generation; });
    if (!known) {
      return NotFound("generation " + Printable(*generation) + " is not in the history of sync " + Printable(sync_id));
    }
    return OpenSealed(store, entry, *generation);
  }
  if (!entry.history.empty()) return OpenSealed(store, entry, entry.generation());
  auto unsealed = OpenUnsealed(store, entry);
  if (unsealed.ok()) return unsealed;
  // Its writer may have sealed it between the two looks.
  VELLUM_ASSIGN_OR_RETURN(entry, store.Get(sync_id));
  return entry.history.empty() ? std::move(unsealed) : OpenSealed(store, entry, entry.generation());
}

Result<std::optional<std::string_view>> RecordLookup::Find(std::string_view key) {
  if (!cursor_) cursor_ = view_.Prefix(BucketPrefix(bucket_), ReadView::Reach::kSome);
  cursor_->Seek(key);
  VELLUM_TRY(cursor_->status());
  if (!cursor_->valid() || cursor_->key() != key) return std::optional<std::string_view>();
  return std::optional<std::string_view>(cursor_->value());
}

void RecordLookup::FindMany(const std::vector<std::string_view>& keys) {
  VELLUM_DCHECK(keys.size() <= kManyMax);
  copies_.clear();
  if (const auto generation = view_.generation()) {
    generation->tables().GetMany(keys, &values_);
    return;
  }
  for (const std::string_view key : keys) copies_.push_back(view_.Get(key));
}

Result<std::optional<std::string_view>> RecordLookup::found(std::size_t place) const {
  if (copies_.empty()) return values_.at(place);
  if (!copies_[place].ok()) return copies_[place].error();
  return *copies_[place] ? std::optional<std::string_view>(**copies_[place]) : std::nullopt;
}

}  // namespace vellum::sync
