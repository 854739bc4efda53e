// HTTP/1.1 for people, probes and scrapers. Boost.Beast parses; it is fed with buffers and knows no socket.
#include <boost/asio/buffer.hpp>
#include <boost/beast/http/parser.hpp>
#include <boost/beast/http/string_body.hpp>

#include <algorithm>
#include <ctime>
#include <optional>
#include <utility>

#include "wire/reply.h"
#include "wire/session.h"

namespace vellum::wire {
namespace {

namespace http = boost::beast::http;

// Input that may wait while a request is being answered: enough for a few pipelined requests.
constexpr std::size_t kPipelinedBytesMax = 64u << 10;

// What a body in chunks ends with at least: "0", and two ends of lines.
constexpr std::size_t kLastChunkBytesMin = 5;

std::string_view ReasonPhrase(int status) {
  const auto phrase = http::obsolete_reason(static_cast<http::status>(status));
  return {phrase.data(), phrase.size()};
}

std::string HttpDate() {
  const std::time_t now = std::time(nullptr);
  std::tm parts{};
  gmtime_r(&now, &parts);
  char text[64];
  const std::size_t size = std::strftime(text, sizeof(text), "%a, %d %b %Y %H:%M:%S GMT", &parts);
  return {text, size};
}

std::string Lower(std::string_view text) {
  std::string lower(text);
  for (char& c : lower) c = c >= 'A' && c <= 'Z' ? static_cast<char>(c + ('a' - 'A')) : c;
  return lower;
}

// A line break in a header would let an answer's content pass for headers.
bool IsSafeField(const std::string& text) {
  return text.find_first_of(std::string_view("\r\n\0", 3)) == std::string::npos;
}

class Http1Session final : public Session {
 public:
  Http1Session(SessionContext context, SessionHost* host) : context_(std::move(context)), host_(host), timer_(this) {
    Restart();
    ArmTimer(context_.options->first_byte_timeout, CloseReason::kFirstByte);
  }
  ~Http1Session() override {
    if (in_flight_) context_.stats->shared()->calls.fetch_sub(1, std::memory_order_relaxed);
  }

  void Receive(std::string_view bytes) override {
    if (closing_) return;
    input_.erase(0, std::exchange(parsed_, 0));
    input_.append(bytes);
    if (output_.empty()) Advance();
  }
  void ReceiveEnd() override {
    // Half-closing after the request is legal: the answer is still owed.
    input_ended_ = true;
    if (!busy() && waiting().empty()) closing_ = true;
  }

  void Produce(Output* out) override {
    if (output_.empty() || out->full()) return;
    out->Append(output_);
    output_ = {};
  }
  bool finished() const override { return closing_ && !in_flight_ && output_.empty(); }
  bool awaiting_start() const override { return false; }  // this session has timers of its own
  bool wants_input() const override {
    return !closing_ && !input_ended_ && (!busy() || waiting().size() < kPipelinedBytesMax);
  }
  std::size_t unproduced_bytes() const override { return output_.size(); }
  CloseReason close_reason() const override {
    return reason_.value_or(input_ended_ ? CloseReason::kPeer : CloseReason::kShutdown);
  }

  void BeginShutdown() override {
    shutting_down_ = true;
    // A request that has begun is finished, with "Connection: close".
    if (!in_flight_ && waiting().empty() && !request_begun_) closing_ = true;
    host_->MarkDirty();
  }
  void Abandon() override {
    timer_.Disarm();
    closing_ = true;
  }
  // The next pipelined request waits until the answer before it has been taken over, or a client that does not read
  // could make us gather answers without end.
  void Reap() override {
    if (busy() || closing_) return;
    if (!waiting().empty()) {
      Advance();
      host_->MarkDirty();
    }
    if (input_ended_ && !busy()) {
      closing_ = true;
      host_->MarkDirty();
    }
  }

