#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string_view>
#include <vector>

namespace vellum::sync {

/// Keys and values in memory, to be sorted once: bytes in blocks, and what is needed to sort them. A copy shares the bytes, which
/// never change; nothing may be added to it. Not thread-safe.
class MemoryRun {
 public:
  /// What an entry costs beside its bytes.
  static constexpr std::size_t kEntryOverhead = 32;

  void Add(std::string_view key, std::string_view value);
  /// Sorts by key and drops all but the last put of each.
  void Sort();

  std::size_t size() const { return entries_.size(); }
  std::size_t bytes() const { return bytes_ + entries_.size() * kEntryOverhead; }
  std::string_view key(std::size_t i) const { return entries_[i].key(); }
  std::string_view value(std::size_t i) const { return entries_[i].value(); }
  /// Fetches the bytes of an entry that will be asked for soon: sorted entries lie anywhere in memory.
  void Expect(std::size_t i) const {
    if (i >= entries_.size()) return;
    const Entry& entry = entries_[i];
    for (std::size_t at = 0; at < entry.key_size + entry.value_size && at < kExpectedBytes; at += kLineBytes) {
      __builtin_prefetch(entry.bytes + at);
    }
  }
  /// After Sort: the first entry whose key is not below `key`.
  std::size_t LowerBound(std::string_view key) const;

 private:
  struct Entry {
    /// The eight bytes of the key that are being looked at: comparing keys costs little while it decides.
    std::uint64_t word;
    const char* bytes;
    std::uint32_t key_size;
    std::uint32_t value_size;
    std::uint32_t sequence;

    std::string_view key() const { return {bytes, key_size}; }
    std::string_view value() const { return {bytes + key_size, value_size}; }
    /// Fills `word`; bytes behind the end count as zero.
    void Load(std::size_t depth);
    /// How much of the key there is from `depth` on; nine: more than a word.
    std::size_t Left(std::size_t depth) const;
  };

  void SortFrom(Entry* first, Entry* last, std::size_t depth);
  char* Allocate(std::size_t size);

  static constexpr std::size_t kBlockBytes = 1u << 20;
  static constexpr std::size_t kLineBytes = 64;
  static constexpr std::size_t kExpectedBytes = 512;
  std::vector<std::shared_ptr<char[]>> blocks_;
  char* at_ = nullptr;
  std::size_t left_ = 0;
  std::size_t bytes_ = 0;
  std::vector<Entry> entries_;
  bool repeated_ = false;  ///< Sorting has seen a key twice.
};

}  // namespace vellum::sync
