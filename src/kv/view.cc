#include "kv/view.h"

#include <utility>

#include "kv/scan.h"

namespace vellum::kv {

View::View(const storage::Database* database, std::shared_ptr<const storage::Snapshot> snapshot, Revision revision,
           CountTree::Root count_root, std::shared_ptr<const CompactionMark> mark,
           std::shared_ptr<const CountRing> ring)
    : database_(database),
      snapshot_(std::move(snapshot)),
      revision_(revision),
      count_root_(std::move(count_root)),
      mark_(std::move(mark)),
      ring_(std::move(ring)) {}

Status View::CheckReadable(Revision revision) const {
  if (revision > revision_) return FutureRevisionError();
  if (revision < compacted()) return CompactedError();
  return {};
}

Result<bool> ViewLatest::Get(std::string_view key, const std::function<void(const Record&)>& found) const {
  storage::PinnedValue value;
  Record record;
  VELLUM_ASSIGN_OR_RETURN(const bool exists, GetLatest(*view_, key, &value, &record));
  if (exists) found(record);
  return exists;
}

Status ViewLatest::Scan(const KeyInterval& interval,
                        const std::function<bool(std::string_view key, const Record&)>& visit) const {
  return ScanLatest(*view_, interval, visit);
}

Result<std::int64_t> ViewLatest::Count(const KeyInterval& interval) const { return CountLatest(*view_, interval); }

}  // namespace vellum::kv
