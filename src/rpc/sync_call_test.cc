#include "rpc/sync_call.h"

#include <gtest/gtest.h>

#include <future>

#include "vellum/sync/v1/service.pb.h"

namespace vellum::rpc {
namespace {

namespace v1 = ::vellum::sync::v1;

/// A client that reads when it is told to, and remembers what it got.
class FakeWriter final : public wire::StreamWriter {
 public:
  void Send(wire::Message message) override {
    MutexLock lock(&mu_);
    unsent_ += message.front().own.size();
    sent_.push_back(message.front().own);
    changed_.NotifyAll();
  }
  void SendFramed(std::string, std::size_t) override { ADD_FAILURE() << "these calls send one by one"; }
  void Finish(Status status) override {
    MutexLock lock(&mu_);
    end_ = std::move(status);
    changed_.NotifyAll();
  }
  std::size_t unsent_bytes() const override {
    MutexLock lock(&mu_);
    return unsent_;
  }
  void Consumed(std::size_t bytes) override {
    MutexLock lock(&mu_);
    consumed_ += bytes;
    changed_.NotifyAll();
  }

  void ReadAll() {
    MutexLock lock(&mu_);
    unsent_ = 0;
  }
  Status AwaitEnd() {
    MutexLock lock(&mu_);
    while (!end_) changed_.Wait(&mu_);
    return *end_;
  }
  void AwaitSent(std::size_t messages) {
    MutexLock lock(&mu_);
    while (sent_.size() < messages) changed_.Wait(&mu_);
  }
  std::size_t sent() const {
    MutexLock lock(&mu_);
    return sent_.size();
  }
  std::size_t consumed() const {
    MutexLock lock(&mu_);
    return consumed_;
  }

 private:
  mutable Mutex mu_;
  CondVar changed_;
  std::size_t unsent_ = 0;
  std::size_t consumed_ = 0;
  std::vector<std::string> sent_;
  std::optional<Status> end_;
};

class SyncCallTest : public testing::Test {
 protected:
  std::unique_ptr<SyncCalls> Make() { return std::make_unique<SyncCalls>(limits, Logger(), &metrics); }
  static std::string Part(const std::string& bytes) {
    v1::WriteRequest message;
    message.set_part(bytes);
    return message.SerializeAsString();
  }

