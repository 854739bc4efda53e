#include "syncs/data.h"

#include <algorithm>
#include <cstdio>
#include <string_view>

namespace vellum::bench {
namespace {

/// "user-00000042-5d1c2f3a9e8b7766": the number, and an FNV-1a hash of it that no compressor foresees.
std::string Name(std::string_view kind, std::uint32_t source, std::uint64_t number) {
  std::uint64_t hash = 14695981039346656037ull;
  const auto mix = [&hash](std::uint64_t value) {
    for (int i = 0; i < 8; ++i) {
      hash ^= (value >> (8 * i)) & 0xFF;
      hash *= 1099511628211ull;
    }
  };
  for (const char c : kind) mix(static_cast<std::uint8_t>(c));
  mix(source);
  mix(number);
  char text[64];
  std::snprintf(text, sizeof text, "%.*s-%08llu-%016llx", static_cast<int>(kind.size()), kind.data(),
                static_cast<unsigned long long>(number), static_cast<unsigned long long>(hash));
  return text;
}

std::uint64_t SharedOf(const Shape& shape, std::uint64_t count) {
  return static_cast<std::uint64_t>(shape.shared * static_cast<double>(count));
}

std::vector<std::string> Names(std::string_view kind, const Shape& shape, std::uint64_t count, std::uint64_t first) {
  std::vector<std::string> names;
  names.reserve(count);
  const std::uint64_t shared = SharedOf(shape, count);
  for (std::uint64_t i = 0; i < count; ++i) names.push_back(Name(kind, i < shared ? 0 : shape.source + 1, first + i));
  return names;
}

/// A protobuf field of bytes. Short lengths only take one byte, as here.
void Field(std::string* out, int number, std::string_view bytes) {
  out->push_back(static_cast<char>(number << 3 | 2));
  for (std::size_t size = bytes.size();; size >>= 7) {
    out->push_back(static_cast<char>((size & 0x7F) | (size > 0x7F ? 0x80 : 0)));
    if (size <= 0x7F) break;
  }
  out->append(bytes);
}

std::string ResourceMessage(std::string_view type, std::string_view id) {
  std::string resource_id;
  Field(&resource_id, 1, type);
  Field(&resource_id, 2, id);
  std::string message;
  Field(&message, 1, resource_id);
  Field(&message, 3, "Display name of " + std::string(id));
  return message;
}

std::string EntitlementId(const std::string& group, std::uint64_t which) {
  return "group:" + group + ":" + (which == 0 ? "member" : "role-" + std::to_string(which));
}

std::string EntitlementMessage(const std::string& group, const std::string& id) {
  std::string message;
  Field(&message, 1, ResourceMessage("group", group));
  Field(&message, 2, id);
  Field(&message, 3, id.substr(id.rfind(':') + 1));
  return message;
}

class Walk {
 public:
  Walk(const Shape& shape, const std::function<Status(const RecordView&)>& put)
      : shape_(shape), put_(put), users_(Names("user", shape, shape.users, shape.first_user)),
        groups_(Names("group", shape, shape.groups, 0)) {}

  Status Run() {
    if (shape_.resources) {
      for (const std::string_view type : {"user", "group"}) {
        RecordView record;
        record.type = RecordType::kResourceType;
        record.id = type;
        std::string message;
        Field(&message, 1, type);
        record.data = message;
        VELLUM_TRY(Put(&record));
      }
      for (const std::string& user : users_) VELLUM_TRY(PutResource("user", user));
      for (const std::string& group : groups_) VELLUM_TRY(PutResource("group", group));
      for (const std::string& group : groups_) {
        for (std::uint64_t i = 0; i < shape_.entitlements_per_group; ++i) VELLUM_TRY(PutEntitlement(group, i));
      }
    }
    return PutGrants();
  }

 private:
  Status Put(RecordView* record) {
    record->discovered_at = shape_.discovered_at + (number_++ / 1000) * 1'000'000;
    return put_(*record);
  }

  Status PutResource(std::string_view type, const std::string& id) {
    RecordView record;
    record.type = RecordType::kResource;
    record.type_id = type;
    record.id = id;
    const std::string message = ResourceMessage(type, id);
    record.data = message;
    return Put(&record);
  }

