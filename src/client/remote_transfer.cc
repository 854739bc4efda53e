#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <filesystem>

#include "base/bytes.h"
#include "client/remote_call.h"
#include "client/remote_files.h"
#include "service/stores.h"
#include "storage/files.h"
#include "sync/codec.h"

namespace vellum::client {
namespace {

namespace fs = std::filesystem;
namespace v1 = rpc::v1;

/// The file that an export becomes: written beside its place, there whole or not at all.
class Download {
 public:
  static Result<std::unique_ptr<Download>> Open(const std::string& path, c1z::WriteOptions::IfExists if_exists) {
    VELLUM_TRY(c1z::CheckTarget(path, if_exists));
    std::unique_ptr<Download> download(new Download(path, if_exists));
    download->fd_ = ::open(download->temporary_.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
    if (download->fd_ < 0) return FailedPrecondition("cannot write beside " + path + ": " + std::strerror(errno));
    return download;
  }
  ~Download() {
    if (fd_ >= 0) ::close(fd_);
    if (!done_) ::unlink(temporary_.c_str());
  }

  Status Append(std::string_view bytes) {
    bytes_ += bytes.size();
    while (!bytes.empty()) {
      const ssize_t written = ::write(fd_, bytes.data(), bytes.size());
      if (written < 0 && errno == EINTR) continue;
      if (written < 0) return Failed();
      bytes.remove_prefix(static_cast<std::size_t>(written));
    }
    return {};
  }

  Status Finish() {
    if (::fsync(fd_) != 0 || ::close(std::exchange(fd_, -1)) != 0) return Failed();
    const unsigned flags = if_exists_ == c1z::WriteOptions::IfExists::kRefuse ? RENAME_NOREPLACE : 0;
    if (::renameat2(AT_FDCWD, temporary_.c_str(), AT_FDCWD, path_.c_str(), flags) != 0) {
      return errno == EEXIST ? FailedPrecondition(path_ + " exists already") : Failed();
    }
    done_ = true;
    const std::string parent = fs::path(path_).parent_path().string();
    return storage::SyncDirectory(nullptr, parent.empty() ? "." : parent);
  }
  std::uint64_t bytes() const { return bytes_; }

 private:
  Download(std::string path, c1z::WriteOptions::IfExists if_exists)
      : path_(std::move(path)), temporary_(path_ + "." + std::to_string(::getpid()) + ".tmp"), if_exists_(if_exists) {}
  Status Failed() const {
    const std::string text = "cannot write " + path_ + ": " + std::strerror(errno);
    return errno == ENOSPC || errno == EDQUOT ? ResourceExhausted(text) : Internal(text);
  }

  const std::string path_;
  const std::string temporary_;
  const c1z::WriteOptions::IfExists if_exists_;
  int fd_ = -1;
  std::uint64_t bytes_ = 0;
  bool done_ = false;
};

// ---- writing record by record ----------------------------------------------------------------------------------------

class RemoteWriter final : public service::RecordWriter {
 public:
  using Stream = grpc::ClientReaderWriter<v1::WriteRequest, v1::WriteResponse>;

  RemoteWriter(v1::Syncs::Stub* stub, std::string endpoint)
      : endpoint_(std::move(endpoint)), stream_(stub->Write(&context_)),
        batcher_([this](v1::RecordBatch* batch) { return SendBatch(batch); },
                 [this](std::string_view part) { return SendPart(part); }) {}
  ~RemoteWriter() override {
    if (finished_) return;
    context_.TryCancel();
    static_cast<void>(Finish(CallKind::kChange).ok());
  }

  Status Start(const service::WriteRequest& request) {
    v1::WriteRequest message;
    rpc::FillRun(request.run, message.mutable_start()->mutable_run());
    message.mutable_start()->set_connector(request.connector);
    message.mutable_start()->set_replace(request.replace);
    message.mutable_start()->set_resume(request.resume);
    VELLUM_TRY(Send(message));
    v1::WriteResponse response;
    VELLUM_TRY(Await(&response, v1::WriteResponse::kOpened, {}));
    token_ = response.opened().token();
    return {};
  }

  Status Put(const sync::RecordView& record) override {
    VELLUM_TRY(sync::CheckRecord(record));
    return batcher_.Add(record);
  }
  Status Checkpoint(std::string_view token) override {
    VELLUM_TRY(batcher_.Flush());
    v1::WriteRequest message;
    message.mutable_checkpoint()->set_token(std::string(token));
    VELLUM_TRY(Send(message));
    v1::WriteResponse response;
    VELLUM_TRY(Await(&response, v1::WriteResponse::kCheckpointed, {}));
    token_ = token;
    return {};
  }
  const std::string& token() const override { return token_; }

