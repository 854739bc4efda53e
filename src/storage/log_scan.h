#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>

#include "vellum/status.h"

namespace vellum::storage {

/// What RocksDB calls a log: a write-ahead log, or a manifest. Both have the same format, in blocks of 32 KiB.
enum class LogKind : std::uint8_t { kWriteAhead, kManifest };

/// In the first batch after each sync of the write-ahead log, as a blob that RocksDB logs and otherwise ignores:
/// whatever lies before this batch in the log had been synced.
inline constexpr std::string_view kSyncedMark = "vl:sync1";

/// Ends a batch that would end in a zero otherwise, as a blob too. The write-ahead log takes space on the disk ahead of
/// what is written, which reads as zeros; a log whose last byte is none shows where it ends.
inline constexpr std::string_view kEndMark = ".";

struct LogScan {
  enum class End : std::uint8_t {
    kWhole,    ///< Nothing but whole records and, in a write-ahead log, space for more.
    kTorn,     ///< Ends in what a crash leaves of data that nobody had synced.
    kDamaged,  ///< Synced bytes have changed.
  };
  End end = End::kWhole;
  std::uint64_t good_bytes = 0;  ///< Up to the end of the last whole record before the damage.
  std::uint64_t bad_offset = 0;  ///< Of the first record that is not as it was written.
  std::string reason;            ///< Empty for kWhole.
};

/// The n-th block of a log: 32 KiB, the last one less. Valid until the next call.
using LogBlocks = std::function<Result<std::string_view>(std::uint64_t block)>;

inline constexpr std::uint64_t kLogBlockBytes = 32u << 10;

/// Reads a whole log of `bytes` bytes and tells a torn end from damage, which RocksDB does not: it takes a record
/// whose length was changed for a torn one when it stands in the log's last block, and drops everything from there on.
///
/// Zeros at the end of a write-ahead log are space for more. Torn is an end that lacks the rest of its last record, or sectors that the system had not written yet and that
/// read as zeros. Anything else is damage; so is a torn place with a valid record behind it, unless it is such a
/// sector and no kSyncedMark follows. What it cannot know is whether the very last group of batches had been synced.
Result<LogScan> ScanLog(LogKind kind, std::uint64_t bytes, const LogBlocks& blocks);

}  // namespace vellum::storage
