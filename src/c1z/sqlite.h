#pragma once

#include <sqlite3.h>

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include "c1z/page_value.h"
#include "vellum/status.h"

/// A thin RAII layer over SQLite, with our Status. Included inside this room only.
namespace vellum::c1z {

class Statement;

/// One connection. Not thread-safe.
class Sqlite {
 public:
  /// A private copy of a file that nobody vouches for: immutable, no views, triggers or functions of its own are run. Errors
  /// name the file that it was taken from.
  static Result<Sqlite> OpenUntrusted(const std::string& path, const std::string& file);
  /// One without a file that goes with its connection: for what a statement of somebody else's would make of a row.
  static Result<Sqlite> OpenInMemory();
  /// For tests: one that is ours alone, for editing in place, journal off. An empty file is one without tables.
  static Result<Sqlite> OpenForEditing(const std::string& path);

  Status Run(const std::string& sql);
  Result<Statement> Prepare(const std::string& sql);
  Status Close();

 private:
  friend class Statement;
  struct Closer {
    void operator()(sqlite3* db) const { sqlite3_close_v2(db); }
  };
  static Result<Sqlite> Open(const std::string& uri, int flags);
  Status Failed(int code) const;
  std::unique_ptr<sqlite3, Closer> db_;
  std::string name_;  ///< What errors call it.
};

/// One prepared statement. Column views are valid until the next Step or Reset.
class Statement {
 public:
  /// True: a row. False: done.
  Result<bool> Step();
  /// Runs a statement without rows, and resets it.
  Status Finish();
  void Reset() { sqlite3_reset(statement_.get()); }

  /// Text and blobs are borrowed: `value` must live until the next Step or Reset.
  void Bind(int index, std::string_view value) {
    sqlite3_bind_text(statement_.get(), index, value.data() == nullptr ? "" : value.data(),
                      static_cast<int>(value.size()), SQLITE_STATIC);
  }
  void BindBlob(int index, std::string_view value) {
    sqlite3_bind_blob(statement_.get(), index, value.data() == nullptr ? "" : value.data(),
                      static_cast<int>(value.size()), SQLITE_STATIC);
  }
  void Bind(int index, std::int64_t value) { sqlite3_bind_int64(statement_.get(), index, value); }
  void BindNull(int index) { sqlite3_bind_null(statement_.get(), index); }

  /// Text or blob; empty for NULL.
  std::string_view Bytes(int column) const {
    const void* const bytes = sqlite3_column_blob(statement_.get(), column);
    return {static_cast<const char*>(bytes), static_cast<std::size_t>(sqlite3_column_bytes(statement_.get(), column))};
  }
  bool IsNull(int column) const { return sqlite3_column_type(statement_.get(), column) == SQLITE_NULL; }
  bool IsNumber(int column) const {
    const int type = sqlite3_column_type(statement_.get(), column);
    return type == SQLITE_INTEGER || type == SQLITE_FLOAT;
  }
  /// As it is stored; views as Bytes gives them. Fractions have no number.
  PageValue Value(int column) const;
  std::int64_t Int(int column) const { return sqlite3_column_int64(statement_.get(), column); }

 private:
  friend class Sqlite;
  struct Finalizer {
    void operator()(sqlite3_stmt* statement) const { sqlite3_finalize(statement); }
  };
  Statement(sqlite3_stmt* statement, std::string name) : statement_(statement), name_(std::move(name)) {}
  std::unique_ptr<sqlite3_stmt, Finalizer> statement_;
  std::string name_;
};

}  // namespace vellum::c1z
