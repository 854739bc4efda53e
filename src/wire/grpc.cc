#include "wire/grpc.h"

#include <zlib.h>

#include <algorithm>
#include <cstring>

namespace vellum::wire {
namespace {

// zlib's state with the cleaning up that it needs.
class Inflater {
 public:
  Inflater() : ok_(inflateInit2(&stream_, /*windowBits: gzip framing, 32 KiB window*/ 15 + 16) == Z_OK) {}
  ~Inflater() {
    if (ok_) inflateEnd(&stream_);
  }
  Inflater(const Inflater&) = delete;
  Inflater& operator=(const Inflater&) = delete;

  bool ok() const { return ok_; }
  z_stream* operator->() { return &stream_; }
  z_stream* get() { return &stream_; }

 private:
  z_stream stream_{};
  bool ok_;
};

Status NotGzip(const char* why) {
  return Internal(std::string("grpc: failed to decompress the received message: ") +
                  (why != nullptr ? why : "bad data"));
}

}  // namespace

void WriteMessagePrefix(std::size_t size, char* out) {
  out[0] = 0;
  for (std::size_t i = 0; i < 4; ++i) out[1 + i] = static_cast<char>(size >> (8 * (3 - i)));
}

std::optional<std::chrono::nanoseconds> ParseGrpcTimeout(std::string_view text) {
  // One to eight digits and a unit.
  if (text.size() < 2 || text.size() > 9) return std::nullopt;
  std::int64_t number = 0;
  for (const char c : text.substr(0, text.size() - 1)) {
    if (c < '0' || c > '9') return std::nullopt;
    number = number * 10 + (c - '0');
  }
  std::int64_t nanoseconds = 0;
  switch (text.back()) {
    case 'H': nanoseconds = 3'600'000'000'000; break;
    case 'M': nanoseconds = 60'000'000'000; break;
    case 'S': nanoseconds = 1'000'000'000; break;
    case 'm': nanoseconds = 1'000'000; break;
    case 'u': nanoseconds = 1'000; break;
    case 'n': nanoseconds = 1; break;
    default: return std::nullopt;
  }
  // 99,999,999 hours are more than nanoseconds in 64 bits can hold.
  constexpr std::int64_t kCentury = 100LL * 365 * 24 * 3'600'000'000'000;
  if (number > kCentury / nanoseconds) return std::chrono::nanoseconds(kCentury);
  return std::chrono::nanoseconds(number * nanoseconds);
}

std::string PercentEncode(std::string_view text) {
  static constexpr char kHex[] = "0123456789ABCDEF";
  std::string encoded;
  encoded.reserve(text.size());
  for (const char c : text) {
    if (c >= 0x20 && c < 0x7F && c != '%') {
      encoded.push_back(c);
    } else {
      const auto byte = static_cast<std::uint8_t>(c);
      encoded.push_back('%');
      encoded.push_back(kHex[byte >> 4]);
      encoded.push_back(kHex[byte & 15]);
    }
  }
  return encoded;
}

ContentType ClassifyContentType(std::string_view value) {
  constexpr std::string_view kGrpc = "application/grpc";
  if (value == kGrpc) return ContentType::kGrpc;
  if (value.size() < kGrpc.size()) return ContentType::kOther;
  for (std::size_t i = 0; i < kGrpc.size(); ++i) {
    const char c = value[i];
    if ((c >= 'A' && c <= 'Z' ? static_cast<char>(c + ('a' - 'A')) : c) != kGrpc[i]) return ContentType::kOther;
  }
  if (value.size() == kGrpc.size()) return ContentType::kGrpc;  // in other letters
  const char next = value[kGrpc.size()];
  return next == '+' || next == ';' ? ContentType::kGrpc : ContentType::kOther;
}

Status Gunzip(std::string_view compressed, std::size_t bytes_max, std::string* out) {
  out->clear();
  Inflater inflater;
  if (!inflater.ok()) return ResourceExhausted("no memory to decompress a message");
  // zlib's interface is not const-correct; it does not write to its input.
  inflater->next_in = reinterpret_cast<Bytef*>(const_cast<char*>(compressed.data()));
  inflater->avail_in = static_cast<uInt>(compressed.size());
  char block[16384];
  for (;;) {
    inflater->next_out = reinterpret_cast<Bytef*>(block);
    inflater->avail_out = sizeof(block);
    const int code = inflate(inflater.get(), Z_NO_FLUSH);
    const std::size_t produced = sizeof(block) - inflater->avail_out;
    if (produced > bytes_max - out->size()) {
      return ResourceExhausted("grpc: received message after decompression larger than max (" +
                               std::to_string(bytes_max) + ")");
    }
    out->append(block, produced);
    if (code == Z_STREAM_END) {
      if (inflater->avail_in == 0) return {};
      if (inflateReset(inflater.get()) != Z_OK) return NotGzip(inflater->msg);
    } else if (code != Z_OK) {
      return NotGzip(code == Z_BUF_ERROR ? "unexpected end" : inflater->msg);
    }
  }
}

MessageReader::Got MessageReader::Fail(Status error) {
  error_ = std::move(error);
  gathered_ = {};
  return Got::kError;
}

MessageReader::Got MessageReader::TakePrefix(std::string_view* input) {
  const std::size_t take = std::min(kMessagePrefixBytes - prefix_size_, input->size());
  std::memcpy(prefix_ + prefix_size_, input->data(), take);
  prefix_size_ += take;
  input->remove_prefix(take);
  if (prefix_size_ < kMessagePrefixBytes) return Got::kNeedMore;

  const auto flag = static_cast<std::uint8_t>(prefix_[0]);
  length_ = 0;
  for (std::size_t i = 1; i < kMessagePrefixBytes; ++i) length_ = length_ << 8 | static_cast<std::uint8_t>(prefix_[i]);
  if (flag > 1) return Fail(Internal("grpc: received unexpected payload format " + std::to_string(flag)));
  compressed_ = flag == 1;
  if (compressed_ && encoding_ == Encoding::kIdentity) {
    return Fail(Internal("grpc: compressed flag set with identity or empty encoding"));
  }
  if (length_ > bytes_max_) {
    return Fail(ResourceExhausted("grpc: received message larger than max (" + std::to_string(length_) + " vs. " +
                                  std::to_string(bytes_max_) + ")"));
  }
  return Got::kMessage;
}

MessageReader::Got MessageReader::Complete(std::string_view payload, std::string_view* message) {
  prefix_size_ = 0;
  delivered_ = true;
  if (!compressed_) {
    *message = payload;
    return Got::kMessage;
  }
  if (Status inflated = Gunzip(payload, bytes_max_, &inflated_); !inflated.ok()) return Fail(std::move(inflated));
  *message = inflated_;
  return Got::kMessage;
}

MessageReader::Got MessageReader::Next(std::string_view* input, std::string_view* message) {
  if (!error_.ok()) return Got::kError;
  if (delivered_) {
    delivered_ = false;
    gathered_ = {};
    inflated_ = {};
  }
  if (prefix_size_ < kMessagePrefixBytes) {
    if (input->empty()) return Got::kNeedMore;
    if (const Got got = TakePrefix(input); got != Got::kMessage) return got;
  }
  if (gathered_.empty() && input->size() >= length_) {
    const std::string_view payload = input->substr(0, length_);
    input->remove_prefix(length_);
    return Complete(payload, message);
  }
  const std::size_t take = std::min(length_ - gathered_.size(), input->size());
  gathered_.append(input->substr(0, take));
  input->remove_prefix(take);
  if (gathered_.size() < length_) return Got::kNeedMore;
  return Complete(gathered_, message);
}

}  // namespace vellum::wire
