// What comes in: requests are recognised, checked against the limits and handed to their handlers.

#include <nghttp2/nghttp2.h>

#include <algorithm>

#include "wire/http2_session.h"

namespace vellum::wire {
namespace {

// A header block may exceed the limit and gets an answer that says so; from here on it is an attack.
constexpr std::size_t kHeaderBombFactor = 16;

// One connection may hold this part of all memory for messages that are still arriving.
constexpr std::size_t kPartialShare = 8;

// `table` may be null: nothing is known then.
std::string UnknownMethod(const ServiceTable* table, std::string_view path) {
  const std::size_t slash = path.rfind('/');
  if (slash == std::string_view::npos || slash == 0) return "malformed method name: \"" + std::string(path) + "\"";
  const std::string service(path.substr(1, slash - 1));
  if (table == nullptr || !table->HasService(service)) return "unknown service " + service;
  return "unknown method " + std::string(path.substr(slash + 1)) + " for service " + service;
}

}  // namespace

bool Http2Session::OnBeginRequest(std::int32_t id) {
  if (fault_) return false;
  auto stream =
      std::make_unique<Http2Stream>(this, id, options().receive_message_bytes_max, options().metadata_bytes_max);
  stream->started = now();
  stream->index = streams_.size();
  if (nghttp2_session_set_stream_user_data(session_, id, stream.get()) != 0) return false;
  streams_.push_back(std::move(stream));
  metrics().calls.fetch_add(1, std::memory_order_relaxed);
  return true;
}

bool Http2Session::OnHeader(std::int32_t id, std::string_view name, std::string_view value) {
  Http2Stream* const stream = FindStream(id);
  if (stream == nullptr || stream->malformed) return true;
  const std::size_t before = std::min(stream->head.bytes(), options().metadata_bytes_max);
  if (!stream->head.Add(name, value)) stream->malformed = true;
  metadata_bytes_ += std::min(stream->head.bytes(), options().metadata_bytes_max) - before;
  if (stream->head.bytes() / kHeaderBombFactor <= options().metadata_bytes_max) return true;
  fault_ = CloseReason::kHeaders;
  return false;
}

void Http2Session::OnHeadersEnd(std::int32_t id, bool request, bool end_stream) {
  Http2Stream* const stream = FindStream(id);
  if (stream == nullptr || fault_) return;
  if (!request) {
    // Trailers, of which no request that we serve has any use.
    if (end_stream) return OnRemoteEnd(stream);
    return Reset(stream, NGHTTP2_PROTOCOL_ERROR);
  }
  if (stream->malformed || !stream->head.Complete()) return Reset(stream, NGHTTP2_PROTOCOL_ERROR);
  stream->remote_closed = end_stream;
  Dispatch(stream);
  if (end_stream) OnRemoteEnd(stream);
}

void Http2Session::Dispatch(Http2Stream* stream) {
  const RequestHead& head = stream->head;
  const bool grpc = head.content == ContentType::kGrpc;
  if (head.too_large() || metadata_bytes_ > options().connection_metadata_bytes_max) {
    metrics().CountRefused(RefuseReason::kMetadata);
    if (!grpc) return RefuseHttp(stream, 431, "request header fields too large\n");
    return EndCall(stream, ResourceExhausted("received metadata larger than max (" + std::to_string(head.bytes()) +
                                             " vs. " + std::to_string(options().metadata_bytes_max) + ")"));
  }
  if (grpc) return DispatchGrpc(stream);
  // A gRPC method that is asked for as if it were a page.
  if (!context_.metrics_only && context_.table->FindMethod(head.path) != nullptr) {
    if (head.method != "POST") return RefuseHttp(stream, 405, "gRPC methods are called with POST\n");
    return EndCall(stream, InvalidArgument("invalid gRPC request content-type \"" + head.content_type + "\""), 415);
  }
  DispatchHttp(stream);
}

bool Http2Session::AdmitGrpc(Http2Stream* stream) {
  const RequestHead& head = stream->head;
  if (head.method != "POST") {
    EndCall(stream, Internal("received a HEADERS frame with :method \"" + head.method + "\" which should be POST"),
            405);
    return false;
  }
  if (!context_.metrics_only) stream->method = context_.table->FindMethod(head.path);
  if (stream->method == nullptr) {
    EndCall(stream, Unimplemented(UnknownMethod(context_.metrics_only ? nullptr : context_.table, head.path)));
    return false;
  }
  context_.stats->Started(stream->method->index);
  if (!head.encoding.empty() && head.encoding != "identity" && head.encoding != "gzip") {
    EndCall(stream, Unimplemented("grpc: Decompressor is not installed for grpc-encoding \"" + head.encoding + "\""));
    return false;
  }
  const std::int64_t replies = metrics().reply_bytes.load(std::memory_order_relaxed);
  if (replies > static_cast<std::int64_t>(options().reply_bytes_in_flight_max) ||
      queued_ > options().connection_reply_bytes_max) {
    metrics().CountRefused(RefuseReason::kReplyBudget);
    EndCall(stream, ResourceExhausted("too many bytes of answers are waiting for clients to read them (" +
                                      std::to_string(replies) + " on all connections, " + std::to_string(queued_) +
                                      " on this one)"));
    return false;
  }
  return true;
}

void Http2Session::DispatchGrpc(Http2Stream* stream) {
  if (!AdmitGrpc(stream)) return;
  RequestHead& head = stream->head;
  stream->context = std::make_shared<CallContext>();
  if (!head.timeout.empty()) {
    const auto timeout = ParseGrpcTimeout(head.timeout);
    if (!timeout) return EndCall(stream, Internal("malformed grpc-timeout: \"" + head.timeout + "\""), 400);
    stream->context->deadline = now() + *timeout;
    context_.timers->Arm(&stream->deadline, *stream->context->deadline);
  }
  if (head.encoding == "gzip") stream->reader.set_encoding(Encoding::kGzip);
  stream->context->method = std::move(head.path);
  stream->context->metadata = std::move(head.fields);
  stream->context->peer = context_.peer;
  StartCall(stream);
}

void Http2Session::StartCall(Http2Stream* stream) {
  if (stream->method->unary) {
    stream->kind = Http2Stream::Kind::kUnary;
    return;
  }
  stream->kind = Http2Stream::Kind::kStreaming;
  stream->outbox =
      std::make_shared<Outbox>(context_.mailbox, context_.connection, stream->id, options().stream_high_water_bytes);
  stream->handler = stream->method->stream(stream->context, stream->outbox);
  if (stream->handler == nullptr) EndCall(stream, Internal("the server has no handler for this call"));
}

void Http2Session::DispatchHttp(Http2Stream* stream) {
  if (!context_.table->http()) return RefuseHttp(stream, 404, "404 page not found\n");
  const auto& length = stream->head.content_length;
  if (length && *length > options().http_body_bytes_max) {
    metrics().CountRefused(RefuseReason::kBodySize);
    return RefuseHttp(stream, 413, "request body too large\n");
  }
  stream->kind = Http2Stream::Kind::kHttp;
}

void Http2Session::OnData(std::int32_t id, std::string_view bytes) {
  Http2Stream* const stream = FindStream(id);
  if (stream == nullptr) {
    // The stream is over for us already, and only the connection's window still has to be given back.
    nghttp2_session_consume_connection(session_, bytes.size());
    return;
  }
  stream->received += bytes.size();
  switch (stream->kind) {
    case Http2Stream::Kind::kUnary:
    case Http2Stream::Kind::kStreaming: FeedMessages(stream, bytes); break;
    case Http2Stream::Kind::kHttp: FeedBody(stream, bytes); break;
    case Http2Stream::Kind::kHead:
    case Http2Stream::Kind::kAnswered: break;
  }
  Credit(stream);
}

void Http2Session::OnDataEnd(std::int32_t id, std::size_t length, bool end_stream) {
  if (length == 0 && !end_stream && !empty_data_.Take(now())) {
    Terminate(CloseReason::kEmptyData, "too_many_empty_data_frames");
  }
  Http2Stream* const stream = FindStream(id);
  if (stream != nullptr && end_stream) OnRemoteEnd(stream);
}

void Http2Session::FeedMessages(Http2Stream* stream, std::string_view bytes) {
  while (!stream->end) {
    std::string_view message;
    const MessageReader::Got got = stream->reader.Next(&bytes, &message);
    CountPartial(stream, stream->reader.gathered_bytes());
    if (got == MessageReader::Got::kMessage) {
      if (!DeliverMessage(stream, message)) return;
      continue;
    }
    if (got == MessageReader::Got::kError) {
      if (stream->reader.error().code() == Code::kResourceExhausted) metrics().CountRefused(RefuseReason::kMessageSize);
      return EndCall(stream, stream->reader.error());
    }
    if (stream->partial_counted > 0 && PartialsTooLarge()) {
      metrics().CountRefused(RefuseReason::kRequestBudget);
      return EndCall(stream, ResourceExhausted("too many bytes of incomplete requests (" +
                                               std::to_string(metrics().partial_bytes.load()) + " vs. " +
                                               std::to_string(options().partial_request_bytes_max) + ")"));
    }
    return;
  }
}

bool Http2Session::DeliverMessage(Http2Stream* stream, std::string_view message) {
  if (stream->kind == Http2Stream::Kind::kUnary && std::exchange(stream->message_seen, true)) {
    EndCall(stream, Internal("more than one message in the request of a unary call"));
    return false;
  }
  context_.stats->Received(stream->method->index, message.size());
  if (stream->kind == Http2Stream::Kind::kUnary) {
    stream->context->may_block = context_.solitude->CountCall() && context_.mailbox->empty();
    stream->method->unary(stream->context, message, MakeUnaryReply(context_.mailbox, context_.connection, stream->id));
  } else {
    stream->held += message.size();
    stream->handler->OnMessage(message);
  }
  return true;
}

void Http2Session::FeedBody(Http2Stream* stream, std::string_view bytes) {
  if (stream->body.size() + bytes.size() > options().http_body_bytes_max) {
    metrics().CountRefused(RefuseReason::kBodySize);
    stream->body = {};
    return RefuseHttp(stream, 413, "request body too large\n");
  }
  stream->body.append(bytes);
}

void Http2Session::OnRemoteEnd(Http2Stream* stream) {
  stream->remote_closed = true;
  switch (stream->kind) {
    case Http2Stream::Kind::kUnary:
      if (!stream->message_seen && !stream->end) {
        EndCall(stream, Internal(stream->reader.in_message() ? "the request ended within its message"
                                                             : "the request has no message"));
      }
      break;
    case Http2Stream::Kind::kStreaming:
      if (stream->end) break;
      if (stream->reader.in_message()) return EndCall(stream, Internal("the request ended within a message"));
      stream->handler->OnHalfClose();
      break;
    case Http2Stream::Kind::kHttp: {
      const auto& length = stream->head.content_length;
      if (length && *length != stream->body.size()) return Reset(stream, NGHTTP2_PROTOCOL_ERROR);
      HttpRequest request{stream->head.method, std::move(stream->head.path), std::move(stream->head.query),
                          std::move(stream->head.fields), std::move(stream->body)};
      stream->message_seen = true;
      context_.table->http()(std::move(request), MakeHttpReply(context_.mailbox, context_.connection, stream->id));
      break;
    }
    case Http2Stream::Kind::kHead:
    case Http2Stream::Kind::kAnswered: break;
  }
}

void Http2Session::CountPartial(Http2Stream* stream, std::size_t gathered) {
  if (gathered == stream->partial_counted) return;
  const auto change = static_cast<std::int64_t>(gathered) - static_cast<std::int64_t>(stream->partial_counted);
  metrics().partial_bytes.fetch_add(change, std::memory_order_relaxed);
  partial_bytes_ += gathered - stream->partial_counted;
  stream->partial_counted = gathered;
}

bool Http2Session::PartialsTooLarge() const {
  const std::size_t most = options().partial_request_bytes_max;
  return partial_bytes_ > most / kPartialShare ||
         metrics().partial_bytes.load(std::memory_order_relaxed) > static_cast<std::int64_t>(most);
}

void Http2Session::Credit(Http2Stream* stream) {
  const std::uint64_t free = stream->received > stream->held ? stream->received - stream->held : 0;
  if (free <= stream->credited) return;
  const auto due = static_cast<std::size_t>(free - stream->credited);
  stream->credited = free;
  nghttp2_session_consume(session_, stream->id, due);
}

}  // namespace vellum::wire
