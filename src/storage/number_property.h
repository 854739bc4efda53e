#pragma once

#include <rocksdb/table_properties.h>

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

namespace vellum::storage {

using RecordNumber = std::function<std::optional<std::uint64_t>(std::string_view key, std::string_view value)>;

/// Computes FamilyOptions::number for every record that goes into a table file and stores the minimum in it.
std::shared_ptr<rocksdb::TablePropertiesCollectorFactory> MakeNumberCollectorFactory(RecordNumber number);

/// What is stored in a table file: nullopt when none of its records counted, 0 ("cannot be skipped") when the file
/// does not say or says nonsense.
std::optional<std::uint64_t> ReadMinNumber(const rocksdb::UserCollectedProperties& properties);

}  // namespace vellum::storage
