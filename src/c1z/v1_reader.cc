#include "c1z/v1_reader.h"

#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <set>

#include "base/aside.h"
#include "base/bytes.h"
#include "c1z/sqlite.h"
#include "c1z/v1_rows.h"

namespace vellum::c1z {
namespace {

using sync::RecordType;
using sync::RecordView;

constexpr std::size_t kSyncsMax = 100'000;
constexpr std::uint64_t kPartRowsMin = 20'000;  ///< Below it threads cost more than they bring.

std::string MakePrivatePath(const std::string& directory) {
  std::string path = (directory.empty() ? std::filesystem::temp_directory_path() : std::filesystem::path(directory)).string() +
                     "/vellum-c1z-XXXXXX";
  return ::mkdtemp(path.data()) == nullptr ? std::string() : path;
}

/// A directory that goes with its owner.
class PrivateDirectory {
 public:
  explicit PrivateDirectory(std::string path) : path_(std::move(path)) {}
  ~PrivateDirectory() {
    std::error_code error;
    if (!path_.empty()) std::filesystem::remove_all(path_, error);
  }
  PrivateDirectory(const PrivateDirectory&) = delete;
  PrivateDirectory& operator=(const PrivateDirectory&) = delete;
  const std::string& path() const { return path_; }

 private:
  const std::string path_;
};

}  // namespace

struct V1Reader::Impl {
  Impl(std::string opened_path, const OpenOptions& opened_with, std::string directory)
      : path(std::move(opened_path)), options(opened_with), scratch(std::move(directory)) {}

  std::string path;
  OpenOptions options;
  PrivateDirectory scratch;
  std::string copy;  ///< The decompressed database.
  std::unique_ptr<Sqlite> database;
  std::map<std::string, std::set<std::string>> columns;  ///< Of the ordinary tables that we know, by name.
  std::vector<FileSync> syncs;

  /// Notes a table's columns, if it is there and an ordinary table.
  Status ReadTable(const char* table);
  Status ReadSchema();
  Status ReadSyncs();
  bool Has(const std::string& table) const { return columns.contains(table); }
  bool Has(const std::string& table, const std::string& column) const {
    const auto found = columns.find(table);
    return found != columns.end() && found->second.contains(column);
  }
  /// The column, or a constant where the file's schema is older.
  std::string ColumnOr(const std::string& table, const char* column, const char* otherwise) const {
    return Has(table, column) ? std::string(column) : std::string(otherwise);
  }

