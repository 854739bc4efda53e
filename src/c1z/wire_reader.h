#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "base/bytes.h"

namespace vellum::c1z {

/// One field of an encoded protobuf message.
struct WireField {
  std::uint64_t number = 0;
  std::uint8_t type = 0;        ///< 0 varint, 1 eight bytes, 2 bytes, 5 four bytes.
  std::uint64_t value = 0;      ///< Types 0, 1, 5.
  std::string_view bytes;       ///< Type 2.
  std::string_view whole;       ///< Tag and all.

  /// Bytes (a message, a text) with this number.
  bool Holds(std::uint64_t wanted) const { return number == wanted && type == 2; }
};

/// Walks the fields of a message that nobody vouches for. Inline, because it is run for every part of every record.
class WireReader {
 public:
  explicit WireReader(std::string_view message) : at_(message.data()), end_(at_ + message.size()) {}

  /// False at the end, and at bytes that are no field: then damaged() is true. Groups are damage.
  bool Next(WireField* field) {
    if (at_ == end_) return false;
    const char* const start = at_;
    std::uint64_t tag = 0;
    if (!Varint(&tag, kShortBytesMax) || tag >> 3 == 0 || tag >> 32 != 0) return Fail();
    field->number = tag >> 3;
    field->type = static_cast<std::uint8_t>(tag & 7);
    std::uint64_t size = 0;
    switch (field->type) {
      case 0:
        if (!Varint(&field->value, kVarintBytesMax)) return Fail();
        break;
      case 1:
        if (!Fixed(8, &field->value)) return Fail();
        break;
      case 2:
        if (!Varint(&size, kShortBytesMax) || size > static_cast<std::uint64_t>(end_ - at_)) return Fail();
        field->bytes = {at_, static_cast<std::size_t>(size)};
        at_ += size;
        break;
      case 5:
        if (!Fixed(4, &field->value)) return Fail();
        break;
      default: return Fail();
    }
    field->whole = {start, static_cast<std::size_t>(at_ - start)};
    return true;
  }
  bool damaged() const { return damaged_; }

 private:
  /// Of tags and lengths: protobuf reads no longer ones, also where they say no more.
  static constexpr unsigned kShortBytesMax = 5;

  bool Varint(std::uint64_t* value, unsigned bytes_max) {
    std::uint64_t read = 0;
    for (unsigned shift = 0; at_ != end_ && shift < 7 * bytes_max; shift += 7) {
      const auto byte = static_cast<std::uint8_t>(*at_++);
      if (shift == 63 && byte > 1) return false;
      read |= std::uint64_t{byte & 0x7Fu} << shift;
      if (byte < 0x80) {
        *value = read;
        return true;
      }
    }
    return false;
  }
  bool Fixed(int size, std::uint64_t* value) {
    if (end_ - at_ < size) return false;
    *value = 0;
    for (int i = 0; i < size; ++i) *value |= std::uint64_t{static_cast<std::uint8_t>(at_[i])} << (8 * i);
    at_ += size;
    return true;
  }
  bool Fail() {
    damaged_ = true;
    at_ = end_;
    return false;
  }

  const char* at_;
  const char* const end_;
  bool damaged_ = false;
};

}  // namespace vellum::c1z
