#include "kv/lease_keys.h"

#include "kv/schema.h"
#include "storage/database.h"

namespace vellum::kv {

Result<std::vector<std::string>> LeaseKeys(const View& view, LeaseId id) {
  const std::string prefix = LeaseKey(id);
  storage::ReadOptions options;
  options.snapshot = view.snapshot();
  options.lower = prefix;
  storage::Iterator row = view.database().NewIterator(kLease, options);
  std::vector<std::string> keys;
  for (row.Seek(prefix); row.valid() && row.key().starts_with(prefix); row.Next()) {
    VELLUM_ASSIGN_OR_RETURN(const LeaseKeyParts parts, DecodeLeaseKey(row.key()));
    if (parts.key) keys.emplace_back(*parts.key);
  }
  VELLUM_TRY(row.status());
  return keys;
}

}  // namespace vellum::kv
