#include "base/bytes.h"
#include "sync/codec.h"
#include "sync/generation.h"

namespace vellum::sync {
namespace {

/// The front of a grant's key, bucket byte included.
struct GrantKeyFront {
  std::size_t resource_end = 0;     ///< Behind the resource.
  std::size_t entitlement_end = 0;  ///< Behind the entitlement.
  bool conventional = false;
  std::string tail;
};

Result<GrantKeyFront> ReadFront(std::string_view key) {
  GrantKeyFront front;
  ByteReader reader(key.substr(1));
  const auto taken = [&] { return key.size() - reader.rest().size(); };
  if (reader.ReadEscaped() && reader.ReadEscaped()) {
    front.resource_end = taken();
    const auto flag = reader.ReadByte();
    auto tail = reader.ReadEscaped();
    if (flag && tail) {
      front.conventional = *flag == 1;
      front.tail = *std::move(tail);
      front.entitlement_end = taken();
      return front;
    }
  }
  return DataLoss("not a grant's key: " + Printable(key));
}

/// Null: too many.
Result<std::shared_ptr<const StrayEntitlements>> FindStrays(const storage::TableDirectory& tables) {
  auto strays = std::make_shared<StrayEntitlements>();
  const std::string grants = BucketPrefix(Bucket::kGrant);
  const auto cursor = tables.NewCursor(grants, *PrefixSuccessor(grants), /*scan=*/false);
  cursor->Seek(grants);
  while (cursor->valid()) {
    const std::string_view key = cursor->key();
    VELLUM_ASSIGN_OR_RETURN(GrantKeyFront front, ReadFront(key));
    // Unconventional ids sort first, so a resource that begins with a conventional one has no others.
    std::string done(key.substr(0, front.conventional ? front.resource_end : front.entitlement_end));
    if (!front.conventional) {
      std::string entitlement = BucketPrefix(Bucket::kEntitlement);
      entitlement.append(done, 1);
      VELLUM_ASSIGN_OR_RETURN(const bool listed, tables.Contains(entitlement));
      if (!listed) strays->emplace(std::move(front.tail), done);
      if (strays->size() > Generation::kStraysMax) return std::shared_ptr<const StrayEntitlements>();
    }
    cursor->Seek(*PrefixSuccessor(done));
  }
  VELLUM_TRY(cursor->status());
  return std::shared_ptr<const StrayEntitlements>(std::move(strays));
}

}  // namespace

Result<std::shared_ptr<const StrayEntitlements>> Generation::Strays() const {
  MutexLock lock(&strays_mu_);
  if (!strays_known_) {
    VELLUM_ASSIGN_OR_RETURN(strays_, FindStrays(*tables_));
    strays_known_ = true;
  }
  return strays_;
}

}  // namespace vellum::sync
