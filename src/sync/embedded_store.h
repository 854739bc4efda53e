#pragma once

#include <memory>
#include <mutex>
#include <shared_mutex>
#include <vector>

#include "kv/store_watch.h"
#include "sync/catalog.h"
#include "sync/operations.h"
#include "vellum/store.h"
#include "vellum/sync_store.h"

namespace vellum::sync {

/// The public store of syncs: a Store of this room over the metadata plane of an embedded vellum::Store. Thread-safe.
class EmbeddedStore final : public SyncStore {
 public:
  /// Everything that Close ends, shared with the writers.
  class Body;

  /// Keeps the store from being closed while it is in use. Test it: after Close there is none.
  class Use {
   public:
    explicit Use(const Body& body);
    explicit operator bool() const { return store_ != nullptr; }
    Store* operator->() const { return store_; }
    Store* get() const { return store_; }

   private:
    std::shared_lock<std::shared_mutex> lock_;
    Store* store_;
  };

  /// Over a store's engine; `owned` is that store if this object is to close it.
  static Result<std::unique_ptr<SyncStore>> Make(std::shared_ptr<kv::EngineHandle> engine,
                                                 std::unique_ptr<vellum::Store> owned, StoreOptions options);
  explicit EmbeddedStore(std::shared_ptr<Body> body) : body_(std::move(body)) {}
  ~EmbeddedStore() override;

  const Body& body() const { return *body_; }

  Status Close() override;
  Result<std::vector<SyncInfo>> List() const override;
  Result<std::optional<SyncInfo>> Find(std::string_view sync_id) const override;
  Result<std::shared_ptr<const SyncView>> Read(std::string_view sync_id) const override;
  Result<std::unique_ptr<vellum::SyncWriter>> Write(SyncRun run, std::string connector, IfExists if_exists) override;
  Result<std::unique_ptr<vellum::SyncWriter>> Resume(std::string_view sync_id) override;
  Status Rollback(std::string_view sync_id) override;
  Status Delete(std::string_view sync_id) override;
  Result<std::uint64_t> Sweep() override;

 private:
  const std::shared_ptr<Body> body_;
};

/// What every call on a closed store returns.
Status StoreClosed();

}  // namespace vellum::sync
