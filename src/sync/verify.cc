#include <filesystem>

#include "base/bytes.h"
#include "sync/codec.h"
#include "sync/operations.h"
#include "sync/run_sorter.h"

namespace vellum::sync {
namespace {

/// Collects problems up to the limit and counts the rest.
class Problems {
 public:
  explicit Problems(VerifyReport* report) : report_(report) {}
  /// Says how many were left out.
  void Finish() {
    if (more_ > 0) report_->problems.push_back("and " + std::to_string(more_) + " more");
  }
  void Add(std::string problem) {
    if (report_->problems.size() < VerifyReport::kProblemsMax) {
      report_->problems.push_back(std::move(problem));
    } else {
      ++more_;
    }
  }

 private:
  VerifyReport* const report_;
  std::uint64_t more_ = 0;
};

void CompareTotals(const BucketInfo& bucket, const Totals& said, const Totals& found, Problems* problems) {
  const std::string name(bucket.name);
  if (said.records != found.records) {
    problems->Add(name + ": GENERATION counts " + std::to_string(said.records) + " records, there are " +
                  std::to_string(found.records));
  }
  if (said.bytes != found.bytes) {
    problems->Add(name + ": GENERATION counts " + std::to_string(said.bytes) + " bytes, there are " +
                  std::to_string(found.bytes));
  }
  if (!(said.digest == found.digest)) {
    problems->Add(name + ": the digest is " + found.digest.ToHex() + ", GENERATION says " + said.digest.ToHex());
  }
}

/// Two ascending cursors must show the same keys.
void CompareKeys(const BucketInfo& bucket, storage::TableCursor* stored, storage::TableCursor* rebuilt,
                 Problems* problems) {
  const std::string name(bucket.name);
  while (stored->valid() || (rebuilt != nullptr && rebuilt->valid())) {
    const bool has_rebuilt = rebuilt != nullptr && rebuilt->valid();
    const int order = !stored->valid() ? 1 : !has_rebuilt ? -1 : stored->key().compare(rebuilt->key());
    if (order < 0) problems->Add(name + ": stale entry " + Printable(stored->key()));
    if (order > 0) problems->Add(name + ": missing entry " + Printable(rebuilt->key()));
    if (order <= 0) stored->Next();
    if (order >= 0) rebuilt->Next();
  }
}

}  // namespace

Result<VerifyReport> VerifyGeneration(const Generation& generation, const std::string& scratch, const Work& work) {
  const FileSystemPtr& files = generation.file_system();
  VerifyReport report;
  Problems problems(&report);
  for (const GenerationFile& file : generation.info().files) {
    VELLUM_ASSIGN_OR_RETURN(const std::string sha256, FileSha256(generation.FilePath(file), files));
    if (sha256 != file.sha256) problems.Add(generation.FilePath(file) + ": the SHA-256 is not the one in GENERATION");
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
        problems.Add(std::string(bucket.name) + ": " + record.error().message());
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
    if (Status read = cursor->status(); !read.ok()) problems.Add(std::string(bucket.name) + ": " + read.message());
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
    CompareKeys(bucket, stored.get(), expected.get(), &problems);
    if (Status read = stored->status(); !read.ok()) problems.Add(std::string(bucket.name) + ": " + read.message());
  }
  problems.Finish();
  return report;
}

}  // namespace vellum::sync
