#include "wire/reply.h"

#include <algorithm>
#include <array>
#include <utility>

#include "wire/grpc.h"
#include "wire/session.h"

namespace vellum::wire {
namespace {

class UnaryMail final : public Mail {
 public:
  UnaryMail(ConnectionId connection, std::int32_t stream, Message message, Status status)
      : Mail(connection), stream_(stream), message_(std::move(message)), status_(std::move(status)) {}

  void Deliver(Session* session) override {
    if (session != nullptr) session->OnUnaryReply(stream_, std::move(message_), std::move(status_));
    delete this;
  }

 private:
  const std::int32_t stream_;
  Message message_;
  Status status_;
};

class HttpMail final : public Mail {
 public:
  HttpMail(ConnectionId connection, std::int32_t stream, HttpResponse response)
      : Mail(connection), stream_(stream), response_(std::move(response)) {}

  void Deliver(Session* session) override {
    if (session != nullptr) session->OnHttpReply(stream_, std::move(response_));
    delete this;
  }

 private:
  const std::int32_t stream_;
  HttpResponse response_;
};

class MailedUnaryReply final : public UnaryReply {
 public:
  MailedUnaryReply(std::shared_ptr<Mailbox> mailbox, ConnectionId connection, std::int32_t stream)
      : mailbox_(std::move(mailbox)), connection_(connection), stream_(stream) {}
  ~MailedUnaryReply() override {
    if (mailbox_ != nullptr) Answer({}, Internal("the server gave no answer to this call"));
  }

  void Finish(Message message) override { Answer(std::move(message), {}); }
  void Fail(Status status) override {
    if (status.ok()) status = Internal("the server failed this call without saying why");
    Answer({}, std::move(status));
  }

 private:
  void Answer(Message message, Status status) {
    if (mailbox_ == nullptr) return;  // answered before
    auto mail = std::make_unique<UnaryMail>(connection_, stream_, std::move(message), std::move(status));
    std::exchange(mailbox_, nullptr)->Push(mail.release());
  }

  std::shared_ptr<Mailbox> mailbox_;
  const ConnectionId connection_;
  const std::int32_t stream_;
};

class MailedHttpReply {
 public:
  MailedHttpReply(std::shared_ptr<Mailbox> mailbox, ConnectionId connection, std::int32_t stream)
      : mailbox_(std::move(mailbox)), connection_(connection), stream_(stream) {}
  ~MailedHttpReply() {
    HttpResponse response;
    response.status = 500;
    response.body = "no answer\n";
    Answer(std::move(response));
  }
  MailedHttpReply(const MailedHttpReply&) = delete;
  MailedHttpReply& operator=(const MailedHttpReply&) = delete;

  void Answer(HttpResponse response) {
    if (answered_.exchange(true)) return;
    mailbox_->Push(new HttpMail(connection_, stream_, std::move(response)));
  }

 private:
  const std::shared_ptr<Mailbox> mailbox_;
  const ConnectionId connection_;
  const std::int32_t stream_;
  std::atomic<bool> answered_{false};
};

}  // namespace

std::size_t MessageBytes(const Message& message) {
  std::size_t bytes = 0;
  for (const Piece& piece : message) bytes += piece.own.size() + (piece.shared != nullptr ? piece.shared->size() : 0);
  return bytes;
}

std::unique_ptr<UnaryReply> MakeUnaryReply(std::shared_ptr<Mailbox> mailbox, ConnectionId connection,
                                           std::int32_t stream) {
  return std::make_unique<MailedUnaryReply>(std::move(mailbox), connection, stream);
}

HttpReply MakeHttpReply(std::shared_ptr<Mailbox> mailbox, ConnectionId connection, std::int32_t stream) {
  auto reply = std::make_shared<MailedHttpReply>(std::move(mailbox), connection, stream);
  return [reply](HttpResponse response) { reply->Answer(std::move(response)); };
}

bool IsTransportField(std::string_view name) {
  static constexpr std::array<std::string_view, 6> kNames = {"connection", "content-length",    "date",
                                                             "keep-alive", "transfer-encoding", "upgrade"};
  return std::find(kNames.begin(), kNames.end(), name) != kNames.end();
}

Outbox::Outbox(std::shared_ptr<Mailbox> mailbox, ConnectionId connection, std::int32_t stream,
               std::size_t high_water_bytes)
    : Mail(connection), mailbox_(std::move(mailbox)), stream_(stream), high_water_bytes_(high_water_bytes) {}

bool Outbox::Schedule() {
  if (scheduled_) return false;
  scheduled_ = true;
  self_ = shared_from_this();
  return true;
}

void Outbox::Send(Message message) {
  const std::size_t bytes = MessageBytes(message) + kMessagePrefixBytes;
  Add({std::move(message), 0}, bytes);
}

void Outbox::SendFramed(std::string framed, std::size_t count) {
  if (count == 0) return;
  const std::size_t bytes = framed.size();
  Message message(1);
  message.front().own = std::move(framed);
  Add({std::move(message), count}, bytes);
}

void Outbox::Add(Sent sent, std::size_t bytes) {
  bool push = false;
  {
    MutexLock lock(&mu_);
    if (closed_ || end_) return;
    if (unsent_.fetch_add(bytes) + bytes > high_water_bytes_) above_high_water_.store(true);
    messages_.push_back(std::move(sent));
    push = Schedule();
  }
  if (push) mailbox_->Push(this);
}

void Outbox::Finish(Status status) {
  bool push = false;
  {
    MutexLock lock(&mu_);
    if (closed_ || end_) return;
    end_ = std::move(status);
    push = Schedule();
  }
  if (push) mailbox_->Push(this);
}

void Outbox::Consumed(std::size_t bytes) {
  bool push = false;
  {
    MutexLock lock(&mu_);
    if (closed_) return;
    consumed_ += bytes;
    push = Schedule();
  }
  if (push) mailbox_->Push(this);
}

void Outbox::Take(Contents* contents) {
  MutexLock lock(&mu_);
  scheduled_ = false;
  std::swap(contents->messages, messages_);
  if (end_ && !closed_) {
    // The Status stays here too, so that later calls are ignored.
    contents->end = end_;
  }
  contents->consumed = std::exchange(consumed_, 0);
}

bool Outbox::Left(std::size_t bytes) {
  const std::size_t before = unsent_.fetch_sub(bytes);
  if (before - bytes > high_water_bytes_ / 2 || !above_high_water_.load() || !above_high_water_.exchange(false)) return false;
  // A Send may have passed the mark since: then that was its flag, which has to be there when its bytes have left.
  if (unsent_.load() > high_water_bytes_) above_high_water_.store(true);
  return true;
}

void Outbox::Close() {
  std::vector<Sent> dropped;
  MutexLock lock(&mu_);
  closed_ = true;
  dropped.swap(messages_);
  unsent_.store(0);
}

void Outbox::Deliver(Session* session) {
  const std::shared_ptr<Outbox> self = std::move(self_);
  if (session != nullptr) {
    session->OnOutbox(stream_, this);
  } else {
    Contents dropped;
    Take(&dropped);
  }
}

}  // namespace vellum::wire
