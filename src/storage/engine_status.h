#pragma once

#include <rocksdb/status.h>

#include "vellum/status.h"

namespace vellum::storage {

/// The one place where RocksDB's outcomes become ours. The message keeps RocksDB's text, which names the file.
Status FromEngine(const rocksdb::Status& status);

}  // namespace vellum::storage
