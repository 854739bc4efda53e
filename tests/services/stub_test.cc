// What our own client has no word for, by gRPC C++'s generated stubs: metadata, health watches, reflection.
#include <google/protobuf/descriptor.pb.h>
#include <grpcpp/grpcpp.h>

#include <set>
#include <thread>
#include <vector>

#include "etcdserverpb/rpc.grpc.pb.h"
#include "grpc/health/v1/health.grpc.pb.h"
#include "grpc/reflection/v1/reflection.grpc.pb.h"
#include "services/service_test.h"

namespace vellum {
namespace {

class Stubs : public ServiceTest {
 protected:
  std::shared_ptr<grpc::Channel> Channel() {
    return grpc::CreateChannel(address(), grpc::InsecureChannelCredentials());
  }
  static void Patient(grpc::ClientContext* context) {
    context->set_deadline(std::chrono::system_clock::now() + kPatience);
  }
};

TEST_F(Stubs, MetadataOfEtcdsClientsIsAccepted) {
  const auto kv = pb::KV::NewStub(Channel());
  grpc::ClientContext context;
  Patient(&context);
  context.AddMetadata("hasleader", "true");
  context.AddMetadata("client-api-version", "3.6.0");
  context.AddMetadata("token", "not.looked.at");
  context.set_authority("#initially=[a;b]");
  pb::RangeResponse response;
  const grpc::Status status = kv->Range(&context, RangeOf("a"), &response);
  EXPECT_TRUE(status.ok()) << status.error_message();
  EXPECT_NE(metrics().Expose().find("client_api_version=\"3.6.0\",type=\"unary\"} 1"), std::string::npos);
}

TEST_F(Stubs, ManyClientVersionsDoNotMakeManyMetrics) {
  const auto kv = pb::KV::NewStub(Channel());
  for (int i = 0; i < 100; ++i) {
    grpc::ClientContext context;
    Patient(&context);
    context.AddMetadata("client-api-version", "version" + std::to_string(i));
    pb::RangeResponse response;
    ASSERT_TRUE(kv->Range(&context, RangeOf("a"), &response).ok());
  }
  const std::string text = metrics().Expose();
  std::size_t lines = 0;
  for (std::size_t at = 0; (at = text.find("\netcd_server_client_requests_total{", at)) != std::string::npos; ++at) {
    ++lines;
  }
  EXPECT_LE(lines, 2u * 66);
  EXPECT_NE(text.find("client_api_version=\"other\""), std::string::npos);
}

/// Streams that are read at their own pace, one that is given up, and a writer beside them.
TEST_F(Stubs, PartsOfARangeAreOfOneRevisionWhateverIsWritten) {
  constexpr int kKeys = 300;
  const auto key = [](int i) { return "k" + std::to_string(1000 + i); };
  for (int i = 0; i < kKeys; ++i) Put(key(i), std::string(2'000, 'v'));
  const auto channel = Channel();
  const auto read = [&](int parts_max) {
    const auto kv = pb::KV::NewStub(channel);
    grpc::ClientContext context;
    Patient(&context);
    const auto stream = kv->RangeStream(&context, RangeOf("k", "l"));
    pb::RangeResponse whole;
    pb::RangeStreamResponse part;
    for (int parts = 0; parts < parts_max && stream->Read(&part); ++parts) whole.MergeFrom(part.range_response());
    if (parts_max < kKeys) return context.TryCancel();
    const grpc::Status status = stream->Finish();
    EXPECT_TRUE(status.ok()) << status.error_message();
    EXPECT_EQ(whole.count(), kKeys);
    ASSERT_EQ(whole.kvs_size(), kKeys);
    for (int i = 0; i < kKeys; ++i) {
      EXPECT_EQ(whole.kvs(i).key(), key(i));
      EXPECT_LE(whole.kvs(i).mod_revision(), whole.header().revision());
    }
  };
  std::vector<std::thread> readers;
  for (const int parts_max : {kKeys, kKeys, 2, kKeys}) readers.emplace_back(read, parts_max);
  for (int i = 0; i < kKeys; ++i) Put(key(i), std::string(2'000, 'w'));
  for (std::thread& reader : readers) reader.join();
  read(kKeys);
}

TEST_F(Stubs, HealthIsWatched) {
  const auto health = grpc::health::v1::Health::NewStub(Channel());
  grpc::ClientContext context;
  Patient(&context);
  const auto watch = health->Watch(&context, grpc::health::v1::HealthCheckRequest());
  grpc::health::v1::HealthCheckResponse response;
  ASSERT_TRUE(watch->Read(&response));
  EXPECT_EQ(response.status(), grpc::health::v1::HealthCheckResponse::SERVING);
  services().SetServing(false);
  ASSERT_TRUE(watch->Read(&response));
  EXPECT_EQ(response.status(), grpc::health::v1::HealthCheckResponse::NOT_SERVING);
  services().Stop();
  EXPECT_FALSE(watch->Read(&response));
  EXPECT_EQ(watch->Finish().error_code(), grpc::StatusCode::UNAVAILABLE);
}

TEST_F(Stubs, HealthOfAnUnknownServiceIsUnknown) {
  const auto health = grpc::health::v1::Health::NewStub(Channel());
  grpc::ClientContext context;
  Patient(&context);
  grpc::health::v1::HealthCheckRequest request;
  request.set_service("nobody");
  const auto watch = health->Watch(&context, request);
  grpc::health::v1::HealthCheckResponse response;
  ASSERT_TRUE(watch->Read(&response));
  EXPECT_EQ(response.status(), grpc::health::v1::HealthCheckResponse::SERVICE_UNKNOWN);
  context.TryCancel();
}

TEST_F(Stubs, ReflectionDescribesWhatIsServed) {
  using grpc::reflection::v1::ServerReflectionRequest;
  using grpc::reflection::v1::ServerReflectionResponse;
  const auto reflection = grpc::reflection::v1::ServerReflection::NewStub(Channel());
  grpc::ClientContext context;
  Patient(&context);
  const auto stream = reflection->ServerReflectionInfo(&context);
  const auto ask = [&stream](const ServerReflectionRequest& request) {
    ServerReflectionResponse response;
    EXPECT_TRUE(stream->Write(request));
    EXPECT_TRUE(stream->Read(&response));
    EXPECT_EQ(response.original_request().SerializeAsString(), request.SerializeAsString());
    return response;
  };
  ServerReflectionRequest request;
  request.set_list_services("");
  std::set<std::string> names;
  const auto listed = ask(request);
  for (const auto& service : listed.list_services_response().service()) names.insert(service.name());
  EXPECT_TRUE(names.contains("etcdserverpb.KV"));
  EXPECT_TRUE(names.contains("etcdserverpb.Watch"));
  EXPECT_TRUE(names.contains("grpc.health.v1.Health"));

  for (const std::string& name : names) {
    request.set_file_containing_symbol(name);
    const auto response = ask(request);
    bool found = false;
    for (const std::string& bytes : response.file_descriptor_response().file_descriptor_proto()) {
      google::protobuf::FileDescriptorProto file;
      ASSERT_TRUE(file.ParseFromString(bytes));
      for (const auto& service : file.service()) found |= file.package() + "." + service.name() == name;
    }
    EXPECT_TRUE(found) << name;
  }
  request.set_file_by_filename("mvccpb/kv.proto");
  EXPECT_EQ(ask(request).file_descriptor_response().file_descriptor_proto_size(), 1);
  request.set_file_by_filename("no/such.proto");
  EXPECT_EQ(ask(request).error_response().error_code(), static_cast<int>(Code::kNotFound));
  request.set_all_extension_numbers_of_type("etcdserverpb.PutRequest");
  EXPECT_EQ(ask(request).all_extension_numbers_response().base_type_name(), "etcdserverpb.PutRequest");
  request.mutable_file_containing_extension()->set_containing_type("etcdserverpb.PutRequest");
  EXPECT_EQ(ask(request).error_response().error_code(), static_cast<int>(Code::kNotFound));
  request.Clear();
  EXPECT_EQ(ask(request).error_response().error_code(), static_cast<int>(Code::kInvalidArgument));
  EXPECT_TRUE(stream->WritesDone());
  EXPECT_TRUE(stream->Finish().ok());
}

}  // namespace
}  // namespace vellum
