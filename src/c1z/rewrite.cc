#include "c1z/rewrite.h"

#include <limits>
#include <optional>
#include <string_view>
#include <utility>
#include <vector>

#include "base/check.h"
#include "c1z/index_entries.h"
#include "c1z/pages.h"
#include "c1z/plain_base.h"
#include "c1z/plain_schema.h"
#include "c1z/schema_page.h"
#include "c1z/sqlite.h"
#include "c1z/tree_pipe.h"
#include "c1z/v1_insert.h"
#include "c1z/v1_rows.h"
#include "c1z/v1_writer.h"
#include "sync/codec.h"

namespace vellum::c1z {
namespace {

using Kind = PageValue::Kind;
using sync::RecordType;
using sync::RecordView;
using sync::Stamp;
using Values = std::vector<PageValue>;

/// What columns that we do not know may have in new rows.
constexpr std::size_t kDefaultBytesMax = 4096;

/// The values of a row, with their bytes.
struct OwnedValues {
  std::vector<std::string> bytes;
  Values values;
};

/// A table of that name and form, in memory, without rows.
Result<Sqlite> EmptyCopy(const PlainTable& table) {
  VELLUM_ASSIGN_OR_RETURN(Sqlite memory, Sqlite::OpenInMemory());
  VELLUM_ASSIGN_OR_RETURN(Statement create, memory.Prepare(table.sql));
  VELLUM_TRY(create.Finish());
  return memory;
}

/// The only row of a table in memory. Fractions, and long values, are not plain.
Result<OwnedValues> OnlyRow(Sqlite* database, const PlainTable& table, std::size_t bytes_max) {
  VELLUM_ASSIGN_OR_RETURN(Statement select, database->Prepare("SELECT * FROM " + table.name));
  VELLUM_ASSIGN_OR_RETURN(const bool row, select.Step());
  if (!row) return NotPlain(table.name + " does not keep a row");
  OwnedValues owned;
  owned.bytes.reserve(table.columns.size());
  for (std::size_t i = 0; i < table.columns.size(); ++i) {
    PageValue value = select.Value(static_cast<int>(i));
    if (value.kind == Kind::kReal || value.bytes.size() > bytes_max) {
      return NotPlain(table.name + " gives " + table.columns[i] + " a value of its own");
    }
    owned.bytes.emplace_back(value.bytes);
    value.bytes = owned.bytes.back();
    owned.values.push_back(value);
  }
  return owned;
}

/// What a row of ours would be in the table: with the values that columns which we do not know have by themselves.
Result<OwnedValues> NewRow(const PlainTable& table) {
  VELLUM_ASSIGN_OR_RETURN(Sqlite memory, EmptyCopy(table));
  RecordView record;
  record.type = *table.type;
  VELLUM_ASSIGN_OR_RETURN(Statement insert, PrepareV1Insert(&memory, *table.type));
  VELLUM_TRY(InsertV1Record(record, "sync", {}, &insert));
  return OnlyRow(&memory, table, kDefaultBytesMax);
}

Result<OwnedValues> NewRun(const PlainTable& table, const sync::SyncRun& run, const Zone& zone, const V1Stats& stats) {
  VELLUM_ASSIGN_OR_RETURN(Sqlite memory, EmptyCopy(table));
  VELLUM_TRY(InsertV1Run(&memory, run, zone, stats));
  return OnlyRow(&memory, table, std::numeric_limits<std::size_t>::max());
}

/// The entries of one index that come in or go, in their order.
class EntryList {
 public:
  /// Takes them all.
  Status Fill(IndexEntries* entries, std::size_t index) {
    bool repeats = false;
    VELLUM_TRY(entries->ForEach(
        index, [&repeats](const IndexSchema&, const Values&, std::uint64_t) { repeats = true; },
        [this](std::string_view record) -> Status {
          bytes_.append(record);
          ends_.push_back(bytes_.size());
          return {};
        }));
    repeats_ = repeats;
    Parse();
    return {};
  }
  bool repeats() const { return repeats_; }
  bool done() const { return at_ == ends_.size(); }
  const Values& values() const { return values_; }
  std::string_view record() const {
    const std::size_t begin = at_ == 0 ? 0 : ends_[at_ - 1];
    return std::string_view(bytes_).substr(begin, ends_[at_] - begin);
  }
  void Next() {
    ++at_;
    Parse();
  }

