#include "c1z/pages.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

namespace vellum::c1z {
namespace {

constexpr int kDepthMax = 20;
constexpr std::size_t kHeaderBytes = 100;
constexpr std::uint64_t kPayloadMax = 256u << 20;
constexpr std::uint64_t kLockByte = 1u << 30;  ///< The page that holds it is never used.
constexpr std::size_t kMappedMax = 64u << 20;  ///< Pages that count as this process's memory at a time.

enum PageType : std::uint8_t { kInnerIndex = 2, kInnerTable = 5, kLeafIndex = 10, kLeafTable = 13 };

std::uint32_t Be16(const std::uint8_t* at) { return static_cast<std::uint32_t>(at[0]) << 8 | at[1]; }
std::uint32_t Be32(const std::uint8_t* at) { return Be16(at) << 16 | Be16(at + 2); }

/// SQLite's variable-length integers: big-endian groups of seven bits, the ninth byte whole.
bool TakeLongVarint(const std::uint8_t** at, const std::uint8_t* end, std::uint64_t* value) {
  *value = 0;
  for (int i = 0; i < 9; ++i) {
    if (*at == end) return false;
    const std::uint8_t byte = *(*at)++;
    *value = i == 8 ? *value << 8 | byte : *value << 7 | (byte & 0x7F);
    if (byte < 0x80) return true;
  }
  return true;
}

inline bool TakeVarint(const std::uint8_t** at, const std::uint8_t* end, std::uint64_t* value) {
  if (*at == end || **at >= 0x80) return TakeLongVarint(at, end, value);
  *value = *(*at)++;
  return true;
}

constexpr std::uint64_t kReserved = UINT64_MAX;

/// How many bytes of a value follow the header of a record, by its serial type.
std::uint64_t ValueBytes(std::uint64_t serial) {
  static constexpr std::uint8_t kBytes[] = {0, 1, 2, 3, 4, 6, 8, 8, 0, 0};
  if (serial >= 12) return (serial - 12) / 2;
  return serial < 10 ? kBytes[serial] : kReserved;
}

PageValue ToValue(std::uint64_t serial, std::string_view bytes) {
  PageValue value;
  if (serial >= 12) {
    value.kind = serial % 2 == 0 ? PageValue::Kind::kBlob : PageValue::Kind::kText;
    value.bytes = bytes;
  } else if (serial != 0) {
    value.kind = serial == 7 ? PageValue::Kind::kReal : PageValue::Kind::kInteger;
    // Big-endian with a sign; 8 and 9 are the numbers 0 and 1 without bytes.
    std::uint64_t number = !bytes.empty() && static_cast<std::int8_t>(bytes.front()) < 0 ? UINT64_MAX : 0;
    for (const char c : bytes) number = number << 8 | static_cast<std::uint8_t>(c);
    value.number = serial == 9 ? 1 : static_cast<std::int64_t>(number);
  }
  return value;
}

}  // namespace

bool ParseRecord(std::string_view record, std::vector<PageValue>* values) {
  const auto* at = reinterpret_cast<const std::uint8_t*>(record.data());
  const std::uint8_t* const begin = at;
  values->clear();
  std::uint64_t header_bytes = 0;
  if (!TakeVarint(&at, begin + record.size(), &header_bytes) || header_bytes > record.size()) return false;
  const std::uint8_t* const header_end = begin + header_bytes;
  std::uint64_t value_at = header_bytes;
  while (at < header_end) {
    std::uint64_t serial = 0;
    if (!TakeVarint(&at, header_end, &serial)) return false;
    const std::uint64_t value_bytes = ValueBytes(serial);
    if (value_bytes > record.size() - value_at) return false;
    values->push_back(ToValue(serial, {record.data() + value_at, static_cast<std::size_t>(value_bytes)}));
    value_at += value_bytes;
  }
  // SQLite does not read a row with bytes that are no value's, either.
  return at == header_end && value_at == record.size();
}

struct DatabasePages::Impl {
  const std::uint8_t* bytes = nullptr;
  std::size_t size = 0;
  std::uint32_t page_bytes = 0;
  std::uint32_t usable = 0;
  std::uint32_t pages = 0;
  std::vector<bool> entered;
  std::size_t mapped_bytes = 0;
  PageRecord record;
  std::string spanning;  ///< Of a record that spans pages.

