#include "c1z/v3/frames.h"

#include <zstd.h>

#include <algorithm>
#include <set>

#include "base/bytes.h"
#include "c1z/v3/bytes.h"
#include "c1z/wire_reader.h"

namespace vellum::c1z::v3 {
namespace {

constexpr std::string_view kIndexMagic("C1ZIDX1\0", 8);
constexpr std::size_t kNameBytesMax = 1024;

Result<Frame> ParseFrame(std::string_view bytes) {
  Frame frame;
  bool has_sha256 = false;
  WireReader reader(bytes);
  for (WireField field; reader.Next(&field);) {
    switch (field.number << 3 | field.type) {
      case 1 << 3 | 2: frame.name = field.bytes.substr(0, kNameBytesMax + 1); break;
      case 2 << 3 | 0: frame.offset = field.value; break;
      case 3 << 3 | 0: frame.compressed_size = field.value; break;
      case 4 << 3 | 0: frame.raw_size = field.value; break;
      case 5 << 3 | 1: frame.xxh64 = field.value; break;
      case 6 << 3 | 2:
        if (field.bytes.size() != frame.sha256.size()) {
          return Damaged("a SHA-256 in the frame index has " + std::to_string(field.bytes.size()) + " bytes instead of 32");
        }
        std::copy(field.bytes.begin(), field.bytes.end(), frame.sha256.begin());
        has_sha256 = true;
        break;
      default: break;
    }
  }
  if (reader.damaged()) return Damaged("an entry of the frame index is not protobuf");
  VELLUM_TRY(CheckFileName(frame.name));
  if (!has_sha256) return Damaged("the frame index gives no SHA-256 for the file " + Printable(frame.name));
  return frame;
}

Status CheckPlaces(const std::vector<Frame>& frames, std::uint64_t payload_offset, std::uint64_t index_offset) {
  std::vector<const Frame*> by_offset;
  by_offset.reserve(frames.size());
  for (const Frame& frame : frames) {
    if (frame.offset < payload_offset || frame.offset > index_offset || frame.compressed_size > index_offset - frame.offset) {
      return Damaged("the frame of the file " + Printable(frame.name) + " lies at " + std::to_string(frame.offset) + " with " +
                     std::to_string(frame.compressed_size) + " bytes, outside the payload from " +
                     std::to_string(payload_offset) + " to " + std::to_string(index_offset));
    }
    by_offset.push_back(&frame);
  }
  std::sort(by_offset.begin(), by_offset.end(), [](const Frame* a, const Frame* b) { return a->offset < b->offset; });
  for (std::size_t i = 1; i < by_offset.size(); ++i) {
    const Frame& before = *by_offset[i - 1];
    if (by_offset[i]->offset - before.offset < before.compressed_size) {
      return Damaged("the frames of the files " + Printable(before.name) + " and " + Printable(by_offset[i]->name) + " overlap");
    }
  }
  return {};
}

/// An octal number of a tar header, padded with blanks or NUL; or, with the first bit set, a big-endian one.
std::optional<std::uint64_t> TarNumber(std::string_view field) {
  std::uint64_t value = 0;
  if ((static_cast<std::uint8_t>(field[0]) & 0x80) != 0) {
    for (std::size_t i = 0; i < field.size(); ++i) {
      const auto byte = static_cast<std::uint8_t>(i == 0 ? field[i] & 0x7F : field[i]);
      if (value >> 55 != 0) return std::nullopt;
      value = value << 8 | byte;
    }
    return value;
  }
  std::size_t at = 0;
  while (at < field.size() && field[at] == ' ') ++at;
  bool any = false;
  for (; at < field.size() && field[at] >= '0' && field[at] <= '7'; ++at) {
    if (value >> 60 != 0) return std::nullopt;
    value = value << 3 | static_cast<std::uint64_t>(field[at] - '0');
    any = true;
  }
  for (; at < field.size(); ++at) {
    if (field[at] != ' ' && field[at] != '\0') return std::nullopt;
  }
  return any ? std::optional(value) : std::nullopt;
}

std::string_view UntilNul(std::string_view field) { return field.substr(0, std::min(field.find('\0'), field.size())); }

}  // namespace

Status CheckFileName(std::string_view name) {
  if (name.empty()) return Damaged("a file of the checkpoint has an empty name");
  if (name.size() > kNameBytesMax) {
    return Damaged("a file name of more than " + std::to_string(kNameBytesMax) + " bytes: " + Printable(name));
  }
  const bool drive = name.size() >= 2 && name[1] == ':';
  if (name.find_first_of(std::string_view("/\\\0", 3)) != std::string_view::npos || name == "." || name == ".." || drive ||
      name.find("..") != std::string_view::npos) {
    return Damaged("the name " + Printable(name) + " is no plain file name");
  }
  return {};
}

Result<FrameFooter> ParseFrameFooter(std::string_view footer, std::uint64_t payload_offset, std::uint64_t file_size) {
  if (footer.size() != kFrameFooterBytes || file_size < payload_offset + kFrameFooterBytes) {
    return Damaged("the payload is truncated: its " + std::to_string(file_size - std::min(file_size, payload_offset)) +
                   " bytes have no room for the footer of 28");
  }
  if (footer.substr(20) != kIndexMagic) {
    return Damaged("the payload's last bytes are " + Printable(footer.substr(20)) +
                   " and not the mark of a frame index: the file is truncated, or something was appended to it");
  }
  ByteReader reader(footer);
  FrameFooter parsed;
  parsed.index_offset = *reader.ReadBe64();
  parsed.index_size = *reader.ReadBe32();
  parsed.index_xxh64 = *reader.ReadBe64();
  if (parsed.index_size > kFrameIndexBytesMax) {
    return Damaged("the frame index claims " + std::to_string(parsed.index_size) + " bytes: the limit is " +
                   std::to_string(kFrameIndexBytesMax));
  }
  const std::uint64_t footer_offset = file_size - kFrameFooterBytes;
  if (parsed.index_offset < payload_offset || parsed.index_offset > footer_offset ||
      parsed.index_size != footer_offset - parsed.index_offset) {
    return Damaged("the frame index lies at " + std::to_string(parsed.index_offset) + " with " +
                   std::to_string(parsed.index_size) + " bytes, which does not end at the footer at " +
                   std::to_string(footer_offset));
  }
  return parsed;
}

Result<std::vector<Frame>> ParseFrameIndex(std::string_view bytes, std::uint64_t payload_offset, std::uint64_t index_offset,
                                           std::uint64_t raw_bytes_max, std::uint64_t manifest_xxh64) {
  std::vector<Frame> frames;
  std::set<std::string_view> names;
  std::uint64_t raw_bytes = 0;
  std::uint64_t manifest_recorded = 0;
  WireReader reader(bytes);
  for (WireField field; reader.Next(&field);) {
    if (field.number == 4 && field.type == 1) manifest_recorded = field.value;
    if (field.number != 1 || field.type != 2) continue;
    if (frames.size() == kFramesMax) {
      return Damaged("the frame index has more than " + std::to_string(kFramesMax) + " entries");
    }
    VELLUM_ASSIGN_OR_RETURN(Frame frame, ParseFrame(field.bytes));
    if (frame.raw_size > raw_bytes_max - raw_bytes) {
      return ResourceExhausted("the file " + Printable(frame.name) + " declares " + std::to_string(frame.raw_size) +
                               " decompressed bytes beside " + std::to_string(raw_bytes) + " of the others: the limit for all is " +
                               std::to_string(raw_bytes_max));
    }
    raw_bytes += frame.raw_size;
    frames.push_back(std::move(frame));
  }
  if (reader.damaged()) return Damaged("the frame index is not protobuf");
  for (const Frame& frame : frames) {
    if (!names.insert(frame.name).second) return Damaged("the frame index names the file " + Printable(frame.name) + " twice");
  }
  if (manifest_recorded != 0 && manifest_recorded != manifest_xxh64) {
    return Damaged("the manifest is not the one that the frame index was written for: their checksums differ");
  }
  VELLUM_TRY(CheckPlaces(frames, payload_offset, index_offset));
  return frames;
}

Result<FrameCost> ReadFrameCost(std::string_view bytes, int window_log_max) {
  if (bytes.size() < 6 || LoadLe<std::uint32_t>(bytes.data()) != 0xFD2FB528u) {
    return Damaged("no zstd frame: it begins with " + Printable(bytes.substr(0, 4)));
  }
  FrameCost cost;
  const unsigned long long content = ZSTD_getFrameContentSize(bytes.data(), bytes.size());
  if (content == ZSTD_CONTENTSIZE_ERROR) return Damaged("a zstd frame's header is damaged");
  if (content != ZSTD_CONTENTSIZE_UNKNOWN) cost.content_bytes = content;
  const bool single_segment = (static_cast<std::uint8_t>(bytes[4]) & 0x20) != 0;
  const auto window = static_cast<std::uint8_t>(bytes[5]);
  const std::uint64_t base = std::uint64_t{1} << (10 + (window >> 3));
  const std::uint64_t size = single_segment ? content : base + base / 8 * (window & 7u);
  if (size > std::uint64_t{1} << window_log_max) {
    return ResourceExhausted("a zstd window of " + std::to_string(size) + " bytes: the limit is " +
                             std::to_string(std::uint64_t{1} << window_log_max));
  }
  cost.window_bytes = std::min(size, cost.content_bytes.value_or(size));
  return cost;
}

Result<TarEntry> ParseTarHeader(std::string_view block) {
  TarEntry entry;
  if (block.find_first_not_of('\0') == std::string_view::npos) {
    entry.end = true;
    return entry;
  }
  std::uint64_t sum = 0;
  for (std::size_t i = 0; i < block.size(); ++i) {
    sum += i >= 148 && i < 156 ? static_cast<std::uint64_t>(' ') : static_cast<std::uint8_t>(block[i]);
  }
  const auto recorded = TarNumber(block.substr(148, 8));
  if (!recorded || *recorded != sum) {
    return Damaged("a tar header's checksum is " + (recorded ? std::to_string(*recorded) : std::string("no number")) +
                   " where its bytes give " + std::to_string(sum));
  }
  const auto size = TarNumber(block.substr(124, 12));
  if (!size) return Damaged("a tar header's size is no number: " + Printable(block.substr(124, 12)));
  entry.size = *size;
  entry.type = block[156] == '\0' ? '0' : block[156];
  if (block.substr(257, 5) == "ustar" && block[345] != '\0') {
    entry.name = std::string(UntilNul(block.substr(345, 155))) + "/";
  }
  entry.name += UntilNul(block.substr(0, 100));
  if (entry.name.starts_with("./")) entry.name.erase(0, 2);
  return entry;
}

Result<std::string> ParsePaxPath(std::string_view records) {
  std::string path;
  while (!records.empty()) {
    // "LENGTH KEY=VALUE\n", where LENGTH counts itself.
    const std::size_t blank = records.find(' ');
    std::uint64_t size = 0;
    if (blank == std::string_view::npos || blank == 0 || blank > 10) return Damaged("a tar attribute has no length");
    for (const char digit : records.substr(0, blank)) {
      if (digit < '0' || digit > '9') return Damaged("a tar attribute's length is no number");
      size = size * 10 + static_cast<std::uint64_t>(digit - '0');
    }
    if (size <= blank + 1 || size > records.size() || records[size - 1] != '\n') {
      return Damaged("a tar attribute claims " + std::to_string(size) + " bytes of " + std::to_string(records.size()));
    }
    const std::string_view record = records.substr(blank + 1, size - blank - 2);
    if (record.starts_with("path=")) path = record.substr(5);
    records.remove_prefix(size);
  }
  if (path.starts_with("./")) path.erase(0, 2);
  return path;
}

}  // namespace vellum::c1z::v3
