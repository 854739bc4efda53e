#include "c1z/message_check.h"

#include <array>
#include <climits>
#include <cstdint>
#include <map>

#include "base/utf8.h"
#include "c1/connector/v2/connector.pb.h"
#include "c1z/record_fields.h"
#include "c1z/wire_reader.h"

namespace vellum::c1z {
namespace {

namespace v2 = c1::connector::v2;
using google::protobuf::Descriptor;
using google::protobuf::FieldDescriptor;

/// Deeper than messages are, and less than protobuf allows.
constexpr int kDepthMax = 32;

/// What of a kind of message has to be looked at to know that protobuf reads it.
struct Shape {
  enum class Look : std::uint8_t {
    kSkip,     ///< Numbers, bytes, fields that we do not know.
    kText,     ///< UTF-8.
    kMessage,  ///< Of another shape.
    kDecode,   ///< Protobuf is asked.
  };
  struct Field {
    Look look = Look::kSkip;
    const Shape* shape = nullptr;
  };
  /// By number. Messages with others are decoded.
  std::array<Field, 16> fields;
};

/// The shapes of messages and of all that are in them, which may contain each other.
class Shapes {
 public:
  const Shape* Of(const Descriptor* type) {
    const auto [found, added] = shapes_.try_emplace(type);
    if (!added) return &found->second;
    Shape& shape = found->second;
    for (int i = 0; i < type->field_count(); ++i) {
      const FieldDescriptor& field = *type->field(i);
      if (field.number() >= static_cast<int>(shape.fields.size())) continue;
      Shape::Field& into = shape.fields[static_cast<std::size_t>(field.number())];
      if (field.type() == FieldDescriptor::TYPE_STRING) into.look = Shape::Look::kText;
      if (field.type() == FieldDescriptor::TYPE_MESSAGE) into = {Shape::Look::kMessage, Of(field.message_type())};
      if (field.is_packable()) into.look = Shape::Look::kDecode;
    }
    return &shape;
  }

 private:
  std::map<const Descriptor*, Shape> shapes_;
};

/// True: protobuf reads the message. False: it may.
bool IsPlain(const Shape& shape, std::string_view message, int depth) {
  if (depth > kDepthMax) return false;
  WireReader reader(message);
  for (WireField field; reader.Next(&field);) {
    if (field.number >= shape.fields.size()) return false;
    const Shape::Field& known = shape.fields[field.number];
    if (known.look == Shape::Look::kDecode) return false;
    if (field.type != 2) continue;  // what should have a length, and has none, is a field that nobody knows
    if (known.look == Shape::Look::kText && !IsUtf8(field.bytes)) return false;
    if (known.look == Shape::Look::kMessage && !IsPlain(*known.shape, field.bytes, depth + 1)) return false;
  }
  return !reader.damaged();
}

template <typename Message>
class OneCheck {
 public:
  bool Passes(std::string_view bytes) {
    if (bytes.size() > INT_MAX) return false;
    return IsPlain(shape_, bytes, 0) || decoded_.ParseFromArray(bytes.data(), static_cast<int>(bytes.size()));
  }

 private:
  static const Shape& ShapeOf() {
    static Shapes shapes;
    static const Shape* const shape = shapes.Of(Message::descriptor());
    return *shape;
  }
  const Shape& shape_ = ShapeOf();
  Message decoded_;
};

}  // namespace

struct MessageCheck::Impl {
  OneCheck<v2::ResourceType> resource_type;
  OneCheck<v2::Resource> resource;
  OneCheck<v2::Entitlement> entitlement;
  OneCheck<v2::Grant> grant;
  OneCheck<v2::GrantExpandable> expandable;
};

MessageCheck::MessageCheck() : impl_(std::make_unique<Impl>()) {}
MessageCheck::~MessageCheck() = default;
MessageCheck::MessageCheck(MessageCheck&&) noexcept = default;
MessageCheck& MessageCheck::operator=(MessageCheck&&) noexcept = default;

bool MessageCheck::Passes(const sync::RecordView& record) {
  switch (record.type) {
    case sync::RecordType::kResourceType: return impl_->resource_type.Passes(record.data);
    case sync::RecordType::kResource: return impl_->resource.Passes(record.data);
    case sync::RecordType::kEntitlement: return impl_->entitlement.Passes(record.data);
    case sync::RecordType::kGrant:
      return impl_->grant.Passes(record.data) && (record.expansion.empty() || impl_->expandable.Passes(record.expansion));
    case sync::RecordType::kAsset: return true;
  }
  return false;
}

Status CheckedSink::Put(const sync::RecordView& record) {
  return messages_.Passes(record) ? to_->Put(record) : NotProtobuf(record.data);
}

}  // namespace vellum::c1z
