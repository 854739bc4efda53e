#pragma once

#include <string>
#include <vector>

#include "sync/record.h"

namespace vellum::sync {

/// For tests: a record that owns its fields, which can be set and compared one by one.
struct TestRecord {
  RecordType type = RecordType::kGrant;
  Stamp stamp = 0;
  std::string id, type_id, resource_id, entitlement_id, principal_type, principal_id;
  std::string parent_type, parent_id;
  std::string expansion;
  bool needs_expansion = false;
  bool slim = false;
  std::string content_type;
  std::string data;

  RecordView view() const {
    RecordView record;
    record.type = type;
    record.discovered_at = stamp;
    record.id = id;
    record.type_id = type_id;
    record.resource_id = resource_id;
    record.entitlement_id = entitlement_id;
    record.principal_type_id = principal_type;
    record.principal_id = principal_id;
    record.expansion = expansion;
    record.needs_expansion = needs_expansion;
    record.slim = slim;
    record.content_type = content_type;
    record.data = data;
    return record;
  }
  /// The parts that make two records the same one, the type first.
  std::vector<std::string> Identity() const {
    std::vector<std::string> parts = {std::to_string(static_cast<int>(type)), type_id, resource_id};
    if (type == RecordType::kGrant) {
      parts.insert(parts.end(), {entitlement_id, principal_type, principal_id});
    } else {
      parts.push_back(id);
    }
    return parts;
  }
  /// All that a question shows of it.
  std::vector<std::string> Shown() const {
    std::vector<std::string> parts = Identity();
    const std::string own = id.empty() ? entitlement_id + ":" + principal_type + ":" + principal_id : id;
    parts.insert(parts.end(), {own, std::to_string(stamp), parent_type, parent_id, expansion,
                               needs_expansion ? "pending" : "", content_type, data});
    return parts;
  }
};

inline TestRecord TestRecordOf(const RecordView& view) {
  TestRecord record;
  record.type = view.type;
  record.stamp = view.discovered_at;
  record.id = view.id;
  record.type_id = view.type_id;
  record.resource_id = view.resource_id;
  record.entitlement_id = view.entitlement_id;
  record.principal_type = view.principal_type_id;
  record.principal_id = view.principal_id;
  record.parent_type = view.parent_type_id;
  record.parent_id = view.parent_id;
  record.expansion = view.expansion;
  record.needs_expansion = view.needs_expansion;
  record.slim = view.slim;
  record.content_type = view.content_type;
  record.data = view.data;
  return record;
}

}  // namespace vellum::sync
