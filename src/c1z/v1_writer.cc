#include "c1z/v1_writer.h"

#include <array>
#include <filesystem>
#include <map>
#include <optional>
#include <utility>
#include <vector>

#include "base/bytes.h"
#include "c1z/database_writer.h"
#include "c1z/envelope.h"
#include "c1z/publish.h"
#include "c1z/v1_rows.h"
#include "c1z/v1_stats.h"
#include "sync/buckets.h"

namespace vellum::c1z {
namespace {

using sync::RecordType;
using sync::RecordView;

constexpr std::size_t kNamedIds = 10;

}  // namespace

Status CheckTarget(const std::string& path, WriteOptions::IfExists if_exists) {
  namespace fs = std::filesystem;
  if (path.empty()) return InvalidArgument("the file to write has no name");
  std::error_code error;
  const fs::file_status status = fs::status(path, error);
  if (!fs::exists(status)) return {};
  // A rename would put a file in a device's place.
  if (!fs::is_regular_file(status)) return FailedPrecondition(path + " is no ordinary file: it cannot be replaced");
  return if_exists == WriteOptions::IfExists::kRefuse ? FailedPrecondition(path + " exists already") : Status();
}

std::string V1ExternalId(const RecordView& record) {
  if (record.type != RecordType::kResource) return std::string(record.id);
  return std::string(record.type_id) + ":" + std::string(record.id);
}

struct V1Writer::Impl {
  Impl(Publication target, std::unique_ptr<EnvelopeWriter> file, DatabaseSchema of, const std::string& path,
       const WriteOptions& options)
      : publication(std::move(target)),
        envelope(std::move(file)),
        schema(std::move(of)),
        stamps(options.zone),
        database(&schema, [this](std::string_view pages) { return envelope->Append(pages); },
                 {.pages = {}, .sorting = {.beside = path}}) {}

  Status FinishSync();
  Status PutRow(const char* table) { return database.AddRow(*schema.Table(table), row); }
  void FillRow(const RecordView& record);
  void Share(const IndexSchema& index, const std::vector<PageValue>& entry, std::uint64_t rows);

