#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "sync/generation.h"
#include "vellum/compactor.h"

/// The one merge that sealing, merging, folding and rewriting share.
namespace vellum::sync {

using vellum::MergeCounts;
using vellum::MergeStats;

struct MergeLimits {
  std::string scratch;                       ///< A directory of the caller's, on the destination's file system.
  std::size_t memory_bytes = 128u << 20;     ///< For sorting index keys.
  std::uint64_t file_bytes = 64u << 20;      ///< A table file's size, about.
  int threads = 2;
  std::uint64_t part_records = 100'000;      ///< A bucket is cut into parts of at least so many, for the threads.
  const std::atomic<bool>* cancel = nullptr;  ///< Polled; set: kCancelled, nothing published.
  /// Called now and then from any thread with the number of records done so far. May be empty.
  std::function<void(std::uint64_t)> progress;
  FileSystemPtr files = nullptr;              ///< Null: the machine's.
};

/// What a derivation made: files to assemble, and what they hold.
struct Derived {
  std::vector<NewFile> files;
  std::map<Bucket, Totals> totals;
  std::uint32_t layers = 1;
  std::uint64_t dead_bytes = 0;
  MergeStats stats{};
};

/// Merges generations into new tables in one pass over each bucket. `sources[0]` is the destination as it was (null if it
/// had nothing); of equal identities the strictly newest stamp wins, on a tie the earlier source. Buckets that are not
/// merged (assets) are the destination's. Indexes that follow from the identity are united; the others are made from the
/// surviving records.
Result<Derived> MergeGenerations(const std::vector<std::shared_ptr<const Generation>>& sources,
                                 const MergeLimits& limits);

/// The same result as MergeGenerations for `sources` on top of `base`, but as a link of the base's files and one overlay
/// that holds what changes: winners, their index entries, and tombstones for index entries that no longer follow. Cost: the
/// sources, one look-up in the base for each of their identities.
Result<Derived> FoldIntoGeneration(const std::shared_ptr<const Generation>& base,
                                   const std::vector<std::shared_ptr<const Generation>>& sources,
                                   const MergeLimits& limits);

/// Tables from the sorted runs of a writer: per record bucket a cursor over its distinct keys (null: empty bucket), and the
/// by-principal index, which a writer sorts while it writes (null: made here).
struct SortedRecords {
  std::array<std::unique_ptr<storage::TableCursor>, kRecordTypes> records;
  std::unique_ptr<storage::TableCursor> grants_by_principal;
};
Result<Derived> SealSorted(SortedRecords records, const MergeLimits& limits);

}  // namespace vellum::sync
