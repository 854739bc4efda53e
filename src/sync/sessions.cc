#include "base/bytes.h"
#include "storage/files.h"
#include "storage/tables.h"
#include "sync/sha256.h"
#include "sync/store.h"

namespace vellum::sync {

std::string Store::SessionsPath(std::string_view sync_id) const {
  // Sync ids may be longer than a file name.
  return options_.data_dir + "/sessions/" + Sha256Hex(sync_id) + ".sst";
}

void Store::ForgetSessions(std::string_view sync_id) {
  storage::RemoveFile(files(), SessionsPath(sync_id)).IgnoreError("what is left is removed when the store is opened");
}

Status Store::WriteSessions(std::string_view sync_id, const std::function<Status(const PutPair&)>& fill) {
  const std::string path = SessionsPath(sync_id);
  const std::string temporary = path + ".tmp";
  std::unique_ptr<storage::TableWriter> writer;
  VELLUM_TRY(fill([&](std::string_view key, std::string_view value) -> Status {
    if (!writer) {
      VELLUM_ASSIGN_OR_RETURN(writer, storage::TableWriter::Create(temporary, {}, options_.files));
    }
    return writer->Put(key, value);
  }));
  if (!writer) {
    VELLUM_TRY(storage::RemoveFile(options_.files.get(), path));
  } else {
    VELLUM_TRY(writer->Finish().error());
    VELLUM_TRY(storage::Rename(options_.files.get(), temporary, path));
  }
  return storage::SyncDirectory(options_.files.get(), options_.data_dir + "/sessions");
}

Status Store::ReadSessions(std::string_view sync_id, const PutPair& visit) const {
  const std::string path = SessionsPath(sync_id);
  VELLUM_ASSIGN_OR_RETURN(const bool exists, storage::Exists(options_.files.get(), path));
  if (!exists) return {};
  VELLUM_ASSIGN_OR_RETURN(const auto cursor, storage::OpenTable(path, options_.files));
  for (cursor->Seek({}); cursor->valid(); cursor->Next()) VELLUM_TRY(visit(cursor->key(), cursor->value()));
  return cursor->status();
}

}  // namespace vellum::sync
