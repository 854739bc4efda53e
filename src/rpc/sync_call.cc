#include "rpc/sync_call.h"

#include <algorithm>
#include <exception>
#include <system_error>
#include <thread>

#include "rpc/core.h"

namespace vellum::rpc {
namespace {

// A message without bytes takes nothing of the window, so their number has a bound of its own.
constexpr std::size_t kInboxMessagesMax = 131'072;
constexpr std::int64_t kOfferIntervalMs = 200;

std::int64_t NowMs() {
  return std::chrono::duration_cast<std::chrono::milliseconds>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

Status Idle(const SyncLimits& limits, const char* what) {
  return DeadlineExceeded("the client has " + std::string(what) + " nothing for " +
                          std::to_string(limits.idle_timeout.count() / 1000) + " s, which is the limit");
}

Status Stopping() { return Unavailable("the server is stopping"); }

}  // namespace

// ---- one call, its thread's side -------------------------------------------------------------------------------------

Status SyncCall::ClosedStatus() const {
  if (flooded_) return ResourceExhausted("too many messages wait: the limit is " + std::to_string(kInboxMessagesMax));
  return Cancelled("the call was cancelled");
}

Result<bool> SyncCall::Read(google::protobuf::MessageLite* message) {
  std::string bytes;
  {
    const auto deadline = std::chrono::steady_clock::now() + limits_.idle_timeout;
    MutexLock lock(&mu_);
    while (inbox_.empty() && !half_closed_ && !cancelled_.load()) {
      const auto left = deadline - std::chrono::steady_clock::now();
      if (left <= std::chrono::nanoseconds::zero()) return Idle(limits_, "sent");
      changed_.WaitFor(&mu_, left);
    }
    if (cancelled_.load()) return ClosedStatus();
    if (inbox_.empty()) return false;
    bytes = std::move(inbox_.front());
    inbox_.pop_front();
  }
  writer_->Consumed(bytes.size());
  if (!ParseMessage(bytes, message)) return InvalidArgument("a message's bytes are not of the type " + message->GetTypeName());
  return true;
}

Status SyncCall::ReadOnly(google::protobuf::MessageLite* message) {
  VELLUM_ASSIGN_OR_RETURN(const bool came, Read(message));
  if (!came) return InvalidArgument("the stream ended without a " + message->GetTypeName());
  return {};
}

Status SyncCall::Write(const google::protobuf::MessageLite& message) {
  wire::Message pieces(1);
  message.SerializeToString(&pieces.front().own);
  writer_->Send(std::move(pieces));
  const auto deadline = std::chrono::steady_clock::now() + limits_.idle_timeout;
  MutexLock lock(&mu_);
  // OnWritable takes the lock, so it cannot come between looking and waiting.
  while (writer_->unsent_bytes() > limits_.unsent_bytes_max && !cancelled_.load()) {
    const auto left = deadline - std::chrono::steady_clock::now();
    if (left <= std::chrono::nanoseconds::zero()) return Idle(limits_, "read");
    changed_.WaitFor(&mu_, left);
  }
  return cancelled_.load() ? ClosedStatus() : Status();
}

void SyncCall::Offer(const std::function<void(std::string* bytes)>& make) {
  const std::int64_t now = NowMs();
  std::int64_t last = offered_ms_.load();
  if (now - last < kOfferIntervalMs || !offered_ms_.compare_exchange_strong(last, now)) return;
  if (writer_->unsent_bytes() > 0) return;
  wire::Message pieces(1);
  make(&pieces.front().own);
  writer_->Send(std::move(pieces));
}

// ---- one call, the loop's side ---------------------------------------------------------------------------------------

void SyncCall::Push(std::string_view message) {
  MutexLock lock(&mu_);
  if (cancelled_.load()) return;
  if (inbox_.size() >= kInboxMessagesMax) {
    flooded_ = true;
    cancelled_.store(true);
    inbox_.clear();
  } else {
    inbox_.emplace_back(message);
  }
  changed_.NotifyAll();
}

void SyncCall::HalfClose() {
  MutexLock lock(&mu_);
  half_closed_ = true;
  changed_.NotifyAll();
}

void SyncCall::Writable() {
  MutexLock lock(&mu_);
  changed_.NotifyAll();
}

void SyncCall::Close() {
  MutexLock lock(&mu_);
  cancelled_.store(true);
  inbox_.clear();
  changed_.NotifyAll();
}

// ---- all calls -------------------------------------------------------------------------------------------------------

class SyncCalls::Handler final : public wire::StreamHandler {
 public:
  /// Null: the call was refused.
  explicit Handler(std::shared_ptr<SyncCall> call) : call_(std::move(call)) {}

