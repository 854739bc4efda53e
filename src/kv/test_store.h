#pragma once

#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "base/test_dir.h"
#include "kv/count_ring.h"
#include "kv/count_tree.h"
#include "kv/schema.h"
#include "kv/view.h"
#include "storage/database.h"

namespace vellum::kv {

/// For tests of what reads: a store whose rows are written by the rules of the layout without the applier, next to
/// everything it ever held, kept in plain maps.
class TestStore {
 public:
  struct Put {
    std::string key;
    std::string value;
    LeaseId lease = 0;
  };
  struct Delete {
    KeyInterval interval;
  };
  using Change = std::variant<Put, Delete>;
  using State = std::map<std::string, KeyValue, std::less<>>;

  explicit TestStore(std::size_t count_ring_bytes = 1u << 20);

  /// One main revision with all these changes in order, if any of them changes something.
  void Apply(const std::vector<Change>& changes);
  void ApplyPut(std::string key, std::string value, LeaseId lease = 0) {
    Apply({Put{std::move(key), std::move(value), lease}});
  }
  void ApplyDelete(std::string_view key) { Apply({Delete{KeyInterval::SingleKey(key)}}); }

  /// Readers below are refused from now on; nothing goes yet.
  void Compact(Revision revision) { mark_->published.store(revision); }
  /// What compaction allows to go is gone afterwards.
  void Reclaim();

  Revision revision() const { return revision_; }
  storage::Database& database() { return *database_; }
  CompactionMark& mark() { return *mark_; }
  /// As the applier publishes it after each group: with the ring.
  std::shared_ptr<const View> Publish();
  std::shared_ptr<const View> ViewWithoutRing() const;

  /// The keys as they were; empty for revision 1 and before.
  const State& StateAt(Revision revision) const { return states_.at(static_cast<std::size_t>(revision)); }
  /// All events of one revision, as a watch with previous values on a store that was never compacted shows them.
  const std::vector<Event>& EventsAt(Revision revision) const { return events_.at(static_cast<std::size_t>(revision)); }

 private:
  struct Running;
  void RunPut(const Put& put, Running* running);
  void RunDelete(const Delete& change, Running* running);
  /// The state before this revision moves to `history` when a key changes for the first time.
  void KeepBefore(const std::string& key, Running* running);

  const TestDir dir_;
  const std::shared_ptr<CompactionMark> mark_ = std::make_shared<CompactionMark>();
  const std::shared_ptr<CountRing> ring_;
  std::unique_ptr<storage::Database> database_;
  std::unique_ptr<CountTree> tree_;
  Revision revision_ = 1;
  Revision reclaimed_ = 0;
  std::vector<State> states_;
  std::vector<std::vector<Event>> events_;
};

}  // namespace vellum::kv
