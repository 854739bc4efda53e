#include "sync/list.h"

#include <algorithm>
#include <set>

#include "base/bytes.h"
#include "sync/codec.h"

namespace vellum::sync {
namespace {

using storage::TableCursor;

/// Where a query's records are: ranges of one bucket, ascending and apart.
struct Plan {
  Bucket bucket = Bucket::kResourceType;
  std::vector<std::string> prefixes;

  static Plan All(Bucket bucket) { return {bucket, {BucketPrefix(bucket)}}; }
};

std::string_view WithoutBucket(std::string_view key) { return key.substr(1); }

/// Adds the prefixes of an entitlement that is known by its id alone: the conventional ones that the id can be read as, and the
/// unconventional ones that the index knows or, for grants, that have no record. False: they cannot all be found this way.
Result<bool> AddEntitlements(const ReadView& view, const RecordQuery& query, Bucket bucket, std::vector<std::string>* prefixes) {
  std::vector<EntitlementSplit> splits;
  if (!view.has(Bucket::kByExternalId) || !SplitAtColons(query.entitlement, &splits)) return false;
  std::set<std::string> found;
  const auto add = [&](std::string_view identity) { found.insert(BucketPrefix(bucket).append(identity)); };
  for (const EntitlementSplit& split : splits) {
    add(WithoutBucket(GrantsOfEntitlementPrefix(split.type_id, split.resource_id, query.entitlement)));
  }
  const std::string named = ExternalIdPrefix(RecordType::kEntitlement, query.entitlement);
  const auto cursor = view.Prefix(named, ReadView::Reach::kSome);
  for (cursor->Seek(named); cursor->valid(); cursor->Next()) {
    VELLUM_ASSIGN_OR_RETURN(const std::string key, IndexedRecordKey(cursor->key()));
    add(WithoutBucket(key));
  }
  VELLUM_TRY(cursor->status());
  if (query.type == RecordType::kGrant) {
    VELLUM_ASSIGN_OR_RETURN(const auto strays, view.Strays());
    if (!strays) return false;
    const auto [first, last] = strays->equal_range(query.entitlement);
    for (auto at = first; at != last; ++at) add(WithoutBucket(at->second));
  }
  prefixes->assign(found.begin(), found.end());
  return true;
}

/// The bucket's byte and as much of an entitlement's identity as the query fixes.
std::string EntitlementPrefix(const RecordQuery& query, Bucket bucket) {
  std::string prefix = BucketPrefix(bucket);
  if (query.resource && !query.entitlement.empty()) {
    prefix += WithoutBucket(GrantsOfEntitlementPrefix(query.resource->type, query.resource->id, query.entitlement));
  } else if (query.resource) {
    prefix += WithoutBucket(GrantsOfResourcePrefix(query.resource->type, query.resource->id));
  } else if (!query.resource_type.empty()) {
    AppendEscaped(&prefix, query.resource_type);
  }
  return prefix;
}

Result<Plan> PlanByEntitlement(const ReadView& view, const RecordQuery& query, Bucket bucket) {
  Plan plan{bucket, {}};
  if (!query.resource && !query.entitlement.empty()) {
    VELLUM_ASSIGN_OR_RETURN(const bool known, AddEntitlements(view, query, bucket, &plan.prefixes));
    if (known) return plan;
  }
  plan.prefixes = {EntitlementPrefix(query, bucket)};
  return plan;
}

Result<Plan> PlanGrants(const ReadView& view, const RecordQuery& query) {
  if (query.principal && query.resource && !query.entitlement.empty()) {
    std::string key = EntitlementPrefix(query, Bucket::kGrant);
    AppendEscaped(&key, query.principal->type);
    AppendEscaped(&key, query.principal->id);
    return Plan{Bucket::kGrant, {std::move(key)}};
  }
  if (query.principal) {
    std::string prefix = GrantsOfPrincipalPrefix(query.principal->type, query.principal->id);
    prefix += WithoutBucket(EntitlementPrefix(query, Bucket::kGrantByPrincipal));
    return Plan{Bucket::kGrantByPrincipal, {std::move(prefix)}};
  }
  if (query.needs_expansion && view.has(Bucket::kGrantNeedingExpansion)) {
    return PlanByEntitlement(view, query, Bucket::kGrantNeedingExpansion);
  }
  const bool by_entitlement = query.resource || !query.entitlement.empty() || !query.resource_type.empty();
  if (!by_entitlement && !query.principal_type.empty()) {
    std::string prefix = BucketPrefix(Bucket::kGrantByPrincipal);
    AppendEscaped(&prefix, query.principal_type);
    return Plan{Bucket::kGrantByPrincipal, {std::move(prefix)}};
  }
  return PlanByEntitlement(view, query, Bucket::kGrant);
}

Plan PlanResources(const ReadView& view, const RecordQuery& query) {
  if (query.resource) {
    std::string key = ResourcesOfTypePrefix(query.resource->type);
    AppendEscaped(&key, query.resource->id);
    return {Bucket::kResource, {std::move(key)}};
  }
  if (query.parent && view.has(Bucket::kResourceByParent)) {
    std::string prefix = ChildrenPrefix(query.parent->type, query.parent->id);
    if (!query.resource_type.empty()) AppendEscaped(&prefix, query.resource_type);
    return {Bucket::kResourceByParent, {std::move(prefix)}};
  }
  if (!query.resource_type.empty()) return {Bucket::kResource, {ResourcesOfTypePrefix(query.resource_type)}};
  return Plan::All(Bucket::kResource);
}

Result<Plan> MakePlan(const ReadView& view, const RecordQuery& query) {
  switch (query.type) {
    case RecordType::kResource: return PlanResources(view, query);
    case RecordType::kEntitlement: return PlanByEntitlement(view, query, Bucket::kEntitlement);
    case RecordType::kGrant: return PlanGrants(view, query);
    default: return Plan::All(RecordBucket(query.type));
  }
}

bool MatchesName(const std::optional<ResourceName>& wanted, std::string_view type, std::string_view id) {
  return !wanted || (wanted->type == type && wanted->id == id);
}
bool MatchesText(const std::string& wanted, std::string_view text) { return wanted.empty() || wanted == text; }

/// What the key alone decides.
bool MatchesIdentity(const RecordQuery& query, const RecordView& record) {
  switch (record.type) {
    case RecordType::kResource:
      return MatchesName(query.resource, record.type_id, record.id) && MatchesText(query.resource_type, record.type_id);
    case RecordType::kEntitlement:
      return MatchesName(query.resource, record.type_id, record.resource_id) &&
             MatchesText(query.resource_type, record.type_id) && MatchesText(query.entitlement, record.id);
    case RecordType::kGrant:
      return MatchesName(query.resource, record.type_id, record.resource_id) &&
             MatchesText(query.resource_type, record.type_id) && MatchesText(query.entitlement, record.entitlement_id) &&
             MatchesName(query.principal, record.principal_type_id, record.principal_id) &&
             MatchesText(query.principal_type, record.principal_type_id);
    default: return true;
  }
}

bool MatchesContent(const RecordQuery& query, const RecordView& record) {
  if (query.parent && !MatchesName(query.parent, record.parent_type_id, record.parent_id)) return false;
  return !query.needs_expansion || record.needs_expansion;
}

/// Walks the records that a query selects.
class RecordWalk {
 public:
  /// `view` must outlive it. `after`: begin behind this key of the index that is read.
  static Result<std::unique_ptr<RecordWalk>> Start(const ReadView& view, const RecordQuery& query, std::string_view after) {
    VELLUM_TRY(CheckQuery(query));
    VELLUM_ASSIGN_OR_RETURN(Plan plan, MakePlan(view, query));
    std::unique_ptr<RecordWalk> walk(new RecordWalk(view, query, std::move(plan)));
    VELLUM_TRY(walk->Begin(after));
    return walk;
  }

