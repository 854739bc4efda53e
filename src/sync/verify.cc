#include <filesystem>

#include "base/bytes.h"
#include "sync/codec.h"
#include "sync/operations.h"
#include "sync/referential.h"
#include "sync/run_sorter.h"

namespace vellum::sync {
namespace {

/// Collects problems up to the limit and counts the rest: those of records, then those of indexes.
class Problems {
 public:
  explicit Problems(VerifyReport* report) : report_(report) {}
  /// Puts what was collected into the report, and says how many were left out.
  void Finish() {
    const std::uint64_t all = report_->record_problems + report_->index_problems;
    auto& problems = report_->problems;
    problems.insert(problems.end(), indexes_.begin(), indexes_.end());
    if (problems.size() > VerifyReport::kProblemsMax) problems.resize(VerifyReport::kProblemsMax);
    if (all > problems.size()) problems.push_back("and " + std::to_string(all - problems.size()) + " more");
  }
  void Add(const BucketInfo& bucket, const std::string& problem) { Add(bucket, bucket.index, problem); }
  /// A bucket could not be read to its end. Reading one may touch the file of the next, so where the files of records are
  /// sound it is an index that is damaged.
  void AddUnread(const BucketInfo& bucket, const std::string& problem) { Add(bucket, record_files_sound_, problem); }
  void AddFile(const BucketInfo& bucket, const std::string& problem) {
    record_files_sound_ = record_files_sound_ && bucket.index;
    Add(bucket, problem);
  }
  void AddEntry(const BucketInfo& index, const std::string& problem) {
    ++report_->index_entries_wrong;
    Add(index, problem);
  }

 private:
  void Add(const BucketInfo& bucket, bool of_index, const std::string& problem) {
    ++(of_index ? report_->index_problems : report_->record_problems);
    auto& list = of_index ? indexes_ : report_->problems;
    if (list.size() < VerifyReport::kProblemsMax) list.push_back(std::string(bucket.name) + ": " + problem);
  }

  VerifyReport* const report_;
  bool record_files_sound_ = true;
  std::vector<std::string> indexes_;
};

void CompareTotals(const BucketInfo& bucket, const Totals& said, const Totals& found, Problems* problems) {
  if (said.records != found.records) {
    problems->Add(bucket, "GENERATION counts " + std::to_string(said.records) + " records, there are " +
                              std::to_string(found.records));
  }
  if (said.bytes != found.bytes) {
    problems->Add(bucket, "GENERATION counts " + std::to_string(said.bytes) + " bytes, there are " +
                              std::to_string(found.bytes));
  }
  if (!(said.digest == found.digest)) {
    problems->Add(bucket, "the digest is " + found.digest.ToHex() + ", GENERATION says " + said.digest.ToHex());
  }
}

/// Two ascending cursors must show the same keys, as many as GENERATION counts.
void CompareKeys(const BucketInfo& bucket, const Totals& said, storage::TableCursor* stored, storage::TableCursor* rebuilt,
                 Problems* problems) {
  Totals totals;
  while (stored->valid() || (rebuilt != nullptr && rebuilt->valid())) {
    const bool has_rebuilt = rebuilt != nullptr && rebuilt->valid();
    const int order = !stored->valid() ? 1 : !has_rebuilt ? -1 : stored->key().compare(rebuilt->key());
    if (order < 0) problems->AddEntry(bucket, "stale entry " + Printable(stored->key()));
    if (order > 0) problems->AddEntry(bucket, "missing entry " + Printable(rebuilt->key()));
    if (order <= 0) {
      totals.Add(bucket, stored->key(), stored->value());
      stored->Next();
    }
    if (order >= 0) rebuilt->Next();
  }
  CompareTotals(bucket, said, totals, problems);
}

}  // namespace

Result<VerifyReport> VerifyGeneration(const Generation& generation, const std::string& scratch, const Work& work) {
  const FileSystemPtr& files = generation.file_system();
  VerifyReport report;
  Problems problems(&report);
  for (const GenerationFile& file : generation.info().files) {
    const BucketInfo& bucket = *FindBucket(static_cast<std::uint8_t>(file.bucket));
    const auto sha256 = FileSha256(generation.FilePath(file), files);
    if (!sha256.ok()) {
      problems.AddFile(bucket, sha256.error().message());
    } else if (*sha256 != file.sha256) {
      problems.AddFile(bucket, generation.FilePath(file) + ": the SHA-256 is not the one in GENERATION");
    }
    ++report.files;
  }
  const auto said = [&generation](Bucket bucket) {
    const auto found = generation.info().totals.find(bucket);
    return found == generation.info().totals.end() ? Totals{} : found->second;
  };
  std::map<Bucket, std::unique_ptr<RunSorter>> rebuilt;
  for (const BucketInfo& bucket : kBuckets) {
    if (bucket.index) continue;
    Totals totals;
    Status failed;
    const auto cursor = generation.Scan(bucket.bucket);
    for (; cursor->valid(); cursor->Next()) {
      totals.Add(bucket, cursor->key(), cursor->value());
      if (const auto record = StoredRecord::Parse(cursor->key(), cursor->value()); !record.ok()) {
        problems.Add(bucket, record.error().message());
        continue;
      }
      VELLUM_TRY(ForEachIndexKey(cursor->key(), cursor->value(), [&](Bucket index, std::string_view key) {
        auto& sorter = rebuilt[index];
        if (!sorter) {
          sorter = std::make_unique<RunSorter>(RunSorter::Options{
              scratch, "verify-" + std::to_string(static_cast<int>(index)), 32u << 20, files});
        }
        if (failed.ok()) failed = sorter->Add(key, {});
      }));
      VELLUM_TRY(failed);
      if (++report.records % 4096 != 0) continue;
      if (work.progress) work.progress(report.records);
      if (work.cancel != nullptr && work.cancel->load()) return Cancelled("verifying was cancelled");
    }
    if (Status read = cursor->status(); !read.ok()) problems.AddUnread(bucket, read.message());
    CompareTotals(bucket, said(bucket.bucket), totals, &problems);
  }
  for (const BucketInfo& bucket : kBuckets) {
    if (!bucket.index) continue;
    std::unique_ptr<storage::TableCursor> expected;
    if (const auto found = rebuilt.find(bucket.bucket); found != rebuilt.end()) {
      VELLUM_ASSIGN_OR_RETURN(expected, found->second->Finish());
      expected->Seek({});
    }
    const auto stored = generation.Scan(bucket.bucket);
    CompareKeys(bucket, said(bucket.bucket), stored.get(), expected.get(), &problems);
    if (Status read = stored->status(); !read.ok()) problems.AddUnread(bucket, read.message());
  }
  problems.Finish();
  if (report.ok()) {
    VELLUM_ASSIGN_OR_RETURN(report.findings, FindDangling(generation, work));
  }
  return report;
}

}  // namespace vellum::sync