  Result<service::SyncDescription> Seal(sync::Stamp ended_at, const sync::Work& work) override {
    VELLUM_TRY(batcher_.Flush());
    const CancelWatch cancel(work, &context_);
    v1::WriteRequest message;
    message.mutable_seal()->set_ended_at(ended_at);
    VELLUM_TRY(Send(message));
    stream_->WritesDone();
    v1::WriteResponse response;
    VELLUM_TRY(Await(&response, v1::WriteResponse::kSealed, work));
    VELLUM_TRY(Finish(CallKind::kChange));
    return rpc::TakeDescription(response.sealed());
  }

 private:
  /// Ends the call, whatever still comes: its status.
  Status Finish(CallKind kind) {
    if (finished_) return end_;
    finished_ = true;
    v1::WriteResponse rest;
    while (stream_->Read(&rest)) {
    }
    end_ = FromGrpc(stream_->Finish(), endpoint_, kind);
    return end_;
  }
  /// Why the stream takes or gives no more.
  Status Why(CallKind kind) {
    const Status end = Finish(kind);
    return end.ok() ? AnswerMissing(endpoint_) : end;
  }
  Status Send(const v1::WriteRequest& message) {
    if (finished_) return end_.ok() ? FailedPrecondition("the sync is sealed: nothing can follow") : end_;
    return stream_->Write(message) ? Status() : Why(CallKind::kRead);
  }
  Status SendBatch(v1::RecordBatch* batch) {
    v1::WriteRequest message;
    message.mutable_records()->Swap(batch);
    const Status sent = Send(message);
    message.mutable_records()->Swap(batch);  // its memory is used again
    return sent;
  }
  Status SendPart(std::string_view part) {
    v1::WriteRequest message;
    message.set_part(std::string(part));
    return Send(message);
  }
  Status Await(v1::WriteResponse* response, v1::WriteResponse::MessageCase wanted, const sync::Work& work) {
    while (stream_->Read(response)) {
      if (response->message_case() == wanted) return {};
      if (response->has_progress() && work.progress) work.progress(response->progress().records());
    }
    return Why(wanted == v1::WriteResponse::kSealed ? CallKind::kChange : CallKind::kRead);
  }

