#include "sync/embedded_view.h"

#include <optional>

#include "base/bytes.h"
#include "sync/codec.h"
#include "sync/operations.h"

namespace vellum::sync {
namespace {

class CursorSource final : public RecordSource {
 public:
  explicit CursorSource(std::unique_ptr<storage::TableCursor> cursor) : cursor_(std::move(cursor)) {}

  Result<bool> Next(RecordView* record) override {
    if (started_ && cursor_->valid()) cursor_->Next();
    started_ = true;
    if (!cursor_->valid()) {
      VELLUM_TRY(cursor_->status());
      return false;
    }
    VELLUM_ASSIGN_OR_RETURN(stored_, StoredRecord::Parse(cursor_->key(), cursor_->value()));
    *record = stored_->view();
    return true;
  }

 private:
  const std::unique_ptr<storage::TableCursor> cursor_;
  std::optional<StoredRecord> stored_;
  bool started_ = false;
};

class IndexedSource final : public RecordSource {
 public:
  IndexedSource(std::shared_ptr<const Generation> generation, std::unique_ptr<storage::TableCursor> entries)
      : generation_(std::move(generation)), entries_(std::move(entries)) {}

  Result<bool> Next(RecordView* record) override {
    if (!entries_->valid()) {
      VELLUM_TRY(entries_->status());
      return false;
    }
    VELLUM_ASSIGN_OR_RETURN(const std::string key, IndexedRecordKey(entries_->key()));
    VELLUM_ASSIGN_OR_RETURN(auto value, generation_->tables().Get(key));
    if (!value) return DataLoss("an index leads to a record that is not there: " + Printable(entries_->key()));
    value_ = *std::move(value);
    VELLUM_ASSIGN_OR_RETURN(stored_, StoredRecord::Parse(key, value_));
    *record = stored_->view();
    entries_->Next();
    return true;
  }

 private:
  const std::shared_ptr<const Generation> generation_;
  const std::unique_ptr<storage::TableCursor> entries_;
  std::string value_;
  std::optional<StoredRecord> stored_;
};

class View final : public SyncView {
 public:
  explicit View(std::shared_ptr<const Generation> generation) : generation_(std::move(generation)) {}

  const std::string& generation() const override { return generation_->info().id; }
  std::string digest() const override { return generation_->info().Digest().ToHex(); }
  std::uint64_t records(RecordType type) const override { return generation_->info().records(type); }

  std::unique_ptr<RecordSource> Records(RecordType type) const override {
    return SourceOf(generation_->Scan(RecordBucket(type)));
  }
  std::unique_ptr<RecordSource> GrantsOfEntitlement(std::string_view type_id, std::string_view resource_id,
                                                    std::string_view entitlement_id) const override {
    return SourceOf(generation_->ScanPrefix(GrantsOfEntitlementPrefix(type_id, resource_id, entitlement_id)));
  }
  std::unique_ptr<RecordSource> GrantsOfResource(std::string_view type_id, std::string_view resource_id) const override {
    return SourceOf(generation_->ScanPrefix(GrantsOfResourcePrefix(type_id, resource_id)));
  }
  std::unique_ptr<RecordSource> GrantsOfPrincipal(std::string_view type_id, std::string_view id) const override {
    return Indexed(GrantsOfPrincipalPrefix(type_id, id));
  }
  std::unique_ptr<RecordSource> GrantsNeedingExpansion() const override {
    return Indexed(BucketPrefix(Bucket::kGrantNeedingExpansion));
  }
  std::unique_ptr<RecordSource> Children(std::string_view type_id, std::string_view id) const override {
    return Indexed(ChildrenPrefix(type_id, id));
  }

  Result<std::vector<std::string>> Verify(const std::string& scratch_dir, const SyncWork& work) const override {
    VELLUM_ASSIGN_OR_RETURN(VerifyReport report, VerifyGeneration(*generation_, scratch_dir, work));
    return std::move(report.problems);
  }

 private:
  std::unique_ptr<RecordSource> Indexed(std::string_view prefix) const {
    return IndexedSourceOf(generation_, generation_->ScanPrefix(prefix));
  }

  const std::shared_ptr<const Generation> generation_;
};

}  // namespace

std::shared_ptr<const SyncView> NewView(std::shared_ptr<const Generation> generation) {
  return std::make_shared<View>(std::move(generation));
}

std::unique_ptr<RecordSource> SourceOf(std::unique_ptr<storage::TableCursor> records) {
  return std::make_unique<CursorSource>(std::move(records));
}

std::unique_ptr<RecordSource> IndexedSourceOf(std::shared_ptr<const Generation> generation,
                                              std::unique_ptr<storage::TableCursor> entries) {
  return std::make_unique<IndexedSource>(std::move(generation), std::move(entries));
}

}  // namespace vellum::sync
