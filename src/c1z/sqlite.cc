#include "c1z/sqlite.h"

#include <utility>

namespace vellum::c1z {
namespace {

/// The longest cell that is read: far above what a record or an asset may have.
constexpr int kCellBytesMax = 256 << 20;

/// A real schema needs a few thousand steps.
constexpr int kStepsPerRound = 10'000;
constexpr int kSchemaRoundsMax = 5'000;

/// SQLite's outcomes as ours.
Status FromSqlite(int code, const std::string& name, const std::string& text) {
  const std::string message = name + ": " + text;
  switch (code & 0xFF) {
    case SQLITE_OK:
    case SQLITE_ROW:
    case SQLITE_DONE: return {};
    case SQLITE_CORRUPT:
    case SQLITE_NOTADB:
    case SQLITE_FORMAT: return InvalidArgument(message);
    case SQLITE_TOOBIG: return ResourceExhausted(message + " (cells are limited to " + std::to_string(kCellBytesMax) + " bytes)");
    case SQLITE_FULL: return ResourceExhausted(message, Reason::kNoSpace);
    case SQLITE_NOMEM: return ResourceExhausted(message);
    case SQLITE_INTERRUPT: return Cancelled(message);
    case SQLITE_CANTOPEN: return FailedPrecondition(message);
    case SQLITE_CONSTRAINT:
    case SQLITE_ERROR:  // of a schema that is not what a statement needs
    case SQLITE_AUTH:
    case SQLITE_MISMATCH: return InvalidArgument(message);
    default: return Internal(message + " (SQLite code " + std::to_string(code) + ")");
  }
}

/// A path as a file: URI's path part.
std::string UriPath(const std::string& path) {
  static constexpr char kHex[] = "0123456789ABCDEF";
  std::string uri = "file:";
  for (const char c : path) {
    const bool plain = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '/' ||
                       c == '-' || c == '_' || c == '.';
    if (plain) {
      uri.push_back(c);
    } else {
      const auto byte = static_cast<unsigned char>(c);
      uri += {'%', kHex[byte >> 4], kHex[byte & 15]};
    }
  }
  return uri;
}

}  // namespace

Result<Sqlite> Sqlite::Open(const std::string& uri, int flags) {
  Sqlite database;
  sqlite3* raw = nullptr;
  const int code = sqlite3_open_v2(uri.c_str(), &raw, flags | SQLITE_OPEN_URI | SQLITE_OPEN_NOMUTEX, nullptr);
  database.db_.reset(raw);
  if (code != SQLITE_OK) return FromSqlite(code, uri, raw != nullptr ? sqlite3_errmsg(raw) : "out of memory");
  sqlite3_extended_result_codes(raw, 1);
  sqlite3_db_config(raw, SQLITE_DBCONFIG_DEFENSIVE, 1, nullptr);
  sqlite3_db_config(raw, SQLITE_DBCONFIG_TRUSTED_SCHEMA, 0, nullptr);
  sqlite3_db_config(raw, SQLITE_DBCONFIG_ENABLE_TRIGGER, 0, nullptr);
  sqlite3_db_config(raw, SQLITE_DBCONFIG_ENABLE_VIEW, 0, nullptr);
  sqlite3_limit(raw, SQLITE_LIMIT_LENGTH, kCellBytesMax);
  sqlite3_limit(raw, SQLITE_LIMIT_ATTACHED, 0);
  return database;
}

Result<Sqlite> Sqlite::OpenUntrusted(const std::string& path, const std::string& file) {
  VELLUM_ASSIGN_OR_RETURN(Sqlite database, Open(UriPath(path) + "?mode=ro&immutable=1", SQLITE_OPEN_READONLY));
  database.name_ = file;
  // The schema is read now, and within bounds: a tree that leads in circles would be read for ever.
  int rounds = kSchemaRoundsMax;
  sqlite3_progress_handler(database.db_.get(), kStepsPerRound, [](void* left) { return --*static_cast<int*>(left) < 0 ? 1 : 0; },
                           &rounds);
  Status read = database.Run("PRAGMA cell_size_check=ON; PRAGMA query_only=ON; PRAGMA cache_size=-16384; "
                             "SELECT 1 FROM sqlite_schema LIMIT 1");
  sqlite3_progress_handler(database.db_.get(), 0, nullptr, nullptr);
  if (read.code() == Code::kCancelled) return InvalidArgument(file + ": the schema has no end: the database is damaged");
  VELLUM_TRY(std::move(read));
  return database;
}

Result<Sqlite> Sqlite::OpenInMemory() {
  VELLUM_ASSIGN_OR_RETURN(Sqlite database,
                          Open("file::memory:", SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_MEMORY));
  database.name_ = "a database in memory";
  return database;
}

Result<Sqlite> Sqlite::OpenForEditing(const std::string& path) {
  VELLUM_ASSIGN_OR_RETURN(Sqlite database, Open(UriPath(path), SQLITE_OPEN_READWRITE));
  database.name_ = path;
  VELLUM_TRY(database.Run("PRAGMA journal_mode=OFF; PRAGMA synchronous=OFF; PRAGMA locking_mode=EXCLUSIVE; "
                          "PRAGMA cell_size_check=ON; PRAGMA cache_size=-65536; PRAGMA temp_store=MEMORY"));
  return database;
}

Status Sqlite::Failed(int code) const { return FromSqlite(code, name_, sqlite3_errmsg(db_.get())); }

Status Sqlite::Run(const std::string& sql) {
  const int code = sqlite3_exec(db_.get(), sql.c_str(), nullptr, nullptr, nullptr);
  return code == SQLITE_OK ? Status() : Failed(code);
}

Result<Statement> Sqlite::Prepare(const std::string& sql) {
  sqlite3_stmt* raw = nullptr;
  const int code = sqlite3_prepare_v2(db_.get(), sql.c_str(), static_cast<int>(sql.size()), &raw, nullptr);
  if (code != SQLITE_OK) return Failed(code);
  return Statement(raw, name_);
}

Status Sqlite::Close() {
  if (!db_) return {};
  const int code = sqlite3_close(db_.get());
  if (code != SQLITE_OK) return Failed(code);
  static_cast<void>(db_.release());
  return {};
}

Result<bool> Statement::Step() {
  const int code = sqlite3_step(statement_.get());
  if (code == SQLITE_ROW) return true;
  if (code == SQLITE_DONE) return false;
  return FromSqlite(code, name_, sqlite3_errmsg(sqlite3_db_handle(statement_.get())));
}

PageValue Statement::Value(int column) const {
  switch (sqlite3_column_type(statement_.get(), column)) {
    case SQLITE_INTEGER: return PageValue::Integer(Int(column));
    case SQLITE_FLOAT: return {PageValue::Kind::kReal, 0, {}};
    case SQLITE_TEXT: return PageValue::Text(Bytes(column));
    case SQLITE_BLOB: return PageValue::Blob(Bytes(column));
    default: return {};
  }
}

Status Statement::Finish() {
  VELLUM_TRY(Step().error());
  Reset();
  return {};
}

}  // namespace vellum::c1z
