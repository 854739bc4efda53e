#include "kv/count_tree.h"

#include <algorithm>
#include <limits>
#include <map>

#include "base/bytes.h"
#include "kv/count_node.h"

namespace vellum::kv {
namespace {

using count::Builder;
using count::Edit;
using count::FindLeaf;
using count::FindLeafBelow;
using count::Leaf;
using count::NodePtr;

constexpr std::int64_t kSplitAbove = 2 * CountTree::kLeafTarget;
constexpr std::int64_t kMergeBelow = CountTree::kLeafTarget / 4;

/// The shortest string above `before` that is not above `key`: a prefix of `key`.
std::string_view Separator(std::string_view before, std::string_view key) {
  const auto shared = std::mismatch(before.begin(), before.end(), key.begin(), key.end()).second - key.begin();
  return key.substr(0, static_cast<std::size_t>(shared) + 1);
}

/// A leaf while one Save works on it.
struct Work {
  std::int64_t stored = 0;  ///< 0: it has no row yet.
  std::int64_t count = 0;   ///< 0: it goes.
  std::optional<std::string> upper;
};

/// Turns the counts that one command left into leaves of proper size. Leaves that it does not touch stay in the root.
class Reshaper {
 public:
  explicit Reshaper(const NodePtr& root) : root_(root) {}

  void Add(std::string bound, Work work) { works_.emplace(std::move(bound), std::move(work)); }
  Status Run(const CountTree::KeyLister& list);
  /// What differs from the root, sorted.
  std::vector<Edit> Edits() const;

 private:
  using Works = std::map<std::string, Work, std::less<>>;

  /// The next leaf that has keys, made part of the work; end() if none.
  Works::iterator Next(Works::iterator at);
  Works::iterator Previous(Works::iterator at);
  void Merge(Works::iterator small);
  void FillFirst();
  Status SplitLeaf(Works::iterator big, const CountTree::KeyLister& list);

  const NodePtr& root_;
  Works works_;
};

Reshaper::Works::iterator Reshaper::Next(Works::iterator at) {
  const std::optional<std::string>* upper = &at->second.upper;
  while (*upper) {
    auto next = works_.find(**upper);
    if (next == works_.end()) {
      auto leaf = FindLeaf(root_, **upper);
      next = works_.emplace(std::move(leaf->bound), Work{leaf->count, leaf->count, std::move(leaf->upper)}).first;
    }
    if (next->second.count > 0) return next;
    upper = &next->second.upper;
  }
  return works_.end();
}

Reshaper::Works::iterator Reshaper::Previous(Works::iterator at) {
  for (;;) {
    auto leaf = FindLeafBelow(root_, at->first);
    if (!leaf) return works_.end();
    auto before = works_.find(leaf->bound);
    if (before == works_.end()) {
      before = works_.emplace(std::move(leaf->bound), Work{leaf->count, leaf->count, std::move(leaf->upper)}).first;
    }
    if (before->second.count > 0) return before;
    at = before;
  }
}

void Reshaper::Merge(Works::iterator small) {
  while (small->second.count < kMergeBelow) {
    const auto next = Next(small);
    if (next == works_.end() || small->second.count + next->second.count > kSplitAbove) break;
    small->second.count += next->second.count;
    next->second.count = 0;
  }
  if (small->second.count >= kMergeBelow) return;
  const auto before = Previous(small);
  if (before == works_.end() || small->second.count + before->second.count > kSplitAbove) return;
  before->second.count += small->second.count;
  small->second.count = 0;
}

void Reshaper::FillFirst() {
  const auto first = works_.find(std::string_view());
  if (first == works_.end() || first->second.count > 0) return;
  const auto next = Next(first);
  if (next == works_.end()) return;
  first->second.count = next->second.count;
  next->second.count = 0;
}

Status Reshaper::SplitLeaf(Works::iterator big, const CountTree::KeyLister& list) {
  const std::int64_t count = big->second.count;
  const std::int64_t leaves = (count + CountTree::kLeafTarget / 2) / CountTree::kLeafTarget;
  const auto next = Next(big);
  KeyInterval interval{big->first, std::nullopt};
  if (next != works_.end()) interval.end = next->first;

  std::vector<Edit> pieces;
  std::string before;
  std::int64_t seen = 0;
  std::int64_t piece_end = 0;
  VELLUM_TRY(list(interval, [&](std::string_view key) {
    if (seen == count) return ++seen, false;
    if (seen == piece_end) {
      const auto made = static_cast<std::int64_t>(pieces.size());
      piece_end = count * (made + 1) / leaves;
      pieces.push_back({made == 0 ? big->first : std::string(Separator(before, key)), piece_end - seen});
    }
    if (++seen == piece_end) before.assign(key);
    return true;
  }));
  if (seen != count) {
    return DataLoss("count: leaf " + Printable(big->first) + " should have " + std::to_string(count) +
                    " keys, but latest has " + (seen > count ? "more" : std::to_string(seen)));
  }
  big->second.count = pieces.front().count;
  for (auto piece = pieces.begin() + 1; piece != pieces.end(); ++piece) works_[piece->bound].count = piece->count;
  return {};
}

Status Reshaper::Run(const CountTree::KeyLister& list) {
  std::vector<Works::iterator> touched;
  for (auto work = works_.begin(); work != works_.end(); ++work) touched.push_back(work);
  for (const auto work : touched) {
    if (work->second.count > 0 && work->second.count < kMergeBelow) Merge(work);
  }
  FillFirst();
  touched.clear();
  for (auto work = works_.begin(); work != works_.end(); ++work) {
    if (work->second.count > kSplitAbove) touched.push_back(work);
  }
  for (const auto work : touched) VELLUM_TRY(SplitLeaf(work, list));
  return {};
}

std::vector<Edit> Reshaper::Edits() const {
  std::vector<Edit> edits;
  for (const auto& [bound, work] : works_) {
    if (work.count != work.stored) edits.push_back({bound, work.count});
  }
  return edits;
}

}  // namespace

struct CountTree::State {
  struct Touched {
    std::int64_t count = 0;  ///< As of the root.
    std::int64_t delta = 0;
    std::optional<std::string> upper;
  };
  using TouchedLeaves = std::map<std::string, Touched, std::less<>>;

