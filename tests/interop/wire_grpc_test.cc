// gRPC C++, an implementation that is not ours, against the wire: calls of every shape through its generic stub.
#include <grpcpp/generic/generic_stub.h>
#include <grpcpp/grpcpp.h>
#include <gtest/gtest.h>

#include <chrono>
#include <deque>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "wire/test_services.h"

namespace vellum::wire {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

grpc::ByteBuffer Buffer(const std::string& text) {
  const grpc::Slice slice(text);
  return {&slice, 1};
}

std::string Text(const grpc::ByteBuffer& buffer) {
  std::vector<grpc::Slice> slices;
  std::string text;
  if (!buffer.Dump(&slices).ok()) return text;
  for (const grpc::Slice& slice : slices) text.append(reinterpret_cast<const char*>(slice.begin()), slice.size());
  return text;
}

/// A channel of its own connection.
class Caller {
 public:
  explicit Caller(const std::string& address, grpc::ChannelArguments arguments = {}) {
    arguments.SetInt(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1);
    arguments.SetMaxReceiveMessageSize(-1);
    channel_ = grpc::CreateCustomChannel(address, grpc::InsecureChannelCredentials(), arguments);
    stub_ = std::make_unique<grpc::GenericStub>(channel_);
  }

  grpc::Status Unary(const std::string& path, const std::string& request, std::string* answer,
                     grpc::ClientContext* context) {
    grpc::CompletionQueue queue;
    const auto call = stub_->PrepareUnaryCall(context, path, Buffer(request), &queue);
    call->StartCall();
    grpc::ByteBuffer buffer;
    grpc::Status status;
    call->Finish(&buffer, &status, nullptr);
    void* tag = nullptr;
    bool ok = false;
    EXPECT_TRUE(queue.Next(&tag, &ok));
    *answer = Text(buffer);
    return status;
  }
  grpc::Status Unary(const std::string& path, const std::string& request, std::string* answer) {
    grpc::ClientContext context;
    return Unary(path, request, answer, &context);
  }
  grpc::GenericStub& stub() { return *stub_; }

 private:
  std::shared_ptr<grpc::Channel> channel_;
  std::unique_ptr<grpc::GenericStub> stub_;
};

/// One bidirectional call, step by step.
class StreamCall {
 public:
  StreamCall(Caller* caller, const std::string& path) {
    call_ = caller->stub().PrepareCall(&context, path, &queue_);
    call_->StartCall(nullptr);
    Wait();
  }
  bool Write(const std::string& text) {
    call_->Write(Buffer(text), nullptr);
    return Wait();
  }
  bool Read(std::string* text) {
    grpc::ByteBuffer buffer;
    call_->Read(&buffer, nullptr);
    if (!Wait()) return false;
    *text = Text(buffer);
    return true;
  }
  grpc::Status Finish(bool half_close) {
    if (half_close) {
      call_->WritesDone(nullptr);
      Wait();
    }
    grpc::Status status;
    call_->Finish(&status, nullptr);
    Wait();
    return status;
  }

  grpc::ClientContext context;

 private:
  bool Wait() {
    void* tag = nullptr;
    bool ok = false;
    return queue_.Next(&tag, &ok) && ok;
  }

