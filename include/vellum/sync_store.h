#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "vellum/clock.h"
#include "vellum/log.h"
#include "vellum/records.h"
#include "vellum/status.h"

namespace vellum {

class Store;

/// What can be set about the data plane of a store.
struct SyncOptions {
  std::size_t cache_bytes = 64u << 20;    ///< Decoded blocks of all open generations.
  std::size_t open_files_max = 512;       ///< Over all cached generations; those in use may exceed it.
  std::size_t memory_bytes = 160u << 20;  ///< For writing or deriving one generation.
  std::uint64_t file_bytes = 64u << 20;   ///< A table file's size, about.
  int threads = 2;                        ///< For deriving one generation.
  std::size_t history_max = 3;            ///< Generations that a sync keeps, the present one included.
  std::int64_t writer_ttl_s = 60;         ///< A writer that cannot renew for so long is taken for dead.
};

/// How long work is followed and stopped.
struct SyncWork {
  /// Polled, may be null. Set: kCancelled, and nothing has changed.
  const std::atomic<bool>* cancel = nullptr;
  /// Called now and then, from any thread, with the number of records done so far. May be empty.
  std::function<void(std::uint64_t records)> progress{};
};

/// One generation that a sync has pointed at.
struct SyncPast {
  std::string generation{};
  std::string digest{};     ///< Hex, over all records: equal for equal contents, however they came about.
  Stamp switched_at = 0;
  std::string operation{};  ///< What made it: "seal", "merge", "fold", "replace", "rollback", ...
};

/// A sync as the catalog has it.
struct SyncInfo {
  SyncRun run{};
  std::string connector{};
  bool being_written = false;       ///< A writer has it, or left it at a checkpoint.
  std::vector<SyncPast> history{};  ///< The present generation first. Empty: nothing of it can be read yet.
};

/// The records of a sync as they were when it was opened; later switches and deletions do not disturb it. Thread-safe;
/// sources are not. May outlive the store.
class SyncView {
 public:
  virtual ~SyncView() = default;
  virtual const std::string& generation() const = 0;
  virtual std::string digest() const = 0;
  /// How many there are. O(1).
  virtual std::uint64_t records(RecordType type) const = 0;

  /// All records of a type, in the order of their identities.
  virtual std::unique_ptr<RecordSource> Records(RecordType type) const = 0;
  /// The grants on an entitlement; on all of a resource's entitlements; of a principal. Each costs what it returns.
  virtual std::unique_ptr<RecordSource> GrantsOfEntitlement(std::string_view type_id, std::string_view resource_id,
                                                            std::string_view entitlement_id) const = 0;
  virtual std::unique_ptr<RecordSource> GrantsOfResource(std::string_view type_id, std::string_view resource_id) const = 0;
  virtual std::unique_ptr<RecordSource> GrantsOfPrincipal(std::string_view type_id, std::string_view id) const = 0;
  /// Grants whose needs_expansion is set.
  virtual std::unique_ptr<RecordSource> GrantsNeedingExpansion() const = 0;
  /// The resources that hang below a resource.
  virtual std::unique_ptr<RecordSource> Children(std::string_view type_id, std::string_view id) const = 0;

