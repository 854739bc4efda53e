#include "syncs/workload.h"

#include <sys/resource.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <fstream>

namespace vellum::bench {
namespace {

/// "name: value" lines of a file under /proc/self; 0 if it is not there.
std::uint64_t ProcValue(const std::string& file, const std::string& name) {
  std::ifstream lines("/proc/self/" + file);
  for (std::string word; lines >> word;) {
    std::uint64_t value = 0;
    if (word == name && lines >> value) return value;
  }
  return 0;
}

double Now() { return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count(); }

double CpuSeconds() {
  double seconds = 0;
  for (const int who : {RUSAGE_SELF, RUSAGE_CHILDREN}) {
    rusage usage{};
    if (::getrusage(who, &usage) != 0) continue;
    seconds += static_cast<double>(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) +
               static_cast<double>(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) * 1e-6;
  }
  return seconds;
}

}  // namespace

void Measure::Start() {
  began_ = Now();
  cpu_began_ = CpuSeconds();
  written_before_ = ProcValue("io", "write_bytes:");
}

void Measure::Stop() {
  seconds_ += Now() - began_;
  cpu_seconds_ += CpuSeconds() - cpu_began_;
  bytes_written_ += ProcValue("io", "write_bytes:") - written_before_;
}

std::string Measure::ToJson() const {
  const std::uint64_t peak = peak_bytes_ != 0 ? peak_bytes_ : ProcValue("status", "VmHWM:") * 1024;
  char text[256];
  std::snprintf(text, sizeof text, "{\"rows\": %llu, \"seconds\": %.6f, \"cpu\": %.6f, \"peak\": %llu, \"written\": %llu}",
                static_cast<unsigned long long>(rows_), seconds_, cpu_seconds_, static_cast<unsigned long long>(peak),
                static_cast<unsigned long long>(bytes_written_));
  return text;
}

Result<std::unique_ptr<DataDir>> DataDir::Open(const std::string& path, std::size_t cache_bytes) {
  auto opened = std::make_unique<DataDir>();
  kv::EngineOptions engine;
  engine.data_dir = path;
  VELLUM_ASSIGN_OR_RETURN(opened->engine_, kv::Engine::Open(std::move(engine)));
  opened->catalog_ = std::make_unique<sync::KvCatalog>(opened->engine_.get());
  sync::StoreOptions store;
  store.data_dir = path;
  if (cache_bytes != 0) store.cache_bytes = cache_bytes;
  VELLUM_ASSIGN_OR_RETURN(opened->store_, sync::Store::Open(std::move(store), opened->catalog_.get()));
  return opened;
}

DataDir::~DataDir() {
  store_.reset();
  if (engine_) engine_->Stop().IgnoreError("what was acknowledged is durable");
}

Status WriteSync(sync::Store* store, const std::string& id, const Shape& shape, const std::string& type) {
  SyncRun run;
  run.id = id;
  run.type = type;
  run.started_at = shape.discovered_at;
  VELLUM_ASSIGN_OR_RETURN(const auto writer, sync::SyncWriter::Begin(store, std::move(run), "bench"));
  VELLUM_TRY(ForEachRecord(shape, [&writer](const RecordView& record) { return writer->Put(record); }));
  return writer->Seal(shape.discovered_at + 1, "seal").error();
}

Status WriteEmpty(sync::Store* store, const std::string& id) {
  Shape nothing = OrganisationOf(0);
  nothing.resources = false;
  return WriteSync(store, id, nothing, "partial");
}

}  // namespace vellum::bench
