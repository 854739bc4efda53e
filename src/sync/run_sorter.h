#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "storage/tables.h"
#include "vellum/status.h"

namespace vellum::sync {

/// What a sorter had at a moment: sorted runs that later puts do not change, and whose files may be unlinked meanwhile.
/// Immutable, thread-safe.
class SortedRuns {
 public:
  virtual ~SortedRuns() = default;
  /// Seek first. Of equal keys the one put last is shown. The cursor must not outlive this.
  virtual std::unique_ptr<storage::TableCursor> NewCursor() const = 0;
};
/// Several as one; of equal keys the one in the last of them is shown.
std::shared_ptr<const SortedRuns> UniteRuns(std::vector<std::shared_ptr<const SortedRuns>> runs);
/// The runs in these files, oldest first.
Result<std::shared_ptr<const SortedRuns>> OpenRuns(const std::vector<std::string>& paths,
                                                   const std::shared_ptr<storage::FileSystem>& files = nullptr);

/// Sorts more keys than fit in memory: takes them in any order, sorts a run at a time, and spills full runs as table
/// files on a thread of its own while the next run fills. Of equal keys the one added last is kept.
///
/// Not thread-safe.
class RunSorter {
 public:
  struct Options {
    std::string directory;                  ///< Exists; spilled files are named `prefix`-N.run in it.
    std::string prefix;
    std::size_t memory_bytes = 64u << 20;   ///< Both runs together: the one that fills and the one that spills.
    std::shared_ptr<storage::FileSystem> files = nullptr;  ///< Null: the machine's.
  };

  explicit RunSorter(Options options);
  /// Waits for a spill that is under way. Spilled files are left to the owner of the directory.
  ~RunSorter();
  RunSorter(const RunSorter&) = delete;
  RunSorter& operator=(const RunSorter&) = delete;

  /// Copies both. Fails if an earlier spill failed.
  Status Add(std::string_view key, std::string_view value);
  std::uint64_t added() const;

  /// Spills what is in memory and syncs, so that all that was added so far is in files. For checkpoints.
  Status Flush();
  /// Takes over a run that an earlier process spilled, older than everything added from now on.
  Status Adopt(const std::string& path);
  /// The files spilled so far, oldest first. After Flush they hold everything.
  const std::vector<std::string>& runs() const;

  /// What was added so far. Waits for a spill that is under way and copies the index of what is in memory; sorting it is left
  /// to the function that is returned, which may be called once, from any thread, also while more is added.
  using Freeze = std::function<Result<std::shared_ptr<const SortedRuns>>()>;
  Result<Freeze> Snapshot();

  /// Ends adding: a cursor over every distinct key, ascending. It owns what it needs. Position it with Seek.
  Result<std::unique_ptr<storage::TableCursor>> Finish();

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

/// Merges sorted cursors into one; of equal keys the one of the latest cursor in the list is kept.
std::unique_ptr<storage::TableCursor> MergeRuns(std::vector<std::unique_ptr<storage::TableCursor>> runs);

}  // namespace vellum::sync
