#include "c1z/database_writer.h"

#include <utility>

#include "base/check.h"
#include "c1z/schema_page.h"

namespace vellum::c1z {

struct DatabaseWriter::Table {
  explicit Table(PageStream* stream) : tree(stream, TreeWriter::Kind::kTable) {}

  TreeWriter tree;
  std::int64_t rows = 0;
};

DatabaseWriter::DatabaseWriter(const DatabaseSchema* schema, PageStream::Sink sink, const Options& options)
    : schema_(*schema), stream_(std::move(sink), options.pages), entries_(schema, options.sorting) {
  for (std::size_t i = 0; i < schema_.tables.size(); ++i) tables_.push_back(std::make_unique<Table>(&stream_));
}

DatabaseWriter::~DatabaseWriter() = default;

Status DatabaseWriter::AddRow(std::size_t number, const std::vector<PageValue>& values) {
  const TableSchema& schema = schema_.tables[number];
  VELLUM_CHECK(values.size() == schema.columns.size());
  Table& table = *tables_[number];
  const std::int64_t row_id = ++table.rows;
  record_.Clear();
  for (std::size_t i = 0; i < values.size(); ++i) record_.Add(i == schema.row_id ? PageValue{} : values[i]);
  VELLUM_TRY(table.tree.AddRow(row_id, record_.Finish()));
  return entries_.Add(number, row_id, values);
}

Result<std::string> DatabaseWriter::Finish(const IndexEntries::OnRepeat& on_repeat) {
  VELLUM_TRY(entries_.EndRows());
  std::vector<std::uint32_t> roots;
  for (const auto& table : tables_) {
    VELLUM_ASSIGN_OR_RETURN(const std::uint32_t root, table->tree.Finish());
    roots.push_back(root);
  }
  for (std::size_t index = 0; index < schema_.indexes.size(); ++index) {
    TreeWriter tree(&stream_, TreeWriter::Kind::kIndex);
    VELLUM_TRY(entries_.ForEach(index, on_repeat, [&tree](std::string_view record) { return tree.AddEntry(record); }));
    VELLUM_ASSIGN_OR_RETURN(const std::uint32_t root, tree.Finish());
    roots.push_back(root);
  }
  return WriteSchema(roots);
}

Result<std::string> DatabaseWriter::WriteSchema(const std::vector<std::uint32_t>& roots) {
  std::vector<SchemaLine> lines;
  for (const TableSchema& table : schema_.tables) {
    lines.push_back({"table", table.name, table.name, table.sql, roots[lines.size()]});
  }
  for (const IndexSchema& index : schema_.indexes) {
    lines.push_back({"index", index.name, schema_.tables[index.table].name, index.sql, roots[lines.size()]});
  }
  return WriteSchemaPage(&stream_, lines, {});
}

}  // namespace vellum::c1z
