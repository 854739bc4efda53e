#include "c1z/plain_base.h"

#define XXH_INLINE_ALL
#include <xxhash.h>

#include <algorithm>
#include <array>
#include <optional>
#include <vector>

#include "base/bytes.h"
#include "c1z/pages.h"
#include "c1z/sqlite.h"
#include "c1z/v1_rows.h"
#include "sync/codec.h"

namespace vellum::c1z {
namespace {

using Kind = PageValue::Kind;
using sync::RecordType;
using sync::RecordView;

constexpr const char* kRuns = "v1_sync_runs";
constexpr const char* kSessions = "v1_connector_sessions";
constexpr int kRowId = -1;  ///< Stands for the row id among an index's columns.

Status NotPlain(const std::string& why) { return InvalidArgument(why); }

enum class Condition : std::uint8_t { kNone, kHasExpansion, kNeedsExpansion };

struct Index {
  std::string name;
  std::uint32_t root = 0;
  std::vector<int> columns;  ///< Of the table; kRowId last.
  Condition condition = Condition::kNone;
  bool unique = false;
  bool repeats = false;  ///< Two entries differ in the row id alone.
  // Entries and their hashes, summed: once from the table's rows, once from the index.
  std::uint64_t expected_entries = 0;
  std::uint64_t expected_hash = 0;
};

struct Table {
  std::string name;
  std::uint32_t root = 0;
  std::vector<std::string> columns;
  int row_id_column = kRowId;  ///< The one that is another name of the row id.
  std::vector<Index> indexes;

