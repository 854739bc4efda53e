#include <algorithm>
#include <array>
#include <filesystem>
#include <future>
#include <map>

#include "base/aside.h"
#include "base/bytes.h"
#include "c1z/merge_files.h"
#include "c1z/plain_base.h"
#include "c1z/sqlite.h"
#include "c1z/v1_insert.h"
#include "c1z/v1_reader.h"
#include "c1z/v1_rows.h"
#include "sync/codec.h"

namespace vellum::c1z {
namespace {

using sync::RecordType;
using sync::RecordView;
using sync::Stamp;

/// What comes in is held in memory.
constexpr std::size_t kCandidatesMax = 500'000;
constexpr std::size_t kCandidateBytesMax = 192u << 20;

/// The one code that means "the ordinary way, please".
Status NotThisWay(const std::string& why) { return InvalidArgument(why); }

bool IsMergeable(const std::string& type) { return type == "full" || type == "resources_only" || type == "partial"; }

/// The records of the files behind the first: per identity the one that wins among them. Keys and values are the
/// store's.
class Candidates {
 public:
  explicit Candidates(sync::Ties ties) : ties_(ties) {}

  Status Read(const FileInput& input, const MergeFilesOptions& options, const sync::Work& work) {
    VELLUM_ASSIGN_OR_RETURN(const auto reader, OpenReader(input.path, options.open));
    VELLUM_ASSIGN_OR_RETURN(const FileSync* const sync, PickSync(*reader, input));
    if (!IsMergeable(sync->run.type)) return NotThisWay(input.path + " holds a " + sync->run.type);
    runs_.push_back(sync->run);
    // Within a file the last row of an identity counts, whatever its stamp.
    std::map<std::string, std::string> records;
    ReadReport report;
    for (int type = 0; type < sync::kRecordTypes; ++type) {
      if (static_cast<RecordType>(type) == RecordType::kAsset) continue;
      VELLUM_TRY(reader->ReadRecords(
          *sync, static_cast<RecordType>(type), Reader::Invalid::kFail,
          [&](const RecordView& record) { return Take(record, work, &records); }, &report));
    }
    Merge(std::move(records));
    return {};
  }

  const std::map<std::string, std::string>& records() const { return records_; }
  const std::vector<sync::SyncRun>& runs() const { return runs_; }

 private:
  Status Take(const RecordView& record, const sync::Work& work, std::map<std::string, std::string>* records) {
    std::string key;
    std::string value;
    sync::AppendRecordKey(&key, record);
    sync::AppendRecordValue(&value, record);
    bytes_ += key.size() + value.size();
    (*records)[std::move(key)] = std::move(value);
    if (records_.size() + records->size() > kCandidatesMax || bytes_ > kCandidateBytesMax) {
      return NotThisWay("the other files hold more records than are edited in");
    }
    return work.cancel != nullptr && work.cancel->load() ? Cancelled("the merge was cancelled") : Status();
  }

  void Merge(std::map<std::string, std::string> records) {
    if (records_.empty()) {
      records_ = std::move(records);
      return;
    }
    for (auto& [key, value] : records) {
      const auto [present, added] = records_.try_emplace(key, std::move(value));
      if (added) continue;
      const Stamp incoming = sync::ValueStamp(value);
      const Stamp there = sync::ValueStamp(present->second);
      if (incoming > there || (incoming == there && ties_ == sync::Ties::kLast)) present->second = std::move(value);
    }
  }

  const sync::Ties ties_;
  std::map<std::string, std::string> records_;
  std::vector<sync::SyncRun> runs_;
  std::size_t bytes_ = 0;
};

/// Looks the candidates up in the base and puts those that win.
class Editor {
 public:
  Editor(Sqlite* database, const MergeFilesOptions& options, V1Stats* stats)
      : database_(database), options_(options), stats_(stats) {}

  Status Prepare(const PlainIndexes& indexes) {
    const std::string by_id = " WHERE external_id = ?1 AND sync_id = ?2";
    const std::array<std::string, 4> finds = {
        "SELECT _rowid_, discovered_at, external_id FROM v1_resource_types" + by_id,
        "SELECT _rowid_, discovered_at, external_id, resource_type_id FROM v1_resources" + by_id,
        "SELECT _rowid_, discovered_at, external_id, resource_type_id, resource_id FROM v1_entitlements" + by_id,
        "SELECT _rowid_, discovered_at, external_id FROM v1_grants INDEXED BY " + indexes.grants +
            " WHERE entitlement_id = ?1 AND principal_resource_type_id = ?2 AND principal_resource_id = ?3 AND "
            "resource_type_id = ?4 AND resource_id = ?5"};
    const std::array<std::string, 4> updates = {
        "UPDATE v1_resource_types SET data = ?2, discovered_at = ?3 WHERE _rowid_ = ?1",
        "UPDATE v1_resources SET data = ?2, discovered_at = ?3, parent_resource_type_id = ?4, parent_resource_id = ?5 "
        "WHERE _rowid_ = ?1",
        "UPDATE v1_entitlements SET data = ?2, discovered_at = ?3 WHERE _rowid_ = ?1",
        "UPDATE v1_grants SET data = ?2, discovered_at = ?3, expansion = ?4, needs_expansion = ?5 WHERE _rowid_ = ?1"};
    for (std::size_t type = 0; type < finds.size(); ++type) {
      VELLUM_ASSIGN_OR_RETURN(Statement find, database_->Prepare(finds[type]));
      VELLUM_ASSIGN_OR_RETURN(Statement update, database_->Prepare(updates[type]));
      VELLUM_ASSIGN_OR_RETURN(Statement insert, PrepareV1Insert(database_, static_cast<RecordType>(type)));
      find_.push_back(std::move(find));
      update_.push_back(std::move(update));
      insert_.push_back(std::move(insert));
    }
    VELLUM_ASSIGN_OR_RETURN(Statement rename,
                            database_->Prepare("UPDATE v1_grants SET external_id = ?2 WHERE _rowid_ = ?1"));
    rename_.push_back(std::move(rename));
    return {};
  }

