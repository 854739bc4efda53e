// A writer of a sync whose lease ends, seen by its client over vellum.sync.v1: it cannot seal any more, and nothing appears.
#include <gtest/gtest.h>

#include <filesystem>

#include "base/manual_clock.h"
#include "base/metrics.h"
#include "base/test_await.h"
#include "base/test_dir.h"
#include "client/remote_sync_service.h"
#include "kv/engine.h"
#include "kv/lessor.h"
#include "rpc/sync_service.h"
#include "service/host.h"
#include "wire/server.h"

namespace vellum {
namespace {

/// A server of syncs in this process, and a client of it. The leases' time is the manual clock's.
class SyncLease : public ::testing::Test {
 protected:
  void SetUp() override {
    kv::EngineOptions engine_options;
    engine_options.data_dir = directory_.path();
    engine_options.clock = &clock_;
    engine_options.metrics = &metrics_;
    auto engine = kv::Engine::Open(engine_options);
    ASSERT_TRUE(engine.ok()) << engine.error().ToString();
    engine_ = *std::move(engine);
    sync::StoreOptions options;
    options.data_dir = directory_.path();
    options.clock = &clock_;
    options.metrics = &metrics_;
    sync::KeeperOptions keeper;
    keeper.interval = std::chrono::seconds(0);
    host_ = std::make_unique<service::Host>(engine_.get(), options, keeper);
    services_ = std::make_unique<rpc::SyncServices>(
        rpc::SyncServiceContext{.host = host_.get(), .limits = {}, .logger = Logger(), .metrics = &metrics_});
    services_->Register(&table_);
    wire::ServerOptions server_options;
    server_options.endpoints = {
        wire::Endpoint{.kind = wire::Endpoint::Kind::kTcp, .host = "127.0.0.1", .port = 0, .path = {}}};
    server_options.metrics = &metrics_;
    auto server = wire::Server::Listen(server_options, &table_);
    ASSERT_TRUE(server.ok()) << server.error().ToString();
    server_ = *std::move(server);
    server_->Start();
    auto client = client::RemoteSyncService::Connect({.endpoint = server_->addresses().front()});
    ASSERT_TRUE(client.ok()) << client.error().ToString();
    client_ = *std::move(client);
  }
  void TearDown() override {
    client_.reset();
    if (services_) services_->Stop();
    if (server_) server_->Stop(std::chrono::milliseconds(1000));
    server_.reset();
    services_.reset();
    if (host_) host_->Stop();
    if (engine_) {
      EXPECT_TRUE(engine_->Stop().ok());
    }
  }

  static sync::RecordView Grant(std::string_view principal) {
    sync::RecordView grant;
    grant.type = sync::RecordType::kGrant;
    grant.type_id = "group";
    grant.resource_id = "g1";
    grant.entitlement_id = "group:g1:member";
    grant.principal_type_id = "user";
    grant.principal_id = principal;
    return grant;
  }
  std::unique_ptr<service::RecordWriter> Begin(bool resume = false) {
    service::WriteRequest request;
    request.run.id = "S";
    request.run.type = "full";
    request.run.started_at = 1;
    request.connector = "test";
    request.resume = resume;
    auto writer = client_->Write(request);
    EXPECT_TRUE(writer.ok()) << writer.error().ToString();
    return writer.ok() ? *std::move(writer) : nullptr;
  }

  /// The lease that the only writer's registration hangs on.
  LeaseId WritersLease() {
    sync::KvCatalog catalog(engine_.get());
    const auto rows = catalog.List(sync::kGenerationPrefix);
    EXPECT_TRUE(rows.ok() && rows->size() == 1);
    return rows.ok() && !rows->empty() ? rows->front().lease : 0;
  }
  bool Registered() {
    const auto rows = sync::KvCatalog(engine_.get()).List(sync::kGenerationPrefix);
    return rows.ok() && !rows->empty();
  }
  /// Nobody renews in time. The lessor proposes the end on threads of its own.
  void LetItExpire() {
    clock_.Advance(std::chrono::seconds(sync::StoreOptions().writer_ttl_s + 1));
    engine_->lessor().Tick();
    ASSERT_TRUE(Await([this] { return !Registered(); }));
  }
  void ExpectNothingLeft() {
    const auto syncs = client_->ListSyncs();
    ASSERT_TRUE(syncs.ok()) << syncs.error().ToString();
    EXPECT_TRUE(syncs->empty());
    EXPECT_TRUE(client_->Sweep().ok());
    for (const char* folder : {"generations", "staging", "trash"}) {
      EXPECT_TRUE(std::filesystem::is_empty(directory_.path() + "/" + folder)) << folder;
    }
  }

  const TestDir directory_;
  ManualClock clock_;
  Metrics metrics_;
  std::unique_ptr<kv::Engine> engine_;
  std::unique_ptr<service::Host> host_;
  std::unique_ptr<rpc::SyncServices> services_;
  wire::ServiceTable table_;
  std::unique_ptr<wire::Server> server_;
  std::unique_ptr<client::RemoteSyncService> client_;
};

TEST_F(SyncLease, AWriterWhoseLeaseHasExpiredCannotSeal) {
  auto writer = Begin();
  ASSERT_NE(writer, nullptr);
  ASSERT_TRUE(writer->Put(Grant("alice")).ok());
  ASSERT_NO_FATAL_FAILURE(LetItExpire());
  writer->Put(Grant("bob")).IgnoreError("a stream may learn of it early");
  const auto sealed = writer->Seal(2, {});
  EXPECT_EQ(sealed.error().code(), Code::kAborted) << sealed.error().ToString();
  EXPECT_FALSE(sealed.error().maybe_applied());
  writer.reset();
  ExpectNothingLeft();
}

TEST_F(SyncLease, AWriterWhoseLeaseWasRevokedCannotCheckpointEither) {
  auto writer = Begin();
  ASSERT_NE(writer, nullptr);
  ASSERT_TRUE(writer->Put(Grant("alice")).ok());
  ASSERT_TRUE(engine_->ProposeAndWait(kv::LeaseRevokeCommand{WritersLease()}).ok());
  const Status kept = writer->Checkpoint("page 2");
  EXPECT_EQ(kept.code(), Code::kAborted) << kept.ToString();
  writer.reset();
  ExpectNothingLeft();
}

TEST_F(SyncLease, WhatWasCheckpointedBeforeIsResumedByTheNext) {
  auto writer = Begin();
  ASSERT_NE(writer, nullptr);
  ASSERT_TRUE(writer->Put(Grant("alice")).ok());
  ASSERT_TRUE(writer->Checkpoint("page 2").ok());
  ASSERT_NO_FATAL_FAILURE(LetItExpire());
  ASSERT_TRUE(writer->Put(Grant("mallory")).ok());
  const auto sealed = writer->Seal(2, {});
  EXPECT_EQ(sealed.error().code(), Code::kAborted) << sealed.error().ToString();
  writer.reset();
  const auto open = client_->DescribeSync("S");
  ASSERT_TRUE(open.ok()) << open.error().ToString();
  EXPECT_EQ(open->entry.state, sync::SyncState::kOpen);
  EXPECT_FALSE(open->generation.has_value());

  auto next = Begin(/*resume=*/true);
  ASSERT_NE(next, nullptr);
  EXPECT_EQ(next->token(), "page 2");
  ASSERT_TRUE(next->Put(Grant("bob")).ok());
  const auto done = next->Seal(2, {});
  ASSERT_TRUE(done.ok()) << done.error().ToString();
  EXPECT_EQ(done->generation->records, 2u);
}

}  // namespace
}  // namespace vellum
