#include "c1z/v1_reader.h"

#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <set>

#include "base/bytes.h"
#include "c1/connector/v2/connector.pb.h"
#include "c1z/sqlite.h"
#include "sync/codec.h"

namespace vellum::c1z {
namespace {

using sync::RecordType;
using sync::RecordView;

constexpr std::string_view kExpandable = "c1.connector.v2.GrantExpandable";
constexpr std::size_t kSyncsMax = 100'000;

struct TableSpec {
  RecordType type;
  const char* name;
  std::vector<const char*> required;
};

const std::vector<TableSpec>& RecordTables() {
  static const std::vector<TableSpec> tables = {
      {RecordType::kResourceType, "v1_resource_types", {"external_id", "data", "sync_id", "discovered_at"}},
      {RecordType::kResource, "v1_resources", {"resource_type_id", "external_id", "data", "sync_id", "discovered_at"}},
      {RecordType::kEntitlement, "v1_entitlements",
       {"resource_type_id", "resource_id", "external_id", "data", "sync_id", "discovered_at"}},
      {RecordType::kGrant, "v1_grants",
       {"resource_type_id", "resource_id", "entitlement_id", "principal_resource_type_id", "principal_resource_id",
        "external_id", "data", "sync_id", "discovered_at"}},
      {RecordType::kAsset, "v1_assets", {"external_id", "content_type", "data", "sync_id", "discovered_at"}},
  };
  return tables;
}

const TableSpec& TableOf(RecordType type) { return RecordTables()[static_cast<std::size_t>(type)]; }

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

/// A message's resource id, for rows whose columns do not give it.
std::string ResourceIdInMessage(std::string_view data) {
  c1::connector::v2::Resource resource;
  if (!resource.ParseFromArray(data.data(), static_cast<int>(data.size()))) return {};
  return resource.id().resource();
}

bool IsBlank(std::string_view text) {
  return std::all_of(text.begin(), text.end(), [](char c) { return c == ' ' || (c >= '\t' && c <= '\r'); });
}

}  // namespace

std::optional<Expansion> ExtractExpansion(std::string_view grant_message) {
  Expansion result;
  ByteReader reader(grant_message);
  while (!reader.empty()) {
    const std::string_view before = reader.rest();
    const auto tag = reader.ReadVarint();
    if (!tag) return std::nullopt;
    std::optional<std::string_view> bytes;
    switch (*tag & 7) {
      case 0:
        if (!reader.ReadVarint()) return std::nullopt;
        break;
      case 1:
        if (!reader.ReadBytes(8)) return std::nullopt;
        break;
      case 2:
        bytes = reader.ReadLengthPrefixed();
        if (!bytes) return std::nullopt;
        break;
      case 5:
        if (!reader.ReadBytes(4)) return std::nullopt;
        break;
      default: return std::nullopt;
    }
    google::protobuf::Any annotation;
    if (*tag >> 3 == 4 && bytes && bytes->find(kExpandable) != std::string_view::npos &&
        annotation.ParseFromArray(bytes->data(), static_cast<int>(bytes->size())) &&
        std::string_view(annotation.type_url()).ends_with(kExpandable)) {
      c1::connector::v2::GrantExpandable expandable;
      if (!expandable.ParseFromString(annotation.value())) return std::nullopt;
      const bool any = std::any_of(expandable.entitlement_ids().begin(), expandable.entitlement_ids().end(),
                                   [](const std::string& id) { return !IsBlank(id); });
      if (any) result.expansion = annotation.value();
      continue;
    }
    result.message.append(before.substr(0, before.size() - reader.rest().size()));
  }
  return result;
}

struct V1Reader::Impl {
  Impl(std::string opened_path, const OpenOptions& opened_with, std::string directory)
      : path(std::move(opened_path)), options(opened_with), scratch(std::move(directory)) {}

