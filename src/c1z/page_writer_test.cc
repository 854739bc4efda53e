#include "c1z/page_writer.h"

#include <gtest/gtest.h>
#include <sqlite3.h>

#include <array>
#include <filesystem>
#include <fstream>
#include <functional>
#include <string>
#include <vector>

#include "base/test_dir.h"
#include "base/test_random.h"
#include "c1z/database_writer.h"
#include "c1z/test_sqlite.h"

/// What is written here without SQLite, read and checked by SQLite.
namespace vellum::c1z {
namespace {

constexpr std::string_view kSchema = R"(
CREATE TABLE things (id integer primary key, name text, number integer, bytes blob);
CREATE INDEX things_name ON things (name);
CREATE INDEX things_all ON things (number, bytes, id);
CREATE INDEX things_one ON things (name) WHERE number = 1;
CREATE INDEX things_named ON things (bytes) WHERE name IS NOT NULL;
)";

class Written : public ::testing::Test {
 protected:
  void Begin(std::string_view statements, DatabaseWriter::Options options) {
    auto parsed = DatabaseSchema::Parse(statements);
    ASSERT_TRUE(parsed.ok()) << parsed.error().ToString();
    schema_ = *std::move(parsed);
    options.sorting.beside = path_;
    rest_.clear();
    writer_ = std::make_unique<DatabaseWriter>(
        &schema_,
        [this](std::string_view pages) {
          rest_.append(pages);
          return Status();
        },
        options);
  }
  static DatabaseWriter::Options Pages(std::uint32_t bytes) {
    DatabaseWriter::Options options;
    options.pages.page_bytes = bytes;
    return options;
  }
  void Add(const std::vector<PageValue>& row) {
    const Status added = writer_->AddRow(0, row);
    ASSERT_TRUE(added.ok()) << added.ToString();
  }
  void Finish() {
    const auto first =
        writer_->Finish([](const IndexSchema&, const std::vector<PageValue>&, std::uint64_t) { FAIL(); });
    ASSERT_TRUE(first.ok()) << first.error().ToString();
    std::ofstream(path_, std::ios::binary) << *first << rest_;
    writer_.reset();
    database_ = std::make_unique<TestSqlite>(path_);
    EXPECT_EQ(database_->Rows("PRAGMA integrity_check"), Table({{"'ok'"}}));
    EXPECT_EQ(database_->Rows("PRAGMA quick_check"), Table({{"'ok'"}}));
    EXPECT_EQ(database_->Rows("PRAGMA freelist_count"), Table({{"0"}}));
    EXPECT_EQ(database_->Rows("PRAGMA page_count"),
              Table({{std::to_string((first->size() + rest_.size()) / first->size())}}));
  }
  using Table = TestSqlite::Table;