  SyncLimits limits;
  Metrics metrics;
  std::shared_ptr<FakeWriter> writer = std::make_shared<FakeWriter>();
};

TEST_F(SyncCallTest, MessagesComeInOrderAndGiveTheirWindowBackWhenTheyAreTaken) {
  const auto calls = Make();
  std::string all;
  std::promise<void> go;
  const auto handler = calls->Start(writer, [&](SyncCall* call) -> Status {
    go.get_future().wait();
    v1::WriteRequest message;
    for (;;) {
      VELLUM_ASSIGN_OR_RETURN(const bool came, call->Read(&message));
      if (!came) return {};
      all += message.part();
    }
  });
  handler->OnMessage(Part("a"));
  handler->OnMessage(Part("b"));
  EXPECT_EQ(writer->consumed(), 0u);
  go.set_value();
  handler->OnMessage(Part("c"));
  handler->OnHalfClose();
  EXPECT_TRUE(writer->AwaitEnd().ok());
  EXPECT_EQ(all, "abc");
  EXPECT_EQ(writer->consumed(), Part("a").size() * 3);
}

TEST_F(SyncCallTest, AClientThatDoesNotReadHoldsTheCallAndNotItsMemory) {
  const auto calls = Make();
  constexpr std::size_t kMessages = 100;
  const std::string chunk(40 << 10, 'x');
  const auto handler = calls->Start(writer, [&](SyncCall* call) -> Status {
    v1::ExportResponse message;
    message.set_chunk(chunk);
    for (std::size_t i = 0; i < kMessages; ++i) VELLUM_TRY(call->Write(message));
    return {};
  });
  for (std::size_t seen = 0; seen < kMessages;) {
    const std::size_t before = seen;
    writer->AwaitSent(std::min(before + 2, kMessages));  // the second one passes the mark, and the call waits
    seen = writer->sent();
    ASSERT_LE(seen, before + 2);
    writer->ReadAll();
    handler->OnWritable();
  }
  EXPECT_TRUE(writer->AwaitEnd().ok());
}

TEST_F(SyncCallTest, ACallThatNobodyWaitsForEndsWhateverItWaitsFor) {
  const auto calls = Make();
  const auto reading = calls->Start(writer, [](SyncCall* call) {
    v1::WriteRequest message;
    return call->Read(&message).error();
  });
  reading->OnClosed();
  EXPECT_EQ(writer->AwaitEnd().code(), Code::kCancelled);

  const auto other = std::make_shared<FakeWriter>();
  const auto writing = calls->Start(other, [](SyncCall* call) {
    v1::ExportResponse message;
    message.set_chunk(std::string(1 << 20, 'x'));
    return call->Write(message);
  });
  other->AwaitSent(1);
  writing->OnClosed();
  EXPECT_EQ(other->AwaitEnd().code(), Code::kCancelled);

  const auto third = std::make_shared<FakeWriter>();
  const auto working = calls->Start(third, [](SyncCall* call) -> Status {
    const sync::Work work = call->Follow();
    while (!work.cancel->load()) std::this_thread::yield();
    return Cancelled("as told");
  });
  working->OnClosed();
  EXPECT_EQ(third->AwaitEnd().code(), Code::kCancelled);
}

TEST_F(SyncCallTest, AnIdleClientLosesItsCall) {
  limits.idle_timeout = std::chrono::milliseconds(1);
  const auto calls = Make();
  const auto handler = calls->Start(writer, [](SyncCall* call) {
    v1::WriteRequest message;
    return call->Read(&message).error();
  });
  EXPECT_EQ(writer->AwaitEnd().code(), Code::kDeadlineExceeded);
}

TEST_F(SyncCallTest, CallsAboveTheLimitAreRefusedUntilOneHasEnded) {
  limits.streams_max = 1;
  const auto calls = Make();
  const auto wait = [](SyncCall* call) {
    v1::WriteRequest message;
    return call->Read(&message).error();
  };
  const auto first = calls->Start(writer, wait);
  const auto second = std::make_shared<FakeWriter>();
  const auto refused = calls->Start(second, wait);
  refused->OnMessage("whatever comes is nobody's");
  EXPECT_EQ(second->AwaitEnd().code(), Code::kResourceExhausted);
  first->OnHalfClose();
  EXPECT_TRUE(writer->AwaitEnd().ok());
}

TEST_F(SyncCallTest, BytesThatAreNoMessageAreAnErrorOfTheClients) {
  const auto calls = Make();
  const auto handler = calls->Start(writer, [](SyncCall* call) {
    v1::WriteRequest message;
    return call->Read(&message).error();
  });
  handler->OnMessage("\xff\xff\xff");
  EXPECT_EQ(writer->AwaitEnd().code(), Code::kInvalidArgument);
}

TEST_F(SyncCallTest, EmptyMessagesThatTakeNoWindowAreBoundedByTheirNumber) {
  const auto calls = Make();
  std::promise<void> go;
  const auto handler = calls->Start(writer, [&](SyncCall* call) {
    go.get_future().wait();
    v1::WriteRequest message;
    return call->Read(&message).error();
  });
  for (int i = 0; i < 200'000; ++i) handler->OnMessage({});
  go.set_value();
  EXPECT_EQ(writer->AwaitEnd().code(), Code::kResourceExhausted);
}

TEST_F(SyncCallTest, StoppingEndsWhatRunsAndRefusesWhatComes) {
  const auto calls = Make();
  const auto wait = [](SyncCall* call) {
    v1::WriteRequest message;
    return call->Read(&message).error();
  };
  const auto first = calls->Start(writer, wait);
  calls->Stop();
  EXPECT_EQ(writer->AwaitEnd().code(), Code::kUnavailable);
  const auto late = std::make_shared<FakeWriter>();
  const auto refused = calls->Start(late, wait);
  EXPECT_EQ(late->AwaitEnd().code(), Code::kUnavailable);
}

}  // namespace
}  // namespace vellum::rpc
