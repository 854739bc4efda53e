#include <algorithm>
#include <atomic>
#include <chrono>
#include <filesystem>
#include <utility>

#include "base/bytes.h"
#include "c1z/transfer.h"

namespace vellum::c1z {
namespace {

using sync::RecordType;
using sync::SyncWriter;

Status CopySessions(Reader* reader, const FileSync& source, sync::Store* store) {
  return store->WriteSessions(source.run.id, [&](const sync::Store::PutPair& put) {
    return reader->ReadSessions(source, [&put](const Session& session) { return put(session.key, session.value); });
  });
}

std::uint64_t InvalidRows(const ReadReport& report) {
  std::uint64_t rows = 0;
  for (const auto& [reason, count] : report.invalid) rows += count;
  return rows;
}

/// The rows of one sync, on their way into a writer. Several threads count at once.
class Intake {
 public:
  Intake(SyncWriter* writer, const sync::Work* work, std::atomic<std::uint64_t>* done)
      : writer_(writer), work_(work), done_(done) {}

  /// For the records of one lane.
  Reader::Visit Lane(std::size_t lane) {
    return [this, lane, pending = std::uint64_t{0}](const sync::RecordView& record) mutable -> Status {
      VELLUM_TRY(writer_->PutInLane(lane, record));
      if (++pending < kCountEvery) return {};
      const std::uint64_t all = done_->fetch_add(std::exchange(pending, 0)) + kCountEvery;
      if (work_->progress) work_->progress(all);
      if (work_->cancel != nullptr && work_->cancel->load()) return Cancelled("the import was cancelled");
      return {};
    };
  }

 private:
  static constexpr std::uint64_t kCountEvery = 4096;
  SyncWriter* const writer_;
  const sync::Work* const work_;
  std::atomic<std::uint64_t>* const done_;
};

Result<ImportedSync> ImportSync(sync::Store* store, Reader* reader, const FileSync& source, const std::string& connector,
                                const ImportOptions& options, const sync::Work& work,
                                std::atomic<std::uint64_t>* done) {
  const auto began = std::chrono::steady_clock::now();
  ImportedSync imported;
  imported.id = source.run.id;
  imported.type = source.run.type;
  VELLUM_ASSIGN_OR_RETURN(const auto present, store->Find(source.run.id));
  const auto lanes = static_cast<std::size_t>(std::max(1, store->options().threads));
  VELLUM_ASSIGN_OR_RETURN(
      auto writer, SyncWriter::Begin(store, source.run, connector, SyncWriter::IfExists::kReplace, lanes));
  const auto invalid = options.skip_invalid ? Reader::Invalid::kSkip : Reader::Invalid::kFail;
  // Minus the identities, below.
  VELLUM_TRY(PutRecords(reader, source, invalid, writer.get(), lanes, work, done, &imported.report, &imported.joined));
  VELLUM_ASSIGN_OR_RETURN(const sync::Sum128 digest, writer->Build(work));
  if (present && !present->history.empty() && present->history.front().digest == digest.ToHex()) {
    imported.unchanged = true;
    VELLUM_ASSIGN_OR_RETURN(const auto generation, store->OpenGeneration(present->generation()));
    imported.records = generation->info().records();
    imported.joined = {};
  } else if (present && !options.replace) {
    return FailedPrecondition("sync " + Printable(source.run.id) + " exists already, with other contents: --replace switches it");
  } else {
    VELLUM_ASSIGN_OR_RETURN(const auto generation, writer->Seal(source.run.ended_at, "import", work));
    imported.records = generation->info().records();
    for (int type = 0; type < sync::kRecordTypes; ++type) {
      imported.joined[static_cast<std::size_t>(type)] -= generation->info().records(static_cast<RecordType>(type));
    }
  }
  // Also beside records that were there: an earlier import may have been killed before it came to them.
  VELLUM_TRY(CopySessions(reader, source, store));
  imported.seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - began).count();
  return imported;
}

/// Of one sync's file whoever read it knows already.
Result<std::uint64_t> CountOrphans(Reader* reader, const std::vector<ImportedSync>& imported) {
  if (reader->syncs().size() == 1 && imported.size() == 1) return imported.front().report.foreign;
  return reader->CountOrphans();
}

}  // namespace

Status PutRecords(Reader* reader, const FileSync& source, Reader::Invalid invalid, SyncWriter* writer, std::size_t lanes,
                  const sync::Work& work, std::atomic<std::uint64_t>* done, ReadReport* report,
                  std::array<std::uint64_t, sync::kRecordTypes>* put) {
  Intake intake(writer, &work, done);
  for (int type = 0; type < sync::kRecordTypes; ++type) {
    std::vector<Reader::Visit> visits;
    for (std::size_t lane = 0; lane < lanes; ++lane) visits.push_back(intake.Lane(lane));
    ReadReport of_type;
    const Status read = reader->ReadInParts(source, static_cast<RecordType>(type), invalid, visits, &of_type);
    report->Add(of_type);
    VELLUM_TRY(read);
    (*put)[static_cast<std::size_t>(type)] = of_type.rows - InvalidRows(of_type);
  }
  return {};
}

Result<std::vector<ImportedSync>> ImportFile(sync::Store* store, const std::string& path, const ImportOptions& options,
                                             const sync::Work& work) {
  VELLUM_ASSIGN_OR_RETURN(const auto reader, OpenReader(path, options.open));
  for (const std::string& wanted : options.only) {
    const bool known = std::any_of(reader->syncs().begin(), reader->syncs().end(),
                                   [&wanted](const FileSync& sync) { return sync.run.id == wanted; });
    if (!known) return NotFound(path + " has no sync " + Printable(wanted));
  }
  if (reader->syncs().empty() && reader->format() == Format::kV3) {
    VELLUM_ASSIGN_OR_RETURN(const std::uint64_t orphans, reader->CountOrphans());
    return FailedPrecondition(path + " holds no sync: its " + std::to_string(orphans) + " records belong to none");
  }
  std::string connector = options.connector;
  if (connector.empty()) {
    connector = std::filesystem::path(path).filename().string();
    connector = connector.substr(0, connector.find('.'));
  }
  std::vector<ImportedSync> imported;
  std::atomic<std::uint64_t> done{0};
  for (const FileSync& source : reader->syncs()) {
    if (!options.only.empty() && std::find(options.only.begin(), options.only.end(), source.run.id) == options.only.end()) {
      continue;
    }
    auto one = ImportSync(store, reader.get(), source, connector, options, work, &done);
    if (!one.ok()) {
      // What the reader says begins with the file already. Elsewhere in a text a short name may stand by chance.
      const std::string_view why = one.error().message();
      const bool named = why.starts_with(path + ":") || why.starts_with(path + ",");
      return named ? std::move(one).error() : std::move(one).error().WithContext(path);
    }
    one->format = reader->format();
    if (imported.empty()) one->warnings = reader->warnings();
    imported.push_back(*std::move(one));
  }
  VELLUM_ASSIGN_OR_RETURN(const std::uint64_t orphans, CountOrphans(reader.get(), imported));
  if (reader->syncs().empty()) {
    return InvalidArgument(path + " holds no sync" +
                           (orphans > 0 ? ", only " + std::to_string(orphans) + " rows that belong to none" : ""));
  }
  if (!imported.empty()) imported.back().orphans = orphans;
  return imported;
}

}  // namespace vellum::c1z
