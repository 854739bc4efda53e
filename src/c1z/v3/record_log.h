#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "vellum/status.h"

namespace vellum::c1z::v3 {

inline constexpr std::size_t kLogRecordBytesMax = 64u << 20;

/// Takes the records off a MANIFEST: blocks of 32 KiB, cut into checksummed chunks.
class RecordLog {
 public:
  /// `bytes` is the whole file and must outlive this.
  explicit RecordLog(std::string_view bytes) : bytes_(bytes) {}

  /// False at the end. The record is valid until the next call. Any chunk that is not as it should be is kInvalidArgument
  /// with its offset.
  Result<bool> Next(std::string_view* record);

 private:
  struct Chunk {
    int position = 0;  ///< 1 whole, 2 first, 3 middle, 4 last.
    std::string_view data;
  };
  Result<bool> NextChunk(Chunk* chunk);

  const std::string_view bytes_;
  std::size_t at_ = 0;
  std::string assembled_;
};

}  // namespace vellum::c1z::v3
