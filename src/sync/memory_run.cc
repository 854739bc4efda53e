#include "sync/memory_run.h"

#include <algorithm>
#include <bit>
#include <cstring>

namespace vellum::sync {
namespace {

constexpr std::size_t kWordBytes = 8;
/// So few are sorted by comparing whole keys.
constexpr std::ptrdiff_t kFew = 12;
/// How far ahead bytes are fetched while entries are walked.
constexpr std::ptrdiff_t kAhead = 16;

}  // namespace

void MemoryRun::Entry::Load(std::size_t depth) {
  std::uint64_t loaded = 0;
  if (key_size >= depth + kWordBytes) {
    std::memcpy(&loaded, bytes + depth, kWordBytes);
  } else if (key_size > depth) {
    std::memcpy(&loaded, bytes + depth, key_size - depth);
  }
  if constexpr (std::endian::native == std::endian::little) loaded = __builtin_bswap64(loaded);
  word = loaded;
}

std::size_t MemoryRun::Entry::Left(std::size_t depth) const {
  return key_size <= depth ? 0 : std::min<std::size_t>(kWordBytes + 1, key_size - depth);
}

void MemoryRun::Add(std::string_view key, std::string_view value) {
  char* const bytes = Allocate(key.size() + value.size());
  std::memcpy(bytes, key.data(), key.size());
  if (!value.empty()) std::memcpy(bytes + key.size(), value.data(), value.size());
  entries_.push_back({0, bytes, static_cast<std::uint32_t>(key.size()), static_cast<std::uint32_t>(value.size()),
                      static_cast<std::uint32_t>(entries_.size())});
}

/// Sorts entries whose keys agree in their first `depth` bytes, a word at a time: by the word, then each group of equal words
/// by the next one. Real keys have long parts in common, so most words of most groups are found equal in one pass.
void MemoryRun::SortFrom(Entry* first, Entry* last, std::size_t depth) {
  for (;; depth += kWordBytes) {
    if (last - first <= kFew) {
      std::sort(first, last, [depth](const Entry& a, const Entry& b) {
        const int order = a.key().substr(std::min<std::size_t>(depth, a.key_size))
                              .compare(b.key().substr(std::min<std::size_t>(depth, b.key_size)));
        return order != 0 ? order < 0 : a.sequence > b.sequence;
      });
      for (Entry* each = first; each + 1 < last; ++each) repeated_ = repeated_ || each->key() == (each + 1)->key();
      return;
    }
    bool same = true;
    for (Entry* each = first; each != last; ++each) {
      if (last - each > kAhead) __builtin_prefetch(each[kAhead].bytes + depth);
      each->Load(depth);
      same = same && each->word == first->word && each->Left(depth) > kWordBytes;
    }
    if (!same) break;
  }
  // Where words are equal, a key that ends is shorter than one that goes on, and of two that end the shorter comes first; those
  // that are equal to the end are the same key: the last put first.
  const auto before = [depth](const Entry& a, const Entry& b) {
    if (a.word != b.word) return a.word < b.word;
    const std::size_t left = a.Left(depth);
    if (left != b.Left(depth)) return left < b.Left(depth);
    return left <= kWordBytes && a.sequence > b.sequence;
  };
  std::sort(first, last, before);
  for (Entry* group = first; group != last;) {
    Entry* end = group + 1;
    const std::size_t left = group->Left(depth);
    while (end != last && end->word == group->word && end->Left(depth) == left) ++end;
    if (end - group > 1) {
      if (left > kWordBytes) {
        SortFrom(group, end, depth + kWordBytes);
      } else {
        repeated_ = true;
      }
    }
    group = end;
  }
}

void MemoryRun::Sort() {
  SortFrom(entries_.data(), entries_.data() + entries_.size(), 0);
  if (!repeated_) return;
  entries_.erase(std::unique(entries_.begin(), entries_.end(),
                             [](const Entry& a, const Entry& b) { return a.key() == b.key(); }),
                 entries_.end());
}

std::size_t MemoryRun::LowerBound(std::string_view key) const {
  const auto at = std::lower_bound(entries_.begin(), entries_.end(), key,
                                   [](const Entry& entry, std::string_view wanted) { return entry.key() < wanted; });
  return static_cast<std::size_t>(at - entries_.begin());
}

char* MemoryRun::Allocate(std::size_t size) {
  bytes_ += size;
  if (size > left_) {
    const std::size_t block = std::max(size, kBlockBytes);
    blocks_.push_back(std::shared_ptr<char[]>(new char[block]));
    at_ = blocks_.back().get();
    left_ = block;
  }
  char* const bytes = at_;
  at_ += size;
  left_ -= size;
  return bytes;
}

}  // namespace vellum::sync
