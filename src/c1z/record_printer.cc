#include <google/protobuf/arena.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>
#include <nlohmann/json.hpp>

#include "base/base64.h"
#include "base/bytes.h"
#include "c1/connector/v2/connector.pb.h"
#include "c1z/record_fields.h"
#include "c1z/record_json.h"
#include "sync/sha256.h"
#include "sync/stamp_text.h"

namespace vellum::c1z {
namespace {

namespace v2 = c1::connector::v2;
using nlohmann::json;
using sync::RecordType;
using sync::RecordView;

/// What a byte of text needs: kPlain nothing, kEscape an escape, kHigh a look at the UTF-8 that it begins or goes on with.
enum ByteKind : std::uint8_t { kPlain, kEscape, kHigh };
constexpr std::array<ByteKind, 256> MakeKinds() {
  std::array<ByteKind, 256> kinds{};
  for (std::size_t i = 0; i < 256; ++i) kinds[i] = i >= 0x80 ? kHigh : i < 0x20 || i == '"' || i == '\\' ? kEscape : kPlain;
  return kinds;
}
constexpr std::array<ByteKind, 256> kKinds = MakeKinds();

void AppendEscape(char c, std::string* out) {
  static constexpr char kHex[] = "0123456789abcdef";
  switch (c) {
    case '"': out->append("\\\""); break;
    case '\\': out->append("\\\\"); break;
    case '\b': out->append("\\b"); break;
    case '\t': out->append("\\t"); break;
    case '\n': out->append("\\n"); break;
    case '\f': out->append("\\f"); break;
    case '\r': out->append("\\r"); break;
    default: {
      const auto byte = static_cast<unsigned char>(c);
      const char escape[6] = {'\\', 'u', '0', '0', kHex[byte >> 4], kHex[byte & 15]};
      out->append(escape, sizeof escape);
    }
  }
}

/// Text that is UTF-8, as whoever decoded it has checked.
void AppendUtf8(std::string_view text, std::string* out) {
  out->push_back('"');
  std::size_t done = 0;
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (kKinds[static_cast<unsigned char>(text[i])] != kEscape) continue;
    out->append(text, done, i - done);
    AppendEscape(text[i], out);
    done = i + 1;
  }
  out->append(text, done);
  out->push_back('"');
}

/// Text from a column: anything. What is not plain ASCII goes the way of the library, which replaces what is no UTF-8.
void AppendText(std::string_view text, std::string* out) {
  const bool ascii = std::none_of(text.begin(), text.end(), [](char c) { return static_cast<signed char>(c) < 0; });
  if (ascii) return AppendUtf8(text, out);
  out->append(json(text).dump(-1, ' ', false, json::error_handler_t::replace));
}

template <typename Number>
void AppendNumber(Number number, std::string* out) {
  std::array<char, 24> text{};
  const auto end = std::to_chars(text.data(), text.data() + text.size(), number);
  out->append(text.data(), end.ptr);
}

/// An object that is being printed: names in the order in which they are given, which is the callers' to keep.
class Object {
 public:
  explicit Object(std::string* out) : out_(out) { out_->push_back('{'); }
  /// Names are ours: plain.
  std::string* Name(std::string_view name) {
    if (any_) out_->push_back(',');
    any_ = true;
    out_->push_back('"');
    out_->append(name);
    out_->append("\":");
    return out_;
  }
  /// A name from a message.
  std::string* ForeignName(std::string_view name) {
    if (any_) out_->push_back(',');
    any_ = true;
    AppendUtf8(name, out_);
    out_->push_back(':');
    return out_;
  }
  /// Left out if empty. UTF-8.
  void Text(std::string_view name, std::string_view text) {
    if (!text.empty()) AppendUtf8(text, Name(name));
  }
  void Column(std::string_view name, std::string_view text) { AppendText(text, Name(name)); }
  void Truth(std::string_view name, bool truth) {
    if (truth) Name(name)->append("true");
  }
  void Number(std::string_view name, std::int64_t number) {
    if (number != 0) AppendNumber(number, Name(name));
  }
  void End() { out_->push_back('}'); }

