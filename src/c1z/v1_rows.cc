#include "c1z/v1_rows.h"

#include <google/protobuf/any.pb.h>

#include <algorithm>

#include "c1/connector/v2/connector.pb.h"
#include "c1z/v1_reader.h"
#include "c1z/wire_reader.h"
#include "sync/codec.h"

namespace vellum::c1z {
namespace {

using sync::RecordType;
using sync::RecordView;

bool IsBlank(std::string_view text) {
  return std::all_of(text.begin(), text.end(), [](char c) { return c == ' ' || (c >= '\t' && c <= '\r'); });
}

/// c1.connector.v2.ResourceId. A message field that occurs twice is merged: later parts win, here and below.
bool ReadResourceId(std::string_view message, std::string_view* type_id, std::string_view* id) {
  WireReader reader(message);
  for (WireField field; reader.Next(&field);) {
    if (field.Holds(1)) *type_id = field.bytes;
    if (field.Holds(2)) *id = field.bytes;
  }
  return !reader.damaged();
}

/// The id of a c1.connector.v2.Resource.
bool ReadIdOfResource(std::string_view message, std::string_view* type_id, std::string_view* id) {
  WireReader reader(message);
  for (WireField field; reader.Next(&field);) {
    if (field.Holds(1) && !ReadResourceId(field.bytes, type_id, id)) return false;
  }
  return !reader.damaged();
}

/// Entitlement: its resource's id and its own.
bool ReadEntitlement(std::string_view message, std::string_view* type_id, std::string_view* resource_id,
                     std::string_view* id) {
  WireReader reader(message);
  for (WireField field; reader.Next(&field);) {
    if (field.Holds(1) && !ReadIdOfResource(field.bytes, type_id, resource_id)) return false;
    if (field.Holds(2)) *id = field.bytes;
  }
  return !reader.damaged();
}

bool ReadResource(std::string_view message, MessageIdentity* identity) {
  WireReader reader(message);
  for (WireField field; reader.Next(&field);) {
    if (field.Holds(1) && !ReadResourceId(field.bytes, &identity->type_id, &identity->id)) return false;
    if (field.Holds(2) && !ReadResourceId(field.bytes, &identity->parent_type_id, &identity->parent_id)) return false;
  }
  return !reader.damaged();
}

bool ReadGrant(std::string_view message, MessageIdentity* identity) {
  WireReader reader(message);
  for (WireField field; reader.Next(&field);) {
    if (field.Holds(1)) {
      identity->has_bodies = true;
      if (!ReadEntitlement(field.bytes, &identity->type_id, &identity->resource_id, &identity->entitlement_id)) {
        return false;
      }
    }
    if (field.Holds(2)) {
      identity->has_bodies = true;
      if (!ReadIdOfResource(field.bytes, &identity->principal_type_id, &identity->principal_id)) return false;
    }
    if (field.Holds(3)) identity->id = field.bytes;
  }
  return !reader.damaged();
}

bool ReadResourceType(std::string_view message, MessageIdentity* identity) {
  WireReader reader(message);
  for (WireField field; reader.Next(&field);) {
    if (field.Holds(1)) identity->id = field.bytes;
  }
  return !reader.damaged();
}

/// Whether the message names a part and the column names another.
bool Differs(std::string_view in_message, std::string_view in_column) {
  return !in_message.empty() && in_message != in_column;
}

Status NotAMessage() { return InvalidArgument("the message is not protobuf"); }

}  // namespace

const std::vector<TableSpec>& RecordTables() {
  static const std::vector<TableSpec> tables = {
      {RecordType::kResourceType, "v1_resource_types", {"external_id", "data", "sync_id", "discovered_at"}},
      {RecordType::kResource, "v1_resources", {"resource_type_id", "external_id", "data", "sync_id", "discovered_at"}},
      {RecordType::kEntitlement,
       "v1_entitlements",
       {"resource_type_id", "resource_id", "external_id", "data", "sync_id", "discovered_at"}},
      {RecordType::kGrant,
       "v1_grants",
       {"resource_type_id", "resource_id", "entitlement_id", "principal_resource_type_id", "principal_resource_id",
        "external_id", "data", "sync_id", "discovered_at"}},
      {RecordType::kAsset, "v1_assets", {"external_id", "content_type", "data", "sync_id", "discovered_at"}},
  };
  return tables;
}

const TableSpec& TableOf(RecordType type) { return RecordTables()[static_cast<std::size_t>(type)]; }

std::optional<MessageIdentity> ReadMessageIdentity(RecordType type, std::string_view message) {
  MessageIdentity identity;
  bool valid = true;
  switch (type) {
    case RecordType::kResourceType: valid = ReadResourceType(message, &identity); break;
    case RecordType::kResource: valid = ReadResource(message, &identity); break;
    case RecordType::kEntitlement:
      valid = ReadEntitlement(message, &identity.type_id, &identity.resource_id, &identity.id);
      break;
    case RecordType::kGrant: valid = ReadGrant(message, &identity); break;
    case RecordType::kAsset: break;
  }
  return valid ? std::optional(identity) : std::nullopt;
}

std::optional<Expansion> ExtractExpansion(std::string_view grant_message) {
  Expansion result;
  WireReader reader(grant_message);
  for (WireField field; reader.Next(&field);) {
    google::protobuf::Any annotation;
    if (!field.Holds(4) || field.bytes.find(kExpandable) == std::string_view::npos ||
        !annotation.ParseFromArray(field.bytes.data(), static_cast<int>(field.bytes.size())) ||
        !std::string_view(annotation.type_url()).ends_with(kExpandable)) {
      result.message.append(field.whole);
      continue;
    }
    c1::connector::v2::GrantExpandable expandable;
    if (!expandable.ParseFromString(annotation.value())) return std::nullopt;
    const bool any = std::any_of(expandable.entitlement_ids().begin(), expandable.entitlement_ids().end(),
                                 [](const std::string& id) { return !IsBlank(id); });
    if (any) result.expansion = annotation.value();
  }
  return !reader.damaged() ? std::optional(std::move(result)) : std::nullopt;
}

namespace {

/// The columns of a row, in this order.
enum Column {
  kData = RowDecoder::kFirst,
  kStamp,
  kExternalId,
  kTypeId,
  kResourceId,
  kEntitlementId,
  kPrincipalType,
  kPrincipalId,
  kExpansion,
  kNeedsExpansion,
  kContentType,
  kParentType,
  kParentId
};

}  // namespace

std::string RowDecoder::Columns(RecordType type, const std::function<bool(const char*)>& has) {
  const bool grant = type == RecordType::kGrant;
  const bool resource = type == RecordType::kResource;
  const bool has_resource = type == RecordType::kEntitlement || grant;
  const auto column = [](bool there, const char* name) { return std::string(", ") + (there ? name : "NULL"); };
  return "data, discovered_at, external_id" + column(resource || has_resource, "resource_type_id") +
         column(has_resource, "resource_id") + column(grant, "entitlement_id") +
         column(grant, "principal_resource_type_id") + column(grant, "principal_resource_id") +
         column(grant && has("expansion"), "expansion") + column(grant && has("needs_expansion"), "needs_expansion") +
         column(type == RecordType::kAsset, "content_type") +
         column(resource && has("parent_resource_type_id"), "parent_resource_type_id") +
         column(resource && has("parent_resource_id"), "parent_resource_id");
}

Status RowDecoder::FillIdentity(const MessageIdentity& message, RecordView* record) {
  if (type_ == RecordType::kEntitlement && !message.type_id.empty() && !message.resource_id.empty()) {
    // A second put of one id updates the message and leaves the columns as they were, so the message knows better.
    record->type_id = message.type_id;
    record->resource_id = message.resource_id;
  }
  if (type_ != RecordType::kResource) return {};
  // The column holds "type:id". A file that has it otherwise still says the id in the message.
  const std::string_view type_id = record->type_id;
  if (record->id.size() > type_id.size() && record->id.starts_with(type_id) && record->id[type_id.size()] == ':') {
    record->id.remove_prefix(type_id.size() + 1);
  } else {
    record->id = message.id;
  }
  record->parent_type_id = message.parent_type_id;
  record->parent_id = message.parent_id;
  return {};
}

Status RowDecoder::MoveExpansion(RecordView* record, ReadReport* report) {
  if (!record->expansion.empty() || record->data.find(kExpandable) == std::string_view::npos) return {};
  moved_ = ExtractExpansion(record->data);
  if (!moved_) return NotAMessage();
  record->data = moved_->message;
  record->expansion = moved_->expansion;
  if (!moved_->expansion.empty()) ++report->expansions_moved;
  return {};
}

void RowDecoder::CountDisagreements(const Statement& row, const MessageIdentity& message, const RecordView& record,
                                    ReadReport* report) const {
  const auto differ = [&](const char* part) { ++report->disagreeing[std::string(TableOf(type_).name) + ": " + part]; };
  if (Differs(message.id, record.id)) return differ("id");
  switch (type_) {
    case RecordType::kResourceType:
    case RecordType::kAsset: return;
    case RecordType::kResource:
      if (Differs(message.type_id, record.type_id)) return differ("type");
      if (!row.IsNull(kParentId) &&
          (message.parent_type_id != row.Bytes(kParentType) || message.parent_id != row.Bytes(kParentId))) {
        differ("parent");
      }
      return;
    case RecordType::kEntitlement:
      if (Differs(message.type_id, row.Bytes(kTypeId)) || Differs(message.resource_id, row.Bytes(kResourceId))) {
        differ("resource");
      }
      return;
    case RecordType::kGrant:
      if (Differs(message.type_id, record.type_id) || Differs(message.resource_id, record.resource_id) ||
          Differs(message.entitlement_id, record.entitlement_id)) {
        return differ("entitlement");
      }
      if (Differs(message.principal_type_id, record.principal_type_id) ||
          Differs(message.principal_id, record.principal_id)) {
        differ("principal");
      }
  }
}

Status RowDecoder::Decode(const Statement& row, RecordView* record, ReadReport* report) {
  for (const int column :
       {kExternalId, kTypeId, kResourceId, kEntitlementId, kPrincipalType, kPrincipalId, kExpansion, kContentType}) {
    if (row.IsNumber(column)) return InvalidArgument("a number where text belongs");
  }
  if (row.IsNull(kData) || row.IsNumber(kData)) return InvalidArgument("no message");
  *record = RecordView{};
  record->type = type_;
  record->data = row.Bytes(kData);
  record->expansion = row.Bytes(kExpansion);
  record->needs_expansion = row.Int(kNeedsExpansion) != 0;
  record->content_type = row.Bytes(kContentType);
  record->id = row.Bytes(kExternalId);
  record->type_id = row.Bytes(kTypeId);
  record->resource_id = row.Bytes(kResourceId);
  record->entitlement_id = row.Bytes(kEntitlementId);
  record->principal_type_id = row.Bytes(kPrincipalType);
  record->principal_id = row.Bytes(kPrincipalId);
  const auto stamp = zone_->ToStamp(row.Bytes(kStamp));
  if (!stamp) ++report->unstamped;
  record->discovered_at = stamp.value_or(0);
  const auto message = ReadMessageIdentity(type_, record->data);
  if (!message) return NotAMessage();
  VELLUM_TRY(FillIdentity(*message, record));
  VELLUM_TRY(sync::CheckRecord(*record));
  CountDisagreements(row, *message, *record, report);
  if (type_ == RecordType::kGrant) {
    record->slim = !message->has_bodies;
    VELLUM_TRY(MoveExpansion(record, report));
  }
  return check_.Passes(*record) ? Status() : NotAMessage();
}

}  // namespace vellum::c1z