  std::string path;
  OpenOptions options;
  PrivateDirectory scratch;
  std::unique_ptr<Sqlite> database;
  std::map<std::string, std::set<std::string>> columns;  ///< Of the ordinary tables that we know, by name.
  std::vector<FileSync> syncs;

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
  Status FillIdentity(RecordType type, const Statement& row, RecordView* record, std::string* text) const;
};

Status V1Reader::Impl::ReadSchema() {
  // Only ordinary tables count: a view or a virtual table under a known name is not read.
  VELLUM_ASSIGN_OR_RETURN(Statement tables, database->Prepare(
      "SELECT name, sql FROM sqlite_schema WHERE type = 'table' AND name LIKE 'v1\\_%' ESCAPE '\\'"));
  std::vector<std::string> names;
  for (;;) {
    VELLUM_ASSIGN_OR_RETURN(const bool row, tables.Step());
    if (!row) break;
    const std::string name(tables.Bytes(0));
    std::string sql(tables.Bytes(1).substr(0, 64));
    std::transform(sql.begin(), sql.end(), sql.begin(), [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
    if (sql.starts_with("create virtual")) return InvalidArgument(path + ": table " + Printable(name) + " is virtual");
    names.push_back(name);
  }
  for (const char* known : {"v1_resource_types", "v1_resources", "v1_entitlements", "v1_grants", "v1_assets", "v1_sync_runs",
                            "v1_connector_sessions"}) {
    if (std::find(names.begin(), names.end(), known) == names.end()) continue;
    VELLUM_ASSIGN_OR_RETURN(Statement info, database->Prepare(std::string("PRAGMA table_info(") + known + ")"));
    for (;;) {
      VELLUM_ASSIGN_OR_RETURN(const bool row, info.Step());
      if (!row) break;
      columns[known].insert(std::string(info.Bytes(1)));
    }
  }
  if (!Has("v1_sync_runs")) {
    return InvalidArgument(path + " holds a SQLite database without the table v1_sync_runs: not an access snapshot");
  }
  for (const char* column : {"sync_id", "started_at", "ended_at", "sync_token"}) {
    if (!Has("v1_sync_runs", column)) return InvalidArgument(path + ": table v1_sync_runs lacks the column " + column);
  }
  for (const TableSpec& table : RecordTables()) {
    if (!Has(table.name)) continue;
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
                        ColumnOr(runs, "stats", "NULL") + " FROM v1_sync_runs ORDER BY id"));
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
      sync.run.ended_at = *ended;
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
  const std::string copy = impl->scratch.path() + "/sync.db";
  VELLUM_TRY(ExtractDatabase(path, copy, options.limits));
  const auto with_path = [&path](Status status) { return std::move(status).WithContext(path); };
  auto database = Sqlite::OpenUntrusted(copy);
  if (!database.ok()) return with_path(std::move(database).error());
  impl->database = std::make_unique<Sqlite>(*std::move(database));
  if (Status schema = impl->ReadSchema(); !schema.ok()) return schema;
  if (Status syncs = impl->ReadSyncs(); !syncs.ok()) return syncs;
  return std::unique_ptr<V1Reader>(new V1Reader(std::move(impl)));
}

const std::vector<FileSync>& V1Reader::syncs() const { return impl_->syncs; }

namespace {

/// The columns of a record table's query, in this order; identity columns first.
enum Column { kData, kStamp, kExternalId, kTypeId, kResourceId, kEntitlementId, kPrincipalType, kPrincipalId, kExpansion, kNeedsExpansion, kContentType };

std::string QueryFor(RecordType type, const std::string& expansion, const std::string& needs_expansion) {
  const auto only = [type](RecordType wanted, const char* column) {
    return type == wanted ? std::string(column) : std::string("NULL");
  };
  const bool has_type = type == RecordType::kResource || type == RecordType::kEntitlement || type == RecordType::kGrant;
  const bool has_resource = type == RecordType::kEntitlement || type == RecordType::kGrant;
  return "SELECT data, discovered_at, external_id, " + std::string(has_type ? "resource_type_id" : "NULL") + ", " +
         (has_resource ? "resource_id" : "NULL") + ", " + only(RecordType::kGrant, "entitlement_id") + ", " +
         only(RecordType::kGrant, "principal_resource_type_id") + ", " + only(RecordType::kGrant, "principal_resource_id") +
         ", " + (type == RecordType::kGrant ? expansion : "NULL") + ", " +
         (type == RecordType::kGrant ? needs_expansion : "0") + ", " + only(RecordType::kAsset, "content_type") + " FROM " +
         TableOf(type).name + " WHERE sync_id = ? ORDER BY id";
}

}  // namespace

Status V1Reader::Impl::FillIdentity(RecordType type, const Statement& row, RecordView* record, std::string* text) const {
  record->id = row.Bytes(kExternalId);
  record->type_id = row.Bytes(kTypeId);
  record->resource_id = row.Bytes(kResourceId);
  record->entitlement_id = row.Bytes(kEntitlementId);
  record->principal_type_id = row.Bytes(kPrincipalType);
  record->principal_id = row.Bytes(kPrincipalId);
  if (type == RecordType::kEntitlement) {
    // A second put of one id updates the message and leaves the columns as they were, so the message knows better.
    c1::connector::v2::Entitlement entitlement;
    if (!entitlement.ParseFromArray(record->data.data(), static_cast<int>(record->data.size()))) {
      return InvalidArgument("the message is not protobuf");
    }
    const auto& resource = entitlement.resource().id();
    if (!resource.resource_type().empty() && !resource.resource().empty()) {
      *text = resource.resource_type() + resource.resource();
      record->type_id = std::string_view(*text).substr(0, resource.resource_type().size());
      record->resource_id = std::string_view(*text).substr(resource.resource_type().size());
    }
    return {};
  }
  if (type != RecordType::kResource) return {};
  // The column holds "type:id". A file that has it otherwise still says the id in the message.
  const std::string_view type_id = record->type_id;
  if (record->id.size() > type_id.size() && record->id.substr(0, type_id.size()) == type_id &&
      record->id[type_id.size()] == ':') {
    record->id.remove_prefix(type_id.size() + 1);
  } else {
    *text = ResourceIdInMessage(record->data);
    record->id = *text;
  }
  if (const auto parent = sync::ReadParent(record->data)) {
    record->parent_type_id = parent->type_id;
    record->parent_id = parent->id;
    return {};
  }
  return InvalidArgument("the message is not protobuf");
}

Status V1Reader::ReadRecords(const FileSync& sync, RecordType type, Invalid invalid, const Visit& visit,
                             ReadReport* report) {
  const TableSpec& table = TableOf(type);
  if (!impl_->Has(table.name)) return {};
  VELLUM_ASSIGN_OR_RETURN(Statement rows,
                          impl_->database->Prepare(QueryFor(type, impl_->ColumnOr(table.name, "expansion", "NULL"),
                                                            impl_->ColumnOr(table.name, "needs_expansion", "0"))));
  rows.Bind(1, sync.run.id);
  std::string text;
  for (;;) {
    auto row = rows.Step();
    if (!row.ok()) return std::move(row).error().WithContext(impl_->path + ", table " + table.name);
    if (!*row) return {};
    ++report->rows;
    RecordView record;
    record.type = type;
    record.data = rows.Bytes(kData);
    record.expansion = rows.Bytes(kExpansion);
    record.needs_expansion = rows.Int(kNeedsExpansion) != 0;
    record.content_type = rows.Bytes(kContentType);
    const auto stamp = impl_->options.zone.ToStamp(rows.Bytes(kStamp));
    if (!stamp) ++report->unstamped;
    record.discovered_at = stamp.value_or(0);
    Status usable = impl_->FillIdentity(type, rows, &record, &text);
    std::optional<Expansion> moved;
    if (usable.ok() && type == RecordType::kGrant) {
      const bool slim = (record.data.empty() || (record.data[0] != '\x0A' && record.data[0] != '\x12'));
      record.slim = slim;
      if (record.expansion.empty() && record.data.find(kExpandable) != std::string_view::npos) {
        moved = ExtractExpansion(record.data);
        if (moved) {
          record.data = moved->message;
          record.expansion = moved->expansion;
          if (!moved->expansion.empty()) ++report->expansions_moved;
        } else {
          usable = InvalidArgument("the message is not protobuf");
        }
      }
    }
    if (usable.ok()) usable = sync::CheckRecord(record);
    if (!usable.ok()) {
      const std::string reason = std::string(table.name) + ": " + usable.message().substr(0, usable.message().find(" from record "));
      ++report->invalid[reason];
      if (invalid == Invalid::kSkip) continue;
      return InvalidArgument(impl_->path + ", sync " + Printable(sync.run.id) + ", table " + table.name + ": " +
                             usable.message());
    }
    VELLUM_TRY(visit(record));
  }
}

Status V1Reader::ReadSessions(const FileSync& sync, const std::function<Status(const Session&)>& visit) {
  if (!impl_->Has("v1_connector_sessions")) return {};
  VELLUM_ASSIGN_OR_RETURN(Statement rows, impl_->database->Prepare(
                                              "SELECT key, value FROM v1_connector_sessions WHERE sync_id = ? ORDER BY key"));
  rows.Bind(1, sync.run.id);
  for (;;) {
    VELLUM_ASSIGN_OR_RETURN(const bool row, rows.Step());
    if (!row) return {};
    VELLUM_TRY(visit({std::string(rows.Bytes(0)), std::string(rows.Bytes(1))}));
  }
}

Result<std::uint64_t> V1Reader::CountOrphans() {
  std::uint64_t orphans = 0;
  for (const TableSpec& table : RecordTables()) {
    if (!impl_->Has(table.name)) continue;
    VELLUM_ASSIGN_OR_RETURN(Statement count,
                            impl_->database->Prepare(std::string("SELECT count(*) FROM ") + table.name +
                                                     " WHERE sync_id NOT IN (SELECT sync_id FROM v1_sync_runs)"));
    VELLUM_ASSIGN_OR_RETURN(const bool row, count.Step());
    if (row) orphans += static_cast<std::uint64_t>(count.Int(0));
  }
  return orphans;
}

}  // namespace vellum::c1z