 private:
  void Parse() {
    if (!done()) VELLUM_CHECK(ParseRecord(record(), &values_));  // we made it
  }

  std::string bytes_;
  std::vector<std::size_t> ends_;
  std::size_t at_ = 0;
  Values values_;
  bool repeats_ = false;
};

}  // namespace

struct Rewriter::Impl {
  Impl(std::string path, PlainSchema of, std::unique_ptr<DatabasePages> base, Incoming* records, PageStream::Sink sink,
       Options chosen)
      : database(std::move(path)),
        schema(std::move(of)),
        entry_schema(schema.ForEntries()),
        pages(std::move(base)),
        incoming(*records),
        options(std::move(chosen)),
        stream(std::move(sink), {.page_bytes = pages->page_bytes(), .lock_byte = PageStream::Options().lock_byte}),
        trees(&stream),
        added(&entry_schema, {.beside = options.beside}),
        gone(&entry_schema, {.beside = options.beside}),
        stamps(options.write_zone) {}

  /// Writing one table.
  struct Table {
    Table(Impl* all, std::size_t n)
        : number(n), schema(all->schema.tables[n]), check(&all->schema.tables[n], all->options.from) {}
    const std::size_t number;
    const PlainTable& schema;
    PlainCheck check;
    OwnedValues fresh;  ///< What a new row has.
  };

  Status WriteRecords(std::size_t number);
  Status CheckOnly(std::size_t number);
  Status WriteRow(Table* table, const PageRecord& row, const RecordView& record);
  Status Replace(Table* table, const PageRecord& row, const RecordView& with);
  Status AddNew(Table* table);
  Status Put(Table* table, std::int64_t row_id, const Values& row);
  void Fill(const Table& table, const RecordView& record, Values* row);
  Status WriteRun(sync::SyncRun run);
  Status WriteIndex(PlainTable* table, PlainIndex* index, std::size_t number);
  Status Keep(const PageRecord& record, std::optional<std::size_t> sync_column);
  Status CheckDistinct() const;
  Status CheckCancelled() const {
    const bool cancelled = options.work != nullptr && options.work->cancel != nullptr && options.work->cancel->load();
    return cancelled ? Cancelled("the merge was cancelled") : Status();
  }

