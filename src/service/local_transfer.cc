#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <filesystem>

#include "c1z/message_check.h"
#include "service/local_sync_service.h"

namespace vellum::service {
namespace {

class LocalWriter final : public RecordWriter {
 public:
  LocalWriter(LocalSyncService* service, std::string sync_id, std::unique_ptr<sync::SyncWriter> writer)
      : service_(service), sync_id_(std::move(sync_id)), writer_(std::move(writer)), sink_(writer_.get()) {}

  Status Put(const sync::RecordView& record) override { return sink_.Put(record); }
  Status Checkpoint(std::string_view token) override { return writer_->Checkpoint(token); }
  const std::string& token() const override { return writer_->token(); }
  Result<SyncDescription> Seal(sync::Stamp ended_at, const sync::Work& work) override {
    VELLUM_TRY(writer_->Seal(ended_at, "write", work).error());
    return service_->DescribeSync(sync_id_);
  }

 private:
  LocalSyncService* const service_;
  const std::string sync_id_;
  const std::unique_ptr<sync::SyncWriter> writer_;
  c1z::CheckedSink sink_;
};

}  // namespace

Result<std::vector<c1z::ImportedSync>> LocalSyncService::Import(const std::string& path, const c1z::ImportOptions& options,
                                                                const sync::Work& work) {
  // The decompressed copy lies where nothing sweeps it away, beside what is made of it.
  VELLUM_ASSIGN_OR_RETURN(const auto scratch, store_->MakeScratch());
  c1z::ImportOptions with_scratch = options;
  with_scratch.open.scratch_dir = scratch->path();
  return c1z::ImportFile(store_, path, with_scratch, work);
}

Result<c1z::ExportReport> LocalSyncService::Export(const std::vector<std::string>& sync_ids, const std::string& path,
                                                   const c1z::WriteOptions& options, const sync::Work& work) {
  // Said before anything is read, and in the words of the system rather than of whoever opens the first scratch file.
  const std::string parent = std::filesystem::path(path).parent_path().string();
  if (::access(parent.empty() ? "." : parent.c_str(), W_OK | X_OK) != 0) {
    return FailedPrecondition("cannot write beside " + path + ": " + std::strerror(errno));
  }
  return c1z::ExportFile(*store_, sync_ids, path, options, work);
}

Result<std::unique_ptr<RecordWriter>> LocalSyncService::Write(const WriteRequest& request) {
  std::unique_ptr<sync::SyncWriter> writer;
  if (request.resume) {
    VELLUM_ASSIGN_OR_RETURN(writer, sync::SyncWriter::Resume(store_, request.run.id));
  } else {
    const auto if_exists =
        request.replace ? sync::SyncWriter::IfExists::kReplace : sync::SyncWriter::IfExists::kRefuse;
    VELLUM_ASSIGN_OR_RETURN(writer, sync::SyncWriter::Begin(store_, request.run, request.connector, if_exists));
  }
  return std::unique_ptr<RecordWriter>(std::make_unique<LocalWriter>(this, request.run.id, std::move(writer)));
}

}  // namespace vellum::service
