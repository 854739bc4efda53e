#include "c1z/message_check.h"

#include <climits>

#include "c1/connector/v2/connector.pb.h"

namespace vellum::c1z {

namespace v2 = c1::connector::v2;

struct MessageCheck::Impl {
  v2::ResourceType resource_type;
  v2::Resource resource;
  v2::Entitlement entitlement;
  v2::Grant grant;
  v2::GrantExpandable expandable;
};

namespace {

bool Parses(std::string_view bytes, google::protobuf::MessageLite* into) {
  return bytes.size() <= INT_MAX && into->ParseFromArray(bytes.data(), static_cast<int>(bytes.size()));
}

}  // namespace

MessageCheck::MessageCheck() : impl_(std::make_unique<Impl>()) {}
MessageCheck::~MessageCheck() = default;
MessageCheck::MessageCheck(MessageCheck&&) noexcept = default;
MessageCheck& MessageCheck::operator=(MessageCheck&&) noexcept = default;

bool MessageCheck::Passes(const sync::RecordView& record) {
  switch (record.type) {
    case sync::RecordType::kResourceType: return Parses(record.data, &impl_->resource_type);
    case sync::RecordType::kResource: return Parses(record.data, &impl_->resource);
    case sync::RecordType::kEntitlement: return Parses(record.data, &impl_->entitlement);
    case sync::RecordType::kGrant:
      return Parses(record.data, &impl_->grant) && (record.expansion.empty() || Parses(record.expansion, &impl_->expandable));
    case sync::RecordType::kAsset: return true;
  }
  return false;
}

}  // namespace vellum::c1z
