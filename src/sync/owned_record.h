#pragma once

#include <string>

#include "sync/record.h"

namespace vellum::sync {

/// A record that outlives the visit that showed it: a copy of all its fields.
class OwnedRecord {
 public:
  OwnedRecord() = default;
  explicit OwnedRecord(const RecordView& record)
      : type_(record.type),
        discovered_at_(record.discovered_at),
        id_(record.id),
        type_id_(record.type_id),
        resource_id_(record.resource_id),
        entitlement_id_(record.entitlement_id),
        principal_type_id_(record.principal_type_id),
        principal_id_(record.principal_id),
        parent_type_id_(record.parent_type_id),
        parent_id_(record.parent_id),
        expansion_(record.expansion),
        needs_expansion_(record.needs_expansion),
        slim_(record.slim),
        content_type_(record.content_type),
        data_(record.data) {}

  /// Views into this.
  RecordView view() const {
    RecordView record;
    record.type = type_;
    record.discovered_at = discovered_at_;
    record.id = id_;
    record.type_id = type_id_;
    record.resource_id = resource_id_;
    record.entitlement_id = entitlement_id_;
    record.principal_type_id = principal_type_id_;
    record.principal_id = principal_id_;
    record.parent_type_id = parent_type_id_;
    record.parent_id = parent_id_;
    record.expansion = expansion_;
    record.needs_expansion = needs_expansion_;
    record.slim = slim_;
    record.content_type = content_type_;
    record.data = data_;
    return record;
  }

 private:
  RecordType type_ = RecordType::kResourceType;
  Stamp discovered_at_ = 0;
  std::string id_;
  std::string type_id_;
  std::string resource_id_;
  std::string entitlement_id_;
  std::string principal_type_id_;
  std::string principal_id_;
  std::string parent_type_id_;
  std::string parent_id_;
  std::string expansion_;
  bool needs_expansion_ = false;
  bool slim_ = false;
  std::string content_type_;
  std::string data_;
};

}  // namespace vellum::sync
