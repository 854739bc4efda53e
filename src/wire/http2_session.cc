#include "wire/http2_session.h"

#include <nghttp2/nghttp2.h>

#include <algorithm>
#include <array>
#include <cstring>

#include "base/check.h"

namespace vellum::wire {
namespace {

constexpr std::array<std::uint8_t, 8> kShutdownPing = {'v', 's', 't', 'o', 'p', 0, 0, 1};
constexpr std::array<std::uint8_t, 8> kKeepalivePing = {'v', 'a', 'l', 'i', 'v', 'e', 0, 1};

// How long a client may take to answer the ping that precedes the final GOAWAY.
constexpr std::chrono::milliseconds kShutdownRoundTrip{200};

std::string_view View(const std::uint8_t* bytes, std::size_t size) {
  return {reinterpret_cast<const char*>(bytes), size};
}

}  // namespace

/// nghttp2's callbacks, translated into members that speak of plain values.
struct Http2Callbacks {
  static Http2Session* Self(void* user_data) { return static_cast<Http2Session*>(user_data); }

  static int BeginHeaders(nghttp2_session*, const nghttp2_frame* frame, void* user_data) {
    if (frame->hd.type != NGHTTP2_HEADERS) return 0;
    Self(user_data)->in_header_block_ = true;
    if (frame->headers.cat != NGHTTP2_HCAT_REQUEST) return 0;
    return Self(user_data)->OnBeginRequest(frame->hd.stream_id) ? 0 : NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE;
  }

  static int Header(nghttp2_session*, const nghttp2_frame* frame, const std::uint8_t* name, std::size_t name_size,
                    const std::uint8_t* value, std::size_t value_size, std::uint8_t, void* user_data) {
    if (frame->hd.type != NGHTTP2_HEADERS || frame->headers.cat != NGHTTP2_HCAT_REQUEST) return 0;
    const bool go_on = Self(user_data)->OnHeader(frame->hd.stream_id, View(name, name_size), View(value, value_size));
    return go_on ? 0 : NGHTTP2_ERR_CALLBACK_FAILURE;
  }

  static int FrameBegin(nghttp2_session*, const nghttp2_frame_hd* header, void* user_data) {
    Self(user_data)->OnFrameBegin(header->type);
    return 0;
  }

  static int Frame(nghttp2_session*, const nghttp2_frame* frame, void* user_data) {
    Http2Session* const self = Self(user_data);
    const bool end_stream = (frame->hd.flags & NGHTTP2_FLAG_END_STREAM) != 0;
    const bool ack = (frame->hd.flags & NGHTTP2_FLAG_ACK) != 0;
    switch (frame->hd.type) {
      case NGHTTP2_HEADERS:
        self->in_header_block_ = false;
        self->OnHeadersEnd(frame->hd.stream_id, frame->headers.cat == NGHTTP2_HCAT_REQUEST, end_stream);
        break;
      case NGHTTP2_DATA: self->OnDataEnd(frame->hd.stream_id, frame->hd.length, end_stream); break;
      case NGHTTP2_RST_STREAM: self->OnReset(); break;
      case NGHTTP2_PING: self->OnPing(ack, frame->ping.opaque_data); break;
      case NGHTTP2_SETTINGS: self->OnSettings(ack); break;
      default: break;
    }
    return 0;
  }

  static int Data(nghttp2_session*, std::uint8_t, std::int32_t id, const std::uint8_t* bytes, std::size_t size,
                  void* user_data) {
    Self(user_data)->OnData(id, View(bytes, size));
    return 0;
  }

  static int StreamClose(nghttp2_session*, std::int32_t id, std::uint32_t, void* user_data) {
    Self(user_data)->OnStreamClosed(id);
    return 0;
  }

  static int FrameSent(nghttp2_session*, const nghttp2_frame* frame, void* user_data) {
    Self(user_data)->OnFrameSent(frame->hd.type, frame->hd.flags, frame->hd.stream_id);
    return 0;
  }

