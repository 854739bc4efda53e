#include "c1z/merge_files.h"

#include "base/bytes.h"
#include "sync/codec.h"

namespace vellum::c1z {
namespace {

/// Imports one input under a name of its own, so that two files may hold one sync id. Returns what it was.
Result<sync::SyncRun> ImportInput(sync::Store* store, const FileInput& input, const std::string& name,
                                  const MergeFilesOptions& options, const sync::Work& work,
                                  std::atomic<std::uint64_t>* done, MergeFilesReport* merged) {
  VELLUM_ASSIGN_OR_RETURN(const auto reader, OpenReader(input.path, options.open));
  VELLUM_ASSIGN_OR_RETURN(const FileSync* const chosen, PickSync(*reader, input));
  sync::SyncRun named = chosen->run;
  named.id = name;
  const auto lanes = static_cast<std::size_t>(std::max(1, store->options().threads));
  VELLUM_ASSIGN_OR_RETURN(const auto writer,
                          sync::SyncWriter::Begin(store, named, "", sync::SyncWriter::IfExists::kRefuse, lanes));
  const auto invalid = options.skip_invalid ? Reader::Invalid::kSkip : Reader::Invalid::kFail;
  ReadReport report;
  std::array<std::uint64_t, sync::kRecordTypes> put{};
  VELLUM_TRY(PutRecords(reader.get(), *chosen, invalid, writer.get(), lanes, work, done, &report, &put));
  if (!report.invalid.empty()) merged->skipped[input.path] = report.invalid;
  VELLUM_TRY(writer->Seal(chosen->run.ended_at, "import", work).error());
  return chosen->run;
}

/// Makes the sync that the others are merged into. Where the base's records are the incumbents it is a copy of the
/// base; where the last file is to win ties it has the base's assets alone, and the base is a source like the others.
Status PrepareDestination(sync::Store* store, sync::SyncEntry merged, const std::string& base, sync::Ties ties) {
  VELLUM_ASSIGN_OR_RETURN(const sync::SyncEntry base_entry, store->Get(base));
  if (ties == sync::Ties::kFirst) return store->SwitchTo(base_entry.generation(), {{std::move(merged), "copy"}});
  VELLUM_ASSIGN_OR_RETURN(const auto generation, store->OpenGeneration(base_entry.generation()));
  const sync::Stamp ended_at = merged.run.ended_at;
  VELLUM_ASSIGN_OR_RETURN(const auto writer, sync::SyncWriter::Begin(store, std::move(merged.run), ""));
  const auto cursor = generation->Scan(sync::Bucket::kAsset);
  for (; cursor->valid(); cursor->Next()) {
    VELLUM_ASSIGN_OR_RETURN(const auto stored, sync::StoredRecord::Parse(cursor->key(), cursor->value()));
    VELLUM_TRY(writer->Put(stored.view()));
  }
  VELLUM_TRY(cursor->status());
  return writer->Seal(ended_at, "copy").error();
}

}  // namespace

Result<const FileSync*> PickSync(const Reader& reader, const FileInput& input) {
  if (input.sync.empty()) return ChooseSync(reader, input.path);
  for (const FileSync& sync : reader.syncs()) {
    if (sync.run.id == input.sync) return &sync;
  }
  return NotFound(input.path + " has no sync " + Printable(input.sync));
}

Result<MergeFilesReport> MergeByStore(sync::Store* store, const std::vector<FileInput>& inputs, const std::string& out,
                                      const MergeFilesOptions& options, const sync::Work& work) {
  if (inputs.empty()) return InvalidArgument("merge: no file was given");
  MergeFilesReport report;
  // The first file is the destination: its records are the incumbents, and its assets stay.
  sync::SyncEntry merged;
  std::vector<sync::MergeSourceSync> sources;
  std::atomic<std::uint64_t> done{0};
  for (const FileInput& input : inputs) {
    const std::string name = std::to_string(sources.size() + 1);
    VELLUM_ASSIGN_OR_RETURN(sync::SyncRun run, ImportInput(store, input, name, options, work, &done, &report));
    if (sources.empty()) merged.run = std::move(run);
    sources.push_back({store, name});
  }
  merged.run.id = options.merged_id;
  merged.run.parent_id.clear();
  merged.run.linked_id.clear();
  merged.run.token.clear();
  const std::string base = sources.front().sync_id;
  sync::MergeOptions merge;
  merge.ties = options.ties;
  if (merge.ties == sync::Ties::kFirst) sources.erase(sources.begin());
  VELLUM_TRY(PrepareDestination(store, std::move(merged), base, merge.ties));
  VELLUM_TRY(sync::MergeSyncs(store, sources, options.merged_id, merge, work).error());
  VELLUM_ASSIGN_OR_RETURN(const auto exported, ExportFile(*store, {options.merged_id}, out, options.write, work));
  report.records = exported.records;
  report.bytes = exported.bytes;
  return report;
}

}  // namespace vellum::c1z