  /// Moves to the next record that is selected; false at the end. With kIdentity only its identity is filled, and its
  /// value is not read unless a filter needs it.
  enum class Need : std::uint8_t { kRecord, kIdentity };
  Result<bool> Next(Need need) {
    for (;;) {
      if (!cursor_) return false;
      if (on_record_) {
        consumed_.assign(cursor_->key());
        cursor_->Next();
      }
      on_record_ = cursor_->valid();
      if (!on_record_) {
        VELLUM_TRY(cursor_->status());
        VELLUM_TRY(NextRange());
        continue;
      }
      VELLUM_ASSIGN_OR_RETURN(const bool selected, Look(need));
      if (selected) return true;
    }
  }
  const RecordView& record() const { return record_; }
  /// The key before the one that the walk stands on, or where it began.
  const std::string& consumed() const { return consumed_; }

 private:
  RecordWalk(const ReadView& view, const RecordQuery& query, Plan plan)
      : view_(view), query_(query), plan_(std::move(plan)), index_(FindBucket(static_cast<std::uint8_t>(plan_.bucket))->index) {
    if (index_) lookup_.emplace(view, RecordBucket(query_.type));
    for (const bool filtered : {!query_.resource_type.empty(), query_.resource.has_value(), !query_.entitlement.empty(),
                                query_.principal.has_value(), !query_.principal_type.empty()}) {
      filters_ += filtered ? 1 : 0;
    }
  }

