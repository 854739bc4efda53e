#include "base/bytes.h"

namespace vellum {
namespace {

template <typename T>
void AppendBe(std::string* out, T value) {
  char bytes[sizeof(T)];
  for (std::size_t i = 0; i < sizeof(T); ++i) {
    bytes[i] = static_cast<char>(value >> (8 * (sizeof(T) - 1 - i)));
  }
  out->append(bytes, sizeof(T));
}

template <typename T>
std::optional<T> ReadBe(std::string_view* rest) {
  if (rest->size() < sizeof(T)) return std::nullopt;
  std::uint64_t value = 0;
  for (std::size_t i = 0; i < sizeof(T); ++i) value = (value << 8) | static_cast<std::uint8_t>((*rest)[i]);
  rest->remove_prefix(sizeof(T));
  return static_cast<T>(value);
}

constexpr char kEscape = '\x00';
constexpr char kEscapedZero = '\xFF';
constexpr char kTerminator = '\x01';

}  // namespace

void AppendBe16(std::string* out, std::uint16_t value) { AppendBe(out, value); }
void AppendBe32(std::string* out, std::uint32_t value) { AppendBe(out, value); }
void AppendBe64(std::string* out, std::uint64_t value) { AppendBe(out, value); }

void AppendVarint(std::string* out, std::uint64_t value) {
  char bytes[kVarintBytesMax];
  out->append(bytes, WriteVarint(bytes, value));
}

void AppendZigzag(std::string* out, std::int64_t value) {
  AppendVarint(out, (static_cast<std::uint64_t>(value) << 1) ^ static_cast<std::uint64_t>(value >> 63));
}

void AppendLengthPrefixed(std::string* out, std::string_view bytes) {
  AppendVarint(out, bytes.size());
  out->append(bytes);
}

std::optional<std::uint8_t> ByteReader::ReadByte() { return ReadBe<std::uint8_t>(&rest_); }
std::optional<std::uint16_t> ByteReader::ReadBe16() { return ReadBe<std::uint16_t>(&rest_); }
std::optional<std::uint32_t> ByteReader::ReadBe32() { return ReadBe<std::uint32_t>(&rest_); }
std::optional<std::uint64_t> ByteReader::ReadBe64() { return ReadBe<std::uint64_t>(&rest_); }

std::optional<std::uint64_t> ByteReader::ReadVarint() {
  std::uint64_t value = 0;
  for (std::size_t i = 0; i < rest_.size() && i < 10; ++i) {
    const auto byte = static_cast<std::uint8_t>(rest_[i]);
    if (i == 9 && byte > 1) return std::nullopt;
    value |= static_cast<std::uint64_t>(byte & 0x7F) << (7 * i);
    if ((byte & 0x80) == 0) {
      rest_.remove_prefix(i + 1);
      return value;
    }
  }
  return std::nullopt;
}

std::optional<std::int64_t> ByteReader::ReadZigzag() {
  const auto value = ReadVarint();
  if (!value) return std::nullopt;
  return static_cast<std::int64_t>((*value >> 1) ^ (~(*value & 1) + 1));
}

std::optional<std::string_view> ByteReader::ReadBytes(std::size_t size) {
  if (rest_.size() < size) return std::nullopt;
  const auto bytes = rest_.substr(0, size);
  rest_.remove_prefix(size);
  return bytes;
}

std::optional<std::string_view> ByteReader::ReadLengthPrefixed() {
  const auto before = rest_;
  const auto size = ReadVarint();
  if (size && *size <= rest_.size()) return ReadBytes(static_cast<std::size_t>(*size));
  rest_ = before;
  return std::nullopt;
}

std::optional<std::string> ByteReader::ReadEscaped() {
  std::string bytes;
  if (!ReadEscapedTo(&bytes)) return std::nullopt;
  return bytes;
}

bool ByteReader::ReadEscapedTo(std::string* out) {
  std::size_t at = 0;
  for (;;) {
    const auto zero = rest_.find(kEscape, at);
    if (zero == std::string_view::npos || zero + 1 >= rest_.size()) return false;
    out->append(rest_.substr(at, zero - at));
    at = zero + 2;
    if (rest_[zero + 1] == kTerminator) break;
    if (rest_[zero + 1] != kEscapedZero) return false;
    out->push_back(kEscape);
  }
  rest_.remove_prefix(at);
  return true;
}

void AppendEscaped(std::string* out, std::string_view bytes) {
  std::size_t at = 0;
  for (auto zero = bytes.find(kEscape); zero != std::string_view::npos; zero = bytes.find(kEscape, at)) {
    out->append(bytes.substr(at, zero - at));
    out->push_back(kEscape);
    out->push_back(kEscapedZero);
    at = zero + 1;
  }
  out->append(bytes.substr(at));
  out->push_back(kEscape);
  out->push_back(kTerminator);
}

std::optional<std::string> PrefixSuccessor(std::string_view prefix) {
  while (!prefix.empty() && prefix.back() == '\xFF') prefix.remove_suffix(1);
  if (prefix.empty()) return std::nullopt;
  std::string successor(prefix);
  successor.back() = static_cast<char>(static_cast<std::uint8_t>(successor.back()) + 1);
  return successor;
}

std::string Printable(std::string_view bytes, std::size_t length_max) {
  static constexpr char kHex[] = "0123456789abcdef";
  std::string text;
  for (const char c : bytes.substr(0, length_max)) {
    if (c >= 0x20 && c < 0x7F && c != '\\') {
      text.push_back(c);
    } else {
      const auto byte = static_cast<std::uint8_t>(c);
      text += {'\\', 'x', kHex[byte >> 4], kHex[byte & 15]};
    }
  }
  if (bytes.size() > length_max) text += "...";
  return text;
}

}  // namespace vellum
