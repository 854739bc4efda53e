#include <functional>
#include <map>

#include "base/bytes.h"
#include "sync/codec.h"
#include "sync/list.h"

namespace vellum::sync {
namespace {

std::vector<std::size_t> Colons(std::string_view id) {
  std::vector<std::size_t> colons;
  for (std::size_t at = id.find(':'); at != std::string_view::npos; at = id.find(':', at + 1)) colons.push_back(at);
  return colons;
}

/// Whether `text` is "type:resource:rest".
bool IsJoined(std::string_view text, std::string_view type, std::string_view resource, std::string_view rest) {
  return text.size() == type.size() + resource.size() + rest.size() + 2 && text.starts_with(type) &&
         text[type.size()] == ':' && text.substr(type.size() + 1).starts_with(resource) &&
         text[type.size() + 1 + resource.size()] == ':' && text.ends_with(rest);
}

/// Collects records by key, so that each is visited once, in key order.
class Finding {
 public:
  explicit Finding(const ReadView& view) : view_(view) {}

  Status Try(std::string key) {
    VELLUM_ASSIGN_OR_RETURN(auto value, view_.Get(key));
    if (value) found_.insert_or_assign(std::move(key), *std::move(value));
    return {};
  }

  /// The same for a record that only its value says is meant.
  Status TryIf(std::string key, const std::function<bool(const RecordView&)>& is_meant) {
    VELLUM_ASSIGN_OR_RETURN(auto value, view_.Get(key));
    if (!value) return {};
    VELLUM_ASSIGN_OR_RETURN(const StoredRecord stored, StoredRecord::Parse(key, *value));
    if (is_meant(stored.view())) found_.insert_or_assign(std::move(key), *std::move(value));
    return {};
  }

  Status TryExternal(RecordType type, std::string_view id) {
    const std::string prefix = ExternalIdPrefix(type, id);
    const auto cursor = view_.Prefix(prefix, ReadView::Reach::kSome);
    for (cursor->Seek(prefix); cursor->valid(); cursor->Next()) {
      VELLUM_ASSIGN_OR_RETURN(std::string key, IndexedRecordKey(cursor->key()));
      VELLUM_TRY(Try(std::move(key)));
    }
    return cursor->status();
  }

  /// Every record of the bucket is asked: where there is no index, and for ids with so many colons that splitting them
  /// would take longer.
  Status TryAll(RecordType type, const std::function<bool(const RecordView&)>& is_meant) {
    const std::string prefix = BucketPrefix(RecordBucket(type));
    const auto cursor = view_.Prefix(prefix, ReadView::Reach::kAll);
    for (cursor->Seek(prefix); cursor->valid(); cursor->Next()) {
      VELLUM_ASSIGN_OR_RETURN(const StoredRecord stored, StoredRecord::Parse(cursor->key(), cursor->value()));
      if (is_meant(stored.view())) found_.insert_or_assign(std::string(cursor->key()), std::string(cursor->value()));
    }
    return cursor->status();
  }

  bool any() const { return !found_.empty(); }

  Result<std::uint64_t> Visit(const RecordVisitor& visit) const {
    for (const auto& [key, value] : found_) {
      VELLUM_ASSIGN_OR_RETURN(const StoredRecord stored, StoredRecord::Parse(key, value));
      VELLUM_TRY(visit(stored.view()));
    }
    return found_.size();
  }