  Status Begin(std::string_view after) {
    if (after.empty()) return NextRange();
    consumed_.assign(after);
    for (; range_ < plan_.prefixes.size(); ++range_) {
      if (after.starts_with(plan_.prefixes[range_])) break;
    }
    if (range_ == plan_.prefixes.size()) {
      return InvalidArgument("the page token ends at a key that this question cannot have come to: begin again without one");
    }
    OpenRange(std::string(after) + '\0');
    return {};
  }

  Status NextRange() {
    if (cursor_) ++range_;
    if (range_ >= plan_.prefixes.size()) {
      cursor_.reset();
      return {};
    }
    OpenRange(plan_.prefixes[range_]);
    return {};
  }

  void OpenRange(const std::string& from) {
    const std::string& prefix = plan_.prefixes[range_];
    cursor_ = view_.Prefix(prefix, prefix.size() == 1 ? ReadView::Reach::kAll : ReadView::Reach::kSome);
    cursor_->Seek(from);
    on_record_ = false;  // the first Next stays where the cursor stands
  }

  Result<bool> Look(Need need) {
    std::string_view key = cursor_->key();
    if (index_) {
      VELLUM_ASSIGN_OR_RETURN(record_key_, IndexedRecordKey(key));
      key = record_key_;
    }
    const bool content = need == Need::kRecord || query_.needs_expansion || query_.parent;
    // Where the index leaves nothing to check, decoding the record once will do.
    if (!content || (index_ && filters_ > 1)) {
      VELLUM_ASSIGN_OR_RETURN(identity_, DecodedKey::Parse(key));
      record_ = {};
      identity_.FillIdentity(&record_);
      if (!MatchesIdentity(query_, record_)) return false;
      if (!content) return true;
    }
    std::string_view value = cursor_->value();
    if (index_) {
      VELLUM_ASSIGN_OR_RETURN(const auto found, lookup_->Find(key));
      if (!found) return DataLoss("index entry " + Printable(cursor_->key()) + " leads to no record: verify the sync");
      value = *found;
    }
    VELLUM_ASSIGN_OR_RETURN(stored_, StoredRecord::Parse(key, value));
    record_ = stored_.view();
    return MatchesIdentity(query_, record_) && MatchesContent(query_, record_);
  }