  grpc::CompletionQueue queue_;
  std::unique_ptr<grpc::GenericClientAsyncReaderWriter> call_;
};

TEST(WireInterop, UnaryOfEverySize) {
  TestServer server;
  Caller caller(server.address());
  for (const std::size_t size : {0u, 1u, 16'000u, 16'384u, 70'000u, 1'000'000u, 2'097'152u}) {
    std::string answer;
    const std::string request(size, 'r');
    const grpc::Status status = caller.Unary("/test.Echo/Worker", request, &answer);
    ASSERT_TRUE(status.ok()) << status.error_message();
    EXPECT_TRUE(answer == request) << size;
  }
  std::string answer;
  ASSERT_TRUE(caller.Unary("/test.Echo/Big", "33000000", &answer).ok());
  EXPECT_EQ(answer.size(), 33'000'000u);
  const grpc::Status large = caller.Unary("/test.Echo/Unary", std::string(2'097'153, 'r'), &answer);
  EXPECT_EQ(large.error_code(), grpc::StatusCode::RESOURCE_EXHAUSTED);
  EXPECT_EQ(large.error_message(), "grpc: received message larger than max (2097153 vs. 2097152)");
}

TEST(WireInterop, FailuresCarryCodeAndText) {
  TestServer server;
  Caller caller(server.address());
  std::string answer;
  const grpc::Status status = caller.Unary("/test.Echo/Fail", "no such thing: 100 % \xC3\xA4", &answer);
  EXPECT_EQ(status.error_code(), grpc::StatusCode::NOT_FOUND);
  EXPECT_EQ(status.error_message(), "no such thing: 100 % \xC3\xA4");
  EXPECT_EQ(caller.Unary("/test.None/X", "x", &answer).error_code(), grpc::StatusCode::UNIMPLEMENTED);
}

TEST(WireInterop, CompressedRequests) {
  TestServer server;
  Caller caller(server.address());
  grpc::ClientContext context;
  context.set_compression_algorithm(GRPC_COMPRESS_GZIP);
  std::string answer;
  const grpc::Status status = caller.Unary("/test.Echo/Unary", std::string(200'000, 'c'), &answer, &context);
  ASSERT_TRUE(status.ok()) << status.error_message();
  EXPECT_TRUE(answer == std::string(200'000, 'c'));

  grpc::ClientContext deflate;
  deflate.set_compression_algorithm(GRPC_COMPRESS_DEFLATE);
  EXPECT_EQ(caller.Unary("/test.Echo/Unary", std::string(200'000, 'c'), &answer, &deflate).error_code(),
            grpc::StatusCode::UNIMPLEMENTED);
}

TEST(WireInterop, DeadlinesAndCancelsLeaveNothing) {
  TestServer server;
  Caller caller(server.address());
  std::string answer;
  for (int i = 0; i < 20; ++i) {
    grpc::ClientContext context;
    context.set_deadline(std::chrono::system_clock::now() + milliseconds(20));
    EXPECT_EQ(caller.Unary("/test.Echo/Hold", "x", &answer, &context).error_code(),
              grpc::StatusCode::DEADLINE_EXCEEDED);
  }
  for (int i = 0; i < 20; ++i) {
    StreamCall call(&caller, "/test.Echo/Stream");
    EXPECT_TRUE(call.Write("hello"));
    EXPECT_TRUE(call.Read(&answer));
    call.context.TryCancel();
    EXPECT_EQ(call.Finish(/*half_close=*/false).error_code(), grpc::StatusCode::CANCELLED);
  }
  EXPECT_TRUE(server.WaitForMetric("vellum_wire_calls", 0));
  EXPECT_TRUE(Eventually([&] { return server.services().seen.streams_open == 0; }));
  for (const auto& context : server.services().contexts()) EXPECT_TRUE(context->cancelled);
}

TEST(WireInterop, StreamsEchoAndEnd) {
  TestServer server;
  Caller caller(server.address());
  StreamCall call(&caller, "/test.Echo/Stream");
  for (int i = 0; i < 500; ++i) {
    const std::string text(static_cast<std::size_t>(i) * 37, 's');
    ASSERT_TRUE(call.Write(text));
    std::string answer;
    ASSERT_TRUE(call.Read(&answer));
    ASSERT_TRUE(answer == text);
  }
  EXPECT_TRUE(call.Finish(/*half_close=*/true).ok());
}

TEST(WireInterop, ThousandStreamsOnOneConnection) {
  TestServer server;
  Caller caller(server.address());
  std::vector<std::unique_ptr<StreamCall>> calls;
  std::string answer;
  for (int i = 0; i < 1000; ++i) calls.push_back(std::make_unique<StreamCall>(&caller, "/test.Echo/Stream"));
  for (std::size_t i = 0; i < calls.size(); ++i) ASSERT_TRUE(calls[i]->Write(std::to_string(i)));
  for (std::size_t i = 0; i < calls.size(); ++i) {
    ASSERT_TRUE(calls[i]->Read(&answer));
    EXPECT_EQ(answer, std::to_string(i));
  }
  EXPECT_EQ(server.Metric("vellum_wire_connections"), 1);
  EXPECT_EQ(server.Metric("vellum_wire_calls"), 1000);
  for (const auto& call : calls) EXPECT_TRUE(call->Finish(/*half_close=*/true).ok());
  EXPECT_TRUE(server.WaitForMetric("vellum_wire_calls", 0));
}

TEST(WireInterop, SlowReaderGetsEverything) {
  TestServer server;
  Caller caller(server.address());
  StreamCall call(&caller, "/test.Echo/Feed");
  ASSERT_TRUE(call.Write("go"));
  ASSERT_TRUE(Eventually([&] { return server.services().writers().size() == 1; }));
  const auto writer = server.services().writers()[0];
  const auto event = std::make_shared<const std::string>(100'000, 'e');
  for (int i = 0; i < 200; ++i) {
    Message message = OneMessage(std::to_string(i) + " ");
    message[0].shared = event;
    writer->Send(std::move(message));
  }
  writer->Finish(Unavailable("enough"));
  for (int i = 0; i < 200; ++i) {
    std::string answer;
    ASSERT_TRUE(call.Read(&answer));
    ASSERT_TRUE(answer == std::to_string(i) + " " + *event);
  }
  const grpc::Status status = call.Finish(/*half_close=*/false);
  EXPECT_EQ(status.error_code(), grpc::StatusCode::UNAVAILABLE);
  EXPECT_EQ(status.error_message(), "enough");
}

TEST(WireInterop, AuthorityOfOldEtcdClients) {
  TestServer server;
  grpc::ChannelArguments arguments;
  arguments.SetString(GRPC_ARG_DEFAULT_AUTHORITY, "#initially=[host1;host2]");
  Caller caller(server.address(), arguments);
  std::string answer;
  EXPECT_TRUE(caller.Unary("/test.Echo/Unary", "x", &answer).ok());
}

TEST(WireInterop, DrainWithCallsInFlight) {
  TestServer server;
  Caller caller(server.address());
  StreamCall call(&caller, "/test.Echo/Stream");
  std::string answer;
  ASSERT_TRUE(call.Write("before"));
  ASSERT_TRUE(call.Read(&answer));
  std::thread stop([&] { server.server().Stop(seconds(10)); });
  ASSERT_TRUE(call.Write("during"));
  ASSERT_TRUE(call.Read(&answer));
  EXPECT_EQ(answer, "during");
  EXPECT_TRUE(call.Finish(/*half_close=*/true).ok());
  stop.join();
}

}  // namespace
}  // namespace vellum::wire
