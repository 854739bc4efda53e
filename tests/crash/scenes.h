#pragma once

#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "storage/fault_file_system.h"
#include "sync/memory_catalog.h"
#include "sync/operations.h"
#include "sync/store.h"

/// Everything that changes syncs, each as a scene: a store as it is before, and the act. What stops the act (a kill, a
/// failing file operation, power loss) is the business of whoever plays it.
namespace vellum::sync {

/// One data directory, and a second store to take syncs from.
struct World {
  std::string directory;  ///< Exists. The second store is in "<directory>-source".
  Catalog* catalog = nullptr;
  std::shared_ptr<storage::FaultFileSystem> faults;
  std::unique_ptr<Store> store;

  MemoryCatalog source_catalog;
  std::unique_ptr<Store> source;

  Status Open();
  /// The second store, empty. Its files are the machine's.
  Status OpenSource();
};

struct Scene {
  std::string name;
  std::function<Status(World*)> prepare;
  /// May be run again after it was stopped anywhere: then it brings the same about.
  std::function<Status(World*)> act;
  /// The names of the steps that the act must take: see steps.cc.
  std::vector<std::string> steps;
  /// Further states that a stop may leave: each leads there from the prepared one.
  std::vector<std::function<Status(World*)>> between = {};
};

/// Write, overwrite, checkpoint, resume, replace, replace by copies, merge, merge into a new sync, merge in rounds, fold,
/// rollback, delete, sweep, import.
const std::vector<Scene>& Scenes();

/// Each sync in words, by its id: attributes, contents and sessions, but not what differs from run to run (names of
/// generations, times of switches). Reads and verifies everything: kDataLoss for a sync whose files, counts, digest or
/// indexes are not in order.
using Described = std::map<std::string, std::string>;
Result<Described> Describe(World* world);

/// What is in the directory or the catalog and belongs to no sync. Empty after opening and sweeping.
Result<std::vector<std::string>> LeftBehind(World* world);

/// What each sync may be after a stop; "" for absence. Every sync of the prepared state and of the others is in it.
using Allowed = std::map<std::string, std::vector<std::string>>;
/// `states` is what there is before the act, after it, and between.
Allowed AllowedBy(const std::vector<Described>& states);
/// Why `state` is not allowed; empty: it is.
std::string Compare(const Described& state, const Allowed& allowed);

}  // namespace vellum::sync