  Status Apply(const RecordView& record) {
    VELLUM_ASSIGN_OR_RETURN(const Found found, Find(record));
    if (!found.row_id) {
      stats_->Count(record);
      return InsertV1Record(record, options_.merged_id, options_.write.zone,
                            &insert_[static_cast<std::size_t>(record.type)]);
    }
    const bool wins = record.discovered_at > found.stamp ||
                      (record.discovered_at == found.stamp && options_.ties == sync::Ties::kLast);
    return wins ? Update(record, found) : Status();
  }

 private:
  struct Found {
    std::optional<std::int64_t> row_id;
    Stamp stamp = 0;
    bool renamed = false;
  };

  /// The base's row of the same identity.
  Result<Found> Find(const RecordView& record) {
    Statement& find = find_[static_cast<std::size_t>(record.type)];
    const std::string id = V1ExternalId(record);
    if (record.type == RecordType::kGrant) {
      find.Bind(1, record.entitlement_id);
      find.Bind(2, record.principal_type_id);
      find.Bind(3, record.principal_id);
      find.Bind(4, record.type_id);
      find.Bind(5, record.resource_id);
    } else {
      find.Bind(1, id);
      find.Bind(2, options_.merged_id);
    }
    VELLUM_ASSIGN_OR_RETURN(const bool row, find.Step());
    Found found;
    if (row) {
      // Ids are looked up as v1 has them: what is another record under the same id cannot be written beside it.
      const bool same = record.type == RecordType::kResource ? find.Bytes(3) == record.type_id
                        : record.type == RecordType::kEntitlement
                            ? find.Bytes(3) == record.type_id && find.Bytes(4) == record.resource_id
                            : true;
      if (!same) return NotThisWay("two records have the id " + Printable(id));
      found.row_id = find.Int(0);
      found.stamp = options_.open.zone.ToStamp(find.Bytes(1)).value_or(0);
      found.renamed = find.Bytes(2) != id;
    }
    find.Reset();
    return found;
  }

  Status Update(const RecordView& record, const Found& found) {
    Statement& update = update_[static_cast<std::size_t>(record.type)];
    const std::string stamp = options_.write.zone.FromStamp(record.discovered_at);
    update.Bind(1, *found.row_id);
    update.BindBlob(2, record.data);
    update.Bind(3, stamp);
    if (record.type == RecordType::kResource) {
      if (record.parent_id.empty()) {
        update.BindNull(4);
        update.BindNull(5);
      } else {
        update.Bind(4, record.parent_type_id);
        update.Bind(5, record.parent_id);
      }
    }
    if (record.type == RecordType::kGrant) {
      if (record.expansion.empty()) {
        update.BindNull(4);
      } else {
        update.BindBlob(4, record.expansion);
      }
      update.Bind(5, std::int64_t{record.needs_expansion ? 1 : 0});
    }
    VELLUM_TRY(update.Finish());
    if (record.type != RecordType::kGrant || !found.renamed) return {};
    rename_.front().Bind(1, *found.row_id);
    rename_.front().Bind(2, record.id);
    return rename_.front().Finish();
  }

  Sqlite* const database_;
  const MergeFilesOptions& options_;
  V1Stats* const stats_;
  std::vector<Statement> find_;
  std::vector<Statement> update_;
  std::vector<Statement> insert_;
  std::vector<Statement> rename_;
};

/// One merge.
class Editing {
 public:
  Editing(const std::vector<FileInput>& inputs, const std::string& out, const MergeFilesOptions& options,
          const sync::Work& work)
      : inputs_(inputs), out_(out), options_(options), work_(work), candidates_(options.ties) {}