  void OnUnaryReply(std::int32_t, Message, Status) override {}
  void OnOutbox(std::int32_t, Outbox*) override {}
  void OnHttpReply(std::int32_t request, HttpResponse response) override {
    if (!in_flight_ || request != request_number_) return;
    FinishRequest();
    Respond(std::move(response));
    Restart();
    if (!closing_) ArmTimer(context_.options->http_idle_timeout, CloseReason::kIdle);
  }

 private:
  using Parser = http::request_parser<http::string_body>;

  struct RequestTimer final : Timer {
    explicit RequestTimer(Http1Session* owner) : session(owner) {}
    void OnTimer() override { session->OnTimeout(); }
    Http1Session* const session;
    CloseReason reason = CloseReason::kFirstByte;
  };

  bool busy() const { return in_flight_ || !output_.empty(); }
  std::string_view waiting() const { return std::string_view(input_).substr(parsed_); }

  void ArmTimer(std::chrono::milliseconds after, CloseReason reason) {
    timer_.reason = reason;
    context_.timers->Arm(&timer_, *context_.now + after);
  }

  void OnTimeout() {
    reason_ = timer_.reason;
    if (timer_.reason == CloseReason::kIdle || !request_begun_) return host_->CloseNow(timer_.reason);
    Refuse(408, "request timed out\n");
    host_->MarkDirty();
  }

  void Restart() {
    parser_.emplace();
    parser_->header_limit(static_cast<std::uint32_t>(context_.options->metadata_bytes_max));
    parser_->body_limit(context_.options->http_body_bytes_max);
    parser_->eager(true);
    request_begun_ = header_seen_ = false;
  }

  void FinishRequest() {
    in_flight_ = false;
    context_.stats->shared()->calls.fetch_sub(1, std::memory_order_relaxed);
  }

  // Parses what there is, as far as the one request that may be in flight allows.
  void Advance() {
    while (!in_flight_ && !closing_ && !waiting().empty()) {
      if (!request_begun_) {
        // Empty lines before a request are to be ignored.
        parsed_ = std::min(input_.find_first_not_of("\r\n", parsed_), input_.size());
        if (waiting().empty()) return;
        request_begun_ = true;
        ArmTimer(context_.options->first_byte_timeout, CloseReason::kFirstByte);
      }
      // With fewer bytes the body cannot be whole; and asked a second time about the beginning of a last chunk, Beast asserts that
      // there are as many.
      if (header_seen_ && parser_->chunked() && waiting().size() < kLastChunkBytesMin) return;
      boost::system::error_code error;
      const std::size_t used = parser_->put(boost::asio::buffer(waiting().data(), waiting().size()), error);
      parsed_ += used;
      if (!header_seen_ && parser_->is_header_done()) OnHeader();
      if (error && error != http::error::need_more) return RefuseFor(error);
      if (parser_->is_done()) {
        Start();
      } else if (error == http::error::need_more || used == 0) {
        return;
      }
    }
  }

  void OnHeader() {
    header_seen_ = true;
    ArmTimer(context_.options->http_body_timeout, CloseReason::kFirstByte);
    if (boost::beast::iequals(parser_->get()[http::field::expect], "100-continue") && !parser_->is_done()) {
      output_ += "HTTP/1.1 100 Continue\r\n\r\n";
    }
  }

  void RefuseFor(const boost::system::error_code& error) {
    if (error == http::error::body_limit) {
      context_.stats->shared()->CountRefused(RefuseReason::kBodySize);
      return Refuse(413, "request body too large\n");
    }
    if (error == http::error::header_limit) {
      context_.stats->shared()->CountRefused(RefuseReason::kMetadata);
      return Refuse(431, "request header fields too large\n");
    }
    reason_ = CloseReason::kProtocol;
    Refuse(400, "bad request: " + error.message() + "\n");
  }

