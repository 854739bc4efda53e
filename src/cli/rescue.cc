#include "cli/rescue.h"

#include <array>
#include <chrono>
#include <cinttypes>
#include <ctime>
#include <filesystem>
#include <memory>
#include <system_error>
#include <utility>
#include <vector>

#include "kv/engine.h"
#include "vellum/clock.h"

namespace vellum::cli {
namespace {

namespace fs = std::filesystem;

struct LogFiles {
  std::vector<fs::path> paths;
  std::uintmax_t bytes = 0;
};

LogFiles FindLogs(const fs::path& data_dir) {
  LogFiles found;
  std::error_code error;
  for (const fs::directory_entry& entry : fs::directory_iterator(data_dir / "kv", error)) {
    if (entry.path().extension() != ".log") continue;
    std::error_code unreadable;
    const std::uintmax_t size = entry.file_size(unreadable);
    if (unreadable) continue;
    found.paths.push_back(entry.path());
    found.bytes += size;
  }
  return found;
}

Result<fs::path> CopyAside(const fs::path& data_dir, const LogFiles& logs) {
  const auto now = std::chrono::floor<std::chrono::seconds>(SystemClock()->WallNow());
  const std::time_t seconds = now.time_since_epoch().count();
  std::tm parts{};
  gmtime_r(&seconds, &parts);
  std::array<char, 32> stamp{};
  static_cast<void>(std::strftime(stamp.data(), stamp.size(), "%Y%m%dT%H%M%SZ", &parts));
  const fs::path directory = data_dir / (std::string("damaged-log-") + stamp.data());
  std::error_code error;
  fs::create_directory(directory, error);
  for (const fs::path& path : logs.paths) {
    if (!error) fs::copy_file(path, directory / path.filename(), error);
  }
  if (error) return FailedPrecondition("cannot copy the log to " + directory.string() + ": " + error.message());
  return directory;
}

Result<std::unique_ptr<kv::Engine>> Open(const RescueOptions& options, bool accept_loss) {
  kv::EngineOptions engine;
  engine.data_dir = options.data_dir;
  engine.create_if_missing = false;
  engine.accept_wal_loss = accept_loss;
  return kv::Engine::Open(std::move(engine));
}

// Prints what the open store holds and closes it. The exit code.
int Report(kv::Engine* engine, std::FILE* out) {
  const kv::Engine::Info info = engine->GetInfo();
  std::fprintf(out, "revision %" PRId64 ", %" PRId64 " keys, compacted up to %" PRId64 "\n", info.revision, info.keys,
               info.compacted);
  const Status stopped = engine->Stop();
  if (stopped.ok()) return 0;
  std::fprintf(out, "but it could not be closed: %s\n", stopped.message().c_str());
  return 2;
}

}  // namespace

int Rescue(const RescueOptions& options, std::FILE* out) {
  Result<std::unique_ptr<kv::Engine>> healthy = Open(options, /*accept_loss=*/false);
  if (healthy.ok()) {
    std::fprintf(out, "nothing to rescue: %s opens: ", options.data_dir.c_str());
    return Report(healthy->get(), out);
  }
  std::fprintf(out, "%s does not open: %s\n", options.data_dir.c_str(), healthy.error().message().c_str());
  if (healthy.error().code() != Code::kDataLoss) return 2;

  const LogFiles logs = FindLogs(options.data_dir);
  std::fprintf(out, "its write-ahead log: %zu files, %ju bytes\n", logs.paths.size(), logs.bytes);
  if (!options.accept_loss) {
    std::fprintf(
        out,
        "A backup loses less than a rescue. If there is none, --accept-loss opens the store and gives up every\n"
        "write that stands in the log behind the damage, acknowledged ones too. Revisions of those writes will\n"
        "be given out again, so clients that watch or cache must be restarted.\n");
    return 1;
  }
  const Result<fs::path> copy = CopyAside(options.data_dir, logs);
  if (!copy.ok()) {
    std::fprintf(out, "%s\n", copy.error().message().c_str());
    return 2;
  }
  std::fprintf(out, "the log as it was is kept in %s\n", copy->c_str());
  Result<std::unique_ptr<kv::Engine>> rescued = Open(options, /*accept_loss=*/true);
  if (!rescued.ok()) {
    std::fprintf(out, "cannot be rescued: %s\n", rescued.error().message().c_str());
    return 2;
  }
  std::fprintf(out, "rescued; whatever was written behind this is lost: ");
  return Report(rescued->get(), out);
}

}  // namespace vellum::cli
