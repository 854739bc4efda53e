#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "c1z/page_writer.h"
#include "vellum/status.h"

/// The first page of a database that is written without SQLite. Included inside this room only.
namespace vellum::c1z {

/// A line of sqlite_schema.
struct SchemaLine {
  std::string_view type;  ///< "table" or "index".
  std::string_view name;
  std::string_view table;  ///< Its own name, or that of the index's table.
  std::string_view sql;
  std::uint32_t root = 0;
};

/// Numbers of a database's header that mean nothing to SQLite.
struct SchemaNumbers {
  std::uint32_t user_version = 0;
  std::uint32_t application_id = 0;
};

/// Ends a database whose trees are all written: writes what is left of the list of them, flushes `stream`, and returns
/// the first page.
Result<std::string> WriteSchemaPage(PageStream* stream, const std::vector<SchemaLine>& lines,
                                    const SchemaNumbers& numbers);

}  // namespace vellum::c1z
