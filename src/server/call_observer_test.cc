#include "server/call_observer.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

namespace vellum::server {
namespace {

class Lines final : public LogSink {
 public:
  void Write(const LogRecord& record) override {
    std::string line(record.message);
    for (const LogField& field : record.fields) line += " " + std::string(field.name) + "=" + field.value;
    lines.push_back(line);
  }
  std::vector<std::string> lines;
};

class CallObserverTest : public ::testing::Test {
 protected:
  CallObserverTest() {
    table_.AddUnary("/a.B/Unary", [](auto, auto, auto) {});
    table_.AddStream("/a.B/Stream", [](auto, auto) { return nullptr; });
  }
  wire::ServiceTable table_;
  Metrics metrics_;
  Lines lines_;
};

TEST_F(CallObserverTest, LogsSlowUnaryCallsOnly) {
  const CallObserver observer(
      {.slow_from = std::chrono::milliseconds(300), .metrics = &metrics_, .logger = Logger(&lines_)}, &table_);
  observer.OnCallDone("/a.B/Unary", Code::kOk, 0.2999);
  observer.OnCallDone("/a.B/Stream", Code::kOk, 3600);
  observer.OnCallDone("/unknown", Code::kUnimplemented, 10);
  EXPECT_TRUE(lines_.lines.empty());
  observer.OnCallDone("/a.B/Unary", Code::kDeadlineExceeded, 1.25);
  ASSERT_EQ(lines_.lines.size(), 1u);
  EXPECT_EQ(lines_.lines[0],
            "request took too long method=/a.B/Unary took=1s250ms expected-duration=300ms code=kDeadlineExceeded");
  EXPECT_EQ(metrics_.Expose().find("grpc_server_handling_seconds"), std::string::npos);
}

TEST_F(CallObserverTest, ZeroMeansNoneIsSlow) {
  const CallObserver observer({.metrics = &metrics_, .logger = Logger(&lines_)}, &table_);
  observer.OnCallDone("/a.B/Unary", Code::kOk, 100);
  EXPECT_TRUE(lines_.lines.empty());
}

TEST_F(CallObserverTest, KeepsEtcdsHistogramsOfLongCalls) {
  table_.AddUnary("/etcdserverpb.Maintenance/HashKV", [](auto, auto, auto) {});
  const CallObserver observer({.metrics = &metrics_}, &table_);
  observer.OnCallDone("/etcdserverpb.Maintenance/HashKV", Code::kOk, 0.5);
  EXPECT_NE(metrics_.Expose().find("etcd_mvcc_hash_rev_duration_seconds_count 1"), std::string::npos);
}

TEST_F(CallObserverTest, KeepsHistogramsWhereAskedFor) {
  const CallObserver observer({.histograms = true, .metrics = &metrics_}, &table_);
  observer.OnCallDone("/a.B/Unary", Code::kOk, 0.02);
  const std::string text = metrics_.Expose();
  EXPECT_NE(
      text.find("grpc_server_handling_seconds_bucket{grpc_method=\"Unary\",grpc_service=\"a.B\",grpc_type=\"unary\","
                "le=\"0.025\"} 1"),
      std::string::npos)
      << text;
  EXPECT_EQ(text.find("Stream"), std::string::npos);
}

}  // namespace
}  // namespace vellum::server
