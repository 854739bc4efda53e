#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "wire/grpc.h"
#include "wire/rate.h"
#include "wire/reply.h"
#include "wire/request_head.h"
#include "wire/session.h"

struct nghttp2_session;

namespace vellum::wire {

class Http2Session;

/// One request and its answer. Owned by its session; found through nghttp2 by number, never kept by anyone else.
struct Http2Stream {
  Http2Stream(Http2Session* owner, std::int32_t number, std::size_t message_bytes_max, std::size_t metadata_bytes_max)
      : id(number), deadline(owner, number), head(metadata_bytes_max), reader(message_bytes_max) {}

  enum class Kind : std::uint8_t {
    kHead,  ///< Its headers are still arriving.
    kUnary,
    kStreaming,
    kHttp,
    kAnswered,  ///< Refused or answered early: input is dropped.
  };

  struct Deadline final : Timer {
    Deadline(Http2Session* owner, std::int32_t number) : session(owner), stream(number) {}
    void OnTimer() override;
    Http2Session* const session;
    const std::int32_t stream;
  };

  /// A run of answer bytes: shared ones if set, else own ones.
  struct OutPiece {
    std::string own;
    SharedBytes shared;
    std::string_view bytes() const { return shared != nullptr ? std::string_view(*shared) : own; }
  };

  const std::int32_t id;
  std::size_t index = 0;  ///< In the session's list.
  Kind kind = Kind::kHead;
  bool malformed = false;
  bool remote_closed = false;

  // The request.
  Deadline deadline;
  RequestHead head;
  MessageReader reader;
  std::string body;                              ///< kHttp.
  const ServiceTable::Method* method = nullptr;  ///< gRPC, if known.
  std::shared_ptr<CallContext> context;
  std::unique_ptr<StreamHandler> handler;
  std::shared_ptr<Outbox> outbox;
  bool message_seen = false;
  std::chrono::steady_clock::time_point started;
  // Window credit. Bytes of messages that a stream's handler has not consumed are `held`; what has come and is neither
  // held nor credited yet is due. A message longer than the window is credited as it arrives, and its handler's debt is
  // then kept back from what follows.
  std::uint64_t received = 0;
  std::uint64_t held = 0;
  std::uint64_t credited = 0;
  std::size_t partial_counted = 0;  ///< Bytes of reader's that the budget knows of.

  // The answer.
  bool submitted = false;       ///< Headers are on their way.
  bool local_closed = false;    ///< END_STREAM has been produced.
  bool writable_again = false;  ///< OnWritable is owed.
  std::optional<Status> end;    ///< How the call ended, once it is decided.
  std::vector<OutPiece> queue;
  std::size_t queue_head = 0;  ///< The first piece not wholly produced ...
  std::size_t head_done = 0;   ///< ... and how much of it is.
  std::size_t queued = 0;      ///< Bytes in the queue.
};

/// HTTP/2 by nghttp2, with gRPC and plain requests on top. nghttp2 is told nothing but bytes; its callbacks do not free
/// and do not call handlers' last methods: streams that close wait in a list for Reap.
class Http2Session final : public Session {
 public:
  Http2Session(SessionContext context, SessionHost* host);
  ~Http2Session() override;

  /// False if nghttp2 cannot be had. To be called once, before anything else.
  bool Open();

  void Receive(std::string_view bytes) override;
  void ReceiveEnd() override { peer_gone_ = true; }
  void Produce(Output* out) override;
  bool finished() const override;
  bool wants_input() const override { return !dead_ && !peer_gone_; }
  bool doomed() const override { return dead_ || fault_.has_value(); }
  bool awaiting_start() const override { return !settings_seen_ || in_header_block_; }
  std::size_t unproduced_bytes() const override { return queued_; }
  CloseReason close_reason() const override;
  void BeginShutdown() override;
  void Abandon() override;
  void Reap() override;
  void OnUnaryReply(std::int32_t stream, Message message, Status status) override;
  void OnOutbox(std::int32_t stream, Outbox* outbox) override;
  void OnHttpReply(std::int32_t stream, HttpResponse response) override;

 private:
  friend struct Http2Callbacks;
  friend struct Http2Stream::Deadline;

  struct KeepaliveTimer final : Timer {
    explicit KeepaliveTimer(Http2Session* owner) : session(owner) {}
    void OnTimer() override { session->OnKeepaliveTimer(); }
    Http2Session* const session;
  };
  struct ShutdownTimer final : Timer {
    explicit ShutdownTimer(Http2Session* owner) : session(owner) {}
    void OnTimer() override { session->FinishShutdown(); }
    Http2Session* const session;
  };

