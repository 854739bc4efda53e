#pragma once

#include <memory>
#include <string>
#include <vector>

#include "c1z/database_schema.h"
#include "c1z/index_entries.h"
#include "c1z/key_sorter.h"
#include "c1z/page_value.h"
#include "c1z/page_writer.h"
#include "vellum/status.h"

namespace vellum::c1z {

/// Writes a new SQLite database without SQLite: tables as their rows come, indexes from sorted keys at the end, every
/// page once. Memory does not grow with the rows. Not thread-safe; uses a second thread. Included inside this room
/// only.
class DatabaseWriter {
 public:
  struct Options {
    PageStream::Options pages;
    KeySorter::Options sorting;  ///< Of each index.
  };
  /// `schema` must outlive this. `sink` gets the database from its second page on.
  DatabaseWriter(const DatabaseSchema* schema, PageStream::Sink sink, const Options& options);
  ~DatabaseWriter();

  /// A row behind the last one of its table, whose id is the next number; what `values` has in the id's column does not
  /// count. Values are stored as they are: no column's type converts them.
  Status AddRow(std::size_t table, const std::vector<PageValue>& values);

  /// Ends the database and returns its first page. With repeats in unique indexes, of which `on_repeat` is told in the
  /// order of the schema, it is none that SQLite would take.
  Result<std::string> Finish(const IndexEntries::OnRepeat& on_repeat);

 private:
  struct Table;
  Result<std::string> WriteSchema(const std::vector<std::uint32_t>& roots);

  const DatabaseSchema& schema_;
  PageStream stream_;
  std::vector<std::unique_ptr<Table>> tables_;
  IndexEntries entries_;
  RecordBytes record_;
};

}  // namespace vellum::c1z
