#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <list>
#include <memory>
#include <optional>
#include <set>
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
#include "sync/open_syncs.h"
#include "sync/store_metrics.h"
#include "vellum/clock.h"
#include "vellum/sync_store.h"

namespace vellum::sync {

/// Everything that can be set about the data plane: what embedders may set too, and what else it needs.
struct StoreOptions : SyncOptions {
  std::string data_dir;  ///< generations/, staging/ and trash/ are made in it.
  std::uint64_t record_bytes_max = 64u << 20;      ///< Of one record, ids and message together; larger ones are refused.
  std::size_t page_records_max = 10'000;           ///< Of one page of an answer; who asks for more gets as many.
  std::uint64_t staging_bytes_max = 256ull << 30;  ///< With more in staging/ than this no writer or import may begin.
  /// How long a generation that nothing refers to any more stays readable, for those who come back with a page token. A
  /// process that nobody comes back to has no use for it; a server says kServedKeepS.
  std::int64_t unreferenced_keep_s = 0;
  static constexpr std::int64_t kServedKeepS = 600;
  Metrics* metrics = nullptr;  ///< For vellum_sync_*; null: nobody looks. Must outlive the store.
  Clock* clock = SystemClock();
  Logger logger;
  FileSystemPtr files = nullptr;             ///< Null: the machine's. The tests' one fails and forgets on demand.
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

  /// The generation, opened or from the cache. Readers keep it by holding the pointer. kNotFound while it is being removed.
  Result<std::shared_ptr<const Generation>> OpenGeneration(const GenerationId& id) const;
  /// What a sync points at now. kFailedPrecondition for an open sync without one.
  Result<std::shared_ptr<const Generation>> OpenSync(std::string_view sync_id) const;

  /// A generation that is being made: registered, with a directory to work in, which no sweep touches while this object is
  /// there, also if its writer was declared dead. Abandoned, and swept, unless published.
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
    /// Makes the directory's own name survive power loss.
    Status SyncName() const;

   private:
    friend class Store;
    /// What becomes of the registration and of the directory.
    /// kUnknown: nobody knows whether the switch happened; whoever opens the store next will.
    enum class Fate : std::uint8_t { kAbandon, kRelease, kPublished, kUnknown };
    /// The claim on `id` becomes this object's.
    Building(Store* store, GenerationId id, LeaseId writer);
    Store* const store_;
    const GenerationId id_;
    const LeaseId writer_;
    const std::string directory_;
    const Clock::TimePoint began_;
    Fate fate_ = Fate::kAbandon;
  };
  Result<std::unique_ptr<Building>> Register();
  /// Takes over the staging directory of an open sync whose writer is gone. kFailedPrecondition while it is not, or while it
  /// was declared dead but goes on in this process: two would write files of the same names.
  Result<std::unique_ptr<Building>> TakeOver(const GenerationId& id);

  /// What a switch does to one sync: `entry.mod_revision` is what must still be stored (0: nothing). Its history gets the
  /// new generation in front and loses what exceeds history_max.
  struct Switch {
    SyncEntry entry;
    std::string operation;
    /// The new generation has the same records as this one, and takes its place in the history instead of going in front.
    GenerationId in_place_of = {};
  };
  /// Makes the derived files a generation, seals it, and points the syncs at it, all or nothing; the syncs of `removed` are
  /// forgotten in the same transaction, as they are given. kAborted: a sync changed meanwhile, or the writer was declared
  /// dead.
  Result<std::shared_ptr<const Generation>> Publish(Building* building, Derived derived,
                                                    const std::vector<GenerationId>& parents,
                                                    std::vector<Switch> switches,
                                                    const std::vector<SyncEntry>& removed = {});
  /// Points syncs at a generation that exists and is sealed, forgetting those of `removed` in the same transaction.
  Status SwitchTo(const GenerationId& generation, std::vector<Switch> switches,
                  const std::vector<SyncEntry>& removed = {});
  /// Stores an open sync's row; `writer_bound`: it goes when the writer dies.
  Status PutOpen(SyncEntry* entry, const Building* building, bool writer_bound);
  /// Takes an open sync's row away again, if it is still the one that `entry` was stored as.
  Status ForgetOpen(const SyncEntry& entry);

