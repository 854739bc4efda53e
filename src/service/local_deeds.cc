#include <filesystem>

#include "base/bytes.h"
#include "service/local_sync_service.h"
#include "service/stores.h"

namespace vellum::service {
namespace {

/// What a sync is compacted from: another data directory, or a file that is imported for that.
struct Source {
  std::unique_ptr<sync::Store::Scratch> scratch;
  std::unique_ptr<DataDirectory> directory;
  std::unique_ptr<ScratchStore> file;
  sync::Store* store() const { return directory ? directory->store() : file->store(); }
};

Result<Source> OpenSource(sync::Store* base, const CompactRequest& request, const sync::Work& work) {
  Source source;
  if (std::filesystem::is_directory(request.from)) {
    VELLUM_ASSIGN_OR_RETURN(source.directory, DataDirectory::Open(request.from, DataDirectory::IfMissing::kFail));
    return source;
  }
  // Beside the generations, so that its tables are linked and not copied.
  VELLUM_ASSIGN_OR_RETURN(source.scratch, base->MakeScratch());
  VELLUM_ASSIGN_OR_RETURN(source.file, ScratchStore::OpenIn(source.scratch->path()));
  c1z::ImportOptions options = request.file_options;
  options.open.scratch_dir = source.scratch->path();
  VELLUM_TRY(c1z::ImportFile(source.file->store(), request.from, options, work).error());
  return source;
}

Result<bool> HasNoRecords(const sync::Store& store, const std::string& sync_id) {
  VELLUM_ASSIGN_OR_RETURN(const auto entry, store.Find(sync_id));
  if (!entry || entry->history.empty()) return true;
  const auto generation = store.OpenSync(sync_id);
  return generation.ok() && (*generation)->info().records() == 0;  // a damaged one fails where it is taken over
}

}  // namespace

Result<MergeReport> LocalSyncService::Merge(const MergeRequest& request, const sync::Work& work) {
  if (request.sources.empty()) return InvalidArgument("a merge takes one sync at least to merge");
  MergeReport report;
  report.sync_id = request.into.empty() ? sync::NewKsuid(store_->options().clock) : request.into;
  std::vector<sync::MergeSourceSync> sources;
  for (const std::string& id : request.sources) {
    VELLUM_TRY(store_->Get(id).error());
    sources.push_back({store_, id});
  }
  sync::MergeOptions options = request.options;
  options.create = true;
  VELLUM_ASSIGN_OR_RETURN(const auto outcome, sync::MergeSyncs(store_, std::move(sources), report.sync_id, options, work));
  report.stats = outcome.stats;
  report.strategy = outcome.strategy;
  report.why = outcome.why;
  report.records = outcome.generation->info().records();
  report.bytes_written = outcome.bytes_written;
  report.changed = outcome.changed;
  VELLUM_TRY(store_->Sweep().error());
  return report;
}

Result<CompactReport> LocalSyncService::Compact(const CompactRequest& request, const sync::Work& work) {
  VELLUM_ASSIGN_OR_RETURN(const Source source, OpenSource(store_, request, work));
  return CompactFrom(source.store(), request, work);
}

Result<CompactReport> LocalSyncService::CompactFrom(sync::Store* source, const CompactRequest& request,
                                                    const sync::Work& work) {
  VELLUM_ASSIGN_OR_RETURN(const bool empty, HasNoRecords(*source, request.sync_id));
  VELLUM_ASSIGN_OR_RETURN(const auto ours, store_->Find(request.sync_id));
  if (empty && ours && !request.allow_empty) {
    return FailedPrecondition(request.from + " has no records under sync " + Printable(request.sync_id) +
                              ": replacing it would empty it; say --allow-empty if that is meant");
  }
  VELLUM_ASSIGN_OR_RETURN(const auto outcome, sync::ReplaceSync(store_, source, request.sync_id, work));
  VELLUM_TRY(store_->Sweep().error());
  CompactReport report;
  report.emptied = outcome.emptied;
  report.records = outcome.generation->info().records();
  report.files_linked = outcome.files_linked;
  report.bytes_copied = outcome.bytes_copied;
  return report;
}

Result<sync::VerifyReport> LocalSyncService::Verify(const std::string& sync_id, const sync::Work& work) {
  VELLUM_TRY(store_->Get(sync_id).error());
  const auto generation = store_->OpenSync(sync_id);
  if (!generation.ok()) {
    sync::VerifyReport report;
    report.problems.push_back(generation.error().message());
    return report;
  }
  VELLUM_ASSIGN_OR_RETURN(const auto scratch, store_->MakeScratch());
  return sync::VerifyGeneration(**generation, scratch->path(), work);
}

}  // namespace vellum::service
