#include "c1z/database_writer.h"

#include <sqlite3.h>

#include <utility>

#include "base/check.h"

namespace vellum::c1z {
namespace {

constexpr std::size_t kHeaderBytes = 100;
constexpr std::string_view kMagic("SQLite format 3\0", 16);
/// The bytes at the front of page 1 that describe the database.
void FillHeader(char* head, const PageStream& stream, std::size_t statements) {
  kMagic.copy(head, kMagic.size());
  PutBe16(head + 16, stream.page_bytes() == 65536 ? 1 : stream.page_bytes());
  head[18] = head[19] = 1;  // a rollback journal
  head[21] = 64;
  head[22] = head[23] = 32;
  PutBe32(head + 24, 1);  // changes
  PutBe32(head + 28, stream.pages());
  PutBe32(head + 40, static_cast<std::uint32_t>(statements));  // the schema's version
  PutBe32(head + 44, 4);                                       // its format
  PutBe32(head + 56, 1);                                       // UTF-8
  PutBe32(head + 92, 1);                                       // the changes at which the number of pages was right
  PutBe32(head + 96, static_cast<std::uint32_t>(sqlite3_libversion_number()));
}

}  // namespace

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
  TreeWriter tree(&stream_, TreeWriter::Kind::kTable);
  std::int64_t row_id = 0;
  const auto add = [&](std::string_view type, const std::string& name, const std::string& table,
                       const std::string& sql) {
    record_.Clear();
    for (const std::string_view text : {type, std::string_view(name), std::string_view(table)})
      record_.Add(PageValue::Text(text));
    record_.Add(PageValue::Integer(roots[static_cast<std::size_t>(row_id)]));
    record_.Add(PageValue::Text(sql));
    return tree.AddRow(++row_id, record_.Finish());
  };
  for (const TableSchema& table : schema_.tables) VELLUM_TRY(add("table", table.name, table.name, table.sql));
  for (const IndexSchema& index : schema_.indexes) {
    VELLUM_TRY(add("index", index.name, schema_.tables[index.table].name, index.sql));
  }
  VELLUM_ASSIGN_OR_RETURN(std::string first, tree.FinishAsFirst(kHeaderBytes));
  VELLUM_TRY(stream_.Flush());
  FillHeader(first.data(), stream_, roots.size());
  return first;
}

}  // namespace vellum::c1z
