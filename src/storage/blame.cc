#include "storage/blame.h"

#include <rocksdb/sst_file_reader.h>

#include <algorithm>
#include <utility>
#include <vector>

#include "storage/engine_status.h"

namespace vellum::storage {
namespace {

/// RocksDB looks for a table file under its old suffix too, and then complains about that one.
std::string WithPresentSuffix(std::string text) {
  if (const auto found = text.find(".ldb"); found != std::string::npos) text.replace(found, 4, ".sst");
  return text;
}

}  // namespace

Status BlameFile(const rocksdb::Status& status, rocksdb::Env* env, const std::string& path) {
  if (!status.IsCorruption()) return FromEngine(status);
  std::vector<std::string> names;
  // Without a list there is still RocksDB's own text.
  env->GetChildren(path, &names).PermitUncheckedError();
  std::sort(names.begin(), names.end());
  rocksdb::Options options;
  options.env = env;
  for (const std::string& name : names) {
    if (!name.ends_with(".sst")) continue;
    const std::string file = path + "/" + name;
    rocksdb::SstFileReader reader(options);
    rocksdb::Status table = reader.Open(file);
    if (table.ok()) table = reader.VerifyChecksum();
    if (!table.ok()) return DataLoss("table file " + file + " is damaged: " + table.ToString(), Reason::kCorrupt);
  }
  return DataLoss(WithPresentSuffix(status.ToString()), Reason::kCorrupt);
}

}  // namespace vellum::storage
