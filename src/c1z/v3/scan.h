#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include "c1z/v3/table.h"
#include "c1z/v3/version.h"

namespace vellum::c1z::v3 {

/// What an entry does to its key.
enum class Kind : std::uint8_t { kDelete = 0, kSet = 1, kSingleDelete = 7, kSetWithDelete = 18, kDeleteSized = 23 };
constexpr bool Deletes(Kind kind) { return kind != Kind::kSet && kind != Kind::kSetWithDelete; }

/// Rows of one decoded data block, whichever its form.
class BlockRows {
 public:
  /// `bytes` must outlive this. `version` is the table's.
  Status Start(std::string_view bytes, std::uint32_t version);
  /// False at the end.
  Result<bool> Next();

  std::string_view key() const { return key_; }           ///< The user key; valid until the next move.
  std::uint64_t trailer() const { return trailer_; }
  std::string_view value() const { return value_; }       ///< Valid as long as the block.
  bool value_elsewhere() const { return elsewhere_; }     ///< In a value block: such a row never wins.

 private:
  Result<bool> NextColumnar();
  Result<bool> NextRow();
  Status TakeValue(std::string_view stored, bool prefixed);

  std::uint32_t version_ = 0;
  DataBlock columns_;
  std::uint32_t row_ = 0;
  RowBlock rows_;
  std::string assembled_;          ///< The block's prefix, the bundle's, the row's suffix.
  std::size_t bundle_prefix_ = 0;  ///< How much of it is the first two.
  std::string_view key_;
  std::uint64_t trailer_ = 0;
  std::string_view value_;
  bool elsewhere_ = false;
};

/// The rows of one table, as the MANIFEST cuts it, from a user key on: in internal order, each checked against the one
/// before, the table's bounds and its sequence numbers.
class TableScan {
 public:
  /// Rows with from <= key < until; an empty `until` is no bound. All but the strings must outlive the scan.
  TableScan(std::shared_ptr<const Table> table, const TableMeta* meta, std::string_view from, std::string_view until,
            Budget* budget);

  /// Moves to the first row, then to the next. False at the end.
  Result<bool> Next();

  std::string_view key() const { return key_; }
  std::uint64_t sequence() const { return sequence_; }
  Kind kind() const { return kind_; }
  std::string_view value() const { return rows_.value(); }
  bool value_elsewhere() const { return rows_.value_elsewhere(); }
  /// The row has the user key of the row before.
  bool repeats_key() const { return repeats_; }
  std::uint64_t rows_seen() const { return rows_seen_; }
  const std::string& table_name() const { return table_->name(); }

 private:
  Status CheckOrder();
  Status TakeTrailer();
  Status Fail(Status why) const;

  const std::shared_ptr<const Table> table_;
  const TableMeta* const meta_;
  const std::string from_;
  const std::string until_;
  Budget* const budget_;
  BlockWalk walk_;
  Handle at_;
  Block block_;
  BlockRows rows_;
  bool in_block_ = false;
  bool any_ = false;
  std::string key_;
  std::string before_;
  std::uint64_t trailer_ = 0;
  std::uint64_t sequence_ = 0;
  Kind kind_ = Kind::kSet;
  bool repeats_ = false;
  std::uint64_t rows_seen_ = 0;
};

}  // namespace vellum::c1z::v3
