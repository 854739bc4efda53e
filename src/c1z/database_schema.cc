#include "c1z/database_schema.h"

#include <algorithm>
#include <charconv>

namespace vellum::c1z {
namespace {

constexpr std::string_view kSpace = " \n";

std::string_view Trimmed(std::string_view text) {
  const auto first = text.find_first_not_of(kSpace);
  if (first == std::string_view::npos) return {};
  return text.substr(first, text.find_last_not_of(kSpace) - first + 1);
}

/// Takes the first word off, and the space around it.
std::string_view TakeWord(std::string_view* text) {
  *text = Trimmed(*text);
  const auto end = std::min(text->find_first_of(" \n("), text->size());
  const std::string_view word = text->substr(0, end);
  *text = Trimmed(text->substr(end));
  return word;
}

/// Takes what stands in the brackets that the text begins with, cut at its commas.
std::vector<std::string_view> TakeList(std::string_view* text) {
  std::vector<std::string_view> parts;
  const auto end = text->find(')');
  if (!text->starts_with('(') || end == std::string_view::npos) return parts;
  std::string_view list = text->substr(1, end - 1);
  *text = Trimmed(text->substr(end + 1));
  for (;;) {
    const auto comma = list.find(',');
    parts.push_back(Trimmed(list.substr(0, comma)));
    if (comma == std::string_view::npos) return parts;
    list.remove_prefix(comma + 1);
  }
}

Status NotOurs(std::string_view statement) {
  return InvalidArgument("not a statement of a schema: " + std::string(statement));
}

class Parser {
 public:
  explicit Parser(DatabaseSchema* schema) : schema_(*schema) {}

  Status Take(std::string_view statement) {
    statement_ = statement;
    rest_ = statement;
    if (TakeWord(&rest_) != "CREATE") return NotOurs(statement);
    const std::string_view what = TakeWord(&rest_);
    if (what == "TABLE") return TakeTable();
    if (what == "INDEX") return TakeIndex(/*unique=*/false);
    return what == "UNIQUE" && TakeWord(&rest_) == "INDEX" ? TakeIndex(/*unique=*/true) : NotOurs(statement);
  }

 private:
  Status TakeTable() {
    TableSchema table;
    table.sql = statement_;
    table.name = TakeWord(&rest_);
    bool has_row_id = false;
    for (std::string_view column : TakeList(&rest_)) {
      table.columns.emplace_back(TakeWord(&column));
      if (column != "integer primary key") continue;
      table.row_id = table.columns.size() - 1;
      has_row_id = true;
    }
    if (!has_row_id || !rest_.empty() || !schema_.indexes.empty()) return NotOurs(statement_);
    schema_.tables.push_back(std::move(table));
    return {};
  }

  Status TakeIndex(bool unique) {
    IndexSchema index;
    index.sql = statement_;
    index.unique = unique;
    index.name = TakeWord(&rest_);
    const bool on = TakeWord(&rest_) == "ON";
    const auto table = schema_.Table(TakeWord(&rest_));
    if (!on || !table) return NotOurs(statement_);
    index.table = *table;
    for (const std::string_view name : TakeList(&rest_)) {
      VELLUM_ASSIGN_OR_RETURN(const std::size_t column, Column(*table, name));
      index.columns.push_back(column);
    }
    if (!rest_.empty()) VELLUM_TRY(TakeCondition(&index));
    schema_.indexes.push_back(std::move(index));
    return {};
  }

  Status TakeCondition(IndexSchema* index) {
    if (TakeWord(&rest_) != "WHERE") return NotOurs(statement_);
    VELLUM_ASSIGN_OR_RETURN(index->condition_column, Column(index->table, TakeWord(&rest_)));
    if (rest_ == "IS NOT NULL") {
      index->rows = IndexSchema::Rows::kNotNull;
      return {};
    }
    index->rows = IndexSchema::Rows::kEqual;
    if (TakeWord(&rest_) != "=") return NotOurs(statement_);
    const auto [end, error] = std::from_chars(rest_.data(), rest_.data() + rest_.size(), index->condition_number);
    return error == std::errc() && end == rest_.data() + rest_.size() ? Status() : NotOurs(statement_);
  }

  Result<std::size_t> Column(std::size_t table, std::string_view name) const {
    const std::vector<std::string>& columns = schema_.tables[table].columns;
    const auto found = std::find(columns.begin(), columns.end(), name);
    if (found == columns.end()) return NotOurs(statement_);
    return static_cast<std::size_t>(found - columns.begin());
  }

  DatabaseSchema& schema_;
  std::string_view statement_;
  std::string_view rest_;
};

}  // namespace

Result<DatabaseSchema> DatabaseSchema::Parse(std::string_view statements) {
  DatabaseSchema schema;
  Parser parser(&schema);
  for (auto end = statements.find(';'); end != std::string_view::npos; end = statements.find(';')) {
    VELLUM_TRY(parser.Take(Trimmed(statements.substr(0, end))));
    statements.remove_prefix(end + 1);
  }
  return Trimmed(statements).empty() ? Result<DatabaseSchema>(std::move(schema)) : NotOurs(statements);
}

std::optional<std::size_t> DatabaseSchema::Table(std::string_view name) const {
  const auto found =
      std::find_if(tables.begin(), tables.end(), [name](const TableSchema& table) { return table.name == name; });
  return found == tables.end() ? std::nullopt : std::optional(static_cast<std::size_t>(found - tables.begin()));
}

}  // namespace vellum::c1z
