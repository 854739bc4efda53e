#include <gtest/gtest.h>

#include "base/test_dir.h"
#include "service/local_sync_service.h"
#include "service/stores.h"

namespace vellum::service {
namespace {

class LocalKeep : public ::testing::Test {
 protected:
  void SetUp() override {
    auto opened = DataDirectory::Open(directory_.path() + "/data", DataDirectory::IfMissing::kCreate);
    ASSERT_TRUE(opened.ok()) << opened.error().ToString();
    data_ = *std::move(opened);
    service_ = std::make_unique<LocalSyncService>(data_->store());
  }

  void Write(const std::string& id, const std::string& type, sync::Stamp started_at, sync::Stamp ended_at, const char* user) {
    WriteRequest request;
    request.run.id = id;
    request.run.type = type;
    request.run.started_at = started_at;
    request.connector = "okta";
    auto writer = service_->Write(request);
    ASSERT_TRUE(writer.ok()) << writer.error().ToString();
    sync::RecordView grant;
    grant.type = sync::RecordType::kGrant;
    grant.discovered_at = ended_at;
    grant.type_id = "group";
    grant.resource_id = "g1";
    grant.entitlement_id = "group:g1:member";
    grant.principal_type_id = "user";
    grant.principal_id = user;
    ASSERT_TRUE((*writer)->Put(grant).ok());
    ASSERT_TRUE((*writer)->Seal(ended_at, {}).ok());
  }

  TestDir directory_;
  std::unique_ptr<DataDirectory> data_;
  std::unique_ptr<LocalSyncService> service_;
};

TEST_F(LocalKeep, ConnectorsThatNobodyKnowsAreNamedWithThoseThatThereAre) {
  EXPECT_EQ(service_->Retain({.connector = "okta"}, {}).error().message(), "no sync is of connector okta: there are no syncs");
  Write("f", "full", 1, 2, "alice");
  const Status refused = service_->Rollup({.connector = "otka"}, {}).error();
  EXPECT_EQ(refused.code(), Code::kNotFound);
  EXPECT_EQ(refused.message(), "no sync is of connector otka; there are okta");
}

TEST_F(LocalKeep, RollupAndRetentionOnTheMetadataPlane) {
  Write("f1", "full", 1, 2, "alice");
  Write("f2", "full", 3, 4, "bob");
  Write("p1", "partial", 5, 6, "carol");
  Write("p2", "partial", 5, 7, "dave");
  RollupRequest rollup{.connector = "okta", .dry_run = true};
  auto rolled = service_->Rollup(rollup, {});
  ASSERT_TRUE(rolled.ok()) << rolled.error().ToString();
  EXPECT_EQ(rolled->merged, (std::vector<std::string>{"p1", "p2"}));
  EXPECT_FALSE(rolled->merge.has_value());
  rollup.dry_run = false;
  rolled = service_->Rollup(rollup, {});
  ASSERT_TRUE(rolled.ok()) << rolled.error().ToString();
  ASSERT_TRUE(rolled->merge.has_value());
  EXPECT_EQ(rolled->merge->records, 3u);

  auto retained = service_->Retain({.connector = "okta", .keep = 1}, {});
  ASSERT_TRUE(retained.ok()) << retained.error().ToString();
  ASSERT_EQ(retained->gone.size(), 1u);
  EXPECT_EQ(retained->gone[0].sync_id, "f1");
  EXPECT_EQ(retained->gone[0].type, "full");
  EXPECT_EQ(retained->gone[0].ended_at, 2u);
  EXPECT_EQ(retained->gone[0].records, 1u);
  EXPECT_EQ(service_->ListSyncs()->size(), 1u);
}

TEST_F(LocalKeep, RepairLeavesASoundSyncAlone) {
  Write("f", "full", 1, 2, "alice");
  const auto report = service_->Repair("f", {});
  ASSERT_TRUE(report.ok()) << report.error().ToString();
  EXPECT_FALSE(report->changed);
  EXPECT_EQ(report->records, 1u);
  EXPECT_EQ(service_->Repair("g", {}).error().code(), Code::kNotFound);
  const auto verified = service_->Verify("f", {});
  ASSERT_TRUE(verified.ok());
  EXPECT_TRUE(verified->ok());
  EXPECT_EQ(verified->findings.size(), 3u) << "a grant alone lacks everything that it names";
}

}  // namespace
}  // namespace vellum::service
