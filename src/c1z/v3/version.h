#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "c1z/v3/checkpoint.h"
#include "vellum/status.h"

/// Which tables a database consists of: markers and MANIFEST.
namespace vellum::c1z::v3 {

inline constexpr std::size_t kTablesMax = 100'000;
inline constexpr std::uint64_t kSequenceMax = (std::uint64_t{1} << 56) - 1;
inline constexpr int kFormatMin = 13;
inline constexpr int kFormatMax = 24;

/// A user key and, in one number, sequence number and kind.
struct InternalKey {
  std::string user;
  std::uint64_t trailer = 0;
  std::uint64_t sequence() const { return trailer >> 8; }
};

/// A table as the MANIFEST describes it.
struct TableMeta {
  int level = 0;
  std::uint64_t number = 0;
  std::uint64_t size = 0;            ///< Of a virtual table: an estimate.
  InternalKey smallest;
  InternalKey largest;
  bool has_sequences = false;
  std::uint64_t smallest_sequence = 0;
  std::uint64_t largest_sequence = 0;
  std::optional<std::uint64_t> backing;  ///< A virtual table: a window on that file.

  bool is_virtual() const { return backing.has_value(); }
  std::uint64_t file_number() const { return backing.value_or(number); }
  /// The upper bound leaves its own user key out.
  bool largest_exclusive() const { return largest.sequence() == kSequenceMax; }
  /// What stands in for the sequence numbers stored in a table that was written elsewhere.
  std::optional<std::uint64_t> sequence_override() const {
    const bool ingested = has_sequences && smallest_sequence == largest_sequence && smallest_sequence != 0;
    return ingested ? std::optional(smallest_sequence) : std::nullopt;
  }
};

/// What the edits of a MANIFEST amount to.
class Version {
 public:
  /// Applies one record of the MANIFEST. kInvalidArgument for bytes that are no edit or do not fit what is there,
  /// kUnimplemented for what this reader does not know.
  Status Apply(std::string_view edit);

  const std::map<std::uint64_t, TableMeta>& tables() const { return tables_; }  ///< By number.
  /// Size of each file that virtual tables are windows on.
  const std::map<std::uint64_t, std::uint64_t>& backings() const { return backings_; }
  std::uint64_t min_log_number() const { return min_log_number_; }
  std::size_t live_blobs() const { return blobs_.size(); }

 private:
  struct Changes;
  static Status Parse(std::string_view edit, Changes* changes);

  std::map<std::uint64_t, TableMeta> tables_;
  std::map<std::uint64_t, std::uint64_t> backings_;
  std::map<std::uint64_t, std::uint64_t> blobs_;
  std::uint64_t min_log_number_ = 0;
};

/// A database whose files are all there.
struct Database {
  int format = 0;
  Version version;
  /// The file in the checkpoint that each table's rows lie in, by table number.
  std::map<std::uint64_t, std::size_t> files;
};

/// Finds the current MANIFEST by its marker, reads it, and checks that the files it needs are there and that nothing is
/// left that this reader does not read: unflushed logs, blob files, tables elsewhere, formats outside 13 to 24.
Result<Database> OpenDatabase(const Checkpoint& checkpoint, Budget* budget);

}  // namespace vellum::c1z::v3
