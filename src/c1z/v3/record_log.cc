#include "c1z/v3/record_log.h"

#include <algorithm>

#include "base/crc32c.h"
#include "c1z/v3/bytes.h"

namespace vellum::c1z::v3 {
namespace {

constexpr std::size_t kBlockBytes = 32u << 10;
constexpr std::size_t kHeaderBytes = 7;
/// The longest header there is: so many zeros may stand where a chunk no longer fits.
constexpr std::size_t kLongestHeaderBytes = 19;
constexpr int kWhole = 1;
constexpr int kFirst = 2;
constexpr int kLast = 4;

std::string At(std::size_t offset) { return "the record log's chunk at " + std::to_string(offset); }

}  // namespace

Result<bool> RecordLog::NextChunk(Chunk* chunk) {
  for (;;) {
    if (at_ == bytes_.size()) return false;
    const std::size_t block_left = kBlockBytes - at_ % kBlockBytes;
    const std::string_view left = bytes_.substr(at_, block_left);
    if (block_left < kHeaderBytes) {
      at_ += left.size();
      continue;
    }
    if (left.size() < kHeaderBytes) return Damaged(At(at_) + " is cut off: " + std::to_string(left.size()) + " bytes are left");
    const auto crc = LoadLe<std::uint32_t>(left.data());
    const std::size_t size = LoadLe<std::uint16_t>(left.data() + 4);
    const auto type = static_cast<std::uint8_t>(left[6]);
    if (crc == 0 && size == 0 && type == 0) {
      if (block_left < kLongestHeaderBytes && left.find_first_not_of('\0') == std::string_view::npos) {
        at_ += left.size();
        continue;
      }
      return Damaged(At(at_) + " is all zeros");
    }
    if (type < kWhole || type > kLast) return Damaged(At(at_) + " has the type " + std::to_string(type) + ", not 1 to 4");
    if (size > left.size() - kHeaderBytes) {
      return Damaged(At(at_) + " claims " + std::to_string(size) + " bytes of " + std::to_string(left.size() - kHeaderBytes));
    }
    const std::uint32_t actual = MaskCrc(Crc32c(left.substr(6, 1 + size)));
    if (actual != crc) return Damaged(At(at_) + " does not match its checksum");
    *chunk = {type, left.substr(kHeaderBytes, size)};
    at_ += kHeaderBytes + size;
    return true;
  }
}

Result<bool> RecordLog::Next(std::string_view* record) {
  assembled_.clear();
  for (bool inside = false;;) {
    const std::size_t start = at_;
    Chunk chunk;
    VELLUM_ASSIGN_OR_RETURN(const bool any, NextChunk(&chunk));
    if (!any) {
      if (inside) return Damaged("the record log ends within a record");
      return false;
    }
    const bool begins = chunk.position == kWhole || chunk.position == kFirst;
    if (begins == inside) {
      return Damaged(At(start) + (begins ? " begins a record within another" : " goes on with a record that never began"));
    }
    if (chunk.position == kWhole) {
      *record = chunk.data;
      return true;
    }
    if (chunk.data.size() > kLogRecordBytesMax - assembled_.size()) {
      return Damaged(At(start) + " makes a record of more than " + std::to_string(kLogRecordBytesMax) + " bytes");
    }
    assembled_ += chunk.data;
    inside = chunk.position != kLast;
    if (!inside) {
      *record = assembled_;
      return true;
    }
  }
}

}  // namespace vellum::c1z::v3
