#include <fcntl.h>
#include <spawn.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstring>
#include <filesystem>

#include "c1z/envelope.h"
#include "c1z/transfer.h"
#include "syncs/workload.h"

namespace vellum::bench {
namespace {

namespace fs = std::filesystem;

constexpr std::uint64_t kGrants = 1'000'000;

/// Writes one sync into a v1 file, by way of a store that is thrown away.
Status WriteFile(const Place& place, const std::string& path, const std::string& id, const std::vector<Shape>& shapes) {
  const std::string scratch = place.Path("scratch");
  {
    VELLUM_ASSIGN_OR_RETURN(const auto data, DataDir::Open(scratch));
    SyncRun run;
    run.id = id;
    run.type = shapes.front().resources ? "full" : "partial";
    run.started_at = shapes.front().discovered_at;
    VELLUM_ASSIGN_OR_RETURN(const auto writer, sync::SyncWriter::Begin(data->store(), std::move(run), "bench"));
    for (const Shape& shape : shapes) {
      VELLUM_TRY(ForEachRecord(shape, [&writer](const RecordView& record) { return writer->Put(record); }));
    }
    VELLUM_TRY(writer->Seal(shapes.front().discovered_at + 1, "seal").error());
    VELLUM_TRY(c1z::ExportFile(*data->store(), {id}, path, {}, {}).error());
  }
  fs::remove_all(scratch);
  return {};
}

Status ExtractTo(const std::string& file, const std::string& database) {
  std::error_code error;
  fs::remove(database, error);
  return c1z::ExtractDatabase(file, database, {});
}

Workload Import() {
  Workload import;
  import.name = "import-v1-1m";
  import.what = "import a v1 file of 1M grants, sealed and indexed";
  import.goal = "3 s";
  import.prepare = [](const Place& place) {
    return WriteFile(place, place.Path("in.c1z"), "sync", {OrganisationOf(place.Scaled(kGrants))});
  };
  import.vellum = [](const Place& place, Measure* measure) -> Status {
    VELLUM_ASSIGN_OR_RETURN(const auto data, DataDir::Open(place.Path("data-" + std::to_string(place.round))));
    measure->set_rows(OrganisationOf(place.Scaled(kGrants)).records());
    c1z::ImportOptions options;
    options.open.scratch_dir = data->store()->options().data_dir + "/staging";
    measure->Start();
    VELLUM_TRY(c1z::ImportFile(data->store(), place.Path("in.c1z"), options, {}).error());
    measure->Stop();
    return {};
  };
  import.yardstick = [](const Place& place, Measure* measure) -> Status {
    const std::string into = place.Path("into-" + std::to_string(place.round) + ".db");
    measure->set_rows(OrganisationOf(place.Scaled(kGrants)).records());
    measure->Start();
    VELLUM_TRY(ExtractTo(place.Path("in.c1z"), place.Path("extracted.db")));
    VELLUM_ASSIGN_OR_RETURN(Yardstick database, Yardstick::Create(into));
    VELLUM_TRY(database.Replace(place.Path("extracted.db"), "sync"));
    VELLUM_TRY(database.Close());
    measure->Stop();
    return {};
  };
  return import;
}

Workload Export() {
  Workload workload;
  workload.name = "export-v1-1m";
  workload.what = "export 1M grants to v1";
  workload.goal = "3.5 x SQLite";
  workload.prepare = [](const Place& place) -> Status {
    VELLUM_ASSIGN_OR_RETURN(const auto data, DataDir::Open(place.Path("data")));
    return WriteSync(data->store(), "sync", OrganisationOf(place.Scaled(kGrants)));
  };
  workload.vellum = [](const Place& place, Measure* measure) -> Status {
    VELLUM_ASSIGN_OR_RETURN(const auto data, DataDir::Open(place.Path("data")));
    c1z::WriteOptions options;
    options.if_exists = c1z::WriteOptions::IfExists::kReplace;
    measure->set_rows(OrganisationOf(place.Scaled(kGrants)).records());
    measure->Start();
    VELLUM_TRY(c1z::ExportFile(*data->store(), {"sync"}, place.Path("out.c1z"), options, {}).error());
    measure->Stop();
    return {};
  };
  workload.prepare_yardstick = [](const Place& place) -> Status {
    VELLUM_ASSIGN_OR_RETURN(Yardstick source, Yardstick::Create(place.Path("source.db"), Yardstick::Indexes::kLater));
    VELLUM_TRY(source.Write("sync", OrganisationOf(place.Scaled(kGrants))));
    return source.Close();
  };
  workload.yardstick = [](const Place& place, Measure* measure) -> Status {
    const std::string into = place.Path("into-" + std::to_string(place.round) + ".db");
    measure->set_rows(OrganisationOf(place.Scaled(kGrants)).records());
    measure->Start();
    VELLUM_ASSIGN_OR_RETURN(Yardstick database, Yardstick::Create(into));
    VELLUM_TRY(database.Replace(place.Path("source.db"), "sync"));
    VELLUM_TRY(database.Close());
    VELLUM_TRY(c1z::WrapDatabase(into, place.Path("yardstick.c1z"), 2));
    measure->Stop();
    return {};
  };
  return workload;
}

constexpr std::uint32_t kPartials = 50;
/// As long as the ids that connectors draw: files are edited in place only if the output's id fits where the base's was.
constexpr char kBaseId[] = "2base0000000000000000000000";
static_assert(sizeof(kBaseId) == 27 + 1);

std::string PartialPath(const Place& place, std::uint32_t i) { return place.Path("p" + std::to_string(i) + ".c1z"); }

Workload FoldFiles() {
  Workload fold;
  fold.name = "fold-files";
  fold.what = "fold 50 x 1,000 into 1M, from and to v1 files";
  fold.goal = "4 s";
  fold.prepare = [](const Place& place) -> Status {
    VELLUM_TRY(WriteFile(place, place.Path("base.c1z"), kBaseId, {OrganisationOf(place.Scaled(kGrants))}));
    for (std::uint32_t i = 0; i < kPartials; ++i) {
      const std::vector<Shape> shapes = PartialShapes(place.Scaled(kGrants), i);
      VELLUM_TRY(WriteFile(place, PartialPath(place, i), "partial-" + std::to_string(i), shapes));
    }
    return {};
  };
  fold.vellum = [](const Place& place, Measure* measure) -> Status {
    std::vector<std::string> words = {place.vellum_program, "c1z", "merge", "--force", "-o", place.Path("merged.c1z"),
                                      place.Path("base.c1z")};
    for (std::uint32_t i = 0; i < kPartials; ++i) words.push_back(PartialPath(place, i));
    measure->set_rows(kPartials * 1'000);
    return RunCommand(words, measure);
  };
  fold.yardstick = [](const Place& place, Measure* measure) -> Status {
    const std::string base = place.Path("fold-" + std::to_string(place.round) + ".db");
    measure->set_rows(kPartials * 1'000);
    measure->Start();
    VELLUM_TRY(ExtractTo(place.Path("base.c1z"), base));
    VELLUM_ASSIGN_OR_RETURN(Yardstick into, Yardstick::Open(base));
    for (std::uint32_t i = kPartials; i-- > 0;) {
      VELLUM_TRY(ExtractTo(PartialPath(place, i), place.Path("partial.db")));
      VELLUM_TRY(into.Unite(place.Path("partial.db"), "partial-" + std::to_string(i), kBaseId));
    }
    VELLUM_TRY(into.Close());
    VELLUM_TRY(c1z::WrapDatabase(base, place.Path("yardstick.c1z"), 2));
    measure->Stop();
    return {};
  };
  return fold;
}

Workload Grants() {
  Workload grants;
  grants.name = "c1z-grants";
  grants.what = "c1z grants of 300k grants as jsonl, from the file";
  grants.goal = "1.5 s, 128 MB";
  grants.prepare = [](const Place& place) {
    return WriteFile(place, place.Path("in.c1z"), "sync", {OrganisationOf(place.Scaled(300'000))});
  };
  grants.vellum = [](const Place& place, Measure* measure) {
    measure->set_rows(place.Scaled(300'000));
    return RunCommand({place.vellum_program, "c1z", "grants", place.Path("in.c1z"), "-o", "jsonl"}, measure);
  };
  grants.yardstick = [](const Place& place, Measure* measure) -> Status {
    measure->set_rows(place.Scaled(300'000));
    measure->Start();
    VELLUM_TRY(ExtractTo(place.Path("in.c1z"), place.Path("extracted.db")));
    VELLUM_ASSIGN_OR_RETURN(Yardstick database, Yardstick::Open(place.Path("extracted.db")));
    VELLUM_TRY(database.Walk("SELECT external_id, data FROM v1_grants WHERE sync_id = 'sync' ORDER BY id").error());
    measure->Stop();
    return {};
  };
  return grants;
}

}  // namespace

Status RunCommand(const std::vector<std::string>& words, Measure* measure) {
  std::vector<char*> arguments;
  for (const std::string& word : words) arguments.push_back(const_cast<char*>(word.c_str()));
  arguments.push_back(nullptr);
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_addopen(&actions, STDOUT_FILENO, "/dev/null", O_WRONLY, 0);
  pid_t pid = 0;
  measure->Start();
  const int failed = ::posix_spawn(&pid, words.front().c_str(), &actions, nullptr, arguments.data(), environ);
  posix_spawn_file_actions_destroy(&actions);
  if (failed != 0) return Internal("cannot run " + words.front() + ": " + std::strerror(failed));
  int status = 0;
  rusage usage{};
  if (::wait4(pid, &status, 0, &usage) != pid) return Internal("cannot wait for " + words.front());
  measure->Stop();
  measure->set_peak_bytes(static_cast<std::uint64_t>(usage.ru_maxrss) * 1024);
  return WIFEXITED(status) && WEXITSTATUS(status) == 0 ? Status() : Internal(words.at(1) + " " + words.at(2) + " failed");
}

std::vector<Workload> FileWorkloads() { return {Import(), Export(), FoldFiles(), Grants()}; }

}  // namespace vellum::bench
