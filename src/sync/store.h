#pragma once

#include <cstdint>
#include <functional>
#include <list>
#include <memory>
#include <optional>
#include <string>
#include <thread>
#include <unordered_map>
#include <vector>

#include "base/log.h"
#include "base/mutex.h"
#include "storage/tables.h"
#include "sync/catalog.h"
#include "sync/generation.h"
#include "sync/merge.h"
#include "vellum/clock.h"
#include "vellum/sync_store.h"

namespace vellum::sync {

/// Everything that can be set about the data plane: what embedders may set too, and what else it needs.
struct StoreOptions : SyncOptions {
  std::string data_dir;  ///< generations/, staging/ and trash/ are made in it.
  Clock* clock = SystemClock();
  Logger logger;
};

/// How long work is followed and stopped.
using Work = SyncWork;

/// The generations of one data directory, and what the catalog says of them. Thread-safe.
///
/// Every change ends in one transaction of the catalog, after its files are durable: a crash leaves each sync wholly old
/// or wholly new, and opening sweeps what was half made.
class Store {
 public:
  /// Takes the directory over: writers of earlier incarnations are declared dead, what they left is swept. The data
  /// directory must be locked by the caller (the metadata plane does). `catalog` must outlive the store.
  static Result<std::unique_ptr<Store>> Open(StoreOptions options, Catalog* catalog);
  ~Store();

  Result<std::vector<SyncEntry>> List() const;
  /// nullopt: unknown.
  Result<std::optional<SyncEntry>> Find(std::string_view sync_id) const;
  /// kNotFound: unknown.
  Result<SyncEntry> Get(std::string_view sync_id) const;

  /// The generation, opened or from the cache. Readers keep it by holding the pointer.
  Result<std::shared_ptr<const Generation>> OpenGeneration(const GenerationId& id) const;
  /// What a sync points at now. kFailedPrecondition for an open sync without one.
  Result<std::shared_ptr<const Generation>> OpenSync(std::string_view sync_id) const;

  /// A generation that is being made: registered, with a directory to work in. Abandoned, and swept, unless published.
  class Building {
   public:
    ~Building();
    const GenerationId& id() const { return id_; }
    /// For runs and fresh tables.
    const std::string& directory() const { return directory_; }
    MergeLimits Limits(const Work& work) const;
    /// From now on the directory outlives this object: a checkpointed sync owns it, and another writer may take it over
    /// when this object is gone.
    void Keep() { fate_ = Fate::kRelease; }

   private:
    friend class Store;
    /// What becomes of the registration and of the directory.
    enum class Fate : std::uint8_t { kAbandon, kRelease, kPublished };
    Building(Store* store, GenerationId id, LeaseId writer, std::string directory);
    Store* const store_;
    const GenerationId id_;
    const LeaseId writer_;
    const std::string directory_;
    Fate fate_ = Fate::kAbandon;
  };
  Result<std::unique_ptr<Building>> Register();
  /// Takes over the staging directory of an open sync whose writer is gone.
  Result<std::unique_ptr<Building>> TakeOver(const GenerationId& id);

  /// What a switch does to one sync: `entry.mod_revision` is what must still be stored (0: nothing). Its history gets the
  /// new generation in front and loses what exceeds history_max.
  struct Switch {
    SyncEntry entry;
    std::string operation;
  };
  /// Makes the derived files a generation, seals it, and points the syncs at it, all or nothing. kAborted: a sync
  /// changed meanwhile, or the writer was declared dead.
  Result<std::shared_ptr<const Generation>> Publish(Building* building, Derived derived,
                                                    const std::vector<GenerationId>& parents,
                                                    std::vector<Switch> switches);
  /// Points syncs at a generation that exists and is sealed.
  Status SwitchTo(const GenerationId& generation, std::vector<Switch> switches);
  /// Stores an open sync's row; `writer_bound`: it goes when the writer dies.
  Status PutOpen(SyncEntry* entry, const Building* building, bool writer_bound);

  /// Points the sync at an earlier generation of its history: the one before the present, or the one named.
  Result<SyncEntry> Rollback(std::string_view sync_id, const std::optional<GenerationId>& to);
  /// Forgets the sync, and sweeps.
  Status Delete(std::string_view sync_id);

  /// A connector's scratch pad: keys and values beside a sync, outside its generations and their digest. Replaced as a
  /// whole; goes with the sync. `fill` is called with a function that takes the pairs in ascending order of keys.
  using PutPair = std::function<Status(std::string_view key, std::string_view value)>;
  Status WriteSessions(std::string_view sync_id, const std::function<Status(const PutPair&)>& fill);
  Status ReadSessions(std::string_view sync_id, const PutPair& visit) const;

  struct Swept {
    std::uint64_t generations = 0;
    std::uint64_t directories = 0;  ///< Staging and trash.
    std::uint64_t bytes = 0;
    std::uint64_t in_use = 0;       ///< Left for later: somebody reads them.
  };
  /// Deletes generations that nothing refers to and nobody reads, and what half-made ones left.
  Result<Swept> Sweep();

  const StoreOptions& options() const { return options_; }
  std::string GenerationPath(const GenerationId& id) const;

 private:
  Store(StoreOptions options, Catalog* catalog);
  Status MakeDirectories();
  Status RetireEarlierWriters();
  Status MoveUnregisteredAside();
  Result<std::vector<GenerationEntry>> ListGenerations() const;
  Result<LeaseId> WriterLease();
  void RenewWriterLease();
  Result<std::vector<Catalog::Change::Put>> Switched(std::vector<Switch>* switches, const GenerationId& id,
                                                     const std::string& digest) const;
  Status CommitSwitch(const Catalog::Change& change, const GenerationId& id, const std::vector<Switch>& switches);
  Status RemoveDirectory(const std::string& path, Swept* swept);
  std::string SessionsPath(std::string_view sync_id) const;
  Status SweepGeneration(const GenerationEntry& entry, Swept* swept);
  void Abandon(const Building& building);
  void Release(const Building& building);

  const StoreOptions options_;
  Catalog* const catalog_;
  const storage::TableCache cache_;

  mutable Mutex cache_mu_;
  struct CachedGeneration {
    std::shared_ptr<const Generation> generation;
    std::list<GenerationId>::iterator recency;
  };
  mutable std::list<GenerationId> recency_ VELLUM_GUARDED_BY(cache_mu_);  // latest used first
  mutable std::unordered_map<GenerationId, CachedGeneration> open_ VELLUM_GUARDED_BY(cache_mu_);

  /// Held while references to existing generations are made or taken away, so that a sweep cannot come between. Taken
  /// before the others.
  Mutex switch_mu_;

  Mutex writer_mu_;
  LeaseId writer_ VELLUM_GUARDED_BY(writer_mu_) = 0;
  bool stopping_ VELLUM_GUARDED_BY(writer_mu_) = false;
  CondVar stop_;
  std::thread renewer_;
};

/// A new generation's name: a KSUID, so that names sort by time to the second.
std::string NewKsuid(Clock* clock);

/// `path`'s size on disk in bytes, files only. 0 for what is not there.
std::uint64_t DirectoryBytes(const std::string& path);

}  // namespace vellum::sync