 private:
  const ReadView& view_;
  std::map<std::string, std::string> found_;
};

Status FindByOneName(RecordType type, std::string_view id, Finding* finding) {
  RecordView record;
  record.type = type;
  record.id = id;
  std::string key;
  AppendRecordKey(&key, record);
  return finding->Try(std::move(key));
}

/// "type:id": the first colon parts them; types with colons in them are tried where that finds nothing.
Status FindResource(std::string_view id, Finding* finding) {
  for (const std::size_t colon : Colons(id)) {
    RecordView record;
    record.type = RecordType::kResource;
    record.type_id = id.substr(0, colon);
    record.id = id.substr(colon + 1);
    if (record.type_id.empty() || record.id.empty()) continue;
    std::string key;
    AppendRecordKey(&key, record);
    VELLUM_TRY(finding->Try(std::move(key)));
    if (finding->any()) return {};
  }
  return {};
}

/// How a record's id may be meant: as the connector's own, or as the parts of its identity with colons between them.
enum class Meant : std::uint8_t { kOwnId, kParts };

bool IsEntitlement(std::string_view id, Meant meant, const RecordView& entitlement) {
  return meant == Meant::kOwnId ? entitlement.id == id
                                : IsJoined(id, entitlement.type_id, entitlement.resource_id, entitlement.id);
}

Status FindEntitlement(const ReadView& view, std::string_view id, Meant meant, Finding* finding) {
  std::vector<EntitlementSplit> splits;
  if (!view.has(Bucket::kByExternalId) || !SplitAtColons(id, &splits)) {
    return finding->TryAll(RecordType::kEntitlement,
                           [id, meant](const RecordView& record) { return IsEntitlement(id, meant, record); });
  }
  RecordView record;
  record.type = RecordType::kEntitlement;
  for (const EntitlementSplit& split : splits) {
    record.type_id = split.type_id;
    record.resource_id = split.resource_id;
    record.id = meant == Meant::kOwnId ? id : split.tail;
    if (record.id.empty()) continue;
    std::string key;
    AppendRecordKey(&key, record);
    VELLUM_TRY(finding->Try(std::move(key)));
  }
  return meant == Meant::kOwnId ? finding->TryExternal(RecordType::kEntitlement, id) : Status();
}

/// Whether `id` is "entitlement:type:id" of the grant, the entitlement by its own id or by its parts.
bool IsGrant(std::string_view id, Meant meant, const RecordView& grant) {
  if (meant == Meant::kOwnId && !grant.id.empty()) return grant.id == id;
  const std::size_t principal = grant.principal_type_id.size() + grant.principal_id.size() + 2;
  if (id.size() <= principal || !id.ends_with(grant.principal_id)) return false;
  const std::string_view entitlement = id.substr(0, id.size() - principal);
  return IsJoined(id, entitlement, grant.principal_type_id, grant.principal_id) &&
         (entitlement == grant.entitlement_id ||
          (meant == Meant::kParts && IsJoined(entitlement, grant.type_id, grant.resource_id, grant.entitlement_id)));
}

Status FindGrant(const ReadView& view, std::string_view id, Meant meant, Finding* finding) {
  const auto is_meant = [id, meant](const RecordView& record) { return IsGrant(id, meant, record); };
  std::vector<EntitlementSplit> splits;
  if (!view.has(Bucket::kByExternalId) || !SplitAtColons(id, &splits)) return finding->TryAll(RecordType::kGrant, is_meant);
  // A split's first part is the entitlement here. Whoever holds it is in the by-principal index.
  for (const EntitlementSplit& split : splits) {
    if (split.tail.empty()) continue;
    const std::string prefix = GrantsOfPrincipalPrefix(split.resource_id, split.tail);
    const auto cursor = view.Prefix(prefix, ReadView::Reach::kSome);
    for (cursor->Seek(prefix); cursor->valid(); cursor->Next()) {
      VELLUM_ASSIGN_OR_RETURN(std::string key, IndexedRecordKey(cursor->key()));
      VELLUM_ASSIGN_OR_RETURN(const DecodedKey decoded, DecodedKey::Parse(key));
      RecordView grant;
      decoded.FillIdentity(&grant);
      // The key does not say what the connector calls the grant.
      if (is_meant(grant)) VELLUM_TRY(finding->TryIf(std::move(key), is_meant));
    }
    VELLUM_TRY(cursor->status());
  }
  return meant == Meant::kOwnId ? finding->TryExternal(RecordType::kGrant, id) : Status();
}

}  // namespace

bool SplitAtColons(std::string_view id, std::vector<EntitlementSplit>* splits) {
  const std::vector<std::size_t> colons = Colons(id);
  if (colons.size() * colons.size() / 2 > kSplitsMax) return false;
  for (std::size_t i = 0; i < colons.size(); ++i) {
    for (std::size_t j = i + 1; j < colons.size(); ++j) {
      const std::string_view type = id.substr(0, colons[i]);
      const std::string_view resource = id.substr(colons[i] + 1, colons[j] - colons[i] - 1);
      if (!type.empty() && !resource.empty()) splits->push_back({type, resource, id.substr(colons[j] + 1)});
    }
  }
  return true;
}

Result<std::uint64_t> FindRecords(const ReadView& view, RecordType type, std::string_view id, const RecordVisitor& visit) {
  if (id.empty()) return InvalidArgument("the id is empty");
  Finding finding(view);
  switch (type) {
    case RecordType::kResourceType:
    case RecordType::kAsset: VELLUM_TRY(FindByOneName(type, id, &finding)); break;
    case RecordType::kResource: VELLUM_TRY(FindResource(id, &finding)); break;
    case RecordType::kEntitlement:
    case RecordType::kGrant:
      for (const Meant meant : {Meant::kOwnId, Meant::kParts}) {
        if (finding.any()) break;
        VELLUM_TRY(type == RecordType::kGrant ? FindGrant(view, id, meant, &finding)
                                              : FindEntitlement(view, id, meant, &finding));
      }
      break;
  }
  return finding.Visit(visit);
}

}  // namespace vellum::sync
