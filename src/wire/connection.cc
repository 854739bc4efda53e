#include "wire/connection.h"

#include <algorithm>

namespace vellum::wire {
namespace {

constexpr std::string_view kHttp2Preface = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
constexpr char kTlsHandshake = 0x16;

// After the last byte: time for the client to read it and close. Without it, closing with unread input would reset the
// connection and could take our last words away from the client.
constexpr std::chrono::milliseconds kLinger{1000};
constexpr std::chrono::milliseconds kLingerInShutdown{250};

// Writes per flush, so that one fast reader of much does not keep the others waiting.
constexpr int kWritesPerFlush = 8;

}  // namespace

Connection::Connection(SessionContext context, std::unique_ptr<ByteStream> stream, ConnectionOwner* owner)
    : context_(std::move(context)), stream_(std::move(stream)), owner_(owner) {
  context_.timers->Arm(&start_guard_, *context_.now + context_.options->first_byte_timeout);
}

Connection::~Connection() {
  if (paused_) context_.stats->shared()->paused.fetch_sub(1, std::memory_order_relaxed);
}

void Connection::OnReadable(char* buffer, std::size_t size) {
  if (state_ == State::kGone || (state_ != State::kLingering && !read_interest_)) return;
  const ByteStream::Io io = stream_->Read(buffer, size);
  switch (io.outcome) {
    case ByteStream::Outcome::kWouldBlock: return;
    case ByteStream::Outcome::kError: return CloseNow(CloseReason::kPeer);
    case ByteStream::Outcome::kEnd:
      if (state_ != State::kOpen) return CloseNow(state_ == State::kLingering ? reason_ : CloseReason::kPeer);
      session_->ReceiveEnd();
      // Nothing more can come, and epoll would go on reporting it.
      owner_->OnInterest(this, read_interest_ = false, write_interest_);
      return MarkDirty();
    case ByteStream::Outcome::kDone: break;
  }
  const std::string_view bytes(buffer, io.bytes);
  if (state_ == State::kSniffing) return Sniff(bytes);
  if (state_ != State::kOpen) return;  // what comes while lingering is not wanted
  session_->Receive(bytes);
  GuardStart();
  MarkDirty();
}

void Connection::Sniff(std::string_view bytes) {
  std::string joined;
  if (!sniffed_.empty()) {
    joined = std::move(sniffed_) + std::string(bytes);
    bytes = joined;
  }
  if (bytes[0] == kTlsHandshake) return CloseNow(CloseReason::kTls);
  const std::size_t compared = std::min(bytes.size(), kHttp2Preface.size());
  if (bytes.substr(0, compared) != kHttp2Preface.substr(0, compared)) {
    return OpenSession(MakeHttp1Session(context_, this), bytes);
  }
  if (bytes.size() < kHttp2Preface.size()) {
    sniffed_ = bytes;
    return;
  }
  OpenSession(MakeHttp2Session(context_, this), bytes);
}

void Connection::OpenSession(std::unique_ptr<Session> session, std::string_view bytes) {
  if (session == nullptr) return CloseNow(CloseReason::kProtocol);
  session_ = std::move(session);
  state_ = State::kOpen;
  start_guard_.Disarm();
  session_->Receive(bytes);
  if (shutting_down_) session_->BeginShutdown();
  GuardStart();
  MarkDirty();
}

void Connection::GuardStart() {
  if (!session_->awaiting_start()) {
    start_guard_.Disarm();
  } else if (!start_guard_.armed()) {
    context_.timers->Arm(&start_guard_, *context_.now + context_.options->first_byte_timeout);
  }
}

void Connection::OnWritable() {
  blocked_ = false;
  MarkDirty();
}

bool Connection::Flush() {
  if (state_ == State::kGone) return false;
  bool more = false;
  bool progress = false;
  for (int i = 0; !blocked_ && state_ != State::kGone; ++i) {
    if (state_ == State::kOpen) session_->Produce(&out_);
    if (out_.empty()) break;
    if (i == kWritesPerFlush) {
      more = true;
      break;
    }
    const bool all_produced = !out_.full();
    const ByteStream::Io io = out_.WriteTo(stream_.get());
    progress = progress || io.bytes > 0;
    if (io.outcome == ByteStream::Outcome::kError) {
      CloseNow(CloseReason::kPeer);
    } else if (io.outcome == ByteStream::Outcome::kWouldBlock) {
      blocked_ = true;
    }
    if (all_produced && out_.empty()) break;  // asking the session again would only hear that it has nothing
  }
  if (state_ == State::kGone) return false;
  if (progress) stall_guard_.Disarm();
  EndIfFinished();
  if (state_ == State::kOpen) WatchOwed();
  if (state_ != State::kGone) UpdateInterest();
  return more;
}

void Connection::WatchOwed() {
  const bool owes = out_.size() + session_->unproduced_bytes() > context_.options->connection_unsent_bytes_max;
  // Only a full socket may pause reading: what waits for the client's HTTP/2 windows is set free by frames that have
  // to be read.
  const bool pause = owes && blocked_;
  if (pause != paused_) {
    paused_ = pause;
    context_.stats->shared()->paused.fetch_add(pause ? 1 : -1, std::memory_order_relaxed);
  }
  if (!owes) {
    stall_guard_.Disarm();
  } else if (!stall_guard_.armed()) {
    context_.timers->Arm(&stall_guard_, *context_.now + context_.options->stalled_timeout);
  }
}

void Connection::EndIfFinished() {
  if (state_ != State::kOpen) return;
  if (session_->finished() && out_.empty()) {
    const CloseReason reason = session_->close_reason();
    if (reason == CloseReason::kPeer) return CloseNow(reason);
    reason_ = reason;
    return Linger();
  }
  if (session_->finished() || session_->doomed()) {
    reason_ = session_->close_reason();
    if (!end_guard_.armed()) context_.timers->Arm(&end_guard_, *context_.now + kLinger);
  }
}

void Connection::Linger() {
  state_ = State::kLingering;
  session_->Abandon();
  stream_->ShutdownWrite();
  start_guard_.Disarm();
  stall_guard_.Disarm();
  context_.timers->Arm(&end_guard_, *context_.now + (shutting_down_ ? kLingerInShutdown : kLinger));
}

void Connection::OnEndTimeout() { CloseNow(reason_); }

void Connection::UpdateInterest() {
  const bool read =
      state_ == State::kLingering || (!paused_ && (state_ == State::kSniffing || session_->wants_input()));
  const bool write = blocked_;
  if (read == read_interest_ && write == write_interest_) return;
  read_interest_ = read;
  write_interest_ = write;
  owner_->OnInterest(this, read, write);
}

void Connection::Reap() {
  if (session_ != nullptr) session_->Reap();
}

void Connection::BeginShutdown() {
  shutting_down_ = true;
  if (state_ == State::kSniffing) return CloseNow(CloseReason::kShutdown);
  if (state_ == State::kOpen) session_->BeginShutdown();
  MarkDirty();
}

void Connection::CloseNow(CloseReason reason) {
  if (state_ == State::kGone) return;
  reason_ = reason;
  state_ = State::kGone;
  start_guard_.Disarm();
  end_guard_.Disarm();
  stall_guard_.Disarm();
  if (session_ != nullptr) session_->Abandon();
  context_.stats->shared()->CountClosed(reason_);
  if (reason_ != CloseReason::kPeer && reason_ != CloseReason::kShutdown && reason_ != CloseReason::kIdle) {
    VELLUM_LOG(context_.options->logger, kDebug, "closed a client's connection",
               {{"peer", context_.peer}, {"reason", CloseReasonName(reason_)}});
  }
  owner_->OnGone(this);
}

}  // namespace vellum::wire
