#pragma once

#include <bit>
#include <cstdint>
#include <cstring>
#include <string>
#include <string_view>

#include "vellum/status.h"

/// The inside of a .c1z v3 file: a checkpoint of a Pebble database in an envelope. Little-endian throughout, unless said
/// otherwise.
namespace vellum::c1z::v3 {

static_assert(std::endian::native == std::endian::little, "integers are loaded as they lie in the file");

/// An integer at `bytes`, which need not be aligned and must have sizeof(T) bytes.
template <typename T>
T LoadLe(const char* bytes) {
  T value;
  std::memcpy(&value, bytes, sizeof(T));
  return value;
}

/// Bytes that cannot be what they should: accident or malice.
inline Status Damaged(std::string what) { return InvalidArgument(std::move(what)); }
/// Something that is defined, and that this reader does not read.
inline Status Refused(std::string what) { return Unimplemented(std::move(what)); }

/// A checksum as Pebble stores it, from a plain CRC-32C.
constexpr std::uint32_t MaskCrc(std::uint32_t crc) { return (crc >> 15 | crc << 17) + 0xA282EAD8u; }

/// Where a block lies in its file; `size` leaves out the trailer.
struct Handle {
  std::uint64_t offset = 0;
  std::uint64_t size = 0;
};

}  // namespace vellum::c1z::v3