  static int SendData(nghttp2_session*, nghttp2_frame* frame, const std::uint8_t* header, std::size_t length,
                      nghttp2_data_source* source, void* user_data) {
    Http2Session* const self = Self(user_data);
    if (self->out_->full()) return NGHTTP2_ERR_WOULDBLOCK;
    VELLUM_DCHECK(frame->data.padlen == 0);  // there is no callback that would ask for padding
    auto* const stream = static_cast<Http2Stream*>(source->ptr);
    // A stream that was reset while this frame waited for room has let go of its bytes.
    if (stream->queued < length) return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE;
    self->ProducePayload(stream, View(header, 9), length, self->out_);
    return 0;
  }

  // Frames of unknown types are announced (to FrameBegin, which counts them) only if somebody claims to read them.
  static int UnpackUnknown(nghttp2_session*, void**, const nghttp2_frame_hd*, void*) { return NGHTTP2_ERR_CANCEL; }
  static int UnknownChunk(nghttp2_session*, const nghttp2_frame_hd*, const std::uint8_t*, std::size_t, void*) {
    return 0;
  }

  static nghttp2_session_callbacks* Make() {
    nghttp2_session_callbacks* callbacks = nullptr;
    if (nghttp2_session_callbacks_new(&callbacks) != 0) return nullptr;
    nghttp2_session_callbacks_set_on_begin_headers_callback(callbacks, BeginHeaders);
    nghttp2_session_callbacks_set_on_header_callback(callbacks, Header);
    nghttp2_session_callbacks_set_on_begin_frame_callback(callbacks, FrameBegin);
    nghttp2_session_callbacks_set_on_frame_recv_callback(callbacks, Frame);
    nghttp2_session_callbacks_set_on_data_chunk_recv_callback(callbacks, Data);
    nghttp2_session_callbacks_set_on_stream_close_callback(callbacks, StreamClose);
    nghttp2_session_callbacks_set_on_frame_send_callback(callbacks, FrameSent);
    nghttp2_session_callbacks_set_send_data_callback(callbacks, SendData);
    nghttp2_session_callbacks_set_unpack_extension_callback(callbacks, UnpackUnknown);
    nghttp2_session_callbacks_set_on_extension_chunk_recv_callback(callbacks, UnknownChunk);
    return callbacks;
  }

