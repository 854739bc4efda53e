#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "base/test_dir.h"
#include "service/local_sync_service.h"
#include "sync/memory_catalog.h"

/// Questions as callers ask them: pages, their tokens, and what becomes of them when the sync is switched.
namespace vellum::service {
namespace {

class Questions : public ::testing::Test {
 protected:
  void SetUp() override {
    sync::StoreOptions options;
    options.data_dir = dir_.path();
    options.history_max = 1;
    auto opened = sync::Store::Open(std::move(options), &catalog_);
    ASSERT_TRUE(opened.ok()) << opened.error().ToString();
    store_ = *std::move(opened);
    service_ = std::make_unique<LocalSyncService>(store_.get());
  }

  static void Put(sync::RecordSink* sink, int user) {
    const std::string id = std::to_string(user);
    sync::RecordView grant;
    grant.type = sync::RecordType::kGrant;
    grant.type_id = "group";
    grant.resource_id = "g";
    grant.entitlement_id = "group:g:member";
    grant.principal_type_id = "user";
    grant.principal_id = id;
    ASSERT_TRUE(sink->Put(grant).ok());
  }
  void Write(int grants) {
    sync::SyncRun run;
    run.id = "S";
    run.type = "full";
    auto writer = sync::SyncWriter::Begin(store_.get(), run, "", sync::SyncWriter::IfExists::kReplace);
    ASSERT_TRUE(writer.ok()) << writer.error().ToString();
    for (int user = 10; user < 10 + grants; ++user) Put(writer->get(), user);
    ASSERT_TRUE((*writer)->Seal(5, "seal").ok());
  }
  static ListRequest Page(std::uint64_t records, std::string token = {}) {
    ListRequest request;
    request.sync_id = "S";
    request.page_records = records;
    request.page_token = std::move(token);
    return request;
  }
  Result<ListOutcome> List(const ListRequest& request) {
    seen_.clear();
    return service_->ListRecords(request, [this](const sync::RecordView& record) {
      seen_.emplace_back(record.principal_id);
      return Status();
    });
  }

  TestDir dir_;
  sync::MemoryCatalog catalog_;
  std::unique_ptr<sync::Store> store_;
  std::unique_ptr<LocalSyncService> service_;
  std::vector<std::string> seen_;
};

TEST_F(Questions, PagesEndAndTokensAreChecked) {
  Write(5);
  auto page = List(Page(2));
  ASSERT_TRUE(page.ok()) << page.error().ToString();
  EXPECT_EQ(seen_, (std::vector<std::string>{"10", "11"}));
  const std::string token = page->next_page_token;
  page = List(Page(3, token));
  ASSERT_TRUE(page.ok());
  EXPECT_EQ(seen_, (std::vector<std::string>{"12", "13", "14"}));
  EXPECT_EQ(page->next_page_token, "");
  EXPECT_EQ(List(Page(2, token + "x")).error().code(), Code::kInvalidArgument);
  ListRequest other = Page(2, token);
  other.query.principal_type = "user";
  EXPECT_EQ(List(other).error().code(), Code::kInvalidArgument);
  EXPECT_EQ(service_->ListPrincipals(Page(2, token), [](const sync::RecordView&) { return Status(); }).error().code(),
            Code::kInvalidArgument);
  other = Page(2, token);
  other.sync_id = "T";
  EXPECT_EQ(List(other).error().code(), Code::kInvalidArgument);
  EXPECT_EQ(List(ListRequest{}).error().code(), Code::kNotFound);
}

TEST_F(Questions, PagesGoOnInWhatTheyBeganWithUntilItIsSwept) {
  Write(5);
  const auto page = List(Page(2));
  ASSERT_TRUE(page.ok());
  Write(1);
  ASSERT_TRUE(List(Page(0, page->next_page_token)).ok());
  EXPECT_EQ(seen_.size(), 3u);
  ASSERT_TRUE(store_->Sweep().ok());
  const auto gone = List(Page(0, page->next_page_token));
  EXPECT_EQ(gone.error().code(), Code::kFailedPrecondition);
  EXPECT_NE(gone.error().message().find("start again"), std::string::npos);
  ASSERT_TRUE(List(Page(0)).ok());
  EXPECT_EQ(seen_.size(), 1u);
}

TEST_F(Questions, AnOpenSyncIsReadUntilItIsSealed) {
  sync::SyncRun run;
  run.id = "S";
  run.type = "full";
  auto writer = sync::SyncWriter::Begin(store_.get(), run, "");
  ASSERT_TRUE(writer.ok());
  for (int user = 10; user < 14; ++user) Put(writer->get(), user);
  const auto page = List(Page(2));
  ASSERT_TRUE(page.ok()) << page.error().ToString();
  EXPECT_EQ(seen_.size(), 2u);
  Put(writer->get(), 20);
  ASSERT_TRUE(List(Page(0, page->next_page_token)).ok());
  EXPECT_EQ(seen_, (std::vector<std::string>{"12", "13", "20"}));
  ASSERT_TRUE((*writer)->Seal(5, "seal").ok());
  EXPECT_EQ(List(Page(0, page->next_page_token)).error().code(), Code::kFailedPrecondition);
}

TEST_F(Questions, FindAccessAndDiff) {
  Write(3);
  int found = 0;
  FindRequest find{"S", std::nullopt, sync::RecordType::kGrant, "group:g:member:user:11"};
  const RecordVisitor count = [&found](const sync::RecordView&) {
    ++found;
    return Status();
  };
  ASSERT_TRUE(service_->FindRecords(find, count).ok());
  EXPECT_EQ(found, 1);
  find.id = "group:g:member:user:99";
  EXPECT_EQ(service_->FindRecords(find, count).code(), Code::kNotFound);
  AccessRequest access;
  access.sync_id = "S";
  access.question.resource = sync::ResourceName{"group", "g"};
  const auto summary = service_->Access(access, [](const sync::AccessRow&) { return Status(); });
  ASSERT_TRUE(summary.ok());
  EXPECT_EQ(summary->rows, 3u);
  // What a visitor says ends the answer, and is it.
  EXPECT_EQ(service_->Access(access, [](const sync::AccessRow&) { return Aborted("enough"); }).error().code(), Code::kAborted);
  DiffRequest diff;
  diff.from.sync_id = diff.to.sync_id = "S";
  const auto same = service_->Diff(diff, nullptr, {});
  ASSERT_TRUE(same.ok()) << same.error().ToString();
  EXPECT_FALSE(same->differ());
  diff.to.sync_id.clear();
  diff.to.file = dir_.path() + "/no-such.c1z";
  EXPECT_EQ(service_->Diff(diff, nullptr, {}).error().code(), Code::kNotFound);
}

}  // namespace
}  // namespace vellum::service
