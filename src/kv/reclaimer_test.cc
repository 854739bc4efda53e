#include "kv/reclaimer.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <future>
#include <map>
#include <thread>

#include "base/manual_clock.h"
#include "base/mutex.h"
#include "base/test_dir.h"
#include "base/test_random.h"

namespace vellum::kv {
namespace {

using std::chrono::milliseconds;

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

/// A manual clock that counts how often it was asked: who polls it has had its chance once it has asked again.
class CountingClock final : public Clock {
 public:
  TimePoint Now() const override {
    asked_.fetch_add(1);
    return clock_.Now();
  }
  WallTime WallNow() const override { return clock_.WallNow(); }
  void Advance(std::chrono::nanoseconds duration) { clock_.Advance(duration); }
  void AwaitPolls(int polls) const {
    const int until = asked_.load() + polls;
    while (asked_.load() < until) std::this_thread::yield();
  }

 private:
  ManualClock clock_;
  mutable std::atomic<int> asked_{0};
};

/// Keeps the log's lines.
class Lines final : public LogSink {
 public:
  void Write(const LogRecord& record) override {
    MutexLock lock(&mu_);
    std::string line(record.message);
    for (const LogField& field : record.fields) line += " " + std::string(field.name) + "=" + field.value;
    lines_.push_back(std::move(line));
  }
  std::size_t Count(const std::string& part) {
    MutexLock lock(&mu_);
    return static_cast<std::size_t>(std::count_if(
        lines_.begin(), lines_.end(), [&](const std::string& line) { return line.find(part) != std::string::npos; }));
  }

 private:
  Mutex mu_;
  std::vector<std::string> lines_ VELLUM_GUARDED_BY(mu_);
};

/// A store's `latest`, `history` and `rev`, written by the rules of the layout; one change per revision.
class KvReclaimer : public testing::Test {
 protected:
  KvReclaimer() { OpenDatabase(); }
  ~KvReclaimer() override {
    if (reclaimer_) reclaimer_->Stop();
  }

  void OpenDatabase() {
    storage::DatabaseOptions options;
    options.path = dir_.path();
    options.families = FamilyList([mark = mark_] { return std::make_unique<DropEnded>(mark->filter.load()); });
    options.block_cache_bytes = 8u << 20;
    options.table_file_bytes = 64u << 10;  // many small files, so that there is something to slice
    auto opened = storage::Database::Open(std::move(options));
    ASSERT_TRUE(opened.ok()) << opened.error().ToString();
    database_ = *std::move(opened);
  }

  void Change(const std::string& key, const std::string* value) {
    storage::Batch batch;
    const Revision main = ++revision_;
    RevEntry entry;
    entry.type = value == nullptr ? EventType::kDelete : EventType::kPut;
    entry.key = key;
    const auto old = now_.find(key);
    if (old != now_.end()) {
      entry.previous_mod = old->second.mod;
      Record record{old->second.mod, 0, old->second.create, old->second.version, 0, old->second.value};
      batch.Put(kHistory, HistoryKey(key, old->second.mod), EncodeHistoryRecord({main, record}));
    }
    batch.Put(kRev, RevKey(main, 0), EncodeRevEntry(main, entry));
    if (value != nullptr) {
      State& state = now_[key];
      state = {main, state.version == 0 ? main : state.create, state.version + 1, *value};
      batch.Put(kLatest, key, EncodeRecord({main, 0, state.create, state.version, 0, *value}));
    } else {
      batch.Delete(kLatest, key);
      now_.erase(key);
    }
    MutexLock lock(&database_mu_);
    ASSERT_TRUE(database_->Write(std::move(batch)).ok());
  }
  void Put(const std::string& key, const std::string& value) { Change(key, &value); }
  void Delete(const std::string& key) { Change(key, nullptr); }
  static std::string Key(int i) { return "key/" + std::to_string(100000 + i); }
  std::string RandomValue() {
    std::string value(200, '\0');
    for (char& c : value) c = static_cast<char>(random_());
    return value;
  }

  /// What the applier does for Compact.
  void Compact(Revision revision) { mark_->published.store(revision); }
  /// And for ReclaimCommand.
  void Apply(const ReclaimCommand& command) {
    MutexLock lock(&database_mu_);
    if (command.step == ReclaimCommand::Step::kFinished) {
      stored_.push_back(command.compacted);
      return;
    }
    storage::Batch batch;
    batch.DeleteRange(kRev, RevKey(0, 0), RevKey(command.compacted, 0));
    EXPECT_TRUE(database_->Write(std::move(batch)).ok());
  }

