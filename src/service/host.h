#pragma once

#include <atomic>
#include <memory>
#include <thread>

#include "base/mutex.h"
#include "kv/engine.h"
#include "service/local_sync_service.h"
#include "sync/keeper.h"
#include "sync/kv_catalog.h"
#include "sync/store.h"

namespace vellum::service {

/// The syncs in a data directory whose metadata plane is already open, for a server. Thread-safe.
///
/// The store is opened when it is first asked for, or, where there are syncs already, in the background: what a crash left is swept
/// without anybody waiting, and a server that has no syncs pays for none. While it is open a keeper looks after it.
class Host {
 public:
  /// `engine` must stay open until Stop has returned.
  Host(kv::Engine* engine, sync::StoreOptions options, sync::KeeperOptions keeper = {});
  /// Stops.
  ~Host();
  Host(const Host&) = delete;
  Host& operator=(const Host&) = delete;

  /// Opens in the background if the data directory has syncs.
  void Start() VELLUM_EXCLUDES(mu_);
  /// Opens if that has not happened; a failure is tried again next time. Valid until Stop. kUnavailable after it.
  Result<LocalSyncService*> service() VELLUM_EXCLUDES(mu_);
  /// Whether a lease is that of this data directory's writers of syncs. Never waits.
  bool IsWriterLease(LeaseId id) const;
  /// Closes. All calls of the service, and of IsWriterLease, must have ended. Idempotent.
  void Stop() VELLUM_EXCLUDES(mu_);

 private:
  const sync::StoreOptions options_;
  const sync::KeeperOptions keeper_options_;
  const sync::StoreMetrics metrics_;  ///< From the start, so that what is looked at is there before there are syncs.
  sync::KvCatalog catalog_;

  Mutex mu_;  // held while opening: others wait for the result
  bool stopped_ VELLUM_GUARDED_BY(mu_) = false;
  std::unique_ptr<sync::Store> store_ VELLUM_GUARDED_BY(mu_);
  std::unique_ptr<LocalSyncService> service_ VELLUM_GUARDED_BY(mu_);
  std::unique_ptr<sync::Keeper> keeper_ VELLUM_GUARDED_BY(mu_);
  std::atomic<const sync::Store*> shown_{nullptr};  // as store_, for those who must not wait

  std::thread opener_;  // of Start and Stop alone
};

}  // namespace vellum::service
