#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "kv/schema.h"
#include "storage/database.h"

namespace vellum::kv {

/// A piece of a family's key space that is rewritten at once: storage keys from `begin` (inclusive; empty: from the
/// first) to `last` (inclusive; nullopt: to the end).
struct ReclaimSlice {
  std::string begin;
  std::optional<std::string> last;
  std::uint64_t bytes = 0;  ///< Of the table files in it; a file that reaches into several slices counts in parts.
  std::uint64_t entries = 0;  ///< Likewise.

  bool Overlaps(const storage::TableFile& table) const;
  /// The same keys as an interval of `latest`.
  KeyInterval Interval() const;
};

/// Cuts a family at the boundaries of its lowest level's files, so that rewriting one slice touches no file of another
/// there. Slices hold about `bytes_max` at most (at least one file) and cover all keys, in order. No tables: no slices.
std::vector<ReclaimSlice> CutIntoSlices(const std::vector<storage::TableFile>& tables, std::uint64_t bytes_max);

/// Sets the sizes of slices, which must be in order, from tables that have changed since they were cut.
void SpreadSizes(const std::vector<storage::TableFile>& tables, std::vector<ReclaimSlice>* slices);

/// Whether `history` in this slice holds records that ended at or before `compacted`, as the files' properties say.
bool HoldsEndedRecords(const ReclaimSlice& slice, const std::vector<storage::TableFile>& tables, Revision compacted);

}  // namespace vellum::kv