  TestDir dir_;
  const std::string path_ = dir_.path() + "/written.db";
  DatabaseSchema schema_;
  std::string rest_;
  std::unique_ptr<DatabaseWriter> writer_;
  std::unique_ptr<TestSqlite> database_;
};

TEST_F(Written, EmptyTablesTakeRows) {
  for (const std::uint32_t page_bytes : {512u, 4096u, 65536u}) {
    SCOPED_TRACE(page_bytes);
    Begin(kSchema, Pages(page_bytes));
    Finish();
    EXPECT_EQ(database_->Rows("SELECT * FROM things"), Table());
    database_->Run("INSERT INTO things VALUES (7, 'a', 1, NULL), (NULL, 'b', 1, x'00')");
    EXPECT_EQ(database_->Rows("SELECT id FROM things INDEXED BY things_one WHERE number = 1"), Table({{"7"}, {"8"}}));
    EXPECT_EQ(database_->Rows("PRAGMA integrity_check"), Table({{"'ok'"}}));
  }
}

TEST_F(Written, TheSchemaIsWhatItsStatementsMake) {
  // With pages of 512 bytes it does not fit into the first one.
  const std::string made = dir_.path() + "/made.db";
  TestSqlite expected(made);
  expected.Run(std::string(kSchema));
  for (const std::uint32_t page_bytes : {512u, 1024u, 4096u}) {
    Begin(kSchema, Pages(page_bytes));
    Finish();
    const std::string query = "SELECT type, name, tbl_name, sql FROM sqlite_schema ORDER BY rowid";
    EXPECT_EQ(database_->Rows(query), expected.Rows(query));
  }
}

TEST_F(Written, StatementsThatAreNotOursAreErrors) {
  for (const char* statements :
       {"DROP TABLE t;", "CREATE TABLE t (a text);", "CREATE TABLE t (id integer primary key) STRICT;",
        "CREATE INDEX i ON t (a);", "CREATE TABLE t (id integer primary key); CREATE INDEX i ON t (a);",
        "CREATE TABLE t (id integer primary key); CREATE INDEX i ON t (id) WHERE id > 1;",
        "CREATE TABLE t (id integer primary key)"}) {
    EXPECT_EQ(DatabaseSchema::Parse(statements).error().code(), Code::kInvalidArgument) << statements;
  }
}

TEST_F(Written, RowsAndEntriesOfEveryLengthAroundWhatFits) {
  // Rows and index entries that just fit into a page, just do not, fill pages of their own exactly, and a byte more.
  for (const std::uint32_t page_bytes : {512u, 4096u}) {
    SCOPED_TRACE(page_bytes);
    std::vector<std::size_t> lengths = {0, 1, 2, 3, 126, 127, 128, 129};
    const auto around = [&lengths](std::size_t middle) {
      for (std::size_t i = middle - 14; i < middle + 6; ++i) lengths.push_back(i);
    };
    const std::size_t index_most = (page_bytes - 12) * 64 / 255 - 23;
    const std::size_t table_most = page_bytes - 35;
    const std::size_t least = (page_bytes - 12) * 32 / 255 - 23;
    for (std::size_t pages = 0; pages < 3; ++pages) {
      for (const std::size_t local : {least, index_most, table_most}) around(local + pages * (page_bytes - 4));
    }
    around(16383);
    Begin(kSchema, Pages(page_bytes));
    std::vector<std::string> texts;
    for (const std::size_t length : lengths) texts.push_back(std::string(length, static_cast<char>('a' + length % 26)));
    for (const std::string& text : texts) {
      Add({{}, PageValue::Text(text), PageValue::Integer(1), PageValue::Blob(text)});
    }
    Finish();
    const Table rows = database_->Rows("SELECT name, bytes FROM things ORDER BY id");
    ASSERT_EQ(rows.size(), texts.size());
    for (std::size_t i = 0; i < texts.size(); ++i) {
      EXPECT_EQ(rows[i][0], "'" + texts[i] + "'");
      EXPECT_EQ(rows[i][1].size(), 2 * texts[i].size() + 3);
    }
    EXPECT_EQ(database_->Rows("SELECT count(*) FROM things INDEXED BY things_name WHERE name >= ''"),
              Table({{std::to_string(texts.size())}}));
  }
}

TEST_F(Written, IntegersOfEverySize) {
  std::vector<std::int64_t> numbers = {INT64_MIN, INT64_MIN + 1, INT64_MAX, INT64_MAX - 1};
  for (int bits = 0; bits < 63; ++bits) {
    const std::int64_t power = std::int64_t{1} << bits;
    for (const std::int64_t number : {power - 1, power, power + 1, -power - 1, -power, -power + 1})
      numbers.push_back(number);
  }
  Begin(kSchema, Pages(1024));
  for (const std::int64_t number : numbers) Add({{}, {}, PageValue::Integer(number), {}});
  Finish();
  const Table rows = database_->Rows("SELECT number FROM things ORDER BY id");
  ASSERT_EQ(rows.size(), numbers.size());
  for (std::size_t i = 0; i < numbers.size(); ++i) EXPECT_EQ(rows[i][0], std::to_string(numbers[i]));
  EXPECT_EQ(database_->Rows("SELECT number, id FROM things INDEXED BY things_all ORDER BY number, bytes, id"),
            database_->Rows("SELECT number, id FROM things NOT INDEXED ORDER BY number, bytes, id"));
}

TEST_F(Written, DeepTreesOfLongKeys) {
  // Four entries a page at most.
  Begin(kSchema, Pages(512));
  for (int i = 0; i < 3000; ++i) {
    const std::string text =
        std::string(90, 'k') + std::to_string(i * 7919 % 3000) + std::string(static_cast<std::size_t>(i % 40), 'x');
    Add({{}, PageValue::Text(text), PageValue::Integer(i % 3), PageValue::Blob(text)});
  }
  Finish();
  EXPECT_EQ(database_->Rows("SELECT name, id FROM things INDEXED BY things_name WHERE name > 'k' ORDER BY name, id"),
            database_->Rows("SELECT name, id FROM things NOT INDEXED WHERE name > 'k' ORDER BY name, id"));
  database_->Run("DELETE FROM things WHERE id % 2 = 0");
  database_->Run("UPDATE things SET name = name || 'z', number = 5 WHERE id % 3 = 0");
  database_->Run("INSERT INTO things (name, number) SELECT bytes, 9 FROM things");
  EXPECT_EQ(database_->Rows("PRAGMA integrity_check"), Table({{"'ok'"}}));
}

TEST_F(Written, ThePageOfTheLocksStaysEmpty) {
  // SQLite has it at one gibibyte, or wherever it is told.
  constexpr std::uint32_t kLockByte = 0x10000;
  sqlite3_test_control(SQLITE_TESTCTRL_PENDING_BYTE, kLockByte);
  DatabaseWriter::Options options = Pages(512);
  options.pages.lock_byte = kLockByte;
  for (const std::size_t bytes : {100u, 400u, 5000u, 70'000u}) {  // in the way: an inner page, a leaf, a row's page
    Begin(kSchema, options);
    const std::string text(bytes, 't');
    for (std::size_t i = 0; i * bytes < 100'000; ++i) Add({{}, PageValue::Text("n"), {}, PageValue::Blob(text)});
    Finish();
    const std::string whole(TestSqlite::Read(path_));
    EXPECT_EQ(whole.substr(kLockByte, 512), std::string(512, '\0'));
  }
  database_.reset();
  sqlite3_test_control(SQLITE_TESTCTRL_PENDING_BYTE, 1 << 30);
}

TEST_F(Written, RepeatsInUniqueIndexesAreTold) {
  Begin("CREATE TABLE t (id integer primary key, a text, b text); CREATE UNIQUE INDEX u ON t (a, b);", Pages(512));
  for (const char* a : {"x", "y", "x", "z", "x", "z"}) Add({{}, PageValue::Text(a), PageValue::Text("s")});
  std::string told;
  const auto first =
      writer_->Finish([&told](const IndexSchema& index, const std::vector<PageValue>& values, std::uint64_t rows) {
        told += index.name + " " + std::string(values[0].bytes) + std::string(values[1].bytes) + " " +
                std::to_string(rows) + ";";
      });
  ASSERT_TRUE(first.ok());
  EXPECT_EQ(told, "u xs 3;u zs 2;");
}

TEST(Trees, RowsThatNoReaderTakesAreRefused) {
  PageStream stream([](std::string_view) { return Status(); }, {});
  TreeWriter tree(&stream, TreeWriter::Kind::kTable);
  const std::string row((256u << 20) + 1, 'r');
  EXPECT_EQ(tree.AddRow(1, row).code(), Code::kResourceExhausted);
  EXPECT_TRUE(tree.AddRow(1, std::string_view(row).substr(1)).ok());
}

TEST_F(Written, ErrorsOfTheSinkAreReturned) {
  auto schema = *DatabaseSchema::Parse(kSchema);
  int calls = 0;
  DatabaseWriter writer(&schema,
                        [&calls](std::string_view) { return ++calls > 1 ? ResourceExhausted("full") : Status(); },
                        {.pages = {}, .sorting = {.beside = path_}});
  const std::string text(100'000, 'a');
  Status added;
  for (int i = 0; i < 100 && added.ok(); ++i) added = writer.AddRow(0, {{}, PageValue::Text(text), {}, {}});
  EXPECT_EQ(added.code(), Code::kResourceExhausted);
}

/// Random rows of a random alphabet, so that there are repeats, neighbours that share much, and zeros.
class RandomRows {
 public:
  explicit RandomRows(std::mt19937_64* random) : random_(*random) {}

  std::vector<PageValue> Next() {
    texts_ = {Bytes(), Bytes()};
    PageValue name = random_() % 8 == 0 ? PageValue() : PageValue::Text(texts_[0]);
    PageValue number = random_() % 5 == 0 ? PageValue() : PageValue::Integer(Number());
    PageValue bytes = random_() % 6 == 0 ? PageValue() : PageValue::Blob(texts_[1]);
    if (random_() % 10 == 0) bytes.kind = PageValue::Kind::kText;
    return {{}, name, number, bytes};
  }

 private:
  std::string Bytes() {
    std::size_t length = random_() % 12;
    if (random_() % 20 == 0) length = random_() % 600;
    if (random_() % 100 == 0) length = random_() % 9000;
    std::string bytes(length, 'p');
    for (std::size_t i = length - std::min<std::size_t>(length, 6); i < length; ++i) {
      static constexpr std::array<char, 6> kAlphabet = {'\0', '\1', 'a', 'b', '\x7F', '\xFF'};
      bytes[i] = kAlphabet[random_() % kAlphabet.size()];
    }
    return bytes;
  }
  std::int64_t Number() {
    if (random_() % 3 == 0) return static_cast<std::int64_t>(random_() % 3);
    return static_cast<std::int64_t>(random_()) >> (random_() % 64);
  }

  std::mt19937_64& random_;
  std::array<std::string, 2> texts_;
};

TEST_F(Written, RandomRowsAsSqliteWritesThem) {
  auto random = SeededRandom();
  for (int round = 0; round < 12; ++round) {
    SCOPED_TRACE(round);
    static constexpr std::array<std::uint32_t, 5> kPageBytes = {512, 1024, 4096, 8192, 65536};
    DatabaseWriter::Options options = Pages(kPageBytes[random() % kPageBytes.size()]);
    options.sorting.memory_bytes = random() % 2 == 0 ? 2000 : 1u << 20;  // many runs, and one
    const std::string made = dir_.path() + "/made" + std::to_string(round) + ".db";
    TestSqlite expected(made);
    expected.Run("BEGIN;" + std::string(kSchema));
    Begin(kSchema, options);
    RandomRows rows(&random);
    for (std::uint64_t left = random() % 3000; left > 0; --left) {
      const std::vector<PageValue> row = rows.Next();
      Add(row);
      expected.Insert("INSERT INTO things VALUES (?, ?, ?, ?)", row);
    }
    expected.Run("COMMIT");
    Finish();
    for (const char* query :
         {"SELECT id, name, number, bytes FROM things NOT INDEXED",
          "SELECT name, id FROM things INDEXED BY things_name WHERE name IS NULL OR name >= '' ORDER BY name, id",
          "SELECT number, bytes, id FROM things INDEXED BY things_all ORDER BY number, bytes, id",
          "SELECT name, id FROM things INDEXED BY things_one WHERE number = 1 ORDER BY name, id",
          "SELECT bytes, id FROM things INDEXED BY things_named WHERE name IS NOT NULL ORDER BY bytes, id"}) {
      EXPECT_TRUE(database_->Rows(query) == expected.Rows(query)) << query;
    }
    // And it goes on like any other.
    for (int i = 0; i < 200; ++i) database_->Insert("INSERT INTO things VALUES (?, ?, ?, ?)", rows.Next());
    EXPECT_EQ(database_->Rows("PRAGMA integrity_check"), Table({{"'ok'"}}));
  }
}

}  // namespace
}  // namespace vellum::c1z
