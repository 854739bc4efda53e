// The small handles of database.h: batches, iterators, pinned values.
#include <rocksdb/comparator.h>

#include <utility>

#include "base/check.h"
#include "storage/core.h"

namespace vellum::storage {
namespace {

rocksdb::Slice ToSlice(std::string_view bytes) { return {bytes.data(), bytes.size()}; }
std::string_view ToView(const rocksdb::Slice& slice) { return {slice.data(), slice.size()}; }

/// Names a column family by its number alone, so that a Batch needs no database. Core::Open checks that the numbers
/// are the positions in DatabaseOptions::families.
class FamilyNumber final : public rocksdb::ColumnFamilyHandle {
 public:
  explicit FamilyNumber(Family family) : id_(static_cast<std::uint32_t>(family)) {}
  const std::string& GetName() const override { return name_; }
  std::uint32_t GetID() const override { return id_; }
  rocksdb::Status GetDescriptor(rocksdb::ColumnFamilyDescriptor*) override { return rocksdb::Status::NotSupported(); }
  const rocksdb::Comparator* GetComparator() const override { return rocksdb::BytewiseComparator(); }

 private:
  const std::uint32_t id_;
  const std::string name_;
};

}  // namespace

PinnedValue::PinnedValue() = default;
PinnedValue::~PinnedValue() = default;
PinnedValue::PinnedValue(PinnedValue&&) noexcept = default;
PinnedValue& PinnedValue::operator=(PinnedValue&&) noexcept = default;
std::string_view PinnedValue::view() const {
  return impl_ == nullptr ? std::string_view() : ToView(impl_->slice);
}

Batch::Batch() : impl_(std::make_unique<Impl>()) {}
Batch::~Batch() = default;
Batch::Batch(Batch&&) noexcept = default;
Batch& Batch::operator=(Batch&&) noexcept = default;

void Batch::Put(Family family, std::string_view key, std::string_view value) {
  FamilyNumber number(family);
  rocksdb::Status status = impl_->batch.Put(&number, ToSlice(key), ToSlice(value));
  if (!status.ok() && impl_->status.ok()) impl_->status = std::move(status);
}

void Batch::Delete(Family family, std::string_view key) {
  FamilyNumber number(family);
  rocksdb::Status status = impl_->batch.Delete(&number, ToSlice(key));
  if (!status.ok() && impl_->status.ok()) impl_->status = std::move(status);
}

void Batch::DeleteRange(Family family, std::string_view begin, std::string_view end) {
  FamilyNumber number(family);
  rocksdb::Status status = impl_->batch.DeleteRange(&number, ToSlice(begin), ToSlice(end));
  if (!status.ok() && impl_->status.ok()) impl_->status = std::move(status);
}

void Batch::Clear() {
  impl_->batch.Clear();
  impl_->status = rocksdb::Status::OK();
}

std::size_t Batch::bytes() const { return impl_->batch.GetDataSize(); }
std::size_t Batch::count() const { return impl_->batch.Count(); }

Iterator::Iterator(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
Iterator::Iterator(Iterator&&) noexcept = default;
Iterator& Iterator::operator=(Iterator&&) noexcept = default;
Iterator::~Iterator() = default;

void Iterator::SeekToFirst() { impl_->iterator->SeekToFirst(); }
void Iterator::SeekToLast() { impl_->iterator->SeekToLast(); }
void Iterator::Seek(std::string_view key) { impl_->iterator->Seek(ToSlice(key)); }
void Iterator::SeekForPrev(std::string_view key) { impl_->iterator->SeekForPrev(ToSlice(key)); }
void Iterator::Next() {
  VELLUM_DCHECK(valid());
  impl_->iterator->Next();
}
void Iterator::Prev() {
  VELLUM_DCHECK(valid());
  impl_->iterator->Prev();
}
bool Iterator::valid() const { return impl_->iterator->Valid(); }
std::string_view Iterator::key() const { return ToView(impl_->iterator->key()); }
std::string_view Iterator::value() const { return ToView(impl_->iterator->value()); }
Status Iterator::status() const { return impl_->core->ReadOutcome(impl_->iterator->status()); }

}  // namespace vellum::storage
