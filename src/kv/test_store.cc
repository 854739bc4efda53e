#include "kv/test_store.h"

#include <gtest/gtest.h>

#include <set>
#include <utility>

namespace vellum::kv {
namespace {

class DropEnded final : public storage::RecordFilter {
 public:
  explicit DropEnded(Revision compacted) : compacted_(compacted) {}
  bool ShouldDrop(std::string_view, std::string_view value) const override {
    const auto end = HistoryRecordEnd(value);
    return end && *end <= compacted_;
  }

 private:
  const Revision compacted_;
};

Record ToRecord(const KeyValue& kv, std::int32_t sub) {
  return {kv.mod_revision, sub, kv.create_revision, kv.version, kv.lease, kv.value};
}

void ExpectOk(const Status& status) { EXPECT_TRUE(status.ok()) << status.ToString(); }

}  // namespace

/// One main revision while it is being made.
struct TestStore::Running {
  Revision main = 0;
  State before;
  State now;
  std::map<std::string, std::int32_t> subs;  ///< Of the put that made a key's present state, if in this revision.
  std::set<std::string> kept;
  std::vector<Event> events;
  storage::Batch batch;
};

TestStore::TestStore(std::size_t count_ring_bytes)
    : ring_(std::make_shared<CountRing>(count_ring_bytes)), states_(2), events_(2) {
  storage::DatabaseOptions options;
  options.path = dir_.path();
  options.families = FamilyList([mark = mark_] { return std::make_unique<DropEnded>(mark->filter.load()); });
  options.block_cache_bytes = 8u << 20;
  auto opened = storage::Database::Open(std::move(options));
  EXPECT_TRUE(opened.ok()) << opened.error().ToString();
  database_ = *std::move(opened);
  auto tree = CountTree::Load(*database_);
  EXPECT_TRUE(tree.ok());
  tree_ = std::make_unique<CountTree>(*std::move(tree));
}

void TestStore::KeepBefore(const std::string& key, Running* running) {
  const auto old = running->before.find(key);
  if (old == running->before.end() || !running->kept.insert(key).second) return;
  // Its sub is in the row that is about to be replaced.
  storage::PinnedValue value;
  const auto found = database_->Get(kLatest, key, &value);
  EXPECT_TRUE(found.ok() && *found);
  running->batch.Put(kHistory, HistoryKey(key, old->second.mod_revision),
                     EncodeHistoryRecord({running->main, *DecodeRecord(value.view())}));
}

void TestStore::RunPut(const Put& put, Running* running) {
  const auto sub = static_cast<std::int32_t>(running->events.size());
  KeepBefore(put.key, running);
  Event event;
  event.kv = {put.key, running->main, running->main, 1, put.value, put.lease};
  if (const auto now = running->now.find(put.key); now != running->now.end()) {
    event.kv.create_revision = now->second.create_revision;
    event.kv.version = now->second.version + 1;
  } else {
    tree_->Add(put.key, +1);
  }
  RevEntry entry{EventType::kPut, 0, put.key, std::nullopt};
  if (const auto old = running->before.find(put.key); old != running->before.end()) {
    entry.previous_mod = old->second.mod_revision;
    if (event.kv.create_revision != running->main) event.prev_kv = old->second;
  }
  running->batch.Put(kRev, RevKey(running->main, sub), EncodeRevEntry(running->main, entry));
  running->batch.Put(kLatest, put.key, EncodeRecord(ToRecord(event.kv, sub)));
  running->now[put.key] = event.kv;
  running->subs[put.key] = sub;
  running->events.push_back(std::move(event));
}

void TestStore::RunDelete(const Delete& change, Running* running) {
  auto now = running->now.lower_bound(change.interval.begin);
  while (now != running->now.end() && change.interval.Contains(now->first)) {
    const std::string key = now->first;
    const auto sub = static_cast<std::int32_t>(running->events.size());
    KeepBefore(key, running);
    tree_->Add(key, -1);
    Event event;
    event.type = EventType::kDelete;
    event.kv.key = key;
    event.kv.mod_revision = running->main;
    RevEntry entry{EventType::kDelete, 0, key, std::nullopt};
    if (const auto old = running->before.find(key); old != running->before.end()) {
      entry.previous_mod = old->second.mod_revision;
      event.prev_kv = old->second;
    }
    running->batch.Put(kRev, RevKey(running->main, sub), EncodeRevEntry(running->main, entry));
    if (now->second.mod_revision == running->main) {
      // No row would keep what was put, so its rev entry does.
      const std::int32_t put_sub = running->subs.at(key);
      RevEntry superseded{EventType::kPut, entry.previous_mod, key, ToRecord(now->second, put_sub)};
      running->batch.Put(kRev, RevKey(running->main, put_sub), EncodeRevEntry(running->main, superseded));
    }
    running->batch.Delete(kLatest, key);
    running->events.push_back(std::move(event));
    now = running->now.erase(now);
  }
}

void TestStore::Apply(const std::vector<Change>& changes) {
  Running running;
  running.main = revision_ + 1;
  running.before = states_.back();
  running.now = states_.back();
  for (const Change& change : changes) {
    if (const auto* put = std::get_if<Put>(&change)) {
      RunPut(*put, &running);
    } else {
      RunDelete(std::get<Delete>(change), &running);
    }
  }
  if (running.events.empty()) return;
  ExpectOk(tree_->Save(
      [&running](const KeyInterval& interval, const std::function<bool(std::string_view)>& visit) -> Status {
        for (auto key = running.now.lower_bound(interval.begin);
             key != running.now.end() && interval.Contains(key->first) && visit(key->first); ++key) {
        }
        return {};
      },
      &running.batch));
  ExpectOk(database_->Write(std::move(running.batch)));
  revision_ = running.main;
  states_.push_back(std::move(running.now));
  events_.push_back(std::move(running.events));
}

void TestStore::Reclaim() {
  const Revision compacted = mark_->published.load();
  mark_->filter.store(compacted);
  ExpectOk(database_->Flush());
  ExpectOk(database_->CompactRange(kHistory, {}));
  if (compacted <= reclaimed_) return;
  storage::Batch batch;
  batch.DeleteRange(kRev, RevKey(reclaimed_, 0), RevKey(compacted, 0));
  ExpectOk(database_->Write(std::move(batch)));
  reclaimed_ = compacted;
}

std::shared_ptr<const View> TestStore::Publish() {
  ring_->Publish(revision_, tree_->root());
  return std::make_shared<View>(database_.get(), database_->TakeSnapshot(), revision_, tree_->root(), mark_, ring_);
}

std::shared_ptr<const View> TestStore::ViewWithoutRing() const {
  return std::make_shared<View>(database_.get(), database_->TakeSnapshot(), revision_, tree_->root(), mark_);
}

}  // namespace vellum::kv