 private:
  std::string* const out_;
  bool any_ = false;
};

template <typename List, typename AppendOne>
void AppendList(const List& list, std::string* out, const AppendOne& append_one) {
  out->push_back('[');
  bool any = false;
  for (const auto& each : list) {
    if (any) out->push_back(',');
    any = true;
    append_one(each);
  }
  out->push_back(']');
}

void AppendAnnotations(const google::protobuf::RepeatedPtrField<google::protobuf::Any>& annotations, Object* object) {
  if (annotations.empty()) return;
  std::string* const out = object->Name("annotations");
  AppendList(annotations, out, [out](const google::protobuf::Any& each) {
    Object one(out);
    AppendUtf8(each.type_url(), one.Name("type_url"));
    std::string* const value = one.Name("value_b64");
    value->push_back('"');
    value->append(Base64Encode(each.value()));
    value->push_back('"');
    one.End();
  });
}

/// The entries of a map in the order of their keys.
template <typename Map>
std::vector<const typename Map::value_type*> Sorted(const Map& map) {
  std::vector<const typename Map::value_type*> entries;
  entries.reserve(map.size());
  for (const auto& entry : map) entries.push_back(&entry);
  std::sort(entries.begin(), entries.end(), [](const auto* a, const auto* b) { return a->first < b->first; });
  return entries;
}

void AppendStruct(const google::protobuf::Struct& object, std::string* out);

void AppendValue(const google::protobuf::Value& value, std::string* out) {
  switch (value.kind_case()) {
    case google::protobuf::Value::kNumberValue: {
      const double number = value.number_value();
      if (IsWholeNumber(number)) return AppendNumber(static_cast<std::int64_t>(number), out);
      out->append(json(number).dump());
      return;
    }
    case google::protobuf::Value::kStringValue: return AppendUtf8(value.string_value(), out);
    case google::protobuf::Value::kBoolValue: out->append(value.bool_value() ? "true" : "false"); return;
    case google::protobuf::Value::kStructValue: return AppendStruct(value.struct_value(), out);
    case google::protobuf::Value::kListValue:
      return AppendList(value.list_value().values(), out, [out](const auto& each) { AppendValue(each, out); });
    default: out->append("null");
  }
}

void AppendStruct(const google::protobuf::Struct& object, std::string* out) {
  Object printed(out);
  for (const auto* entry : Sorted(object.fields())) AppendValue(entry->second, printed.ForeignName(entry->first));
  printed.End();
}

void AppendPair(const v2::ResourceId& id, std::string* out) {
  out->push_back('[');
  AppendUtf8(id.resource_type(), out);
  out->push_back(',');
  AppendUtf8(id.resource(), out);
  out->push_back(']');
}

/// {"id":…,"type":…} of columns.
void AppendReference(std::string_view type, std::string_view id, std::string* out) {
  Object reference(out);
  reference.Column("id", id);
  reference.Column("type", type);
  reference.End();
}

void AppendStamp(sync::Stamp stamp, Object* object) {
  if (stamp == 0) return;
  std::string* const out = object->Name("discovered_at");
  out->push_back('"');
  out->append(sync::FormatRfc3339(stamp));
  out->push_back('"');
}

void Print(const v2::ResourceType& message, const RecordView& record, Object* object) {
  AppendAnnotations(message.annotations(), object);
  object->Text("description", message.description());
  AppendStamp(record.discovered_at, object);
  object->Text("display_name", message.display_name());
  object->Column("id", record.id);
  object->Truth("sourced_externally", message.sourced_externally());
  if (message.traits().empty()) return;
  std::string* const out = object->Name("traits");
  AppendList(message.traits(), out, [out](int trait) { AppendNumber(trait, out); });
}

void Print(const v2::Resource& message, const RecordView& record, Object* object) {
  AppendAnnotations(message.annotations(), object);
  object->Truth("baton_resource", message.baton_resource());
  if (message.has_created_at()) AppendNumber(NanosecondsOf(message.created_at()), object->Name("created_at"));
  object->Number("creation_source", message.creation_source());
  object->Text("description", message.description());
  AppendStamp(record.discovered_at, object);
  object->Text("display_name", message.display_name());
  if (message.has_external_id()) {
    Object external(object->Name("external_id"));
    external.Text("description", message.external_id().description());
    external.Text("id", message.external_id().id());
    external.Text("link", message.external_id().link());
    external.End();
  }
  object->Text("icon", message.icon().id());
  object->Column("id", record.id);
  object->Truth("id_baton_resource", message.id().baton_resource());
  if (!message.parent_resource_id().resource().empty()) AppendPair(message.parent_resource_id(), object->Name("parent"));
  if (message.has_profile()) AppendStruct(message.profile(), object->Name("profile"));
  if (message.has_status()) {
    Object status(object->Name("status"));
    status.Text("details", message.status().details());
    status.Number("status", message.status().status());
    status.End();
  }
  object->Column("type", record.type_id);
}

void Print(const v2::Entitlement& message, const RecordView& record, Object* object) {
  AppendAnnotations(message.annotations(), object);
  object->Text("description", message.description());
  AppendStamp(record.discovered_at, object);
  object->Text("display_name", message.display_name());
  if (!message.grantable_to().empty()) {
    std::string* const out = object->Name("grantable_to");
    AppendList(message.grantable_to(), out, [out](const v2::ResourceType& type) { AppendUtf8(type.id(), out); });
  }
  object->Column("id", record.id);
  object->Number("purpose", message.purpose());
  AppendReference(record.type_id, record.resource_id, object->Name("resource"));
  object->Text("slug", message.slug());
}

void AppendExpansion(const v2::GrantExpandable& expandable, Object* object) {
  Object expansion(object->Name("expansion"));
  const auto ids = [&expansion](const char* name, const auto& list) {
    if (list.empty()) return;
    std::string* const out = expansion.Name(name);
    AppendList(list, out, [out](const std::string& id) { AppendUtf8(id, out); });
  };
  ids("entitlement_ids", expandable.entitlement_ids());
  ids("resource_type_ids", expandable.resource_type_ids());
  expansion.Truth("shallow", expandable.shallow());
  expansion.End();
}

void Print(const v2::Grant& message, const v2::GrantExpandable* expandable, const RecordView& record, Object* object) {
  AppendAnnotations(message.annotations(), object);
  AppendStamp(record.discovered_at, object);
  object->Column("entitlement", record.entitlement_id);
  if (expandable != nullptr) AppendExpansion(*expandable, object);
  object->Column("id", record.id);
  object->Truth("needs_expansion", record.needs_expansion);
  AppendReference(record.principal_type_id, record.principal_id, object->Name("principal"));
  const auto& parent = message.principal().parent_resource_id();
  if (!parent.resource().empty()) AppendPair(parent, object->Name("principal_parent"));
  AppendReference(record.type_id, record.resource_id, object->Name("resource"));
  if (message.sources().sources().empty()) return;
  Object sources(object->Name("sources"));
  for (const auto* source : Sorted(message.sources().sources())) {
    sources.ForeignName(source->first)->append(source->second.is_direct() ? R"({"is_direct":true})" : R"({"is_direct":false})");
  }
  sources.End();
}

void PrintAsset(const RecordView& record, Object* object) {
  if (!record.content_type.empty()) object->Column("content_type", record.content_type);
  AppendStamp(record.discovered_at, object);
  object->Column("id", record.id);
  object->Text("sha256", sync::Sha256Hex(record.data));
  object->Number("size", static_cast<std::int64_t>(record.data.size()));
}

}  // namespace

