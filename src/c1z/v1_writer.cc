#include "c1z/v1_writer.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <optional>

#include "base/bytes.h"
#include "c1z/envelope.h"
#include "c1z/sqlite.h"
#include "c1z/v1_insert.h"
#include "storage/files.h"

namespace vellum::c1z {
namespace {

namespace fs = std::filesystem;
using sync::RecordType;
using sync::RecordView;

constexpr std::array<const char*, sync::kRecordTypes> kInserts = {
    "INSERT INTO v1_resource_types (external_id, data, sync_id, discovered_at) VALUES (?1, ?2, ?3, ?4)",
    "INSERT INTO v1_resources (external_id, data, sync_id, discovered_at, resource_type_id, parent_resource_type_id, "
    "parent_resource_id) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
    "INSERT INTO v1_entitlements (external_id, data, sync_id, discovered_at, resource_type_id, resource_id) "
    "VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
    "INSERT INTO v1_grants (external_id, data, sync_id, discovered_at, resource_type_id, resource_id, entitlement_id, "
    "principal_resource_type_id, principal_resource_id, expansion, needs_expansion) "
    "VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11)",
    "INSERT INTO v1_assets (external_id, data, sync_id, discovered_at, content_type) VALUES (?1, ?2, ?3, ?4, ?5)",
};

}  // namespace

std::string V1ExternalId(const RecordView& record) {
  if (record.type != RecordType::kResource) return std::string(record.id);
  return std::string(record.type_id) + ":" + std::string(record.id);
}

Result<Statement> PrepareV1Insert(Sqlite* database, RecordType type) {
  return database->Prepare(kInserts[static_cast<std::size_t>(type)]);
}

Status InsertV1Record(const RecordView& record, const std::string& sync_id, const Zone& zone, Statement* statement) {
  Statement& insert = *statement;
  const std::string external_id = V1ExternalId(record);
  const std::string stamp = zone.FromStamp(record.discovered_at);
  insert.Bind(1, external_id);
  insert.BindBlob(2, record.data);
  insert.Bind(3, sync_id);
  insert.Bind(4, stamp);
  switch (record.type) {
    case RecordType::kResourceType: break;
    case RecordType::kResource:
      insert.Bind(5, record.type_id);
      if (record.parent_id.empty()) {
        insert.BindNull(6);
        insert.BindNull(7);
      } else {
        insert.Bind(6, record.parent_type_id);
        insert.Bind(7, record.parent_id);
      }
      break;
    case RecordType::kEntitlement:
      insert.Bind(5, record.type_id);
      insert.Bind(6, record.resource_id);
      break;
    case RecordType::kGrant:
      insert.Bind(5, record.type_id);
      insert.Bind(6, record.resource_id);
      insert.Bind(7, record.entitlement_id);
      insert.Bind(8, record.principal_type_id);
      insert.Bind(9, record.principal_id);
      if (record.expansion.empty()) {
        insert.BindNull(10);
      } else {
        insert.BindBlob(10, record.expansion);
      }
      insert.Bind(11, std::int64_t{record.needs_expansion ? 1 : 0});
      break;
    case RecordType::kAsset: insert.Bind(5, record.content_type); break;
  }
  return insert.Finish();
}

Status InsertV1Run(Sqlite* database, const sync::SyncRun& run, const Zone& zone, const V1Stats& stats) {
  VELLUM_ASSIGN_OR_RETURN(Statement insert,
                          database->Prepare("INSERT INTO v1_sync_runs (sync_id, started_at, ended_at, sync_token, sync_type, "
                                            "parent_sync_id, linked_sync_id, supports_diff, grants_backfilled, stats) "
                                            "VALUES (?, ?, ?, ?, ?, ?, ?, ?, 1, ?)"));
  const std::string started = zone.FromStamp(run.started_at);
  const std::string ended = zone.FromStamp(run.ended_at);
  const std::string counted = stats.ToJson();
  insert.Bind(1, run.id);
  insert.Bind(2, started);
  if (run.ended_at == 0) {
    insert.BindNull(3);
  } else {
    insert.Bind(3, ended);
  }
  insert.Bind(4, run.token);
  insert.Bind(5, run.type);
  insert.Bind(6, run.parent_id);
  insert.Bind(7, run.linked_id);
  insert.Bind(8, std::int64_t{run.supports_diff ? 1 : 0});
  if (run.ended_at == 0) {
    insert.BindNull(9);
  } else {
    insert.Bind(9, counted);
  }
  return insert.Finish();
}

struct V1Writer::Impl {
  std::string path;
  WriteOptions options;
  std::string database_path;
  std::unique_ptr<Sqlite> database;
  std::array<std::optional<Statement>, sync::kRecordTypes> inserts;
  std::optional<Statement> insert_session;
  sync::SyncRun run;
  V1Stats stats;
  std::uint64_t rows = 0;
  std::uint64_t bytes = 0;