  std::chrono::steady_clock::time_point now() const { return *context_.now; }
  const ServerOptions& options() const { return *context_.options; }
  WireMetrics& metrics() const { return *context_.stats->shared(); }
  Http2Stream* FindStream(std::int32_t id) const;

  // From nghttp2's callbacks: what comes in (http2_request.cc).
  bool OnBeginRequest(std::int32_t id);
  bool OnHeader(std::int32_t id, std::string_view name, std::string_view value);
  void OnHeadersEnd(std::int32_t id, bool request, bool end_stream);
  void OnData(std::int32_t id, std::string_view bytes);
  void OnDataEnd(std::int32_t id, std::size_t length, bool end_stream);
  void Dispatch(Http2Stream* stream);
  void DispatchGrpc(Http2Stream* stream);
  bool AdmitGrpc(Http2Stream* stream);
  void StartCall(Http2Stream* stream);
  void DispatchHttp(Http2Stream* stream);
  void FeedMessages(Http2Stream* stream, std::string_view bytes);
  bool DeliverMessage(Http2Stream* stream, std::string_view message);
  void FeedBody(Http2Stream* stream, std::string_view bytes);
  void OnRemoteEnd(Http2Stream* stream);
  void CountPartial(Http2Stream* stream, std::size_t gathered);
  bool PartialsTooLarge() const;
  void Credit(Http2Stream* stream);

  // Frames that have limits (http2_session.cc).
  void OnFrameBegin(std::uint8_t type);
  void OnPing(bool ack, const std::uint8_t* opaque);
  void OnSettings(bool ack);
  void OnReset();
  void OnFrameSent(std::uint8_t type, std::uint8_t flags, std::int32_t id);
  void OnStreamClosed(std::int32_t id);
  void Terminate(CloseReason reason, std::string_view text);
  void SayLastWords(std::uint32_t error);
  void OnKeepaliveTimer();
  void FinishShutdown();
  void Retire(Http2Stream* stream);

  // What goes out (http2_reply.cc).
  void OnDeadline(std::int32_t id);
  void EndCall(Http2Stream* stream, Status status, int http_status = 200);
  void RefuseHttp(Http2Stream* stream, int status, std::string_view text);
  void SubmitTrailersOnly(Http2Stream* stream, int http_status);
  void SubmitHttp(Http2Stream* stream, HttpResponse response);
  void SubmitTrailer(Http2Stream* stream);
  /// False: it is too large, and the call has been ended.
  bool AdmitMessage(Http2Stream* stream, std::size_t bytes);
  void SendMessage(Http2Stream* stream, Message message);
  void SendFramed(Http2Stream* stream, Message framed, std::size_t count);
  void Enqueue(Http2Stream* stream, Message message);
  void EnqueueBytes(Http2Stream* stream, std::string_view bytes);
  void Wake(Http2Stream* stream);
  void Reset(Http2Stream* stream, std::uint32_t error);
  void ReleaseQueue(Http2Stream* stream);
  void CountEnd(Http2Stream* stream, Code code);
  void ProducePayload(Http2Stream* stream, std::string_view frame_header, std::size_t length, Output* out);

  const SessionContext context_;
  SessionHost* const host_;
  nghttp2_session* session_ = nullptr;
  Output* out_ = nullptr;  // during Produce

  std::vector<std::unique_ptr<Http2Stream>> streams_;
  std::vector<std::unique_ptr<Http2Stream>> retired_;
  std::vector<std::int32_t> writable_;  // streams whose handlers are owed an OnWritable
  Outbox::Contents contents_;           // reused between deliveries
  std::size_t queued_ = 0;
  std::size_t metadata_bytes_ = 0;
  std::size_t partial_bytes_ = 0;

  bool settings_seen_ = false;
  bool in_header_block_ = false;
  bool peer_gone_ = false;
  bool dead_ = false;         // nghttp2 has given up: it must not be asked for anything any more
  bool goaway_sent_ = false;  // the last one, not the notice
  bool shutting_down_ = false;
  bool shutdown_final_ = false;
  std::optional<CloseReason> fault_;
  std::string fault_text_;
  std::string last_words_;  // a GOAWAY of our own making, when nghttp2 cannot be asked for one any more

  PingPolicy pings_;
  TokenBucket resets_;
  TokenBucket settings_;
  TokenBucket empty_data_;
  TokenBucket tiny_data_;
  TokenBucket useless_;
  int window_updates_due_ = 0;  // WINDOW_UPDATE frames that our data accounts for

  std::chrono::steady_clock::time_point last_received_;
  std::optional<std::chrono::steady_clock::time_point> keepalive_asked_;
  KeepaliveTimer keepalive_{this};
  ShutdownTimer shutdown_{this};
};

}  // namespace vellum::wire