  int Column(std::string_view wanted) const {
    const auto found = std::find(columns.begin(), columns.end(), wanted);
    return found == columns.end() ? kRowId : static_cast<int>(found - columns.begin());
  }
  const Index* IndexOn(const std::vector<std::string>& wanted, bool unique) const {
    for (const Index& index : indexes) {
      if (index.condition != Condition::kNone || index.columns.size() != wanted.size() + 1 || (unique && !index.unique))
        continue;
      bool same = true;
      for (std::size_t i = 0; i < wanted.size(); ++i) same &= index.columns[i] == Column(wanted[i]);
      if (same) return &index;
    }
    return nullptr;
  }
};

std::string Lower(std::string_view text) {
  std::string lower(text);
  std::transform(lower.begin(), lower.end(), lower.begin(),
                 [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
  return lower;
}

/// The schema, read through SQLite.
class Schema {
 public:
  explicit Schema(Sqlite* database) : database_(database) {}

  Result<std::vector<Table>> Read() {
    VELLUM_ASSIGN_OR_RETURN(Statement rows,
                            database_->Prepare("SELECT type, name, tbl_name, rootpage, sql FROM sqlite_schema"));
    for (;;) {
      VELLUM_ASSIGN_OR_RETURN(const bool row, rows.Step());
      if (!row) break;
      const std::string type(rows.Bytes(0));
      const std::string name(rows.Bytes(1));
      const std::string sql = Lower(rows.Bytes(4));
      const auto root = static_cast<std::uint32_t>(rows.Int(3));
      if (type == "table") {
        VELLUM_TRY(AddTable(name, root, sql));
      } else if (type == "index") {
        indexes_.push_back({name, std::string(rows.Bytes(2)), root, sql});
      } else {
        return NotPlain("it has the " + Printable(type) + " " + Printable(name));
      }
    }
    for (const FoundIndex& index : indexes_) VELLUM_TRY(AddIndex(index));
    VELLUM_TRY(CheckComplete());
    return std::move(tables_);
  }

 private:
  struct FoundIndex {
    std::string name;
    std::string table;
    std::uint32_t root;
    std::string sql;
  };

  /// The columns of the newest schema that records and runs need.
  static std::vector<std::string> Wanted(const std::string& table) {
    if (table == kRuns) {
      return {"sync_id",        "started_at",     "ended_at",      "sync_token",        "sync_type",
              "parent_sync_id", "linked_sync_id", "supports_diff", "grants_backfilled", "stats"};
    }
    if (table == kSessions) return {"sync_id", "key", "value"};
    for (const TableSpec& spec : RecordTables()) {
      if (spec.name != table) continue;
      std::vector<std::string> wanted(spec.required.begin(), spec.required.end());
      if (spec.type == RecordType::kGrant) wanted.insert(wanted.end(), {"expansion", "needs_expansion"});
      if (spec.type == RecordType::kResource)
        wanted.insert(wanted.end(), {"parent_resource_type_id", "parent_resource_id"});
      return wanted;
    }
    return {};
  }

  Status AddTable(const std::string& name, std::uint32_t root, const std::string& sql) {
    const std::vector<std::string> wanted = Wanted(name);
    if (wanted.empty()) return NotPlain("it has the table " + Printable(name));
    // What would make writing to it do more than keep a row.
    for (const char* word : {"check", "collate", "references", "generated", " as ", "without", "strict", "unique",
                             "conflict", "virtual"}) {
      if (sql.find(word) != std::string::npos) return NotPlain(name + " is declared with '" + word + "'");
    }
    Table table;
    table.name = name;
    table.root = root;
    VELLUM_ASSIGN_OR_RETURN(Statement info, database_->Prepare("PRAGMA table_xinfo(" + name + ")"));
    for (;;) {
      VELLUM_ASSIGN_OR_RETURN(const bool row, info.Step());
      if (!row) break;
      if (info.Int(5) != 0 && Lower(info.Bytes(2)) == "integer")
        table.row_id_column = static_cast<int>(table.columns.size());
      table.columns.emplace_back(info.Bytes(1));
    }
    for (const std::string& column : wanted) {
      if (table.Column(column) == kRowId) return NotPlain(name + " is of an older schema: it lacks " + column);
    }
    tables_.push_back(std::move(table));
    return {};
  }

  Status AddIndex(const FoundIndex& found) {
    const auto table =
        std::find_if(tables_.begin(), tables_.end(), [&](const Table& each) { return each.name == found.table; });
    const std::string name = "index " + Printable(found.name);
    const bool plain_name = std::all_of(found.name.begin(), found.name.end(),
                                        [](unsigned char c) { return std::isalnum(c) != 0 || c == '_'; });
    if (table == tables_.end() || !plain_name) return NotPlain(name + " is not ours");
    Index index{found.name, found.root, {}, Condition::kNone, found.sql.starts_with("create unique"), false, 0, 0};
    if (const std::size_t where = found.sql.find("where"); where != std::string::npos) {
      const std::string condition = found.sql.substr(where);
      if (found.name == "idx_grants_sync_expansion_v1" && condition == "where expansion is not null") {
        index.condition = Condition::kHasExpansion;
      } else if (found.name == "idx_grants_sync_needs_expansion_v1" && condition == "where needs_expansion = 1") {
        index.condition = Condition::kNeedsExpansion;
      } else {
        return NotPlain(name + " has a condition of its own");
      }
    }
    VELLUM_ASSIGN_OR_RETURN(Statement info, database_->Prepare("PRAGMA index_xinfo(" + found.name + ")"));
    for (;;) {
      VELLUM_ASSIGN_OR_RETURN(const bool row, info.Step());
      if (!row) break;
      const std::int64_t column = info.Int(1);
      const bool plain = column >= kRowId && info.Int(3) == 0 && info.Bytes(4) == "BINARY";
      if (!plain) return NotPlain(name + " sorts in a way of its own");
      index.columns.push_back(column == table->row_id_column ? kRowId : static_cast<int>(column));
    }
    if (index.columns.empty() || index.columns.back() != kRowId)
      return NotPlain(name + " does not end with the row id");
    table->indexes.push_back(std::move(index));
    return {};
  }

  Status CheckComplete() const {
    for (const TableSpec& spec : RecordTables()) {
      const auto table =
          std::find_if(tables_.begin(), tables_.end(), [&](const Table& each) { return each.name == spec.name; });
      if (table == tables_.end()) return NotPlain(std::string("it lacks the table ") + spec.name);
      if (table->IndexOn({"external_id", "sync_id"}, true) == nullptr) {
        return NotPlain(std::string(spec.name) + " lacks its unique index");
      }
    }
    return {};
  }

  Sqlite* const database_;
  std::vector<Table> tables_;
  std::vector<FoundIndex> indexes_;
};

int Compare(const PageValue& a, const PageValue& b) {
  if (a.kind != b.kind) return a.kind < b.kind ? -1 : 1;
  if (a.kind == Kind::kInteger) return a.number < b.number ? -1 : a.number > b.number ? 1 : 0;
  return a.bytes.compare(b.bytes);
}

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

/// The columns that the check of a row looks at.
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
  kColumns
};
constexpr std::array<const char*, kColumns> kColumnNames = {"sync_id",
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
                                                            "content_type"};

/// Walks one table and its indexes.
class TableCheck {
 public:
  TableCheck(DatabasePages* pages, Table* table, const std::string& from, const std::string& to, V1Stats* stats)
      : pages_(pages), table_(table), from_(from), to_(to), stats_(stats) {
    for (const TableSpec& spec : RecordTables()) {
      if (spec.name == table->name) type_ = spec.type;
    }
    for (std::size_t i = 0; i < kColumns; ++i) columns_[i] = table->Column(kColumnNames[i]);
  }

  Status Run() {
    const bool relabel = table_->name != kRuns;
    const int sync_id = columns_[kSyncId];
    VELLUM_TRY(pages_->Walk(table_->root, DatabasePages::Tree::kTable, relabel ? sync_id : -1, to_,
                            [this](const PageRecord& row) { return CheckRow(row); }));
    for (Index& index : table_->indexes) {
      const auto found = std::find(index.columns.begin(), index.columns.end(), sync_id);
      const int relabelled =
          relabel && found != index.columns.end() ? static_cast<int>(found - index.columns.begin()) : -1;
      VELLUM_TRY(CheckIndex(&index, relabelled));
    }
    return {};
  }

 private:
  static const PageValue& Value(const PageRecord& row, int column) {
    static const PageValue null;
    const auto at = static_cast<std::size_t>(column);
    return column >= 0 && at < row.values.size() ? row.values[at] : null;
  }
  const PageValue& Named(const PageRecord& row, Column column) const { return Value(row, columns_[column]); }

  Status CheckRow(const PageRecord& row) {
    if (last_row_ && row.row_id <= *last_row_) return NotPlain("the rows of " + table_->name + " are out of order");
    last_row_ = row.row_id;
    if (row.values.size() != table_->columns.size()) return NotPlain(table_->name + " has rows of an older schema");
    const PageValue& sync_id = Named(row, kSyncId);
    if (sync_id.kind != Kind::kText || sync_id.bytes != from_)
      return NotPlain(table_->name + " has rows of another sync");
    for (Index& index : table_->indexes) {
      if (index.condition == Condition::kHasExpansion && Named(row, kExpansion).kind == Kind::kNull) continue;
      if (index.condition == Condition::kNeedsExpansion && Named(row, kNeedsExpansion).number != 1) continue;
      EntryHash hash;
      for (const int column : index.columns) {
        PageValue row_id;
        row_id.kind = Kind::kInteger;
        row_id.number = row.row_id;
        hash.Add(column == kRowId ? row_id : Value(row, column));
      }
      ++index.expected_entries;
      index.expected_hash += hash.value();
    }
    return type_ ? CheckRecordRow(row) : Status();
  }

  /// A row that import would take and export would write as it is.
  Status CheckRecordRow(const PageRecord& row) {
    const PageValue& data = Named(row, kData);
    if (data.kind != Kind::kBlob) return Odd("a message that is no blob");
    RecordView record;
    record.type = *type_;
    record.data = data.bytes;
    const auto take = [&](Column column, std::string_view* text) {
      const PageValue& value = Named(row, column);
      *text = value.bytes;
      return value.kind == Kind::kText;
    };
    if (!take(kExternalId, &record.id) || Named(row, kStamp).kind != Kind::kText)
      return Odd("no text where it belongs");
    const auto message = ReadMessageIdentity(*type_, record.data);
    if (!message) return Odd("a message that is not protobuf");
    switch (*type_) {
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
        if (!take(kResourceTypeId, &record.type_id) || !take(kResourceId, &record.resource_id))
          return Odd("no resource");
        if (!message->type_id.empty() && !message->resource_id.empty() &&
            (message->type_id != record.type_id || message->resource_id != record.resource_id)) {
          return Odd("a message that names another resource");
        }
        break;
      case RecordType::kGrant: VELLUM_TRY(TakeGrant(row, &record)); break;
    }
    if (const Status usable = sync::CheckRecord(record); !usable.ok()) return Odd(usable.message());
    stats_->Count(record);
    return {};
  }

  Status TakeGrant(const PageRecord& row, RecordView* record) {
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

  Status CheckIndex(Index* index, int relabelled) {
    std::vector<PageValue> last;
    std::vector<std::string> last_bytes(index->columns.size());
    std::uint64_t entries = 0;
    std::uint64_t sum = 0;
    VELLUM_TRY(
        pages_->Walk(index->root, DatabasePages::Tree::kIndex, relabelled, to_, [&](const PageRecord& entry) -> Status {
          if (entry.values.size() != index->columns.size())
            return NotPlain(index->name + " has entries of another form");
          int order = last.empty() ? -1 : 0;
          std::size_t same = 0;
          while (order == 0 && same < last.size()) order = Compare(last[same], entry.values[same]), ++same;
          index->repeats |= same == index->columns.size() && !last.empty();
          if (order >= 0) return NotPlain(index->name + " is out of order");
          EntryHash hash;
          last = entry.values;
          for (std::size_t i = 0; i < last.size(); ++i) {
            hash.Add(last[i]);
            // Views last for the call only.
            last_bytes[i].assign(last[i].bytes);
            last[i].bytes = last_bytes[i];
          }
          ++entries;
          sum += hash.value();
          return {};
        }));
    const bool agrees = entries == index->expected_entries && sum == index->expected_hash;
    return agrees ? Status() : NotPlain(index->name + " does not agree with its table");
  }

  Status Odd(const std::string& what) const {
    return NotPlain(table_->name + ", row " + std::to_string(*last_row_) + ": " + what);
  }

  DatabasePages* const pages_;
  Table* const table_;
  const std::string& from_;
  const std::string& to_;
  V1Stats* const stats_;
  std::array<int, kColumns> columns_{};
  std::optional<RecordType> type_;
  std::optional<std::int64_t> last_row_;
};

/// Rows of one identity would have become one record. Ids are unique, so only grants can have them.
Status CheckGrantsAreDistinct(const std::string& database) {
  VELLUM_ASSIGN_OR_RETURN(Sqlite connection, Sqlite::OpenUntrusted(database));
  VELLUM_ASSIGN_OR_RETURN(
      Statement twice,
      connection.Prepare("SELECT 1 FROM v1_grants GROUP BY entitlement_id, principal_resource_type_id, "
                         "principal_resource_id, resource_type_id, resource_id HAVING count(*) > 1 LIMIT 1"));
  VELLUM_ASSIGN_OR_RETURN(const bool found, twice.Step());
  return found ? NotPlain("two grants are one") : Status();
}

}  // namespace

Result<PlainIndexes> CheckAndRelabel(const std::string& database, const std::string& from, const std::string& to,
                                     V1Stats* stats) {
  if (from.size() != to.size()) return NotPlain("its sync's id has " + std::to_string(from.size()) + " bytes");
  std::vector<Table> tables;
  {
    VELLUM_ASSIGN_OR_RETURN(Sqlite connection, Sqlite::OpenUntrusted(database));
    VELLUM_ASSIGN_OR_RETURN(tables, Schema(&connection).Read());
  }
  PlainIndexes indexes;
  const Index* by_principal = nullptr;
  for (const Table& table : tables) {
    if (table.name != TableOf(RecordType::kGrant).name) continue;
    by_principal =
        table.IndexOn({"entitlement_id", "principal_resource_type_id", "principal_resource_id"}, /*unique=*/false);
    if (by_principal == nullptr) return NotPlain("v1_grants lacks its index on entitlement and principal");
    indexes.grants = by_principal->name;
  }
  {
    VELLUM_ASSIGN_OR_RETURN(const auto pages, DatabasePages::Open(database));
    VELLUM_TRY(pages->Walk(1, DatabasePages::Tree::kTable, -1, {}, [](const PageRecord&) { return Status(); }));
    for (Table& table : tables) VELLUM_TRY(TableCheck(pages.get(), &table, from, to, stats).Run());
    VELLUM_TRY(pages->CheckFreePages());
    pages->LeaveWalMode();
  }
  if (by_principal->repeats) VELLUM_TRY(CheckGrantsAreDistinct(database));
  return indexes;
}

}  // namespace vellum::c1z