  /// Points the sync at an earlier generation of its history: the one before the present, or the one named.
  Result<SyncEntry> Rollback(std::string_view sync_id, const std::optional<GenerationId>& to);
  /// Forgets the sync, and sweeps.
  Status Delete(std::string_view sync_id);
  /// Forgets the sync as it was read: kAborted if it has changed since or, with kRefuse, if a writer has it. Does not sweep.
  enum class Writers : std::uint8_t { kIgnore, kRefuse };
  Status Remove(const SyncEntry& entry, Writers writers = Writers::kIgnore);

  /// kResourceExhausted, naming limit and flag, while staging/ holds more than staging_bytes_max. Cost: its files.
  Status AdmitWriter() const;
  /// Whether a writer that is alive has the open sync.
  Result<bool> HasWriter(const SyncEntry& entry) const;

  /// A connector's scratch pad: keys and values beside a sync, outside its generations and their digest. Replaced as a
  /// whole; goes with the sync. `fill` is called with a function that takes the pairs in ascending order of keys.
  using PutPair = std::function<Status(std::string_view key, std::string_view value)>;
  Status WriteSessions(std::string_view sync_id, const std::function<Status(const PutPair&)>& fill);
  Status ReadSessions(std::string_view sync_id, const PutPair& visit) const;

  /// Whether the lease is what holds this store's writers' registrations. Lock-free.
  bool IsWriterLease(LeaseId id) const { return id != 0 && id == shown_writer_.load(std::memory_order_relaxed); }

  /// A directory to work in, on the file system of the generations: copies of files that come in, syncs that are read only to be
  /// taken over. Goes with this object, with all that is in it; no sweep touches it before. One that a crash leaves behind is
  /// swept. The store must outlive it.
  class Scratch {
   public:
    ~Scratch();
    Scratch(const Scratch&) = delete;
    Scratch& operator=(const Scratch&) = delete;
    const std::string& path() const { return path_; }

   private:
    friend class Store;
    Scratch(Store* store, std::string name);
    Store* const store_;
    const std::string name_;
    const std::string path_;
  };
  Result<std::unique_ptr<Scratch>> MakeScratch();

  struct Swept {
    std::uint64_t generations = 0;
    std::uint64_t directories = 0;  ///< Staging and trash.
    std::uint64_t bytes = 0;
    std::uint64_t in_use = 0;       ///< Left for later: somebody reads them.
    std::uint64_t waiting = 0;      ///< Left for later: nothing has referred to them for less than unreferenced_keep_s.
  };
  /// Deletes generations that nothing refers to and nobody reads, and what half-made ones left. Holds up nobody but another
  /// sweep: switches, writers and readers go on while files are removed.
  Result<Swept> Sweep();

  /// What a generation says of itself, without opening it. Read once; then from memory. kDataLoss: missing or damaged.
  Result<std::shared_ptr<const GenerationInfo>> InfoOf(const GenerationId& id) const;

  /// Where the store stands, for metrics and people. Reads the catalog, and GENERATION once per generation; looks at the size
  /// of every file.
  Result<StoreFacts> Survey() const;

  const StoreOptions& options() const { return options_; }
  StoreMetrics& metrics() const { return *metrics_; }
  std::string GenerationPath(const GenerationId& id) const;
  std::string StagingPath(const GenerationId& id) const { return options_.data_dir + "/staging/" + id; }
  OpenSyncs& open_syncs() { return open_syncs_; }
  const OpenSyncs& open_syncs() const { return open_syncs_; }