  Status PutEntitlement(const std::string& group, std::uint64_t which) {
    RecordView record;
    record.type = RecordType::kEntitlement;
    record.type_id = "group";
    record.resource_id = group;
    const std::string id = EntitlementId(group, which);
    record.id = id;
    const std::string message = EntitlementMessage(group, id);
    record.data = message;
    return Put(&record);
  }

  Status PutGrants() {
    // Steps that share no factor with the numbers they walk, so that every group and every user comes once.
    constexpr std::uint64_t kGroupStep = 48'271;
    constexpr std::uint64_t kUserStep = 7'919;
    constexpr std::uint64_t kUserStart = 104'729;
    std::vector<std::string> principals;
    principals.reserve(users_.size());
    for (const std::string& user : users_) principals.push_back(ResourceMessage("user", user));
    const std::uint64_t visited = std::max<std::uint64_t>(1, shape_.groups / shape_.group_step);
    const std::uint64_t entitlements = visited * shape_.entitlements_per_group;
    std::uint64_t left = shape_.grants;
    for (std::uint64_t at = 0; at < entitlements && left > 0; ++at) {
      const std::uint64_t place = at * kGroupStep % entitlements;
      const std::uint64_t group = place / shape_.entitlements_per_group * shape_.group_step % shape_.groups;
      const std::uint64_t here = (left + entitlements - at - 1) / (entitlements - at);
      const std::uint64_t users = group < SharedOf(shape_, shape_.groups) ? SharedOf(shape_, shape_.users) : shape_.users;
      VELLUM_TRY(PutGrantsOf(groups_[group], place % shape_.entitlements_per_group, here, place * kUserStart, kUserStep,
                             users, principals));
      left -= here;
    }
    return {};
  }

  Status PutGrantsOf(const std::string& group, std::uint64_t which, std::uint64_t count, std::uint64_t start,
                     std::uint64_t step, std::uint64_t users, const std::vector<std::string>& principals) {
    const std::string entitlement_id = EntitlementId(group, which);
    std::string entitlement;
    Field(&entitlement, 1, EntitlementMessage(group, entitlement_id));
    RecordView record;
    record.type = RecordType::kGrant;
    record.type_id = "group";
    record.resource_id = group;
    record.entitlement_id = entitlement_id;
    record.principal_type_id = "user";
    std::string message;
    std::string id;
    for (std::uint64_t i = 0; i < count; ++i) {
      const std::uint64_t user = (start + i * step) % users;
      id.assign(entitlement_id).append(":user:").append(users_[user]);
      message.assign(entitlement);
      Field(&message, 2, principals[user]);
      Field(&message, 3, id);
      record.id = id;
      record.principal_id = users_[user];
      record.data = message;
      VELLUM_TRY(Put(&record));
    }
    return {};
  }

  const Shape& shape_;
  const std::function<Status(const RecordView&)>& put_;
  const std::vector<std::string> users_;
  const std::vector<std::string> groups_;
  std::uint64_t number_ = 0;
};

}  // namespace

Shape OrganisationOf(std::uint64_t grants) {
  Shape shape;
  shape.grants = grants;
  shape.users = std::max<std::uint64_t>(250, grants / 25);
  shape.groups = std::max<std::uint64_t>(2, grants / 125);
  return shape;
}

std::vector<Shape> PartialShapes(std::uint64_t base_grants, std::uint32_t i) {
  Shape overrides = OrganisationOf(base_grants);
  overrides.resources = false;
  overrides.discovered_at += kDay * (i + 1);
  Shape fresh = overrides;
  overrides.grants = 800;
  overrides.group_step = 8 + i;
  fresh.grants = 200;
  fresh.group_step = 31 + i;
  fresh.first_user = 10'000'000 + i * 1'000;
  fresh.users = 1'000;
  return {overrides, fresh};
}

Status ForEachRecord(const Shape& shape, const std::function<Status(const RecordView&)>& put) {
  return Walk(shape, put).Run();
}

}  // namespace vellum::bench
