#include "c1z/schema_page.h"

#include <sqlite3.h>

namespace vellum::c1z {
namespace {

constexpr std::size_t kHeaderBytes = 100;
constexpr std::string_view kMagic("SQLite format 3\0", 16);

/// The bytes at the front of page 1 that describe the database.
void FillHeader(char* head, const PageStream& stream, std::size_t statements, const SchemaNumbers& numbers) {
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
  PutBe32(head + 60, numbers.user_version);
  PutBe32(head + 68, numbers.application_id);
  PutBe32(head + 92, 1);  // the changes at which the number of pages was right
  PutBe32(head + 96, static_cast<std::uint32_t>(sqlite3_libversion_number()));
}

}  // namespace

Result<std::string> WriteSchemaPage(PageStream* stream, const std::vector<SchemaLine>& lines,
                                    const SchemaNumbers& numbers) {
  TreeWriter tree(stream, TreeWriter::Kind::kTable);
  RecordBytes record;
  std::int64_t row_id = 0;
  for (const SchemaLine& line : lines) {
    record.Clear();
    for (const std::string_view text : {line.type, line.name, line.table}) record.Add(PageValue::Text(text));
    record.Add(PageValue::Integer(line.root));
    record.Add(PageValue::Text(line.sql));
    VELLUM_TRY(tree.AddRow(++row_id, record.Finish()));
  }
  VELLUM_ASSIGN_OR_RETURN(std::string first, tree.FinishAsFirst(kHeaderBytes));
  VELLUM_TRY(stream->Flush());
  FillHeader(first.data(), *stream, lines.size(), numbers);
  return first;
}

}  // namespace vellum::c1z