  const ReadView& view_;
  const RecordQuery query_;
  const Plan plan_;
  const bool index_;
  int filters_ = 0;  ///< How many of them look at the identity.
  std::size_t range_ = 0;
  std::unique_ptr<TableCursor> cursor_;
  bool on_record_ = false;
  std::optional<RecordLookup> lookup_;
  std::string record_key_;
  DecodedKey identity_;
  StoredRecord stored_;
  RecordView record_;
  std::string consumed_;
};

Status CheckName(const std::optional<ResourceName>& name, std::string_view what) {
  if (!name || (!name->type.empty() && !name->id.empty())) return {};
  return InvalidArgument("a " + std::string(what) + " is named by type and id, not by " + Printable(name->type + ":" + name->id));
}

Status Misplaced(std::string_view filter, RecordType type) {
  return InvalidArgument("the filter by " + std::string(filter) + " does not go with " +
                         std::string(FindBucket(static_cast<std::uint8_t>(RecordBucket(type)))->name));
}

}  // namespace

Status CheckQuery(const RecordQuery& query) {
  VELLUM_TRY(CheckName(query.resource, "resource"));
  VELLUM_TRY(CheckName(query.parent, "parent"));
  VELLUM_TRY(CheckName(query.principal, "principal"));
  const RecordType type = query.type;
  const bool grants = type == RecordType::kGrant;
  const bool entitlements = grants || type == RecordType::kEntitlement;
  if (!entitlements && type != RecordType::kResource) {
    if (!query.resource_type.empty()) return Misplaced("resource type", type);
    if (query.resource) return Misplaced("resource", type);
  }
  if (query.parent && type != RecordType::kResource) return Misplaced("parent", type);
  if (!query.entitlement.empty() && !entitlements) return Misplaced("entitlement", type);
  if (query.principal && !grants) return Misplaced("principal", type);
  if (!query.principal_type.empty() && !grants) return Misplaced("principal type", type);
  if (query.needs_expansion && !grants) return Misplaced("needs expansion", type);
  return {};
}

bool Matches(const RecordQuery& query, const RecordView& record) {
  return record.type == query.type && MatchesIdentity(query, record) && MatchesContent(query, record);
}

Result<ListedPage> ListRecords(const ReadView& view, const RecordQuery& query, std::uint64_t limit, std::string_view after,
                               const RecordVisitor& visit) {
  VELLUM_ASSIGN_OR_RETURN(const auto walk, RecordWalk::Start(view, query, after));
  ListedPage page;
  for (;;) {
    VELLUM_ASSIGN_OR_RETURN(const bool found, walk->Next(RecordWalk::Need::kRecord));
    if (!found) return page;
    if (limit != 0 && page.records == limit) {
      page.last_key = walk->consumed();
      return page;
    }
    VELLUM_TRY(visit(walk->record()));
    ++page.records;
  }
}

namespace {

constexpr std::size_t kPrincipalsAtOnce = 65'536;

/// Takes principals in order, shows each as its resource, and stops at the page's end.
class PrincipalPage {
 public:
  PrincipalPage(const ReadView& view, std::uint64_t limit, const RecordVisitor& visit)
      : limit_(limit), visit_(visit), resources_(view, Bucket::kResource) {}

  /// `key`: the principal's prefix of the by-principal index. False: the page is full without it.
  Result<bool> Add(const std::string& key) {
    if (limit_ != 0 && page_.records == limit_) {
      page_.last_key = last_;
      return false;
    }
    std::string resource = BucketPrefix(Bucket::kResource);
    resource += WithoutBucket(key);
    VELLUM_ASSIGN_OR_RETURN(const auto value, resources_.Find(resource));
    if (value) {
      VELLUM_ASSIGN_OR_RETURN(const StoredRecord stored, StoredRecord::Parse(resource, *value));
      VELLUM_TRY(visit_(stored.view()));
    } else {
      VELLUM_ASSIGN_OR_RETURN(const DecodedKey identity, DecodedKey::Parse(resource));
      RecordView record;
      identity.FillIdentity(&record);
      VELLUM_TRY(visit_(record));
    }
    ++page_.records;
    last_ = key;
    return true;
  }
  const std::string& last() const { return last_; }
  ListedPage& page() { return page_; }

