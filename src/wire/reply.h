#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string_view>
#include <vector>

#include "base/mutex.h"
#include "wire/mailbox.h"
#include "wire/service.h"

/// The handlers' ends of calls: objects that any thread may use, that reach the loop through its mailbox, and that know
/// connection and stream by number only.
namespace vellum::wire {

/// Bytes of a message without its prefix.
std::size_t MessageBytes(const Message& message);

std::unique_ptr<UnaryReply> MakeUnaryReply(std::shared_ptr<Mailbox> mailbox, ConnectionId connection,
                                           std::int32_t stream);
/// Answers 500 if it is dropped uncalled.
HttpReply MakeHttpReply(std::shared_ptr<Mailbox> mailbox, ConnectionId connection, std::int32_t stream);

/// True for header fields that the wire writes itself and that a handler's answer cannot set. `name` is in lower case.
bool IsTransportField(std::string_view name);

/// The sending half of one streaming call. Sends gather here; the first one after the loop has emptied it puts it into
/// the mailbox, so a burst on one stream is one piece of mail, and the order of calls is kept across threads.
class Outbox final : public StreamWriter, public Mail, public std::enable_shared_from_this<Outbox> {
 public:
  Outbox(std::shared_ptr<Mailbox> mailbox, ConnectionId connection, std::int32_t stream, std::size_t high_water_bytes);

  // --- Any thread. ---
  void Send(Message message) override;
  void SendFramed(std::string framed, std::size_t count) override;
  void Finish(Status status) override;
  std::size_t unsent_bytes() const override { return unsent_.load(std::memory_order_relaxed); }
  void Consumed(std::size_t bytes) override;

  // --- The loop's. ---
  struct Sent {
    Message message;
    std::size_t framed = 0;  ///< This many messages with their prefixes; 0: one message that still wants its prefix.
  };
  struct Contents {
    std::vector<Sent> messages;
    std::optional<Status> end;
    std::size_t consumed = 0;
  };
  /// Everything since the last time. `contents` should be empty; its vector's memory is reused.
  void Take(Contents* contents);
  /// `bytes`, prefixes included, left the stream. True if the stream has just become writable again: the handler is to
  /// be told.
  [[nodiscard]] bool Left(std::size_t bytes);
  /// The call is over: drops what is there and ignores what comes.
  void Close();
  void Deliver(Session* session) override;

 private:
  /// `bytes` with prefixes.
  void Add(Sent sent, std::size_t bytes) VELLUM_EXCLUDES(mu_);
  /// True if the caller has to Push this once it has let go of the lock: a mailbox that is closed calls back at once.
  [[nodiscard]] bool Schedule() VELLUM_REQUIRES(mu_);

  const std::shared_ptr<Mailbox> mailbox_;
  const std::int32_t stream_;
  const std::size_t high_water_bytes_;
  std::atomic<std::size_t> unsent_{0};
  // Set by the Send that passes the mark, before the loop can see its bytes; so whoever takes the last of them away
  // finds it set.
  std::atomic<bool> above_high_water_{false};

  Mutex mu_;
  std::vector<Sent> messages_ VELLUM_GUARDED_BY(mu_);
  std::optional<Status> end_ VELLUM_GUARDED_BY(mu_);
  std::size_t consumed_ VELLUM_GUARDED_BY(mu_) = 0;
  bool closed_ VELLUM_GUARDED_BY(mu_) = false;
  bool scheduled_ VELLUM_GUARDED_BY(mu_) = false;
  // Keeps this alive while it is in the mailbox. Written before Push, moved out after delivery: never both at once.
  std::shared_ptr<Outbox> self_;
};

}  // namespace vellum::wire
