#include "c1z/page_writer.h"

#include <algorithm>
#include <cstring>
#include <utility>

#include "base/check.h"

namespace vellum::c1z {
namespace {

constexpr std::size_t kPieceBytes = 256u << 10;
constexpr std::size_t kVarintBytesMax = 9;
constexpr std::uint32_t kPagesMax = 0xFFFFFFFE;
/// What those who read our files take (sqlite.cc).
constexpr std::size_t kRecordBytesMax = 256u << 20;
constexpr std::size_t kCellBytesMin = 4;

std::uint32_t GetBe32(std::string_view from) {
  std::uint32_t value = 0;
  for (std::size_t i = 0; i < 4; ++i) value = value << 8 | static_cast<std::uint8_t>(from[i]);
  return value;
}

void AppendVarint(std::string* out, std::uint64_t value) {
  char bytes[kVarintBytesMax];
  out->append(bytes, static_cast<std::size_t>(PutVarint(bytes, value) - bytes));
}

OpenPage::Type LeafType(TreeWriter::Kind kind) {
  return kind == TreeWriter::Kind::kTable ? OpenPage::Type::kLeafTable : OpenPage::Type::kLeafIndex;
}
OpenPage::Type InnerType(TreeWriter::Kind kind) {
  return kind == TreeWriter::Kind::kTable ? OpenPage::Type::kInnerTable : OpenPage::Type::kInnerIndex;
}

/// How much of a record stays in its leaf.
std::size_t LocalBytes(std::size_t record_bytes, std::size_t page_bytes, TreeWriter::Kind kind) {
  const std::size_t most = kind == TreeWriter::Kind::kTable ? page_bytes - 35 : (page_bytes - 12) * 64 / 255 - 23;
  if (record_bytes <= most) return record_bytes;
  const std::size_t least = (page_bytes - 12) * 32 / 255 - 23;
  const std::size_t kept = least + (record_bytes - least) % (page_bytes - 4);
  return kept <= most ? kept : least;
}

}  // namespace

void PutBe16(char* to, std::uint32_t value) {
  to[0] = static_cast<char>(value >> 8);
  to[1] = static_cast<char>(value);
}

void PutBe32(char* to, std::uint32_t value) {
  PutBe16(to, value >> 16);
  PutBe16(to + 2, value & 0xFFFF);
}

char* PutVarint(char* to, std::uint64_t value) {
  if (value >> 56 != 0) {
    // The ninth byte holds eight bits.
    to[8] = static_cast<char>(value);
    value >>= 8;
    for (int i = 7; i >= 0; --i, value >>= 7) to[i] = static_cast<char>(value | 0x80);
    return to + 9;
  }
  std::size_t bytes = 1;
  for (std::uint64_t left = value >> 7; left != 0; left >>= 7) ++bytes;
  for (std::size_t i = bytes; i-- > 0; value >>= 7) to[i] = static_cast<char>(value | (i + 1 == bytes ? 0 : 0x80));
  to[bytes - 1] &= 0x7F;
  return to + bytes;
}

PageStream::PageStream(Sink sink, Options options)
    : sink_(std::move(sink)),
      options_(options),
      lock_page_(static_cast<std::uint32_t>(options.lock_byte / options.page_bytes) + 1),
      next_(After(1)) {
  pending_.reserve(kPieceBytes + options.page_bytes);
}

Result<std::uint32_t> PageStream::Append(std::string_view page) {
  VELLUM_DCHECK(page.size() == options_.page_bytes);
  if (next_ >= kPagesMax) return ResourceExhausted("a database has at most 4294967294 pages");
  if (next_ != last_ + 1) pending_.append(options_.page_bytes, '\0');  // the page of the locks
  pending_.append(page);
  last_ = next_;
  next_ = After(last_);
  if (pending_.size() >= kPieceBytes) VELLUM_TRY(Flush());
  return last_;
}

Status PageStream::Flush() {
  VELLUM_TRY(sink_(pending_));
  pending_.clear();
  return {};
}

void RecordBytes::Clear() {
  types_.clear();
  body_.clear();
}

void RecordBytes::Add(const PageValue& value) {
  switch (value.kind) {
    case PageValue::Kind::kNull: types_.push_back('\0'); return;
    case PageValue::Kind::kText: AppendVarint(&types_, 13 + 2 * value.bytes.size()); break;
    case PageValue::Kind::kBlob: AppendVarint(&types_, 12 + 2 * value.bytes.size()); break;
    case PageValue::Kind::kReal: VELLUM_CHECK(false);  // nothing here has any
    case PageValue::Kind::kInteger: {
      if (value.number == 0 || value.number == 1) {  // kept in the type
        types_.push_back(value.number == 0 ? '\x08' : '\x09');
        return;
      }
      const auto number = static_cast<std::uint64_t>(value.number);
      const std::uint64_t magnitude = value.number < 0 ? ~number : number;
      static constexpr std::pair<int, char> kWidths[] = {{8, 1}, {16, 2}, {24, 3}, {32, 4}, {48, 5}, {64, 6}};
      for (const auto& [bits, type] : kWidths) {
        if (magnitude >> (bits - 1) != 0) continue;
        types_.push_back(type);
        for (int shift = bits - 8; shift >= 0; shift -= 8) body_.push_back(static_cast<char>(number >> shift));
        return;
      }
      return;
    }
  }
  body_.append(value.bytes);
}

std::string_view RecordBytes::Finish() {
  // The head's length counts itself.
  std::size_t head = types_.size() + 1;
  if (head > 127) head = types_.size() + 2;
  if (head > 16383) head = types_.size() + 3;
  whole_.clear();
  AppendVarint(&whole_, head);
  whole_.append(types_).append(body_);
  return whole_;
}

OpenPage::OpenPage(std::uint32_t page_bytes, Type type, std::uint32_t reserved)
    : type_(type), reserved_(reserved), bytes_(page_bytes, '\0') {
  Clear();
}

char* OpenPage::Add(std::size_t cell_bytes) {
  VELLUM_DCHECK(Fits(cell_bytes));
  top_ -= cell_bytes;
  last_bytes_ = cell_bytes;
  PutBe16(bytes_.data() + place_, static_cast<std::uint32_t>(top_));
  place_ += 2;
  ++cells_;
  return bytes_.data() + top_;
}

void OpenPage::DropLast() {
  VELLUM_DCHECK(last_bytes_ > 0);
  std::fill_n(bytes_.begin() + static_cast<std::ptrdiff_t>(top_), last_bytes_, '\0');
  top_ += last_bytes_;
  last_bytes_ = 0;
  place_ -= 2;
  PutBe16(bytes_.data() + place_, 0);
  --cells_;
}

std::string_view OpenPage::Seal(std::uint32_t right) {
  char* const head = bytes_.data() + reserved_;
  head[0] = static_cast<char>(type_);
  PutBe16(head + 3, cells_);
  PutBe16(head + 5, static_cast<std::uint32_t>(top_ & 0xFFFF));
  if (head_bytes() == 12) PutBe32(head + 8, right);
  return bytes_;
}

void OpenPage::Clear() {
  bytes_.assign(bytes_.size(), '\0');
  place_ = reserved_ + head_bytes();
  top_ = bytes_.size();
  last_bytes_ = 0;
  cells_ = 0;
}

bool OpenPage::CopyTo(OpenPage* other) const {
  const std::size_t first_place = reserved_ + head_bytes();
  if (other->place_ + (place_ - first_place) > top_) return false;
  bytes_.copy(other->bytes_.data() + other->place_, place_ - first_place, first_place);
  bytes_.copy(other->bytes_.data() + top_, bytes_.size() - top_, top_);
  other->place_ += place_ - first_place;
  other->top_ = top_;
  other->cells_ = cells_;
  return true;
}

TreeWriter::TreeWriter(PageStream* stream, Kind kind)
    : stream_(stream), kind_(kind), leaf_(stream->page_bytes(), LeafType(kind)) {}

Status TreeWriter::AddRow(std::int64_t row_id, std::string_view record) {
  char head[2 * kVarintBytesMax];
  char* const end = PutVarint(PutVarint(head, record.size()), static_cast<std::uint64_t>(row_id));
  VELLUM_TRY(AddCell({head, static_cast<std::size_t>(end - head)}, record));
  last_row_ = row_id;
  return {};
}

Status TreeWriter::AddEntry(std::string_view record) {
  char head[kVarintBytesMax];
  return AddCell({head, static_cast<std::size_t>(PutVarint(head, record.size()) - head)}, record);
}

Status TreeWriter::AddCell(std::string_view head, std::string_view record) {
  if (record.size() > kRecordBytesMax) {
    return ResourceExhausted("a row has " + std::to_string(record.size()) + " bytes: the limit is " +
                             std::to_string(kRecordBytesMax));
  }
  const std::size_t local = LocalBytes(record.size(), stream_->page_bytes(), kind_);
  std::uint32_t rest = 0;
  if (local < record.size()) {
    VELLUM_ASSIGN_OR_RETURN(rest, Spill(record.substr(local)));
  }
  const std::size_t cell_bytes = std::max(kCellBytesMin, head.size() + local + (rest != 0 ? 4 : 0));
  if (!leaf_.Fits(cell_bytes)) VELLUM_TRY(FinishLeaf());
  char* const cell = leaf_.Add(cell_bytes);
  std::memcpy(cell, head.data(), head.size());
  std::memcpy(cell + head.size(), record.data(), local);
  if (rest != 0) PutBe32(cell + head.size() + local, rest);
  return {};
}

Result<std::uint32_t> TreeWriter::Spill(std::string_view rest) {
  const std::uint32_t first = stream_->next();
  while (!rest.empty()) {
    const std::size_t take = std::min<std::size_t>(rest.size(), stream_->page_bytes() - 4);
    overflow_.assign(stream_->page_bytes(), '\0');
    if (take < rest.size()) PutBe32(overflow_.data(), stream_->After(stream_->next()));
    std::memcpy(overflow_.data() + 4, rest.data(), take);
    VELLUM_TRY(stream_->Append(overflow_).error());
    rest.remove_prefix(take);
  }
  return first;
}

Status TreeWriter::FinishLeaf() {
  char row[kVarintBytesMax];
  std::string divider;
  if (kind_ == Kind::kTable) {
    divider.assign(row, static_cast<std::size_t>(PutVarint(row, static_cast<std::uint64_t>(last_row_)) - row));
  } else {
    // An index keeps what divides two leaves above them only. At least four entries fit into any page.
    divider = leaf_.last();
    leaf_.DropLast();
  }
  VELLUM_ASSIGN_OR_RETURN(const std::uint32_t page, Write(&leaf_, 0));
  return Lift(0, page, divider);
}

Status TreeWriter::Lift(std::size_t level, std::uint32_t page, std::string_view divider) {
  if (level == levels_.size()) levels_.emplace_back(stream_->page_bytes(), InnerType(kind_));
  OpenPage& inner = levels_[level];
  const std::size_t cell_bytes = 4 + divider.size();
  if (!inner.Fits(cell_bytes)) {
    // Its last page goes to the right of its cells, and what came behind that one goes up.
    const std::string up(inner.last().substr(4));
    const std::uint32_t right = GetBe32(inner.last());
    inner.DropLast();
    VELLUM_ASSIGN_OR_RETURN(const std::uint32_t written, Write(&inner, right));
    VELLUM_TRY(Lift(level + 1, written, up));
  }
  char* const cell = inner.Add(cell_bytes);
  PutBe32(cell, page);
  std::memcpy(cell + 4, divider.data(), divider.size());
  return {};
}

Result<std::uint32_t> TreeWriter::Write(OpenPage* page, std::uint32_t right) {
  VELLUM_ASSIGN_OR_RETURN(const std::uint32_t number, stream_->Append(page->Seal(right)));
  page->Clear();
  return number;
}

Result<std::uint32_t> TreeWriter::Finish() {
  VELLUM_ASSIGN_OR_RETURN(std::uint32_t root, Write(&leaf_, 0));
  for (OpenPage& level : levels_) {
    VELLUM_ASSIGN_OR_RETURN(root, Write(&level, root));
  }
  return root;
}

Result<std::string> TreeWriter::FinishAsFirst(std::uint32_t reserved) {
  std::uint32_t right = 0;
  OpenPage* top = &leaf_;
  for (OpenPage& level : levels_) {
    VELLUM_ASSIGN_OR_RETURN(right, Write(top, right));
    top = &level;
  }
  OpenPage first(stream_->page_bytes(), top->type(), reserved);
  if (top->CopyTo(&first)) return std::string(first.Seal(right));
  // As SQLite leaves a root that has less room than the only page below it.
  VELLUM_ASSIGN_OR_RETURN(right, Write(top, right));
  return std::string(OpenPage(stream_->page_bytes(), InnerType(kind_), reserved).Seal(right));
}

}  // namespace vellum::c1z
