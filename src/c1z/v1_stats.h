#pragma once

#include <array>
#include <cstdint>
#include <map>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>

#include "sync/record.h"

namespace vellum::c1z {

/// What the file's own tool caches per sync, so that it need not count.
struct V1Stats {
  std::array<std::uint64_t, sync::kRecordTypes> records{};
  std::map<std::string, std::uint64_t, std::less<>> resources;
  std::map<std::string, std::uint64_t, std::less<>> entitlements;
  std::map<std::string, std::uint64_t, std::less<>> grants;

  void Count(const sync::RecordView& record) {
    ++records[static_cast<std::size_t>(record.type)];
    if (record.type == sync::RecordType::kResource) Bump(&resources, record.type_id);
    if (record.type == sync::RecordType::kEntitlement) Bump(&entitlements, record.type_id);
    if (record.type == sync::RecordType::kGrant) Bump(&grants, record.type_id);
    if (record.type == sync::RecordType::kResourceType) resources.try_emplace(std::string(record.id), 0);
  }
  static void Bump(std::map<std::string, std::uint64_t, std::less<>>* counts, std::string_view name) {
    const auto found = counts->find(name);
    if (found != counts->end()) {
      ++found->second;
    } else {
      counts->emplace(std::string(name), 1);
    }
  }
  std::string ToJson() const {
    const auto of = [this](sync::RecordType type) { return records[static_cast<std::size_t>(type)]; };
    const nlohmann::json json = {{"resource_types", of(sync::RecordType::kResourceType)},
                                 {"resources", of(sync::RecordType::kResource)},
                                 {"entitlements", of(sync::RecordType::kEntitlement)},
                                 {"grants", of(sync::RecordType::kGrant)},
                                 {"assets", of(sync::RecordType::kAsset)},
                                 {"resources_by_resource_type", resources},
                                 {"grants_by_resource_type", grants},
                                 {"entitlements_by_resource_type", entitlements}};
    return json.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
  }
};

}  // namespace vellum::c1z
