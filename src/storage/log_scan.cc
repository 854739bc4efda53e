#include "storage/log_scan.h"

#include <algorithm>
#include <string>

#include "base/crc32c.h"

namespace vellum::storage {
namespace {

constexpr std::uint64_t kHeaderBytes = 7;  // checksum 4, length 2, type 1
constexpr std::uint64_t kSectorBytes = 512;
constexpr std::size_t kBatchHeaderBytes = 12;  // sequence number 8, count 4

enum RecordType : std::uint8_t { kZero = 0, kFull = 1, kFirst = 2, kMiddle = 3, kLast = 4, kIgnorable = 0x80 };

std::uint32_t LittleEndian32(std::string_view bytes) {
  std::uint32_t value = 0;
  for (std::size_t index = 4; index > 0; --index) value = value << 8 | static_cast<std::uint8_t>(bytes[index - 1]);
  return value;
}

/// As logs store it: rotated and shifted, so that a checksum over checksums stays a good one.
std::uint32_t Masked(std::uint32_t crc) { return ((crc >> 15) | (crc << 17)) + 0xa282ead8u; }

struct Record {
  std::uint32_t checksum;
  std::uint64_t length;
  std::uint8_t type;
};

Record ParseHeader(std::string_view header) {
  return {LittleEndian32(header),
          static_cast<std::uint64_t>(static_cast<std::uint8_t>(header[4])) |
              static_cast<std::uint64_t>(static_cast<std::uint8_t>(header[5])) << 8,
          static_cast<std::uint8_t>(header[6])};
}

bool IsWhole(std::string_view block, std::uint64_t offset, const Record& record) {
  return offset + kHeaderBytes + record.length <= block.size() &&
         Masked(Crc32c(block.substr(offset + kHeaderBytes - 1, record.length + 1))) == record.checksum;
}

/// The last bytes of a batch that ends in kSyncedMark, as RocksDB encodes a blob: its tag, its length, itself.
const std::string& EncodedMark() {
  static const std::string mark = std::string("\x03\x08", 2) + std::string(kSyncedMark);
  return mark;
}

/// Walks over the records of a log. From the first one that is not as it was written, it searches byte by byte for
/// others behind it, because they tell damage from a torn end.
class Scanner {
 public:
  Scanner(LogKind kind, std::uint64_t file_bytes, const LogBlocks& blocks)
      : kind_(kind), file_bytes_(file_bytes), blocks_(blocks) {}

  Result<LogScan> Run() {
    VELLUM_ASSIGN_OR_RETURN(bytes_, FindEnd());
    for (std::uint64_t start = 0; start < bytes_; start += kLogBlockBytes) {
      VELLUM_ASSIGN_OR_RETURN(const std::string_view block, Read(start));
      ScanBlock(start, block);
      if (Decided()) break;
    }
    // The writer may have been stopped between the pieces of a record.
    if (!bad_ && in_pieces_) Break(Kind::kIncomplete, good_bytes_, "the last record is incomplete");
    return Verdict();
  }

 private:
  enum class Kind : std::uint8_t { kIncomplete, kWrong };

  Result<std::string_view> Read(std::uint64_t start) const {
    VELLUM_ASSIGN_OR_RETURN(const std::string_view block, blocks_(start / kLogBlockBytes));
    if (block.size() == std::min(kLogBlockBytes, file_bytes_ - start)) return block;
    return DataLoss("the file shrank while it was read", Reason::kCorrupt);
  }

  /// Where a log's bytes end: a write-ahead log has space ahead of it, which reads as zeros.
  Result<std::uint64_t> FindEnd() const {
    if (kind_ == LogKind::kManifest) return file_bytes_;
    for (std::uint64_t end = file_bytes_; end > 0;) {
      const std::uint64_t start = (end - 1) / kLogBlockBytes * kLogBlockBytes;
      VELLUM_ASSIGN_OR_RETURN(const std::string_view block, Read(start));
      const std::size_t last = block.find_last_not_of('\0');
      if (last != std::string_view::npos) return start + last + 1;
      end = start;
    }
    return std::uint64_t{0};
  }

  /// What is behind the present block cannot change the verdict.
  bool Decided() const { return found_behind_ && (synced_behind_ || !unwritten_sector_); }

  /// `whole` is the block as the file has it, with the space ahead.
  void ScanBlock(std::uint64_t start, std::string_view whole) {
    const std::string_view block = whole.substr(0, bytes_ - start);
    start_ = start;
    std::uint64_t offset = 0;
    while (offset + kHeaderBytes <= block.size()) {
      const Record record = ParseHeader(block.substr(offset, kHeaderBytes));
      if (searching_) {
        if (record.type < kFull || record.type > kLast || !IsWhole(whole, offset, record)) {
          CountZeros(block, offset, offset + 1);
          ++offset;
          continue;
        }
        searching_ = false;
        found_behind_ = true;
      } else if (!IsWhole(whole, offset, record) || !KnowsType(record)) {
        Blame(block, offset, record);
        continue;  // here again, searching
      }
      if (Accept(offset, record, whole.substr(offset + kHeaderBytes, record.length))) {
        offset += kHeaderBytes + record.length;
      }
    }
    if (searching_) CountZeros(block, offset, block.size());
    // What is too short for a header is padding at the end of a block, and a torn header at the end of the file.
    if (!bad_ && offset < block.size() && block.size() < kLogBlockBytes) {
      Break(Kind::kIncomplete, start + offset, "the last record's header is incomplete");
    }
  }

