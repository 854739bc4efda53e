#include "c1z/file_view.h"

#include <unordered_set>

#include "base/bytes.h"
#include "sync/codec.h"
#include "sync/messages.h"
#include "sync/staging.h"

namespace vellum::c1z {
namespace {

using sync::RecordType;
using sync::RecordView;

/// A file that is being read into a view.
class FileStaging {
 public:
  static Result<std::unique_ptr<FileStaging>> Open(const std::string& path, const ImportOptions& options,
                                                   const std::string& scratch_dir, const sync::Work& work) {
    std::unique_ptr<FileStaging> staging(new FileStaging(path, options, work));
    OpenOptions open = options.open;
    open.scratch_dir = scratch_dir;
    VELLUM_ASSIGN_OR_RETURN(staging->reader_, OpenReader(path, open));
    VELLUM_ASSIGN_OR_RETURN(staging->sync_, staging->Choose());
    VELLUM_ASSIGN_OR_RETURN(staging->records_, sync::Staging::Create({scratch_dir, sync::StoreOptions().memory_bytes}));
    return staging;
  }

  /// Hands over every record of a type.
  Status Read(RecordType type, const Reader::Visit& visit) {
    const auto invalid = options_.skip_invalid ? Reader::Invalid::kSkip : Reader::Invalid::kFail;
    return reader_->ReadRecords(
        *sync_, type, invalid,
        [&](const RecordView& record) -> Status {
          VELLUM_TRY(visit(record));
          if (++done_ % 4096 != 0) return {};
          if (work_.progress) work_.progress(done_);
          return work_.cancel != nullptr && work_.cancel->load() ? Cancelled("reading was cancelled") : Status();
        },
        &report_);
  }
  Status Put(const RecordView& record) { return records_->Put(record); }

  Result<FileView> Finish() {
    FileView file;
    file.run = sync_->run;
    file.report = std::move(report_);
    VELLUM_ASSIGN_OR_RETURN(file.view, records_->Snapshot(path_));
    return file;
  }

 private:
  FileStaging(const std::string& path, const ImportOptions& options, const sync::Work& work)
      : path_(path), options_(options), work_(work) {}

  Result<const FileSync*> Choose() const {
    if (options_.only.empty()) return ChooseSync(*reader_, path_);
    for (const FileSync& sync : reader_->syncs()) {
      if (sync.run.id == options_.only.front()) return &sync;
    }
    return NotFound(path_ + " has no sync " + Printable(options_.only.front()));
  }

  const std::string path_;
  const ImportOptions& options_;
  const sync::Work& work_;
  std::unique_ptr<Reader> reader_;
  const FileSync* sync_ = nullptr;
  std::unique_ptr<sync::Staging> records_;
  ReadReport report_;
  std::uint64_t done_ = 0;
};

/// The key of a record that is known by the parts of its identity.
std::string KeyOf(RecordType type, std::string_view type_id, std::string_view resource_id, std::string_view id) {
  RecordView record;
  record.type = type;
  record.type_id = type_id;
  record.resource_id = resource_id;
  record.id = id;
  std::string key;
  sync::AppendRecordKey(&key, record);
  return key;
}

/// Keeps the records that one question needs.
class Sieve {
 public:
  Sieve(const sync::AccessQuestion& question, FileStaging* file) : question_(question), file_(*file) {}

  Status TakeGrants() {
    VELLUM_TRY(file_.Read(RecordType::kGrant, [this](const RecordView& grant) -> Status {
      if (grant.needs_expansion) ++pending_;
      const bool asked = question_.principal ? IsPrincipal(*question_.principal, grant)
                                             : grant.type_id == question_.resource->type &&
                                                   grant.resource_id == question_.resource->id;
      return asked ? TakeGrant(grant, /*asked=*/true) : Status();
    }));
    if (derived_.empty()) return {};
    // What else those principals hold: their grants on the resource may derive from it.
    return file_.Read(RecordType::kGrant, [this](const RecordView& grant) -> Status {
      const bool wanted = derived_.contains(KeyOf(RecordType::kResource, grant.principal_type_id, "", grant.principal_id));
      return wanted ? TakeGrant(grant, /*asked=*/false) : Status();
    });
  }