  const std::string database;
  PlainSchema schema;
  const DatabaseSchema entry_schema;
  const std::unique_ptr<DatabasePages> pages;
  Incoming& incoming;
  const Options options;
  PageStream stream;
  TreePipe trees;
  IndexEntries added;
  IndexEntries gone;
  StampTexts stamps;
  V1Stats stats;
  std::vector<std::uint32_t> table_roots;
  std::vector<std::uint32_t> index_roots;  ///< In the order of `entry_schema`.
  RecordBytes record_bytes;
  // Of the row that is being made.
  Values row;
  std::string external_id;
};

/// The record as it is stored, with the other sync's id.
Status Rewriter::Impl::Keep(const PageRecord& record, std::optional<std::size_t> sync_column) {
  if (!sync_column) return trees.Add(record.row_id, record.bytes);
  const std::string_view id = record.values[*sync_column].bytes;
  return trees.Add(record.row_id, record.bytes, static_cast<std::size_t>(id.data() - record.bytes.data()), options.to);
}

Status Rewriter::Impl::Put(Table* table, std::int64_t row_id, const Values& values) {
  record_bytes.Clear();
  for (std::size_t i = 0; i < values.size(); ++i) {
    record_bytes.Add(static_cast<int>(i) == table->schema.row_id_column ? PageValue() : values[i]);
  }
  VELLUM_TRY(trees.Add(row_id, record_bytes.Finish()));
  return added.Add(table->number, row_id, values);
}

/// What a record is, over what is there.
void Rewriter::Impl::Fill(const Table& table, const RecordView& record, Values* values) {
  external_id = V1ExternalId(record);
  const auto set = [&](PlainCheck::Column column, PageValue value) {
    (*values)[static_cast<std::size_t>(table.check.at(column))] = value;
  };
  const auto optional = [](std::string_view text, PageValue value) { return text.empty() ? PageValue() : value; };
  set(PlainCheck::kExternalId, PageValue::Text(external_id));
  set(PlainCheck::kData, PageValue::Blob(record.data));
  set(PlainCheck::kSyncId, PageValue::Text(options.to));
  set(PlainCheck::kStamp, PageValue::Text(stamps.Of(record.discovered_at)));
  if (record.type == RecordType::kResourceType || record.type == RecordType::kAsset) return;
  set(PlainCheck::kResourceTypeId, PageValue::Text(record.type_id));
  if (record.type == RecordType::kResource) {
    set(PlainCheck::kParentType, optional(record.parent_id, PageValue::Text(record.parent_type_id)));
    set(PlainCheck::kParentId, optional(record.parent_id, PageValue::Text(record.parent_id)));
    return;
  }
  set(PlainCheck::kResourceId, PageValue::Text(record.resource_id));
  if (record.type == RecordType::kEntitlement) return;
  set(PlainCheck::kEntitlementId, PageValue::Text(record.entitlement_id));
  set(PlainCheck::kPrincipalType, PageValue::Text(record.principal_type_id));
  set(PlainCheck::kPrincipalId, PageValue::Text(record.principal_id));
  set(PlainCheck::kExpansion, optional(record.expansion, PageValue::Blob(record.expansion)));
  set(PlainCheck::kNeedsExpansion, PageValue::Integer(record.needs_expansion ? 1 : 0));
}

/// The base's row gives way to a record of the same identity.
Status Rewriter::Impl::Replace(Table* table, const PageRecord& old, const RecordView& with) {
  row = old.values;
  for (const PageValue& value : row) {
    if (value.kind == Kind::kReal) return NotPlain(table->schema.name + " has numbers that are not whole");
  }
  row[static_cast<std::size_t>(table->check.at(PlainCheck::kSyncId))].bytes = options.to;
  VELLUM_TRY(gone.Add(table->number, old.row_id, row));
  Fill(*table, with, &row);
  return Put(table, old.row_id, row);
}

Status Rewriter::Impl::WriteRow(Table* table, const PageRecord& old, const RecordView& record) {
  VELLUM_TRY(CheckCancelled());
  stats.Count(record);
  Incoming::Record* const found = record.type == RecordType::kAsset ? nullptr : incoming.Find(record);
  if (found != nullptr) {
    if (found->met) return NotPlain("two rows of " + table->schema.name + " are one record");
    found->met = true;
    const Stamp there = options.read_zone.ToStamp(table->check.Named(old, PlainCheck::kStamp).bytes).value_or(0);
    if (incoming.Wins(sync::ValueStamp(*found->value), there)) {
      VELLUM_ASSIGN_OR_RETURN(const auto stored, sync::StoredRecord::Parse(*found->key, *found->value));
      return Replace(table, old, stored.view());
    }
  }
  return Keep(old, static_cast<std::size_t>(table->check.at(PlainCheck::kSyncId)));
}

/// The records that the base has none of, behind its rows.
Status Rewriter::Impl::AddNew(Table* table) {
  std::int64_t row_id = table->check.last_row();
  sync::StoredRecord stored;
  for (const Incoming::Record& record : incoming.records()) {
    if (record.type != *table->schema.type || record.met) continue;
    VELLUM_TRY(CheckCancelled());
    if (row_id == std::numeric_limits<std::int64_t>::max())
      return NotPlain(table->schema.name + " has the last row id");
    VELLUM_TRY(stored.Assign(*record.key, *record.value));
    row = table->fresh.values;
    Fill(*table, stored.view(), &row);
    VELLUM_TRY(Put(table, ++row_id, row));
    stats.Count(stored.view());
  }
  return {};
}

Status Rewriter::Impl::WriteRecords(std::size_t number) {
  Table table(this, number);
  VELLUM_ASSIGN_OR_RETURN(table.fresh, NewRow(table.schema));
  RecordView record;
  trees.Begin(TreeWriter::Kind::kTable);
  VELLUM_TRY(pages->Walk(table.schema.root, DatabasePages::Tree::kTable, [&](const PageRecord& row_of_base) -> Status {
    VELLUM_TRY(table.check.CheckRow(row_of_base, &record));
    return WriteRow(&table, row_of_base, record);
  }));
  VELLUM_TRY(AddNew(&table));
  VELLUM_ASSIGN_OR_RETURN(table_roots[number], trees.Finish());
  return {};
}

/// A table whose rows do not stay.
Status Rewriter::Impl::CheckOnly(std::size_t number) {
  Table table(this, number);
  RecordView none;
  return pages->Walk(table.schema.root, DatabasePages::Tree::kTable,
                     [&](const PageRecord& row_of_base) { return table.check.CheckRow(row_of_base, &none); });
}

/// Sessions, and the run.
Status Rewriter::Impl::WriteRun(sync::SyncRun run) {
  run.id = options.to;
  for (std::size_t number = 0; number < schema.tables.size(); ++number) {
    if (schema.tables[number].type) continue;
    Table table(this, number);
    trees.Begin(TreeWriter::Kind::kTable);
    if (table.schema.name == kRunsTable) {
      VELLUM_ASSIGN_OR_RETURN(const OwnedValues values, NewRun(table.schema, run, options.write_zone, stats));
      VELLUM_TRY(Put(&table, 1, values.values));
    }
    VELLUM_ASSIGN_OR_RETURN(table_roots[number], trees.Finish());
  }
  return {};
}

/// The base's entries, without those that go, and those that come in between them.
Status Rewriter::Impl::WriteIndex(PlainTable* table, PlainIndex* index, std::size_t number) {
  EntryList comes;
  EntryList goes;
  VELLUM_TRY(comes.Fill(&added, number));
  VELLUM_TRY(goes.Fill(&gone, number));
  const auto twice = [index] { return NotPlain(index->name + " would have one entry twice"); };
  if (index->unique && comes.repeats()) return twice();
  trees.Begin(TreeWriter::Kind::kIndex);
  PlainIndexCheck check(*table, index, options.from);
  const bool stays = table->type.has_value();
  const std::size_t ids = index->columns.size() - 1;  // all but the row id
  Values entry;
  const auto write = [&](const PageRecord& of_base) -> Status {
    VELLUM_TRY(check.CheckEntry(of_base));
    if (!stays) return {};
    entry = of_base.values;
    if (check.sync_column()) entry[*check.sync_column()].bytes = options.to;
    std::size_t same = 0;
    if (!goes.done() && CompareEntries(goes.values(), entry, &same) == 0) {
      goes.Next();
      return {};
    }
    while (!comes.done()) {
      const int order = CompareEntries(comes.values(), entry, &same);
      if (index->unique && same >= ids) return twice();
      if (order >= 0) break;
      VELLUM_TRY(trees.Add(0, comes.record()));
      comes.Next();
    }
    return Keep(of_base, check.sync_column());
  };
  VELLUM_TRY(pages->Walk(index->root, DatabasePages::Tree::kIndex, write));
  VELLUM_TRY(check.Finish());
  if (!goes.done()) return NotPlain(index->name + " lacks an entry");
  for (; !comes.done(); comes.Next()) VELLUM_TRY(trees.Add(0, comes.record()));
  VELLUM_ASSIGN_OR_RETURN(index_roots[number], trees.Finish());
  return {};
}

/// Grants that agree in most of what identifies them are rare, so all of it is compared only if there are some.
Status Rewriter::Impl::CheckDistinct() const {
  for (const PlainTable& table : schema.tables) {
    if (table.type != RecordType::kGrant) continue;
    const PlainIndex* const index =
        table.IndexOn({"entitlement_id", "principal_resource_type_id", "principal_resource_id"}, /*unique=*/false);
    if (index == nullptr) return NotPlain("v1_grants lacks its index on entitlement and principal");
    if (index->repeats) return CheckGrantsAreDistinct(database);
  }
  return {};
}

Rewriter::Rewriter(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
Rewriter::~Rewriter() = default;
std::uint32_t Rewriter::page_bytes() const { return impl_->stream.page_bytes(); }
const V1Stats& Rewriter::stats() const { return impl_->stats; }

Result<std::unique_ptr<Rewriter>> Rewriter::Open(const std::string& database, Incoming* incoming, PageStream::Sink sink,
                                                 Options options) {
  if (options.from.size() != options.to.size()) {
    return NotPlain("its sync's id has " + std::to_string(options.from.size()) + " bytes");
  }
  PlainSchema schema;
  {
    VELLUM_ASSIGN_OR_RETURN(Sqlite connection, Sqlite::OpenUntrusted(database, database));
    VELLUM_ASSIGN_OR_RETURN(schema, PlainSchema::Read(&connection));
  }
  VELLUM_ASSIGN_OR_RETURN(auto pages, DatabasePages::Open(database));
  auto impl = std::make_unique<Impl>(database, std::move(schema), std::move(pages), incoming, std::move(sink),
                                     std::move(options));
  return std::unique_ptr<Rewriter>(new Rewriter(std::move(impl)));
}

Result<std::string> Rewriter::Run(sync::SyncRun run) {
  Impl& all = *impl_;
  std::vector<PlainTable>& tables = all.schema.tables;
  all.table_roots.resize(tables.size());
  all.index_roots.resize(all.entry_schema.indexes.size());
  VELLUM_TRY(all.pages->Walk(1, DatabasePages::Tree::kTable, [](const PageRecord&) { return Status(); }));
  for (std::size_t i = 0; i < tables.size(); ++i) VELLUM_TRY(tables[i].type ? all.WriteRecords(i) : all.CheckOnly(i));
  VELLUM_TRY(all.WriteRun(std::move(run)));
  VELLUM_TRY(all.added.EndRows());
  VELLUM_TRY(all.gone.EndRows());
  std::size_t number = 0;
  std::vector<std::size_t> first_index;
  for (PlainTable& table : tables) {
    first_index.push_back(number);
    for (PlainIndex& index : table.indexes) VELLUM_TRY(all.WriteIndex(&table, &index, number++));
  }
  VELLUM_TRY(all.pages->CheckFreePages());
  VELLUM_TRY(all.CheckDistinct());
  std::vector<SchemaLine> lines;
  for (const PlainSchema::Object& object : all.schema.objects) {
    const PlainTable& table = tables[object.table];
    if (!object.index) {
      lines.push_back({"table", table.name, table.name, table.sql, all.table_roots[object.table]});
    } else {
      const PlainIndex& index = table.indexes[*object.index];
      lines.push_back(
          {"index", index.name, table.name, index.sql, all.index_roots[first_index[object.table] + *object.index]});
    }
  }
  return WriteSchemaPage(&all.stream, lines, {all.pages->user_version(), all.pages->application_id()});
}

}  // namespace vellum::c1z