  void OnMessage(std::string_view message) override {
    if (call_) call_->Push(message);
  }
  void OnHalfClose() override {
    if (call_) call_->HalfClose();
  }
  void OnWritable() override {
    if (call_) call_->Writable();
  }
  void OnClosed() override {
    if (call_) call_->Close();
  }

 private:
  const std::shared_ptr<SyncCall> call_;
};

SyncCalls::SyncCalls(SyncLimits limits, Logger logger, Metrics* metrics)
    : limits_(limits), logger_(std::move(logger)),
      running_gauge_(metrics->AddGauge("vellum_sync_streams", "Calls of the sync service that run.")),
      refused_(metrics->AddCounter("vellum_sync_streams_refused_total",
                                   "Calls of the sync service that were refused because too many ran.")) {}

SyncCalls::~SyncCalls() { Stop(); }

std::unique_ptr<wire::StreamHandler> SyncCalls::Start(std::shared_ptr<wire::StreamWriter> writer, Run run) {
  std::shared_ptr<SyncCall> call(new SyncCall(writer, limits_));
  Status refusal;
  {
    MutexLock lock(&mu_);
    if (stopping_) {
      refusal = Stopping();
    } else if (running_.size() >= limits_.streams_max) {
      refusal = ResourceExhausted(std::to_string(running_.size()) +
                                  " calls of the sync service are running, which is the limit (--max-sync-streams)");
    } else {
      running_.push_back(call);
    }
  }
  if (refusal.ok()) {
    running_gauge_.Increment();
    try {
      std::thread([this, call, run = std::move(run)] { RunCall(call, run); }).detach();
      return std::make_unique<Handler>(std::move(call));
    } catch (const std::system_error& error) {
      refusal = ResourceExhausted("no thread for the call: " + std::string(error.what()));
      running_gauge_.Decrement();
      MutexLock lock(&mu_);
      std::erase(running_, call);
      ended_.NotifyAll();
    }
  }
  refused_.Increment();
  writer->Finish(std::move(refusal));
  return std::make_unique<Handler>(nullptr);
}

void SyncCalls::RunCall(const std::shared_ptr<SyncCall>& call, const Run& run) {
  Status done;
  try {
    done = run(call.get());
  } catch (const std::exception& error) {
    VELLUM_LOG(logger_, kError, "a call of the sync service threw", {{"error", error.what()}});
    done = Internal("the call failed: " + std::string(error.what()));
  }
  {
    MutexLock lock(&mu_);
    if (stopping_ && done.code() == Code::kCancelled) done = Stopping();
  }
  call->writer_->Finish(std::move(done));
  running_gauge_.Decrement();
  // The last touch of this object: whoever stops may destroy it once the lock is free.
  MutexLock lock(&mu_);
  std::erase(running_, call);
  ended_.NotifyAll();
}

void SyncCalls::Stop() {
  MutexLock lock(&mu_);
  stopping_ = true;
  for (const std::shared_ptr<SyncCall>& call : running_) call->Close();
  while (!running_.empty()) ended_.Wait(&mu_);
}

}  // namespace vellum::rpc