  Status TakeWhatTheyName() {
    if (entitlements_.empty()) return {};
    VELLUM_TRY(file_.Read(RecordType::kEntitlement, [this](const RecordView& record) -> Status {
      std::string key;
      sync::AppendRecordKey(&key, record);
      return entitlements_.contains(key) || sources_.contains(std::string(record.id)) ? file_.Put(record) : Status();
    }));
    return file_.Read(RecordType::kResource, [this](const RecordView& record) -> Status {
      std::string key;
      sync::AppendRecordKey(&key, record);
      return resources_.contains(key) ? file_.Put(record) : Status();
    });
  }

  std::uint64_t pending() const { return pending_; }

 private:
  static bool IsPrincipal(const sync::ResourceName& name, const RecordView& grant) {
    return grant.principal_type_id == name.type && grant.principal_id == name.id;
  }

  Status TakeGrant(const RecordView& grant, bool asked) {
    if (asked) {
      entitlements_.insert(KeyOf(RecordType::kEntitlement, grant.type_id, grant.resource_id, grant.entitlement_id));
      resources_.insert(KeyOf(RecordType::kResource, grant.type_id, "", grant.resource_id));
      resources_.insert(KeyOf(RecordType::kResource, grant.principal_type_id, "", grant.principal_id));
    }
    if (question_.why) NoteSources(grant);
    return file_.Put(grant);
  }

  void NoteSources(const RecordView& grant) {
    const auto sources = sync::ReadGrantSources(grant.data);
    if (!sources) return;  // whoever shows it says so
    for (const sync::GrantSource& source : *sources) sources_.emplace(source.entitlement_id);
    if (!question_.resource || sources->empty()) return;
    derived_.insert(KeyOf(RecordType::kResource, grant.principal_type_id, "", grant.principal_id));
  }

  const sync::AccessQuestion& question_;
  FileStaging& file_;
  std::uint64_t pending_ = 0;
  std::unordered_set<std::string> entitlements_;
  std::unordered_set<std::string> resources_;
  std::unordered_set<std::string> sources_;  ///< Ids of entitlements from which grants derive.
  std::unordered_set<std::string> derived_;  ///< Principals of a resource that do not hold it themselves alone.
};

}  // namespace

Result<FileView> ReadSync(const std::string& path, const ImportOptions& options, const std::string& scratch_dir,
                          const sync::Work& work) {
  VELLUM_ASSIGN_OR_RETURN(const auto file, FileStaging::Open(path, options, scratch_dir, work));
  for (int type = 0; type < sync::kRecordTypes; ++type) {
    VELLUM_TRY(file->Read(static_cast<RecordType>(type), [&file](const RecordView& record) { return file->Put(record); }));
  }
  return file->Finish();
}

Result<sync::AccessSummary> AskFile(const std::string& path, const ImportOptions& options, const std::string& scratch_dir,
                                    const sync::AccessQuestion& question, const sync::AccessVisitor& visit,
                                    const sync::Work& work) {
  VELLUM_TRY(sync::CheckQuestion(question));
  VELLUM_ASSIGN_OR_RETURN(const auto file, FileStaging::Open(path, options, scratch_dir, work));
  Sieve sieve(question, file.get());
  VELLUM_TRY(sieve.TakeGrants());
  VELLUM_TRY(sieve.TakeWhatTheyName());
  VELLUM_ASSIGN_OR_RETURN(const FileView kept, file->Finish());
  VELLUM_ASSIGN_OR_RETURN(sync::AccessSummary summary, sync::AnswerAccess(*kept.view, question, visit));
  summary.pending_expansions = sieve.pending();
  return summary;
}

}  // namespace vellum::c1z
