#pragma once

#include <cstdint>
#include <deque>
#include <memory>
#include <optional>
#include <span>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "base/mutex.h"
#include "kv/watch_hub.h"
#include "rpc/core.h"

namespace vellum::rpc {

/// Turns what the hub delivers for one stream into WatchResponses. Requests arrive on the wire's loop, deliveries on the
/// hub's thread; both sides are in here because they share the ids.
///
/// To the hub every watcher has a number of its own that is never used twice, so that what it still says about a watcher
/// that was cancelled cannot be taken for another one with the same id.
class WatchStream final : public kv::WatchSink, public std::enable_shared_from_this<WatchStream> {
 public:
  WatchStream(CorePtr core, std::shared_ptr<wire::StreamWriter> writer);

  /// Where the watchers go. Call once, before any request.
  void Attach(kv::WatchHub* hub, kv::WatchHub::StreamId stream);

  /// From the loop. `request_bytes` is given back as window once the request has been answered.
  void Create(const etcdserverpb::WatchCreateRequest& request, std::size_t request_bytes) VELLUM_EXCLUDES(mu_);
  void Cancel(std::int64_t watch_id, std::size_t request_bytes) VELLUM_EXCLUDES(mu_);
  void RequestProgress(std::size_t request_bytes);
  void IgnoreRequest(std::size_t request_bytes) { credit_.Return(request_bytes); }
  void Writable();

  /// From the hub.
  void Deliver(const kv::WatchDelivery& delivery) override VELLUM_EXCLUDES(mu_);
  bool Accepts() const override;
  void Flush() override;

 private:
  struct Watcher {
    std::int64_t watch_id = 0;
    bool with_previous = false;
    bool fragment = false;
  };
  /// The answer to a create request that waits for its turn, because clients match them by order: either the watcher
  /// that the hub has yet to confirm, or the text that refuses it.
  struct PendingCreate {
    std::int64_t number = 0;
    Watcher watcher;
    std::size_t request_bytes = 0;
    std::string_view refusal;           ///< Not empty: refused.
    std::optional<Revision> revision;   ///< Set: ready to be sent.
  };

  /// An empty text: accepted.
  std::string_view WhyRefused(const etcdserverpb::WatchCreateRequest& request) const VELLUM_REQUIRES(mu_);
  std::int64_t ChooseId(std::int64_t asked) VELLUM_REQUIRES(mu_);
  /// Sends what is ready of pending_creates_, in order. Returns the bytes of the requests that have been answered.
  std::size_t AnswerCreates() VELLUM_REQUIRES(mu_);
  void Created(std::int64_t number, Revision revision) VELLUM_EXCLUDES(mu_);
  void Events(const Watcher& watcher, const kv::WatchDelivery& delivery);
  using EventPointers = std::span<const kv::PublishedEvent* const>;
  void SendFragments(const Watcher& watcher, Revision revision, EventPointers events);
  /// `bytes`: of the events, encoded.
  void SendEvents(const Watcher& watcher, Revision revision, EventPointers events, std::size_t bytes, bool more);
  void Gather(const Watcher& watcher, Revision revision, EventPointers events, std::size_t bytes, bool more);
  void Canceled(std::int64_t number) VELLUM_EXCLUDES(mu_);
  /// Takes the watcher off the books. nullopt: it was not there. From the hub.
  std::optional<Watcher> Forget(std::int64_t number) VELLUM_EXCLUDES(mu_);
  void Send(const WatchResponseHead& head);

  // Constant after Attach.
  const CorePtr core_;
  const std::shared_ptr<wire::StreamWriter> writer_;
  kv::WatchHub* hub_ = nullptr;
  kv::WatchHub::StreamId stream_ = 0;

  RequestCredit credit_;
  mutable Mutex mu_;
  std::size_t watchers_ VELLUM_GUARDED_BY(mu_) = 0;  // asked for and not forgotten
  std::unordered_map<std::int64_t, std::int64_t> numbers_ VELLUM_GUARDED_BY(mu_);  // ids in use -> the hub's number
  std::deque<PendingCreate> pending_creates_ VELLUM_GUARDED_BY(mu_);
  std::int64_t next_number_ VELLUM_GUARDED_BY(mu_) = 1;
  std::int64_t next_id_ VELLUM_GUARDED_BY(mu_) = 0;

  // The hub's thread only.
  std::unordered_map<std::int64_t, Watcher> created_;  // by the hub's number
  // Small responses of the turn that is running, framed: they leave together, in one piece of mail.
  std::string gathered_;
  std::size_t gathered_count_ = 0;
  std::size_t gathered_before_ = 0;  // bytes, the last time
  std::string header_;               // encoded, ...
  Revision header_revision_ = -1;    // ... of this revision
};

}  // namespace vellum::rpc
