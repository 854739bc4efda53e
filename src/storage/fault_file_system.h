#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "storage/file_system.h"

namespace vellum::storage {

/// The tests' file system: the machine's, with failures on demand and with power loss.
///
/// It is as forgetful as POSIX allows: data is on the disk after a sync of its file, a created, renamed or deleted
/// name after a sync of its directory, and nothing is earlier. It really syncs nothing, so that tests are quick.
/// Knows only what is done through it; files that were there before count as durable. Thread-safe.
class FaultFileSystem {
 public:
  /// What can fail and is counted. A sync of a directory is a kSync too.
  enum class Operation : std::uint8_t { kCreate, kAppend, kSync, kRename, kDelete, kTruncate, kRead };
  static constexpr int kOperationCount = 7;

  struct Fault {
    Operation operation = Operation::kAppend;
    std::uint64_t nth = 1;         ///< From now on, 1 is the next one that matches.
    std::string name_contains = {};  ///< Only files whose path contains it; empty: all.
    bool forever = true;           ///< The later ones fail as well.
    bool no_space = false;         ///< ENOSPC instead of EIO.
    bool half_done = false;        ///< kAppend only: the first half of the bytes is written all the same.
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