  Result<MergeFilesReport> Run() {
    VELLUM_TRY(CheckSizes());
    // The others are read while the first is decompressed and checked.
    auto others = DoAside([this]() -> Status {
      for (std::size_t i = 1; i < inputs_.size(); ++i) VELLUM_TRY(candidates_.Read(inputs_[i], options_, work_));
      return {};
    });
    Status base = OpenBase();
    Status read = others.get();
    VELLUM_TRY(std::move(base));
    VELLUM_TRY(std::move(read));
    VELLUM_TRY(Edit());
    MergeFilesReport report;
    for (const std::uint64_t records : stats_.records) report.records += records;
    VELLUM_ASSIGN_OR_RETURN(report.bytes, PublishDatabase(database_, out_, options_.write));
    return report;
  }

 private:
  Status CheckSizes() const {
    std::error_code error;
    const auto size = [&error](const FileInput& input) {
      return static_cast<double>(std::filesystem::file_size(input.path, error));
    };
    VELLUM_ASSIGN_OR_RETURN(const Format format, DetectFormat(inputs_.front().path));
    if (format != Format::kV1) return NotThisWay("the first file is not a v1 file");
    double others = 0;
    for (std::size_t i = 1; i < inputs_.size(); ++i) others += size(inputs_[i]);
    const bool dominates = options_.share_max > 1 || others <= options_.share_max * size(inputs_.front());
    return dominates ? Status() : NotThisWay("the first file is not much larger than the others");
  }

  Status OpenBase() {
    VELLUM_ASSIGN_OR_RETURN(base_, V1Reader::Open(inputs_.front().path, options_.open));
    VELLUM_ASSIGN_OR_RETURN(const FileSync* const sync, PickSync(*base_, inputs_.front()));
    run_ = sync->run;
    if (base_->syncs().size() != 1) return NotThisWay("it holds several syncs");
    if (run_.ended_at == 0 || !IsMergeable(run_.type)) return NotThisWay("its sync has not ended, or is a diff");
    const std::string old_id = run_.id;
    VELLUM_ASSIGN_OR_RETURN(database_, base_->ReleaseDatabase());
    VELLUM_ASSIGN_OR_RETURN(indexes_, CheckAndRelabel(database_, old_id, options_.merged_id, &stats_));
    return {};
  }

  Status Edit() {
    VELLUM_ASSIGN_OR_RETURN(Sqlite database, Sqlite::OpenForEditing(database_));
    VELLUM_TRY(database.Run("PRAGMA secure_delete = ON; BEGIN"));  // what is replaced does not stay in the file
    {
      Editor editor(&database, options_, &stats_);
      VELLUM_TRY(editor.Prepare(indexes_));
      for (const auto& [key, value] : candidates_.records()) {
        VELLUM_ASSIGN_OR_RETURN(const auto stored, sync::StoredRecord::Parse(key, value));
        VELLUM_TRY(editor.Apply(stored.view()));
        if (work_.cancel != nullptr && work_.cancel->load()) return Cancelled("the merge was cancelled");
      }
      VELLUM_TRY(PutRun(&database));
      VELLUM_TRY(database.Run("DELETE FROM v1_connector_sessions"));
    }
    VELLUM_TRY(database.Run("COMMIT"));
    return database.Close();
  }

  /// The attributes of the merged sync, as MergeSyncs widens them.
  Status PutRun(Sqlite* database) {
    for (const sync::SyncRun& other : candidates_.runs()) {
      run_.type = sync::WiderType(run_.type, other.type);
      run_.ended_at = std::max(run_.ended_at, other.ended_at);
      if (other.started_at != 0) {
        run_.started_at = run_.started_at == 0 ? other.started_at : std::min(run_.started_at, other.started_at);
      }
    }
    run_.id = options_.merged_id;
    run_.parent_id.clear();
    run_.linked_id.clear();
    run_.token.clear();
    VELLUM_TRY(database->Run("DELETE FROM v1_sync_runs"));
    return InsertV1Run(database, run_, options_.write.zone, stats_);
  }

  const std::vector<FileInput>& inputs_;
  const std::string& out_;
  const MergeFilesOptions& options_;
  const sync::Work& work_;
  Candidates candidates_;
  std::unique_ptr<V1Reader> base_;
  sync::SyncRun run_;
  std::string database_;
  PlainIndexes indexes_;
  V1Stats stats_;
};

}  // namespace

Result<std::optional<MergeFilesReport>> MergeByEditing(const std::vector<FileInput>& inputs, const std::string& out,
                                                       const MergeFilesOptions& options, const sync::Work& work,
                                                       std::string* why_not) {
  if (inputs.empty()) return InvalidArgument("merge: no file was given");
  if (options.skip_invalid) {
    *why_not = "rows may be skipped";
    return std::optional<MergeFilesReport>();
  }
  auto report = Editing(inputs, out, options, work).Run();
  if (report.ok()) return std::optional(*std::move(report));
  // Whatever is wrong with a file the ordinary way says better, or does not mind.
  if (report.error().code() == Code::kInvalidArgument) {
    *why_not = report.error().message();
    return std::optional<MergeFilesReport>();
  }
  return std::move(report).error();
}

}  // namespace vellum::c1z
