#include "kv/count_node.h"

#include <algorithm>

#include "base/check.h"

namespace vellum::kv::count {
namespace {

using Node = CountTree::Node;

constexpr std::size_t kNodeMax = 32;
/// Two neighbours that together have fewer entries than this become one.
constexpr std::size_t kJoinBelow = 20;

}  // namespace

Bounds::Bounds(const std::vector<std::string_view>& sorted) {
  VELLUM_DCHECK(!sorted.empty());
  // What the first and the last have in common, all between them have too.
  const auto first = sorted.front(), last = sorted.back();
  const auto shared = std::mismatch(first.begin(), first.end(), last.begin(), last.end()).first;
  prefix_.assign(first.begin(), shared);
  std::size_t size = 0;
  for (const auto bound : sorted) size += bound.size() - prefix_.size();
  text_.reserve(size);
  ends_.reserve(sorted.size());
  for (const auto bound : sorted) {
    text_.append(bound.substr(prefix_.size()));
    ends_.push_back(text_.size());
  }
}

std::string_view Bounds::Rest(std::size_t index) const {
  const std::size_t begin = index == 0 ? 0 : ends_[index - 1];
  return std::string_view(text_).substr(begin, ends_[index] - begin);
}

std::string Bounds::At(std::size_t index) const {
  const auto rest = Rest(index);
  std::string bound;
  bound.reserve(prefix_.size() + rest.size());
  bound.append(prefix_).append(rest);
  return bound;
}

std::size_t Bounds::CountUpTo(std::string_view key) const {
  const int order = key.substr(0, prefix_.size()).compare(prefix_);
  if (order < 0) return 0;
  if (order > 0) return size();
  key.remove_prefix(prefix_.size());
  std::size_t low = 0, high = size();
  while (low < high) {
    const std::size_t middle = (low + high) / 2;
    if (Rest(middle) <= key) {
      low = middle + 1;
    } else {
      high = middle;
    }
  }
  return low;
}

bool Bounds::Equals(std::size_t index, std::string_view key) const {
  return key.starts_with(prefix_) && key.substr(prefix_.size()) == Rest(index);
}

std::optional<Leaf> FindLeaf(const NodePtr& root, std::string_view key) {
  if (root == nullptr) return std::nullopt;
  Leaf leaf;
  const Node* node = root.get();
  const Bounds* next = nullptr;  // where the lowest bound above the leaf was seen
  std::size_t next_index = 0;
  for (;;) {
    const std::size_t up_to = node->bounds->CountUpTo(key);
    const std::size_t index = up_to == 0 ? 0 : up_to - 1;
    for (std::size_t i = 0; i < index; ++i) leaf.rank += node->counts[i];
    if (index + 1 < node->counts.size()) {
      next = node->bounds.get();
      next_index = index + 1;
    }
    if (node->level == 0) {
      if (next != nullptr) leaf.upper = next->At(next_index);
      leaf.bound = node->bounds->At(index);
      leaf.count = node->counts[index];
      return leaf;
    }
    node = node->children[index].get();
  }
}

std::optional<Leaf> FindLeafBelow(const NodePtr& root, std::string_view bound) {
  if (root == nullptr) return std::nullopt;
  // Down to where the bound would be, remembering the last place where something lies to the left.
  const Node* node = root.get();
  const Node* turn = nullptr;
  std::size_t turn_index = 0;
  for (;;) {
    std::size_t below = node->bounds->CountUpTo(bound);
    const bool itself = below > 0 && node->bounds->Equals(below - 1, bound);
    // A child that begins exactly at the bound has nothing below it.
    if (itself) --below;
    if (below == 0) break;
    turn = node;
    turn_index = below - 1;
    if (node->level == 0 || itself) break;
    node = node->children[below - 1].get();
  }
  if (turn == nullptr) return std::nullopt;
  while (turn->level > 0) {
    turn = turn->children[turn_index].get();
    turn_index = turn->counts.size() - 1;
  }
  return FindLeaf(root, turn->bounds->At(turn_index));
}

/// An entry on its way into a node: a leaf, or a child.
struct Builder::Item {
  std::string bound;
  std::int64_t count = 0;
  NodePtr child;
};

NodePtr Builder::Finish(Node&& node) {
  node.total = 0;
  for (const auto count : node.counts) node.total += count;
  bytes_made_ += sizeof(Node) + 2 * sizeof(void*) + node.counts.capacity() * sizeof(node.counts[0]) +
                 node.children.capacity() * sizeof(NodePtr);
  node.bytes_made = bytes_made_;
  return std::make_shared<const Node>(std::move(node));
}

NodePtr Builder::MakeNode(int level, const Item* items, std::size_t size) {
  Node node;
  node.level = level;
  std::vector<std::string_view> bounds;
  bounds.reserve(size);
  node.counts.reserve(size);
  if (level > 0) node.children.reserve(size);
  for (std::size_t i = 0; i < size; ++i) {
    bounds.push_back(items[i].bound);
    node.counts.push_back(items[i].count);
    if (level > 0) node.children.push_back(items[i].child);
  }
  node.bounds = std::make_shared<const Bounds>(bounds);
  bytes_made_ += node.bounds->bytes();
  return Finish(std::move(node));
}

std::vector<NodePtr> Builder::MakeNodes(int level, const std::vector<Item>& items) {
  std::vector<NodePtr> nodes;
  if (items.empty()) return nodes;
  // One node as long as it fits; else several of even size with room to grow.
  const std::size_t wanted = items.size() <= kNodeMax ? 1 : (items.size() + kNodeMax * 3 / 4 - 1) / (kNodeMax * 3 / 4);
  nodes.reserve(wanted);
  for (std::size_t i = 0; i < wanted; ++i) {
    const std::size_t begin = items.size() * i / wanted, end = items.size() * (i + 1) / wanted;
    nodes.push_back(MakeNode(level, &items[begin], end - begin));
  }
  return nodes;
}

std::vector<NodePtr> Builder::ApplyToLeaves(const Node& node, EditIterator first, EditIterator last) {
  // Mostly a count changes and nothing else: then the bounds are shared.
  Node copy;
  copy.counts = node.counts;
  auto edit = first;
  for (; edit != last; ++edit) {
    const std::size_t up_to = node.bounds->CountUpTo(edit->bound);
    if (edit->count == 0 || up_to == 0 || !node.bounds->Equals(up_to - 1, edit->bound)) break;
    copy.counts[up_to - 1] = edit->count;
  }
  if (edit == last) {
    copy.bounds = node.bounds;
    return {Finish(std::move(copy))};
  }

  std::vector<Item> items;
  items.reserve(node.counts.size() + static_cast<std::size_t>(last - first));
  edit = first;
  for (std::size_t i = 0; i < node.counts.size(); ++i) {
    std::string bound = node.bounds->At(i);
    for (; edit != last && edit->bound < bound; ++edit) {
      if (edit->count != 0) items.push_back({edit->bound, edit->count, nullptr});
    }
    std::int64_t count = node.counts[i];
    if (edit != last && edit->bound == bound) count = (edit++)->count;
    if (count != 0) items.push_back({std::move(bound), count, nullptr});
  }
  for (; edit != last; ++edit) {
    if (edit->count != 0) items.push_back({edit->bound, edit->count, nullptr});
  }
  return MakeNodes(0, items);
}

void Builder::JoinSmallNeighbours(std::vector<Item>* items) {
  std::size_t kept = 0;
  for (std::size_t i = 1; i < items->size(); ++i) {
    Item& left = (*items)[kept];
    Item& right = (*items)[i];
    if (left.child->counts.size() + right.child->counts.size() >= kJoinBelow) {
      if (++kept != i) (*items)[kept] = std::move(right);
      continue;
    }
    std::vector<Item> together;
    for (const NodePtr& child : {left.child, right.child}) {
      for (std::size_t entry = 0; entry < child->counts.size(); ++entry) {
        together.push_back({child->bounds->At(entry), child->counts[entry],
                            child->level > 0 ? child->children[entry] : nullptr});
      }
    }
    left.child = MakeNode(left.child->level, together.data(), together.size());
    left.count = left.child->total;
  }
  if (!items->empty()) items->resize(kept + 1);
}

std::vector<NodePtr> Builder::ApplyTo(const Node& node, EditIterator first, EditIterator last) {
  if (node.level == 0) return ApplyToLeaves(node, first, last);
  std::vector<std::vector<NodePtr>> replaced(node.children.size());
  std::vector<bool> touched(node.children.size());
  bool same_bounds = true;
  while (first != last) {
    const std::size_t up_to = node.bounds->CountUpTo(first->bound);
    const std::size_t index = up_to == 0 ? 0 : up_to - 1;
    auto end = last;
    if (index + 1 < node.children.size()) {
      const std::string next = node.bounds->At(index + 1);
      end = std::find_if(first, last, [&next](const Edit& edit) { return edit.bound >= next; });
    }
    touched[index] = true;
    replaced[index] = ApplyTo(*node.children[index], first, end);
    same_bounds = same_bounds && replaced[index].size() == 1 &&
                  node.bounds->Equals(index, replaced[index].front()->bounds->At(0)) &&
                  replaced[index].front()->counts.size() == node.children[index]->counts.size();
    first = end;
  }

  if (same_bounds) {
    Node copy;
    copy.level = node.level;
    copy.bounds = node.bounds;
    copy.counts = node.counts;
    copy.children = node.children;
    for (std::size_t i = 0; i < touched.size(); ++i) {
      if (!touched[i]) continue;
      copy.counts[i] = replaced[i].front()->total;
      copy.children[i] = std::move(replaced[i].front());
    }
    return {Finish(std::move(copy))};
  }

  std::vector<Item> items;
  for (std::size_t i = 0; i < touched.size(); ++i) {
    if (!touched[i]) {
      items.push_back({node.bounds->At(i), node.counts[i], node.children[i]});
      continue;
    }
    for (NodePtr& made : replaced[i]) {
      std::string bound = made->bounds->At(0);
      const std::int64_t total = made->total;
      items.push_back({std::move(bound), total, std::move(made)});
    }
  }
  JoinSmallNeighbours(&items);
  return MakeNodes(node.level, items);
}

NodePtr Builder::Apply(const NodePtr& root, const std::vector<Edit>& edits) {
  if (edits.empty()) return root;
  std::vector<NodePtr> nodes;
  if (root != nullptr) {
    nodes = ApplyTo(*root, edits.begin(), edits.end());
  } else {
    std::vector<Item> items;
    items.reserve(edits.size());
    for (const Edit& edit : edits) {
      if (edit.count != 0) items.push_back({edit.bound, edit.count, nullptr});
    }
    nodes = MakeNodes(0, items);
  }
  while (nodes.size() > 1) {
    std::vector<Item> items;
    items.reserve(nodes.size());
    const int level = nodes.front()->level + 1;
    for (NodePtr& node : nodes) {
      std::string bound = node->bounds->At(0);
      const std::int64_t total = node->total;
      items.push_back({std::move(bound), total, std::move(node)});
    }
    nodes = MakeNodes(level, items);
  }
  if (nodes.empty()) return nullptr;
  NodePtr top = std::move(nodes.front());
  // A new root must carry the latest BytesMade, so one that was there before is copied rather than handed up.
  const bool lowered = top->level > 0 && top->counts.size() == 1;
  while (top->level > 0 && top->counts.size() == 1) top = NodePtr(top->children.front());
  if (lowered) top = Finish(Node(*top));
  return top;
}

}  // namespace vellum::kv::count