  /// Reads everything: files against their checksums, records against counts and digest, every index against a rebuild.
  /// One line per problem, the first twenty; empty: sound. `scratch_dir` takes temporary files.
  virtual Result<std::vector<std::string>> Verify(const std::string& scratch_dir, const SyncWork& work) const = 0;
  Result<std::vector<std::string>> Verify(const std::string& scratch_dir) const { return Verify(scratch_dir, {}); }
};

/// Writes one sync, in any order of records; of equal identities the last one put counts. Nothing of it can be read before
/// Seal. A writer that goes unsealed leaves what its last checkpoint kept, or nothing. Not thread-safe. After the store's
/// Close every call returns kUnavailable (kStopped).
class SyncWriter : public RecordSink {
 public:
  /// Makes everything so far, and `token` (at most 16 MiB), survive the process and the power before it returns.
  /// kFailedPrecondition where an existing sync is being replaced.
  virtual Status Checkpoint(std::string_view token) = 0;
  /// The last checkpoint's.
  virtual std::string token() const = 0;
  /// Records put so far, repeated identities included.
  virtual std::uint64_t records() const = 0;
  /// Builds tables and indexes and makes the sync readable, wholly or not at all; durable when it returns. `ended_at` 0
  /// leaves it unfinished. kAborted: the sync changed meanwhile, or this writer was taken for dead.
  virtual Status Seal(Stamp ended_at, const SyncWork& work) = 0;
  Status Seal(Stamp ended_at) { return Seal(ended_at, {}); }
};

struct SyncStoreOptions {
  std::string directory{};        ///< A store's; made with mode 0700 if missing. One process at a time.
  bool create_if_missing = true;
  SyncOptions sync{};
  Clock* clock = SystemClock();   ///< Must outlive the store.
  LogSink* log_sink = nullptr;    ///< Must outlive the store. Null: silence.
  LogLevel log_level = LogLevel::kInfo;
};

/// The access snapshots of one data directory. Thread-safe. Every change is durable when it returns, and happens wholly or
/// not at all, also when the process dies at any moment.
class SyncStore {
 public:
  /// Opens the directory for itself. kFailedPrecondition: in use by another process (a server, say), or of a newer format.
  static Result<std::unique_ptr<SyncStore>> Open(SyncStoreOptions options);
  /// In the directory of a store that this process has open, and that outlives it; its catalog are keys under /vellum/
  /// there. kFailedPrecondition if the store has one already. After the store's Close, calls return kUnavailable.
  static Result<std::unique_ptr<SyncStore>> Attach(Store* store, const SyncOptions& options);
  static Result<std::unique_ptr<SyncStore>> Attach(Store* store) { return Attach(store, {}); }

  /// Closes.
  virtual ~SyncStore() = default;
  /// Waits for calls that have begun, ends writers as if they had gone away, and releases the directory. Later calls
  /// return kUnavailable (kStopped). Views stay readable. Idempotent.
  virtual Status Close() = 0;

  virtual Result<std::vector<SyncInfo>> List() const = 0;
  /// nullopt: unknown.
  virtual Result<std::optional<SyncInfo>> Find(std::string_view sync_id) const = 0;
  /// kNotFound: unknown; kFailedPrecondition: nothing of it can be read yet; kDataLoss: its files are missing or damaged.
  virtual Result<std::shared_ptr<const SyncView>> Read(std::string_view sync_id) const = 0;

  enum class IfExists : std::uint8_t { kRefuse, kReplace };
  /// Starts a sync. kFailedPrecondition if `run.id` exists (unless kReplace: it then stays as it is until Seal) or is
  /// being written. `connector` names where it comes from; may be empty.
  virtual Result<std::unique_ptr<SyncWriter>> Write(SyncRun run, std::string connector, IfExists if_exists) = 0;
  Result<std::unique_ptr<SyncWriter>> Write(SyncRun run, std::string connector = {}) {
    return Write(std::move(run), std::move(connector), IfExists::kRefuse);
  }
  /// Goes on from the last checkpoint. kNotFound; kFailedPrecondition if another writer has it or nothing was left.
  virtual Result<std::unique_ptr<SyncWriter>> Resume(std::string_view sync_id) = 0;

  /// Goes back to the generation before the present one, which stays in the history. kFailedPrecondition without one.
  virtual Status Rollback(std::string_view sync_id) = 0;
  /// Forgets a sync and removes what only it had. kNotFound.
  virtual Status Delete(std::string_view sync_id) = 0;
  /// Removes generations that nothing refers to and nobody reads, and what dead writers left; the bytes that came free.
  virtual Result<std::uint64_t> Sweep() = 0;
};

}  // namespace vellum
