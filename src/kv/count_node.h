#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "kv/count_tree.h"

/// The persistent search tree inside CountTree: sorted leaves with counts, changed by copying the path.
namespace vellum::kv::count {

using NodePtr = std::shared_ptr<const CountTree::Node>;

/// Sorted strings, packed: what all start with once, then the rests end to end. Immutable; shared by all versions of a
/// node whose counts alone differ.
class Bounds {
 public:
  explicit Bounds(const std::vector<std::string_view>& sorted);

  std::size_t size() const { return ends_.size(); }
  std::string At(std::size_t index) const;
  /// Number of bounds <= key.
  std::size_t CountUpTo(std::string_view key) const;
  bool Equals(std::size_t index, std::string_view key) const;
  std::size_t bytes() const { return sizeof(*this) + prefix_.size() + text_.size() + ends_.size() * sizeof(ends_[0]); }

 private:
  std::string_view Rest(std::size_t index) const;

  std::string prefix_;
  std::string text_;
  std::vector<std::size_t> ends_;
};

/// One change of the sorted leaves: `count` keys under `bound`, 0 to take the leaf away.
struct Edit {
  std::string bound;
  std::int64_t count = 0;
};

/// A leaf as a search finds it.
struct Leaf {
  std::string bound;
  std::optional<std::string> upper;  ///< The next leaf's bound; nullopt: the last leaf.
  std::int64_t count = 0;
  std::int64_t rank = 0;  ///< Keys in all leaves before it.
};

/// The leaf that holds `key`; nullopt for an empty tree.
std::optional<Leaf> FindLeaf(const NodePtr& root, std::string_view key);
/// The leaf with the greatest bound below `bound`.
std::optional<Leaf> FindLeafBelow(const NodePtr& root, std::string_view bound);

/// Makes new versions. Not thread-safe; what it makes may be read by any thread.
class Builder {
 public:
  /// Applies edits, which are sorted and have each bound once, and returns the new root, or null when no leaf is left.
  /// Cost: the nodes on the paths to what changes.
  NodePtr Apply(const NodePtr& root, const std::vector<Edit>& edits);

  /// A tree of sorted leaves from the first to the last.
  NodePtr Build(const std::vector<Edit>& leaves) { return Apply(nullptr, leaves); }

 private:
  struct Item;
  using EditIterator = std::vector<Edit>::const_iterator;

  /// What replaces `node`: no, one or several nodes of its level.
  std::vector<NodePtr> ApplyTo(const CountTree::Node& node, EditIterator first, EditIterator last);
  std::vector<NodePtr> ApplyToLeaves(const CountTree::Node& node, EditIterator first, EditIterator last);
  void JoinSmallNeighbours(std::vector<Item>* items);
  NodePtr MakeNode(int level, const Item* items, std::size_t size);
  std::vector<NodePtr> MakeNodes(int level, const std::vector<Item>& items);
  NodePtr Finish(CountTree::Node&& node);

  std::uint64_t bytes_made_ = 0;
};

}  // namespace vellum::kv::count

namespace vellum::kv {

/// Level 0 holds leaves' counts; above, counts are the children's totals. bounds.At(i) is the first bound under child i.
struct CountTree::Node {
  int level = 0;
  std::int64_t total = 0;
  std::uint64_t bytes_made = 0;  ///< By the builder, this node included.
  std::shared_ptr<const count::Bounds> bounds;
  std::vector<std::int64_t> counts;
  std::vector<count::NodePtr> children;  ///< Empty on level 0.
};

}  // namespace vellum::kv
