#include "sync/messages.h"

#include <google/protobuf/arena.h>
#include <google/protobuf/io/coded_stream.h>
#include <google/protobuf/io/zero_copy_stream_impl_lite.h>

#include <algorithm>
#include <limits>
#include <string>

#include "base/bytes.h"
#include "c1/connector/v2/connector.pb.h"

namespace vellum::sync {
namespace {

namespace v2 = c1::connector::v2;

/// Takes fields off the front of an encoded message.
class FieldReader {
 public:
  explicit FieldReader(std::string_view message) : reader_(message) {}

  /// False at the end, and for bytes that are not protobuf: then ok() is false.
  bool Next() {
    if (reader_.empty()) return false;
    const auto tag = reader_.ReadVarint();
    ok_ = tag && (*tag >> 3) != 0 && ReadBody(*tag & 7);
    number_ = ok_ ? *tag >> 3 : 0;
    return ok_;
  }
  bool ok() const { return ok_; }
  std::uint64_t number() const { return number_; }
  bool is_bytes() const { return is_bytes_; }
  std::string_view bytes() const { return bytes_; }
  std::uint64_t varint() const { return varint_; }

 private:
  bool ReadBody(std::uint64_t wire_type) {
    is_bytes_ = false;
    varint_ = 0;
    switch (wire_type) {
      case 0: {
        const auto value = reader_.ReadVarint();
        varint_ = value.value_or(0);
        return value.has_value();
      }
      case 1: return reader_.ReadBytes(8).has_value();
      case 5: return reader_.ReadBytes(4).has_value();
      case 2: {
        const auto bytes = reader_.ReadLengthPrefixed();
        is_bytes_ = true;
        bytes_ = bytes.value_or(std::string_view());
        return bytes.has_value();
      }
      default: return false;
    }
  }

  ByteReader reader_;
  bool ok_ = true;
  bool is_bytes_ = false;
  std::uint64_t number_ = 0;
  std::uint64_t varint_ = 0;
  std::string_view bytes_;
};

constexpr std::uint64_t kGrantSourcesField = 5;
constexpr std::uint64_t kMapField = 1;
constexpr std::uint64_t kKeyField = 1;
constexpr std::uint64_t kValueField = 2;
constexpr std::uint64_t kIsDirectField = 1;

bool ReadSource(std::string_view entry, GrantSource* source) {
  FieldReader fields(entry);
  while (fields.Next()) {
    if (fields.number() == kKeyField && fields.is_bytes()) source->entitlement_id = fields.bytes();
    if (fields.number() != kValueField || !fields.is_bytes()) continue;
    FieldReader inner(fields.bytes());
    while (inner.Next()) {
      if (inner.number() == kIsDirectField && !inner.is_bytes()) source->is_direct = inner.varint() != 0;
    }
    if (!inner.ok()) return false;
  }
  return fields.ok();
}

template <typename Message>
std::string Canonical(const Message& message) {
  std::string bytes;
  google::protobuf::io::StringOutputStream stream(&bytes);
  google::protobuf::io::CodedOutputStream coded(&stream);
  coded.SetSerializationDeterministic(true);
  message.SerializeToCodedStream(&coded);
  coded.Trim();
  return bytes;
}

void DropBodies(v2::Grant* grant) {
  grant->clear_entitlement();
  grant->clear_principal();
}
template <typename Message>
void DropBodies(Message* /*message*/) {}

template <typename Message>
bool SameMessage(std::string_view a, std::string_view b, bool without_bodies) {
  if (a == b) return true;
  if (std::max(a.size(), b.size()) > std::numeric_limits<int>::max()) return false;
  google::protobuf::Arena arena;
  auto* const first = google::protobuf::Arena::CreateMessage<Message>(&arena);
  auto* const second = google::protobuf::Arena::CreateMessage<Message>(&arena);
  if (!first->ParseFromArray(a.data(), static_cast<int>(a.size())) ||
      !second->ParseFromArray(b.data(), static_cast<int>(b.size()))) {
    return false;
  }
  if (without_bodies) {
    DropBodies(first);
    DropBodies(second);
  }
  return Canonical(*first) == Canonical(*second);
}

}  // namespace

std::optional<std::vector<GrantSource>> ReadGrantSources(std::string_view grant_message) {
  std::vector<GrantSource> sources;
  FieldReader fields(grant_message);
  while (fields.Next()) {
    if (fields.number() != kGrantSourcesField || !fields.is_bytes()) continue;
    FieldReader entries(fields.bytes());
    while (entries.Next()) {
      if (entries.number() != kMapField || !entries.is_bytes()) continue;
      GrantSource source;
      if (!ReadSource(entries.bytes(), &source)) return std::nullopt;
      sources.push_back(source);
    }
    if (!entries.ok()) return std::nullopt;
  }
  if (!fields.ok()) return std::nullopt;
  // Of a key that a map has twice, the later counts.
  std::stable_sort(sources.begin(), sources.end(), [](const GrantSource& a, const GrantSource& b) {
    return a.entitlement_id < b.entitlement_id;
  });
  std::vector<GrantSource> distinct;
  for (const GrantSource& source : sources) {
    if (!distinct.empty() && distinct.back().entitlement_id == source.entitlement_id) distinct.pop_back();
    distinct.push_back(source);
  }
  return distinct;
}

std::string_view ReadDisplayName(RecordType type, std::string_view message) {
  std::uint64_t wanted = 0;
  switch (type) {
    case RecordType::kResourceType: wanted = 2; break;
    case RecordType::kResource:
    case RecordType::kEntitlement: wanted = 3; break;
    default: return {};
  }
  std::string_view name;
  FieldReader fields(message);
  while (fields.Next()) {
    if (fields.number() == wanted && fields.is_bytes()) name = fields.bytes();
  }
  return fields.ok() ? name : std::string_view();
}

bool SameContent(const RecordView& a, const RecordView& b, bool stamps) {
  if (stamps && a.discovered_at != b.discovered_at) return false;
  if (a.needs_expansion != b.needs_expansion || a.content_type != b.content_type || a.id != b.id) return false;
  if (!SameMessage<v2::GrantExpandable>(a.expansion, b.expansion, false)) return false;
  if (a.expansion.empty() != b.expansion.empty()) return false;
  switch (a.type) {
    case RecordType::kResourceType: return SameMessage<v2::ResourceType>(a.data, b.data, false);
    case RecordType::kResource: return SameMessage<v2::Resource>(a.data, b.data, false);
    case RecordType::kEntitlement: return SameMessage<v2::Entitlement>(a.data, b.data, false);
    case RecordType::kGrant: return SameMessage<v2::Grant>(a.data, b.data, a.slim != b.slim);
    case RecordType::kAsset: return a.data == b.data;
  }
  return false;
}

}  // namespace vellum::sync