struct RecordPrinter::Impl {
  static constexpr std::size_t kBlockBytes = 64u << 10;

  Impl() : block(std::make_unique_for_overwrite<char[]>(kBlockBytes)), arena(block.get(), kBlockBytes) {}

  /// Null: not protobuf. Lives until the next record.
  template <typename Message>
  const Message* Parse(std::string_view bytes) {
    auto* const message = google::protobuf::Arena::CreateMessage<Message>(&arena);
    return message->ParseFromArray(bytes.data(), static_cast<int>(bytes.size())) ? message : nullptr;
  }

  template <typename Message>
  Status PrintMessage(const RecordView& record, std::string* out) {
    const Message* const message = Parse<Message>(record.data);
    if (message == nullptr) return NotProtobuf(record.data);
    Object object(out);
    Print(*message, record, &object);
    object.End();
    return {};
  }

  Status PrintGrant(const RecordView& record, std::string* out) {
    const auto* const message = Parse<v2::Grant>(record.data);
    if (message == nullptr) return NotProtobuf(record.data);
    const v2::GrantExpandable* expandable = nullptr;
    if (!record.expansion.empty()) {
      expandable = Parse<v2::GrantExpandable>(record.expansion);
      if (expandable == nullptr) return NotProtobuf(record.expansion);
    }
    Object object(out);
    Print(*message, expandable, record, &object);
    object.End();
    return {};
  }

  const std::unique_ptr<char[]> block;
  google::protobuf::Arena arena;
};

RecordPrinter::RecordPrinter() : impl_(std::make_unique<Impl>()) {}
RecordPrinter::~RecordPrinter() = default;

Status RecordPrinter::Append(const RecordView& record, std::string* out) {
  impl_->arena.Reset();
  switch (record.type) {
    case RecordType::kResourceType: return impl_->PrintMessage<v2::ResourceType>(record, out);
    case RecordType::kResource: return impl_->PrintMessage<v2::Resource>(record, out);
    case RecordType::kEntitlement: return impl_->PrintMessage<v2::Entitlement>(record, out);
    case RecordType::kGrant: return impl_->PrintGrant(record, out);
    case RecordType::kAsset: break;
  }
  Object object(out);
  PrintAsset(record, &object);
  object.End();
  return {};
}

}  // namespace vellum::c1z
