#include <algorithm>

#include "base/bytes.h"
#include "storage/files.h"
#include "storage/tables.h"
#include "sync/codec.h"
#include "sync/run_sorter.h"
#include "sync/upkeep.h"

namespace vellum::sync {
namespace {

constexpr std::uint64_t kGenerationBytesMax = 64u << 20;
constexpr std::size_t kNamedMax = 10;

/// Damage found on the way: the first few by name, the rest by number.
class Damage {
 public:
  void Add(std::string what) {
    if (named_++ < kNamedMax) text_ += (text_.empty() ? "" : "; ") + std::move(what);
  }
  Status status() const {
    if (named_ == 0) return {};
    const std::string more = named_ > kNamedMax ? "; and " + std::to_string(named_ - kNamedMax) + " more" : "";
    return DataLoss("records are damaged, so nothing was changed: " + text_ + more);
  }

 private:
  std::size_t named_ = 0;
  std::string text_;
};

Result<GenerationInfo> ReadInfo(const std::string& path, const FileSystemPtr& files) {
  const auto bytes = storage::ReadSmallFile(files.get(), path + "/GENERATION", kGenerationBytesMax);
  if (!bytes.ok()) return DataLoss("generation " + path + " is missing or unreadable: " + bytes.error().message());
  auto info = GenerationInfo::Decode(*bytes);
  if (!info.ok()) return std::move(info).error().WithContext(path);
  return info;
}

/// The record files against their SHA-256: before that no byte of them is parsed.
Status CheckRecordFiles(const GenerationInfo& info, const std::string& path, const FileSystemPtr& files) {
  Damage damage;
  for (const GenerationFile& file : info.files) {
    if (FindBucket(static_cast<std::uint8_t>(file.bucket))->index) continue;
    const auto sha256 = FileSha256(path + "/" + file.name, files);
    if (!sha256.ok()) {
      damage.Add(sha256.error().message());
    } else if (*sha256 != file.sha256) {
      damage.Add(path + "/" + file.name + ": the SHA-256 is not the one in GENERATION");
    }
  }
  return damage.status();
}

/// One bucket of records out of its files alone: the later layer wins, and record buckets have no tombstones.
Result<std::unique_ptr<storage::TableCursor>> RecordsOf(const GenerationInfo& info, const std::string& path, Bucket bucket,
                                                        const FileSystemPtr& file_system) {
  std::vector<const GenerationFile*> files;
  for (const GenerationFile& file : info.files) {
    if (file.bucket == bucket) files.push_back(&file);
  }
  std::stable_sort(files.begin(), files.end(),
                   [](const GenerationFile* a, const GenerationFile* b) { return a->layer < b->layer; });
  std::vector<std::unique_ptr<storage::TableCursor>> cursors;
  for (const GenerationFile* file : files) {
    VELLUM_ASSIGN_OR_RETURN(auto cursor, storage::OpenTable(path + "/" + file->name, file_system));
    cursors.push_back(std::move(cursor));
  }
  if (cursors.empty()) return std::unique_ptr<storage::TableCursor>();
  return MergeRuns(std::move(cursors));
}

/// Reads every record once, so that damage is named before anything is built on it.
Status CheckRecords(const GenerationInfo& info, const std::string& path, const FileSystemPtr& files, const Work& work) {
  Damage damage;
  std::uint64_t seen = 0;
  for (const BucketInfo& bucket : kBuckets) {
    if (bucket.index) continue;
    VELLUM_ASSIGN_OR_RETURN(const auto cursor, RecordsOf(info, path, bucket.bucket, files));
    if (!cursor) continue;
    for (cursor->Seek({}); cursor->valid(); cursor->Next()) {
      if (const auto record = StoredRecord::Parse(cursor->key(), cursor->value()); !record.ok()) {
        damage.Add(std::string(bucket.name) + " " + Printable(cursor->key()) + ": " + record.error().message());
      }
      if (++seen % 4096 != 0) continue;
      if (work.progress) work.progress(seen);
      if (work.cancel != nullptr && work.cancel->load()) return Cancelled("repairing was cancelled");
    }
    if (Status read = cursor->status(); !read.ok()) damage.Add(std::string(bucket.name) + ": " + read.message());
  }
  return damage.status();
}

/// The records that were built on must be those that GENERATION counts.
Status CompareRecords(const std::map<Bucket, Totals>& said, const std::map<Bucket, Totals>& built) {
  Damage damage;
  for (const BucketInfo& bucket : kBuckets) {
    if (bucket.index) continue;
    const auto of = [&](const std::map<Bucket, Totals>& totals) {
      const auto found = totals.find(bucket.bucket);
      return found == totals.end() ? Totals{} : found->second;
    };
    const Totals expected = of(said);
    const Totals found = of(built);
    if (expected.records == found.records && expected.bytes == found.bytes && expected.digest == found.digest) continue;
    damage.Add(std::string(bucket.name) + ": there are " + std::to_string(found.records) + " of digest " + found.digest.ToHex() +
               ", GENERATION says " + std::to_string(expected.records) + " of digest " + expected.digest.ToHex());
  }
  return damage.status();
}

/// What is wrong with the indexes; empty: nothing.
Result<std::string> FindWrong(const GenerationInfo& info, const std::string& path, const FileSystemPtr& files,
                              const std::string& scratch, const Work& work, std::uint64_t* entries_wrong) {
  if (info.index_version != GenerationInfo::kIndexVersion) {
    return "its indexes are of version " + std::to_string(info.index_version) + ", this program reads " +
           std::to_string(GenerationInfo::kIndexVersion);
  }
  const storage::TableCache cache(8u << 20);
  const auto generation = Generation::Open(path, cache, Generation::Check::kTrust, files);
  if (!generation.ok()) return generation.error().message();
  VELLUM_ASSIGN_OR_RETURN(const VerifyReport report, VerifyGeneration(**generation, scratch, work));
  *entries_wrong = report.index_entries_wrong;
  return report.problems.empty() ? std::string() : report.problems.front();
}

}  // namespace

Result<RepairOutcome> RepairSync(Store* store, std::string_view sync_id, const Work& work) {
  VELLUM_ASSIGN_OR_RETURN(const SyncEntry entry, store->Get(sync_id));
  if (!entry.staging.empty() || entry.history.empty()) {
    return FailedPrecondition("sync " + Printable(sync_id) + " is being written: its indexes are built when it is sealed");
  }
  const GenerationId id = entry.generation();
  const std::string path = store->GenerationPath(id);
  const FileSystemPtr& files = store->options().files;
  VELLUM_ASSIGN_OR_RETURN(const GenerationInfo info, ReadInfo(path, files));
  VELLUM_TRY(CheckRecordFiles(info, path, files));
  VELLUM_TRY(CheckRecords(info, path, files, work));
  VELLUM_ASSIGN_OR_RETURN(const auto building, store->Register());
  RepairOutcome outcome;
  outcome.records = info.records();
  VELLUM_ASSIGN_OR_RETURN(outcome.why, FindWrong(info, path, files, building->directory(), work, &outcome.entries_wrong));
  if (outcome.why.empty()) {
    VELLUM_ASSIGN_OR_RETURN(outcome.generation, store->OpenGeneration(id));
    return outcome;
  }
  SortedRecords sorted;
  for (int type = 0; type < kRecordTypes; ++type) {
    VELLUM_ASSIGN_OR_RETURN(sorted.records[static_cast<std::size_t>(type)],
                            RecordsOf(info, path, RecordBucket(static_cast<RecordType>(type)), files));
  }
  VELLUM_ASSIGN_OR_RETURN(Derived derived, SealSorted(std::move(sorted), building->Limits(work)));
  VELLUM_TRY(CompareRecords(info.totals, derived.totals));
  VELLUM_ASSIGN_OR_RETURN(auto syncs, store->List());
  std::vector<Store::Switch> switches;
  for (SyncEntry& each : syncs) {
    const bool refers = std::any_of(each.history.begin(), each.history.end(),
                                    [&](const HistoryEntry& old) { return old.generation == id; });
    if (refers) switches.push_back({std::move(each), "repair", id});
  }
  VELLUM_ASSIGN_OR_RETURN(outcome.generation, store->Publish(building.get(), std::move(derived), {id}, std::move(switches)));
  outcome.changed = true;
  return outcome;
}

}  // namespace vellum::sync
