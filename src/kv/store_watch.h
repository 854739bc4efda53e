#pragma once

#include <memory>
#include <shared_mutex>
#include <utility>

#include "kv/engine.h"
#include "vellum/status.h"
#include "vellum/store.h"

namespace vellum::kv {

/// An engine that several handles share and one call closes. Thread-safe.
class EngineHandle {
 public:
  explicit EngineHandle(std::unique_ptr<Engine> engine) : engine_(std::move(engine)) {}

  /// Keeps the engine from being destroyed while it is in use. Test it: after Close there is none.
  class Use {
   public:
    explicit Use(const EngineHandle& handle) : lock_(handle.mu_), engine_(handle.engine_.get()) {}
    explicit operator bool() const { return engine_ != nullptr; }
    Engine* operator->() const { return engine_; }
    Engine* get() const { return engine_; }

   private:
    const std::shared_lock<std::shared_mutex> lock_;
    Engine* const engine_;
  };

  /// Stops the engine, which ends what waits for it, then destroys it. Idempotent.
  Status Close() {
    Status status;
    {
      const Use use(*this);
      if (!use) return {};
      status = use->Stop();
    }
    const std::unique_lock<std::shared_mutex> lock(mu_);
    engine_.reset();
    return status;
  }

 private:
  mutable std::shared_mutex mu_;
  std::unique_ptr<Engine> engine_;  // guarded by mu_
};

/// A watch with a stream of the hub of its own.
std::unique_ptr<WatchStream> OpenStoreWatch(std::shared_ptr<EngineHandle> handle, Engine& engine,
                                            const WatchRequest& request);

}  // namespace vellum::kv
