#include <algorithm>
#include <filesystem>
#include <future>

#include "base/aside.h"
#include "c1z/envelope.h"
#include "c1z/incoming.h"
#include "c1z/merge_files.h"
#include "c1z/plain_schema.h"
#include "c1z/publish.h"
#include "c1z/rewrite.h"
#include "c1z/v1_reader.h"

namespace vellum::c1z {
namespace {

/// One merge.
class Editing {
 public:
  Editing(const std::vector<FileInput>& inputs, const std::string& out, const MergeFilesOptions& options,
          const sync::Work& work)
      : inputs_(inputs), out_(out), options_(options), work_(work), incoming_(options.ties) {}

  Result<MergeFilesReport> Run() {
    VELLUM_TRY(CheckSizes());
    // The others are read while the first is decompressed.
    auto others = DoAside([this]() -> Status {
      for (std::size_t i = 1; i < inputs_.size(); ++i) VELLUM_TRY(incoming_.Read(inputs_[i], options_, work_));
      return incoming_.EndFiles();
    });
    Status base = OpenBase();
    Status read = others.get();
    VELLUM_TRY(std::move(base));
    VELLUM_TRY(std::move(read));
    return Write();
  }

 private:
  Status CheckSizes() const {
    std::error_code error;
    const auto size = [&error](const FileInput& input) {
      return static_cast<double>(std::filesystem::file_size(input.path, error));
    };
    VELLUM_ASSIGN_OR_RETURN(const Format format, DetectFormat(inputs_.front().path));
    if (format != Format::kV1) return NotPlain("the first file is not a v1 file");
    double others = 0;
    for (std::size_t i = 1; i < inputs_.size(); ++i) others += size(inputs_[i]);
    const bool dominates = options_.share_max > 1 || others <= options_.share_max * size(inputs_.front());
    return dominates ? Status() : NotPlain("the first file is not much larger than the others");
  }

  Status OpenBase() {
    VELLUM_ASSIGN_OR_RETURN(base_, V1Reader::Open(inputs_.front().path, options_.open));
    VELLUM_ASSIGN_OR_RETURN(const FileSync* const sync, PickSync(*base_, inputs_.front()));
    run_ = sync->run;
    if (base_->syncs().size() != 1) return NotPlain("it holds several syncs");
    if (run_.ended_at == 0 || !IsMergeable(run_.type)) return NotPlain("its sync has not ended, or is a diff");
    VELLUM_ASSIGN_OR_RETURN(database_, base_->ReleaseDatabase());
    return {};
  }

  Result<MergeFilesReport> Write() {
    VELLUM_ASSIGN_OR_RETURN(Publication publication, Publication::Begin(out_, options_.write.if_exists));
    std::unique_ptr<EnvelopeWriter> envelope;
    Rewriter::Options rewriting;
    rewriting.from = run_.id;
    rewriting.to = options_.merged_id;
    rewriting.read_zone = options_.open.zone;
    rewriting.write_zone = options_.write.zone;
    rewriting.beside = out_;
    rewriting.work = &work_;
    const auto append = [&envelope](std::string_view pages) { return envelope->Append(pages); };
    VELLUM_ASSIGN_OR_RETURN(const auto rewriter, Rewriter::Open(database_, &incoming_, append, std::move(rewriting)));
    VELLUM_ASSIGN_OR_RETURN(
        envelope, EnvelopeWriter::Create(publication.temporary(), rewriter->page_bytes(), options_.write.threads));
    VELLUM_ASSIGN_OR_RETURN(const std::string first_page, rewriter->Run(Merged()));
    VELLUM_TRY(envelope->Finish(first_page));
    MergeFilesReport report;
    for (const std::uint64_t records : rewriter->stats().records) report.records += records;
    VELLUM_ASSIGN_OR_RETURN(report.bytes, publication.Publish());
    return report;
  }

  /// The attributes of the merged sync, as MergeSyncs widens them.
  sync::SyncRun Merged() const {
    sync::SyncRun merged = run_;
    for (const sync::SyncRun& other : incoming_.runs()) {
      merged.type = sync::WiderType(merged.type, other.type);
      merged.ended_at = std::max(merged.ended_at, other.ended_at);
      if (other.started_at != 0) {
        merged.started_at = merged.started_at == 0 ? other.started_at : std::min(merged.started_at, other.started_at);
      }
    }
    merged.parent_id.clear();
    merged.linked_id.clear();
    merged.token.clear();
    return merged;
  }

  const std::vector<FileInput>& inputs_;
  const std::string& out_;
  const MergeFilesOptions& options_;
  const sync::Work& work_;
  Incoming incoming_;
  std::unique_ptr<V1Reader> base_;
  sync::SyncRun run_;
  std::string database_;
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
