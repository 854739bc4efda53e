#pragma once

#include <functional>
#include <map>
#include <set>

#include "base/mutex.h"
#include "sync/catalog.h"

namespace vellum::sync {

/// A catalog in memory, for tests and for work on files that needs no store: durable as long as the object lives. Thread-safe.
class MemoryCatalog final : public Catalog {
 public:
  Result<std::optional<Row>> Get(std::string_view key) const override {
    MutexLock lock(&mu_);
    const auto found = rows_.find(std::string(key));
    return found == rows_.end() ? std::optional<Row>() : std::optional<Row>(found->second);
  }

  Result<std::vector<Row>> List(std::string_view prefix) const override {
    MutexLock lock(&mu_);
    std::vector<Row> rows;
    for (auto at = rows_.lower_bound(std::string(prefix)); at != rows_.end() && at->first.starts_with(prefix); ++at) {
      rows.push_back(at->second);
    }
    return rows;
  }

  Status Commit(const Change& change) override {
    MutexLock lock(&mu_);
    for (const auto& expectation : change.expect) {
      const auto found = rows_.find(expectation.key);
      if ((found == rows_.end() ? 0 : found->second.mod_revision) != expectation.mod_revision) {
        return Aborted("the catalog has changed meanwhile: read again and repeat");
      }
    }
    ++revision_;
    for (const auto& put : change.put) {
      if (put.lease != 0 && !leases_.contains(put.lease)) return NotFound("requested lease not found", Reason::kLeaseNotFound);
      rows_[put.key] = {put.key, put.value, revision_, put.lease};
    }
    for (const std::string& key : change.remove) rows_.erase(key);
    return {};
  }

  Result<LeaseId> GrantLease(std::int64_t /*ttl_s*/) override {
    MutexLock lock(&mu_);
    leases_.insert(++next_lease_);
    return next_lease_;
  }
  Result<bool> RenewLease(LeaseId id) override {
    MutexLock lock(&mu_);
    return leases_.contains(id);
  }
  Status RevokeLease(LeaseId id) override {
    MutexLock lock(&mu_);
    if (leases_.erase(id) > 0) {
      std::erase_if(rows_, [id](const auto& row) { return row.second.lease == id; });
    }
    return {};
  }

 private:
  mutable Mutex mu_;
  std::map<std::string, Row> rows_ VELLUM_GUARDED_BY(mu_);
  std::set<LeaseId> leases_ VELLUM_GUARDED_BY(mu_);
  Revision revision_ VELLUM_GUARDED_BY(mu_) = 1;
  LeaseId next_lease_ VELLUM_GUARDED_BY(mu_) = 0;
};

}  // namespace vellum::sync
