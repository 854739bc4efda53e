#include "c1z/record_json.h"

#include <cmath>
#include <nlohmann/json.hpp>

#include "base/base64.h"
#include "base/bytes.h"
#include "c1/connector/v2/connector.pb.h"
#include "c1z/record_fields.h"
#include "sync/sha256.h"
#include "sync/stamp_text.h"

namespace vellum::c1z {
namespace {

namespace v2 = c1::connector::v2;
using nlohmann::json;
using sync::RecordType;
using sync::RecordView;

void SetText(json* fields, const char* name, const std::string& text) {
  if (!text.empty()) (*fields)[name] = text;
}
void SetTruth(json* fields, const char* name, bool truth) {
  if (truth) (*fields)[name] = true;
}
void SetNumber(json* fields, const char* name, std::int64_t number) {
  if (number != 0) (*fields)[name] = number;
}

void SetAnnotations(json* fields, const google::protobuf::RepeatedPtrField<google::protobuf::Any>& annotations) {
  if (annotations.empty()) return;
  json list = json::array();
  for (const auto& each : annotations) list.push_back({{"type_url", each.type_url()}, {"value_b64", Base64Encode(each.value())}});
  (*fields)["annotations"] = std::move(list);
}

json ToJson(const google::protobuf::Struct& object);

json ToJson(const google::protobuf::Value& value) {
  switch (value.kind_case()) {
    case google::protobuf::Value::kNumberValue: {
      const double number = value.number_value();
      return IsWholeNumber(number) ? json(static_cast<std::int64_t>(number)) : json(number);
    }
    case google::protobuf::Value::kStringValue: return value.string_value();
    case google::protobuf::Value::kBoolValue: return value.bool_value();
    case google::protobuf::Value::kStructValue: return ToJson(value.struct_value());
    case google::protobuf::Value::kListValue: {
      json list = json::array();
      for (const auto& each : value.list_value().values()) list.push_back(ToJson(each));
      return list;
    }
    default: return nullptr;
  }
}

json ToJson(const google::protobuf::Struct& object) {
  json fields = json::object();
  for (const auto& [name, value] : object.fields()) fields[name] = ToJson(value);
  return fields;
}

json PairOf(const v2::ResourceId& id) { return json::array({id.resource_type(), id.resource()}); }

template <typename Message>
Status Parse(std::string_view bytes, Message* message) {
  if (message->ParseFromArray(bytes.data(), static_cast<int>(bytes.size()))) return {};
  return NotProtobuf(bytes);
}

Status ResourceTypeFields(const RecordView& record, json* fields) {
  v2::ResourceType message;
  VELLUM_TRY(Parse(record.data, &message));
  SetText(fields, "display_name", message.display_name());
  SetText(fields, "description", message.description());
  SetTruth(fields, "sourced_externally", message.sourced_externally());
  for (const int trait : message.traits()) (*fields)["traits"].push_back(trait);
  SetAnnotations(fields, message.annotations());
  return {};
}

Status ResourceFields(const RecordView& record, json* fields) {
  v2::Resource message;
  VELLUM_TRY(Parse(record.data, &message));
  SetText(fields, "display_name", message.display_name());
  SetText(fields, "description", message.description());
  if (!message.parent_resource_id().resource().empty()) (*fields)["parent"] = PairOf(message.parent_resource_id());
  SetAnnotations(fields, message.annotations());
  SetTruth(fields, "id_baton_resource", message.id().baton_resource());
  SetTruth(fields, "baton_resource", message.baton_resource());
  SetNumber(fields, "creation_source", message.creation_source());
  SetText(fields, "icon", message.icon().id());
  if (message.has_profile()) (*fields)["profile"] = ToJson(message.profile());
  if (message.has_created_at()) (*fields)["created_at"] = NanosecondsOf(message.created_at());
  if (message.has_status()) {
    json status = json::object();
    SetNumber(&status, "status", message.status().status());
    SetText(&status, "details", message.status().details());
    (*fields)["status"] = std::move(status);
  }
  if (message.has_external_id()) {
    json external = json::object();
    SetText(&external, "id", message.external_id().id());
    SetText(&external, "link", message.external_id().link());
    SetText(&external, "description", message.external_id().description());
    (*fields)["external_id"] = std::move(external);
  }
  return {};
}

Status EntitlementFields(const RecordView& record, json* fields) {
  v2::Entitlement message;
  VELLUM_TRY(Parse(record.data, &message));
  SetText(fields, "display_name", message.display_name());
  SetText(fields, "description", message.description());
  SetText(fields, "slug", message.slug());
  SetNumber(fields, "purpose", message.purpose());
  for (const auto& type : message.grantable_to()) (*fields)["grantable_to"].push_back(type.id());
  SetAnnotations(fields, message.annotations());
  return {};
}

Status GrantFields(const RecordView& record, json* fields) {
  v2::Grant message;
  VELLUM_TRY(Parse(record.data, &message));
  SetText(fields, "id", std::string(record.id));
  SetAnnotations(fields, message.annotations());
  if (!message.principal().parent_resource_id().resource().empty()) {
    (*fields)["principal_parent"] = PairOf(message.principal().parent_resource_id());
  }
  for (const auto& [id, source] : message.sources().sources()) {
    (*fields)["sources"][id] = json{{"is_direct", source.is_direct()}};
  }
  SetTruth(fields, "needs_expansion", record.needs_expansion);
  if (record.expansion.empty()) return {};
  v2::GrantExpandable expandable;
  VELLUM_TRY(Parse(record.expansion, &expandable));
  json expansion = json::object();
  for (const std::string& id : expandable.entitlement_ids()) expansion["entitlement_ids"].push_back(id);
  for (const std::string& id : expandable.resource_type_ids()) expansion["resource_type_ids"].push_back(id);
  SetTruth(&expansion, "shallow", expandable.shallow());
  (*fields)["expansion"] = std::move(expansion);
  return {};
}

}  // namespace

Status NotProtobuf(std::string_view bytes) { return InvalidArgument("the message is not protobuf: " + Printable(bytes)); }

std::int64_t NanosecondsOf(const google::protobuf::Timestamp& time) {
  std::int64_t nanos = 0;
  const bool fits = !__builtin_mul_overflow(time.seconds(), std::int64_t{1'000'000'000}, &nanos) &&
                    !__builtin_add_overflow(nanos, std::int64_t{time.nanos()}, &nanos);
  return fits ? nanos : time.seconds() < 0 ? INT64_MIN : INT64_MAX;
}

bool IsWholeNumber(double number) { return std::trunc(number) == number && std::fabs(number) < 9e15; }

std::string_view RecordTypeName(RecordType type) {
  switch (type) {
    case RecordType::kResourceType: return "resource_type";
    case RecordType::kResource: return "resource";
    case RecordType::kEntitlement: return "entitlement";
    case RecordType::kGrant: return "grant";
    case RecordType::kAsset: return "asset";
  }
  return "unknown";
}

json RecordId(const RecordView& record) {
  switch (record.type) {
    case RecordType::kResourceType:
    case RecordType::kAsset: return json::array({record.id});
    case RecordType::kResource: return json::array({record.type_id, record.id});
    case RecordType::kEntitlement: return json::array({record.type_id, record.resource_id, record.id});
    case RecordType::kGrant:
      return json::array({record.type_id, record.resource_id, record.entitlement_id, record.principal_type_id,
                          record.principal_id, record.id});
  }
  return json::array();
}

Result<json> RecordFields(const RecordView& record) {
  json fields = json::object();
  switch (record.type) {
    case RecordType::kResourceType: VELLUM_TRY(ResourceTypeFields(record, &fields)); break;
    case RecordType::kResource: VELLUM_TRY(ResourceFields(record, &fields)); break;
    case RecordType::kEntitlement: VELLUM_TRY(EntitlementFields(record, &fields)); break;
    case RecordType::kGrant: VELLUM_TRY(GrantFields(record, &fields)); break;
    case RecordType::kAsset:
      SetText(&fields, "content_type", std::string(record.content_type));
      SetNumber(&fields, "size", static_cast<std::int64_t>(record.data.size()));
      fields["sha256"] = sync::Sha256Hex(record.data);
      break;
  }
  return fields;
}

Result<json> RecordObject(const RecordView& record) {
  VELLUM_ASSIGN_OR_RETURN(json object, RecordFields(record));
  object["id"] = record.id;
  if (record.type == RecordType::kResource) object["type"] = record.type_id;
  if (record.type == RecordType::kEntitlement || record.type == RecordType::kGrant) {
    object["resource"] = {{"type", record.type_id}, {"id", record.resource_id}};
  }
  if (record.type == RecordType::kGrant) {
    object["entitlement"] = record.entitlement_id;
    object["principal"] = {{"type", record.principal_type_id}, {"id", record.principal_id}};
  }
  if (record.discovered_at != 0) object["discovered_at"] = sync::FormatRfc3339(record.discovered_at);
  return object;
}

}  // namespace vellum::c1z
