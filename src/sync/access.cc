#include "sync/access.h"

#include <algorithm>
#include <map>

#include "base/bytes.h"
#include "sync/codec.h"
#include "sync/list.h"
#include "sync/messages.h"

namespace vellum::sync {
namespace {

/// Display names, the last of each kind remembered: consecutive rows share them.
class Names {
 public:
  explicit Names(const ReadView& view) : resources_(view, Bucket::kResource), entitlements_(view, Bucket::kEntitlement) {}

  Result<std::string> OfResource(const ResourceName& resource) {
    RecordView record;
    record.type = RecordType::kResource;
    record.type_id = resource.type;
    record.id = resource.id;
    return Of(record, &resources_);
  }
  Result<std::string> OfEntitlement(const ResourceName& resource, std::string_view id) {
    RecordView record;
    record.type = RecordType::kEntitlement;
    record.type_id = resource.type;
    record.resource_id = resource.id;
    record.id = id;
    return Of(record, &entitlements_);
  }

 private:
  static Result<std::string> Of(const RecordView& record, RecordLookup* lookup) {
    std::string key;
    AppendRecordKey(&key, record);
    VELLUM_ASSIGN_OR_RETURN(const auto value, lookup->Find(key));
    if (!value) return std::string();
    VELLUM_ASSIGN_OR_RETURN(const ValueView parsed, ParseValue(*value));
    return std::string(ReadDisplayName(record.type, parsed.data));
  }

  RecordLookup resources_;
  RecordLookup entitlements_;
};

/// What a grant's sources say. Ids owned.
struct Sources {
  struct Other {
    std::string entitlement_id;
    bool is_direct = false;
  };
  bool direct = true;         ///< The principal holds the entitlement itself.
  std::vector<Other> others;  ///< From which it derives, by id.
};

Result<Sources> SourcesOf(const RecordView& grant) {
  const auto read = ReadGrantSources(grant.data);
  if (!read) return DataLoss("the message of grant " + Printable(grant.id) + " is not protobuf");
  Sources sources;
  sources.direct = read->empty();
  for (const GrantSource& each : *read) {
    if (each.entitlement_id == grant.entitlement_id) {
      sources.direct = true;
    } else {
      sources.others.push_back({std::string(each.entitlement_id), each.is_direct});
    }
  }
  return sources;
}

/// The grants that one principal has, by the id of their entitlement.
class Holdings {
 public:
  struct Held {
    ResourceName resource;
    std::string key;
    std::optional<Sources> sources;  ///< Read when asked for.
  };

  explicit Holdings(const ReadView& view) : view_(view) {}

  /// Reads the principal's index entries unless they are here already.
  Status Load(const ResourceName& principal) {
    if (principal_ == principal) return {};
    principal_ = principal;
    held_.clear();
    const std::string prefix = GrantsOfPrincipalPrefix(principal.type, principal.id);
    const auto cursor = view_.Prefix(prefix, ReadView::Reach::kSome);
    DecodedKey decoded;
    for (cursor->Seek(prefix); cursor->valid(); cursor->Next()) {
      if (held_.size() == kHeldMax) {
        held_.clear();
        return {};
      }
      std::string key;
      VELLUM_TRY(AppendIndexedRecordKey(cursor->key(), &key, &decoded));
      RecordView grant;
      decoded.FillIdentity(&grant);
      held_.emplace(std::string(grant.entitlement_id),
                    Held{{std::string(grant.type_id), std::string(grant.resource_id)}, std::move(key), std::nullopt});
    }
    return cursor->status();
  }

  /// Null: none of that id, or several (`several` says which).
  Held* Find(const std::string& entitlement_id, bool* several) {
    const auto [first, last] = held_.equal_range(entitlement_id);
    *several = first != last && std::next(first) != last;
    return first == last || *several ? nullptr : &first->second;
  }

  Result<const Sources*> SourcesOfHeld(Held* held) {
    if (!held->sources) {
      VELLUM_ASSIGN_OR_RETURN(const auto value, view_.Get(held->key));
      if (!value) return DataLoss("an index entry leads to no grant " + Printable(held->key) + ": verify the sync");
      VELLUM_ASSIGN_OR_RETURN(const StoredRecord stored, StoredRecord::Parse(held->key, *value));
      VELLUM_ASSIGN_OR_RETURN(held->sources, SourcesOf(stored.view()));
    }
    return &*held->sources;
  }

 private:
  const ReadView& view_;
  std::optional<ResourceName> principal_;
  std::multimap<std::string, Held> held_;
};

/// Follows one grant's sources, depth first. Every leaf is a chain, so the limit on chains bounds the work.
class ChainFinder {
 public:
  ChainFinder(const ReadView& view, Holdings* holdings, std::uint32_t depth_max, AccessRow* row)
      : view_(view), holdings_(*holdings), depth_max_(depth_max), row_(*row) {}

  Status Follow(const Sources& sources) {
    for (const Sources::Other& other : sources.others) {
      if (row_.chains.size() == kChainsMax) {
        row_.chains_cut = true;
        return {};
      }
      steps_.push_back({other.entitlement_id, {}, other.is_direct});
      VELLUM_TRY(Step(other));
      steps_.pop_back();
    }
    return {};
  }

 private:
  using End = AccessRow::Chain::End;

