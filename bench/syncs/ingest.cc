#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <filesystem>

#include "client/remote_sync_service.h"
#include "syncs/workload.h"

extern char** environ;

namespace vellum::bench {
namespace {

/// A server of its own on a unix socket, for the time of one step.
class ServerProcess {
 public:
  static Result<std::unique_ptr<ServerProcess>> Start(const Place& place) {
    std::unique_ptr<ServerProcess> server(new ServerProcess());
    server->socket_ = place.Path("s" + std::to_string(place.round));
    const std::string data = "--data-dir=" + place.Path("data-" + std::to_string(place.round));
    const std::string listen = "--listen-client-urls=unix://" + server->socket_;
    const char* const arguments[] = {place.vellum_program.c_str(), "serve", data.c_str(), listen.c_str(),
                                     "--log-level=error", nullptr};
    const int failed = ::posix_spawn(&server->process_, place.vellum_program.c_str(), nullptr, nullptr,
                                     const_cast<char* const*>(arguments), environ);
    if (failed != 0) return Internal("cannot start " + place.vellum_program);
    return server;
  }
  ~ServerProcess() {
    if (process_ <= 0) return;
    ::kill(process_, SIGTERM);
    ::waitpid(process_, nullptr, 0);
  }
  Result<std::unique_ptr<client::RemoteSyncService>> Connect() const {
    return client::RemoteSyncService::Connect({.endpoint = "unix:" + socket_, .dial_timeout = std::chrono::seconds(30)});
  }

 private:
  ServerProcess() = default;
  std::string socket_;
  pid_t process_ = -1;
};

}  // namespace

std::vector<Workload> IngestWorkloads() {
  Workload ingest;
  ingest.name = "ingest-1m";
  ingest.what = "write and seal 1M grants over gRPC";
  ingest.goal = "200k grants/s";
  ingest.vellum = [](const Place& place, Measure* measure) -> Status {
    const Shape shape = OrganisationOf(place.Scaled(1'000'000));
    VELLUM_ASSIGN_OR_RETURN(const auto server, ServerProcess::Start(place));
    VELLUM_ASSIGN_OR_RETURN(const auto service, server->Connect());
    measure->set_rows(shape.records());
    measure->Start();
    service::WriteRequest request;
    request.run.id = "sync";
    request.run.type = "full";
    request.connector = "bench";
    VELLUM_ASSIGN_OR_RETURN(const auto writer, service->Write(request));
    VELLUM_TRY(ForEachRecord(shape, [&writer](const RecordView& record) { return writer->Put(record); }));
    VELLUM_ASSIGN_OR_RETURN(const auto sealed, writer->Seal(shape.discovered_at, {}));
    measure->Stop();
    if (!sealed.generation || sealed.generation->records != shape.records()) return DataLoss("records are missing");
    return {};
  };
  return {ingest};
}

}  // namespace vellum::bench
