#pragma once

#include <functional>
#include <string>

#include "storage/fault_file_system.h"
#include "sync/catalog.h"

/// The steps of the order in which syncs change, seen from outside: in the file operations and catalog changes that an act
/// makes. So nothing in the program knows that it is watched.
namespace vellum::sync {

/// The name of the step that this file operation is; empty: it has none of its own.
std::string StepOf(storage::FaultFileSystem::Operation operation, storage::FaultFileSystem::Moment moment,
                   const std::string& path);

/// A catalog that tells before and after each change which step it is. Calls come from the changing thread.
class WatchedCatalog final : public Catalog {
 public:
  using Observer = std::function<void(const std::string& step)>;
  /// `target` must outlive this.
  WatchedCatalog(Catalog* target, Observer observer) : target_(target), observer_(std::move(observer)) {}

  Result<std::optional<Row>> Get(std::string_view key) const override { return target_->Get(key); }
  Result<std::vector<Row>> List(std::string_view prefix) const override { return target_->List(prefix); }
  Status Commit(const Change& change) override;
  Result<LeaseId> GrantLease(std::int64_t ttl_s) override { return target_->GrantLease(ttl_s); }
  Result<bool> RenewLease(LeaseId id) override { return target_->RenewLease(id); }
  Status RevokeLease(LeaseId id) override { return target_->RevokeLease(id); }

 private:
  Catalog* const target_;
  const Observer observer_;
};

}  // namespace vellum::sync
