#include "c1z/plain_base.h"

#define XXH_INLINE_ALL
#include <xxhash.h>

#include <algorithm>
#include <utility>

#include "c1z/v1_rows.h"
#include "sync/codec.h"

namespace vellum::c1z {
namespace {

using Kind = PageValue::Kind;
using sync::RecordType;
using sync::RecordView;

constexpr std::array<const char*, PlainCheck::kColumns> kColumnNames = {"sync_id",
                                                                        "data",
                                                                        "discovered_at",
                                                                        "external_id",
                                                                        "resource_type_id",
                                                                        "resource_id",
                                                                        "entitlement_id",
                                                                        "principal_resource_type_id",
                                                                        "principal_resource_id",
                                                                        "expansion",
                                                                        "needs_expansion",
                                                                        "content_type",
                                                                        "parent_resource_type_id",
                                                                        "parent_resource_id"};

/// Of the values of one entry, in order.
class EntryHash {
 public:
  void Add(const PageValue& value) {
    state_ = XXH3_64bits_withSeed(value.bytes.data(), value.bytes.size(),
                                  state_ * 0x9E3779B97F4A7C15u + static_cast<std::uint64_t>(value.kind) +
                                      static_cast<std::uint64_t>(value.number) * 31);
  }
  std::uint64_t value() const { return state_; }

