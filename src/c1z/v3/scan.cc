#include "c1z/v3/scan.h"

#include <algorithm>

#include "base/bytes.h"

namespace vellum::c1z::v3 {
namespace {

constexpr std::uint64_t kObsoleteBit = 0x40;
constexpr std::uint8_t kMerge = 2;

/// Where a value with a prefix byte lies: its two highest bits.
enum Where : std::uint8_t { kHere = 0, kInBlob = 1, kInValueBlock = 2 };

}  // namespace

Status BlockRows::Start(std::string_view bytes, std::uint32_t version) {
  version_ = version;
  row_ = 0;
  if (version >= 5) {
    VELLUM_ASSIGN_OR_RETURN(columns_, ParseDataBlock(bytes));
    assembled_.assign(columns_.prefix.block_prefix());
    return {};
  }
  VELLUM_ASSIGN_OR_RETURN(rows_, RowBlock::Start(bytes));
  return {};
}

Result<bool> BlockRows::Next() { return version_ >= 5 ? NextColumnar() : NextRow(); }

Status BlockRows::TakeValue(std::string_view stored, bool prefixed) {
  elsewhere_ = false;
  value_ = stored;
  if (!prefixed) return {};
  if (stored.empty()) return Damaged("a value lacks the byte that says where it lies");
  const auto where = static_cast<std::uint8_t>(stored[0]) >> 6;
  value_.remove_prefix(1);
  if (where == kHere) return {};
  if (where == kInBlob) return Refused("a value lies in a blob file, which is not read");
  if (where != kInValueBlock) return Damaged("a value lies in a place of the kind 3, which does not exist");
  elsewhere_ = true;
  return {};
}

Result<bool> BlockRows::NextColumnar() {
  if (row_ == columns_.rows) return false;
  const std::uint32_t row = row_++;
  const PrefixColumn& prefix = columns_.prefix;
  const std::string_view suffix = prefix.suffix(row);
  if (prefix.starts_bundle(row)) {
    assembled_.resize(prefix.block_prefix().size());
    assembled_ += prefix.bundle_prefix(row);
    bundle_prefix_ = assembled_.size();
    assembled_ += suffix;
  } else if (!suffix.empty()) {  // else the key of the row before, again
    assembled_.resize(bundle_prefix_);
    assembled_ += suffix;
  }
  const std::string_view more = columns_.suffix[row];
  if (!more.empty()) return Refused("a key of row " + std::to_string(row) + " has a suffix, which these keys do not have");
  key_ = assembled_;
  if (key_.size() > columns_.key_bytes_max) {
    return Damaged("the key of row " + std::to_string(row) + " has " + std::to_string(key_.size()) +
                   " bytes where the longest of its block has " + std::to_string(columns_.key_bytes_max));
  }
  trailer_ = columns_.trailer[row];
  VELLUM_TRY(TakeValue(columns_.value[row], columns_.value_external[row]));
  return true;
}

Result<bool> BlockRows::NextRow() {
  VELLUM_ASSIGN_OR_RETURN(const bool any, rows_.Next());
  if (!any) return false;
  const std::string_view key = rows_.key();
  if (key.size() < 8) return Damaged("an internal key has " + std::to_string(key.size()) + " bytes: at least 8 are needed");
  key_ = key.substr(0, key.size() - 8);
  trailer_ = LoadLe<std::uint64_t>(key.data() + key_.size());
  if (version_ >= 4) trailer_ &= ~kObsoleteBit;
  const bool prefixed = (version_ == 3 || version_ == 4) && (trailer_ & 0xFF) == static_cast<std::uint64_t>(Kind::kSet);
  VELLUM_TRY(TakeValue(rows_.value(), prefixed));
  return true;
}

TableScan::TableScan(std::shared_ptr<const Table> table, const TableMeta* meta, std::string_view from, std::string_view until,
                     Budget* budget)
    : table_(std::move(table)),
      meta_(meta),
      from_(meta->is_virtual() ? std::max<std::string>(std::string(from), meta->smallest.user) : std::string(from)),
      until_(until),
      budget_(budget),
      walk_(table_.get(), from_) {}

Status TableScan::Fail(Status why) const {
  return std::move(why).WithContext(Printable(table_->name()) + ", the block at " + std::to_string(at_.offset) + ", key " +
                                    Printable(rows_.key()));
}

Status TableScan::CheckOrder() {
  const std::string_view key = rows_.key();
  const std::uint64_t trailer = rows_.trailer();
  repeats_ = false;
  if (any_) {
    const int order = key.compare(key_);
    repeats_ = order == 0;
    if (order < 0 || (order == 0 && trailer >= trailer_)) return Fail(Damaged("it does not follow the row before it"));
  }
  any_ = true;
  if (!repeats_) key_.assign(key);
  trailer_ = trailer;
  return {};
}

Status TableScan::TakeTrailer() {
  const auto kind = static_cast<std::uint8_t>(trailer_);
  switch (kind) {
    case static_cast<std::uint8_t>(Kind::kDelete):
    case static_cast<std::uint8_t>(Kind::kSet):
    case static_cast<std::uint8_t>(Kind::kSingleDelete):
    case static_cast<std::uint8_t>(Kind::kSetWithDelete):
    case static_cast<std::uint8_t>(Kind::kDeleteSized): kind_ = static_cast<Kind>(kind); break;
    case kMerge: return Fail(Refused("an entry is to be merged with older ones (kind 2), which is not done"));
    default: return Fail(Refused("an entry of the kind " + std::to_string(kind) + " is not known"));
  }
  sequence_ = trailer_ >> 8;
  if (const auto override = meta_->sequence_override()) {
    sequence_ = *override;
  } else if (meta_->has_sequences && (sequence_ < meta_->smallest_sequence || sequence_ > meta_->largest_sequence)) {
    return Fail(Damaged("the sequence number " + std::to_string(sequence_) + " does not lie between the table's " +
                        std::to_string(meta_->smallest_sequence) + " and " + std::to_string(meta_->largest_sequence)));
  }
  return {};
}

Result<bool> TableScan::Next() {
  for (;;) {
    if (!in_block_) {
      VELLUM_ASSIGN_OR_RETURN(const bool any, walk_.Next(&at_));
      if (!any) return false;
      VELLUM_TRY(budget_->CheckTime());
      VELLUM_TRY(table_->ReadBlock(at_, "a data block", &block_));
      if (Status started = rows_.Start(block_.bytes, table_->footer().version); !started.ok()) return Fail(std::move(started));
      in_block_ = true;
    }
    auto any = rows_.Next();
    if (!any.ok()) return Fail(std::move(any).error());
    if (!*any) {
      in_block_ = false;
      continue;
    }
    ++rows_seen_;
    VELLUM_TRY(budget_->CountEntry());
    VELLUM_TRY(CheckOrder());
    // Scans begin where the separators say. One that lies would hide keys from those that begin behind it.
    if (key_ > walk_.separator()) return Fail(Damaged("it is above its block's separator " + Printable(walk_.separator())));
    VELLUM_TRY(TakeTrailer());
    if (!repeats_) {
      const bool below = key_ < meta_->smallest.user;
      const int above = std::string_view(key_).compare(meta_->largest.user);
      const bool beyond = above > 0 || (above == 0 && meta_->largest_exclusive());
      if (!meta_->is_virtual() && (below || beyond)) {
        return Fail(Damaged("it lies outside the table's bounds, " + Printable(meta_->smallest.user) + " to " +
                            Printable(meta_->largest.user)));
      }
      if (beyond || (!until_.empty() && key_ >= until_)) return false;
    }
    if (key_ >= from_) return true;
  }
}

}  // namespace vellum::c1z::v3
