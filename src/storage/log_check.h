#pragma once

#include <rocksdb/file_system.h>

#include <string>

#include "base/log.h"
#include "vellum/status.h"

namespace vellum::storage {

struct LogCheckOptions {
  /// Damage is not an error: what lies behind it is moved aside (into files ".lost") and logged.
  bool accept_loss = false;
  Logger logger;
};

/// Looks at the write-ahead logs and the manifest of a database that is about to be opened, under its lock.
///
/// kDataLoss names the file and the place when synced bytes have changed, or the directory when no log is left in it.
/// A torn end is cut off, so that RocksDB sees whole records only. Afterwards all logs are durable: RocksDB will rely on
/// what it replays from them. A directory without a database is fine. Cost: reads the logs once.
Status CheckLogs(rocksdb::FileSystem* files, const std::string& path, const LogCheckOptions& options);

}  // namespace vellum::storage
