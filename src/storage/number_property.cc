#include "storage/number_property.h"

#include <algorithm>
#include <utility>

#include "base/bytes.h"

namespace vellum::storage {
namespace {

// Empty: no record counted. Else eight bytes, big-endian.
constexpr char kProperty[] = "vellum.min_number";

class NumberCollector final : public rocksdb::TablePropertiesCollector {
 public:
  explicit NumberCollector(const RecordNumber& number) : number_(number) {}

  rocksdb::Status AddUserKey(const rocksdb::Slice& key, const rocksdb::Slice& value, rocksdb::EntryType type,
                             rocksdb::SequenceNumber, std::uint64_t) override {
    if (type != rocksdb::kEntryPut) return rocksdb::Status::OK();
    const auto number = number_({key.data(), key.size()}, {value.data(), value.size()});
    if (number.has_value()) least_ = std::min(least_.value_or(*number), *number);
    return rocksdb::Status::OK();
  }
  rocksdb::Status Finish(rocksdb::UserCollectedProperties* properties) override {
    std::string text;
    if (least_.has_value()) AppendBe64(&text, *least_);
    properties->insert({kProperty, std::move(text)});
    return rocksdb::Status::OK();
  }
  rocksdb::UserCollectedProperties GetReadableProperties() const override {
    return {{kProperty, least_.has_value() ? std::to_string(*least_) : "none"}};
  }
  const char* Name() const override { return "vellum.NumberCollector"; }

 private:
  const RecordNumber number_;  // a copy: the collector may outlive its factory
  std::optional<std::uint64_t> least_;
};

class NumberCollectorFactory final : public rocksdb::TablePropertiesCollectorFactory {
 public:
  explicit NumberCollectorFactory(RecordNumber number) : number_(std::move(number)) {}
  rocksdb::TablePropertiesCollector* CreateTablePropertiesCollector(Context) override {
    return new NumberCollector(number_);
  }
  const char* Name() const override { return "vellum.NumberCollectorFactory"; }

 private:
  const RecordNumber number_;
};

}  // namespace

std::shared_ptr<rocksdb::TablePropertiesCollectorFactory> MakeNumberCollectorFactory(RecordNumber number) {
  return std::make_shared<NumberCollectorFactory>(std::move(number));
}

std::optional<std::uint64_t> ReadMinNumber(const rocksdb::UserCollectedProperties& properties) {
  const auto found = properties.find(kProperty);
  if (found == properties.end()) return 0;
  if (found->second.empty()) return std::nullopt;
  ByteReader reader(found->second);
  const auto number = reader.ReadBe64();
  return number.has_value() && reader.empty() ? number : 0;
}

}  // namespace vellum::storage