  Reclaimer::Options MakeOptions() {
    Reclaimer::Options options;
    options.clock = &clock_;
    options.logger = Logger(&lines_);
    options.metrics = &metrics_;
    options.slice_bytes_max = 128u << 10;
    options.bytes_per_second = 0;
    return options;
  }
  void StartReclaimer(Reclaimer::Options options, Revision compacted = kNeverCompacted,
                      Revision reclaimed = kNeverCompacted) {
    reclaimer_ = std::make_unique<Reclaimer>(
        options, database_.get(), mark_,
        [this](const KeyInterval& interval) -> Result<std::int64_t> { return Keys(interval); },
        [this](Command command, const std::function<void(Result<CommandResult>)>& done) {
          Apply(std::get<ReclaimCommand>(command));
          done(CommandResult(Applied{}));
        });
    reclaimer_->Start(compacted, reclaimed);
  }
  std::vector<Revision> stored() {
    MutexLock lock(&database_mu_);
    return stored_;
  }
  std::future<Status> Reclaim(Revision revision, bool urgent) {
    auto promise = std::make_shared<std::promise<Status>>();
    reclaimer_->Reclaim(revision, urgent, [promise](Status status) { promise->set_value(std::move(status)); });
    return promise->get_future();
  }
  std::future<Status> Defragment() {
    auto promise = std::make_shared<std::promise<Status>>();
    reclaimer_->Defragment([promise](Status status) { promise->set_value(std::move(status)); });
    return promise->get_future();
  }

  std::int64_t Keys(const KeyInterval& interval) {
    std::int64_t keys = 0;
    auto it = database_->NewIterator(kLatest);
    for (it.Seek(interval.begin); it.valid() && interval.Contains(it.key()); it.Next()) ++keys;
    return keys;
  }
  std::uint64_t Entries(storage::Family family) {
    EXPECT_TRUE(database_->Flush().ok());
    std::uint64_t entries = 0;
    const auto tables = database_->ListTables(family);
    for (const auto& table : *tables) entries += table.entries;
    return entries;
  }
  std::int64_t HistoryRecords(Revision ended_at_or_before) {
    std::int64_t records = 0;
    auto it = database_->NewIterator(kHistory);
    for (it.SeekToFirst(); it.valid(); it.Next()) records += *HistoryRecordEnd(it.value()) <= ended_at_or_before ? 1 : 0;
    return records;
  }

  struct State {
    Revision mod = 0;
    Revision create = 0;
    std::int64_t version = 0;
    std::string value;
  };