  const std::string endpoint_;
  grpc::ClientContext context_;
  const std::unique_ptr<Stream> stream_;
  rpc::RecordBatcher batcher_;
  std::string token_;
  bool finished_ = false;
  Status end_;
};

// ---- compaction ------------------------------------------------------------------------------------------------------

using CompactStream = grpc::ClientReaderWriter<v1::CompactRequest, v1::CompactResponse>;

/// Sends a sync of a data directory of ours: its run, then its records. Stops early where the server wants no more.
Status SendSync(sync::Store* source, v1::CompactRequest* start, CompactStream* stream, const sync::Work& work) {
  const std::string& sync_id = start->start().sync_id();
  VELLUM_ASSIGN_OR_RETURN(const auto entry, source->Find(sync_id));
  if (entry && !entry->staging.empty()) {
    return FailedPrecondition("sync " + Printable(sync_id) + " is being written in the source");
  }
  if (entry) {
    rpc::FillRun(entry->run, start->mutable_start()->mutable_run());
    start->mutable_start()->set_connector(entry->connector);
  }
  if (!stream->Write(*start) || !entry || entry->state == sync::SyncState::kOpen) return {};
  VELLUM_ASSIGN_OR_RETURN(const auto generation, source->OpenSync(sync_id));
  bool wanted = true;
  rpc::RecordBatcher batcher(
      [&](v1::RecordBatch* batch) -> Status {
        v1::CompactRequest message;
        message.mutable_records()->Swap(batch);
        wanted = wanted && stream->Write(message);
        message.mutable_records()->Swap(batch);
        return {};
      },
      [&](std::string_view part) -> Status {
        v1::CompactRequest message;
        message.set_part(std::string(part));
        wanted = wanted && stream->Write(message);
        return {};
      });
  std::uint64_t done = 0;
  for (int type = 0; type < sync::kRecordTypes && wanted; ++type) {
    const auto cursor = generation->Scan(sync::RecordBucket(static_cast<sync::RecordType>(type)));
    for (; cursor->valid() && wanted; cursor->Next()) {
      VELLUM_ASSIGN_OR_RETURN(const auto stored, sync::StoredRecord::Parse(cursor->key(), cursor->value()));
      VELLUM_TRY(batcher.Add(stored.view()));
      if (++done % 4096 == 0 && work.progress) work.progress(done);
    }
    VELLUM_TRY(cursor->status());
  }
  return batcher.Flush();
}

Status SendSource(const service::CompactRequest& request, CompactStream* stream, const sync::Work& work) {
  v1::CompactRequest start;
  start.mutable_start()->set_sync_id(request.sync_id);
  start.mutable_start()->set_from(request.from);
  start.mutable_start()->set_allow_empty(request.allow_empty);
  if (fs::is_directory(request.from)) {
    VELLUM_ASSIGN_OR_RETURN(const auto directory,
                            service::DataDirectory::Open(request.from, service::DataDirectory::IfMissing::kFail));
    return SendSync(directory->store(), &start, stream, work);
  }
  VELLUM_ASSIGN_OR_RETURN(const OpenedFile file, OpenedFile::Open(request.from));
  rpc::FillFileOptions(request.file_options, start.mutable_start()->mutable_file());
  return stream->Write(start) ? file.Send(stream, &v1::CompactRequest::mutable_chunk) : Status();
}

}  // namespace

Result<std::vector<c1z::ImportedSync>> RemoteSyncService::Import(const std::string& path,
                                                                 const c1z::ImportOptions& options,
                                                                 const sync::Work& work) {
  VELLUM_ASSIGN_OR_RETURN(const OpenedFile file, OpenedFile::Open(path));
  grpc::ClientContext context;
  const CancelWatch cancel(work, &context);
  const auto stream = impl_->stub->Import(&context);
  v1::ImportRequest start;
  start.mutable_start()->set_name(path);
  rpc::FillFileOptions(options, start.mutable_start()->mutable_options());
  const Status sent = stream->Write(start) ? file.Send(stream.get(), &v1::ImportRequest::mutable_chunk) : Status();
  if (!sent.ok()) context.TryCancel();
  stream->WritesDone();
  std::vector<c1z::ImportedSync> imported;
  v1::ImportResponse response;
  ReadAnswers(stream.get(), &response, work, [&imported](const v1::ImportResponse* answer) {
    imported.push_back(rpc::TakeImported(answer->imported()));
  });
  const grpc::Status ended = stream->Finish();
  VELLUM_TRY(sent);
  VELLUM_TRY(FromGrpc(ended, impl_->endpoint, CallKind::kChange));
  return imported;
}

Result<c1z::ExportReport> RemoteSyncService::Export(const std::vector<std::string>& sync_ids, const std::string& path,
                                                    const c1z::WriteOptions& options, const sync::Work& work) {
  VELLUM_ASSIGN_OR_RETURN(const auto file, Download::Open(path, options.if_exists));
  grpc::ClientContext context;
  const CancelWatch cancel(work, &context);
  v1::ExportRequest request;
  for (const std::string& id : sync_ids) request.add_sync_ids(id);
  request.set_zone(options.zone.name());
  const auto stream = impl_->stub->Export(&context, request);
  std::optional<c1z::ExportReport> report;
  Status kept;
  v1::ExportResponse response;
  ReadAnswers(stream.get(), &response, work, [&](const v1::ExportResponse* answer) {
    if (answer->has_report()) report = c1z::ExportReport{answer->report().records(), answer->report().bytes()};
    if (!answer->has_chunk() || !kept.ok()) return;
    kept = file->Append(answer->chunk());
    if (!kept.ok()) context.TryCancel();
  });
  const grpc::Status ended = stream->Finish();
  VELLUM_TRY(kept);
  VELLUM_TRY(FromGrpc(ended, impl_->endpoint, CallKind::kRead));
  if (!report) return AnswerMissing(impl_->endpoint);
  if (report->bytes != file->bytes()) {
    return DataLoss(impl_->endpoint + " sent " + std::to_string(file->bytes()) + " bytes of a file of " +
                    std::to_string(report->bytes));
  }
  VELLUM_TRY(file->Finish());
  return *report;
}

Result<std::unique_ptr<service::RecordWriter>> RemoteSyncService::Write(const service::WriteRequest& request) {
  auto writer = std::make_unique<RemoteWriter>(impl_->stub.get(), impl_->endpoint);
  VELLUM_TRY(writer->Start(request));
  return std::unique_ptr<service::RecordWriter>(std::move(writer));
}

Result<service::CompactReport> RemoteSyncService::Compact(const service::CompactRequest& request,
                                                          const sync::Work& work) {
  grpc::ClientContext context;
  const CancelWatch cancel(work, &context);
  const auto stream = impl_->stub->Compact(&context);
  const Status sent = SendSource(request, stream.get(), work);
  if (!sent.ok()) context.TryCancel();  // before the end of the stream, so that nothing is changed
  stream->WritesDone();
  std::optional<service::CompactReport> report;
  v1::CompactResponse response;
  ReadAnswers(stream.get(), &response, work, [&report](const v1::CompactResponse* answer) {
    report = service::CompactReport{answer->report().emptied(), answer->report().records(),
                                    answer->report().files_linked(), answer->report().bytes_copied()};
  });
  const grpc::Status ended = stream->Finish();
  VELLUM_TRY(sent);
  VELLUM_TRY(FromGrpc(ended, impl_->endpoint, CallKind::kChange));
  if (!report) return AnswerMissing(impl_->endpoint);
  return *report;
}

}  // namespace vellum::client
