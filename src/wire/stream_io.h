#pragma once

#include <sys/uio.h>

#include <cstddef>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "wire/service.h"

namespace vellum::wire {

/// A connection's bytes, in both directions, without blocking. The seam below the protocols: a plain socket today, TLS
/// over one later. One thread.
class ByteStream {
 public:
  enum class Outcome : std::uint8_t { kDone, kWouldBlock, kEnd, kError };
  struct Io {
    Outcome outcome;
    std::size_t bytes = 0;  ///< kDone: at least 1, maybe fewer than asked for.
  };

  virtual ~ByteStream() = default;
  virtual Io Read(char* buffer, std::size_t size) = 0;
  virtual Io Write(const iovec* pieces, int count) = 0;
  /// Says that no more will be written; reading stays possible.
  virtual void ShutdownWrite() = 0;
  /// For epoll. Owned by the stream.
  virtual int fd() const = 0;
};

/// Takes over `fd`, a connected non-blocking socket, and closes it in the end.
std::unique_ptr<ByteStream> MakeSocketStream(int fd);

/// What a connection is about to write: small pieces copied one after another, large shared ones by reference in
/// between. Memory is given back when everything has been written.
class Output {
 public:
  /// Shared bytes below this are cheaper to copy than to refer to.
  static constexpr std::size_t kReferenceFrom = 4096;
  /// Where producers stop for the moment: enough for one efficient write.
  static constexpr std::size_t kFull = 128u << 10;

  void Append(std::string_view bytes) {
    copied_.append(bytes);
    size_ += bytes.size();
  }
  /// `bytes` is part of `owner`.
  void AppendShared(const SharedBytes& owner, std::string_view bytes);

  std::size_t size() const { return size_; }
  bool empty() const { return size_ == 0; }
  bool full() const { return size_ >= kFull; }

  /// One write of as much as the stream takes. kWouldBlock: not all of it went, wait for writability.
  ByteStream::Io WriteTo(ByteStream* stream);

  void Clear();

 private:
  struct Reference {
    std::size_t at;  // follows copied_[0, at)
    SharedBytes owner;
    std::string_view bytes;
  };

  void Consume(std::size_t bytes);

  std::string copied_;
  std::size_t copied_done_ = 0;
  std::vector<Reference> references_;
  std::size_t references_done_ = 0;
  std::size_t size_ = 0;
};

}  // namespace vellum::wire
