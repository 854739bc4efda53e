#pragma once

#include <gtest/gtest.h>

#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "base/manual_clock.h"
#include "base/metrics.h"
#include "base/test_dir.h"
#include "sync/codec.h"
#include "sync/memory_catalog.h"
#include "sync/operations.h"

/// Stores with a clock that tests advance, and syncs to put into them.
namespace vellum::sync::testing {

/// A catalog whose n-th transaction fails, before or after it was applied, as if the process died there.
class FailingCatalog final : public Catalog {
 public:
  explicit FailingCatalog(Catalog* under) : under_(under) {}
  /// Lets `commits` more through, then fails all.
  void FailAfter(int commits, bool applied) {
    left_ = commits;
    applied_ = applied;
  }
  void Heal() { left_ = -1; }
  bool failed() const { return failed_; }

  Result<std::optional<Row>> Get(std::string_view key) const override { return under_->Get(key); }
  Result<std::vector<Row>> List(std::string_view prefix) const override { return under_->List(prefix); }
  /// Called once, after the next transaction that succeeds, before its caller learns of it.
  void OnceCommitted(std::function<void()> what) { committed_ = std::move(what); }
  Status Commit(const Change& change) override {
    Status done = CommitOrFail(change);
    if (done.ok() && committed_) std::exchange(committed_, nullptr)();
    return done;
  }
  Result<LeaseId> GrantLease(std::int64_t ttl_s) override { return under_->GrantLease(ttl_s); }
  Result<bool> RenewLease(LeaseId id) override { return under_->RenewLease(id); }
  Status RevokeLease(LeaseId id) override { return under_->RevokeLease(id); }

 private:
  Status CommitOrFail(const Change& change) {
    if (left_ < 0) return under_->Commit(change);
    if (left_ > 0) {
      --left_;
      return under_->Commit(change);
    }
    failed_ = true;
    if (!std::exchange(applied_, false)) return Unavailable("died before it");
    const Status done = under_->Commit(change);
    return done.ok() ? Unavailable("died after it").WithMaybeApplied() : done;
  }

  Catalog* const under_;
  std::function<void()> committed_;
  int left_ = -1;
  bool applied_ = false;
  bool failed_ = false;
};

struct TestStore {
  explicit TestStore(std::function<void(StoreOptions*)> change = {}) : change_options(std::move(change)) { Reopen(); }
  void Reopen() {
    store.reset();
    StoreOptions options;
    options.data_dir = dir.path();
    options.file_bytes = 16384;
    options.clock = &clock;
    options.metrics = &metrics;
    if (change_options) change_options(&options);
    auto opened = Store::Open(options, &failing);
    ASSERT_TRUE(opened.ok()) << opened.error().ToString();
    store = *std::move(opened);
  }
  std::size_t Count(const std::string& folder) const {
    const std::filesystem::directory_iterator at(dir.path() + "/" + folder);
    return static_cast<std::size_t>(std::distance(std::filesystem::begin(at), std::filesystem::end(at)));
  }
  SyncEntry Get(const std::string& id) const {
    auto entry = store->Get(id);
    EXPECT_TRUE(entry.ok()) << entry.error().ToString();
    return entry.ok() ? *std::move(entry) : SyncEntry{};
  }
  std::shared_ptr<const Generation> Open(const std::string& id) const {
    auto generation = store->OpenSync(id);
    EXPECT_TRUE(generation.ok()) << generation.error().ToString();
    return generation.ok() ? *std::move(generation) : nullptr;
  }
  /// Ids, in the catalog's order.
  std::vector<std::string> Ids() const {
    std::vector<std::string> ids;
    const auto syncs = store->List();
    EXPECT_TRUE(syncs.ok());
    for (const SyncEntry& entry : *syncs) ids.push_back(entry.run.id);
    return ids;
  }

  std::function<void(StoreOptions*)> change_options;
  TestDir dir;
  ManualClock clock;
  Metrics metrics;
  MemoryCatalog catalog;
  FailingCatalog failing{&catalog};
  std::unique_ptr<Store> store;
};

inline void PutGrant(RecordSink* sink, const std::string& group, const std::string& user, Stamp stamp,
                     const std::string& data, bool needs_expansion = false) {
  const std::string entitlement = "group:" + group + ":member";
  RecordView grant;
  grant.type = RecordType::kGrant;
  grant.type_id = "group";
  grant.resource_id = group;
  grant.entitlement_id = entitlement;
  grant.principal_type_id = "user";
  grant.principal_id = user;
  grant.discovered_at = stamp;
  grant.data = data;
  grant.needs_expansion = needs_expansion;
  if (needs_expansion) grant.expansion = "x";
  ASSERT_TRUE(sink->Put(grant).ok());
}

/// A sync to write: what it is, and its grants "u-first" and on, spread over seven groups.
struct Plan {
  std::string id;
  std::string type = "full";
  std::string connector = "test";
  Stamp started_at = 1000;
  Stamp ended_at = 2000;
  int grants = 10;
  int first = 0;
  Stamp stamp = 5;
  std::string data = "x";
  std::string linked_id = {};
};

inline SyncRun RunOf(const Plan& plan) {
  SyncRun run;
  run.id = plan.id;
  run.type = plan.type;
  run.started_at = plan.started_at;
  run.linked_id = plan.linked_id;
  return run;
}

inline void Write(TestStore* to, const Plan& plan, SyncWriter::IfExists if_exists = SyncWriter::IfExists::kRefuse) {
  auto writer = SyncWriter::Begin(to->store.get(), RunOf(plan), plan.connector, if_exists);
  ASSERT_TRUE(writer.ok()) << writer.error().ToString();
  for (int i = 0; i < plan.grants; ++i) {
    const int user = plan.first + i;
    PutGrant(writer->get(), "g" + std::to_string(user % 7), "u-" + std::to_string(user), plan.stamp, plan.data, user % 5 == 0);
  }
  auto sealed = (*writer)->Seal(plan.ended_at, "seal");
  ASSERT_TRUE(sealed.ok()) << sealed.error().ToString();
}

/// All keys and values of a generation, over all buckets: equal for equal records with equal indexes.
inline std::map<std::string, std::string> Dump(const Generation& generation) {
  std::map<std::string, std::string> all;
  for (const BucketInfo& bucket : kBuckets) {
    for (const auto cursor = generation.Scan(bucket.bucket); cursor->valid(); cursor->Next()) {
      all.emplace(cursor->key(), cursor->value());
    }
  }
  return all;
}

/// Folds `count` partials of `grants` grants each into a sync, so that it has as many overlays.
inline void AddOverlays(TestStore* to, const std::string& id, int count, int grants = 3) {
  for (int i = 0; i < count; ++i) {
    const std::string partial = id + "-overlay-" + std::to_string(i);
    const Stamp newer = 100 + to->Open(id)->info().layers;
    Write(to, {.id = partial, .type = "partial", .connector = "overlays", .grants = grants, .stamp = newer,
               .data = "overlay " + std::to_string(newer)});
    MergeOptions options;
    options.strategy = Strategy::kFold;
    const auto merged = MergeSyncs(to->store.get(), {{to->store.get(), partial}}, id, options);
    ASSERT_TRUE(merged.ok()) << merged.error().ToString();
    ASSERT_TRUE(to->store->Delete(partial).ok());
  }
}

}  // namespace vellum::sync::testing
