#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "vellum/status.h"

/// What DatabaseWriter writes, read out of the statements that would create it. Included inside this room only.
namespace vellum::c1z {

struct TableSchema {
  std::string name;
  std::string sql;
  std::vector<std::string> columns;
  std::size_t row_id = 0;  ///< The column that is the row's id.
};

struct IndexSchema {
  std::string name;
  std::string sql;
  std::size_t table = 0;
  bool unique = false;  ///< Then no row has NULL in its columns.
  std::vector<std::size_t> columns;
  /// Which rows it has.
  enum class Rows : std::uint8_t { kAll, kNotNull, kEqual };
  Rows rows = Rows::kAll;
  std::size_t condition_column = 0;
  std::int64_t condition_number = 0;  ///< kEqual.
};

struct DatabaseSchema {
  std::vector<TableSchema> tables;
  std::vector<IndexSchema> indexes;

  /// Takes statements of ours, ended by semicolons, in the only forms that are needed, tables first:
  ///
  ///   CREATE TABLE name (column type..., ...)                    one column is "integer primary key"
  ///   CREATE [UNIQUE] INDEX name ON table (column, ...) [WHERE column IS NOT NULL | WHERE column = number]
  static Result<DatabaseSchema> Parse(std::string_view statements);
  std::optional<std::size_t> Table(std::string_view name) const;
};

}  // namespace vellum::c1z
