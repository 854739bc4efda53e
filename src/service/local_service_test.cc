#include <gtest/gtest.h>

#include <atomic>
#include <fstream>

#include "base/test_dir.h"
#include "service/local_sync_service.h"
#include "service/stores.h"

namespace vellum::service {
namespace {

namespace fs = std::filesystem;

class LocalService : public testing::Test {
 protected:
  void SetUp() override {
    auto opened = DataDirectory::Open(directory_.path() + "/data", DataDirectory::IfMissing::kCreate);
    ASSERT_TRUE(opened.ok()) << opened.error().ToString();
    data_ = *std::move(opened);
    service_ = std::make_unique<LocalSyncService>(data_->store());
  }

  static sync::RecordView Grant(const char* principal) {
    sync::RecordView grant;
    grant.type = sync::RecordType::kGrant;
    grant.discovered_at = 1'700'000'000'000'000'000;
    grant.id = principal;
    grant.type_id = "group";
    grant.resource_id = "g1";
    grant.entitlement_id = "group:g1:member";
    grant.principal_type_id = "user";
    grant.principal_id = principal;
    return grant;
  }

  SyncDescription WriteSync(SyncService* service, const std::string& id, const std::vector<const char*>& principals,
                            bool replace = false) {
    WriteRequest request;
    request.run.id = id;
    request.run.type = "full";
    request.run.started_at = 1;
    request.connector = "test";
    request.replace = replace;
    auto writer = service->Write(request);
    EXPECT_TRUE(writer.ok()) << writer.error().ToString();
    for (const char* principal : principals) EXPECT_TRUE((*writer)->Put(Grant(principal)).ok());
    auto sealed = (*writer)->Seal(2, {});
    EXPECT_TRUE(sealed.ok()) << sealed.error().ToString();
    return *std::move(sealed);
  }

