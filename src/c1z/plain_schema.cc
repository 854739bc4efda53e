#include "c1z/plain_schema.h"

#include <algorithm>
#include <array>
#include <cctype>

#include "base/bytes.h"
#include "c1z/v1_rows.h"

namespace vellum::c1z {
namespace {

using sync::RecordType;

std::string Lower(std::string_view text) {
  std::string lower(text);
  std::transform(lower.begin(), lower.end(), lower.begin(),
                 [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
  return lower;
}

/// The schema, read through SQLite.
class SchemaReader {
 public:
  explicit SchemaReader(Sqlite* database) : database_(database) {}

  Result<PlainSchema> Read() {
    VELLUM_ASSIGN_OR_RETURN(Statement rows,
                            database_->Prepare("SELECT type, name, tbl_name, rootpage, sql FROM sqlite_schema"));
    for (;;) {
      VELLUM_ASSIGN_OR_RETURN(const bool row, rows.Step());
      if (!row) break;
      const std::string type(rows.Bytes(0));
      const std::string name(rows.Bytes(1));
      const std::string sql(rows.Bytes(4));
      const auto root = static_cast<std::uint32_t>(rows.Int(3));
      if (type == "table") {
        VELLUM_TRY(AddTable(name, root, sql));
      } else if (type == "index") {
        indexes_.push_back({name, std::string(rows.Bytes(2)), root, sql, schema_.objects.size()});
        schema_.objects.push_back({0, 0});
      } else {
        return NotPlain("it has the " + Printable(type) + " " + Printable(name));
      }
    }
    for (const FoundIndex& index : indexes_) VELLUM_TRY(AddIndex(index));
    VELLUM_TRY(CheckComplete());
    return std::move(schema_);
  }

 private:
  struct FoundIndex {
    std::string name;
    std::string table;
    std::uint32_t root;
    std::string sql;
    std::size_t object;
  };

  /// Whether a column that is declared so keeps what we put into it as it is.
  static bool Keeps(const std::string& declared, const std::string& column) {
    const auto has = [&declared](const char* part) { return declared.find(part) != std::string::npos; };
    if (column == "data" || column == "expansion") return declared.empty() || declared == "blob";
    if (column == "needs_expansion") return has("int");
    return !has("int") && (has("text") || has("char") || (column == "discovered_at" && declared == "datetime"));
  }

  /// The columns of the newest schema that records and runs need.
  static std::vector<std::string> Wanted(const std::string& table) {
    if (table == kRunsTable) {
      return {"sync_id",        "started_at",     "ended_at",      "sync_token",        "sync_type",
              "parent_sync_id", "linked_sync_id", "supports_diff", "grants_backfilled", "stats"};
    }
    if (table == kSessionsTable) return {"sync_id", "key", "value"};
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
    const std::string lower = Lower(sql);
    // What would make writing to it do more than keep a row.
    for (const char* word : {"check", "collate", "references", "generated", " as ", "without", "strict", "unique",
                             "conflict", "virtual"}) {
      if (lower.find(word) != std::string::npos) return NotPlain(name + " is declared with '" + word + "'");
    }
    PlainTable table;
    table.name = name;
    table.sql = sql;
    table.root = root;
    for (const TableSpec& spec : RecordTables()) {
      if (spec.name == name) table.type = spec.type;
    }
    VELLUM_ASSIGN_OR_RETURN(Statement info, database_->Prepare("PRAGMA table_xinfo(" + name + ")"));
    for (;;) {
      VELLUM_ASSIGN_OR_RETURN(const bool row, info.Step());
      if (!row) break;
      if (info.Int(5) != 0 && Lower(info.Bytes(2)) == "integer")
        table.row_id_column = static_cast<int>(table.columns.size());
      table.columns.emplace_back(info.Bytes(1));
      const bool known = std::find(wanted.begin(), wanted.end(), table.columns.back()) != wanted.end();
      if (table.type && known && !Keeps(Lower(info.Bytes(2)), table.columns.back())) {
        return NotPlain(name + " declares " + table.columns.back() + " as " + Printable(info.Bytes(2)));
      }
    }
    VELLUM_TRY(CheckNoneOfItsOwn(name));
    for (const std::string& column : wanted) {
      if (table.Column(column) == kRowId) return NotPlain(name + " is of an older schema: it lacks " + column);
    }
    schema_.objects.push_back({schema_.tables.size(), std::nullopt});
    schema_.tables.push_back(std::move(table));
    return {};
  }

  /// A primary key that is not the row id has an index without a statement.
  Status CheckNoneOfItsOwn(const std::string& table) {
    VELLUM_ASSIGN_OR_RETURN(Statement list, database_->Prepare("PRAGMA index_list(" + table + ")"));
    for (;;) {
      VELLUM_ASSIGN_OR_RETURN(const bool row, list.Step());
      if (!row) return {};
      if (list.Bytes(3) != "c") return NotPlain(table + " has an index of its own");
    }
  }

  struct Listed {
    bool unique = false;
    bool partial = false;
  };
  /// What SQLite says of an index, which the list of the schema may say of another table.
  Result<Listed> FindIndex(const PlainTable& table, const std::string& name) {
    VELLUM_ASSIGN_OR_RETURN(Statement list, database_->Prepare("PRAGMA index_list(" + table.name + ")"));
    for (;;) {
      VELLUM_ASSIGN_OR_RETURN(const bool row, list.Step());
      if (!row) return NotPlain("index " + Printable(name) + " is not one of " + table.name);
      if (list.Bytes(1) == name) return Listed{list.Int(2) != 0, list.Int(4) != 0};
    }
  }

  Status AddIndex(const FoundIndex& found) {
    const auto table = std::find_if(schema_.tables.begin(), schema_.tables.end(),
                                    [&](const PlainTable& each) { return each.name == found.table; });
    const std::string name = "index " + Printable(found.name);
    const bool plain_name = std::all_of(found.name.begin(), found.name.end(),
                                        [](unsigned char c) { return std::isalnum(c) != 0 || c == '_'; });
    if (table == schema_.tables.end() || !plain_name) return NotPlain(name + " is not ours");
    if (found.sql.empty()) return NotPlain(name + " has no statement");
    const std::string lower = Lower(found.sql);
    PlainIndex index;
    index.name = found.name;
    index.sql = found.sql;
    index.root = found.root;
    VELLUM_ASSIGN_OR_RETURN(const Listed listed, FindIndex(*table, found.name));
    index.unique = listed.unique;
    if (const std::size_t where = lower.find("where"); where != std::string::npos) {
      const std::string condition = lower.substr(where);
      if (found.name == "idx_grants_sync_expansion_v1" && condition == "where expansion is not null") {
        index.condition = PlainIndex::Condition::kHasExpansion;
      } else if (found.name == "idx_grants_sync_needs_expansion_v1" && condition == "where needs_expansion = 1") {
        index.condition = PlainIndex::Condition::kNeedsExpansion;
      } else {
        return NotPlain(name + " has a condition of its own");
      }
    }
    if (listed.partial != (index.condition != PlainIndex::Condition::kNone))
      return NotPlain(name + " is not as it says");
    VELLUM_ASSIGN_OR_RETURN(Statement info, database_->Prepare("PRAGMA index_xinfo(" + found.name + ")"));
    for (;;) {
      VELLUM_ASSIGN_OR_RETURN(const bool row, info.Step());
      if (!row) break;
      const std::int64_t column = info.Int(1);
      const bool plain = column >= kRowId && info.Int(3) == 0 && info.Bytes(4) == "BINARY";
      if (!plain) return NotPlain(name + " sorts in a way of its own");
      const int in_table = column == table->row_id_column ? kRowId : static_cast<int>(column);
      if (in_table != kRowId && std::find(index.columns.begin(), index.columns.end(), in_table) != index.columns.end())
        return NotPlain(name + " has a column twice");
      index.columns.push_back(in_table);
    }
    if (index.columns.empty() || index.columns.back() != kRowId)
      return NotPlain(name + " does not end with the row id");
    schema_.objects[found.object] = {static_cast<std::size_t>(table - schema_.tables.begin()), table->indexes.size()};
    table->indexes.push_back(std::move(index));
    return {};
  }

  Status CheckComplete() const {
    for (const TableSpec& spec : RecordTables()) {
      const auto table = std::find_if(schema_.tables.begin(), schema_.tables.end(),
                                      [&](const PlainTable& each) { return each.name == spec.name; });
      if (table == schema_.tables.end()) return NotPlain(std::string("it lacks the table ") + spec.name);
      if (table->IndexOn({"external_id", "sync_id"}, true) == nullptr) {
        return NotPlain(std::string(spec.name) + " lacks its unique index");
      }
    }
    return {};
  }

  Sqlite* const database_;
  PlainSchema schema_;
  std::vector<FoundIndex> indexes_;
};

}  // namespace

int PlainTable::Column(std::string_view wanted) const {
  const auto found = std::find(columns.begin(), columns.end(), wanted);
  return found == columns.end() ? kRowId : static_cast<int>(found - columns.begin());
}

const PlainIndex* PlainTable::IndexOn(const std::vector<std::string>& wanted, bool unique) const {
  for (const PlainIndex& index : indexes) {
    if (index.condition != PlainIndex::Condition::kNone || index.columns.size() != wanted.size() + 1 ||
        (unique && !index.unique)) {
      continue;
    }
    bool same = true;
    for (std::size_t i = 0; i < wanted.size(); ++i) same &= index.columns[i] == Column(wanted[i]);
    if (same) return &index;
  }
  return nullptr;
}

Result<PlainSchema> PlainSchema::Read(Sqlite* database) { return SchemaReader(database).Read(); }

DatabaseSchema PlainSchema::ForEntries() const {
  DatabaseSchema schema;
  for (const PlainTable& table : tables) {
    const std::size_t row_id =
        table.row_id_column == kRowId ? table.columns.size() : static_cast<std::size_t>(table.row_id_column);
    schema.tables.push_back({table.name, table.sql, table.columns, row_id});
  }
  for (std::size_t i = 0; i < tables.size(); ++i) {
    for (const PlainIndex& of : tables[i].indexes) {
      IndexSchema index;
      index.name = of.name;
      index.table = i;
      index.unique = of.unique;
      for (std::size_t column = 0; column + 1 < of.columns.size(); ++column) {
        index.columns.push_back(of.columns[column] == kRowId ? schema.tables[i].row_id
                                                             : static_cast<std::size_t>(of.columns[column]));
      }
      if (of.condition != PlainIndex::Condition::kNone) {
        const bool has = of.condition == PlainIndex::Condition::kHasExpansion;
        index.rows = has ? IndexSchema::Rows::kNotNull : IndexSchema::Rows::kEqual;
        index.condition_column = static_cast<std::size_t>(tables[i].Column(has ? "expansion" : "needs_expansion"));
        index.condition_number = 1;
      }
      schema.indexes.push_back(std::move(index));
    }
  }
  return schema;
}

}  // namespace vellum::c1z
