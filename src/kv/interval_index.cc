#include "kv/interval_index.h"

#include <utility>

#include "base/check.h"

namespace vellum::kv {
namespace {

/// Whether an end (exclusive; null: none) lies beyond `key`.
bool EndsAfter(const std::optional<std::string>* end, std::string_view key) { return !*end || **end > key; }

bool EndLess(const std::optional<std::string>& a, const std::optional<std::string>& b) {
  if (!a) return false;
  return !b || *a < *b;
}

/// By begin, then by end.
int Compare(const KeyInterval& a, const KeyInterval& b) {
  if (const int order = a.begin.compare(b.begin); order != 0) return order;
  if (a.end == b.end) return 0;
  return EndLess(a.end, b.end) ? -1 : 1;
}

bool IsSingleKey(const KeyInterval& interval) {
  return interval.end && interval.end->size() == interval.begin.size() + 1 && interval.end->back() == '\0' &&
         interval.end->compare(0, interval.begin.size(), interval.begin) == 0;
}

}  // namespace

/// A treap: ordered by interval, and a heap by random priorities, which keeps it balanced without bookkeeping.
struct IntervalIndex::Node {
  Bucket bucket;
  std::uint64_t priority = 0;
  const std::optional<std::string>* max_end = nullptr;  ///< The greatest end in this subtree; points into it.
  std::unique_ptr<Node> left;
  std::unique_ptr<Node> right;

  void Update() {
    max_end = &bucket.interval.end;
    for (const Node* child : {left.get(), right.get()}) {
      if (child != nullptr && EndLess(*max_end, *child->max_end)) max_end = child->max_end;
    }
  }

  static void Split(std::unique_ptr<Node> node, const KeyInterval& at, std::unique_ptr<Node>* below,
                    std::unique_ptr<Node>* above) {
    if (node == nullptr) {
      below->reset();
      above->reset();
      return;
    }
    std::unique_ptr<Node> rest;
    if (Compare(node->bucket.interval, at) < 0) {
      Split(std::move(node->right), at, &node->right, &rest);
      node->Update();
      *above = std::move(rest);
      *below = std::move(node);
    } else {
      Split(std::move(node->left), at, &rest, &node->left);
      node->Update();
      *below = std::move(rest);
      *above = std::move(node);
    }
  }

  static std::unique_ptr<Node> Merge(std::unique_ptr<Node> below, std::unique_ptr<Node> above) {
    if (below == nullptr) return above;
    if (above == nullptr) return below;
    if (below->priority > above->priority) {
      below->right = Merge(std::move(below->right), std::move(above));
      below->Update();
      return below;
    }
    above->left = Merge(std::move(below), std::move(above->left));
    above->Update();
    return above;
  }

  /// Puts `fresh`, whose interval must not be there yet, where its priority belongs.
  static std::unique_ptr<Node> Insert(std::unique_ptr<Node> node, std::unique_ptr<Node> fresh) {
    if (node == nullptr || fresh->priority > node->priority) {
      Split(std::move(node), fresh->bucket.interval, &fresh->left, &fresh->right);
      fresh->Update();
      return fresh;
    }
    std::unique_ptr<Node>& side = Compare(fresh->bucket.interval, node->bucket.interval) < 0 ? node->left : node->right;
    side = Insert(std::move(side), std::move(fresh));
    node->Update();
    return node;
  }

  static std::unique_ptr<Node> Erase(std::unique_ptr<Node> node, const KeyInterval& interval) {
    if (node == nullptr) return nullptr;
    const int order = Compare(interval, node->bucket.interval);
    if (order == 0) return Merge(std::move(node->left), std::move(node->right));
    std::unique_ptr<Node>& side = order < 0 ? node->left : node->right;
    side = Erase(std::move(side), interval);
    node->Update();
    return node;
  }

  void Find(std::string_view key, std::vector<const Bucket*>* found) const {
    if (!EndsAfter(max_end, key)) return;
    if (left != nullptr) left->Find(key, found);
    if (bucket.interval.begin > key) return;
    if (EndsAfter(&bucket.interval.end, key)) found->push_back(&bucket);
    if (right != nullptr) right->Find(key, found);
  }
};

IntervalIndex::IntervalIndex() = default;
IntervalIndex::~IntervalIndex() = default;

void IntervalIndex::FindBuckets(std::string_view key) {
  if (const auto it = keys_.find(key); it != keys_.end()) found_.push_back(it->second.get());
  if (root_ != nullptr) root_->Find(key, &found_);
}

IntervalIndex::Bucket* IntervalIndex::BucketFor(const KeyInterval& interval) {
  if (IsSingleKey(interval)) {
    std::unique_ptr<Bucket>& bucket = keys_[interval.begin];
    if (bucket == nullptr) bucket = std::make_unique<Bucket>(Bucket{interval, /*single_key=*/true, {}});
    return bucket.get();
  }
  for (Node* node = root_.get(); node != nullptr;) {
    const int order = Compare(interval, node->bucket.interval);
    if (order == 0) return &node->bucket;
    node = order < 0 ? node->left.get() : node->right.get();
  }
  auto fresh = std::make_unique<Node>();
  fresh->bucket.interval = interval;
  priority_seed_ = priority_seed_ * 6364136223846793005u + 1442695040888963407u;
  fresh->priority = priority_seed_ ^ (priority_seed_ >> 29);
  Bucket* bucket = &fresh->bucket;
  root_ = Node::Insert(std::move(root_), std::move(fresh));
  return bucket;
}

void IntervalIndex::DropBucket(Bucket* bucket) {
  if (bucket->single_key) {
    keys_.erase(keys_.find(bucket->interval.begin));
    return;
  }
  const KeyInterval interval = bucket->interval;  // the node that holds it dies on the way
  root_ = Node::Erase(std::move(root_), interval);
}

void IntervalIndex::Insert(const KeyInterval& interval, Item* item) {
  VELLUM_DCHECK(item->bucket == nullptr);
  item->bucket = BucketFor(interval);
  item->slot = item->bucket->items.size();
  item->bucket->items.push_back(item);
  ++size_;
}

void IntervalIndex::Remove(Item* item) {
  Bucket* const bucket = std::exchange(item->bucket, nullptr);
  if (bucket == nullptr) return;
  Item* const last = bucket->items.back();
  bucket->items[item->slot] = last;
  last->slot = item->slot;
  bucket->items.pop_back();
  --size_;
  if (bucket->items.empty()) DropBucket(bucket);
}

}  // namespace vellum::kv
