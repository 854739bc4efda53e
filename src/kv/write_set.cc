#include "kv/write_set.h"

#include <algorithm>
#include <utility>

#include "base/check.h"

namespace vellum::kv {

void DeltaSums::Add(std::string_view key, std::int64_t delta) {
  total_ += delta;
  runs_.push_back({{key, delta}});
  while (runs_.size() > 1 && runs_[runs_.size() - 2].size() <= runs_.back().size()) {
    const std::vector<Edit> a = std::move(runs_[runs_.size() - 2]);
    const std::vector<Edit> b = std::move(runs_.back());
    runs_.resize(runs_.size() - 2);
    std::vector<Edit> merged;
    merged.reserve(a.size() + b.size());
    std::int64_t sum = 0;
    for (std::size_t i = 0, j = 0; i < a.size() || j < b.size();) {
      const bool from_a = j == b.size() || (i < a.size() && a[i].key <= b[j].key);
      const std::vector<Edit>& run = from_a ? a : b;
      std::size_t& at = from_a ? i : j;
      sum += run[at].sum - (at == 0 ? 0 : run[at - 1].sum);
      merged.push_back({run[at].key, sum});
      ++at;
    }
    runs_.push_back(std::move(merged));
  }
}

std::int64_t DeltaSums::Below(std::string_view key) const {
  std::int64_t sum = 0;
  for (const std::vector<Edit>& run : runs_) {
    const auto it = std::lower_bound(run.begin(), run.end(), key,
                                     [](const Edit& edit, std::string_view bound) { return edit.key < bound; });
    if (it != run.begin()) sum += std::prev(it)->sum;
  }
  return sum;
}

std::int64_t DeltaSums::Sum(const KeyInterval& interval) const {
  if (interval.empty()) return 0;
  return (interval.end ? Below(*interval.end) : total_) - Below(interval.begin);
}

StoredRecord StoredRecord::From(const Record& record) {
  return {record.mod, record.mod_sub, record.create, record.version, record.lease, std::string(record.value)};
}

WriteSet::WriteSet(const storage::Database* database, CountTree* count_tree, Revision main, std::int32_t first_sub)
    : database_(database), count_tree_(count_tree), main_(main), first_sub_(first_sub) {}

Result<bool> WriteSet::Get(std::string_view key, const std::function<void(const Record&)>& found) const {
  if (const auto it = slots_.find(key); it != slots_.end()) {
    const std::optional<StoredRecord>& current = it->second.current();
    if (current) found(current->View());
    return current.has_value();
  }
  storage::PinnedValue value;
  VELLUM_ASSIGN_OR_RETURN(const bool exists, database_->Get(kLatest, key, &value));
  if (!exists) return false;
  VELLUM_ASSIGN_OR_RETURN(const Record record, DecodeRecord(value.view()));
  found(record);
  return true;
}

/// Visits the database's keys that this set has not changed.
Status WriteSet::ScanBase(const KeyInterval& interval,
                          const std::function<bool(std::string_view, std::string_view)>& visit) const {
  storage::ReadOptions options;
  options.lower = interval.begin;
  if (interval.end) options.upper = *interval.end;
  storage::Iterator it = database_->NewIterator(kLatest, options);
  it.Seek(interval.begin);
  auto joined = hidden_.end();  // the hidden interval that was just passed, with no visible key since
  while (it.valid()) {
    auto hidden = hidden_.upper_bound(it.key());
    if (hidden == hidden_.begin() || std::prev(hidden)->second <= it.key()) {
      joined = hidden_.end();
      if (!visit(it.key(), it.value())) return {};
      it.Next();
      continue;
    }
    --hidden;
    if (joined != hidden_.end() && joined != hidden) {
      joined->second = std::move(hidden->second);
      hidden_.erase(hidden);
    } else {
      joined = hidden;
    }
    it.Next();
    if (it.valid() && it.key() < std::string_view(joined->second)) it.Seek(joined->second);
  }
  return it.status();
}

Status WriteSet::Scan(const KeyInterval& interval,
                      const std::function<bool(std::string_view, const Record&)>& visit) const {
  if (interval.empty()) return {};
  auto mine = live_.lower_bound(interval.begin);
  const auto mine_end = interval.end ? live_.lower_bound(*interval.end) : live_.end();
  const auto visit_mine = [&] {
    const auto slot = slots_.find(*mine);
    const bool go_on = visit(slot->first, slot->second.now->View());
    ++mine;
    return go_on;
  };
  bool stopped = false;
  Status damaged;
  VELLUM_TRY(ScanBase(interval, [&](std::string_view key, std::string_view value) {
    while (!stopped && mine != mine_end && *mine < key) stopped = !visit_mine();
    if (stopped) return false;
    const Result<Record> record = DecodeRecord(value);
    if (!record.ok()) {
      damaged = record.error();
      return false;
    }
    stopped = !visit(key, *record);
    return !stopped;
  }));
  VELLUM_TRY(damaged);
  while (!stopped && mine != mine_end) stopped = !visit_mine();
  return {};
}

Result<std::int64_t> WriteSet::Count(const KeyInterval& interval) const {
  if (interval.empty()) return std::int64_t{0};
  const CountTree::Estimate estimate = CountTree::Split(count_tree_->root(), interval);
  std::int64_t count = estimate.whole + deltas_.Sum(interval);
  for (const KeyInterval& part : estimate.partial) {
    // The tree counts what the database has, so the ends of leaves are counted there too, hidden or not.
    storage::ReadOptions options;
    options.lower = part.begin;
    if (part.end) options.upper = *part.end;
    storage::Iterator it = database_->NewIterator(kLatest, options);
    for (it.Seek(part.begin); it.valid(); it.Next()) ++count;
    VELLUM_TRY(it.status());
  }
  return count;
}

Result<WriteSet::Slots::value_type*> WriteSet::Touch(std::string_view key) {
  if (const auto it = slots_.find(key); it != slots_.end()) return &*it;
  Slot slot;
  storage::PinnedValue value;
  VELLUM_ASSIGN_OR_RETURN(const bool exists, database_->Get(kLatest, key, &value));
  if (exists) {
    VELLUM_ASSIGN_OR_RETURN(const Record record, DecodeRecord(value.view()));
    slot.before = StoredRecord::From(record);
    bytes_ += record.value.size();
  }
  bytes_ += key.size();
  return &*slots_.emplace(std::string(key), std::move(slot)).first;
}

void WriteSet::Hide(std::string_view begin, std::string_view end) {
  auto it = hidden_.upper_bound(begin);
  if (it != hidden_.begin() && std::prev(it)->second >= begin) {
    --it;
    if (it->second < end) it->second = std::string(end);
  } else {
    it = hidden_.emplace_hint(it, std::string(begin), std::string(end));
  }
  for (auto next = std::next(it); next != hidden_.end() && next->first <= it->second; next = hidden_.erase(next)) {
    if (it->second < next->second) it->second = std::move(next->second);
  }
}

Result<const StoredRecord*> WriteSet::Current(std::string_view key) {
  VELLUM_ASSIGN_OR_RETURN(const Slots::value_type* slot, Touch(key));
  const std::optional<StoredRecord>& current = slot->second.current();
  return current ? &*current : nullptr;
}

void WriteSet::AddChange(EventType type, Slots::value_type* slot) {
  Slot& state = slot->second;
  if (state.now) {
    // This revision's own put, which no read will ever see: its record lives on in its rev entry only.
    changes_[state.last_put].superseded = std::move(state.now);
  }
  ++state.uses;
  changes_.push_back({type, slot, std::nullopt});
}

Status WriteSet::Put(std::string_view key, std::string value, LeaseId lease) {
  VELLUM_ASSIGN_OR_RETURN(Slots::value_type * slot, Touch(key));
  Slot& state = slot->second;
  const std::optional<StoredRecord>& current = state.current();
  const bool existed = current.has_value();
  StoredRecord record;
  record.mod = main_;
  record.mod_sub = next_sub();
  record.create = existed ? current->create : main_;
  record.version = existed ? current->version + 1 : 1;
  record.lease = lease;
  record.value = std::move(value);
  bytes_ += key.size() + record.value.size();
  put_bytes_ += key.size() + record.value.size();
  AddChange(EventType::kPut, slot);
  state.last_put = changes_.size() - 1;
  state.now = std::move(record);
  live_.insert(slot->first);
  if (state.before && state.uses == 1) Hide(slot->first, slot->first + '\0');
  if (!existed) deltas_.Add(slot->first, 1);
  return {};
}

void WriteSet::MarkDeleted(Slots::value_type* slot) {
  AddChange(EventType::kDelete, slot);
  slot->second.now.reset();
  live_.erase(slot->first);
  deltas_.Add(slot->first, -1);
}

Result<bool> WriteSet::Delete(std::string_view key) {
  VELLUM_ASSIGN_OR_RETURN(Slots::value_type * slot, Touch(key));
  if (!slot->second.current()) return false;
  MarkDeleted(slot);
  if (slot->second.before) Hide(slot->first, slot->first + '\0');
  return true;
}

Result<WriteSet::Deletion> WriteSet::DeleteRange(const KeyInterval& interval, std::size_t bytes_max,
                                                 std::vector<KeyValue>* previous) {
  Deletion deletion;
  std::vector<std::pair<std::string, StoredRecord>> found;
  std::size_t bytes = 0;
  VELLUM_TRY(Scan(interval, [&](std::string_view key, const Record& record) {
    if (!found.empty() && bytes >= bytes_max) {
      deletion.finished = false;
      deletion.next = std::string(key);
      return false;
    }
    // Beside what is counted exactly, each key costs rows and bookkeeping.
    bytes += key.size() + record.value.size() + 100;
    found.emplace_back(std::string(key), StoredRecord::From(record));
    return true;
  }));
  if (found.empty()) return deletion;
  deletion.deleted = static_cast<std::int64_t>(found.size());
  bytes_ += bytes;
  const std::string first = found.front().first;
  const std::string last = found.back().first + '\0';
  for (auto& [key, record] : found) {
    if (previous != nullptr) previous->push_back(record.ToKeyValue(key));
    auto it = slots_.lower_bound(key);
    if (it == slots_.end() || it->first != key) {
      it = slots_.emplace_hint(it, std::move(key), Slot());
      it->second.before = std::move(record);
    }
    MarkDeleted(&*it);
  }
  Hide(first, last);
  return deletion;
}

void WriteSet::FinishSlot(const std::string& key, const Slot& slot, storage::Batch* batch) {
  const LeaseId lease_before = slot.before ? slot.before->lease : 0;
  const LeaseId lease_now = slot.now ? slot.now->lease : 0;
  if (slot.before) {
    batch->Put(kHistory, HistoryKey(key, slot.before->mod), EncodeHistoryRecord({main_, slot.before->View()}));
  }
  if (slot.now) {
    batch->Put(kLatest, key, EncodeRecord(slot.now->View()));
  } else if (slot.before) {
    batch->Delete(kLatest, key);
  }
  if (slot.before.has_value() != slot.now.has_value()) count_tree_->Add(key, slot.now ? 1 : -1);
  if (lease_before != lease_now) {
    if (lease_before != 0) batch->Delete(kLease, LeaseAttachmentKey(lease_before, key));
    if (lease_now != 0) batch->Put(kLease, LeaseAttachmentKey(lease_now, key), {});
  }
}

Status WriteSet::Finish(storage::Batch* batch) {
  for (const auto& [key, slot] : slots_) {
    if (slot.uses > 0) FinishSlot(key, slot, batch);
  }
  std::int32_t sub = first_sub_;
  for (const Change& change : changes_) {
    RevEntry entry;
    entry.type = change.type;
    entry.key = change.slot->first;
    entry.previous_mod = change.slot->second.before ? change.slot->second.before->mod : 0;
    if (change.superseded) entry.superseded = change.superseded->View();
    batch->Put(kRev, RevKey(main_, sub++), EncodeRevEntry(main_, entry));
  }
  return count_tree_->Save(
      [this](const KeyInterval& interval, const std::function<bool(std::string_view)>& visit) {
        return Scan(interval, [&visit](std::string_view key, const Record&) { return visit(key); });
      },
      batch);
}

Event WriteSet::TakeEvent(Change* change) {
  const std::string& key = change->slot->first;
  Slot& slot = change->slot->second;
  Event event;
  event.type = change->type;
  bool created = false;
  if (change->type == EventType::kDelete) {
    event.kv.key = key;
    event.kv.mod_revision = main_;
  } else {
    std::optional<StoredRecord>& put = change->superseded ? change->superseded : slot.now;
    std::string value = std::move(put->value);
    event.kv = put->ToKeyValue(key);
    event.kv.value = std::move(value);
    created = put->create == main_;
  }
  --slot.uses;
  // A creation has no previous state, also if the key was deleted in this very revision; and all changes of a key in one
  // revision share the state before the revision.
  if (slot.before && !created) {
    event.prev_kv.emplace();
    if (slot.uses == 0) {
      std::string value = std::move(slot.before->value);
      event.prev_kv = slot.before->ToKeyValue(key);
      event.prev_kv->value = std::move(value);
    } else {
      event.prev_kv = slot.before->ToKeyValue(key);
    }
  }
  return event;
}

std::vector<Event> WriteSet::TakeEvents() {
  std::vector<Event> events;
  events.reserve(changes_.size());
  for (Change& change : changes_) events.push_back(TakeEvent(&change));
  changes_.clear();
  return events;
}

}  // namespace vellum::kv