  Builder builder;
  TouchedLeaves touched;
  /// Where the last Add was: neighbouring keys come in a row.
  TouchedLeaves::iterator last = touched.end();

  void Clear() {
    touched.clear();
    last = touched.end();
  }
};

CountTree::CountTree(std::unique_ptr<State> state) : state_(std::move(state)) {}
CountTree::CountTree(CountTree&&) noexcept = default;
CountTree& CountTree::operator=(CountTree&&) noexcept = default;
CountTree::~CountTree() = default;

Result<CountTree> CountTree::Load(const storage::Database& database) {
  std::vector<Edit> leaves;
  std::int64_t total = 0;
  storage::ReadOptions options;
  options.readahead_bytes = 2u << 20;
  auto rows = database.NewIterator(kCount, options);
  for (rows.SeekToFirst(); rows.valid(); rows.Next()) {
    if (leaves.empty() && !rows.key().empty()) {
      return DataLoss("count: the first leaf begins at " + Printable(rows.key()) + " and not before all keys");
    }
    VELLUM_ASSIGN_OR_RETURN(const std::int64_t count, DecodeLeafCount(rows.value()));
    if (count > std::numeric_limits<std::int64_t>::max() - total) return DataLoss("count: the sum is too large");
    total += count;
    leaves.push_back({std::string(rows.key()), count});
  }
  VELLUM_TRY(rows.status());
  CountTree tree(std::make_unique<State>());
  tree.root_ = tree.state_->builder.Build(leaves);
  return tree;
}

std::int64_t CountTree::total() const { return Total(root_); }
std::int64_t CountTree::Total(const Root& root) { return root == nullptr ? 0 : root->total; }
std::uint64_t CountTree::BytesMade(const Root& root) { return root == nullptr ? 0 : root->bytes_made; }

std::vector<std::pair<std::string, std::int64_t>> CountTree::Leaves(const Root& root) {
  std::vector<std::pair<std::string, std::int64_t>> leaves;
  std::optional<std::string> at = std::string();
  while (root != nullptr && at) {
    auto leaf = FindLeaf(root, *at);
    leaves.emplace_back(std::move(leaf->bound), leaf->count);
    at = std::move(leaf->upper);
  }
  return leaves;
}

void CountTree::Add(std::string_view key, std::int64_t delta) {
  auto& touched = state_->touched;
  auto& last = state_->last;
  if (last == touched.end() || key < last->first || (last->second.upper && key >= *last->second.upper)) {
    last = touched.upper_bound(key);
    if (last != touched.begin()) --last;
    const bool inside = last != touched.end() && key >= last->first &&
                        (!last->second.upper || key < *last->second.upper);
    if (!inside) {
      Leaf leaf;
      if (auto found = FindLeaf(root_, key)) leaf = *std::move(found);
      last = touched.emplace(std::move(leaf.bound), State::Touched{leaf.count, 0, std::move(leaf.upper)}).first;
    }
  }
  last->second.delta += delta;
}

Status CountTree::Save(const KeyLister& list, storage::Batch* batch) {
  Reshaper reshaper(root_);
  for (auto& [bound, touched] : state_->touched) {
    if (touched.delta == 0) continue;
    const std::int64_t count = touched.count + touched.delta;
    if (count < 0) {
      return DataLoss("count: leaf " + Printable(bound) + " has " + std::to_string(touched.count) + " keys, but " +
                      std::to_string(-touched.delta) + " of them went");
    }
    reshaper.Add(bound, {touched.count, count, touched.upper});
  }
  VELLUM_TRY(reshaper.Run(list));
  const std::vector<Edit> edits = reshaper.Edits();
  for (const Edit& edit : edits) {
    if (edit.count == 0) {
      batch->Delete(kCount, edit.bound);
    } else {
      batch->Put(kCount, edit.bound, EncodeLeafCount(edit.count));
    }
  }
  root_ = state_->builder.Apply(root_, edits);
  state_->Clear();
  return {};
}

void CountTree::Discard() { state_->Clear(); }

CountTree::Estimate CountTree::Split(const Root& root, const KeyInterval& interval) {
  Estimate estimate;
  if (root == nullptr || interval.empty()) return estimate;
  // There is no key below "\0", so beginning there is beginning at the first leaf.
  const std::string_view begin =
      interval.begin == std::string_view("\0", 1) ? std::string_view() : std::string_view(interval.begin);
  const auto first = FindLeaf(root, begin);
  const bool first_whole = first->bound == begin;
  if (!interval.end) {
    estimate.whole = root->total - first->rank - (first_whole ? 0 : first->count);
    if (!first_whole) estimate.partial.push_back({interval.begin, first->upper});
    return estimate;
  }
  const auto last = FindLeaf(root, *interval.end);
  if (first->bound == last->bound) {
    estimate.partial.push_back(interval);
    return estimate;
  }
  estimate.whole = last->rank - first->rank - (first_whole ? 0 : first->count);
  if (!first_whole) estimate.partial.push_back({interval.begin, first->upper});
  if (*interval.end > last->bound) estimate.partial.push_back({last->bound, interval.end});
  return estimate;
}

}  // namespace vellum::kv
