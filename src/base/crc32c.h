#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>

namespace vellum {

/// CRC-32C (Castagnoli), in the usual form: reflected, all ones at the start and at the end.
/// Uses the processor's instruction where there is one.
std::uint32_t Crc32c(std::string_view bytes);
/// The checksum of what `crc` is the checksum of, followed by `bytes`. 0 is the checksum of nothing.
std::uint32_t ExtendCrc32c(std::uint32_t crc, std::string_view bytes);
/// The checksum of two pieces, one after the other, from theirs. Cost: logarithmic in `second_size`.
std::uint32_t CombineCrc32c(std::uint32_t first, std::uint32_t second, std::uint64_t second_size);

/// The portable implementation, which ExtendCrc32c falls back to. For tests.
std::uint32_t ExtendCrc32cPortable(std::uint32_t crc, std::string_view bytes);

}  // namespace vellum
