#include "sync/list.h"

#include <algorithm>
#include <limits>
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

/// Entries of an index, one behind the other, and the records that they lead to, looked up together.
class IndexedBatch {
 public:
  struct Entry {
    std::string index_key;
    std::string record_key;
    StoredRecord record;    ///< With a value only once Load was called.
    bool selected = false;  ///< By its identity.
    std::size_t place = 0;  ///< Among those that were looked up.
  };

  IndexedBatch(const ReadView& view, RecordType type) : lookup_(view, RecordBucket(type)) {}

  void Clear() {
    size_ = 0;
    at_ = 0;
  }
  std::size_t size() const { return size_; }
  bool AtEnd() const { return at_ == size_; }
  Entry& front() { return entries_[at_]; }
  void Pop() { ++at_; }

  /// The entry's identity is in its record afterwards. Selected until told otherwise.
  Result<Entry*> Add(std::string_view index_key) {
    if (entries_.size() == size_) entries_.emplace_back();
    Entry& entry = entries_[size_];
    entry.index_key.assign(index_key);
    entry.record_key.clear();
    VELLUM_TRY(AppendIndexedRecordKey(index_key, &entry.record_key, entry.record.key()));
    entry.selected = true;
    ++size_;
    return &entry;
  }
  void LookUp() {
    keys_.clear();
    for (std::size_t i = 0; i < size_; ++i) {
      if (!entries_[i].selected) continue;
      entries_[i].place = keys_.size();
      keys_.push_back(entries_[i].record_key);
    }
    lookup_.FindMany(keys_);
  }
  Status Load(Entry* entry) {
    VELLUM_ASSIGN_OR_RETURN(const auto value, lookup_.found(entry->place));
    if (!value) return DataLoss("index entry " + Printable(entry->index_key) + " leads to no record: verify the sync");
    return entry->record.AssignValue(*value);
  }

 private:
  RecordLookup lookup_;
  std::vector<Entry> entries_;  // more than size_ of them, whose memory is used again
  std::vector<std::string_view> keys_;
  std::size_t size_ = 0;
  std::size_t at_ = 0;
};

/// Walks the records that a query selects.
class RecordWalk {
 public:
  /// With kIdentity only a record's identity is filled, and its value is not read unless a filter needs it.
  enum class Need : std::uint8_t { kRecord, kIdentity };
  /// `view` must outlive it. `after`: begin behind this key of the index that is read. `most`: that many will be looked at, so
  /// read no further; 0: all.
  static Result<std::unique_ptr<RecordWalk>> Start(const ReadView& view, const RecordQuery& query,
                                                   std::string_view after, Need need, std::uint64_t most = 0) {
    VELLUM_TRY(CheckQuery(query));
    VELLUM_ASSIGN_OR_RETURN(Plan plan, MakePlan(view, query));
    std::unique_ptr<RecordWalk> walk(new RecordWalk(view, query, std::move(plan), need, most));
    VELLUM_TRY(walk->Begin(after));
    return walk;
  }

  /// Moves to the next record that is selected; false at the end.
  Result<bool> Next() {
    for (;;) {
      if (on_record_) Leave();
      VELLUM_ASSIGN_OR_RETURN(on_record_, batch_ ? ReachInBatch() : Reach());
      if (!on_record_) return false;
      VELLUM_ASSIGN_OR_RETURN(const bool selected, batch_ ? LookAtBatch() : Look());
      if (selected) return true;
    }
  }
  const RecordView& record() const { return record_; }
  /// The key before the one that the walk stands on, or where it began.
  const std::string& consumed() const { return consumed_; }

 private:
  RecordWalk(const ReadView& view, const RecordQuery& query, Plan plan, Need need, std::uint64_t most)
      : view_(view),
        query_(query),
        plan_(std::move(plan)),
        index_(FindBucket(static_cast<std::uint8_t>(plan_.bucket))->index),
        content_(need == Need::kRecord || query_.needs_expansion || query_.parent),
        batch_max_(most == 0 ? RecordLookup::kManyMax : std::min<std::uint64_t>(most, RecordLookup::kManyMax)) {
    if (index_ && content_) batch_.emplace(view, query_.type);
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
  }

  void Leave() {
    if (batch_) {
      consumed_.swap(batch_->front().index_key);
      batch_->Pop();
    } else {
      consumed_.assign(cursor_->key());
      cursor_->Next();
    }
  }

  /// Stands the cursor on an entry: where it is, or the first one of the next range that has any.
  Result<bool> Reach() {
    while (cursor_ && !cursor_->valid()) {
      VELLUM_TRY(cursor_->status());
      VELLUM_TRY(NextRange());
    }
    return cursor_ != nullptr;
  }

  /// The same in the batch, which is filled where it is at its end.
  Result<bool> ReachInBatch() {
    if (!batch_->AtEnd()) return true;
    batch_->Clear();
    // What fails fails once it is the first: those in front of it are looked at before.
    while (batch_->size() < batch_max_) {
      const auto reached = Reach();
      if (!reached.ok() && batch_->size() == 0) return reached;
      if (!reached.ok() || !*reached) break;
      auto entry = batch_->Add(cursor_->key());
      if (!entry.ok() && batch_->size() == 0) return std::move(entry).error();
      if (!entry.ok()) break;
      RecordView identity;
      (*entry)->record.key()->FillIdentity(&identity);
      (*entry)->selected = MatchesIdentity(query_, identity);
      cursor_->Next();
    }
    if (batch_->size() == 0) return false;
    batch_->LookUp();
    return true;
  }

  Result<bool> LookAtBatch() {
    IndexedBatch::Entry& entry = batch_->front();
    if (!entry.selected) return false;
    VELLUM_TRY(batch_->Load(&entry));
    record_ = entry.record.view();
    return MatchesContent(query_, record_);
  }

  Result<bool> Look() {
    if (!content_) {
      if (index_) {
        record_key_.clear();
        VELLUM_TRY(AppendIndexedRecordKey(cursor_->key(), &record_key_, &identity_));
      } else {
        VELLUM_TRY(identity_.Assign(cursor_->key()));
      }
      record_ = {};
      identity_.FillIdentity(&record_);
      return MatchesIdentity(query_, record_);
    }
    VELLUM_TRY(stored_.Assign(cursor_->key(), cursor_->value()));
    record_ = stored_.view();
    return MatchesIdentity(query_, record_) && MatchesContent(query_, record_);
  }

  const ReadView& view_;
  const RecordQuery query_;
  const Plan plan_;
  const bool index_;
  const bool content_;
  const std::uint64_t batch_max_;
  std::size_t range_ = 0;
  std::unique_ptr<TableCursor> cursor_;
  std::optional<IndexedBatch> batch_;  ///< Where an index is read, and the records are needed.
  bool on_record_ = false;
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
  // One more than the page has, to know whether that was all.
  const std::uint64_t most = limit == std::numeric_limits<std::uint64_t>::max() || limit == 0 ? 0 : limit + 1;
  VELLUM_ASSIGN_OR_RETURN(const auto walk, RecordWalk::Start(view, query, after, RecordWalk::Need::kRecord, most));
  ListedPage page;
  for (;;) {
    VELLUM_ASSIGN_OR_RETURN(const bool found, walk->Next());
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
  VELLUM_ASSIGN_OR_RETURN(const auto walk, RecordWalk::Start(view, query, {}, RecordWalk::Need::kIdentity));
  for (;;) {
    VELLUM_ASSIGN_OR_RETURN(const bool found, walk->Next());
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