  // Answers without asking anybody, and ends the connection: what follows cannot be made sense of.
  void Refuse(int status, std::string text) {
    HttpResponse response;
    response.status = status;
    response.body = std::move(text);
    keep_alive_ = false;
    head_only_ = false;
    Respond(std::move(response));
    input_.clear();
    parsed_ = 0;
  }

  void Start() {
    timer_.Disarm();
    auto message = parser_->release();
    keep_alive_ = message.keep_alive();
    old_version_ = message.version() < 11;
    head_only_ = message.method() == http::verb::head;
    HttpRequest request;
    request.method = std::string(message.method_string());
    std::string_view target(message.target().data(), message.target().size());
    if (!target.starts_with('/')) {
      // The absolute form, as proxies send it.
      const std::size_t scheme = target.find("://");
      const std::size_t slash = scheme == std::string_view::npos ? scheme : target.find('/', scheme + 3);
      if (slash != std::string_view::npos) target.remove_prefix(slash);
    }
    const std::size_t mark = target.find('?');
    request.path = target.substr(0, mark);
    if (mark != std::string_view::npos) request.query = target.substr(mark + 1);
    for (const auto& field : message) {
      const auto name = field.name_string();
      const auto value = field.value();
      request.headers.emplace_back(Lower({name.data(), name.size()}), std::string(value.data(), value.size()));
    }
    request.body = std::move(message.body());
    in_flight_ = true;
    context_.stats->shared()->calls.fetch_add(1, std::memory_order_relaxed);
    request_number_ = request_number_ == INT32_MAX ? 1 : request_number_ + 1;
    HttpReply reply = MakeHttpReply(context_.mailbox, context_.connection, request_number_);
    if (context_.table->http()) {
      context_.table->http()(std::move(request), std::move(reply));
    } else {
      HttpResponse response;
      response.status = 404;
      response.body = "404 page not found\n";
      reply(std::move(response));
    }
  }

  void Respond(HttpResponse response) {
    keep_alive_ = keep_alive_ && !shutting_down_;
    const bool bodiless = response.status == 204 || response.status == 304;
    std::string& out = output_;
    out += "HTTP/1.1 " + std::to_string(response.status) + " ";
    out += ReasonPhrase(response.status);
    out += "\r\nDate: " + HttpDate() + "\r\n";
    if (!response.content_type.empty() && IsSafeField(response.content_type)) {
      out += "Content-Type: " + response.content_type + "\r\n";
    }
    for (const auto& [name, value] : response.headers) {
      if (!IsTransportField(Lower(name)) && IsSafeField(name) && IsSafeField(value)) {
        out += name + ": " + value + "\r\n";
      }
    }
    if (!bodiless) out += "Content-Length: " + std::to_string(response.body.size()) + "\r\n";
    if (!keep_alive_) {
      out += "Connection: close\r\n";
    } else if (old_version_) {
      out += "Connection: keep-alive\r\n";
    }
    out += "\r\n";
    if (!head_only_ && !bodiless) out += response.body;
    if (!keep_alive_) {
      closing_ = true;
      timer_.Disarm();
    }
  }

  const SessionContext context_;
  SessionHost* const host_;
  RequestTimer timer_;

  std::optional<Parser> parser_;
  std::string input_;
  std::size_t parsed_ = 0;  // of input_
  std::string output_;      // not produced yet
  bool request_begun_ = false;
  bool header_seen_ = false;
  bool input_ended_ = false;
  bool in_flight_ = false;
  bool closing_ = false;  // no more requests
  bool shutting_down_ = false;
  bool keep_alive_ = false;
  bool old_version_ = false;  // HTTP/1.0, where keeping the connection has to be said
  bool head_only_ = false;
  std::int32_t request_number_ = 0;
  std::optional<CloseReason> reason_;
};

}  // namespace

std::unique_ptr<Session> MakeHttp1Session(SessionContext context, SessionHost* host) {
  return std::make_unique<Http1Session>(std::move(context), host);
}

}  // namespace vellum::wire
