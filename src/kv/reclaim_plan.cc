#include "kv/reclaim_plan.h"

#include <algorithm>
#include <utility>

namespace vellum::kv {
namespace {

using storage::TableFile;

/// The smallest key after `key`.
std::string Successor(std::string key) {
  key.push_back('\0');
  return key;
}

/// One slice per file of the lowest level, without sizes.
std::vector<ReclaimSlice> CutAtLowestLevel(const std::vector<TableFile>& tables) {
  int lowest = 0;
  for (const TableFile& table : tables) lowest = std::max(lowest, table.level);
  std::vector<std::string> ends;
  // Files of level 0 overlap each other, so their ends are no boundaries.
  for (const TableFile& table : tables) {
    if (table.level == lowest && lowest > 0) ends.push_back(table.largest);
  }
  std::sort(ends.begin(), ends.end());
  std::vector<ReclaimSlice> slices(1);
  for (std::size_t i = 0; i + 1 < ends.size(); ++i) {
    slices.back().last = ends[i];
    slices.emplace_back();
    slices.back().begin = Successor(ends[i]);
  }
  return slices;
}

}  // namespace

bool ReclaimSlice::Overlaps(const TableFile& table) const {
  return table.largest >= begin && (!last || table.smallest <= *last);
}

KeyInterval ReclaimSlice::Interval() const {
  KeyInterval interval{begin, std::nullopt};
  if (last) interval.end = Successor(*last);
  return interval;
}

void SpreadSizes(const std::vector<TableFile>& tables, std::vector<ReclaimSlice>* slices) {
  for (ReclaimSlice& slice : *slices) slice.bytes = slice.entries = 0;
  for (const TableFile& table : tables) {
    const auto first = std::partition_point(slices->begin(), slices->end(), [&](const ReclaimSlice& slice) {
      return slice.last && *slice.last < table.smallest;
    });
    const auto end = std::partition_point(first, slices->end(),
                                          [&](const ReclaimSlice& slice) { return slice.begin <= table.largest; });
    const auto parts = static_cast<std::uint64_t>(std::max<std::ptrdiff_t>(1, end - first));
    for (auto it = first; it != end; ++it) {
      it->bytes += table.bytes / parts;
      it->entries += table.entries / parts;
    }
  }
}

std::vector<ReclaimSlice> CutIntoSlices(const std::vector<TableFile>& tables, std::uint64_t bytes_max) {
  if (tables.empty()) return {};
  std::vector<ReclaimSlice> fine = CutAtLowestLevel(tables);
  SpreadSizes(tables, &fine);
  std::vector<ReclaimSlice> slices;
  for (ReclaimSlice& slice : fine) {
    if (slices.empty() || slices.back().bytes + slice.bytes > bytes_max) {
      slices.push_back(std::move(slice));
      continue;
    }
    slices.back().last = std::move(slice.last);
    slices.back().bytes += slice.bytes;
    slices.back().entries += slice.entries;
  }
  return slices;
}

bool HoldsEndedRecords(const ReclaimSlice& slice, const std::vector<TableFile>& tables, Revision compacted) {
  return std::any_of(tables.begin(), tables.end(), [&](const TableFile& table) {
    return table.min_number && static_cast<Revision>(*table.min_number) <= compacted && slice.Overlaps(table);
  });
}

}  // namespace vellum::kv
