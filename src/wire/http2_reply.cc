// What goes out: answers are queued on their streams and produced as the client's windows allow.

#include <nghttp2/nghttp2.h>

#include <algorithm>
#include <array>
#include <utility>

#include "wire/http2_session.h"

namespace vellum::wire {
namespace {

// Below this a message's own bytes are gathered with their neighbours; from here on they are kept as they came.
constexpr std::size_t kGatherBelow = Output::kReferenceFrom;
// A gathered piece that has grown to this is closed, so that a stream that never drains gives memory back.
constexpr std::size_t kGatherUpTo = 16u << 10;

// A DATA frame of fewer bytes, though more are waiting, comes from a tiny window.
constexpr std::size_t kTinyFrame = 64;

// Texts of errors differ, and would push what repeats out of the compressor's table.
constexpr std::uint8_t kNoIndex = NGHTTP2_NV_FLAG_NO_INDEX;
constexpr std::uint8_t kNoCopy = NGHTTP2_NV_FLAG_NO_COPY_NAME | NGHTTP2_NV_FLAG_NO_COPY_VALUE;

std::uint8_t* Raw(std::string_view text) {
  // nghttp2's interface is not const-correct; it does not write to names and values.
  return reinterpret_cast<std::uint8_t*>(const_cast<char*>(text.data()));
}

nghttp2_nv Field(std::string_view name, std::string_view value, std::uint8_t flags = NGHTTP2_NV_FLAG_NONE) {
  return {Raw(name), Raw(value), name.size(), value.size(), flags};
}

// Both lists live in the program, so nghttp2 need not copy them.
std::string_view StatusNumber(int code) {
  static constexpr std::array<std::string_view, 17> kNumbers = {"0", "1",  "2",  "3",  "4",  "5",  "6",  "7", "8",
                                                                "9", "10", "11", "12", "13", "14", "15", "16"};
  return code >= 0 && code < 17 ? kNumbers[static_cast<std::size_t>(code)] : kNumbers[2];
}

std::string_view HttpStatusNumber(int status) {
  switch (status) {
    case 400: return "400";
    case 405: return "405";
    case 415: return "415";
    default: return "200";
  }
}

bool IsGrpc(const Http2Stream& stream) {
  return stream.kind == Http2Stream::Kind::kUnary || stream.kind == Http2Stream::Kind::kStreaming;
}

bool HasNoBody(std::string_view method, int status) {
  return method == "HEAD" || status == 204 || status == 304 || (status >= 100 && status < 200);
}

}  // namespace

void Http2Stream::Deadline::OnTimer() { session->OnDeadline(stream); }

void Http2Session::OnDeadline(std::int32_t id) {
  Http2Stream* const stream = FindStream(id);
  if (stream == nullptr || dead_) return;
  stream->context->cancelled.store(true, std::memory_order_relaxed);
  host_->MarkDirty();
  if (stream->queued > 0 || stream->end) {
    // Part of an answer may be on its way already, and the client has given up: there is no orderly end.
    CountEnd(stream, Code::kDeadlineExceeded);
    return Reset(stream, NGHTTP2_CANCEL);
  }
  EndCall(stream, DeadlineExceeded("context deadline exceeded"));
}

void Http2Session::CountEnd(Http2Stream* stream, Code code) {
  if (stream->method == nullptr) return;
  const ServiceTable::Method* const method = std::exchange(stream->method, nullptr);
  context_.stats->Handled(method->index, code);
  if (options().on_call_done && stream->context != nullptr) {
    // A fresh time: the loop's own is that of the iteration's beginning, which is when inline handlers ran.
    const std::chrono::duration<double> took = std::chrono::steady_clock::now() - stream->started;
    options().on_call_done(stream->context->method, code, took.count());
  }
}

void Http2Session::EndCall(Http2Stream* stream, Status status, int http_status) {
  if (stream->end) return;
  CountEnd(stream, status.code());
  stream->end = std::move(status);
  if (!stream->end->ok()) stream->deadline.Disarm();
  if (!IsGrpc(*stream)) stream->kind = Http2Stream::Kind::kAnswered;
  if (!stream->submitted && stream->queued == 0) return SubmitTrailersOnly(stream, http_status);
  Wake(stream);
}

void Http2Session::SubmitTrailersOnly(Http2Stream* stream, int http_status) {
  stream->submitted = true;
  const std::string message = PercentEncode(stream->end->message());
  std::array<nghttp2_nv, 5> fields = {
      Field(":status", HttpStatusNumber(http_status), kNoCopy), Field("content-type", "application/grpc", kNoCopy),
      Field("grpc-status", StatusNumber(static_cast<int>(stream->end->code())), kNoCopy)};
  std::size_t count = 3;
  if (!message.empty()) fields[count++] = Field("grpc-message", message, kNoIndex);
  if (stream->end->code() == Code::kUnimplemented) {
    fields[count++] = Field("grpc-accept-encoding", "identity,gzip", kNoCopy);
  }
  nghttp2_submit_response(session_, stream->id, fields.data(), count, nullptr);
}

void Http2Session::SubmitTrailer(Http2Stream* stream) {
  const std::string message = PercentEncode(stream->end->message());
  std::array<nghttp2_nv, 2> fields = {
      Field("grpc-status", StatusNumber(static_cast<int>(stream->end->code())), kNoCopy)};
  std::size_t count = 1;
  if (!message.empty()) fields[count++] = Field("grpc-message", message, kNoIndex);
  nghttp2_submit_trailer(session_, stream->id, fields.data(), count);
}

void Http2Session::Wake(Http2Stream* stream) {
  if (stream->submitted) {
    // It fails when the stream is not waiting for data, which is as good.
    nghttp2_session_resume_data(session_, stream->id);
    return;
  }
  stream->submitted = true;
  static constexpr auto kRead = [](nghttp2_session*, std::int32_t, std::uint8_t*, std::size_t length,
                                   std::uint32_t* flags, nghttp2_data_source* source, void* user_data) -> ssize_t {
    auto* const from = static_cast<Http2Stream*>(source->ptr);
    auto* const self = static_cast<Http2Session*>(user_data);
    if (from->queued == 0 && !from->end) return NGHTTP2_ERR_DEFERRED;
    *flags |= NGHTTP2_DATA_FLAG_NO_COPY;
    const std::size_t take = std::min(length, from->queued);
    if (take == from->queued && from->end) {
      *flags |= NGHTTP2_DATA_FLAG_EOF;
      if (IsGrpc(*from)) {
        *flags |= NGHTTP2_DATA_FLAG_NO_END_STREAM;
        self->SubmitTrailer(from);
      }
    }
    return static_cast<ssize_t>(take);
  };
  const std::array<nghttp2_nv, 2> fields = {Field(":status", "200", kNoCopy),
                                            Field("content-type", "application/grpc", kNoCopy)};
  nghttp2_data_provider provider{};
  provider.source.ptr = stream;
  provider.read_callback = kRead;
  nghttp2_submit_response(session_, stream->id, fields.data(), fields.size(), &provider);
}

void Http2Session::EnqueueBytes(Http2Stream* stream, std::string_view bytes) {
  if (bytes.empty()) return;
  if (stream->queue.empty() || stream->queue.back().shared != nullptr ||
      stream->queue.back().own.size() > kGatherUpTo) {
    stream->queue.push_back({std::string(bytes), nullptr});
  } else {
    stream->queue.back().own.append(bytes);
  }
}

void Http2Session::Enqueue(Http2Stream* stream, Message message) {
  const std::size_t before = stream->queued;
  for (Piece& piece : message) {
    stream->queued += piece.own.size();
    if (piece.own.size() >= kGatherBelow) {
      stream->queue.push_back({{}, std::make_shared<const std::string>(std::move(piece.own))});
    } else if (stream->queue.empty() && !piece.own.empty()) {
      stream->queue.push_back({std::move(piece.own), nullptr});
    } else {
      EnqueueBytes(stream, piece.own);
    }
    if (piece.shared == nullptr) continue;
    stream->queued += piece.shared->size();
    if (piece.shared->size() >= kGatherBelow) {
      stream->queue.push_back({{}, std::move(piece.shared)});
    } else {
      EnqueueBytes(stream, *piece.shared);
    }
  }
  const std::size_t added = stream->queued - before;
  queued_ += added;
  metrics().reply_bytes.fetch_add(static_cast<std::int64_t>(added), std::memory_order_relaxed);
}

bool Http2Session::AdmitMessage(Http2Stream* stream, std::size_t bytes) {
  if (bytes <= options().send_message_bytes_max) return true;
  EndCall(stream, ResourceExhausted("grpc: trying to send message larger than max (" + std::to_string(bytes) + " vs. " +
                                    std::to_string(options().send_message_bytes_max) + ")"));
  return false;
}

void Http2Session::SendFramed(Http2Stream* stream, Message framed, std::size_t count) {
  const std::size_t bytes = MessageBytes(framed) - count * kMessagePrefixBytes;
  if (!AdmitMessage(stream, bytes)) return;
  context_.stats->Sent(stream->method->index, bytes, count);
  Enqueue(stream, std::move(framed));
}

void Http2Session::SendMessage(Http2Stream* stream, Message message) {
  const std::size_t bytes = MessageBytes(message);
  if (!AdmitMessage(stream, bytes)) return;
  context_.stats->Sent(stream->method->index, bytes);
  std::string prefix(kMessagePrefixBytes, '\0');
  WriteMessagePrefix(bytes, prefix.data());
  if (!message.empty() && message.front().own.size() < kGatherBelow) {
    // The usual small answer becomes one piece with its prefix.
    message.front().own.insert(0, prefix);
  } else {
    message.insert(message.begin(), Piece{std::move(prefix), nullptr});
  }
  Enqueue(stream, std::move(message));
}

void Http2Session::OnUnaryReply(std::int32_t id, Message message, Status status) {
  Http2Stream* const stream = dead_ ? nullptr : FindStream(id);
  if (stream == nullptr || stream->end || stream->kind != Http2Stream::Kind::kUnary) return;
  if (status.ok()) SendMessage(stream, std::move(message));
  EndCall(stream, std::move(status));
}

void Http2Session::OnOutbox(std::int32_t id, Outbox* outbox) {
  outbox->Take(&contents_);
  Http2Stream* const stream = dead_ ? nullptr : FindStream(id);
  if (stream != nullptr && stream->kind == Http2Stream::Kind::kStreaming) {
    if (contents_.consumed > 0) {
      stream->held -= std::min<std::uint64_t>(stream->held, contents_.consumed);
      Credit(stream);
    }
    for (Outbox::Sent& sent : contents_.messages) {
      if (stream->end) break;
      if (sent.framed > 0) {
        SendFramed(stream, std::move(sent.message), sent.framed);
      } else {
        SendMessage(stream, std::move(sent.message));
      }
    }
    if (contents_.end) {
      EndCall(stream, std::move(*contents_.end));
    } else if (!contents_.messages.empty()) {
      Wake(stream);
    }
  }
  contents_.messages.clear();
  contents_.end.reset();
  contents_.consumed = 0;
}

void Http2Session::OnHttpReply(std::int32_t id, HttpResponse response) {
  Http2Stream* const stream = dead_ ? nullptr : FindStream(id);
  if (stream == nullptr || stream->end || stream->kind != Http2Stream::Kind::kHttp) return;
  SubmitHttp(stream, std::move(response));
}

void Http2Session::RefuseHttp(Http2Stream* stream, int status, std::string_view text) {
  if (stream->end) return;
  stream->kind = Http2Stream::Kind::kAnswered;
  HttpResponse response;
  response.status = status;
  response.body = text;
  SubmitHttp(stream, std::move(response));
}

void Http2Session::SubmitHttp(Http2Stream* stream, HttpResponse response) {
  stream->end = Status();
  stream->submitted = true;
  const std::string status = std::to_string(response.status);
  const std::string length = std::to_string(response.body.size());
  std::vector<nghttp2_nv> fields = {Field(":status", status)};
  if (!response.content_type.empty()) fields.push_back(Field("content-type", response.content_type));
  fields.push_back(Field("content-length", length));
  for (auto& [name, value] : response.headers) {
    for (char& c : name) c = c >= 'A' && c <= 'Z' ? static_cast<char>(c + ('a' - 'A')) : c;
    if (IsTransportField(name)) continue;
    if (nghttp2_check_header_name(Raw(name), name.size()) != 0 &&
        nghttp2_check_header_value(Raw(value), value.size()) != 0) {
      fields.push_back(Field(name, value));
    }
  }
  if (response.body.empty() || HasNoBody(stream->head.method, response.status)) {
    nghttp2_submit_response(session_, stream->id, fields.data(), fields.size(), nullptr);
    return;
  }
  Message body;
  body.push_back({std::move(response.body), nullptr});
  Enqueue(stream, std::move(body));
  nghttp2_data_provider provider{};
  provider.source.ptr = stream;
  provider.read_callback = [](nghttp2_session*, std::int32_t, std::uint8_t*, std::size_t size, std::uint32_t* flags,
                              nghttp2_data_source* source, void*) -> ssize_t {
    const auto* const from = static_cast<const Http2Stream*>(source->ptr);
    *flags |= NGHTTP2_DATA_FLAG_NO_COPY;
    const std::size_t take = std::min(size, from->queued);
    if (take == from->queued) *flags |= NGHTTP2_DATA_FLAG_EOF;
    return static_cast<ssize_t>(take);
  };
  nghttp2_submit_response(session_, stream->id, fields.data(), fields.size(), &provider);
}

void Http2Session::Reset(Http2Stream* stream, std::uint32_t error) {
  if (!stream->end) {
    CountEnd(stream, Code::kInternal);
    stream->end = Internal("the stream was reset");
  }
  if (stream->kind == Http2Stream::Kind::kHead) stream->kind = Http2Stream::Kind::kAnswered;
  ReleaseQueue(stream);
  nghttp2_submit_rst_stream(session_, NGHTTP2_FLAG_NONE, stream->id, error);
}

void Http2Session::ReleaseQueue(Http2Stream* stream) {
  queued_ -= stream->queued;
  metrics().reply_bytes.fetch_sub(static_cast<std::int64_t>(stream->queued), std::memory_order_relaxed);
  stream->queued = stream->head_done = stream->queue_head = 0;
  stream->queue.clear();
}

void Http2Session::ProducePayload(Http2Stream* stream, std::string_view frame_header, std::size_t length, Output* out) {
  out->Append(frame_header);
  if (window_updates_due_ < 100'000) window_updates_due_ += 4;
  std::size_t left = length;
  while (left > 0) {
    Http2Stream::OutPiece& piece = stream->queue[stream->queue_head];
    const std::string_view bytes = piece.bytes();
    const std::size_t take = std::min(left, bytes.size() - stream->head_done);
    const std::string_view part = bytes.substr(stream->head_done, take);
    if (piece.shared != nullptr) {
      out->AppendShared(piece.shared, part);
    } else {
      out->Append(part);
    }
    left -= take;
    stream->head_done += take;
    if (stream->head_done < bytes.size()) continue;
    piece = {};
    stream->head_done = 0;
    if (++stream->queue_head == stream->queue.size()) {
      stream->queue.clear();
      stream->queue_head = 0;
    } else if (stream->queue_head >= 64 && stream->queue_head * 2 >= stream->queue.size()) {
      stream->queue.erase(stream->queue.begin(),
                          stream->queue.begin() + static_cast<std::ptrdiff_t>(stream->queue_head));
      stream->queue_head = 0;
    }
  }
  stream->queued -= length;
  queued_ -= length;
  metrics().reply_bytes.fetch_sub(static_cast<std::int64_t>(length), std::memory_order_relaxed);
  if (length < kTinyFrame && stream->queued > 0 && !tiny_data_.Take(now())) {
    Terminate(CloseReason::kTinyWindows, "too_many_tiny_windows");
  }
  if (stream->outbox != nullptr && length > 0 && stream->outbox->Left(length)) {
    stream->writable_again = true;
    writable_.push_back(stream->id);
  }
}

}  // namespace vellum::wire