  Status Step(const Sources::Other& other) {
    bool several = false;
    Holdings::Held* const held = holdings_.Find(other.entitlement_id, &several);
    if (held == nullptr) {
      if (!several) VELLUM_TRY(FindResource());
      Emit(other.is_direct ? End::kComplete : End::kUnknown);
      return {};
    }
    AccessRow::Step& step = steps_.back();
    step.resource = held->resource;
    if (IsOnPath(step)) {
      Emit(End::kCycle);
      return {};
    }
    VELLUM_ASSIGN_OR_RETURN(const Sources* const sources, holdings_.SourcesOfHeld(held));
    step.direct = sources->direct;
    if (sources->direct) Emit(End::kComplete);
    if (sources->others.empty()) return {};
    if (steps_.size() == depth_max_) {
      Emit(End::kTooDeep);
      return {};
    }
    return Follow(*sources);
  }

  /// The principal does not hold it (any more): the entitlement itself may still say where it belongs.
  Status FindResource() {
    RecordQuery query;
    query.type = RecordType::kEntitlement;
    query.entitlement = steps_.back().entitlement;
    std::vector<ResourceName> resources;
    VELLUM_TRY(ListRecords(view_, query, 2, {}, [&resources](const RecordView& record) {
                 resources.push_back({std::string(record.type_id), std::string(record.resource_id)});
                 return Status();
               }).error());
    if (resources.size() == 1) steps_.back().resource = resources.front();
    return {};
  }

  /// Whether the last step is an entitlement that the chain, or the row, has already.
  bool IsOnPath(const AccessRow::Step& last) const {
    if (last.entitlement == row_.entitlement && last.resource == row_.resource) return true;
    return std::any_of(steps_.begin(), steps_.end() - 1, [&last](const AccessRow::Step& step) {
      return step.entitlement == last.entitlement && step.resource == last.resource;
    });
  }

  void Emit(End end) {
    if (row_.chains.size() == kChainsMax) {
      row_.chains_cut = true;
      return;
    }
    row_.chains.push_back({steps_, end});
  }

  const ReadView& view_;
  Holdings& holdings_;
  const std::uint32_t depth_max_;
  AccessRow& row_;
  std::vector<AccessRow::Step> steps_;
};

/// Makes rows of grants.
class RowMaker {
 public:
  RowMaker(const ReadView& view, const AccessQuestion& question, const AccessVisitor& visit)
      : view_(view), question_(question), visit_(visit), names_(view), principals_(view), holdings_(view) {}

  Status Add(const RecordView& grant) {
    AccessRow& row = row_;
    VELLUM_TRY(SetResource({std::string(grant.type_id), std::string(grant.resource_id)}));
    if (row.entitlement != grant.entitlement_id || !entitlement_named_) {
      row.entitlement = grant.entitlement_id;
      VELLUM_ASSIGN_OR_RETURN(row.entitlement_name, names_.OfEntitlement(row.resource, row.entitlement));
      entitlement_named_ = true;
    }
    if (row.principal.type != grant.principal_type_id || row.principal.id != grant.principal_id) {
      row.principal = {std::string(grant.principal_type_id), std::string(grant.principal_id)};
      VELLUM_ASSIGN_OR_RETURN(row.principal_name, principals_.OfResource(row.principal));
    }
    VELLUM_ASSIGN_OR_RETURN(const Sources sources, SourcesOf(grant));
    row.direct = sources.direct;
    row.chains.clear();
    row.chains_cut = false;
    if (question_.why && !sources.others.empty()) {
      VELLUM_TRY(holdings_.Load(row.principal));
      VELLUM_TRY(ChainFinder(view_, &holdings_, question_.depth_max, &row).Follow(sources));
    }
    return visit_(row);
  }

 private:
  Status SetResource(ResourceName resource) {
    if (row_.resource == resource) return {};
    row_.resource = std::move(resource);
    entitlement_named_ = false;
    VELLUM_ASSIGN_OR_RETURN(row_.resource_name, names_.OfResource(row_.resource));
    return {};
  }

  const ReadView& view_;
  const AccessQuestion& question_;
  const AccessVisitor& visit_;
  Names names_;
  Names principals_;  // ascending apart from those of the resources
  Holdings holdings_;
  AccessRow row_;
  bool entitlement_named_ = false;
};

}  // namespace

Status CheckQuestion(const AccessQuestion& question) {
  if (question.principal.has_value() == question.resource.has_value()) {
    return InvalidArgument("a question about access names a principal or a resource, one of the two");
  }
  if (question.why && (question.depth_max == 0 || question.depth_max > kChainDepthMax)) {
    return InvalidArgument("the depth of a chain is 1 to " + std::to_string(kChainDepthMax) + ", not " +
                           std::to_string(question.depth_max));
  }
  return {};
}

Result<AccessSummary> AnswerAccess(const ReadView& view, const AccessQuestion& question, const AccessVisitor& visit) {
  VELLUM_TRY(CheckQuestion(question));
  RecordQuery query;
  query.principal = question.principal;
  query.resource = question.resource;
  AccessSummary summary;
  RowMaker rows(view, question, visit);
  VELLUM_ASSIGN_OR_RETURN(const ListedPage page, ListRecords(view, query, 0, {}, [&rows](const RecordView& grant) {
                            return rows.Add(grant);
                          }));
  summary.rows = page.records;
  VELLUM_ASSIGN_OR_RETURN(summary.pending_expansions, view.CountPendingExpansions());
  return summary;
}

}  // namespace vellum::sync
