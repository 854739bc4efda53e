#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "vellum/status.h"

/// How the files of a checkpoint lie in the envelope: one zstd frame each, found by an index at the end, or as a tar stream.
/// Pure functions of bytes.
namespace vellum::c1z::v3 {

inline constexpr std::size_t kFramesMax = 100'000;
inline constexpr std::uint64_t kFrameIndexBytesMax = 64u << 20;
inline constexpr std::size_t kFrameFooterBytes = 28;

/// One file of the checkpoint.
struct Frame {
  std::string name;
  std::uint64_t offset = 0;  ///< From the start of the .c1z file.
  std::uint64_t compressed_size = 0;
  std::uint64_t raw_size = 0;
  std::uint64_t xxh64 = 0;
  std::array<unsigned char, 32> sha256{};
};

struct FrameFooter {
  std::uint64_t index_offset = 0;
  std::uint64_t index_size = 0;
  std::uint64_t index_xxh64 = 0;
};

/// `footer` is the last 28 bytes of a file of `file_size` bytes whose payload begins at `payload_offset`.
Result<FrameFooter> ParseFrameFooter(std::string_view footer, std::uint64_t payload_offset, std::uint64_t file_size);

/// Checks everything that can be checked without the frames: names, places in [payload_offset, index_offset), overlaps,
/// and that all raw sizes together are at most `raw_bytes_max` (kResourceExhausted). `manifest_xxh64` is that of the
/// manifest's bytes.
Result<std::vector<Frame>> ParseFrameIndex(std::string_view bytes, std::uint64_t payload_offset, std::uint64_t index_offset,
                                           std::uint64_t raw_bytes_max, std::uint64_t manifest_xxh64);

/// Why a name cannot be a file's of a checkpoint. Names are compared with what is expected and never reach a file system;
/// one that tries to be a path is damage all the same.
Status CheckFileName(std::string_view name);

/// A zstd frame's header: what it says of its content, and what a decoder will allocate for it. Refuses windows beyond
/// 2^`window_log_max` (kResourceExhausted) and what is no frame. `bytes` is the frame's beginning: 18 bytes of it, or all.
struct FrameCost {
  std::uint64_t window_bytes = 0;
  std::optional<std::uint64_t> content_bytes;
};
Result<FrameCost> ReadFrameCost(std::string_view bytes, int window_log_max);

/// One header of a tar archive.
inline constexpr std::size_t kTarBlockBytes = 512;
struct TarEntry {
  std::string name;      ///< Without a leading "./".
  std::uint64_t size = 0;
  char type = 0;         ///< '0' a file, '5' a directory, 'L' a long name follows, 'x' attributes follow, ...
  bool end = false;      ///< A block of zeros.
};
/// `block` has 512 bytes.
Result<TarEntry> ParseTarHeader(std::string_view block);
/// The path that a pax header's records give the next entry; empty if none. kInvalidArgument for malformed records.
Result<std::string> ParsePaxPath(std::string_view records);

}  // namespace vellum::c1z::v3
