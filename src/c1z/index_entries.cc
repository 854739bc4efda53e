#include "c1z/index_entries.h"

#include <algorithm>
#include <utility>

#include "base/aside.h"
#include "base/bytes.h"
#include "base/check.h"

namespace vellum::c1z {
namespace {

using Kind = PageValue::Kind;

/// Behind the values of a key: its row, so that no two are the same.
constexpr std::size_t kRowBytes = 8;
constexpr std::uint64_t kSign = 1ull << 63;

constexpr char kNullTag = 0;
constexpr char kIntegerTag = 1;
constexpr char kTextTag = 2;
constexpr char kBlobTag = 3;

/// What goes from one thread to another at a time.
constexpr std::size_t kHandBytes = 512u << 10;
constexpr std::size_t kHandRows = 8192;

/// The rest of an escaped value, from its first zero on, appended to `unescaped`. False if it does not end.
bool Unescape(std::string_view* rest, std::string* unescaped) {
  for (;;) {
    const auto zero = rest->find('\0');
    if (zero == std::string_view::npos || zero + 1 == rest->size()) return false;
    unescaped->append(rest->substr(0, zero));
    const char mark = (*rest)[zero + 1];
    rest->remove_prefix(zero + 2);
    if (mark == '\x01') return true;
    unescaped->push_back('\0');
  }
}

}  // namespace

void AppendKeyValue(std::string* key, const PageValue& value) {
  switch (value.kind) {
    case Kind::kNull: key->push_back(kNullTag); return;
    case Kind::kInteger:
      key->push_back(kIntegerTag);
      AppendBe64(key, static_cast<std::uint64_t>(value.number) ^ kSign);
      return;
    case Kind::kText: key->push_back(kTextTag); break;
    case Kind::kBlob: key->push_back(kBlobTag); break;
    case Kind::kReal: VELLUM_CHECK(false);  // nothing here has any
  }
  AppendEscaped(key, value.bytes);
}

bool ParseKeyValues(std::string_view key, std::vector<PageValue>* values, std::string* unescaped) {
  values->clear();
  unescaped->clear();
  unescaped->reserve(key.size());  // so that views into it stay
  while (!key.empty()) {
    const char tag = key.front();
    key.remove_prefix(1);
    if (tag == kNullTag) {
      values->push_back({});
    } else if (tag == kIntegerTag) {
      ByteReader reader(key);
      const auto number = reader.ReadBe64();
      if (!number) return false;
      values->push_back(PageValue::Integer(static_cast<std::int64_t>(*number ^ kSign)));
      key = reader.rest();
    } else {
      const auto zero = key.find('\0');
      if (zero == std::string_view::npos || zero + 1 == key.size()) return false;
      std::string_view bytes = key.substr(0, zero);
      if (key[zero + 1] == '\x01') {
        key.remove_prefix(zero + 2);
      } else {
        const std::size_t begin = unescaped->size();
        if (!Unescape(&key, unescaped)) return false;
        bytes = std::string_view(*unescaped).substr(begin);
      }
      values->push_back(tag == kTextTag ? PageValue::Text(bytes) : PageValue::Blob(bytes));
    }
  }
  return true;
}

struct IndexEntries::Index {
  Index(const IndexSchema& of, const KeySorter::Options& sorting) : schema(of), sorter(sorting) {}

  const IndexSchema& schema;
  KeySorter sorter;
  std::future<Result<std::unique_ptr<storage::TableCursor>>> sorted;
};

/// Copies of rows. Their bytes never move.
struct IndexEntries::Rows {
  Rows() { bytes.reserve(kHandBytes); }

  bool Fits(std::size_t more) const { return bytes.size() + more <= bytes.capacity() && rows.size() < kHandRows; }
  std::string_view Copy(std::string_view from) {
    const std::size_t begin = bytes.size();
    bytes.append(from);
    return std::string_view(bytes).substr(begin);
  }
  void Clear() {
    bytes.clear();
    values.clear();
    rows.clear();
  }

