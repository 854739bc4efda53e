#include "storage/log_check.h"

#include <algorithm>
#include <charconv>
#include <memory>
#include <optional>
#include <utility>
#include <vector>

#include "storage/engine_status.h"
#include "storage/log_scan.h"

namespace vellum::storage {
namespace {

constexpr std::uint64_t kReadBytes = 32 * kLogBlockBytes;

/// The number of "000123.log".
std::optional<std::uint64_t> LogNumber(const std::string& name) {
  if (!name.ends_with(".log")) return std::nullopt;
  const char* const end = name.data() + name.size() - 4;
  std::uint64_t number = 0;
  const auto parsed = std::from_chars(name.data(), end, number);
  return parsed.ec == std::errc() && parsed.ptr == end ? std::optional(number) : std::nullopt;
}

/// Holds RocksDB's lock on the directory for a scope.
class DirectoryLock {
 public:
  explicit DirectoryLock(rocksdb::FileSystem* files) : files_(files) {}
  ~DirectoryLock() {
    if (lock_ != nullptr) files_->UnlockFile(lock_, {}, nullptr).PermitUncheckedError();
  }
  DirectoryLock(const DirectoryLock&) = delete;
  DirectoryLock& operator=(const DirectoryLock&) = delete;
  Status Take(const std::string& path) { return FromEngine(files_->LockFile(path + "/LOCK", {}, &lock_, nullptr)); }

 private:
  rocksdb::FileSystem* const files_;
  rocksdb::FileLock* lock_ = nullptr;
};

struct LogFile {
  std::uint64_t number = 0;
  std::string path;
  std::uint64_t bytes = 0;
};

class Checker {
 public:
  Checker(rocksdb::FileSystem* files, const std::string& path, const LogCheckOptions& options)
      : files_(files), path_(path), options_(options) {}

  Status Run() {
    DirectoryLock lock(files_);
    VELLUM_TRY(lock.Take(path_));
    VELLUM_ASSIGN_OR_RETURN(const std::vector<LogFile> logs, List());
    if (manifest_.empty()) return {};
    VELLUM_TRY(CheckManifest());
    for (std::size_t index = 0; index < logs.size(); ++index) {
      // A log without bytes says nothing: the one before it is the last that was written to.
      const bool last = std::all_of(logs.begin() + static_cast<std::ptrdiff_t>(index) + 1, logs.end(),
                                    [](const LogFile& log) { return log.bytes == 0; });
      VELLUM_ASSIGN_OR_RETURN(const bool go_on, CheckLog(logs[index], last));
      if (!go_on) return SetAside(logs, index + 1);
    }
    return {};
  }

 private:
  /// Write-ahead logs by number; finds the manifest.
  Result<std::vector<LogFile>> List() {
    std::vector<std::string> names;
    VELLUM_TRY(FromEngine(files_->GetChildren(path_, {}, &names, nullptr)));
    std::vector<LogFile> logs;
    bool has_tables = false;
    bool has_current = false;
    for (const std::string& name : names) {
      has_current = has_current || name == "CURRENT";
      has_tables = has_tables || name.ends_with(".sst");
      const auto number = LogNumber(name);
      if (!number.has_value()) continue;
      LogFile log{*number, path_ + "/" + name, 0};
      VELLUM_TRY(FromEngine(files_->GetFileSize(log.path, {}, &log.bytes, nullptr)).WithContext(log.path));
      logs.push_back(std::move(log));
    }
    std::sort(logs.begin(), logs.end(), [](const LogFile& a, const LogFile& b) { return a.number < b.number; });
    if (has_current) {
      // RocksDB never leaves a database without one, and would go on as if nothing had been written to it.
      if (logs.empty() && has_tables && !options_.accept_loss) {
        return DataLoss(path_ + " holds tables but no write-ahead log (a file .log): it is missing", Reason::kCorrupt);
      }
      VELLUM_TRY(ReadCurrent());
    } else if (has_tables || std::any_of(logs.begin(), logs.end(), [](const LogFile& log) { return log.bytes > 0; })) {
      // RocksDB would start an empty database here, and delete the rest.
      return DataLoss(path_ + "/CURRENT is missing although the directory holds data", Reason::kCorrupt);
    }
    return logs;
  }