  static nghttp2_option* MakeOptions(const ServerOptions& options) {
    nghttp2_option* option = nullptr;
    if (nghttp2_option_new(&option) != 0) return nullptr;
    nghttp2_option_set_no_auto_window_update(option, 1);
    nghttp2_option_set_no_http_messaging(option, 1);  // see RequestHead
    nghttp2_option_set_no_closed_streams(option, 1);
    for (int type = NGHTTP2_CONTINUATION + 1; type <= UINT8_MAX; ++type) {
      nghttp2_option_set_user_recv_extension_type(option, static_cast<std::uint8_t>(type));
    }
    // Our own count trips first, and says ENHANCE_YOUR_CALM; this one is the net below it.
    nghttp2_option_set_stream_reset_rate_limit(option, std::uint64_t{options.reset_burst} * 2 + 1'000,
                                               std::uint64_t{options.resets_per_second} * 2);
    return option;
  }
};

Http2Session::Http2Session(SessionContext context, SessionHost* host)
    : context_(std::move(context)),
      host_(host),
      pings_(options().keepalive_min_time),
      resets_({options().reset_burst, options().resets_per_second}, now()),
      settings_(options().settings_frames, now()),
      empty_data_(options().empty_data_frames, now()),
      tiny_data_(options().tiny_data_frames, now()),
      useless_(options().useless_frames, now()),
      last_received_(now()) {}

Http2Session::~Http2Session() {
  // nghttp2 does not report the streams that are open when a session ends.
  Abandon();
  Reap();
  nghttp2_session_del(session_);
}

bool Http2Session::Open() {
  nghttp2_session_callbacks* const callbacks = Http2Callbacks::Make();
  nghttp2_option* const option = Http2Callbacks::MakeOptions(options());
  const bool made =
      callbacks != nullptr && option != nullptr && nghttp2_session_server_new2(&session_, callbacks, this, option) == 0;
  nghttp2_session_callbacks_del(callbacks);
  nghttp2_option_del(option);
  if (!made) return false;

  const std::array<nghttp2_settings_entry, 4> settings = {{
      {NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS, options().concurrent_streams_max},
      {NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, options().stream_window_bytes},
      {NGHTTP2_SETTINGS_MAX_HEADER_LIST_SIZE, static_cast<std::uint32_t>(options().metadata_bytes_max)},
      {NGHTTP2_SETTINGS_NO_RFC7540_PRIORITIES, 1},
  }};
  if (nghttp2_submit_settings(session_, NGHTTP2_FLAG_NONE, settings.data(), settings.size()) != 0) return false;
  if (nghttp2_session_set_local_window_size(session_, NGHTTP2_FLAG_NONE, 0,
                                            static_cast<std::int32_t>(options().connection_window_bytes)) != 0) {
    return false;
  }
  if (options().keepalive_interval.count() > 0) context_.timers->Arm(&keepalive_, now() + options().keepalive_interval);
  return true;
}

Http2Stream* Http2Session::FindStream(std::int32_t id) const {
  return static_cast<Http2Stream*>(nghttp2_session_get_stream_user_data(session_, id));
}

void Http2Session::Receive(std::string_view bytes) {
  if (dead_ || fault_) return;
  last_received_ = now();
  const ssize_t used =
      nghttp2_session_mem_recv(session_, reinterpret_cast<const std::uint8_t*>(bytes.data()), bytes.size());
  if (used >= 0) return;
  dead_ = true;
  const bool flood = used == NGHTTP2_ERR_FLOODED || used == NGHTTP2_ERR_TOO_MANY_CONTINUATIONS ||
                     used == NGHTTP2_ERR_TOO_MANY_SETTINGS;
  if (!fault_) fault_ = flood ? CloseReason::kFlood : CloseReason::kProtocol;
  SayLastWords(*fault_ == CloseReason::kProtocol ? NGHTTP2_PROTOCOL_ERROR : NGHTTP2_ENHANCE_YOUR_CALM);
}

void Http2Session::SayLastWords(std::uint32_t error) {
  const std::string text = fault_text_.empty() ? std::string(CloseReasonName(*fault_)) : fault_text_;
  const auto append = [this](std::uint32_t value, int bytes) {
    for (int i = bytes - 1; i >= 0; --i) last_words_.push_back(static_cast<char>(value >> (8 * i)));
  };
  append(static_cast<std::uint32_t>(8 + text.size()), 3);
  append(NGHTTP2_GOAWAY, 1);
  append(0, 1);
  append(0, 4);
  append(static_cast<std::uint32_t>(nghttp2_session_get_last_proc_stream_id(session_)), 4);
  append(error, 4);
  last_words_ += text;
}

void Http2Session::Produce(Output* out) {
  if (dead_) {
    // What was produced before ends with a whole frame.
    out->Append(last_words_);
    last_words_.clear();
    return;
  }
  out_ = out;
  while (!out->full()) {
    const std::uint8_t* bytes = nullptr;
    const ssize_t size = nghttp2_session_mem_send(session_, &bytes);
    if (size < 0) {
      dead_ = true;
      if (!fault_) fault_ = CloseReason::kProtocol;
      break;
    }
    if (size == 0) break;
    out->Append(View(bytes, static_cast<std::size_t>(size)));
  }
  out_ = nullptr;
}

bool Http2Session::finished() const {
  if (dead_) return last_words_.empty();
  if (peer_gone_) return true;
  if (fault_) return goaway_sent_;
  if (shutdown_final_ && goaway_sent_ && streams_.empty()) return true;
  return nghttp2_session_want_read(session_) == 0 && nghttp2_session_want_write(session_) == 0;
}

CloseReason Http2Session::close_reason() const {
  if (fault_) return *fault_;
  if (peer_gone_) return CloseReason::kPeer;
  // A client that says GOAWAY and one that breaks the protocol look alike here; the latter is told so by nghttp2.
  return shutting_down_ ? CloseReason::kShutdown : goaway_sent_ ? CloseReason::kProtocol : CloseReason::kPeer;
}

void Http2Session::OnFrameBegin(std::uint8_t type) {
  if (type != NGHTTP2_CONTINUATION) in_header_block_ = false;
  switch (type) {
    case NGHTTP2_DATA:
    case NGHTTP2_HEADERS:
    case NGHTTP2_RST_STREAM:
    case NGHTTP2_SETTINGS:
    case NGHTTP2_PING:
    case NGHTTP2_CONTINUATION: return;  // these have limits of their own
    case NGHTTP2_WINDOW_UPDATE:
      if (window_updates_due_ > 0) {
        --window_updates_due_;
        return;
      }
      break;
    default: break;
  }
  if (!useless_.Take(now())) Terminate(CloseReason::kUselessFrames, "too_many_useless_frames");
}

void Http2Session::OnPing(bool ack, const std::uint8_t* opaque) {
  if (!ack) {
    if (!pings_.OnPing(now(), !streams_.empty())) Terminate(CloseReason::kTooManyPings, "too_many_pings");
    return;
  }
  if (std::memcmp(opaque, kShutdownPing.data(), kShutdownPing.size()) == 0) FinishShutdown();
  // Few answers are ever due; whoever sends more answers nothing.
  if (!useless_.Take(now())) Terminate(CloseReason::kUselessFrames, "too_many_useless_frames");
}

void Http2Session::OnSettings(bool ack) {
  if (ack) return;
  settings_seen_ = true;
  if (!settings_.Take(now())) Terminate(CloseReason::kSettings, "too_many_settings");
}

void Http2Session::OnReset() {
  if (!resets_.Take(now())) Terminate(CloseReason::kResets, "too_many_resets");
}

void Http2Session::OnFrameSent(std::uint8_t type, std::uint8_t flags, std::int32_t id) {
  if (type == NGHTTP2_GOAWAY) {
    // The notice that precedes a graceful end is a GOAWAY too.
    goaway_sent_ = !shutting_down_ || shutdown_final_ || fault_.has_value();
    return;
  }
  if (type != NGHTTP2_HEADERS && type != NGHTTP2_DATA) return;
  pings_.OnCallFrameSent();
  if ((flags & NGHTTP2_FLAG_END_STREAM) == 0) return;
  Http2Stream* const stream = FindStream(id);
  if (stream == nullptr) return;
  stream->local_closed = true;
  // The answer came before the end of the request: spare the client the rest of it.
  if (!stream->remote_closed) nghttp2_submit_rst_stream(session_, NGHTTP2_FLAG_NONE, id, NGHTTP2_NO_ERROR);
}

void Http2Session::OnStreamClosed(std::int32_t id) {
  Http2Stream* const stream = FindStream(id);
  if (stream != nullptr) Retire(stream);
}

void Http2Session::Retire(Http2Stream* stream) {
  nghttp2_session_set_stream_user_data(session_, stream->id, nullptr);
  stream->deadline.Disarm();
  if (stream->context != nullptr) stream->context->cancelled.store(true, std::memory_order_relaxed);
  CountEnd(stream, Code::kCancelled);
  ReleaseQueue(stream);
  if (stream->outbox != nullptr) stream->outbox->Close();
  CountPartial(stream, 0);
  if (!dead_ && stream->received > stream->credited) {
    // The stream takes its unused credit with it; the connection must get its part back.
    nghttp2_session_consume_connection(session_, static_cast<std::size_t>(stream->received - stream->credited));
    stream->credited = stream->received;
  }
  metadata_bytes_ -= std::min(stream->head.bytes(), options().metadata_bytes_max);
  metrics().calls.fetch_sub(1, std::memory_order_relaxed);

  const std::size_t index = stream->index;
  retired_.push_back(std::move(streams_[index]));
  if (index + 1 != streams_.size()) {
    streams_[index] = std::move(streams_.back());
    streams_[index]->index = index;
  }
  streams_.pop_back();
}

void Http2Session::Abandon() {
  dead_ = true;
  keepalive_.Disarm();
  shutdown_.Disarm();
  while (!streams_.empty()) Retire(streams_.back().get());
}

void Http2Session::Reap() {
  // Handlers may send on any stream, which is mail and comes later; nothing here is called back.
  for (auto& stream : retired_) {
    if (stream->handler == nullptr) continue;
    stream->handler->OnClosed();
    stream->handler.reset();
  }
  retired_.clear();
  std::vector<std::int32_t> writable = std::move(writable_);
  writable_.clear();
  for (const std::int32_t id : writable) {
    Http2Stream* const stream = session_ == nullptr || dead_ ? nullptr : FindStream(id);
    if (stream == nullptr || !std::exchange(stream->writable_again, false)) continue;
    if (stream->handler != nullptr && !stream->end) stream->handler->OnWritable();
  }
}

void Http2Session::Terminate(CloseReason reason, std::string_view text) {
  if (fault_) return;
  fault_ = reason;
  fault_text_ = text;
  nghttp2_submit_goaway(session_, NGHTTP2_FLAG_NONE, nghttp2_session_get_last_proc_stream_id(session_),
                        NGHTTP2_ENHANCE_YOUR_CALM, reinterpret_cast<const std::uint8_t*>(text.data()), text.size());
}

void Http2Session::OnKeepaliveTimer() {
  const bool answered = keepalive_asked_ && last_received_ > *keepalive_asked_;
  if (keepalive_asked_ && !answered) {
    fault_ = CloseReason::kKeepalive;
    host_->CloseNow(CloseReason::kKeepalive);
    return;
  }
  keepalive_asked_.reset();
  const auto quiet_until = last_received_ + options().keepalive_interval;
  if (answered || now() < quiet_until) {
    context_.timers->Arm(&keepalive_, quiet_until);
    return;
  }
  keepalive_asked_ = now();
  nghttp2_submit_ping(session_, NGHTTP2_FLAG_NONE, kKeepalivePing.data());
  context_.timers->Arm(&keepalive_, now() + options().keepalive_timeout);
  host_->MarkDirty();
}

void Http2Session::BeginShutdown() {
  if (shutting_down_ || dead_) return;
  shutting_down_ = true;
  // First only a notice: requests that are on their way are still served, and the ping tells when they have arrived.
  nghttp2_submit_shutdown_notice(session_);
  nghttp2_submit_ping(session_, NGHTTP2_FLAG_NONE, kShutdownPing.data());
  context_.timers->Arm(&shutdown_, now() + kShutdownRoundTrip);
  host_->MarkDirty();
}

void Http2Session::FinishShutdown() {
  if (!shutting_down_ || shutdown_final_ || dead_) return;
  shutdown_final_ = true;
  shutdown_.Disarm();
  nghttp2_submit_goaway(session_, NGHTTP2_FLAG_NONE, nghttp2_session_get_last_proc_stream_id(session_),
                        NGHTTP2_NO_ERROR, nullptr, 0);
  host_->MarkDirty();
}

std::unique_ptr<Session> MakeHttp2Session(SessionContext context, SessionHost* host) {
  auto session = std::make_unique<Http2Session>(std::move(context), host);
  if (!session->Open()) return nullptr;
  return session;
}

}  // namespace vellum::wire