  ~Impl() {
    if (bytes != nullptr) ::munmap(const_cast<std::uint8_t*>(bytes), size);
  }

  static Status Damaged(std::uint32_t page, const char* what) {
    return InvalidArgument("page " + std::to_string(page) + " of the database " + what);
  }
  const std::uint8_t* Page(std::uint32_t number) const {
    return bytes + static_cast<std::size_t>(number - 1) * page_bytes;
  }

  Status Enter(std::uint32_t page) {
    if (page == 0 || page > pages) return Damaged(page, "does not exist");
    if (entered[page]) return Damaged(page, "is used twice");
    entered[page] = true;
    mapped_bytes += page_bytes;
    if (mapped_bytes >= kMappedMax) {
      // They stay in the system's cache, where whoever still has views into them finds them.
      ::madvise(const_cast<std::uint8_t*>(bytes), size, MADV_DONTNEED);
      mapped_bytes = 0;
    }
    return {};
  }

  /// Bytes of a page, from one offset up to another.
  struct Extent {
    std::uint32_t begin;
    std::uint32_t end;
  };
  std::vector<Extent> leaf_used;

  /// A payload: its bytes in one piece, and how many of them lie in its cell.
  struct Payload {
    std::string_view view;
    std::uint32_t in_cell = 0;  ///< With the number of the page that has the rest, if there is one.
  };
  Result<Payload> TakePayload(std::uint32_t page, const std::uint8_t* at, std::uint64_t payload_bytes, bool table);
  Status WalkPage(std::uint32_t page, Tree tree, int depth, const Visit& visit);
  Status WalkCells(std::uint32_t page, const std::uint8_t* head, Tree tree, bool inner, int depth, const Visit& visit,
                   std::vector<Extent>* used);
  /// `end`: the offset behind the cell.
  Status WalkCell(std::uint32_t page, std::uint32_t offset, Tree tree, bool inner, int depth, const Visit& visit,
                  std::uint32_t* end);
  Status CheckSpace(std::uint32_t page, const std::uint8_t* head, std::vector<Extent>* used) const;
};

Result<DatabasePages::Impl::Payload> DatabasePages::Impl::TakePayload(std::uint32_t page, const std::uint8_t* at,
                                                                      std::uint64_t payload_bytes, bool table) {
  if (payload_bytes > kPayloadMax) return Damaged(page, "has a record that is too long");
  const std::uint64_t local_max = table ? usable - 35 : (usable - 12) * 64 / 255 - 23;
  const std::uint64_t local_min = (usable - 12) * 32 / 255 - 23;
  std::uint64_t local_bytes = payload_bytes;
  if (payload_bytes > local_max) {
    const std::uint64_t kept = local_min + (payload_bytes - local_min) % (usable - 4);
    local_bytes = kept <= local_max ? kept : local_min;
  }
  const std::uint8_t* const end = Page(page) + usable;
  const bool spans = local_bytes < payload_bytes;
  Payload payload;
  payload.in_cell = static_cast<std::uint32_t>(local_bytes) + (spans ? 4 : 0);
  if (end - at < static_cast<std::ptrdiff_t>(payload.in_cell)) {
    return Damaged(page, "has a record that does not fit in it");
  }
  payload.view = {reinterpret_cast<const char*>(at), static_cast<std::size_t>(local_bytes)};
  if (!spans) return payload;
  spanning.assign(payload.view);
  for (std::uint32_t next = Be32(at + local_bytes); spanning.size() < payload_bytes;) {
    VELLUM_TRY(Enter(next));
    const std::uint8_t* const rest = Page(next);
    const std::uint64_t take = std::min<std::uint64_t>(usable - 4, payload_bytes - spanning.size());
    spanning.append(reinterpret_cast<const char*>(rest + 4), static_cast<std::size_t>(take));
    next = Be32(rest);
    if (next != 0 && spanning.size() == payload_bytes) return Damaged(page, "has a record with more pages than it fills");
  }
  payload.view = spanning;
  return payload;
}

Status DatabasePages::Impl::WalkCell(std::uint32_t page, std::uint32_t offset, Tree tree, bool inner, int depth,
                                     const Visit& visit, std::uint32_t* end) {
  const std::uint8_t* const begin = Page(page);
  const std::uint8_t* at = begin + offset;
  const std::uint8_t* const page_end = begin + usable;
  const auto unfit = [page] { return Damaged(page, "has a cell that does not fit in it"); };
  if (inner) {
    if (page_end - at < 4) return unfit();
    VELLUM_TRY(WalkPage(Be32(at), tree, depth + 1, visit));
    at += 4;
    if (tree == Tree::kTable) {
      std::uint64_t divider = 0;  // the row id between the children
      if (!TakeVarint(&at, page_end, &divider)) return unfit();
      *end = static_cast<std::uint32_t>(at - begin);
      return {};
    }
  }
  std::uint64_t payload_bytes = 0;
  std::uint64_t row_id = 0;
  if (!TakeVarint(&at, page_end, &payload_bytes)) return unfit();
  if (tree == Tree::kTable && !TakeVarint(&at, page_end, &row_id)) return unfit();
  VELLUM_ASSIGN_OR_RETURN(const Payload taken, TakePayload(page, at, payload_bytes, tree == Tree::kTable));
  *end = static_cast<std::uint32_t>(at - begin) + taken.in_cell;
  *end = std::max(*end, offset + 4);  // no cell is smaller
  record.row_id = static_cast<std::int64_t>(row_id);
  record.bytes = taken.view;
  if (!ParseRecord(taken.view, &record.values)) return Damaged(page, "has a record whose values do not fit");
  return visit(record);
}

/// Cells and free blocks share no byte, and what lies between them is what the page's head says.
Status DatabasePages::Impl::CheckSpace(std::uint32_t page, const std::uint8_t* head, std::vector<Extent>* used) const {
  const auto bad = [page] { return Damaged(page, "has cells and free space that do not fit together"); };
  const std::uint32_t content = Be16(head + 5) == 0 ? 65536 : Be16(head + 5);
  for (std::uint32_t block = Be16(head + 1), last = 0; block != 0;) {
    if (block <= last || block < content || block + 4 > usable) return bad();
    const std::uint32_t block_bytes = Be16(Page(page) + block + 2);
    if (block_bytes < 4 || block + block_bytes > usable) return bad();
    used->push_back({block, block + block_bytes});
    last = block;
    block = Be16(Page(page) + block);
  }
  // Most pages were filled from their ends.
  const auto before = [](const Extent& a, const Extent& b) { return a.begin < b.begin; };
  std::reverse(used->begin(), used->end());
  if (!std::is_sorted(used->begin(), used->end(), before)) std::sort(used->begin(), used->end(), before);
  std::uint32_t gaps = 0;
  std::uint32_t at = content;
  for (const Extent& extent : *used) {
    if (extent.begin < at || extent.end > usable) return bad();
    gaps += extent.begin - at;
    at = extent.end;
  }
  gaps += usable - std::min(at, usable);
  return content <= usable && gaps == head[7] ? Status() : bad();
}

Status DatabasePages::Impl::WalkCells(std::uint32_t page, const std::uint8_t* head, Tree tree, bool inner, int depth,
                                      const Visit& visit, std::vector<Extent>* used) {
  const std::uint32_t cells = Be16(head + 3);
  const std::uint8_t* const pointers = head + (inner ? 12 : 8);
  const auto pointers_end = static_cast<std::uint32_t>(pointers - Page(page)) + 2 * cells;
  if (pointers_end > usable) return Damaged(page, "has more cells than fit in it");
  used->clear();
  used->reserve(cells);
  for (std::uint32_t cell = 0; cell < cells; ++cell) {
    const std::uint32_t offset = Be16(pointers + 2 * static_cast<std::size_t>(cell));
    if (offset < pointers_end || offset >= usable) return Damaged(page, "has a cell outside of it");
    used->push_back({offset, 0});
    VELLUM_TRY(WalkCell(page, offset, tree, inner, depth, visit, &used->back().end));
  }
  return CheckSpace(page, head, used);
}

Status DatabasePages::Impl::WalkPage(std::uint32_t page, Tree tree, int depth, const Visit& visit) {
  if (depth > kDepthMax) return Damaged(page, "lies too deep");
  VELLUM_TRY(Enter(page));
  const std::uint8_t* const head = Page(page) + (page == 1 ? kHeaderBytes : 0);
  const std::uint8_t leaf = tree == Tree::kTable ? kLeafTable : kLeafIndex;
  if (head[0] == leaf) return WalkCells(page, head, tree, /*inner=*/false, depth, visit, &leaf_used);
  if (head[0] != (tree == Tree::kTable ? kInnerTable : kInnerIndex)) {
    return Damaged(page, "is not of the kind that its tree has");
  }
  std::vector<Extent> used;  // of this level
  VELLUM_TRY(WalkCells(page, head, tree, /*inner=*/true, depth, visit, &used));
  return WalkPage(Be32(head + 8), tree, depth + 1, visit);
}

DatabasePages::DatabasePages(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
DatabasePages::~DatabasePages() = default;

Result<std::unique_ptr<DatabasePages>> DatabasePages::Open(const std::string& path) {
  const int fd = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (fd < 0) return FailedPrecondition("cannot open " + path + ": " + std::strerror(errno));
  struct stat status {};
  auto impl = std::make_unique<Impl>();
  if (::fstat(fd, &status) == 0 && status.st_size >= static_cast<off_t>(512)) {
    impl->size = static_cast<std::size_t>(status.st_size);
    const void* const mapped = ::mmap(nullptr, impl->size, PROT_READ, MAP_SHARED, fd, 0);
    if (mapped != MAP_FAILED) impl->bytes = static_cast<const std::uint8_t*>(mapped);
  }
  ::close(fd);
  if (impl->bytes == nullptr) return FailedPrecondition("cannot map " + path);
  const std::uint8_t* const header = impl->bytes;
  impl->page_bytes = Be16(header + 16) == 1 ? 65536 : Be16(header + 16);
  const bool power_of_two = (impl->page_bytes & (impl->page_bytes - 1)) == 0;
  if (impl->page_bytes < 512 || !power_of_two || impl->size % impl->page_bytes != 0 ||
      impl->size / impl->page_bytes > UINT32_MAX - 1) {
    return InvalidArgument("the database is no whole number of pages");
  }
  impl->usable = impl->page_bytes - header[20];
  impl->pages = static_cast<std::uint32_t>(impl->size / impl->page_bytes);
  if (impl->usable < 480 || Be32(header + 28) != impl->pages)
    return InvalidArgument("the database's header does not fit it");
  if (Be32(header + 56) != 1) return InvalidArgument("the database's text is not UTF-8");
  if (Be32(header + 52) != 0) return InvalidArgument("the database vacuums itself");
  impl->entered.resize(static_cast<std::size_t>(impl->pages) + 1);
  return std::unique_ptr<DatabasePages>(new DatabasePages(std::move(impl)));
}

Status DatabasePages::Walk(std::uint32_t root, Tree tree, const Visit& visit) {
  return impl_->WalkPage(root, tree, 0, visit);
}

Status DatabasePages::CheckFreePages() {
  std::uint32_t free = 0;
  for (std::uint32_t trunk = Be32(impl_->bytes + 32); trunk != 0;) {
    VELLUM_TRY(impl_->Enter(trunk));
    const std::uint8_t* const page = impl_->Page(trunk);
    const std::uint32_t leaves = Be32(page + 4);
    if (leaves > impl_->usable / 4 - 2) return Impl::Damaged(trunk, "lists more free pages than it can");
    for (std::uint32_t leaf = 0; leaf < leaves; ++leaf)
      VELLUM_TRY(impl_->Enter(Be32(page + 8 + 4 * static_cast<std::size_t>(leaf))));
    free += 1 + leaves;
    trunk = Be32(page);
  }
  if (free != Be32(impl_->bytes + 36)) return InvalidArgument("the database's header miscounts its free pages");
  const std::uint32_t lock_page = static_cast<std::uint32_t>(kLockByte / impl_->page_bytes) + 1;
  for (std::uint32_t page = 1; page <= impl_->pages; ++page) {
    if (!impl_->entered[page] && page != lock_page) return Impl::Damaged(page, "belongs to nothing");
  }
  return {};
}

std::uint32_t DatabasePages::page_bytes() const { return impl_->page_bytes; }
std::uint32_t DatabasePages::user_version() const { return Be32(impl_->bytes + 60); }
std::uint32_t DatabasePages::application_id() const { return Be32(impl_->bytes + 68); }

}  // namespace vellum::c1z
