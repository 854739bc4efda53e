#include "rpc/services.h"

#include <google/protobuf/stubs/logging.h>

#include <utility>

#include "rpc/cluster_service.h"
#include "rpc/core.h"
#include "rpc/errors.h"
#include "rpc/health_service.h"
#include "rpc/kv_service.h"
#include "rpc/lease_service.h"
#include "rpc/maintenance_service.h"
#include "rpc/range_stream.h"
#include "rpc/reflection_service.h"
#include "rpc/watch_service.h"

namespace vellum::rpc {

struct Services::Impl {
  explicit Impl(ServiceContext context) : core(std::make_shared<Core>(std::move(context))) {}

  const CorePtr core;
  const std::shared_ptr<HealthState> health = std::make_shared<HealthState>();
};

Services::Services(ServiceContext context) : impl_(std::make_unique<Impl>(std::move(context))) {
  // Protobuf writes a line of its own to standard error for each string that is no UTF-8, so that anyone could fill the
  // log. What such a call is answered says it all.
  google::protobuf::SetLogHandler(nullptr);
}

Services::~Services() { Stop(); }

void Services::Register(wire::ServiceTable* table) {
  RegisterKv(impl_->core, table);
  RegisterRangeStream(impl_->core, table);
  RegisterWatch(impl_->core, table);
  RegisterLease(impl_->core, table);
  RegisterMaintenance(impl_->core, table);
  RegisterCluster(impl_->core, table);
  RegisterHealth(impl_->core, impl_->health, table);
  RegisterReflection(impl_->core, table);
}

void Services::Stop() {
  impl_->core->stopping.store(true, std::memory_order_release);
  impl_->core->streams.FinishAll(MakeError(EtcdError::kStopped));
}

void Services::SetServing(bool serving) { impl_->health->Set(serving); }

}  // namespace vellum::rpc
