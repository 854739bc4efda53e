// A thousand syncs merged into one by a process that may open few files and take little memory. A program of its own, because
// both are counted for a whole process.
//
// VELLUM_BOUNDS_SOURCES says how many (1000).
#include <stdlib.h>
#include <sys/resource.h>

#include <cstdio>
#include <filesystem>
#include <fstream>
#include <string>

#include "sync/memory_catalog.h"
#include "sync/operations.h"

namespace vellum::sync {
namespace {

namespace fs = std::filesystem;

constexpr rlim_t kOpenFilesMax = 256;
constexpr int kGrantsPerSource = 40;
/// Beside what the process has when the merge begins.
constexpr long kMemoryKibMax = 96 << 10;

Status Write(Store* store, const std::string& id, int first) {
  SyncRun run;
  run.id = id;
  run.type = "partial";
  VELLUM_ASSIGN_OR_RETURN(const auto writer, SyncWriter::Begin(store, run, "bounds"));
  for (int i = first; i < first + kGrantsPerSource; ++i) {
    const std::string user = std::to_string(i);
    RecordView record;
    record.discovered_at = 1 + static_cast<Stamp>(first);
    record.type = RecordType::kResource;
    record.type_id = "user";
    record.id = user;
    record.data = "\x1a\x01x";
    VELLUM_TRY(writer->Put(record));
    record.type = RecordType::kGrant;
    record.type_id = "group";
    record.resource_id = "g";
    record.entitlement_id = "member";
    record.principal_type_id = "user";
    record.principal_id = user;
    record.id = "own name " + user;
    record.needs_expansion = true;
    VELLUM_TRY(writer->Put(record));
  }
  return writer->Seal(9, "write").error();
}

/// The most memory that the process has had, in KiB.
long PeakKib() {
  struct rusage usage {};
  ::getrusage(RUSAGE_SELF, &usage);
  return usage.ru_maxrss;
}

Status Run(const std::string& directory, int sources) {
  struct rlimit limit {kOpenFilesMax, kOpenFilesMax};
  if (::setrlimit(RLIMIT_NOFILE, &limit) != 0) return Internal("cannot limit open files");
  StoreOptions options;
  options.data_dir = directory;
  options.open_files_max = 96;
  options.memory_bytes = 16u << 20;
  MemoryCatalog catalog;
  VELLUM_ASSIGN_OR_RETURN(const auto store, Store::Open(options, &catalog));
  std::vector<MergeSourceSync> all;
  for (int i = 0; i < sources; ++i) {
    const std::string id = "source" + std::to_string(i);
    // Neighbours share half their identities, the later one with the newer stamp.
    VELLUM_TRY(Write(store.get(), id, i * kGrantsPerSource / 2));
    all.push_back({store.get(), id});
  }
  const std::uint64_t identities = static_cast<std::uint64_t>((sources + 1) * kGrantsPerSource / 2);
  const long before = PeakKib();
  for (const Strategy strategy : {Strategy::kMerge, Strategy::kFold}) {
    const std::string dest = strategy == Strategy::kMerge ? "merged" : "folded";
    VELLUM_TRY(Write(store.get(), dest, 0));
    MergeOptions merge;
    merge.strategy = strategy;
    VELLUM_ASSIGN_OR_RETURN(const MergeOutcome outcome, MergeSyncs(store.get(), all, dest, merge));
    const auto records = outcome.generation->info().records(RecordType::kGrant);
    if (records != identities) {
      return Internal(dest + " has " + std::to_string(records) + " grants, not " + std::to_string(identities));
    }
    std::printf("%s: %d sources in %llu rounds, %ld KiB more than before\n", dest.c_str(), sources,
                static_cast<unsigned long long>(outcome.rounds), PeakKib() - before);
  }
  VELLUM_ASSIGN_OR_RETURN(const auto merged, store->Get("merged"));
  VELLUM_ASSIGN_OR_RETURN(const auto folded, store->Get("folded"));
  if (merged.history.front().digest != folded.history.front().digest) return Internal("merge and fold differ");
  if (PeakKib() - before > kMemoryKibMax) {
    return Internal("merging took " + std::to_string(PeakKib() - before) + " KiB, above " + std::to_string(kMemoryKibMax));
  }
  return {};
}

}  // namespace
}  // namespace vellum::sync

int main() {
  const char* const given = ::getenv("VELLUM_BOUNDS_SOURCES");
  std::string directory = std::filesystem::is_directory("/dev/shm") ? "/dev/shm" : "/tmp";
  directory += "/vellum-sync-bounds-XXXXXX";
  if (::mkdtemp(directory.data()) == nullptr) return 2;
  const vellum::Status status = vellum::sync::Run(directory, given == nullptr ? 1000 : std::atoi(given));
  std::filesystem::remove_all(directory);
  if (!status.ok()) std::fprintf(stderr, "%s\n", status.ToString().c_str());
  return status.ok() ? 0 : 1;
}
