#pragma once

#include <memory>
#include <string>

#include "base/log.h"
#include "base/metrics.h"
#include "rpc/sync_limits.h"
#include "service/host.h"
#include "wire/service.h"

namespace vellum::rpc {

/// What vellum.sync.v1 works with. Every pointer must stay valid until SyncServices::Stop has returned.
struct SyncServiceContext {
  service::Host* host = nullptr;
  SyncLimits limits;
  Logger logger;
  Metrics* metrics = nullptr;  ///< Must not be null.
};

/// The service vellum.sync.v1.Syncs over a Host.
///
/// Order of stopping: this, the wire server, the host. This object goes after the wire server.
class SyncServices {
 public:
  explicit SyncServices(SyncServiceContext context);
  /// Stops.
  ~SyncServices();
  SyncServices(const SyncServices&) = delete;
  SyncServices& operator=(const SyncServices&) = delete;

  /// Adds every method to `table`, which keeps referring to this object.
  void Register(wire::ServiceTable* table);
  /// Cancels the calls that run and waits for them; later ones are refused. Idempotent.
  void Stop();

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace vellum::rpc