  Status ReadCurrent() {
    const std::string current = path_ + "/CURRENT";
    std::unique_ptr<rocksdb::FSSequentialFile> file;
    VELLUM_TRY(FromEngine(files_->NewSequentialFile(current, {}, &file, nullptr)).WithContext(current));
    char scratch[64];
    rocksdb::Slice text;
    VELLUM_TRY(FromEngine(file->Read(sizeof(scratch), {}, &text, scratch, nullptr)).WithContext(current));
    if (!text.starts_with("MANIFEST-") || text.size() == sizeof(scratch) || text[text.size() - 1] != '\n') {
      return DataLoss(current + " does not name a manifest", Reason::kCorrupt);
    }
    manifest_ = path_ + "/" + std::string(text.data(), text.size() - 1);
    if (!files_->FileExists(manifest_, {}, nullptr).ok()) {
      return DataLoss(manifest_ + ", which CURRENT names, is missing", Reason::kCorrupt);
    }
    return {};
  }

  Status CheckManifest() {
    LogFile manifest{0, manifest_, 0};
    VELLUM_TRY(FromEngine(files_->GetFileSize(manifest_, {}, &manifest.bytes, nullptr)).WithContext(manifest_));
    VELLUM_ASSIGN_OR_RETURN(const LogScan scan, Scan(LogKind::kManifest, manifest));
    if (scan.end == LogScan::End::kDamaged) return Damage(manifest, scan);
    if (scan.end == LogScan::End::kTorn) return CutTail(manifest, scan);
    return {};
  }

  /// False: it was damaged, and the logs behind it are void.
  Result<bool> CheckLog(const LogFile& log, bool last) {
    VELLUM_ASSIGN_OR_RETURN(LogScan scan, Scan(LogKind::kWriteAhead, log));
    // A log is synced before the next one gets its first byte: see GuardLogs.
    if (scan.end == LogScan::End::kTorn && !last) scan.end = LogScan::End::kDamaged;
    if (scan.end == LogScan::End::kWhole) {
      VELLUM_TRY(CutTo(scan.good_bytes, log));
      return true;
    }
    if (scan.end == LogScan::End::kTorn) {
      VELLUM_TRY(CutTail(log, scan));
      return true;
    }
    if (!options_.accept_loss) return Damage(log, scan);
    VELLUM_LOG(options_.logger, kWarn, "giving up the rest of a damaged log",
               {{"file", log.path}, {"offset", scan.bad_offset}, {"reason", scan.reason}});
    VELLUM_TRY(CopyTail(log, scan));
    VELLUM_TRY(CutTail(log, scan));
    return false;
  }

  Result<LogScan> Scan(LogKind kind, const LogFile& log) {
    std::unique_ptr<rocksdb::FSRandomAccessFile> file;
    VELLUM_TRY(FromEngine(files_->NewRandomAccessFile(log.path, {}, &file, nullptr)).WithContext(log.path));
    const std::unique_ptr<char[]> scratch(new char[kReadBytes]);
    rocksdb::Slice chunk;
    std::uint64_t chunk_start = 0;
    const LogBlocks blocks = [&](std::uint64_t block) -> Result<std::string_view> {
      const std::uint64_t start = block * kLogBlockBytes;
      if (chunk.empty() || start < chunk_start || start >= chunk_start + kReadBytes) {
        chunk_start = start / kReadBytes * kReadBytes;
        VELLUM_TRY(FromEngine(file->Read(chunk_start, kReadBytes, {}, &chunk, scratch.get(), nullptr)));
      }
      const std::string_view view(chunk.data(), chunk.size());
      return start - chunk_start >= view.size() ? std::string_view()
                                                : view.substr(start - chunk_start, kLogBlockBytes);
    };
    Result<LogScan> scan = ScanLog(kind, log.bytes, blocks);
    if (!scan.ok()) return std::move(scan).error().WithContext(log.path);
    return scan;
  }

