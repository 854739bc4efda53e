#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

#include "vellum/status.h"

/// What a service is to the wire: a table from method path to handler. Bytes, names, metadata and deadlines; nothing of
/// etcd, protobuf or RocksDB.
namespace vellum::wire {

/// Immutable bytes that several streams may be sending at once.
using SharedBytes = std::shared_ptr<const std::string>;

/// One piece of an outgoing message: own bytes or shared ones.
struct Piece {
  std::string own;     ///< Sent first.
  SharedBytes shared;  ///< Then this, if set; from 4 KiB on it is referenced, not copied.
};
/// One message, without its five-byte prefix.
using Message = std::vector<Piece>;

/// Names in lower case; a name may occur more than once.
using Metadata = std::vector<std::pair<std::string, std::string>>;
/// The first value of a name.
std::optional<std::string_view> Find(const Metadata& metadata, std::string_view name);

/// What a call tells its handler about itself. Shared, so that workers can keep it.
struct CallContext {
  std::string method;  ///< "/etcdserverpb.KV/Range"
  Metadata metadata;
  std::string peer;  ///< "127.0.0.1:51234"
  /// Nobody else needs the event loop: a unary handler may block it for a moment, if that saves changing threads.
  bool may_block = false;
  std::optional<std::chrono::steady_clock::time_point> deadline;
  /// Set when nobody waits for the answer any more: reset, deadline, connection gone. Workers poll it.
  std::atomic<bool> cancelled{false};
};

/// The right to answer one unary call, exactly once, from any thread. If it goes unanswered, the call fails with
/// kInternal. Answering a call whose client has gone is harmless.
class UnaryReply {
 public:
  virtual ~UnaryReply() = default;
  virtual void Finish(Message message) = 0;
  /// `status` must not be OK (that would be kInternal). Its code and message go on the wire as they are.
  virtual void Fail(Status status) = 0;
};

/// Runs on an event loop: must not block, unless `context->may_block`. `request` is valid during the call only.
using UnaryHandler = std::function<void(std::shared_ptr<const CallContext> context, std::string_view request,
                                        std::unique_ptr<UnaryReply> reply)>;

/// The sending half of a streaming call. Thread-safe; calls after the end are ignored. Messages leave in the order of
/// Send calls.
class StreamWriter {
 public:
  virtual ~StreamWriter() = default;
  virtual void Send(Message message) = 0;
  /// Sends `count` messages at the cost of one: `framed` has them one after another, each behind its prefix
  /// (WriteMessagePrefix). Together they must keep within ServerOptions::send_message_bytes_max.
  virtual void SendFramed(std::string framed, std::size_t count) = 0;
  /// Ends the call after what was sent. OK: grpc-status 0.
  virtual void Finish(Status status) = 0;
  /// Bytes handed to Send that the stream still holds because the client's window or socket does not take them. When
  /// this exceeds ServerOptions::stream_high_water_bytes after a Send, an OnWritable is sure to follow (or OnClosed).
  virtual std::size_t unsent_bytes() const = 0;
  /// The client's message that OnMessage got has been dealt with: gives window credit back.
  virtual void Consumed(std::size_t bytes) = 0;
};

/// The receiving half. All calls come from the connection's event loop, one at a time: must not block. It is destroyed
/// there after OnClosed, or, when the whole server is destroyed, on the thread that does so.
class StreamHandler {
 public:
  virtual ~StreamHandler() = default;
  /// `message` is valid during the call only. Call StreamWriter::Consumed(message.size()) when done with it.
  virtual void OnMessage(std::string_view message) = 0;
  /// The client sends no more.
  virtual void OnHalfClose() = 0;
  /// Unsent bytes fell below the low mark after having been above the high mark.
  virtual void OnWritable() {}
  /// The call is over: reset, deadline, connection lost, or after Finish has been written. Nothing follows.
  virtual void OnClosed() = 0;
};

using StreamFactory =
    std::function<std::unique_ptr<StreamHandler>(std::shared_ptr<const CallContext>, std::shared_ptr<StreamWriter>)>;

struct HttpRequest {
  std::string method;
  std::string path;   ///< Without the query.
  std::string query;  ///< Without the '?'.
  Metadata headers;
  std::string body;
};
struct HttpResponse {
  int status = 200;
  std::string content_type = "text/plain; charset=utf-8";
  std::string body;
  Metadata headers;  ///< Others than content-type, content-length and those of the connection, which the wire writes.
};
/// Answers once, from any thread.
using HttpReply = std::function<void(HttpResponse)>;
/// Runs on an event loop: must not block. Serves HTTP/1.1 and HTTP/2 requests that are not gRPC alike.
using HttpHandler = std::function<void(HttpRequest request, HttpReply reply)>;

/// Which sides of a call send more than one message. The wire treats all streams alike; metrics name the kind.
enum class StreamKind : std::uint8_t { kBidirectional, kServer, kClient };

/// What a server serves. Filled before it starts, constant afterwards.
class ServiceTable {
 public:
  /// `method` is "/package.Service/Name"; adding a name again replaces its handler.
  void AddUnary(std::string method, UnaryHandler handler);
  void AddStream(std::string method, StreamFactory factory, StreamKind kind = StreamKind::kBidirectional);
  /// For every path without a gRPC method.
  void SetHttp(HttpHandler handler);

  struct Method {
    UnaryHandler unary;    ///< Either this
    StreamFactory stream;  ///< or this.
    StreamKind kind = StreamKind::kBidirectional;
    std::size_t index = 0;  ///< Its place in the order of adding: 0, 1, ...
  };
  /// Null: unknown. Valid as long as nothing is added.
  const Method* FindMethod(std::string_view path) const;
  const HttpHandler& http() const { return http_; }
  /// True if any method belongs to `service` ("package.Service").
  bool HasService(std::string_view service) const;
  /// All method paths, sorted.
  std::vector<std::string> Methods() const;

 private:
  struct Hash {
    using is_transparent = void;
    std::size_t operator()(std::string_view text) const { return std::hash<std::string_view>{}(text); }
  };
  std::unordered_map<std::string, Method, Hash, std::equal_to<>> methods_;
  HttpHandler http_;
};

}  // namespace vellum::wire
