#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "sync/query.h"
#include "sync/read_view.h"
#include "vellum/status.h"

/// Reading records by any combination of filters, through the narrowest index that there is; what the index does not decide is
/// checked record by record.
namespace vellum::sync {

/// Takes one record; views are valid during the call. A failure ends the answer and is its result.
using RecordVisitor = std::function<Status(const RecordView&)>;

/// kInvalidArgument: a filter that records of this type do not have, or a name that lacks a part.
Status CheckQuery(const RecordQuery& query);

struct ListedPage {
  std::uint64_t records = 0;
  /// The last key consumed, of the index that was read: what comes behind it is the next page. Empty: that was all.
  std::string last_key;
};

/// Visits records in the order of the index that is read; the same query on the same view always reads the same one. `limit` 0:
/// all. `after`: an earlier page's last_key, or empty; kInvalidArgument for one that this query cannot have ended at.
/// kDataLoss for an index entry without a record.
Result<ListedPage> ListRecords(const ReadView& view, const RecordQuery& query, std::uint64_t limit, std::string_view after,
                               const RecordVisitor& visit);

/// Visits the principals that grants which the query selects name: each once, by type and id. Those without a resource record
/// have only their identity. Memory is bounded: beyond 65,536 principals the grants are read again for the next so many,
/// unless they are selected by principal alone, or not at all.
Result<ListedPage> ListPrincipals(const ReadView& view, const RecordQuery& query, std::uint64_t limit,
                                  std::string_view after, const RecordVisitor& visit);

/// Visits every record of a type that `id` may mean, each once. It is the connector's own id; if there is none of that (a grant
/// without one is called "entitlement:type:id"), the parts of an identity with colons between them: resources "type:id",
/// entitlements "type:id:entitlement", grants "type:id:entitlement:type:id". How many: the result.
Result<std::uint64_t> FindRecords(const ReadView& view, RecordType type, std::string_view id, const RecordVisitor& visit);

/// Whether a record is one that the query selects.
bool Matches(const RecordQuery& query, const RecordView& record);

/// Every way to read `id` as "type:resource:tail". Nothing is looked up. At most kSplitsMax: above that, nothing and false.
struct EntitlementSplit {
  std::string_view type_id;
  std::string_view resource_id;
  std::string_view tail;
};
inline constexpr std::size_t kSplitsMax = 1024;
bool SplitAtColons(std::string_view id, std::vector<EntitlementSplit>* splits);

}  // namespace vellum::sync