  Publication publication;
  const std::unique_ptr<EnvelopeWriter> envelope;
  const DatabaseSchema schema;
  StampTexts stamps;
  DatabaseWriter database;
  std::array<std::size_t, sync::kRecordTypes> tables{};
  sync::SyncRun run;
  V1Stats stats;
  std::vector<PageValue> row;  ///< Views into what is being put, and into what follows.
  std::string external_id;
  std::optional<std::string> repeated;  ///< The first table with a repeated id.
  std::map<std::string, SharedIds, std::less<>> shared;
  std::uint64_t rows = 0;
  std::uint64_t bytes = 0;
};

V1Writer::V1Writer(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
V1Writer::~V1Writer() = default;
std::uint64_t V1Writer::rows() const { return impl_->rows; }
std::uint64_t V1Writer::bytes() const { return impl_->bytes; }

Result<std::unique_ptr<V1Writer>> V1Writer::Create(const std::string& path, const WriteOptions& options) {
  VELLUM_ASSIGN_OR_RETURN(Publication publication, Publication::Begin(path, options.if_exists));
  VELLUM_ASSIGN_OR_RETURN(auto envelope, EnvelopeWriter::Create(publication.temporary(),
                                                                PageStream::Options().page_bytes, options.threads));
  VELLUM_ASSIGN_OR_RETURN(auto schema, DatabaseSchema::Parse(std::string(kV1Tables) + kV1Indexes));
  auto impl = std::make_unique<Impl>(std::move(publication), std::move(envelope), std::move(schema), path, options);
  for (const TableSpec& table : RecordTables()) {
    impl->tables[static_cast<std::size_t>(table.type)] = *impl->schema.Table(table.name);
  }
  return std::unique_ptr<V1Writer>(new V1Writer(std::move(impl)));
}

Status V1Writer::Impl::FinishSync() {
  if (run.id.empty()) return {};
  const bool ended = run.ended_at != 0;
  const std::string started_at(stamps.Of(run.started_at));
  const std::string ended_at(stamps.Of(run.ended_at));
  const std::string counted = stats.ToJson();
  row = {PageValue(),
         PageValue::Text(run.id),
         PageValue::Text(started_at),
         ended ? PageValue::Text(ended_at) : PageValue(),
         PageValue::Text(run.token),
         PageValue::Text(run.type),
         PageValue::Text(run.parent_id),
         PageValue::Text(run.linked_id),
         PageValue::Integer(run.supports_diff ? 1 : 0),
         PageValue::Integer(1),  // expansions are in their column
         ended ? PageValue::Text(counted) : PageValue(),
         PageValue::Text(""),
         PageValue::Text(""),
         PageValue::Text("")};
  VELLUM_TRY(PutRow("v1_sync_runs"));
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

/// The columns in the order of kV1Tables.
void V1Writer::Impl::FillRow(const RecordView& record) {
  if (record.type == RecordType::kResource) {
    external_id.assign(record.type_id).append(":").append(record.id);
  } else {
    external_id.assign(record.id);
  }
  const PageValue id = PageValue::Text(external_id);
  const PageValue data = PageValue::Blob(record.data);
  const PageValue sync_id = PageValue::Text(run.id);
  const PageValue discovered_at = PageValue::Text(stamps.Of(record.discovered_at));
  const PageValue type_id = PageValue::Text(record.type_id);
  const PageValue resource_id = PageValue::Text(record.resource_id);
  switch (record.type) {
    case RecordType::kResourceType: row = {{}, id, data, sync_id, discovered_at}; return;
    case RecordType::kResource: {
      const bool child = !record.parent_id.empty();
      row = {{},
             type_id,
             id,
             child ? PageValue::Text(record.parent_type_id) : PageValue(),
             child ? PageValue::Text(record.parent_id) : PageValue(),
             data,
             sync_id,
             discovered_at};
      return;
    }
    case RecordType::kEntitlement: row = {{}, type_id, resource_id, id, data, sync_id, discovered_at}; return;
    case RecordType::kGrant:
      row = {{},
             type_id,
             resource_id,
             PageValue::Text(record.entitlement_id),
             PageValue::Text(record.principal_type_id),
             PageValue::Text(record.principal_id),
             id,
             record.expansion.empty() ? PageValue() : PageValue::Blob(record.expansion),
             PageValue::Integer(record.needs_expansion ? 1 : 0),
             data,
             sync_id,
             discovered_at};
      return;
    case RecordType::kAsset: row = {{}, id, PageValue::Text(record.content_type), data, sync_id, discovered_at}; return;
  }
}

Status V1Writer::Put(const RecordView& record) {
  impl_->FillRow(record);
  VELLUM_TRY(impl_->database.AddRow(impl_->tables[static_cast<std::size_t>(record.type)], impl_->row));
  impl_->stats.Count(record);
  ++impl_->rows;
  return {};
}

Status V1Writer::PutSession(const Session& session) {
  impl_->row = {{}, PageValue::Text(impl_->run.id), PageValue::Text(session.key), PageValue::Blob(session.value)};
  return impl_->PutRow("v1_connector_sessions");
}

/// An entry of a unique index that more than one row has.
void V1Writer::Impl::Share(const IndexSchema& index, const std::vector<PageValue>& entry, std::uint64_t sharing) {
  if (!repeated) repeated = schema.tables[index.table].name;
  for (const TableSpec& table : RecordTables()) {
    if (tables[static_cast<std::size_t>(table.type)] != index.table) continue;
    // The unique index of a record table is on the id and the sync.
    SharedIds& ids = shared[std::string(entry[1].bytes)];
    ids.records += sharing;
    if (ids.named.size() == kNamedIds) return;
    const std::string_view name = sync::FindBucket(static_cast<std::uint8_t>(sync::RecordBucket(table.type)))->name;
    ids.named.push_back(std::string(name) + " " + Printable(entry[0].bytes) + " (" + std::to_string(sharing) +
                        " times)");
  }
}

Status V1Writer::Finish(const std::function<Status()>& last_check) {
  VELLUM_TRY(impl_->FinishSync());
  VELLUM_ASSIGN_OR_RETURN(const std::string first_page,
                          impl_->database.Finish([this](const IndexSchema& index, const std::vector<PageValue>& entry,
                                                        std::uint64_t rows) { impl_->Share(index, entry, rows); }));
  if (last_check) VELLUM_TRY(last_check());
  if (impl_->repeated) return InvalidArgument("rows of " + *impl_->repeated + " have the same id");
  VELLUM_TRY(impl_->envelope->Finish(first_page));
  VELLUM_ASSIGN_OR_RETURN(impl_->bytes, impl_->publication.Publish());
  return {};
}

SharedIds V1Writer::shared_ids(const std::string& sync_id) const {
  const auto found = impl_->shared.find(sync_id);
  return found == impl_->shared.end() ? SharedIds() : found->second;
}

}  // namespace vellum::c1z