 private:
  const std::uint64_t limit_;
  const RecordVisitor& visit_;
  RecordLookup resources_;
  ListedPage page_;
  std::string last_;
};

/// The by-principal key cut behind the principal.
Result<std::string> PrincipalOf(std::string_view index_key) {
  ByteReader reader(WithoutBucket(index_key));
  if (!reader.ReadEscaped() || !reader.ReadEscaped()) return DataLoss("not an index key: " + Printable(index_key));
  return std::string(index_key.substr(0, index_key.size() - reader.rest().size()));
}

/// From one principal of the index to the next, however many grants lie between.
Status SkipPrincipals(const ReadView& view, const RecordQuery& query, std::string_view after, PrincipalPage* page) {
  std::string prefix = BucketPrefix(Bucket::kGrantByPrincipal);
  if (query.principal) {
    if (!MatchesText(query.principal_type, query.principal->type)) return {};
    prefix = GrantsOfPrincipalPrefix(query.principal->type, query.principal->id);
  } else if (!query.principal_type.empty()) {
    AppendEscaped(&prefix, query.principal_type);
  }
  const auto cursor = view.Prefix(prefix, ReadView::Reach::kSome);
  cursor->Seek(after.empty() ? prefix : *PrefixSuccessor(after));
  while (cursor->valid()) {
    VELLUM_ASSIGN_OR_RETURN(const std::string principal, PrincipalOf(cursor->key()));
    VELLUM_ASSIGN_OR_RETURN(const bool room, page->Add(principal));
    if (!room) return {};
    cursor->Seek(*PrefixSuccessor(principal));
  }
  return cursor->status();
}

/// The first principals behind `after`, in order, of all grants that the query selects.
Result<std::set<std::string>> GatherPrincipals(const ReadView& view, const RecordQuery& query, std::string_view after,
                                               std::size_t most) {
  std::set<std::string> principals;
  VELLUM_ASSIGN_OR_RETURN(const auto walk, RecordWalk::Start(view, query, {}));
  for (;;) {
    VELLUM_ASSIGN_OR_RETURN(const bool found, walk->Next(RecordWalk::Need::kIdentity));
    if (!found) return principals;
    std::string key = GrantsOfPrincipalPrefix(walk->record().principal_type_id, walk->record().principal_id);
    if (key <= after || (principals.size() == most && key >= *principals.rbegin())) continue;
    principals.insert(std::move(key));
    if (principals.size() > most) principals.erase(std::prev(principals.end()));
  }
}

}  // namespace

Result<ListedPage> ListPrincipals(const ReadView& view, const RecordQuery& query, std::uint64_t limit,
                                  std::string_view after, const RecordVisitor& visit) {
  if (query.type != RecordType::kGrant) return InvalidArgument("principals are listed of grants");
  VELLUM_TRY(CheckQuery(query));
  if (!after.empty()) {
    // Exactly a principal: nothing else is a place between two of them.
    const auto whole = after.front() == static_cast<char>(Bucket::kGrantByPrincipal) ? PrincipalOf(after) : Result<std::string>("");
    if (!whole.ok() || *whole != after) {
      return InvalidArgument("the page token ends at a key that this question cannot have come to: begin again without one");
    }
  }
  PrincipalPage page(view, limit, visit);
  if (!query.resource && query.resource_type.empty() && query.entitlement.empty() && !query.needs_expansion) {
    VELLUM_TRY(SkipPrincipals(view, query, after, &page));
    return std::move(page.page());
  }
  const std::size_t most = limit == 0 || limit >= kPrincipalsAtOnce ? kPrincipalsAtOnce : static_cast<std::size_t>(limit) + 1;
  std::string from(after);
  for (;;) {
    VELLUM_ASSIGN_OR_RETURN(const auto principals, GatherPrincipals(view, query, from, most));
    for (const std::string& each : principals) {
      VELLUM_ASSIGN_OR_RETURN(const bool room, page.Add(each));
      if (!room) return std::move(page.page());
    }
    if (principals.size() < most) return std::move(page.page());
    from = page.last();
  }
}

}  // namespace vellum::sync