  const TestDir dir_;
  std::mt19937_64 random_ = SeededRandom();
  CountingClock clock_;
  Lines lines_;
  Metrics metrics_;
  const std::shared_ptr<CompactionMark> mark_ = std::make_shared<CompactionMark>();
  std::unique_ptr<storage::Database> database_;
  std::unique_ptr<Reclaimer> reclaimer_;
  std::map<std::string, State> now_;
  Revision revision_ = 1;
  Mutex database_mu_;  ///< The database has one writer at a time.
  std::vector<Revision> stored_ VELLUM_GUARDED_BY(database_mu_);
};

TEST_F(KvReclaimer, ReturnsTheSpaceOfEverythingThatEnded) {
  for (int i = 0; i < 1000; ++i) Put(Key(i), RandomValue());
  for (int round = 0; round < 8; ++round) {
    for (int i = 0; i < 1000; ++i) Put(Key(i), RandomValue());
    ASSERT_TRUE(database_->Flush().ok());
  }
  const std::uint64_t live_bytes = 1000 * 240;
  const std::uint64_t before = database_->GetSizes().table_bytes;
  ASSERT_GT(before, 8 * live_bytes);
  StartReclaimer(MakeOptions());
  Compact(revision_);
  const Status status = Reclaim(revision_, /*urgent=*/true).get();
  ASSERT_TRUE(status.ok()) << status.ToString();
  const storage::Database::Sizes sizes = database_->GetSizes();
  const std::uint64_t dead = before - live_bytes;
  EXPECT_LT(sizes.table_bytes + sizes.wal_bytes, live_bytes + dead / 20) << "95 % of what is dead is back";
  EXPECT_EQ(Entries(kHistory), 0u);
  EXPECT_EQ(Entries(kLatest), 1000u);
  EXPECT_EQ(mark_->filter.load(), revision_);
  EXPECT_EQ(stored(), (std::vector<Revision>{revision_}));
  EXPECT_EQ(lines_.Count("reclaimed the space of compacted history revision=" + std::to_string(revision_)), 1u);
  EXPECT_NE(metrics_.Expose().find("vellum_compaction_reclaimed_revision " + std::to_string(revision_)),
            std::string::npos);
}

TEST_F(KvReclaimer, KeepsWhatEndedLater) {
  for (int i = 0; i < 500; ++i) Put(Key(i % 50), RandomValue());
  const Revision compacted = 300;
  StartReclaimer(MakeOptions());
  Compact(compacted);
  ASSERT_TRUE(Reclaim(compacted, /*urgent=*/true).get().ok());
  EXPECT_EQ(HistoryRecords(compacted), 0);
  EXPECT_EQ(HistoryRecords(revision_), 501 - compacted);
  auto it = database_->NewIterator(kRev);
  it.SeekToFirst();
  ASSERT_TRUE(it.valid());
  EXPECT_EQ(DecodeRevKey(it.key())->main, compacted) << "what happened at C stays";
}

TEST_F(KvReclaimer, SmallStoresAreDoneInNoTime) {
  for (int i = 0; i < 1000; ++i) Put(Key(i), "value");
  for (int i = 0; i < 500; ++i) Delete(Key(i * 2));
  StartReclaimer(MakeOptions());
  Compact(revision_);
  const Clock::TimePoint began = SystemClock()->Now();
  ASSERT_TRUE(Reclaim(revision_, /*urgent=*/true).get().ok());
  EXPECT_LT(SystemClock()->Now() - began, std::chrono::seconds(1));
  EXPECT_EQ(Entries(kLatest), 500u) << "without the tombstones";
  EXPECT_EQ(Entries(kHistory), 0u);
}

TEST_F(KvReclaimer, WaitsOutTheDelayUnlessUrgent) {
  for (int i = 0; i < 100; ++i) Put(Key(1), "value");
  StartReclaimer(MakeOptions());
  Compact(50);
  auto first = Reclaim(50, /*urgent=*/false);
  clock_.AwaitPolls(3);
  EXPECT_EQ(first.wait_for(milliseconds(0)), std::future_status::timeout);
  EXPECT_EQ(mark_->filter.load(), kNeverCompacted) << "the filter learns of it only now";
  clock_.Advance(milliseconds(1000));
  EXPECT_TRUE(first.get().ok());
  EXPECT_EQ(mark_->filter.load(), 50);
  Compact(60);
  auto second = Reclaim(60, /*urgent=*/false);
  clock_.AwaitPolls(3);
  EXPECT_EQ(second.wait_for(milliseconds(0)), std::future_status::timeout);
  Compact(70);
  EXPECT_TRUE(Reclaim(70, /*urgent=*/true).get().ok());
  EXPECT_TRUE(second.get().ok()) << "the newer one does the older one's work";
  EXPECT_EQ(stored(), (std::vector<Revision>{50, 70}));
  EXPECT_TRUE(Reclaim(60, /*urgent=*/false).get().ok()) << "has been done";
}

TEST_F(KvReclaimer, CleanFilesAreLeftAlone) {
  for (int i = 0; i < 2000; ++i) Put(Key(i), RandomValue());
  for (int i = 0; i < 2000; ++i) Put(Key(i), RandomValue());
  StartReclaimer(MakeOptions());
  Compact(2002);
  ASSERT_TRUE(Reclaim(2002, /*urgent=*/true).get().ok());  // one record ended
  std::map<std::string, std::string> before;
  const auto tables_before = database_->ListTables(kHistory);
  for (const auto& table : *tables_before) before[table.smallest] = table.name;
  ASSERT_GT(before.size(), 3u);
  Compact(2100);
  ASSERT_TRUE(Reclaim(2100, /*urgent=*/true).get().ok());  // a hundred, next to each other
  std::size_t same = 0;
  const auto tables_after = database_->ListTables(kHistory);
  for (const auto& table : *tables_after) {
    const auto old = before.find(table.smallest);
    same += old != before.end() && old->second == table.name ? 1 : 0;
  }
  EXPECT_GE(same, before.size() - 3);
  EXPECT_EQ(HistoryRecords(2100), 0);
}

TEST_F(KvReclaimer, ResumesAfterARestart) {
  for (int i = 0; i < 300; ++i) Put(Key(1), RandomValue());
  Compact(200);
  StartReclaimer(MakeOptions());
  auto cut_short = Reclaim(200, /*urgent=*/false);
  reclaimer_->Stop();
  EXPECT_EQ(cut_short.get().code(), Code::kCancelled);
  EXPECT_EQ(stored(), std::vector<Revision>{});
  EXPECT_EQ(Reclaim(200, /*urgent=*/true).get().code(), Code::kCancelled);
  EXPECT_EQ(Defragment().get().code(), Code::kCancelled);
  reclaimer_.reset();
  database_.reset();
  OpenDatabase();
  StartReclaimer(MakeOptions(), /*compacted=*/200, /*reclaimed=*/50);
  clock_.Advance(milliseconds(1000));
  ASSERT_TRUE(Reclaim(200, /*urgent=*/false).get().ok());
  EXPECT_EQ(HistoryRecords(200), 0);
  EXPECT_EQ(stored(), (std::vector<Revision>{200}));
}

TEST_F(KvReclaimer, AFinishedReclaimIsNotRepeated) {
  Put(Key(1), "value");
  StartReclaimer(MakeOptions(), /*compacted=*/2, /*reclaimed=*/2);
  EXPECT_EQ(mark_->filter.load(), 2);
  clock_.Advance(std::chrono::hours(1));
  ASSERT_TRUE(Defragment().get().ok());
  EXPECT_EQ(stored(), std::vector<Revision>{});
  EXPECT_EQ(lines_.Count("reclaimed"), 0u);
}

TEST_F(KvReclaimer, DefragmentRewritesAllOfLatestAndWhatWaits) {
  for (int round = 0; round < 3; ++round) {
    for (int i = 0; i < 500; ++i) Put(Key(i), RandomValue());
    ASSERT_TRUE(database_->Flush().ok());
  }
  StartReclaimer(MakeOptions());
  Compact(1000);
  auto waiting = Reclaim(1000, /*urgent=*/false);
  auto first = Defragment();
  auto second = Defragment();
  EXPECT_TRUE(first.get().ok());
  EXPECT_TRUE(second.get().ok());
  EXPECT_TRUE(waiting.get().ok());
  EXPECT_EQ(Entries(kLatest), 500u);
  EXPECT_EQ(HistoryRecords(1000), 0);
  EXPECT_EQ(lines_.Count("defragmented"), 1u);
}

/// Reclaims in quick succession beside a writer: each is answered, nothing that has to stay goes.
TEST_F(KvReclaimer, ANewerCompactionTakesOver) {
  for (int round = 0; round < 4; ++round) {
    for (int i = 0; i < 2000; ++i) Put(Key(i), RandomValue());
  }
  Reclaimer::Options options = MakeOptions();
  options.slice_bytes_max = 64u << 10;
  StartReclaimer(options);
  std::vector<std::future<Status>> answers;
  for (Revision revision = 1000; revision <= 8000; revision += 500) {
    Compact(revision);
    answers.push_back(Reclaim(revision, /*urgent=*/revision % 1000 == 0));
    for (int i = 0; i < 20; ++i) Put(Key(i), RandomValue());
  }
  for (auto& answer : answers) EXPECT_TRUE(answer.get().ok());
  EXPECT_EQ(HistoryRecords(8000), 0);
  EXPECT_EQ(HistoryRecords(revision_), revision_ - 8000) << "each later change ended one";
  const std::vector<Revision> reclaimed = stored();
  EXPECT_EQ(reclaimed.back(), 8000);
  EXPECT_TRUE(std::is_sorted(reclaimed.begin(), reclaimed.end()));
}

TEST_F(KvReclaimer, FailuresAreAnsweredAndTriedAgain) {
  for (int i = 0; i < 100; ++i) Put(Key(i), "value");
  StartReclaimer(MakeOptions());
  auto failing = std::make_shared<std::atomic<bool>>(true);
  reclaimer_->Stop();
  reclaimer_ = std::make_unique<Reclaimer>(
      MakeOptions(), database_.get(), mark_,
      [this, failing](const KeyInterval& interval) -> Result<std::int64_t> {
        if (failing->load()) return DataLoss("a leaf is damaged");
        return Keys(interval);
      },
      [](const Command&, const std::function<void(Result<CommandResult>)>& done) { done(CommandResult(Applied{})); });
  reclaimer_->Start(kNeverCompacted, kNeverCompacted);
  Compact(50);
  EXPECT_EQ(Reclaim(50, /*urgent=*/true).get().code(), Code::kDataLoss);
  EXPECT_EQ(lines_.Count("failed to reclaim"), 1u);
  failing->store(false);
  auto retried = Reclaim(50, /*urgent=*/false);
  clock_.Advance(std::chrono::seconds(11));
  EXPECT_TRUE(retried.get().ok());
}

}  // namespace
}  // namespace vellum::kv
