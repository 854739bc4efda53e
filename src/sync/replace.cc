#include <sys/stat.h>

#include <cerrno>
#include <cstring>

#include "base/bytes.h"
#include "storage/files.h"
#include "sync/operations.h"

namespace vellum::sync {
namespace {

/// Copies a table file and compares the copy with the SHA-256 that its generation promises.
Status CopyTable(const std::string& from, const std::string& to, const GenerationFile& file, const FileSystemPtr& files) {
  VELLUM_TRY(storage::CopyFile(files.get(), from, to));
  VELLUM_ASSIGN_OR_RETURN(const std::string sha256, FileSha256(to, files));
  if (sha256 != file.sha256) return DataLoss(from + " is damaged: its SHA-256 is not the one in GENERATION");
  return {};
}

/// Takes a generation's files over into a directory: by link, or by copy where links fail.
Status TakeFiles(const Generation& source, const std::string& directory, const FileSystemPtr& files, Derived* derived,
                 ReplaceOutcome* outcome) {
  for (const GenerationFile& file : source.info().files) {
    const std::string from = source.FilePath(file);
    const std::string to = directory + "/taken-" + file.name;
    VELLUM_ASSIGN_OR_RETURN(const bool linked, storage::LinkFile(files.get(), from, to));
    if (linked) {
      ++outcome->files_linked;
    } else {
      VELLUM_TRY(CopyTable(from, to, file, files));
      outcome->bytes_copied += file.bytes;
    }
    derived->files.push_back({to, file});
  }
  derived->totals = source.info().totals;
  derived->layers = source.info().layers;
  derived->dead_bytes = source.info().dead_bytes;
  return {};
}

/// Where the files wait until the base takes them over; goes with everything in it.
class Waiting {
 public:
  /// In the directory that the caller named, or in the base's own.
  static Result<std::unique_ptr<Waiting>> Make(const std::string& scratch_dir, const Store::Building& building,
                                               const FileSystemPtr& files) {
    std::string path = building.directory();
    if (!scratch_dir.empty()) {
      struct stat named {};
      struct stat own {};
      if (::stat(scratch_dir.c_str(), &named) != 0 || !S_ISDIR(named.st_mode)) {
        return InvalidArgument("scratch directory " + Printable(scratch_dir) + " is not a directory");
      }
      if (::stat(path.c_str(), &own) != 0) return Internal("cannot find " + path + ": " + std::strerror(errno));
      if (named.st_dev != own.st_dev) {
        return InvalidArgument("scratch directory " + Printable(scratch_dir) +
                               " is on another file system than the base: files could not be linked from it");
      }
      path = scratch_dir + "/vellum-" + building.id();
      VELLUM_TRY(storage::CreateDirectory(files.get(), path));
    }
    return std::unique_ptr<Waiting>(new Waiting(std::move(path), !scratch_dir.empty(), files));
  }
  ~Waiting() {
    if (own_) storage::RemoveTree(files_.get(), path_).IgnoreError("the scratch directory is the caller's");
  }
  Waiting(const Waiting&) = delete;
  Waiting& operator=(const Waiting&) = delete;
  const std::string& path() const { return path_; }

 private:
  Waiting(std::string path, bool own, FileSystemPtr files)
      : path_(std::move(path)), own_(own), files_(std::move(files)) {}
  const std::string path_;
  const bool own_;  ///< Else it is the building's, which tidies up itself.
  const FileSystemPtr files_;
};

Status CheckNotBeingWritten(const SyncEntry& entry, std::string_view where) {
  if (!entry.staging.empty()) {
    return FailedPrecondition("sync " + Printable(entry.run.id) + " is being written in the " + std::string(where));
  }
  return {};
}

}  // namespace

Result<ReplaceOutcome> ReplaceSync(Store* base, Store* source, std::string_view sync_id, const Work& work,
                                   const std::string& scratch_dir) {
  if (base == nullptr) return InvalidArgument("replace: no base store was given");
  if (source == nullptr) return InvalidArgument("replace: no source store was given");
  if (sync_id.empty()) return InvalidArgument("replace: the sync id is empty");
  if (base == source) return InvalidArgument("replace: source and base are the same store, and sync " + Printable(sync_id));
  VELLUM_ASSIGN_OR_RETURN(const auto theirs, source->Find(sync_id));
  VELLUM_ASSIGN_OR_RETURN(auto ours, base->Find(sync_id));
  if (!theirs && !ours) return NotFound("neither the source nor the base has sync " + Printable(sync_id));
  if (theirs) {
    VELLUM_TRY(CheckNotBeingWritten(*theirs, "source"));
    if (theirs->state == SyncState::kOpen) {
      return FailedPrecondition("sync " + Printable(sync_id) + " is unfinished in the source: it cannot replace another");
    }
  }
  if (ours) VELLUM_TRY(CheckNotBeingWritten(*ours, "base"));

  SyncEntry entry = ours ? *std::move(ours) : SyncEntry{};
  if (theirs) {
    entry.run = theirs->run;
    if (!theirs->connector.empty()) entry.connector = theirs->connector;
  }
  ReplaceOutcome outcome;
  outcome.created = entry.mod_revision == 0;
  Derived derived;
  std::shared_ptr<const Generation> taken;
  std::vector<GenerationId> parents;
  VELLUM_ASSIGN_OR_RETURN(const auto building, base->Register());
  VELLUM_ASSIGN_OR_RETURN(const auto waiting, Waiting::Make(scratch_dir, *building, base->options().files));
  if (theirs) {
    VELLUM_ASSIGN_OR_RETURN(taken, source->OpenSync(sync_id));
    parents.push_back(taken->info().id);
    VELLUM_TRY(TakeFiles(*taken, waiting->path(), base->options().files, &derived, &outcome));
  }
  outcome.emptied = !taken || taken->info().records() == 0;
  if (work.cancel != nullptr && work.cancel->load()) return Cancelled("replacing sync " + Printable(sync_id) + " was cancelled");
  VELLUM_ASSIGN_OR_RETURN(outcome.generation,
                          base->Publish(building.get(), std::move(derived), parents, {{std::move(entry), "replace"}}));
  return outcome;
}

}  // namespace vellum::sync
