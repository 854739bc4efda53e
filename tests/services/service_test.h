#pragma once

#include <gtest/gtest.h>

#include <chrono>
#include <memory>
#include <string>
#include <utility>

#include "base/manual_clock.h"
#include "base/metrics.h"
#include "base/test_await.h"
#include "base/test_dir.h"
#include "base/worker_pool.h"
#include "client/client.h"
#include "etcdserverpb/rpc.pb.h"
#include "kv/engine.h"
#include "rpc/services.h"
#include "wire/server.h"

namespace vellum {

namespace pb = ::etcdserverpb;

/// How long a test waits for what must come.
inline const std::chrono::milliseconds kPatience = Patient(std::chrono::seconds(20));

/// The services over a store in a directory of its own, served on a free port of the loopback, and a client of them.
/// Time is the store's manual clock.
class ServiceTest : public ::testing::Test {
 protected:
  void SetUp() override { Start(); }
  void TearDown() override { Stop(); }

  /// May be changed before Start.
  kv::EngineOptions engine_options;
  rpc::Limits limits;
  wire::ServerOptions server_options;

  void Start();
  void Stop();
  /// The same store, opened again.
  void Restart() {
    Stop();
    Start();
  }

  client::Client& client() { return *client_; }
  kv::Engine& engine() { return *engine_; }
  rpc::Services& services() { return *services_; }
  Metrics& metrics() { return *metrics_; }
  ManualClock& clock() { return clock_; }
  std::string address() const { return server_->addresses().front(); }
  /// Another client, with connections of its own.
  std::unique_ptr<client::Client> Connect();

  /// A call whose answer is looked at field by field. Fails the test if the call does.
  template <typename Response, typename Request>
  Response Call(const std::string& method, const Request& request) {
    Response response;
    const auto bytes = client().Call("/etcdserverpb." + method, request.SerializeAsString());
    EXPECT_TRUE(bytes.ok()) << method << " " << request.ShortDebugString() << ": " << bytes.error().ToString();
    if (bytes.ok()) {
      EXPECT_TRUE(response.ParseFromString(*bytes)) << method;
    }
    return response;
  }

  /// A call that must fail, with this code and exactly this text.
  template <typename Request>
  void ExpectError(const std::string& method, const Request& request, Code code, const std::string& text) {
    const auto bytes = client().Call("/etcdserverpb." + method, request.SerializeAsString());
    ASSERT_FALSE(bytes.ok()) << method << " " << request.ShortDebugString();
    EXPECT_EQ(bytes.error().code(), code) << method << " " << request.ShortDebugString();
    EXPECT_EQ(bytes.error().message(), text) << method << " " << request.ShortDebugString();
  }

  /// Puts and returns the new revision.
  Revision Put(const std::string& key, const std::string& value, LeaseId lease = 0);
  /// The store's revision, by a read.
  Revision Current();
  /// Ids and term of a header are this server's.
  void ExpectIds(const pb::ResponseHeader& header);

  std::unique_ptr<client::WatchStream> OpenWatch();
  /// The next response of a stream; fails the test if none comes.
  client::WatchResponse Next(client::WatchStream* stream);
  /// Creates a watcher and takes its confirmation, which must be the next response.
  client::WatchResponse Create(client::WatchStream* stream, const client::WatchRequest& request);

 private:
  TestDir dir_;
  ManualClock clock_;
  std::unique_ptr<Metrics> metrics_;
  std::unique_ptr<kv::Engine> engine_;
  std::unique_ptr<WorkerPool> reads_;
  std::unique_ptr<WorkerPool> long_reads_;
  std::unique_ptr<rpc::Services> services_;
  std::unique_ptr<wire::ServiceTable> table_;
  std::unique_ptr<wire::Server> server_;
  std::unique_ptr<client::Client> client_;
};

/// Requests in one line.
pb::RangeRequest RangeOf(const std::string& key, const std::string& range_end = {});
pb::PutRequest PutOf(const std::string& key, const std::string& value);
pb::DeleteRangeRequest DeleteOf(const std::string& key, const std::string& range_end = {});
/// `range_end` for "every key from the first on".
inline const std::string kFromKeyEnd("\0", 1);

}  // namespace vellum
