#pragma once

#include <memory>
#include <unordered_map>

#include "base/mutex.h"
#include "rpc/core.h"

namespace vellum::rpc {

/// Whether the server serves, and who wants to know when that changes. Thread-safe.
class HealthState {
 public:
  bool serving() const VELLUM_EXCLUDES(mu_);
  void Set(bool serving) VELLUM_EXCLUDES(mu_);

  /// Sends the present state at once and each change later, until Unsubscribe.
  std::uint64_t Subscribe(std::shared_ptr<wire::StreamWriter> writer) VELLUM_EXCLUDES(mu_);
  void Unsubscribe(std::uint64_t id) VELLUM_EXCLUDES(mu_);

 private:
  mutable Mutex mu_;
  bool serving_ VELLUM_GUARDED_BY(mu_) = true;
  std::uint64_t next_ VELLUM_GUARDED_BY(mu_) = 1;
  std::unordered_map<std::uint64_t, std::shared_ptr<wire::StreamWriter>> writers_ VELLUM_GUARDED_BY(mu_);
};

/// Adds the methods of grpc.health.v1.Health.
void RegisterHealth(const CorePtr& core, const std::shared_ptr<HealthState>& state, wire::ServiceTable* table);

}  // namespace vellum::rpc
