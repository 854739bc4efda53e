#include "rpc/sync_service.h"

#include "rpc/sync_methods.h"

namespace vellum::rpc {

struct SyncServices::Impl {
  explicit Impl(SyncServiceContext from)
      : context(std::move(from)),
        environment{context.limits,
                    context.metrics->AddCounter("vellum_sync_records_received_total",
                                                "Records that clients streamed in."),
                    context.metrics->AddGauge("vellum_sync_spool_bytes",
                                              "Bytes of files that are on their way in or out.")},
        calls(context.limits, context.logger, context.metrics) {}

  using Method = Status (*)(const SyncMethodContext&);
  void Add(const char* name, wire::StreamKind kind, Method method, wire::ServiceTable* table) {
    table->AddStream(std::string("/vellum.sync.v1.Syncs/") + name,
                     [this, method](std::shared_ptr<const wire::CallContext> /*context*/,
                                    std::shared_ptr<wire::StreamWriter> writer) {
                       return calls.Start(std::move(writer), [this, method](SyncCall* call) -> Status {
                         VELLUM_ASSIGN_OR_RETURN(service::LocalSyncService* const service, context.host->service());
                         return method({call, service, &environment});
                       });
                     },
                     kind);
  }

  const SyncServiceContext context;
  SyncEnvironment environment;
  SyncCalls calls;  // last: its threads use the others
};

SyncServices::SyncServices(SyncServiceContext context) : impl_(std::make_unique<Impl>(std::move(context))) {}

SyncServices::~SyncServices() = default;

void SyncServices::Register(wire::ServiceTable* table) {
  using enum wire::StreamKind;
  impl_->Add("ListSyncs", kServer, ServeListSyncs, table);
  impl_->Add("DescribeSync", kServer, ServeDescribeSync, table);
  impl_->Add("ListRecords", kServer, ServeListRecords, table);
  impl_->Add("ListPrincipals", kServer, ServeListPrincipals, table);
  impl_->Add("FindRecords", kServer, ServeFindRecords, table);
  impl_->Add("Access", kServer, ServeAccess, table);
  impl_->Add("Diff", kBidirectional, ServeDiff, table);
  impl_->Add("Write", kBidirectional, ServeWrite, table);
  impl_->Add("Import", kBidirectional, ServeImport, table);
  impl_->Add("Export", kServer, ServeExport, table);
  impl_->Add("Merge", kServer, ServeMerge, table);
  impl_->Add("Compact", kBidirectional, ServeCompact, table);
  impl_->Add("Rollback", kServer, ServeRollback, table);
  impl_->Add("Delete", kServer, ServeDelete, table);
  impl_->Add("Sweep", kServer, ServeSweep, table);
  impl_->Add("Verify", kServer, ServeVerify, table);
  impl_->Add("Repair", kServer, ServeRepair, table);
  impl_->Add("Retain", kServer, ServeRetain, table);
  impl_->Add("Rollup", kServer, ServeRollup, table);
}

void SyncServices::Stop() { impl_->calls.Stop(); }

}  // namespace vellum::rpc
