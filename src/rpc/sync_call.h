#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include <google/protobuf/message_lite.h>

#include "base/log.h"
#include "base/metrics.h"
#include "base/mutex.h"
#include "rpc/sync_limits.h"
#include "sync/store.h"
#include "wire/service.h"

/// Calls that wait: for the disk, for the client's next message, for the client to read. Each runs on a thread of its own, so that
/// its code reads from top to bottom; how many there are at once is limited.
namespace vellum::rpc {

/// One call, as its thread sees it. Write and Offer are thread-safe; Read is for the call's own thread.
class SyncCall {
 public:
  /// Waits for the client's next message. False: the client sends no more. kCancelled: nobody waits for the answer;
  /// kInvalidArgument for bytes that are not such a message; kDeadlineExceeded after the idle timeout.
  Result<bool> Read(google::protobuf::MessageLite* message) VELLUM_EXCLUDES(mu_);
  /// Reads the one message of calls that have one. kInvalidArgument if there is none.
  Status ReadOnly(google::protobuf::MessageLite* message) VELLUM_EXCLUDES(mu_);
  /// Sends, and waits while the client has too much to read. kCancelled, kDeadlineExceeded as above.
  Status Write(const google::protobuf::MessageLite& message) VELLUM_EXCLUDES(mu_);
  /// Sends if the client keeps up and the last offer is a while ago.
  void Offer(const std::function<void(std::string* bytes)>& make) VELLUM_EXCLUDES(mu_);

  /// Cancelled with the call; says how far it is by `message_of(records)`.
  template <typename Response>
  sync::Work FollowAs() {
    return {&cancelled_, [this](std::uint64_t records) {
              Offer([records](std::string* bytes) {
                Response response;
                response.mutable_progress()->set_records(records);
                response.SerializeToString(bytes);
              });
            }};
  }
  sync::Work Follow() { return {&cancelled_, {}}; }

 private:
  friend class SyncCalls;
  SyncCall(std::shared_ptr<wire::StreamWriter> writer, const SyncLimits& limits)
      : writer_(std::move(writer)), limits_(limits) {}

  // From the loop.
  void Push(std::string_view message) VELLUM_EXCLUDES(mu_);
  void HalfClose() VELLUM_EXCLUDES(mu_);
  void Writable() VELLUM_EXCLUDES(mu_);
  void Close() VELLUM_EXCLUDES(mu_);
  Status ClosedStatus() const VELLUM_REQUIRES(mu_);

  const std::shared_ptr<wire::StreamWriter> writer_;
  const SyncLimits limits_;
  std::atomic<bool> cancelled_{false};
  std::atomic<std::int64_t> offered_ms_{0};

  Mutex mu_;
  CondVar changed_;
  // Bounded by the stream's window: credit is given back when a message is taken out.
  std::deque<std::string> inbox_ VELLUM_GUARDED_BY(mu_);
  bool half_closed_ VELLUM_GUARDED_BY(mu_) = false;
  bool flooded_ VELLUM_GUARDED_BY(mu_) = false;
};

/// The calls that run. Thread-safe.
class SyncCalls {
 public:
  SyncCalls(SyncLimits limits, Logger logger, Metrics* metrics);
  /// Stops.
  ~SyncCalls();
  SyncCalls(const SyncCalls&) = delete;
  SyncCalls& operator=(const SyncCalls&) = delete;

  /// Starts `run` on a thread; what it returns ends the call. Never blocks. The handler is for the wire.
  using Run = std::function<Status(SyncCall*)>;
  std::unique_ptr<wire::StreamHandler> Start(std::shared_ptr<wire::StreamWriter> writer, Run run) VELLUM_EXCLUDES(mu_);

  /// Cancels what runs, refuses what comes (kUnavailable), and returns when the last call has ended. Idempotent.
  void Stop() VELLUM_EXCLUDES(mu_);

 private:
  class Handler;
  void RunCall(const std::shared_ptr<SyncCall>& call, const Run& run) VELLUM_EXCLUDES(mu_);

  const SyncLimits limits_;
  const Logger logger_;
  Gauge& running_gauge_;
  Counter& refused_;

  Mutex mu_;
  CondVar ended_;
  std::vector<std::shared_ptr<SyncCall>> running_ VELLUM_GUARDED_BY(mu_);
  bool stopping_ VELLUM_GUARDED_BY(mu_) = false;
};

}  // namespace vellum::rpc
