#pragma once

#include <bit>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <memory>
#include <string_view>
#include <vector>

#include "storage/tables.h"

namespace vellum::sync {

/// Which of several cursors stands on the smallest key: a tree of winners, so that a cursor's move costs one comparison for
/// each level. Cursors are borrowed, may be null, and are known by their rank, which is their place in the list.
///
/// Not thread-safe.
class Tournament {
 public:
  static constexpr std::size_t kNone = std::numeric_limits<std::size_t>::max();
  enum class Ties : std::uint8_t { kEarlierFirst, kLaterFirst };

  Tournament(const std::vector<std::unique_ptr<storage::TableCursor>>* cursors, Ties ties)
      : cursors_(*cursors), ties_(ties), leaves_(std::bit_ceil(std::max<std::size_t>(1, cursors->size()))),
        keys_(cursors->size()), present_(cursors->size(), false), winners_(leaves_, kNone), tied_(leaves_, false) {}

  /// Takes all cursors as they stand now.
  void Restart() {
    for (std::size_t rank = 0; rank < keys_.size(); ++rank) Look(rank);
    for (std::size_t node = leaves_ - 1; node > 0; --node) Play(node);
  }

  /// kNone: every cursor is at its end, or has been left out.
  std::size_t winner() const { return Root(); }
  std::string_view key(std::size_t rank) const { return keys_[rank]; }
  /// Whether another cursor stands on the winner's key.
  bool tied() const {
    for (std::size_t node = (Root() + leaves_) / 2; node > 0; node /= 2) {
      if (tied_[node]) return true;
    }
    return false;
  }

  /// A cursor has moved, or takes part again.
  void Moved(std::size_t rank) {
    Look(rank);
    Replay(rank);
  }
  /// A cursor takes no part until it is said to have moved. Its key stays readable while it stands.
  void LeaveOut(std::size_t rank) {
    present_[rank] = false;
    Replay(rank);
  }

 private:
  std::size_t Root() const { return leaves_ == 1 ? Leaf(0) : winners_[1]; }
  std::size_t Leaf(std::size_t rank) const { return rank < keys_.size() && present_[rank] ? rank : kNone; }

  void Look(std::size_t rank) {
    present_[rank] = cursors_[rank] != nullptr && cursors_[rank]->valid();
    if (present_[rank]) keys_[rank] = cursors_[rank]->key();
  }

  void Replay(std::size_t rank) {
    for (std::size_t node = (rank + leaves_) / 2; node > 0; node /= 2) Play(node);
  }

  void Play(std::size_t node) {
    const bool last = 2 * node >= leaves_;
    const std::size_t a = last ? Leaf(2 * node - leaves_) : winners_[2 * node];
    const std::size_t b = last ? Leaf(2 * node + 1 - leaves_) : winners_[2 * node + 1];
    tied_[node] = false;
    if (a == kNone || b == kNone) {
      winners_[node] = a == kNone ? b : a;
      return;
    }
    // The left one has the lower rank.
    const int order = keys_[a].compare(keys_[b]);
    tied_[node] = order == 0;
    winners_[node] = order < 0 || (order == 0 && ties_ == Ties::kEarlierFirst) ? a : b;
  }

  const std::vector<std::unique_ptr<storage::TableCursor>>& cursors_;
  const Ties ties_;
  const std::size_t leaves_;
  std::vector<std::string_view> keys_;
  std::vector<std::uint8_t> present_;
  std::vector<std::size_t> winners_;   ///< By node; node 1 is the root, node n has 2n and 2n + 1 below it.
  std::vector<std::uint8_t> tied_;     ///< The two that met at the node stand on one key.
};

}  // namespace vellum::sync
