#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "storage/file_system.h"

namespace vellum::storage {

/// The tests' file system: the machine's, with failures on demand and with power loss.
///
/// It is as forgetful as POSIX allows: data is on the disk after a sync of its file, a created, renamed or deleted
/// name after a sync of its directory, and nothing is earlier. It really syncs nothing, so that tests are quick.
/// Knows only what is done through it; files that were there before count as durable. Thread-safe.
///
/// A file without any right to write is sealed: its bytes must never change again. Whoever opens one for writing, also
/// as root, whom the machine would let, is named in violations().
class FaultFileSystem {
 public:
  /// What can fail and is counted. A sync of a directory is a kSync too; kDelete removes files and directories.
  enum class Operation : std::uint8_t {
    kCreate, kAppend, kSync, kRename, kDelete, kTruncate, kRead, kLink, kMakeDirectory
  };
  static constexpr int kOperationCount = 9;

  struct Fault {
    Operation operation = Operation::kAppend;
    std::uint64_t nth = 1;         ///< From now on, 1 is the next one that matches.
    std::string name_contains = {};  ///< Only files whose path contains it; empty: all.
    bool forever = true;           ///< The later ones fail as well.
    bool no_space = false;         ///< ENOSPC instead of EIO.
    bool half_done = false;        ///< kAppend only: the first half of the bytes is written all the same.
    bool impossible = false;       ///< kLink only: as if the two names lay on different devices.
  };

  /// What power loss leaves of data and names that were not synced.
  enum class Leftover : std::uint8_t {
    kNothing,   ///< All of it is gone.
    kPrefixes,  ///< Of each file's unsynced end a random prefix; of each directory's changes a random first part.
    kHoles,     ///< As kPrefixes, and random sectors of what is left of the data read as zeros.
  };

  static std::shared_ptr<FaultFileSystem> Create();
  virtual ~FaultFileSystem() = default;

  /// For DatabaseOptions::file_system. Shares this object's state; any order of destruction is safe.
  virtual std::shared_ptr<FileSystem> file_system() = 0;

  /// Replaces the fault before it.
  virtual void Inject(const Fault& fault) = 0;
  virtual void ClearFault() = 0;
  /// How often the fault struck since it was injected.
  virtual std::uint64_t faults() const = 0;

  /// From now on appends fail with "no space" after so many bytes; deleting a file gives its bytes back.
  virtual void SetFreeBytes(std::uint64_t bytes) = 0;
  virtual void ClearFreeBytes() = 0;

  /// Called before and after each operation with its path (renames and links: the new name), from the thread that does it,
  /// without locks held. `after` an operation that failed it is not called. Replaces the one before it; null: none. Not
  /// to be set while others use the files.
  enum class Moment : std::uint8_t { kBefore, kAfter };
  using Observer = std::function<void(Operation, Moment, const std::string& path)>;
  virtual void SetObserver(Observer observer) = 0;

  /// Sealed files that somebody opened for writing or truncated, by path. Empty is as it should be.
  virtual std::vector<std::string> violations() const = 0;
  /// Whether the name was made through this file system: by creating, linking or renaming.
  virtual bool Made(const std::string& path) const = 0;

  /// How many of an operation were begun since creation.
  virtual std::uint64_t count(Operation operation) const = 0;

  /// Power fails when the n-th sync from now begins (1 is the next one): it and every later change fail and change
  /// nothing. What is open then has to be destroyed, and DropUnsynced has to follow.
  virtual void CutPowerAtSync(std::uint64_t nth) = 0;
  virtual void CutPower() = 0;
  virtual bool power_is_cut() const = 0;

  /// Makes the files what they would be after power loss, and power come back. No file may be open.
  virtual void DropUnsynced(Leftover leftover = Leftover::kNothing, std::uint64_t seed = 0) = 0;
};

}  // namespace vellum::storage
