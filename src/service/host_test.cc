#include "service/host.h"

#include <gtest/gtest.h>

#include "base/manual_clock.h"
#include "base/test_await.h"
#include "base/test_dir.h"

namespace vellum::service {
namespace {

void WriteFull(SyncService* service, const std::string& id, sync::Stamp started_at, sync::Stamp ended_at) {
  WriteRequest request;
  request.run.id = id;
  request.run.type = "full";
  request.run.started_at = started_at;
  request.connector = "okta";
  auto writer = service->Write(request);
  ASSERT_TRUE(writer.ok()) << writer.error().ToString();
  ASSERT_TRUE((*writer)->Seal(ended_at, {}).ok());
}

TEST(HostKeeper, LooksAfterTheStoreFromWhenItIsOpened) {
  const TestDir directory;
  ManualClock clock;
  Metrics metrics;
  kv::EngineOptions engine_options;
  engine_options.data_dir = directory.path();
  auto engine = kv::Engine::Open(std::move(engine_options));
  ASSERT_TRUE(engine.ok()) << engine.error().ToString();
  sync::StoreOptions options;
  options.data_dir = directory.path();
  options.clock = &clock;
  options.metrics = &metrics;
  sync::KeeperOptions keeper;
  keeper.keep_others = 1;
  Host host(engine->get(), options, keeper);
  EXPECT_NE(metrics.Expose().find("vellum_sync_syncs{state=\"sealed\"} 0"), std::string::npos) << "before there is a store";
  const auto service = host.service();
  ASSERT_TRUE(service.ok()) << service.error().ToString();
  WriteFull(*service, "f1", 1, 2);
  WriteFull(*service, "f2", 3, 4);
  // The keeper looks at its clock now and then; the test moves it on until a pass has come.
  EXPECT_TRUE(Await([&] {
    clock.Advance(std::chrono::seconds(1));
    return !(*service)->DescribeSync("f1").ok();
  }));
  EXPECT_TRUE((*service)->DescribeSync("f2").ok());
  host.Stop();
  EXPECT_EQ(host.service().error().code(), Code::kUnavailable);
  ASSERT_TRUE((*engine)->Stop().ok());
}

}  // namespace
}  // namespace vellum::service
