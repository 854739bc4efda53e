#pragma once

#include <rocksdb/env.h>
#include <rocksdb/status.h>

#include <string>

#include "vellum/status.h"

namespace vellum::storage {

/// Why RocksDB could not open the database in `path`, with the damaged file's name: RocksDB blames the manifest for
/// whatever is wrong with the table files that it lists. Cost: for damage, reads every table file.
Status BlameFile(const rocksdb::Status& status, rocksdb::Env* env, const std::string& path);

}  // namespace vellum::storage
