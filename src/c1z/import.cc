#include <algorithm>
#include <chrono>
#include <filesystem>

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

/// Puts the rows of one type and notes how many of them were one record: rows minus identities.
Status PutRows(Reader* reader, const FileSync& source, RecordType type, const ImportOptions& options,
               const sync::Work& work, SyncWriter* writer, ImportedSync* imported, std::uint64_t* done) {
  const auto invalid = options.skip_invalid ? Reader::Invalid::kSkip : Reader::Invalid::kFail;
  return reader->ReadRecords(
      source, type, invalid,
      [&](const sync::RecordView& record) -> Status {
        VELLUM_TRY(writer->Put(record));
        ++imported->joined[static_cast<std::size_t>(type)];  // minus the identities, later
        if (++*done % 4096 != 0) return {};
        if (work.progress) work.progress(*done);
        if (work.cancel != nullptr && work.cancel->load()) return Cancelled("the import was cancelled");
        return {};
      },
      &imported->report);
}

Result<ImportedSync> ImportSync(sync::Store* store, Reader* reader, const FileSync& source, const std::string& connector,
                                const ImportOptions& options, const sync::Work& work, std::uint64_t* done) {
  const auto began = std::chrono::steady_clock::now();
  ImportedSync imported;
  imported.id = source.run.id;
  imported.type = source.run.type;
  VELLUM_ASSIGN_OR_RETURN(const auto present, store->Find(source.run.id));
  VELLUM_ASSIGN_OR_RETURN(auto writer,
                          SyncWriter::Begin(store, source.run, connector, SyncWriter::IfExists::kReplace));
  for (int type = 0; type < sync::kRecordTypes; ++type) {
    VELLUM_TRY(PutRows(reader, source, static_cast<RecordType>(type), options, work, writer.get(), &imported, done));
  }
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
    VELLUM_TRY(CopySessions(reader, source, store));
  }
  imported.seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - began).count();
  return imported;
}

/// Of one sync's file whoever read it knows already.
Result<std::uint64_t> CountOrphans(Reader* reader, const std::vector<ImportedSync>& imported) {
  if (reader->syncs().size() == 1 && imported.size() == 1) return imported.front().report.foreign;
  return reader->CountOrphans();
}

}  // namespace

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
  std::uint64_t done = 0;
  for (const FileSync& source : reader->syncs()) {
    if (!options.only.empty() && std::find(options.only.begin(), options.only.end(), source.run.id) == options.only.end()) {
      continue;
    }
    auto one = ImportSync(store, reader.get(), source, connector, options, work, &done);
    if (!one.ok()) return std::move(one).error().WithContext(path);
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
