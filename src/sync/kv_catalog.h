#pragma once

#include "kv/engine.h"
#include "sync/catalog.h"

namespace vellum::sync {

/// The catalog in a metadata plane of the same process.
class KvCatalog final : public Catalog {
 public:
  /// `engine` must outlive this.
  explicit KvCatalog(kv::Engine* engine) : engine_(engine) {}

  Result<std::optional<Row>> Get(std::string_view key) const override;
  Result<std::vector<Row>> List(std::string_view prefix) const override;
  Status Commit(const Change& change) override;
  Result<LeaseId> GrantLease(std::int64_t ttl_s) override;
  Result<bool> RenewLease(LeaseId id) override;
  Status RevokeLease(LeaseId id) override;

 private:
  kv::Engine* const engine_;
};

}  // namespace vellum::sync
