#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "kv/count_tree.h"
#include "kv/schema.h"
#include "kv/view.h"
#include "storage/database.h"
#include "vellum/types.h"

namespace vellum::kv {

/// Sums of +1 and -1 over ordered keys, where edits and questions alternate: both cost log² n, because the edits lie in
/// sorted runs with prefix sums, whose sizes at least double.
class DeltaSums {
 public:
  /// `key` is borrowed for the life of this object.
  void Add(std::string_view key, std::int64_t delta);
  /// Of the keys in the interval.
  std::int64_t Sum(const KeyInterval& interval) const;

 private:
  struct Edit {
    std::string_view key;
    std::int64_t sum = 0;  ///< Of this edit and those before it in the run.
  };
  std::int64_t Below(std::string_view key) const;
  std::int64_t total_ = 0;
  std::vector<std::vector<Edit>> runs_;
};

/// A Record that owns its value.
struct StoredRecord {
  Revision mod = 0;
  std::int32_t mod_sub = 0;
  Revision create = 0;
  std::int64_t version = 0;
  LeaseId lease = 0;
  std::string value;

  static StoredRecord From(const Record& record);
  /// Borrows the value.
  Record View() const { return {mod, mod_sub, create, version, lease, value}; }
  KeyValue ToKeyValue(std::string_view key) const { return View().ToKeyValue(key); }
};

/// The changes of one command (or one part of a huge one) on top of the live database: what the command reads sees them,
/// and at the end they become one batch. Used by the applier's thread only. Nothing is written before Finish's batch is.
class WriteSet final : public LatestSource {
 public:
  /// All changes get revision `main`, numbered from `first_sub`. `database` and `count_tree` must outlive this object,
  /// and must not change while it is in use.
  WriteSet(const storage::Database* database, CountTree* count_tree, Revision main, std::int32_t first_sub = 0);
  WriteSet(const WriteSet&) = delete;
  WriteSet& operator=(const WriteSet&) = delete;

  Result<bool> Get(std::string_view key, const std::function<void(const Record&)>& found) const override;
  Status Scan(const KeyInterval& interval,
              const std::function<bool(std::string_view key, const Record&)>& visit) const override;
  Result<std::int64_t> Count(const KeyInterval& interval) const override;

  /// The key's state as this command has left it so far; nullptr if it does not exist. Valid until the next change.
  Result<const StoredRecord*> Current(std::string_view key);
  /// A new version of the key. It must be the caller's decision already that this is allowed.
  Status Put(std::string_view key, std::string value, LeaseId lease);
  /// False: no such key, nothing done.
  Result<bool> Delete(std::string_view key);

  struct Deletion {
    std::int64_t deleted = 0;
    bool finished = true;    ///< False: `bytes_max` was reached. At least one key was deleted.
    std::string next;        ///< Where to go on, if not finished.
  };
  /// Deletes the keys of an interval in order until about `bytes_max` bytes of keys and values went. `previous` (may be
  /// null) gets what they were.
  Result<Deletion> DeleteRange(const KeyInterval& interval, std::size_t bytes_max, std::vector<KeyValue>* previous);

  Revision main() const { return main_; }
  bool changed() const { return !changes_.empty(); }
  std::size_t changes() const { return changes_.size(); }
  std::int32_t next_sub() const { return first_sub_ + static_cast<std::int32_t>(changes_.size()); }
  /// About how many bytes of keys and values, old and new, it holds.
  std::size_t bytes() const { return bytes_; }
  std::size_t put_bytes() const { return put_bytes_; }

  /// Adds all rows but those of `meta` to the batch: latest, history, rev, count, lease attachments. On failure the batch
  /// must be dropped and CountTree::Discard called.
  Status Finish(storage::Batch* batch);
  /// The events, in sub order. Empties this object; call last.
  std::vector<Event> TakeEvents();

 private:
  struct Slot {
    std::optional<StoredRecord> before;  ///< At revision main - 1.
    std::optional<StoredRecord> now;     ///< Means something only once the key was changed.
    std::size_t last_put = 0;            ///< Index in changes_ of the put that made `now`.
    std::size_t uses = 0;                ///< Changes of this key.

    const std::optional<StoredRecord>& current() const { return uses == 0 ? before : now; }
  };
  using Slots = std::map<std::string, Slot, std::less<>>;
  struct Change {
    EventType type = EventType::kPut;
    Slots::value_type* slot = nullptr;
    std::optional<StoredRecord> superseded;  ///< The put's record, once another change of the key followed.
  };

  Result<Slots::value_type*> Touch(std::string_view key);
  void AddChange(EventType type, Slots::value_type* slot);
  void MarkDeleted(Slots::value_type* slot);
  void Hide(std::string_view begin, std::string_view end);
  Status ScanBase(const KeyInterval& interval,
                  const std::function<bool(std::string_view key, std::string_view value)>& visit) const;
  void FinishSlot(const std::string& key, const Slot& slot, storage::Batch* batch);
  Event TakeEvent(Change* change);

  const storage::Database* const database_;
  CountTree* const count_tree_;
  const Revision main_;
  const std::int32_t first_sub_;

  Slots slots_;                      // every key that was changed or looked at by Current
  std::vector<Change> changes_;
  std::set<std::string_view> live_;  // changed keys that exist
  // Intervals of the database whose every key was changed, so that a scan passes over them at once. Neighbours are joined
  // as scans find them, which bounds what all scans of a command together step over.
  mutable std::map<std::string, std::string, std::less<>> hidden_;
  DeltaSums deltas_;                 // of existing keys against the database
  std::size_t bytes_ = 0;
  std::size_t put_bytes_ = 0;
};

}  // namespace vellum::kv
