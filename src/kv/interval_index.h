#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "kv/schema.h"

namespace vellum::kv {

/// Finds everything that is filed under an interval containing a key: items under one key by hashing, items under
/// ranges by a balanced tree over the distinct ranges that knows the greatest end below each node. A key's visit costs
/// O(1 + log ranges + matches) expected, filing and removing O(1 + log ranges). Not thread-safe.
class IntervalIndex {
 public:
  struct Bucket;
  /// Derive from this what is to be filed. An item can be filed once at a time, and must be removed before it dies.
  struct Item {
    Bucket* bucket = nullptr;  ///< Null: not filed. Maintained by the index, as `slot`.
    std::size_t slot = 0;
  };
  /// The items of one interval.
  struct Bucket {
    KeyInterval interval;
    bool single_key = false;
    std::vector<Item*> items;
  };

  IntervalIndex();
  ~IntervalIndex();
  IntervalIndex(const IntervalIndex&) = delete;
  IntervalIndex& operator=(const IntervalIndex&) = delete;

  void Insert(const KeyInterval& interval, Item* item);
  /// Does nothing if the item is not filed.
  void Remove(Item* item);

  /// Calls `visit(Item*)` once for each item whose interval contains `key`. It must not change the index.
  template <typename Visit>
  void VisitMatches(std::string_view key, Visit&& visit) {
    found_.clear();
    FindBuckets(key);
    for (const Bucket* bucket : found_) {
      for (Item* item : bucket->items) visit(item);
    }
  }

  std::size_t size() const { return size_; }

 private:
  struct Node;
  struct KeyHash {
    using is_transparent = void;
    std::size_t operator()(std::string_view key) const { return std::hash<std::string_view>()(key); }
  };

  void FindBuckets(std::string_view key);
  Bucket* BucketFor(const KeyInterval& interval);
  void DropBucket(Bucket* bucket);

  std::unordered_map<std::string, std::unique_ptr<Bucket>, KeyHash, std::equal_to<>> keys_;
  std::unique_ptr<Node> root_;
  std::uint64_t priority_seed_ = 0;
  std::size_t size_ = 0;
  std::vector<const Bucket*> found_;  ///< Of the visit that is running; kept for its capacity.
};

}  // namespace vellum::kv
