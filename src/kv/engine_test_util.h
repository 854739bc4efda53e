#pragma once

#include <gtest/gtest.h>

#include <future>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "base/manual_clock.h"
#include "base/mutex.h"
#include "base/test_dir.h"
#include "kv/engine.h"
#include "kv/lessor.h"
#include "kv/watch_hub.h"

namespace vellum::kv {

/// Keeps the messages of log lines.
class LogLines final : public LogSink {
 public:
  void Write(const LogRecord& record) override VELLUM_EXCLUDES(mu_) {
    MutexLock lock(&mu_);
    lines_.emplace_back(record.message);
  }
  /// The lines that begin with `start`.
  std::vector<std::string> Starting(std::string_view start) const VELLUM_EXCLUDES(mu_) {
    MutexLock lock(&mu_);
    std::vector<std::string> lines;
    for (const std::string& line : lines_) {
      if (line.starts_with(start)) lines.push_back(line);
    }
    return lines;
  }

 private:
  mutable Mutex mu_;
  std::vector<std::string> lines_ VELLUM_GUARDED_BY(mu_);
};

/// An engine in a directory of its own, on a clock that moves when told to.
class EngineTest : public ::testing::Test {
 protected:
  EngineTest() {
    options_.data_dir = dir_.path() + "/data";
    options_.clock = &clock_;
    options_.log_sink = &lines_;
    options_.free_space_floor_bytes = 0;
    options_.block_cache_bytes = 32u << 20;
  }
  void SetUp() override { Open(); }

  void Open() {
    engine_.reset();
    auto engine = Engine::Open(options_);
    ASSERT_TRUE(engine.ok()) << engine.error().ToString();
    engine_ = *std::move(engine);
  }

  Result<CommandResult> Do(Command command) { return engine_->ProposeAndWait(std::move(command)); }
  Result<CommandResult> Put(std::string key, std::string value, LeaseId lease = 0) {
    return Do(PutCommand{{.key = std::move(key), .value = std::move(value), .lease = lease}});
  }
  Result<CommandResult> Delete(std::string key, std::string range_end = "") {
    return Do(DeleteRangeCommand{{.key = std::move(key), .range_end = std::move(range_end)}});
  }
  Result<CommandResult> Txn(std::vector<TxnOp> success) { return Do(TxnCommand{{{}, std::move(success), {}}}); }
  Result<RangeResponse> Range(const RangeRequest& request) { return ReadRange(*engine_->CurrentView(), request); }
  RangeResponse Get(std::string key, Revision revision = 0) {
    auto response = Range({.key = std::move(key), .revision = revision});
    EXPECT_TRUE(response.ok()) << response.error().ToString();
    return response.ok() ? *std::move(response) : RangeResponse{};
  }
  Result<CompactResult> Compact(Revision revision, bool physical = false, CompactRules rules = CompactRules::kLibrary) {
    std::promise<Result<CompactResult>> promise;
    engine_->Compact(
        revision, physical, [&](Result<CompactResult> result) { promise.set_value(std::move(result)); }, rules);
    return promise.get_future().get();
  }
  Revision revision() const { return engine_->CurrentView()->revision(); }

  TestDir dir_;
  ManualClock clock_;
  LogLines lines_;
  EngineOptions options_;
  std::unique_ptr<Engine> engine_;
};

}  // namespace vellum::kv
