#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "c1z/database_schema.h"
#include "c1z/sqlite.h"
#include "sync/record.h"
#include "vellum/status.h"

/// The schema of a v1 database that may be rewritten row by row: what we know, and nothing that would do more than keep
/// rows. Included inside this room only.
namespace vellum::c1z {

/// The one code that means "the ordinary way, please": this database is not plain.
inline Status NotPlain(const std::string& why) { return InvalidArgument(why); }

constexpr const char* kRunsTable = "v1_sync_runs";
constexpr const char* kSessionsTable = "v1_connector_sessions";
constexpr int kRowId = -1;  ///< Stands for the row id among an index's columns.

struct PlainIndex {
  enum class Condition : std::uint8_t { kNone, kHasExpansion, kNeedsExpansion };
  std::string name;
  std::string sql;
  std::uint32_t root = 0;
  std::vector<int> columns;  ///< Of the table; kRowId last.
  Condition condition = Condition::kNone;
  bool unique = false;
  bool repeats = false;  ///< Two entries differ in the row id alone.
  // Entries and their hashes, summed: once from the table's rows, once from the index.
  std::uint64_t expected_entries = 0;
  std::uint64_t expected_hash = 0;
};

struct PlainTable {
  std::string name;
  std::string sql;
  std::uint32_t root = 0;
  std::vector<std::string> columns;
  int row_id_column = kRowId;  ///< The one that is another name of the row id.
  std::optional<sync::RecordType> type;
  std::vector<PlainIndex> indexes;

  /// kRowId: it has none of that name.
  int Column(std::string_view wanted) const;
  const PlainIndex* IndexOn(const std::vector<std::string>& wanted, bool unique) const;
};

struct PlainSchema {
  std::vector<PlainTable> tables;
  /// The order of the database's own list: a table, or the index of one.
  struct Object {
    std::size_t table;
    std::optional<std::size_t> index;
  };
  std::vector<Object> objects;

  /// kInvalidArgument says what is not plain.
  static Result<PlainSchema> Read(Sqlite* database);
  /// The same tables in the same order, and the indexes of the first, the second and so on, for IndexEntries.
  DatabaseSchema ForEntries() const;
};

}  // namespace vellum::c1z