  ~Impl() {
    std::error_code error;
    fs::remove(database_path, error);
  }
  Status FinishSync();
};

V1Writer::V1Writer(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
V1Writer::~V1Writer() = default;
std::uint64_t V1Writer::rows() const { return impl_->rows; }
std::uint64_t V1Writer::bytes() const { return impl_->bytes; }

Result<std::unique_ptr<V1Writer>> V1Writer::Create(const std::string& path, const WriteOptions& options) {
  std::error_code error;
  if (options.if_exists == WriteOptions::IfExists::kRefuse && fs::exists(path, error)) {
    return FailedPrecondition(path + " exists already");
  }
  auto impl = std::make_unique<Impl>();
  impl->path = path;
  impl->options = options;
  const std::string suffix = "." + std::to_string(::getpid());
  impl->database_path = path + suffix + ".db.tmp";
  fs::remove(impl->database_path, error);
  auto database = Sqlite::Create(impl->database_path);
  if (!database.ok()) return std::move(database).error().WithContext("cannot write beside " + path);
  impl->database = std::make_unique<Sqlite>(*std::move(database));
  VELLUM_TRY(impl->database->Run(kV1Tables));
  VELLUM_TRY(impl->database->Run("BEGIN"));
  for (std::size_t type = 0; type < kInserts.size(); ++type) {
    VELLUM_ASSIGN_OR_RETURN(auto insert, PrepareV1Insert(impl->database.get(), static_cast<RecordType>(type)));
    impl->inserts[type].emplace(std::move(insert));
  }
  VELLUM_ASSIGN_OR_RETURN(auto insert, impl->database->Prepare(
                                           "INSERT INTO v1_connector_sessions (sync_id, key, value) VALUES (?, ?, ?)"));
  impl->insert_session.emplace(std::move(insert));
  return std::unique_ptr<V1Writer>(new V1Writer(std::move(impl)));
}

Status V1Writer::Impl::FinishSync() {
  if (run.id.empty()) return {};
  VELLUM_TRY(InsertV1Run(database.get(), run, options.zone, stats));
  run = sync::SyncRun{};
  stats = V1Stats{};
  return {};
}

Status V1Writer::BeginSync(const sync::SyncRun& run) {
  VELLUM_TRY(impl_->FinishSync());
  if (run.id.empty()) return InvalidArgument("a sync without an id cannot be written");
  impl_->run = run;
  return {};
}

Status V1Writer::Put(const RecordView& record) {
  VELLUM_TRY(InsertV1Record(record, impl_->run.id, impl_->options.zone,
                            &*impl_->inserts[static_cast<std::size_t>(record.type)]));
  impl_->stats.Count(record);
  ++impl_->rows;
  return {};
}

Status V1Writer::PutSession(const Session& session) {
  impl_->insert_session->Bind(1, impl_->run.id);
  impl_->insert_session->Bind(2, session.key);
  impl_->insert_session->BindBlob(3, session.value);
  return impl_->insert_session->Finish();
}

Status V1Writer::Finish() {
  VELLUM_TRY(impl_->FinishSync());
  for (auto& insert : impl_->inserts) insert.reset();
  impl_->insert_session.reset();
  VELLUM_TRY(impl_->database->Run("COMMIT"));
  VELLUM_TRY(impl_->database->Run(std::string("BEGIN;") + kV1Indexes + "COMMIT;"));
  VELLUM_TRY(impl_->database->Close());
  VELLUM_ASSIGN_OR_RETURN(impl_->bytes, PublishDatabase(impl_->database_path, impl_->path, impl_->options));
  return {};
}

Result<std::uint64_t> PublishDatabase(const std::string& database_path, const std::string& path, const WriteOptions& options) {
  // A name of its own beside the target, so that the rename is within one file system.
  std::string wrapped = path + ".XXXXXX.tmp";
  const int fd = ::mkstemps(wrapped.data(), 4);
  if (fd < 0) return FailedPrecondition("cannot write beside " + path + ": " + std::strerror(errno));
  ::fchmod(fd, 0644);
  ::close(fd);
  const auto give_up = [&wrapped](Status status) {
    std::error_code error;
    fs::remove(wrapped, error);
    return status;
  };
  if (Status packed = WrapDatabase(database_path, wrapped, options.threads); !packed.ok()) return give_up(std::move(packed));
  std::error_code error;
  const std::uint64_t bytes = fs::file_size(wrapped, error);
  if (options.if_exists == WriteOptions::IfExists::kRefuse) {
    // A link fails where a file has appeared meanwhile; a rename would take its place.
    if (::link(wrapped.c_str(), path.c_str()) == 0) {
      fs::remove(wrapped, error);
    } else if (errno == EEXIST) {
      return give_up(FailedPrecondition(path + " exists already"));
    } else {
      fs::rename(wrapped, path, error);  // a file system without links
    }
  } else {
    fs::rename(wrapped, path, error);
  }
  if (error) return give_up(Internal("cannot rename " + wrapped + " to " + path + ": " + error.message()));
  const fs::path parent = fs::path(path).parent_path();
  VELLUM_TRY(storage::SyncDirectory(nullptr, parent.empty() ? "." : parent.string()));
  return bytes;
}

}  // namespace vellum::c1z
