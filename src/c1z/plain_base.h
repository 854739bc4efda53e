#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "c1z/message_check.h"
#include "c1z/pages.h"
#include "c1z/plain_schema.h"
#include "sync/record.h"
#include "vellum/status.h"

/// Whether a v1 database may be rewritten as if it had been imported, merged and exported: it holds one sync in tables
/// and indexes of the newest schema and nothing beside them; every row would be imported, as a record of its own and
/// under the id that it would be exported with; every index agrees with its table. Included inside this room only.
namespace vellum::c1z {

/// Checks a table's rows as they come, in their order. What is not plain is kInvalidArgument. Not thread-safe.
class PlainCheck {
 public:
  /// The columns that it looks at.
  enum Column : std::uint8_t {
    kSyncId,
    kData,
    kStamp,
    kExternalId,
    kResourceTypeId,
    kResourceId,
    kEntitlementId,
    kPrincipalType,
    kPrincipalId,
    kExpansion,
    kNeedsExpansion,
    kContentType,
    kParentType,
    kParentId,
    kColumns
  };

  /// `table` must outlive this, which counts in it what its indexes have to hold. `from`: the sync.
  PlainCheck(PlainTable* table, std::string from);

  /// `record` gets what identifies the row's record, and what is checked of it: views into the row.
  Status CheckRow(const PageRecord& row, sync::RecordView* record);
  const PageValue& Named(const PageRecord& row, Column column) const;
  /// Where the table has it.
  int at(Column column) const { return columns_[column]; }
  /// 0: there was none.
  std::int64_t last_row() const { return last_row_.value_or(0); }

 private:
  Status CheckRecord(const PageRecord& row, sync::RecordView* into);
  Status TakeGrant(const PageRecord& row, sync::RecordView* record) const;
  Status Odd(const std::string& what) const;

  PlainTable& table_;
  const std::string from_;
  std::array<int, kColumns> columns_{};
  std::optional<std::int64_t> last_row_;
  MessageCheck messages_;
};

/// Checks an index's entries as they come, after the rows of its table. Not thread-safe.
class PlainIndexCheck {
 public:
  PlainIndexCheck(const PlainTable& table, PlainIndex* index, std::string from);

  Status CheckEntry(const PageRecord& entry);
  /// After the last one: whether they are those of the table's rows.
  Status Finish() const;
  /// Which value of an entry is the sync's id.
  std::optional<std::size_t> sync_column() const { return sync_column_; }

 private:
  PlainIndex& index_;
  const std::string from_;
  std::optional<std::size_t> sync_column_;
  std::vector<PageValue> last_;
  std::vector<std::string> last_bytes_;
  std::uint64_t entries_ = 0;
  std::uint64_t sum_ = 0;
};

/// Rows of one identity would have become one record. Ids are unique, so only grants can have them. `database`: a path.
Status CheckGrantsAreDistinct(const std::string& database);

/// SQLite's order of values that are no fractions, and of entries of as many: below, at or above 0. `same`: how many
/// values in front they share.
int CompareValues(const PageValue& a, const PageValue& b);
int CompareEntries(const std::vector<PageValue>& a, const std::vector<PageValue>& b, std::size_t* same);

}  // namespace vellum::c1z