  struct Stretch;
  class RowOrder;
  /// The rows of one stretch of a table, on a connection of the caller's.
  Status ReadRows(Sqlite* connection, const FileSync& sync, RecordType type, Invalid invalid, const Visit& visit,
                  ReadReport* report, Stretch* stretch) const;
  /// Row ids that cut a table into parts; none if it is not worth while.
  Result<std::vector<std::int64_t>> Cuts(const char* table, std::size_t parts) const;
  /// Walks a table: (row id, sync id).
  Status CheckRows(const char* table, const std::function<Status(const Statement&)>& visit) const;
};

Status V1Reader::Impl::ReadTable(const char* table) {
  VELLUM_ASSIGN_OR_RETURN(Statement objects,
                          database->Prepare("SELECT type, sql FROM sqlite_schema WHERE name = ? COLLATE NOCASE"));
  objects.Bind(1, std::string_view(table));
  VELLUM_ASSIGN_OR_RETURN(const bool there, objects.Step());
  if (!there) return {};
  const auto unfit = [&](const std::string& why) { return InvalidArgument(path + ": " + table + " " + why); };
  std::string sql(objects.Bytes(1).substr(0, 64));
  std::transform(sql.begin(), sql.end(), sql.begin(), [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
  if (objects.Bytes(0) != "table") return unfit("is not a table but a " + Printable(objects.Bytes(0)));
  if (sql.starts_with("create virtual")) return unfit("is a virtual table");
  VELLUM_ASSIGN_OR_RETURN(Statement list, database->Prepare(std::string("PRAGMA table_list(") + table + ")"));
  VELLUM_ASSIGN_OR_RETURN(const bool listed, list.Step());
  if (listed && list.Int(4) != 0) return unfit("is a table without row ids");
  VELLUM_ASSIGN_OR_RETURN(Statement info, database->Prepare(std::string("PRAGMA table_xinfo(") + table + ")"));
  for (;;) {
    VELLUM_ASSIGN_OR_RETURN(const bool row, info.Step());
    if (!row) return {};
    const std::string column(info.Bytes(1));
    if (info.Int(6) != 0) return unfit("computes the column " + Printable(column) + " instead of keeping it");
    if (column == "_rowid_") return unfit("has a column named _rowid_");
    columns[table].insert(column);
  }
}

Status V1Reader::Impl::ReadSchema() {
  VELLUM_ASSIGN_OR_RETURN(Statement encoding, database->Prepare("PRAGMA encoding"));
  VELLUM_ASSIGN_OR_RETURN(const bool told, encoding.Step());
  // Text is taken as it lies there.
  if (told && encoding.Bytes(0).find("UTF-8") != 0) {
    return InvalidArgument(path + ": the database keeps text in another encoding than UTF-8");
  }
  for (const char* known : {"v1_sync_runs", "v1_resource_types", "v1_resources", "v1_entitlements", "v1_grants", "v1_assets",
                            "v1_connector_sessions"}) {
    VELLUM_TRY(ReadTable(known));
  }
  if (!Has("v1_sync_runs")) {
    return InvalidArgument(path + " holds a SQLite database without the table v1_sync_runs: not an access snapshot");
  }
  for (const char* column : {"sync_id", "started_at", "ended_at", "sync_token"}) {
    if (!Has("v1_sync_runs", column)) return InvalidArgument(path + ": table v1_sync_runs lacks the column " + column);
  }
  for (const TableSpec& table : RecordTables()) {
    // Every version has them all. Where one is gone, so are records.
    if (!Has(table.name)) return InvalidArgument(path + " lacks the table " + table.name + ": the database is damaged");
    for (const char* column : table.required) {
      if (!Has(table.name, column)) {
        return InvalidArgument(path + ": table " + table.name + " lacks the column " + column);
      }
    }
  }
  return {};
}

Status V1Reader::Impl::ReadSyncs() {
  const std::string runs = "v1_sync_runs";
  VELLUM_ASSIGN_OR_RETURN(
      Statement rows,
      database->Prepare("SELECT sync_id, started_at, ended_at, sync_token, " + ColumnOr(runs, "sync_type", "'full'") + ", " +
                        ColumnOr(runs, "parent_sync_id", "''") + ", " + ColumnOr(runs, "linked_sync_id", "''") + ", " +
                        ColumnOr(runs, "supports_diff", "0") + ", " + ColumnOr(runs, "grants_backfilled", "0") + ", " +
                        ColumnOr(runs, "stats", "NULL") + " FROM v1_sync_runs NOT INDEXED ORDER BY _rowid_"));
  std::set<std::string> seen;
  for (;;) {
    VELLUM_ASSIGN_OR_RETURN(const bool row, rows.Step());
    if (!row) return {};
    FileSync sync;
    sync.run.id = std::string(rows.Bytes(0));
    if (sync.run.id.empty()) return InvalidArgument(path + ": a sync run has an empty id");
    if (!seen.insert(sync.run.id).second) return InvalidArgument(path + ": two runs of sync " + Printable(sync.run.id));
    if (syncs.size() == kSyncsMax) {
      return ResourceExhausted(path + " has more than " + std::to_string(kSyncsMax) + " syncs");
    }
    const auto started = options.zone.ToStamp(rows.Bytes(1));
    if (!started) {
      return InvalidArgument(path + ": sync " + Printable(sync.run.id) + " started at " + Printable(rows.Bytes(1)) +
                             ", which is not a time");
    }
    sync.run.started_at = *started;
    if (!rows.IsNull(2) && !rows.Bytes(2).empty()) {
      const auto ended = options.zone.ToStamp(rows.Bytes(2));
      if (!ended) {
        return InvalidArgument(path + ": sync " + Printable(sync.run.id) + " ended at " + Printable(rows.Bytes(2)) +
                               ", which is not a time");
      }
      sync.run.ended_at = std::max<sync::Stamp>(*ended, 1);  // it has ended, even if before 1970
    }
    sync.run.token = std::string(rows.Bytes(3));
    sync.run.type = std::string(rows.Bytes(4));
    if (sync.run.type.empty()) sync.run.type = "full";
    sync.run.parent_id = std::string(rows.Bytes(5));
    sync.run.linked_id = std::string(rows.Bytes(6));
    sync.run.supports_diff = rows.Int(7) != 0;
    sync.grants_backfilled = rows.Int(8) != 0;
    sync.stats_json = std::string(rows.Bytes(9));
    syncs.push_back(std::move(sync));
  }
}

V1Reader::V1Reader(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
V1Reader::~V1Reader() = default;

Result<std::unique_ptr<V1Reader>> V1Reader::Open(const std::string& path, const OpenOptions& options) {
  std::string directory = MakePrivatePath(options.scratch_dir);
  if (directory.empty()) return FailedPrecondition("cannot make a private directory in " + options.scratch_dir);
  auto impl = std::make_unique<Impl>(path, options, std::move(directory));
  impl->copy = impl->scratch.path() + "/sync.db";
  VELLUM_TRY(ExtractDatabase(path, impl->copy, options.limits));
  VELLUM_ASSIGN_OR_RETURN(Sqlite database, Sqlite::OpenUntrusted(impl->copy, path));
  impl->database = std::make_unique<Sqlite>(std::move(database));
  VELLUM_TRY(impl->ReadSchema());
  VELLUM_TRY(impl->ReadSyncs());
  return std::unique_ptr<V1Reader>(new V1Reader(std::move(impl)));
}

const std::vector<FileSync>& V1Reader::syncs() const { return impl_->syncs; }

/// A stretch of a table's rows, by row id: from `from` on, up to but without `to`.
struct V1Reader::Impl::Stretch {
  std::optional<std::int64_t> from;
  std::optional<std::int64_t> to;
  // What reading it came across: its first row, and the first one behind it.
  std::optional<std::int64_t> first;
  std::optional<std::int64_t> next;
};

/// Rows come in the order of their ids, each id once. In a damaged tree, or one that leads in circles to make few pages many
/// rows, they do not.
class V1Reader::Impl::RowOrder {
 public:
  Status Check(std::int64_t row_id, const std::string& path, const char* table) {
    if (last_ && row_id <= *last_) {
      return InvalidArgument(path + ", table " + table + ": row " + std::to_string(row_id) + " comes behind row " +
                             std::to_string(*last_) + ": the database is damaged");
    }
    last_ = row_id;
    return {};
  }

 private:
  std::optional<std::int64_t> last_;
};

Status V1Reader::Impl::ReadRows(Sqlite* connection, const FileSync& sync, RecordType type, Invalid invalid, const Visit& visit,
                                ReadReport* report, Stretch* stretch) const {
  const TableSpec& table = TableOf(type);
  const std::string selected =
      RowDecoder::Columns(type, [&](const char* column) { return Has(table.name, column); });
  // No index of the file is used: what it leaves out would be missing without a sound.
  VELLUM_ASSIGN_OR_RETURN(Statement rows, connection->Prepare("SELECT _rowid_, sync_id, " + selected + " FROM " + table.name +
                                                              " NOT INDEXED" +
                                                              (stretch->from ? " WHERE _rowid_ >= ?" : "") +
                                                              " ORDER BY _rowid_"));
  if (stretch->from) rows.Bind(1, *stretch->from);
  RowDecoder decoder(type, &options.zone);
  RowOrder order;
  RecordView record;
  for (;;) {
    VELLUM_ASSIGN_OR_RETURN(const bool row, rows.Step());
    if (!row) return {};
    const std::int64_t row_id = rows.Int(0);
    VELLUM_TRY(order.Check(row_id, path, table.name));
    if (!stretch->first) stretch->first = row_id;
    if (stretch->to && row_id >= *stretch->to) {
      stretch->next = row_id;
      return {};
    }
    if (rows.Bytes(1) != sync.run.id) {
      ++report->foreign;
      continue;
    }
    ++report->rows;
    if (Status usable = decoder.Decode(rows, &record, report); !usable.ok()) {
      const std::string& why = usable.message();
      ++report->invalid[std::string(table.name) + ": " + why.substr(0, why.find(" from record "))];
      if (invalid == Invalid::kSkip) continue;
      return InvalidArgument(path + ", sync " + Printable(sync.run.id) + ", table " + table.name + ": " + why);
    }
    VELLUM_TRY(visit(record));
  }
}

Status V1Reader::ReadRecords(const FileSync& sync, RecordType type, Invalid invalid, const Visit& visit, ReadReport* report) {
  Impl::Stretch all;
  return impl_->ReadRows(impl_->database.get(), sync, type, invalid, visit, report, &all);
}

Result<std::vector<std::int64_t>> V1Reader::Impl::Cuts(const char* table, std::size_t parts) const {
  const std::string end = std::string("(SELECT _rowid_ FROM ") + table + " NOT INDEXED ORDER BY _rowid_ ";
  VELLUM_ASSIGN_OR_RETURN(Statement bounds, database->Prepare("SELECT " + end + "LIMIT 1), " + end + "DESC LIMIT 1)"));
  VELLUM_ASSIGN_OR_RETURN(const bool row, bounds.Step());
  std::vector<std::int64_t> cuts;
  if (!row || bounds.IsNull(0)) return cuts;
  const std::int64_t first = bounds.Int(0);
  const std::int64_t last = bounds.Int(1);
  // Ids run over all of 64 bits, so their distance is taken without a sign.
  const std::uint64_t distance = static_cast<std::uint64_t>(last) - static_cast<std::uint64_t>(first);
  if (last <= first || distance < kPartRowsMin) return cuts;
  for (std::size_t part = 1; part < parts; ++part) {
    cuts.push_back(static_cast<std::int64_t>(static_cast<std::uint64_t>(first) + distance / parts * part));
  }
  return cuts;
}

Status V1Reader::ReadInParts(const FileSync& sync, RecordType type, Invalid invalid, const std::vector<Visit>& visits,
                             ReadReport* report) {
  const char* const table = TableOf(type).name;
  VELLUM_ASSIGN_OR_RETURN(const std::vector<std::int64_t> cuts, impl_->Cuts(table, visits.size()));
  if (cuts.empty()) return ReadRecords(sync, type, invalid, visits.front(), report);
  struct Part {
    Impl::Stretch stretch;
    ReadReport report;
    Status status;
  };
  std::vector<Part> parts(cuts.size() + 1);
  const auto read = [&](std::size_t i) -> Status {
    VELLUM_ASSIGN_OR_RETURN(Sqlite connection, Sqlite::OpenUntrusted(impl_->copy, impl_->path));
    return impl_->ReadRows(&connection, sync, type, invalid, visits[i], &parts[i].report, &parts[i].stretch);
  };
  for (std::size_t i = 0; i < cuts.size(); ++i) {
    parts[i].stretch.to = cuts[i];
    parts[i + 1].stretch.from = cuts[i];
  }
  {
    std::vector<std::future<void>> others;
    for (std::size_t i = 1; i < parts.size(); ++i) others.push_back(DoAside([&, i] { parts[i].status = read(i); }));
    parts[0].status = read(0);
  }
  for (Part& part : parts) {
    report->Add(part.report);
    VELLUM_TRY(std::move(part.status));
  }
  for (std::size_t i = 0; i + 1 < parts.size(); ++i) {
    // Parts were found by searching the tree: what one ends before is what the next begins with, or rows were passed over.
    if (parts[i].stretch.next != parts[i + 1].stretch.first) {
      return InvalidArgument(impl_->path + ", table " + table + ": the rows are not where their ids say: the database is damaged");
    }
  }
  return {};
}

Status V1Reader::Impl::CheckRows(const char* table, const std::function<Status(const Statement&)>& visit) const {
  VELLUM_ASSIGN_OR_RETURN(Statement rows, database->Prepare(std::string("SELECT _rowid_, sync_id FROM ") + table +
                                                            " NOT INDEXED ORDER BY _rowid_"));
  RowOrder order;
  for (;;) {
    VELLUM_ASSIGN_OR_RETURN(const bool row, rows.Step());
    if (!row) return {};
    VELLUM_TRY(order.Check(rows.Int(0), path, table));
    VELLUM_TRY(visit(rows));
  }
}

Status V1Reader::ReadSessions(const FileSync& sync, const std::function<Status(const Session&)>& visit) {
  constexpr const char* kTable = "v1_connector_sessions";
  if (!impl_->Has(kTable)) return {};
  // Sorting is of what the tree holds, not of what it leads to.
  VELLUM_TRY(impl_->CheckRows(kTable, [](const Statement&) { return Status(); }));
  VELLUM_ASSIGN_OR_RETURN(Statement rows, impl_->database->Prepare(
                                              "SELECT key, value, sync_id FROM v1_connector_sessions NOT INDEXED "
                                              "ORDER BY CAST(key AS BLOB)"));
  std::optional<std::string> last;
  for (;;) {
    VELLUM_ASSIGN_OR_RETURN(const bool row, rows.Step());
    if (!row) return {};
    if (rows.Bytes(2) != sync.run.id) continue;
    Session session{std::string(rows.Bytes(0)), std::string(rows.Bytes(1))};
    if (last == session.key) {
      return InvalidArgument(impl_->path + ", table " + kTable + ": two values for the key " + Printable(session.key));
    }
    VELLUM_TRY(visit(session));
    last = std::move(session.key);
  }
}

Result<std::uint64_t> V1Reader::CountOrphans() {
  std::set<std::string, std::less<>> known;
  for (const FileSync& sync : impl_->syncs) known.insert(sync.run.id);
  std::uint64_t orphans = 0;
  for (const TableSpec& table : RecordTables()) {
    if (!impl_->Has(table.name)) continue;
    VELLUM_TRY(impl_->CheckRows(table.name, [&](const Statement& row) {
      if (!known.contains(row.Bytes(1))) ++orphans;
      return Status();
    }));
  }
  return orphans;
}

Result<std::string> V1Reader::ReleaseDatabase() {
  VELLUM_TRY(impl_->database->Close());
  return impl_->copy;
}

Status V1Reader::CheckRest() {
  VELLUM_ASSIGN_OR_RETURN(Statement check, impl_->database->Prepare("PRAGMA integrity_check(10)"));
  std::string problems;
  for (;;) {
    VELLUM_ASSIGN_OR_RETURN(const bool row, check.Step());
    if (!row) break;
    if (check.Bytes(0) != "ok") problems += (problems.empty() ? "" : "; ") + Printable(check.Bytes(0), 256);
  }
  return problems.empty() ? Status() : InvalidArgument(impl_->path + ", the database: " + problems);
}

}  // namespace vellum::c1z