 private:
  Store(StoreOptions options, Catalog* catalog);
  Status MakeDirectories();
  Status RetireEarlierWriters();
  Status MoveUnregisteredAside();
  Status RemoveOrphanedSessions();
  Result<std::vector<GenerationEntry>> ListGenerations() const;
  Result<LeaseId> WriterLease();
  /// The lease that it hangs on. kAborted: it is registered already. kLeaseNotFound: the writers' lease has ended; the next
  /// registration gets a new one.
  Result<LeaseId> PutRegistration(const GenerationId& id);
  /// kFailedPrecondition saying `taken`: somebody has it.
  Result<std::unique_ptr<Building>> Enlist(const GenerationId& id, const std::string& taken);
  void RenewWriterLease();
  Result<std::vector<Catalog::Change::Put>> Switched(std::vector<Switch>* switches, const GenerationId& id,
                                                     const std::string& digest) const;
  Status CommitSwitch(Catalog::Change change, const GenerationId& id, const std::vector<Switch>& switches,
                      const std::vector<SyncEntry>& removed);
  void ForgetSessions(std::string_view sync_id);
  void Evict() const VELLUM_REQUIRES(cache_mu_);
  std::size_t Readers() const VELLUM_EXCLUDES(cache_mu_);
  bool GraceEnded(const GenerationId& id) VELLUM_REQUIRES(sweep_mu_);
  storage::FileSystem* files() const { return options_.files.get(); }
  Result<std::shared_ptr<const Generation>> OpenFiles(const GenerationId& id) const;
  /// Keeps it open within the budget of files; returns the handle that is shared.
  std::shared_ptr<const Generation> Cache(std::shared_ptr<const Generation> generation) const VELLUM_REQUIRES(cache_mu_);
  Status RemoveDirectory(const std::string& path, Swept* swept);
  std::string SessionsPath(std::string_view sync_id) const;
  Status SweepGeneration(const GenerationEntry& entry, Swept* swept) VELLUM_REQUIRES(sweep_mu_);
  Status SweepLeftovers(const std::vector<std::string>& staged, const std::set<GenerationId>& kept, Swept* swept)
      VELLUM_REQUIRES(sweep_mu_);
  bool BeginRemoval(const GenerationId& id) VELLUM_EXCLUDES(cache_mu_);
  bool Claim(const std::string& name) VELLUM_EXCLUDES(claims_mu_);
  void Unclaim(const std::string& name) VELLUM_EXCLUDES(claims_mu_);
  bool Claimed(const std::string& name) VELLUM_EXCLUDES(claims_mu_);
  void Abandon(const Building& building);
  /// The row of what is being built. nullopt: its writer was taken for dead, and somebody else may have it.
  Result<std::optional<Catalog::Row>> Registration(const Building& building) const;

  const StoreOptions options_;
  Catalog* const catalog_;
  const storage::TableCache cache_;
  const std::unique_ptr<StoreMetrics> metrics_;
  bool opening_ = true;  ///< Until Open is done: nobody has read anything yet.

  mutable Mutex cache_mu_;
  struct CachedGeneration {
    std::shared_ptr<const Generation> generation;
    std::list<GenerationId>::iterator recency;
  };
  mutable std::list<GenerationId> recency_ VELLUM_GUARDED_BY(cache_mu_);  // latest used first
  mutable std::unordered_map<GenerationId, CachedGeneration> open_ VELLUM_GUARDED_BY(cache_mu_);
  /// Those outside the cache that somebody holds all the same, as they left it while they were read or are about to come into
  /// it: a sweep must know, and whoever asks gets the same one.
  mutable std::unordered_map<GenerationId, std::weak_ptr<const Generation>> evicted_ VELLUM_GUARDED_BY(cache_mu_);
  /// Those whose files somebody is opening: they are in use, and nobody holds a pointer yet.
  mutable std::multiset<GenerationId> being_opened_ VELLUM_GUARDED_BY(cache_mu_);
  /// Those whose files a sweep is removing: nobody may open them any more.
  std::set<GenerationId> being_removed_ VELLUM_GUARDED_BY(cache_mu_);
  /// Contents of GENERATION, which never change.
  mutable Mutex facts_mu_;
  mutable std::unordered_map<GenerationId, std::shared_ptr<const GenerationInfo>> infos_ VELLUM_GUARDED_BY(facts_mu_);

  OpenSyncs open_syncs_;

  /// One sweep at a time, its file operations included. Nobody else takes it: what keeps a sweep and those who switch apart is
  /// the generation's row, which a sweep marks as going, and which whoever points a sync at it stores anew; each of them does
  /// so only if the row is still the one that it has read. Taken before the others.
  Mutex sweep_mu_;
  /// Since when nothing refers to a generation, as the sweeps saw it.
  std::unordered_map<GenerationId, Clock::TimePoint> unreferenced_ VELLUM_GUARDED_BY(sweep_mu_);

  Mutex claims_mu_;  // taken last
  /// Names in staging/ and trash/ that somebody of this process works on.
  std::set<std::string> claims_ VELLUM_GUARDED_BY(claims_mu_);

  Mutex writer_mu_;
  LeaseId writer_ VELLUM_GUARDED_BY(writer_mu_) = 0;
  std::atomic<LeaseId> shown_writer_{0};  // as writer_, for those who must not wait
  bool stopping_ VELLUM_GUARDED_BY(writer_mu_) = false;
  CondVar stop_;
  std::thread renewer_;
};

/// A new generation's name: a KSUID, so that names sort by time to the second.
std::string NewKsuid(Clock* clock);

}  // namespace vellum::sync
