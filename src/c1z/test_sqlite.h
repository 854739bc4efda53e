#pragma once

#include <gtest/gtest.h>
#include <sqlite3.h>

#include <fstream>
#include <memory>
#include <string>
#include <vector>

#include "c1z/page_value.h"

namespace vellum::c1z {

/// For tests: a database as SQLite itself reads and writes it. Failures fail the test.
class TestSqlite {
 public:
  explicit TestSqlite(const std::string& path) {
    sqlite3* raw = nullptr;
    EXPECT_EQ(sqlite3_open(path.c_str(), &raw), SQLITE_OK) << path;
    db_.reset(raw);
    Run("PRAGMA synchronous = OFF");
  }

  void Run(const std::string& sql) {
    EXPECT_EQ(sqlite3_exec(db_.get(), sql.c_str(), nullptr, nullptr, nullptr), SQLITE_OK)
        << sql << ": " << sqlite3_errmsg(db_.get());
  }

  /// Values as SQL literals, which say their types.
  using Table = std::vector<std::vector<std::string>>;
  Table Rows(const std::string& sql) {
    Table table;
    const auto statement = Prepare(sql);
    int code = sqlite3_step(statement.get());
    for (; code == SQLITE_ROW; code = sqlite3_step(statement.get())) {
      table.emplace_back();
      for (int i = 0; i < sqlite3_column_count(statement.get()); ++i)
        table.back().push_back(Literal(statement.get(), i));
    }
    EXPECT_EQ(code, SQLITE_DONE) << sql << ": " << sqlite3_errmsg(db_.get());
    return table;
  }

  void Insert(const std::string& sql, const std::vector<PageValue>& row) {
    const auto statement = Prepare(sql);
    for (int i = 0; i < static_cast<int>(row.size()); ++i) {
      const PageValue& value = row[static_cast<std::size_t>(i)];
      const auto size = static_cast<int>(value.bytes.size());
      const char* const bytes = value.bytes.data() == nullptr ? "" : value.bytes.data();
      if (value.kind == PageValue::Kind::kInteger) sqlite3_bind_int64(statement.get(), i + 1, value.number);
      if (value.kind == PageValue::Kind::kText) sqlite3_bind_text(statement.get(), i + 1, bytes, size, SQLITE_STATIC);
      if (value.kind == PageValue::Kind::kBlob) sqlite3_bind_blob(statement.get(), i + 1, bytes, size, SQLITE_STATIC);
    }
    EXPECT_EQ(sqlite3_step(statement.get()), SQLITE_DONE) << sqlite3_errmsg(db_.get());
  }

  static std::string Read(const std::string& path) {
    std::ifstream file(path, std::ios::binary);
    return {std::istreambuf_iterator<char>(file), {}};
  }

 private:
  struct Closer {
    void operator()(sqlite3* db) const { sqlite3_close_v2(db); }
    void operator()(sqlite3_stmt* statement) const { sqlite3_finalize(statement); }
  };
  using Statement = std::unique_ptr<sqlite3_stmt, Closer>;

  Statement Prepare(const std::string& sql) {
    sqlite3_stmt* raw = nullptr;
    EXPECT_EQ(sqlite3_prepare_v2(db_.get(), sql.c_str(), -1, &raw, nullptr), SQLITE_OK)
        << sql << ": " << sqlite3_errmsg(db_.get());
    return Statement(raw);
  }

  static std::string Literal(sqlite3_stmt* statement, int column) {
    const int type = sqlite3_column_type(statement, column);
    if (type == SQLITE_NULL) return "NULL";
    if (type == SQLITE_INTEGER) return std::to_string(sqlite3_column_int64(statement, column));
    const auto* const bytes = static_cast<const char*>(sqlite3_column_blob(statement, column));
    const std::string value(bytes == nullptr ? "" : bytes,
                            static_cast<std::size_t>(sqlite3_column_bytes(statement, column)));
    if (type == SQLITE_TEXT) return "'" + value + "'";
    if (type == SQLITE_FLOAT) return "float " + value;
    static constexpr char kHex[] = "0123456789abcdef";
    std::string literal = "x'";
    for (const char c : value) literal += {kHex[static_cast<unsigned char>(c) >> 4], kHex[c & 15]};
    return literal + "'";
  }

  std::unique_ptr<sqlite3, Closer> db_;
};

}  // namespace vellum::c1z
