#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "kv/command.h"
#include "kv/schema.h"
#include "vellum/status.h"

/// The rows of the `meta` family (names in schema.h). The bytes are described in docs/formats.md.
namespace vellum::kv {

/// The number in FORMAT and in kMetaFormat. A store with a greater one is refused.
inline constexpr std::uint64_t kFormatNumber = 1;

/// Numbers (format, revisions, applied index, ids, samples' values): eight bytes, big endian, two's complement.
std::string EncodeMetaNumber(std::int64_t value);
/// kDataLoss unless it is eight bytes; `row` is for the message.
Result<std::int64_t> DecodeMetaNumber(std::string_view row, std::string_view bytes);

/// The row of a sample: kMetaSamplePrefix, then the seconds since 1970 as eight bytes, big endian.
std::string SampleRow(std::int64_t wall_s);
/// The seconds of a sample's row; nullopt if it is none.
std::optional<std::int64_t> SampleRowSeconds(std::string_view row);

std::string EncodeAlarms(const std::vector<AlarmEntry>& alarms);
Result<std::vector<AlarmEntry>> DecodeAlarms(std::string_view bytes);

/// A huge command that is applied in parts, between two of them.
struct PendingCommand {
  Command command;            ///< Delete range, revoke, or expiry of one lease.
  Revision main = 0;          ///< The revision that all its parts have.
  std::int32_t sub = 0;       ///< The next change's.
  std::int64_t changes = 0;   ///< Keys deleted so far.
  std::uint64_t index = 0;    ///< Its applied index.
  std::string cursor;         ///< Keys below this one are done.
};
std::string EncodePending(const PendingCommand& pending);
Result<PendingCommand> DecodePending(std::string_view bytes);

}  // namespace vellum::kv
