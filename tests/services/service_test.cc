#include "services/service_test.h"

namespace vellum {

void ServiceTest::Start() {
  metrics_ = std::make_unique<Metrics>();
  engine_options.data_dir = dir_.path() + "/data";
  engine_options.clock = &clock_;
  engine_options.metrics = metrics_.get();
  auto engine = kv::Engine::Open(engine_options);
  ASSERT_TRUE(engine.ok()) << engine.error().ToString();
  engine_ = *std::move(engine);
  reads_ = std::make_unique<WorkerPool>(WorkerPool::Options{.name = "reads"});
  long_reads_ = std::make_unique<WorkerPool>(WorkerPool::Options{.name = "long"});

  rpc::ServiceContext context;
  context.engine = engine_.get();
  context.reads = reads_.get();
  context.long_reads = long_reads_.get();
  context.identity.cluster_id = engine_->GetInfo().cluster_id;
  context.identity.member_id = engine_->GetInfo().member_id;
  context.limits = limits;
  context.member = [this] {
    return rpc::Member{.name = "default",
                       .peer_urls = {"http://peer.example:2380"},
                       .client_urls = {"http://" + server_->addresses().front()}};
  };
  context.clock = &clock_;
  context.metrics = metrics_.get();
  services_ = std::make_unique<rpc::Services>(std::move(context));
  table_ = std::make_unique<wire::ServiceTable>();
  services_->Register(table_.get());

  server_options.endpoints = {wire::Endpoint{.kind = wire::Endpoint::Kind::kTcp, .host = "127.0.0.1", .port = 0, .path = {}}};
  server_options.metrics = metrics_.get();
  auto server = wire::Server::Listen(server_options, table_.get());
  ASSERT_TRUE(server.ok()) << server.error().ToString();
  server_ = *std::move(server);
  server_->Start();
  client_ = Connect();
}

void ServiceTest::Stop() {
  client_.reset();
  if (services_) services_->Stop();
  if (server_) server_->Stop(std::chrono::milliseconds(1000));
  if (reads_) reads_->Stop();
  if (long_reads_) long_reads_->Stop();
  server_.reset();
  services_.reset();
  if (engine_) {
    EXPECT_TRUE(engine_->Stop().ok());
  }
  engine_.reset();
}

std::unique_ptr<client::Client> ServiceTest::Connect() {
  client::ClientOptions options;
  options.endpoints = {address()};
  options.dial_timeout = kPatience;
  options.call_timeout = kPatience;
  auto connected = client::Client::Connect(options);
  EXPECT_TRUE(connected.ok()) << connected.error().ToString();
  return connected.ok() ? *std::move(connected) : nullptr;
}

Revision ServiceTest::Put(const std::string& key, const std::string& value, LeaseId lease) {
  PutRequest request;
  request.key = key;
  request.value = value;
  request.lease = lease;
  const auto put = client().Put(request);
  EXPECT_TRUE(put.ok()) << put.error().ToString();
  return put.ok() ? put->revision : 0;
}

Revision ServiceTest::Current() {
  return Call<pb::RangeResponse>("KV/Range", RangeOf("nothing is called so")).header().revision();
}

void ServiceTest::ExpectIds(const pb::ResponseHeader& header) {
  EXPECT_EQ(header.cluster_id(), engine().GetInfo().cluster_id);
  EXPECT_EQ(header.member_id(), engine().GetInfo().member_id);
  EXPECT_NE(header.cluster_id(), 0u);
  EXPECT_NE(header.member_id(), 0u);
  EXPECT_NE(header.raft_term(), 0u);
}

std::unique_ptr<client::WatchStream> ServiceTest::OpenWatch() {
  auto stream = client().Watch();
  EXPECT_TRUE(stream.ok()) << stream.error().ToString();
  return stream.ok() ? *std::move(stream) : nullptr;
}

client::WatchResponse ServiceTest::Next(client::WatchStream* stream) {
  auto response = stream->Next(kPatience);
  EXPECT_TRUE(response.ok()) << response.error().ToString();
  return response.ok() ? *std::move(response) : client::WatchResponse{};
}

client::WatchResponse ServiceTest::Create(client::WatchStream* stream, const client::WatchRequest& request) {
  EXPECT_TRUE(stream->Create(request));
  client::WatchResponse response = Next(stream);
  EXPECT_TRUE(response.created);
  EXPECT_TRUE(response.events.empty());
  return response;
}

pb::RangeRequest RangeOf(const std::string& key, const std::string& range_end) {
  pb::RangeRequest request;
  request.set_key(key);
  request.set_range_end(range_end);
  return request;
}

pb::PutRequest PutOf(const std::string& key, const std::string& value) {
  pb::PutRequest request;
  request.set_key(key);
  request.set_value(value);
  return request;
}

pb::DeleteRangeRequest DeleteOf(const std::string& key, const std::string& range_end) {
  pb::DeleteRangeRequest request;
  request.set_key(key);
  request.set_range_end(range_end);
  return request;
}

}  // namespace vellum