  TestDir directory_;
  std::unique_ptr<DataDirectory> data_;
  std::unique_ptr<LocalSyncService> service_;
};

TEST_F(LocalService, WrittenSyncIsDescribed) {
  const SyncDescription sealed = WriteSync(service_.get(), "s1", {"alice", "bob"});
  EXPECT_EQ(sealed.entry.connector, "test");
  ASSERT_TRUE(sealed.generation.has_value());
  EXPECT_EQ(sealed.generation->records, 2u);
  EXPECT_EQ(sealed.generation->made_by, "write");
  ASSERT_EQ(sealed.history_records.size(), 1u);
  EXPECT_EQ(sealed.history_records[0], 2u);
  const auto listed = service_->ListSyncs();
  ASSERT_TRUE(listed.ok());
  ASSERT_EQ(listed->size(), 1u);
  EXPECT_EQ(listed->front().generation->digest, sealed.generation->digest);
}

TEST_F(LocalService, CheckpointedWriteIsResumed) {
  WriteRequest request;
  request.run.id = "s1";
  request.run.type = "full";
  {
    auto writer = service_->Write(request);
    ASSERT_TRUE(writer.ok());
    ASSERT_TRUE((*writer)->Put(Grant("alice")).ok());
    ASSERT_TRUE((*writer)->Checkpoint("page-1").ok());
    ASSERT_TRUE((*writer)->Put(Grant("lost")).ok());
  }
  ASSERT_TRUE(service_->Sweep().ok());
  request.resume = true;
  auto writer = service_->Write(request);
  ASSERT_TRUE(writer.ok()) << writer.error().ToString();
  EXPECT_EQ((*writer)->token(), "page-1");
  EXPECT_EQ(service_->Write(request).error().code(), Code::kFailedPrecondition);  // this writer has it
  ASSERT_TRUE((*writer)->Put(Grant("bob")).ok());
  const auto sealed = (*writer)->Seal(2, {});
  ASSERT_TRUE(sealed.ok());
  EXPECT_EQ(sealed->generation->records, 2u);
}

TEST_F(LocalService, WhatIsNoMessageIsNotTaken) {
  WriteRequest request;
  request.run.id = "s1";
  const auto writer = service_->Write(request);
  ASSERT_TRUE(writer.ok());
  sync::RecordView grant = Grant("alice");
  grant.data = "\xFF\xFF";
  EXPECT_EQ((*writer)->Put(grant).code(), Code::kInvalidArgument);
  grant.data = "\x1A\x02\xC3\x28";  // its id is no UTF-8
  EXPECT_EQ((*writer)->Put(grant).code(), Code::kInvalidArgument);
  sync::RecordView asset;
  asset.type = sync::RecordType::kAsset;
  asset.id = "icon";
  asset.data = grant.data;  // any bytes
  EXPECT_TRUE((*writer)->Put(asset).ok());
}

TEST_F(LocalService, WriterThatGoesWithoutACheckpointLeavesNothing) {
  WriteRequest request;
  request.run.id = "s1";
  request.run.type = "full";
  for (int attempt = 0; attempt < 2; ++attempt) {
    auto writer = service_->Write(request);
    ASSERT_TRUE(writer.ok()) << writer.error().ToString();
    ASSERT_TRUE((*writer)->Put(Grant("alice")).ok());
  }
  EXPECT_TRUE(service_->ListSyncs()->empty());
  EXPECT_TRUE(fs::is_empty(directory_.path() + "/data/staging"));
}

TEST_F(LocalService, UnknownSyncIsNotFoundEverywhere) {
  EXPECT_EQ(service_->DescribeSync("nobody").error().code(), Code::kNotFound);
  EXPECT_EQ(service_->Rollback("nobody", std::nullopt).error().code(), Code::kNotFound);
  EXPECT_EQ(service_->Delete("nobody").code(), Code::kNotFound);
  EXPECT_EQ(service_->Verify("nobody", {}).error().code(), Code::kNotFound);
  EXPECT_EQ(service_->Merge({"into", {"nobody"}, {}}, {}).error().code(), Code::kNotFound);
  EXPECT_EQ(service_->Merge({"into", {}, {}}, {}).error().code(), Code::kInvalidArgument);
  EXPECT_EQ(service_->DescribeSync("into").error().code(), Code::kNotFound);
  EXPECT_TRUE(service_->ListSyncs()->empty()) << "a failed merge leaves no destination behind";
}

TEST_F(LocalService, MergedSyncIsThereWithItsRecordsOrNotAtAll) {
  WriteSync(service_.get(), "s1", {"alice", "bob"});
  WriteSync(service_.get(), "s2", {"bob", "carol"});
  std::atomic<bool> cancel{false};
  std::atomic<std::uint64_t> looks{0};  // progress is told by several threads
  sync::Work work;
  work.cancel = &cancel;
  work.progress = [&](std::uint64_t /*records*/) {
    ++looks;
    EXPECT_EQ(service_->DescribeSync("new").error().code(), Code::kNotFound);
    cancel = true;
  };
  const MergeRequest request{"new", {"s1", "s2"}, {}};
  EXPECT_EQ(service_->Merge(request, work).error().code(), Code::kCancelled);
  EXPECT_GT(looks.load(), 0u);
  EXPECT_EQ(service_->DescribeSync("new").error().code(), Code::kNotFound);
  cancel = false;
  work.cancel = nullptr;
  const auto merged = service_->Merge(request, work);
  ASSERT_TRUE(merged.ok()) << merged.error().ToString();
  EXPECT_EQ(merged->records, 3u);
  const auto shown = service_->DescribeSync("new");
  ASSERT_TRUE(shown.ok());
  // There is no empty generation to roll back to.
  ASSERT_EQ(shown->entry.history.size(), 1u);
  EXPECT_EQ(shown->entry.history.front().operation, "merge");
}

TEST_F(LocalService, MissingGenerationIsADescriptionAndAProblemNotAnError) {
  const SyncDescription sealed = WriteSync(service_.get(), "s1", {"alice"});
  service_.reset();
  data_.reset();
  fs::remove_all(directory_.path() + "/data/generations/" + sealed.entry.generation());
  SetUp();
  const auto described = service_->DescribeSync("s1");
  ASSERT_TRUE(described.ok());
  EXPECT_FALSE(described->generation.has_value());
  EXPECT_FALSE(described->problem.empty());
  const auto report = service_->Verify("s1", {});
  ASSERT_TRUE(report.ok());
  EXPECT_FALSE(report->ok());
}

TEST_F(LocalService, CompactTakesASyncOverFromAnotherDirectoryAndAsksBeforeEmptying) {
  const std::string other = directory_.path() + "/other";
  {
    auto opened = DataDirectory::Open(other, DataDirectory::IfMissing::kCreate);
    ASSERT_TRUE(opened.ok());
    LocalSyncService source((*opened)->store());
    WriteSync(&source, "s1", {"alice", "bob", "carol"});
  }
  WriteSync(service_.get(), "s1", {"alice"});
  WriteSync(service_.get(), "s2", {"alice"});
  CompactRequest request;
  request.sync_id = "s1";
  request.from = other;
  const auto report = service_->Compact(request, {});
  ASSERT_TRUE(report.ok()) << report.error().ToString();
  EXPECT_EQ(report->records, 3u);
  EXPECT_EQ(service_->DescribeSync("s1")->generation->records, 3u);
  request.sync_id = "s2";
  EXPECT_EQ(service_->Compact(request, {}).error().code(), Code::kFailedPrecondition);
  EXPECT_EQ(service_->DescribeSync("s2")->generation->records, 1u);
  request.allow_empty = true;
  EXPECT_TRUE(service_->Compact(request, {})->emptied);
}

TEST_F(LocalService, HeldDirectoryIsRefusedNamingTheEndpointOption) {
  const auto second = DataDirectory::Open(directory_.path() + "/data", DataDirectory::IfMissing::kFail);
  ASSERT_FALSE(second.ok());
  EXPECT_EQ(second.error().code(), Code::kFailedPrecondition);
  EXPECT_NE(second.error().message().find("--endpoint"), std::string::npos) << second.error().message();
}

TEST_F(LocalService, SweepLeavesScratchInUseAloneAndTakesWhatACrashLeft) {
  const auto scratch = data_->store()->MakeScratch();
  ASSERT_TRUE(scratch.ok());
  const std::string used = (*scratch)->path();
  std::ofstream(used + "/spool") << "bytes";
  const std::string left = directory_.path() + "/data/staging/scratch-of-a-dead-process";
  fs::create_directory(left);
  const auto swept = service_->Sweep();
  ASSERT_TRUE(swept.ok());
  EXPECT_EQ(swept->directories, 1u);
  EXPECT_TRUE(fs::exists(used + "/spool"));
  EXPECT_FALSE(fs::exists(left));
}

}  // namespace
}  // namespace vellum::service
