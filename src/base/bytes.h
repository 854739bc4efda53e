#pragma once

#include <bit>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace vellum {

/// Fixed-width big-endian integers, whose byte order is their numeric order (for unsigned values).
void AppendBe16(std::string* out, std::uint16_t value);
void AppendBe32(std::string* out, std::uint32_t value);
void AppendBe64(std::string* out, std::uint64_t value);

/// The longest varint.
inline constexpr std::size_t kVarintBytesMax = 10;
/// Base-128 varints, as in protobuf: seven bits a byte, least significant first. Returns how many bytes were written at
/// `out`, which has room for kVarintBytesMax.
inline std::size_t WriteVarint(char* out, std::uint64_t value) {
  std::size_t size = 0;
  for (; value >= 0x80; value >>= 7) out[size++] = static_cast<char>(value | 0x80);
  out[size++] = static_cast<char>(value);
  return size;
}
void AppendVarint(std::string* out, std::uint64_t value);
/// How many bytes it takes.
constexpr std::size_t VarintSize(std::uint64_t value) {
  return (static_cast<std::size_t>(std::bit_width(value | 1)) + 6) / 7;
}
/// Maps small negative numbers to small varints: 0, -1, 1, -2 become 0, 1, 2, 3.
void AppendZigzag(std::string* out, std::int64_t value);
/// Length as a varint, then the bytes.
void AppendLengthPrefixed(std::string* out, std::string_view bytes);

/// Takes values off the front of bytes that nobody vouches for. Every Read returns nullopt, and leaves the rest as it
/// was, when the bytes end early or are malformed; nothing is allocated before it has been checked.
class ByteReader {
 public:
  /// `bytes` must outlive the reader and every view it returns.
  explicit ByteReader(std::string_view bytes) : rest_(bytes) {}

  std::optional<std::uint8_t> ReadByte();
  std::optional<std::uint16_t> ReadBe16();
  std::optional<std::uint32_t> ReadBe32();
  std::optional<std::uint64_t> ReadBe64();
  /// Refuses more than ten bytes and values beyond 64 bits.
  std::optional<std::uint64_t> ReadVarint();
  std::optional<std::int64_t> ReadZigzag();
  std::optional<std::string_view> ReadBytes(std::size_t size);
  std::optional<std::string_view> ReadLengthPrefixed();
  /// Up to and past the terminator that AppendEscaped wrote.
  std::optional<std::string> ReadEscaped();
  /// The same, appended to `out`. False when malformed: the rest is as it was, what `out` got is not.
  bool ReadEscapedTo(std::string* out);

  std::string_view rest() const { return rest_; }
  bool empty() const { return rest_.empty(); }

 private:
  std::string_view rest_;
};

/// Appends `bytes` so that the order of the results is the order of the inputs, and so that one is never a prefix of
/// another: 00 becomes 00 FF, and 00 01 ends it. Used wherever a string is followed by something in a key.
void AppendEscaped(std::string* out, std::string_view bytes);

/// The smallest string greater than every string that starts with `prefix`, or nullopt if there is none (`prefix` is
/// empty or all FF).
std::optional<std::string> PrefixSuccessor(std::string_view prefix);

/// For messages: printable ASCII as it is, other bytes as \xNN, cut after `length_max` bytes with "..." behind it.
std::string Printable(std::string_view bytes, std::size_t length_max = 64);

}  // namespace vellum