  static bool KnowsType(const Record& record) {
    return (record.type >= kFull && record.type <= kLast) || (record.type & kIgnorable) != 0;
  }

  /// Breaks at a record that is not as it was written. A log's last byte is no zero (see kEndMark), so that the space
  /// ahead of it does not count here.
  void Blame(std::string_view block, std::uint64_t offset, const Record& record) {
    const std::uint64_t place = start_ + offset;
    const std::uint64_t end = offset + kHeaderBytes + record.length;
    if (end > kLogBlockBytes) {
      Break(Kind::kWrong, place, "a record reaches beyond its block");
    } else if (end <= block.size()) {
      Break(Kind::kWrong, place, IsWhole(block, offset, record) ? "a record's type is unknown" : "a record's checksum is wrong");
    } else if (Masked(Crc32c(block.substr(offset + kHeaderBytes - 1))) == record.checksum) {
      // It reaches beyond the end of the log: the checksum, which does not cover the length, tells whether its end is
      // missing or its length is wrong.
      Break(Kind::kWrong, place, "a record's length is wrong");
    } else {
      Break(Kind::kIncomplete, place, "the last record is incomplete");
    }
  }

  /// Takes a record into account: the order of the pieces, and what a whole one ends in. False: broke.
  bool Accept(std::uint64_t offset, const Record& record, std::string_view payload) {
    if ((record.type & kIgnorable) != 0) return true;
    const bool begins = record.type == kFull || record.type == kFirst;
    if (!bad_ && begins == in_pieces_) {
      return Break(Kind::kWrong, start_ + offset,
                   begins ? "a record begins inside another one" : "a record has no beginning");
    }
    if (begins) {
      length_ = 0;
      tail_.clear();
    }
    length_ += payload.size();
    const std::size_t kept = EncodedMark().size();
    tail_.append(payload.substr(payload.size() - std::min(payload.size(), kept)));
    if (tail_.size() > kept) tail_.erase(0, tail_.size() - kept);
    in_pieces_ = record.type == kFirst || record.type == kMiddle;
    if (in_pieces_) return true;
    if (bad_) {
      synced_behind_ = synced_behind_ || tail_ == EncodedMark();
      return true;
    }
    if (kind_ == LogKind::kWriteAhead && length_ < kBatchHeaderBytes) {
      return Break(Kind::kWrong, start_ + offset, "a record is too short for a batch");
    }
    good_bytes_ = start_ + offset + kHeaderBytes + record.length;
    return true;
  }

  /// Notes the first place where the log is not as it was written, and searches on. Always false.
  bool Break(Kind kind, std::uint64_t place, const char* reason) {
    if (!bad_) {
      bad_ = true;
      first_kind_ = kind;
      bad_offset_ = place;
      zeros_from_ = place;
      reason_ = reason;
    }
    searching_ = true;
    in_pieces_ = false;
    return false;
  }

  /// Follows the zeros between the damage and the first record behind it. A sector of them was never written; so was
  /// the rest of a sector, if it could have held a header, whose beginning an earlier write had filled.
  void CountZeros(std::string_view block, std::uint64_t begin, std::uint64_t end) {
    if (found_behind_) return;
    for (std::uint64_t offset = begin; offset < end; ++offset) {
      const std::uint64_t place = start_ + offset;
      if (block[offset] != 0) zeros_from_ = place + 1;
      if ((place + 1) % kSectorBytes != 0 && place + 1 != bytes_) continue;
      const std::uint64_t sector = std::max(place / kSectorBytes * kSectorBytes, bad_offset_);
      if (zeros_from_ <= sector && place + 1 - sector >= kHeaderBytes) unwritten_sector_ = true;
    }
  }

  LogScan Verdict() const {
    if (!bad_) return {LogScan::End::kWhole, good_bytes_, bytes_, ""};
    bool torn = first_kind_ == Kind::kIncomplete || unwritten_sector_;
    // Valid records behind the place: the system may have written them before those that are missing, but only as
    // long as nothing there had been synced.
    if (found_behind_) torn = unwritten_sector_ && !synced_behind_ && kind_ == LogKind::kWriteAhead;
    return {torn ? LogScan::End::kTorn : LogScan::End::kDamaged, good_bytes_, bad_offset_, reason_};
  }

  const LogKind kind_;
  const std::uint64_t file_bytes_;
  const LogBlocks& blocks_;

  std::uint64_t bytes_ = 0;  // without the space ahead
  std::uint64_t start_ = 0;  // of the present block
  std::uint64_t good_bytes_ = 0;

  // The record whose pieces are being read.
  bool in_pieces_ = false;
  std::uint64_t length_ = 0;
  std::string tail_;

  // The first bad place, and what is behind it.
  bool bad_ = false;
  bool searching_ = false;
  Kind first_kind_ = Kind::kWrong;
  std::uint64_t bad_offset_ = 0;
  const char* reason_ = "";
  std::uint64_t zeros_from_ = 0;  // since when there were only zeros
  bool unwritten_sector_ = false;
  bool found_behind_ = false;
  bool synced_behind_ = false;
};

}  // namespace

Result<LogScan> ScanLog(LogKind kind, std::uint64_t bytes, const LogBlocks& blocks) {
  return Scanner(kind, bytes, blocks).Run();
}

}  // namespace vellum::storage
