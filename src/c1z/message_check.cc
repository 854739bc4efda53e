#include "c1z/message_check.h"

#include <algorithm>
#include <array>
#include <climits>
#include <cstdint>
#include <map>

#include "base/utf8.h"
#include "c1/connector/v2/connector.pb.h"
#include "c1z/record_fields.h"

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
  /// By number. Others have tags of two bytes, which are not looked at here.
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

/// Fields in the forms in which they are written; another form is not for this reader to judge.
class PlainFields {
 public:
  explicit PlainFields(std::string_view message) : at_(message.data()), end_(at_ + message.size()) {}

  bool AtEnd() const { return at_ == end_; }
  /// False: no such field. `bytes` is what a field with a length holds, and nothing of others.
  bool Take(std::size_t* number, std::string_view* bytes) {
    const auto tag = static_cast<std::uint8_t>(*at_++);
    *number = tag >> 3;
    *bytes = {};
    if (*number == 0 || tag >= 0x80) return false;
    std::uint64_t ignored = 0;
    switch (tag & 7) {
      case 0: return Varint(9, &ignored);
      case 1: return Skip(8);
      case 2: {
        std::uint64_t size = 0;
        if (!Varint(4, &size)) return false;
        *bytes = {at_, static_cast<std::size_t>(std::min(size, static_cast<std::uint64_t>(end_ - at_)))};
        return Skip(size);
      }
      case 5: return Skip(4);
      default: return false;
    }
  }

 private:
  bool Varint(int bytes_max, std::uint64_t* value) {
    for (int i = 0; i < bytes_max && at_ != end_; ++i) {
      const auto byte = static_cast<std::uint8_t>(*at_++);
      *value |= std::uint64_t{byte & 0x7Fu} << (7 * i);
      if (byte < 0x80) return true;
    }
    return false;
  }
  bool Skip(std::uint64_t bytes) {
    if (bytes > static_cast<std::uint64_t>(end_ - at_)) return false;
    at_ += bytes;
    return true;
  }

  const char* at_;
  const char* const end_;
};

/// True: protobuf reads the message. False: it may.
bool IsPlain(const Shape& shape, std::string_view message, int depth) {
  if (depth > kDepthMax) return false;
  PlainFields fields(message);
  while (!fields.AtEnd()) {
    std::size_t number = 0;
    std::string_view bytes;
    if (!fields.Take(&number, &bytes)) return false;
    const Shape::Field& field = shape.fields[number];
    switch (field.look) {
      case Shape::Look::kSkip: break;
      case Shape::Look::kText:
        if (!IsUtf8(bytes)) return false;
        break;
      case Shape::Look::kMessage:
        if (!IsPlain(*field.shape, bytes, depth + 1)) return false;
        break;
      case Shape::Look::kDecode: return false;
    }
  }
  return true;
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
