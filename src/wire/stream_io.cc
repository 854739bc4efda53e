#include "wire/stream_io.h"

#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>

namespace vellum::wire {
namespace {

class SocketStream final : public ByteStream {
 public:
  explicit SocketStream(int fd) : fd_(fd) {}
  ~SocketStream() override { ::close(fd_); }

  Io Read(char* buffer, std::size_t size) override {
    const ssize_t got = ::recv(fd_, buffer, size, 0);
    if (got > 0) return {Outcome::kDone, static_cast<std::size_t>(got)};
    if (got == 0) return {Outcome::kEnd};
    return Failure();
  }

  Io Write(const iovec* pieces, int count) override {
    // Not writev: a peer that has gone must not raise SIGPIPE.
    ssize_t sent = 0;
    if (count == 1) {
      sent = ::send(fd_, pieces->iov_base, pieces->iov_len, MSG_NOSIGNAL);
    } else {
      msghdr message{};
      message.msg_iov = const_cast<iovec*>(pieces);
      message.msg_iovlen = static_cast<std::size_t>(count);
      sent = ::sendmsg(fd_, &message, MSG_NOSIGNAL);
    }
    if (sent >= 0) return {Outcome::kDone, static_cast<std::size_t>(sent)};
    return Failure();
  }

  void ShutdownWrite() override { ::shutdown(fd_, SHUT_WR); }
  int fd() const override { return fd_; }

 private:
  static Io Failure() {
    return {errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR ? Outcome::kWouldBlock : Outcome::kError};
  }

  const int fd_;
};

}  // namespace

std::unique_ptr<ByteStream> MakeSocketStream(int fd) { return std::make_unique<SocketStream>(fd); }

void Output::AppendShared(const SharedBytes& owner, std::string_view bytes) {
  if (bytes.size() < kReferenceFrom) return Append(bytes);
  references_.push_back({copied_.size(), owner, bytes});
  size_ += bytes.size();
}

ByteStream::Io Output::WriteTo(ByteStream* stream) {
  constexpr int kPiecesMax = 64;
  iovec pieces[kPiecesMax];
  int count = 0;
  std::size_t wanted = 0;
  std::size_t at = copied_done_;
  std::size_t next = references_done_;
  const auto add = [&](std::string_view bytes) {
    if (bytes.empty()) return;
    pieces[count++] = {const_cast<char*>(bytes.data()), bytes.size()};
    wanted += bytes.size();
  };
  while (count + 1 < kPiecesMax && wanted < size_) {
    const std::size_t until = next < references_.size() ? references_[next].at : copied_.size();
    add(std::string_view(copied_).substr(at, until - at));
    at = until;
    if (next < references_.size()) add(references_[next++].bytes);
  }
  if (count == 0) return {ByteStream::Outcome::kDone, 0};
  const ByteStream::Io io = stream->Write(pieces, count);
  if (io.outcome != ByteStream::Outcome::kDone) return io;
  Consume(io.bytes);
  return {io.bytes < wanted ? ByteStream::Outcome::kWouldBlock : ByteStream::Outcome::kDone, io.bytes};
}

void Output::Consume(std::size_t bytes) {
  size_ -= bytes;
  while (bytes > 0) {
    const bool by_reference = references_done_ < references_.size();
    const std::size_t until = by_reference ? references_[references_done_].at : copied_.size();
    const std::size_t copied = std::min(bytes, until - copied_done_);
    copied_done_ += copied;
    bytes -= copied;
    if (!by_reference || copied_done_ < until || bytes == 0) continue;
    Reference& reference = references_[references_done_];
    const std::size_t referred = std::min(bytes, reference.bytes.size());
    reference.bytes.remove_prefix(referred);
    bytes -= referred;
    if (reference.bytes.empty()) {
      reference.owner.reset();
      ++references_done_;
    }
  }
  if (size_ == 0) Clear();
}

void Output::Clear() {
  // An idle connection keeps no large buffer; a busy one keeps a small one.
  constexpr std::size_t kKeep = 4096;
  if (copied_.capacity() > kKeep) {
    copied_ = std::string();
  } else {
    copied_.clear();
  }
  references_.clear();
  copied_done_ = references_done_ = size_ = 0;
}

}  // namespace vellum::wire
