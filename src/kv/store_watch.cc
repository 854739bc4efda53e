#include "kv/store_watch.h"

#include <deque>
#include <optional>
#include <utility>

#include "base/mutex.h"
#include "kv/watch_hub.h"

namespace vellum::kv {
namespace {

constexpr std::int64_t kWatcher = 0;
/// Beyond it the hub is told to wait: the watch then goes on from history once this was read.
constexpr std::size_t kBufferBytesMax = 2u << 20;

std::size_t Bytes(const WatchEvents& batch) {
  std::size_t bytes = sizeof(WatchEvents);
  for (const Event& event : batch.events) {
    bytes += sizeof(Event) + event.kv.key.size() + event.kv.value.size();
    if (event.prev_kv) bytes += event.prev_kv->value.size();
  }
  return bytes;
}

/// Between the hub's thread, which delivers, and the one that reads.
class Buffer {
 public:
  explicit Buffer(bool with_previous) : with_previous_(with_previous) {}

  void Deliver(const WatchDelivery& delivery) VELLUM_EXCLUDES(mu_) {
    WatchEvents batch;
    batch.revision = delivery.revision;
    for (const PublishedEvent* published : delivery.events) {
      Event& event = batch.events.emplace_back();
      event.type = published->event.type;
      event.kv = published->event.kv;
      if (with_previous_) event.prev_kv = published->event.prev_kv;
    }
    MutexLock lock(&mu_);
    switch (delivery.kind) {
      case WatchDelivery::Kind::kCreated: created_ = true; break;
      case WatchDelivery::Kind::kProgress: break;
      case WatchDelivery::Kind::kEvents:
        bytes_ += Bytes(batch);
        batches_.push_back(std::move(batch));
        break;
      case WatchDelivery::Kind::kCompacted:
        EndLocked(OutOfRange("required revision has been compacted (compacted: " + std::to_string(delivery.revision) + ")",
                             Reason::kCompacted));
        break;
      case WatchDelivery::Kind::kFailed: EndLocked(delivery.failure); break;
    }
    wake_.NotifyAll();
  }

  bool Accepts() const VELLUM_EXCLUDES(mu_) {
    MutexLock lock(&mu_);
    return bytes_ < kBufferBytesMax;
  }

  void End(Status why) VELLUM_EXCLUDES(mu_) {
    MutexLock lock(&mu_);
    EndLocked(std::move(why));
    wake_.NotifyAll();
  }

  /// Waits until the hub knows the watch, so that what is put after that is seen.
  void AwaitCreated() VELLUM_EXCLUDES(mu_) {
    MutexLock lock(&mu_);
    while (!created_ && end_.ok()) wake_.Wait(&mu_);
  }

  /// `drained` gets whether there was no room before and there is now.
  Result<std::optional<WatchEvents>> Take(std::chrono::milliseconds wait, bool* drained) VELLUM_EXCLUDES(mu_) {
    const auto deadline = std::chrono::steady_clock::now() + wait;
    MutexLock lock(&mu_);
    while (batches_.empty() && end_.ok()) {
      const auto left = deadline - std::chrono::steady_clock::now();
      if (left <= std::chrono::nanoseconds(0)) return std::optional<WatchEvents>();
      wake_.WaitFor(&mu_, left);
    }
    if (batches_.empty()) return end_;
    WatchEvents batch = std::move(batches_.front());
    batches_.pop_front();
    const bool was_full = bytes_ >= kBufferBytesMax;
    bytes_ -= Bytes(batch);
    *drained = was_full && bytes_ < kBufferBytesMax;
    return std::optional<WatchEvents>(std::move(batch));
  }

 private:
  void EndLocked(Status why) VELLUM_REQUIRES(mu_) {
    if (end_.ok()) end_ = std::move(why);
  }

  const bool with_previous_;
  mutable Mutex mu_;
  CondVar wake_;
  bool created_ VELLUM_GUARDED_BY(mu_) = false;
  std::deque<WatchEvents> batches_ VELLUM_GUARDED_BY(mu_);
  std::size_t bytes_ VELLUM_GUARDED_BY(mu_) = 0;
  Status end_ VELLUM_GUARDED_BY(mu_);  // not OK: nothing follows
};

/// What the hub holds. It lets go of it when the stream is closed or the store is.
class Sink final : public WatchSink {
 public:
  explicit Sink(std::shared_ptr<Buffer> buffer) : buffer_(std::move(buffer)) {}
  ~Sink() override { buffer_->End(Unavailable("the store is closed", Reason::kStopped)); }
  void Deliver(const WatchDelivery& delivery) override { buffer_->Deliver(delivery); }
  bool Accepts() const override { return buffer_->Accepts(); }

 private:
  const std::shared_ptr<Buffer> buffer_;
};

class StoreWatch final : public WatchStream {
 public:
  StoreWatch(std::shared_ptr<EngineHandle> handle, std::shared_ptr<Buffer> buffer, WatchHub::StreamId stream)
      : handle_(std::move(handle)), buffer_(std::move(buffer)), stream_(stream) {}
  ~StoreWatch() override { StoreWatch::Cancel(); }

  Result<std::optional<WatchEvents>> Next(std::chrono::milliseconds wait) override {
    bool drained = false;
    Result<std::optional<WatchEvents>> batch = buffer_->Take(wait, &drained);
    if (drained) {
      const EngineHandle::Use engine(*handle_);
      if (engine) engine->watch_hub().SinkReady(stream_);
    }
    return batch;
  }

  void Cancel() override {
    buffer_->End(Cancelled("the watch was cancelled"));
    const EngineHandle::Use engine(*handle_);
    if (engine) engine->watch_hub().CloseStream(stream_);
  }

 private:
  const std::shared_ptr<EngineHandle> handle_;
  const std::shared_ptr<Buffer> buffer_;
  const WatchHub::StreamId stream_;
};

}  // namespace

std::unique_ptr<WatchStream> OpenStoreWatch(std::shared_ptr<EngineHandle> handle, Engine& engine,
                                            const WatchRequest& request) {
  auto buffer = std::make_shared<Buffer>(request.prev_kv);
  const WatchHub::StreamId stream = engine.watch_hub().OpenStream(std::make_shared<Sink>(buffer));
  WatchOptions options;
  options.interval = KeyInterval::FromRequest(request.key, request.range_end);
  options.start = request.start;
  options.no_put = request.no_put;
  options.no_delete = request.no_delete;
  options.with_previous = request.prev_kv;
  engine.watch_hub().Watch(stream, kWatcher, options);
  buffer->AwaitCreated();
  return std::make_unique<StoreWatch>(std::move(handle), std::move(buffer), stream);
}

}  // namespace vellum::kv
