#pragma once

#include <sqlite3.h>

#include <memory>
#include <string>
#include <string_view>

#include "syncs/data.h"

/// The same work by SQLite, as people do it with the files of today: the v1 schema, WAL, live indexes, batches of 10,000.
namespace vellum::bench {

/// One database.
class Yardstick {
 public:
  enum class Indexes { kLive, kLater };
  /// Makes it, with the v1 tables, and with their indexes unless they come later.
  static Result<Yardstick> Create(const std::string& path, Indexes indexes = Indexes::kLive);
  static Result<Yardstick> Open(const std::string& path);

  Status Run(const std::string& sql);
  /// The first column of the first row.
  Result<std::int64_t> Number(const std::string& sql);
  /// Steps through all rows; the bytes of their columns.
  Result<std::uint64_t> Walk(const std::string& sql);

  /// Writes a sync, batches of 10,000 rows to a transaction.
  Status Write(const std::string& sync_id, const Shape& shape);
  Status MakeIndexes();

  /// What ATTACH and insert-select do to make `sync_id` what it is in another database.
  Status Replace(const std::string& other_path, const std::string& sync_id);
  /// What they do to unite: rows that are missing or strictly newer, table by table.
  Status Unite(const std::string& other_path, const std::string& from_sync, const std::string& into_sync);
  /// Everything of a sync, into the attached database under its own id.
  Status CopyInto(const std::string& other_path);
  /// Empties the write-ahead log into the database and closes it.
  Status Close();

 private:
  struct Closer {
    void operator()(sqlite3* db) const { sqlite3_close_v2(db); }
  };
  Status Check(int code) const;
  std::unique_ptr<sqlite3, Closer> db_;
};

}  // namespace vellum::bench
