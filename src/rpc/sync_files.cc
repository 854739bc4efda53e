#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <filesystem>

#include "base/bytes.h"
#include "c1z/message_check.h"
#include "rpc/sync_methods.h"
#include "service/stores.h"

namespace vellum::rpc {
namespace {

namespace fs = std::filesystem;

constexpr std::size_t kChunkBytes = 256u << 10;
constexpr std::size_t kFileNameBytesMax = 255;

/// What the file is called at its owner's, without its folders: imports name connectors after it.
Result<std::string> FileName(const std::string& name) {
  std::string file = name.substr(name.rfind('/') + 1);
  if (file.empty() || file == "." || file == ".." || file.size() > kFileNameBytesMax ||
      file.find('\0') != std::string::npos) {
    return InvalidArgument("not a file's name: " + Printable(name));
  }
  return file;
}

Status WriteAll(int fd, std::string_view bytes) {
  while (!bytes.empty()) {
    const ssize_t written = ::write(fd, bytes.data(), bytes.size());
    if (written < 0 && errno == EINTR) continue;
    if (written < 0) {
      const std::string what = std::string("cannot keep the file that is coming in: ") + std::strerror(errno);
      return errno == ENOSPC || errno == EDQUOT ? ResourceExhausted(what) : Internal(what);
    }
    bytes.remove_prefix(static_cast<std::size_t>(written));
  }
  return {};
}

/// Closes a descriptor at the end of a scope.
struct Descriptor {
  explicit Descriptor(int opened) : fd(opened) {}
  ~Descriptor() {
    if (fd >= 0) ::close(fd);
  }
  Descriptor(const Descriptor&) = delete;
  Descriptor& operator=(const Descriptor&) = delete;
  const int fd;
};

Status SendFile(SyncCall* call, const std::string& path) {
  const Descriptor file(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (file.fd < 0) return Internal(std::string("cannot read the exported file: ") + std::strerror(errno));
  v1::ExportResponse response;
  std::string chunk;
  for (;;) {
    chunk.resize(kChunkBytes);
    const ssize_t read = ::read(file.fd, chunk.data(), chunk.size());
    if (read < 0 && errno == EINTR) continue;
    if (read < 0) return Internal(std::string("cannot read the exported file: ") + std::strerror(errno));
    if (read == 0) return {};
    chunk.resize(static_cast<std::size_t>(read));
    response.mutable_chunk()->swap(chunk);
    VELLUM_TRY(call->Write(response));
  }
}

}  // namespace

// ---- files on their way in -------------------------------------------------------------------------------------------

Spool::Spool(SyncEnvironment* environment, std::unique_ptr<sync::Store::Scratch> scratch, std::string name,
             std::string path)
    : environment_(environment), scratch_(std::move(scratch)), name_(std::move(name)), path_(std::move(path)) {}

Result<std::unique_ptr<Spool>> Spool::Open(const SyncMethodContext& context, std::string name) {
  VELLUM_ASSIGN_OR_RETURN(const std::string file, FileName(name));
  VELLUM_ASSIGN_OR_RETURN(auto scratch, context.service->store()->MakeScratch());
  const std::string folder = scratch->path() + "/upload";
  std::error_code error;
  fs::create_directory(folder, error);
  if (error) return Internal("cannot make a directory for the file that is coming in: " + error.message());
  std::unique_ptr<Spool> spool(
      new Spool(context.environment, std::move(scratch), std::move(name), folder + "/" + file));
  spool->fd_ = ::open(spool->path_.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
  if (spool->fd_ < 0) return Internal(std::string("cannot keep the file that is coming in: ") + std::strerror(errno));
  return spool;
}

Spool::~Spool() {
  if (fd_ >= 0) ::close(fd_);
  environment_->spooled.fetch_sub(bytes_);
  environment_->spool_bytes.Decrement(static_cast<double>(bytes_));
}

Status Spool::Append(std::string_view chunk) {
  bytes_ += chunk.size();
  environment_->spool_bytes.Increment(static_cast<double>(chunk.size()));
  const std::uint64_t all = environment_->spooled.fetch_add(chunk.size()) + chunk.size();
  if (all > environment_->limits.spool_bytes_max) {
    return ResourceExhausted("files on their way in have " + std::to_string(all) + " bytes, which is above the limit of " +
                             std::to_string(environment_->limits.spool_bytes_max) + " (--max-sync-spool-bytes)");
  }
  return WriteAll(fd_, chunk);
}

Status Spool::Close() {
  const int closed = ::close(std::exchange(fd_, -1));
  return closed == 0 ? Status() : Internal(std::string("cannot keep the file that is coming in: ") + std::strerror(errno));
}

std::string Spool::Translate(std::string text) const {
  for (std::size_t at = text.find(path_); at != std::string::npos; at = text.find(path_, at + name_.size())) {
    text.replace(at, path_.size(), name_);
  }
  return text;
}

Status Spool::Translate(const Status& status) const {
  if (status.ok()) return {};
  Status translated(status.code(), Translate(status.message()), status.reason());
  return status.maybe_applied() ? std::move(translated).WithMaybeApplied() : translated;
}

Status ServeImport(const SyncMethodContext& context) {
  v1::ImportRequest request;
  VELLUM_TRY(context.call->ReadOnly(&request));
  if (!request.has_start()) return InvalidArgument("the first message of the stream is not its start");
  VELLUM_ASSIGN_OR_RETURN(const c1z::ImportOptions options, TakeFileOptions(request.start().options()));
  VELLUM_ASSIGN_OR_RETURN(const auto spool, Spool::Open(context, request.start().name()));
  for (;;) {
    VELLUM_ASSIGN_OR_RETURN(const bool came, context.call->Read(&request));
    if (!came) break;
    if (!request.has_chunk()) return InvalidArgument("what follows the start must be the file's bytes");
    VELLUM_TRY(spool->Append(request.chunk()));
  }
  VELLUM_TRY(spool->Close());
  const auto imported =
      context.service->Import(spool->path(), options, context.call->FollowAs<v1::ImportResponse>());
  if (!imported.ok()) return spool->Translate(imported.error());
  for (const c1z::ImportedSync& sync : *imported) {
    v1::ImportResponse response;
    FillImported(sync, response.mutable_imported());
    for (std::string& warning : *response.mutable_imported()->mutable_warnings()) warning = spool->Translate(warning);
    VELLUM_TRY(context.call->Write(response));
  }
  return {};
}

Status ServeExport(const SyncMethodContext& context) {
  v1::ExportRequest request;
  VELLUM_TRY(context.call->ReadOnly(&request));
  c1z::WriteOptions options;
  if (!request.zone().empty()) {
    VELLUM_ASSIGN_OR_RETURN(options.zone, c1z::Zone::Parse(request.zone()));
  }
  VELLUM_ASSIGN_OR_RETURN(const auto scratch, context.service->store()->MakeScratch());
  const std::string path = scratch->path() + "/export.c1z";
  VELLUM_ASSIGN_OR_RETURN(
      const auto report,
      context.service->Export({request.sync_ids().begin(), request.sync_ids().end()}, path, options,
                              context.call->FollowAs<v1::ExportResponse>()));
  VELLUM_TRY(SendFile(context.call, path));
  v1::ExportResponse response;
  response.mutable_report()->set_records(report.records);
  response.mutable_report()->set_bytes(report.bytes);
  return context.call->Write(response);
}

// ---- compaction: a file or another store's records -------------------------------------------------------------------

namespace {

Status CompactFile(const SyncMethodContext& context, const v1::CompactRequest::Start& start,
                   service::CompactRequest request, service::CompactReport* report) {
  VELLUM_ASSIGN_OR_RETURN(request.file_options, TakeFileOptions(start.file()));
  VELLUM_ASSIGN_OR_RETURN(const auto spool, Spool::Open(context, request.from));
  v1::CompactRequest message;
  for (;;) {
    VELLUM_ASSIGN_OR_RETURN(const bool came, context.call->Read(&message));
    if (!came) break;
    if (!message.has_chunk()) return InvalidArgument("what follows the start of a file must be its bytes");
    VELLUM_TRY(spool->Append(message.chunk()));
  }
  VELLUM_TRY(spool->Close());
  request.from = spool->path();
  auto done = context.service->Compact(request, context.call->FollowAs<v1::CompactResponse>());
  if (!done.ok()) return spool->Translate(done.error());
  *report = *done;
  return {};
}

/// Puts what the client streams into `store` as the sync that its own store has. An unfinished one stays unfinished.
Status TakeSync(const SyncMethodContext& context, const v1::CompactRequest::Start& start, sync::Store* store) {
  RecordTaker taker(context.service->store()->options().record_bytes_max);
  std::unique_ptr<sync::SyncWriter> writer;
  if (start.has_run()) {
    const sync::SyncRun run = TakeRun(start.run());
    if (run.id != start.sync_id()) return InvalidArgument("the records are of another sync than the one to be replaced");
    VELLUM_ASSIGN_OR_RETURN(writer, sync::SyncWriter::Begin(store, run, start.connector()));
  }
  c1z::CheckedSink sink(writer.get());
  v1::CompactRequest message;
  for (;;) {
    VELLUM_ASSIGN_OR_RETURN(const bool came, context.call->Read(&message));
    if (!came) break;
    if (!writer || (!message.has_records() && !message.has_part())) {
      return InvalidArgument("what follows the start of a sync must be its records");
    }
    if (message.has_part()) {
      VELLUM_TRY(taker.TakePart(message.part()));
      continue;
    }
    const std::uint64_t before = taker.records();
    VELLUM_TRY(taker.TakeBatch(message.records(), &sink));
    context.environment->records_received.Increment(static_cast<double>(taker.records() - before));
  }
  VELLUM_TRY(taker.CheckNothingWaits("the end"));
  return writer ? writer->Seal(start.run().ended_at(), "write", context.call->Follow()).error() : Status();
}

Status CompactRecords(const SyncMethodContext& context, const v1::CompactRequest::Start& start,
                      const service::CompactRequest& request, service::CompactReport* report) {
  VELLUM_ASSIGN_OR_RETURN(const auto scratch, context.service->store()->MakeScratch());
  VELLUM_ASSIGN_OR_RETURN(const auto source, service::ScratchStore::OpenIn(scratch->path()));
  VELLUM_TRY(TakeSync(context, start, source->store()));
  VELLUM_ASSIGN_OR_RETURN(*report, context.service->CompactFrom(source->store(), request,
                                                                context.call->FollowAs<v1::CompactResponse>()));
  return {};
}

}  // namespace

Status ServeCompact(const SyncMethodContext& context) {
  v1::CompactRequest first;
  VELLUM_TRY(context.call->ReadOnly(&first));
  if (!first.has_start()) return InvalidArgument("the first message of the stream is not its start");
  const v1::CompactRequest::Start& start = first.start();
  if (start.has_file() && start.has_run()) return InvalidArgument("the source is either a file or a sync, not both");
  service::CompactRequest request;
  request.sync_id = start.sync_id();
  request.from = start.from();
  request.allow_empty = start.allow_empty();
  service::CompactReport report;
  VELLUM_TRY(start.has_file() ? CompactFile(context, start, request, &report)
                              : CompactRecords(context, start, request, &report));
  v1::CompactResponse response;
  response.mutable_report()->set_emptied(report.emptied);
  response.mutable_report()->set_records(report.records);
  response.mutable_report()->set_files_linked(report.files_linked);
  response.mutable_report()->set_bytes_copied(report.bytes_copied);
  return context.call->Write(response);
}

}  // namespace vellum::rpc