  struct Row {
    std::size_t table;
    std::int64_t row_id;
    std::size_t first_value;
  };
  std::string bytes;
  std::vector<PageValue> values;
  std::vector<Row> rows;
};

IndexEntries::IndexEntries(const DatabaseSchema* schema, const KeySorter::Options& sorting)
    : schema_(*schema),
      of_table_(schema->tables.size()),
      filling_(std::make_unique<Rows>()),
      sorting_(std::make_unique<Rows>()) {
  for (const TableSchema& table : schema_.tables) wanted_.emplace_back(table.columns.size(), 0);
  for (std::size_t i = 0; i < schema_.indexes.size(); ++i) {
    const IndexSchema& index = schema_.indexes[i];
    indexes_.push_back(std::make_unique<Index>(index, sorting));
    of_table_[index.table].push_back(i);
    for (const std::size_t column : index.columns) wanted_[index.table][column] = 1;
  }
}

IndexEntries::~IndexEntries() {
  if (working_.valid()) working_.wait();
}

Status IndexEntries::Add(std::size_t table, std::int64_t row_id, const std::vector<PageValue>& values) {
  if (of_table_[table].empty()) return {};
  const std::vector<std::uint8_t>& wanted = wanted_[table];
  std::size_t bytes = 0;
  for (std::size_t i = 0; i < values.size(); ++i) bytes += wanted[i] != 0 ? values[i].bytes.size() : 0;
  if (!filling_->Fits(bytes)) {
    VELLUM_TRY(Hand());
    filling_->bytes.reserve(std::max(kHandBytes, bytes));
  }
  filling_->rows.push_back({table, row_id, filling_->values.size()});
  for (std::size_t i = 0; i < values.size(); ++i) {
    filling_->values.push_back(values[i]);
    filling_->values.back().bytes = wanted[i] != 0 ? filling_->Copy(values[i].bytes) : std::string_view();
  }
  return {};
}

Status IndexEntries::Wait() { return working_.valid() ? working_.get() : Status(); }

/// Lets the other thread make keys of what was gathered.
Status IndexEntries::Hand() {
  VELLUM_TRY(Wait());
  std::swap(filling_, sorting_);
  filling_->Clear();
  working_ = DoAside([this] { return AddKeys(*sorting_); });
  return {};
}

Status IndexEntries::AddKeys(const Rows& rows) {
  std::string key;
  for (const Rows::Row& row : rows.rows) {
    const PageValue* const values = rows.values.data() + row.first_value;
    const std::size_t row_id_column = schema_.tables[row.table].row_id;
    for (const std::size_t i : of_table_[row.table]) {
      const IndexSchema& index = schema_.indexes[i];
      const PageValue& condition = values[index.condition_column];
      if (index.rows == IndexSchema::Rows::kNotNull && condition.kind == Kind::kNull) continue;
      if (index.rows == IndexSchema::Rows::kEqual &&
          (condition.kind != Kind::kInteger || condition.number != index.condition_number)) {
        continue;
      }
      key.clear();
      for (const std::size_t column : index.columns) {
        AppendKeyValue(&key, column == row_id_column ? PageValue::Integer(row.row_id) : values[column]);
      }
      AppendBe64(&key, static_cast<std::uint64_t>(row.row_id) ^ kSign);
      VELLUM_TRY(indexes_[i]->sorter.Add(key));
    }
  }
  return {};
}

Status IndexEntries::EndRows() {
  VELLUM_TRY(Hand());
  VELLUM_TRY(Wait());
  for (const auto& index : indexes_) {
    const auto finish = [&sorter = index->sorter] { return sorter.Finish(); };
    index->sorted = index->sorter.sorts() ? DoAside(finish) : std::async(std::launch::deferred, finish);
  }
  return {};
}

/// Turns sorted keys into records, a piece at a time.
class IndexEntries::Producer {
 public:
  struct Piece {
    std::string bytes;
    std::vector<std::size_t> ends;
  };
  Producer(const IndexSchema* schema, std::unique_ptr<storage::TableCursor> cursor, const OnRepeat* on_repeat)
      : schema_(*schema), cursor_(std::move(cursor)), on_repeat_(*on_repeat) {}

  bool done() const { return !cursor_->valid(); }

  Status Fill(Piece* piece) {
    piece->bytes.clear();
    piece->ends.clear();
    for (; cursor_->valid() && piece->bytes.size() < kHandBytes; cursor_->Next()) {
      const std::string_view key = cursor_->key();
      const std::string_view entry = key.substr(0, key.size() - kRowBytes);
      if (schema_.unique) Compare(entry);
      ByteReader row(key.substr(entry.size()));
      if (!ParseKeyValues(entry, &values_, &unescaped_))
        return DataLoss("a sorted key of an index is not one that was added");
      record_.Clear();
      for (const PageValue& value : values_) record_.Add(value);
      record_.Add(PageValue::Integer(static_cast<std::int64_t>(*row.ReadBe64() ^ kSign)));
      piece->bytes.append(record_.Finish());
      piece->ends.push_back(piece->bytes.size());
    }
    if (done()) Tell();
    return cursor_->status();
  }

 private:
  void Compare(std::string_view entry) {
    if (entry == last_) {
      ++repeats_;
      return;
    }
    Tell();
    last_.assign(entry);
    repeats_ = 1;
  }
  void Tell() {
    if (repeats_ > 1 && ParseKeyValues(last_, &values_, &unescaped_)) on_repeat_(schema_, values_, repeats_);
    repeats_ = 0;
  }

  const IndexSchema& schema_;
  const std::unique_ptr<storage::TableCursor> cursor_;
  const OnRepeat& on_repeat_;
  std::vector<PageValue> values_;
  std::string unescaped_;
  std::string last_;  ///< Of a unique index: the values of the entry before.
  std::uint64_t repeats_ = 0;
  RecordBytes record_;
};

Status IndexEntries::ForEach(std::size_t index, const OnRepeat& on_repeat, const Visit& visit) {
  VELLUM_ASSIGN_OR_RETURN(auto cursor, indexes_[index]->sorted.get());
  Producer producer(&indexes_[index]->schema, std::move(cursor), &on_repeat);
  Producer::Piece piece;
  Producer::Piece next;
  VELLUM_TRY(producer.Fill(&piece));
  while (!piece.ends.empty()) {
    // The next piece is made while this one is visited; its thread ends before anything else happens.
    std::future<Status> filling;
    next.ends.clear();
    if (!producer.done()) filling = DoAside([&producer, &next] { return producer.Fill(&next); });
    Status visited;
    std::size_t begin = 0;
    for (const std::size_t end : piece.ends) {
      if (visited = visit(std::string_view(piece.bytes).substr(begin, end - begin)); !visited.ok()) break;
      begin = end;
    }
    Status filled = filling.valid() ? filling.get() : Status();
    VELLUM_TRY(std::move(visited));
    VELLUM_TRY(std::move(filled));
    std::swap(piece, next);
  }
  indexes_[index].reset();
  return {};
}

}  // namespace vellum::c1z