  static Status Damage(const LogFile& log, const LogScan& scan) {
    return DataLoss(log.path + " is damaged at offset " + std::to_string(scan.bad_offset) + " of " +
                        std::to_string(log.bytes) + ": " + scan.reason,
                    Reason::kCorrupt);
  }

  Status CutTail(const LogFile& log, const LogScan& scan) {
    VELLUM_LOG(options_.logger, kWarn, "cutting a log's unfinished end",
               {{"file", log.path}, {"bytes", log.bytes - scan.good_bytes}, {"reason", scan.reason}});
    return CutTo(scan.good_bytes, log);
  }

  /// Cuts off what is behind `bytes`, and syncs: after kill -9 a log may be whole only in the system's memory.
  Status CutTo(std::uint64_t bytes, const LogFile& log) {
    std::unique_ptr<rocksdb::FSWritableFile> file;
    VELLUM_TRY(FromEngine(files_->ReopenWritableFile(log.path, {}, &file, nullptr)).WithContext(log.path));
    if (bytes < log.bytes) VELLUM_TRY(FromEngine(file->Truncate(bytes, {}, nullptr)).WithContext(log.path));
    VELLUM_TRY(FromEngine(file->Fsync({}, nullptr)).WithContext(log.path));
    return FromEngine(file->Close({}, nullptr)).WithContext(log.path);
  }

  /// What CutTail is about to drop goes to "<log>.lost".
  Status CopyTail(const LogFile& log, const LogScan& scan) {
    const std::string lost = log.path + ".lost";
    std::unique_ptr<rocksdb::FSRandomAccessFile> from;
    VELLUM_TRY(FromEngine(files_->NewRandomAccessFile(log.path, {}, &from, nullptr)).WithContext(log.path));
    std::unique_ptr<rocksdb::FSWritableFile> to;
    VELLUM_TRY(FromEngine(files_->NewWritableFile(lost, {}, &to, nullptr)).WithContext(lost));
    const std::unique_ptr<char[]> scratch(new char[kReadBytes]);
    for (std::uint64_t offset = scan.good_bytes; offset < log.bytes;) {
      rocksdb::Slice chunk;
      VELLUM_TRY(FromEngine(from->Read(offset, kReadBytes, {}, &chunk, scratch.get(), nullptr)).WithContext(log.path));
      if (chunk.empty()) break;
      VELLUM_TRY(FromEngine(to->Append(chunk, {}, nullptr)).WithContext(lost));
      offset += chunk.size();
    }
    VELLUM_TRY(FromEngine(to->Fsync({}, nullptr)).WithContext(lost));
    return FromEngine(to->Close({}, nullptr)).WithContext(lost);
  }

  Status SetAside(const std::vector<LogFile>& logs, std::size_t first) {
    for (std::size_t index = first; index < logs.size(); ++index) {
      VELLUM_LOG(options_.logger, kWarn, "giving up a log behind a damaged one", {{"file", logs[index].path}});
      VELLUM_TRY(FromEngine(files_->RenameFile(logs[index].path, logs[index].path + ".lost", {}, nullptr))
                     .WithContext(logs[index].path));
    }
    std::unique_ptr<rocksdb::FSDirectory> directory;
    VELLUM_TRY(FromEngine(files_->NewDirectory(path_, {}, &directory, nullptr)).WithContext(path_));
    return FromEngine(directory->Fsync({}, nullptr)).WithContext(path_);
  }

  rocksdb::FileSystem* const files_;
  const std::string& path_;
  const LogCheckOptions& options_;
  std::string manifest_;  // empty: there is no database yet
};

}  // namespace

Status CheckLogs(rocksdb::FileSystem* files, const std::string& path, const LogCheckOptions& options) {
  if (!files->FileExists(path, {}, nullptr).ok()) return {};
  return Checker(files, path, options).Run();
}

}  // namespace vellum::storage
