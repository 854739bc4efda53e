#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "kv/schema.h"
#include "storage/database.h"
#include "vellum/status.h"

namespace vellum::kv {

/// Exact numbers of keys, without reading them: `latest` is cut into leaves of neighbouring keys, and a persistent
/// (path-copying) search tree over the leaves' first keys holds how many keys each has. About one byte per key in memory.
///
/// A Root is an immutable version, cheap to copy and safe to read from any thread; null is an empty one. The tree itself
/// has one writer.
class CountTree {
 public:
  struct Node;
  using Root = std::shared_ptr<const Node>;

  /// Keys of a leaf's target size; it splits above twice that and merges below a quarter.
  static constexpr std::int64_t kLeafTarget = 64;

  CountTree(CountTree&&) noexcept;
  CountTree& operator=(CountTree&&) noexcept;
  ~CountTree();

  /// Reads all leaves of the `count` family. Cost: the number of leaves, not of keys. kDataLoss for rows that cannot be.
  static Result<CountTree> Load(const storage::Database& database);

  Root root() const { return root_; }
  std::int64_t total() const;

  /// Lists the keys of `latest` in an interval, in order, as the command that is being applied leaves them.
  using KeyLister = std::function<Status(const KeyInterval&, const std::function<bool(std::string_view)>&)>;

  /// Accounts for a key that appeared (+1) or went (-1) since the last Save. Edits of one command accumulate.
  void Add(std::string_view key, std::int64_t delta);

  /// Splits, merges and drops leaves where needed (reading the keys of a splitting leaf through `list`), and writes the
  /// changed leaves into `batch`, the one that also changes `latest`. After an error (the lister's; kDataLoss if the keys
  /// that it lists are not as many as the leaf has) nothing has changed: drop the batch and call Discard.
  Status Save(const KeyLister& list, storage::Batch* batch);

  /// Forgets the edits since the last Save, for a command that failed before its batch was written.
  void Discard();

  /// What lies in [begin, end) of a version: whole leaves' keys summed up, and the parts of leaves that must be
  /// scanned to be exact (at most two).
  struct Estimate {
    std::int64_t whole = 0;
    std::vector<KeyInterval> partial;
  };
  static Estimate Split(const Root& root, const KeyInterval& interval);
  static std::int64_t Total(const Root& root);
  /// Bytes of all nodes that the tree had made when it made this version. The difference of two versions is about what
  /// holding the older one keeps alive.
  static std::uint64_t BytesMade(const Root& root);
  /// What the leaves' lower bounds are, in order, with their counts. For tests and checks: O(leaves).
  static std::vector<std::pair<std::string, std::int64_t>> Leaves(const Root& root);

 private:
  struct State;
  explicit CountTree(std::unique_ptr<State> state);
  Root root_;
  std::unique_ptr<State> state_;
};

}  // namespace vellum::kv
