#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "vellum/status.h"

/// gRPC's own layer above HTTP: message framing, timeouts, status text. Pure functions of bytes.
namespace vellum::wire {

/// Compressed flag and big-endian length before every message.
inline constexpr std::size_t kMessagePrefixBytes = 5;

/// Writes the prefix of an uncompressed message of `size` bytes to `out`, which has room for it.
void WriteMessagePrefix(std::size_t size, char* out);

/// "10S", "500m": what a grpc-timeout header says; nullopt if it is malformed. Capped at a century.
std::optional<std::chrono::nanoseconds> ParseGrpcTimeout(std::string_view text);

/// A status message as grpc-message wants it: bytes outside printable ASCII, and '%', as %XX.
std::string PercentEncode(std::string_view text);

/// What a request's content-type says.
enum class ContentType : std::uint8_t {
  kNone,  ///< There is none.
  kGrpc,  ///< application/grpc, alone or followed by '+' or ';'.
  kOther,
};
ContentType ClassifyContentType(std::string_view value);

enum class Encoding : std::uint8_t { kIdentity, kGzip };

/// Inflates one gzip member, or several, to `out`. kResourceExhausted once the result would exceed `bytes_max` (memory
/// stays within that plus a constant), kInternal if the bytes are not gzip.
Status Gunzip(std::string_view compressed, std::size_t bytes_max, std::string* out);

/// Cuts a call's byte stream into messages. A message that lies wholly in the bytes at hand is returned as a view of
/// them; only one that arrives in pieces is gathered here, in memory that grows with what has arrived and not with what
/// the prefix promises.
class MessageReader {
 public:
  explicit MessageReader(std::size_t bytes_max) : bytes_max_(bytes_max) {}

  void set_encoding(Encoding encoding) { encoding_ = encoding; }

  enum class Got : std::uint8_t { kMessage, kNeedMore, kError };
  /// Takes bytes off the front of `input`. kMessage: `message` is valid until the next call or the end of the input's
  /// life; call again for more. kNeedMore: the input is used up. kError: see error(); the reader is of no further use.
  Got Next(std::string_view* input, std::string_view* message);

  const Status& error() const { return error_; }
  /// True between the first byte of a message and its last.
  bool in_message() const { return prefix_size_ > 0; }
  /// Memory held for a message that is not complete.
  std::size_t gathered_bytes() const { return gathered_.size(); }

 private:
  Got Fail(Status error);
  Got TakePrefix(std::string_view* input);
  Got Complete(std::string_view payload, std::string_view* message);

  std::size_t bytes_max_;
  Encoding encoding_ = Encoding::kIdentity;
  char prefix_[kMessagePrefixBytes] = {};
  std::size_t prefix_size_ = 0;
  bool compressed_ = false;
  std::size_t length_ = 0;
  bool delivered_ = false;  // gathered_ or inflated_ is what the caller looks at
  std::string gathered_;
  std::string inflated_;
  Status error_;
};

}  // namespace vellum::wire