 private:
  std::uint64_t state_ = 0;
};

const PageValue& ValueOf(const PageRecord& row, int column) {
  static const PageValue null;
  const auto at = static_cast<std::size_t>(column);
  return column >= 0 && at < row.values.size() ? row.values[at] : null;
}

}  // namespace

int CompareValues(const PageValue& a, const PageValue& b) {
  if (a.kind != b.kind) return a.kind < b.kind ? -1 : 1;
  if (a.kind == Kind::kInteger) return a.number < b.number ? -1 : a.number > b.number ? 1 : 0;
  return a.bytes.compare(b.bytes);
}

int CompareEntries(const std::vector<PageValue>& a, const std::vector<PageValue>& b, std::size_t* same) {
  int order = 0;
  for (*same = 0; *same < a.size(); ++*same) {
    order = CompareValues(a[*same], b[*same]);
    if (order != 0) break;
  }
  return order;
}

PlainCheck::PlainCheck(PlainTable* table, std::string from) : table_(*table), from_(std::move(from)) {
  for (std::size_t i = 0; i < kColumns; ++i) columns_[i] = table_.Column(kColumnNames[i]);
}

const PageValue& PlainCheck::Named(const PageRecord& row, Column column) const {
  return ValueOf(row, columns_[column]);
}

Status PlainCheck::CheckRow(const PageRecord& row, RecordView* record) {
  if (last_row_ && row.row_id <= *last_row_) return NotPlain("the rows of " + table_.name + " are out of order");
  last_row_ = row.row_id;
  if (row.values.size() != table_.columns.size()) return NotPlain(table_.name + " has rows of an older schema");
  const PageValue& sync_id = Named(row, kSyncId);
  if (sync_id.kind != Kind::kText || sync_id.bytes != from_) return NotPlain(table_.name + " has rows of another sync");
  PageValue row_id = PageValue::Integer(row.row_id);
  for (PlainIndex& index : table_.indexes) {
    if (index.condition == PlainIndex::Condition::kHasExpansion && Named(row, kExpansion).kind == Kind::kNull) continue;
    if (index.condition == PlainIndex::Condition::kNeedsExpansion && Named(row, kNeedsExpansion).number != 1) continue;
    EntryHash hash;
    for (const int column : index.columns) hash.Add(column == kRowId ? row_id : ValueOf(row, column));
    ++index.expected_entries;
    index.expected_hash += hash.value();
  }
  return table_.type ? CheckRecord(row, record) : Status();
}

/// A row that import would take and export would write as it is.
Status PlainCheck::CheckRecord(const PageRecord& row, RecordView* into) {
  const PageValue& data = Named(row, kData);
  if (data.kind != Kind::kBlob) return Odd("a message that is no blob");
  RecordView record;
  record.type = *table_.type;
  record.data = data.bytes;
  const auto take = [&](Column column, std::string_view* text) {
    const PageValue& value = Named(row, column);
    *text = value.bytes;
    return value.kind == Kind::kText;
  };
  if (!take(kExternalId, &record.id) || Named(row, kStamp).kind != Kind::kText) return Odd("no text where it belongs");
  const auto message = ReadMessageIdentity(*table_.type, record.data);
  if (!message) return Odd("a message that is not protobuf");
  switch (*table_.type) {
    case RecordType::kResourceType: break;
    case RecordType::kAsset:
      if (!take(kContentType, &record.content_type)) return Odd("no content type");
      break;
    case RecordType::kResource: {
      if (!take(kResourceTypeId, &record.type_id)) return Odd("no resource type");
      const std::size_t prefix = record.type_id.size() + 1;
      if (record.id.size() <= prefix || !record.id.starts_with(record.type_id) || record.id[prefix - 1] != ':') {
        return Odd("an id that is not type:id");
      }
      record.id.remove_prefix(prefix);
      break;
    }
    case RecordType::kEntitlement:
      if (!take(kResourceTypeId, &record.type_id) || !take(kResourceId, &record.resource_id)) return Odd("no resource");
      if (!message->type_id.empty() && !message->resource_id.empty() &&
          (message->type_id != record.type_id || message->resource_id != record.resource_id)) {
        return Odd("a message that names another resource");
      }
      break;
    case RecordType::kGrant: VELLUM_TRY(TakeGrant(row, &record)); break;
  }
  if (const Status usable = sync::CheckRecord(record); !usable.ok()) return Odd(usable.message());
  if (!messages_.Passes(record)) return Odd("a message that is not protobuf");
  *into = record;
  return {};
}

Status PlainCheck::TakeGrant(const PageRecord& row, RecordView* record) const {
  const std::array<std::pair<Column, std::string_view*>, 5> parts = {{
      {kResourceTypeId, &record->type_id},
      {kResourceId, &record->resource_id},
      {kEntitlementId, &record->entitlement_id},
      {kPrincipalType, &record->principal_type_id},
      {kPrincipalId, &record->principal_id},
  }};
  for (const auto& [column, part] : parts) {
    const PageValue& value = Named(row, column);
    if (value.kind != Kind::kText) return Odd("no text where it belongs");
    *part = value.bytes;
  }
  const PageValue& expansion = Named(row, kExpansion);
  const PageValue& needs_expansion = Named(row, kNeedsExpansion);
  const bool plain = (expansion.kind == Kind::kNull || (expansion.kind == Kind::kBlob && !expansion.bytes.empty())) &&
                     needs_expansion.kind == Kind::kInteger && (needs_expansion.number & ~std::int64_t{1}) == 0;
  if (!plain) return Odd("an expansion that is not as we write it");
  if (expansion.kind == Kind::kNull && record->data.find(kExpandable) != std::string_view::npos) {
    return Odd("an expansion that is still in its message");
  }
  record->expansion = expansion.bytes;
  return {};
}

Status PlainCheck::Odd(const std::string& what) const {
  return NotPlain(table_.name + ", row " + std::to_string(*last_row_) + ": " + what);
}

PlainIndexCheck::PlainIndexCheck(const PlainTable& table, PlainIndex* index, std::string from)
    : index_(*index), from_(std::move(from)), last_bytes_(index->columns.size()) {
  const int sync_id = table.Column(kColumnNames[PlainCheck::kSyncId]);
  const auto found = std::find(index_.columns.begin(), index_.columns.end(), sync_id);
  if (found != index_.columns.end()) sync_column_ = static_cast<std::size_t>(found - index_.columns.begin());
}

Status PlainIndexCheck::CheckEntry(const PageRecord& entry) {
  if (entry.values.size() != index_.columns.size()) return NotPlain(index_.name + " has entries of another form");
  if (!last_.empty()) {
    std::size_t same = 0;
    const int order = CompareEntries(last_, entry.values, &same);
    if (order >= 0) return NotPlain(index_.name + " is out of order");
    index_.repeats |= same + 1 == index_.columns.size();
  }
  if (sync_column_) {
    const PageValue& sync_id = entry.values[*sync_column_];
    if (sync_id.kind != Kind::kText || sync_id.bytes != from_)
      return NotPlain(index_.name + " has entries of another sync");
  }
  EntryHash hash;
  last_ = entry.values;
  for (std::size_t i = 0; i < last_.size(); ++i) {
    if (last_[i].kind == Kind::kReal) return NotPlain(index_.name + " has numbers that are not whole");
    hash.Add(last_[i]);
    // Views last for the call only.
    last_bytes_[i].assign(last_[i].bytes);
    last_[i].bytes = last_bytes_[i];
  }
  ++entries_;
  sum_ += hash.value();
  return {};
}

Status PlainIndexCheck::Finish() const {
  if (index_.unique && index_.repeats) return NotPlain(index_.name + " has one entry twice");
  const bool agrees = entries_ == index_.expected_entries && sum_ == index_.expected_hash;
  return agrees ? Status() : NotPlain(index_.name + " does not agree with its table");
}

Status CheckGrantsAreDistinct(const std::string& database) {
  VELLUM_ASSIGN_OR_RETURN(Sqlite connection, Sqlite::OpenUntrusted(database, database));
  VELLUM_ASSIGN_OR_RETURN(
      Statement twice,
      connection.Prepare("SELECT 1 FROM v1_grants GROUP BY entitlement_id, principal_resource_type_id, "
                         "principal_resource_id, resource_type_id, resource_id HAVING count(*) > 1 LIMIT 1"));
  VELLUM_ASSIGN_OR_RETURN(const bool found, twice.Step());
  return found ? NotPlain("two grants are one") : Status();
}

}  // namespace vellum::c1z
