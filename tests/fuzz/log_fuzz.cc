// RocksDB's logs, which are scanned before a store opens.
#include "storage/log_scan.h"
#include "storage/test_log.h"
#include "target.h"

namespace {

using vellum::storage::LogKind;
using vellum::storage::LogScan;

LogScan Scan(LogKind kind, std::string_view log) {
  auto scan = vellum::storage::ScanLog(
      kind, log.size(), [log](std::uint64_t block) -> vellum::Result<std::string_view> {
        return log.substr(block * vellum::storage::kLogBlockBytes, vellum::storage::kLogBlockBytes);
      });
  if (!scan.ok()) std::abort();
  return *scan;
}

}  // namespace

std::vector<std::string> Seeds() {
  vellum::storage::LogBuilder small;
  small.Batch(10).Batch(200, /*first_after_sync=*/true).Batch(0);
  vellum::storage::LogBuilder large;
  large.Batch(32700).Batch(500, /*first_after_sync=*/true).Batch(40);
  return {small.log(), large.log(), small.log() + std::string(1500, '\0'), ""};
}

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view log(reinterpret_cast<const char*>(data), size);
  for (const LogKind kind : {LogKind::kWriteAhead, LogKind::kManifest}) {
    const LogScan scan = Scan(kind, log);
    if (scan.good_bytes > size || scan.bad_offset > size) std::abort();
    if ((scan.end == LogScan::End::kWhole) != scan.reason.empty()) std::abort();
    // What is left when the rest is cut off is a whole log.
    if (Scan(kind, log.substr(0, scan.good_bytes)).end != LogScan::End::kWhole) std::abort();
  }
  return 0;
}
