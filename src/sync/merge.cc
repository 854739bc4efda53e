#include "sync/merge.h"

#include <algorithm>
#include <future>
#include <mutex>

#include "base/aside.h"
#include "base/bytes.h"
#include "sync/codec.h"
#include "sync/run_sorter.h"
#include "sync/tournament.h"

namespace vellum::sync {
namespace {

using storage::TableCursor;

constexpr std::uint64_t kPollEvery = 4096;  ///< Records between looks at the cancel flag.

/// Counts records over all threads, tells the caller, and looks whether to stop.
class Pulse {
 public:
  explicit Pulse(const MergeLimits& limits) : limits_(limits) {}

  Status Tick(std::uint64_t* since) {
    if (++*since < kPollEvery) return {};
    return Flush(since);
  }
  Status Flush(std::uint64_t* since) {
    const std::uint64_t done = done_.fetch_add(*since) + *since;
    *since = 0;
    if (limits_.progress) limits_.progress(done);
    if (limits_.cancel != nullptr && limits_.cancel->load(std::memory_order_relaxed)) {
      return Cancelled("the operation was cancelled after " + std::to_string(done) + " records");
    }
    return {};
  }

 private:
  const MergeLimits& limits_;
  std::atomic<std::uint64_t> done_{0};
};

/// Runs tasks on up to `threads` threads and returns the first error in the order of the tasks.
Status RunTasks(std::vector<std::function<Status()>> tasks, int threads) {
  std::atomic<std::size_t> next{0};
  std::vector<Status> outcomes(tasks.size());
  const auto work = [&] {
    for (std::size_t i = next++; i < tasks.size(); i = next++) outcomes[i] = tasks[i]();
  };
  std::vector<std::future<void>> workers;
  for (int i = 1; i < threads && static_cast<std::size_t>(i) < tasks.size(); ++i) {
    workers.push_back(DoAside(work));
  }
  work();
  for (auto& worker : workers) worker.get();
  for (Status& outcome : outcomes) VELLUM_TRY(std::move(outcome));
  return {};
}

/// The buckets of indexes that follow from values, each with its own sorter. One per record bucket that is being written, so
/// that record buckets can be written at the same time.
class IndexCollector {
 public:
  IndexCollector(const MergeLimits& limits, Bucket records, std::size_t memory_bytes, bool principals,
                 std::uint32_t part = 0)
      : scratch_(limits.scratch), files_(limits.files),
        name_(std::string(FindBucket(static_cast<std::uint8_t>(records))->name) + "-" + std::to_string(part)),
        memory_bytes_(memory_bytes), principals_(principals) {}

  /// Files the record's index keys. `value` goes with every key: empty, or a mark of the caller's.
  Status Add(std::string_view record_key, std::string_view record_value) {
    Status failed;
    VELLUM_TRY(ForEachIndexKey(record_key, record_value, [&](Bucket bucket, std::string_view key) {
      if (failed.ok() && (principals_ || FindBucket(static_cast<std::uint8_t>(bucket))->from_value)) {
        failed = AddKey(bucket, key, {});
      }
    }));
    return failed;
  }

  Status AddKey(Bucket bucket, std::string_view key, std::string_view value) {
    auto& sorter = sorters_[bucket];
    if (!sorter) {
      sorter = std::make_unique<RunSorter>(RunSorter::Options{
          scratch_, name_ + "-" + std::string(FindBucket(static_cast<std::uint8_t>(bucket))->name),
          memory_bytes_, files_});
    }
    return sorter->Add(key, value);
  }

  std::map<Bucket, std::unique_ptr<RunSorter>>& sorters() { return sorters_; }

 private:
  const std::string scratch_;
  const FileSystemPtr files_;
  const std::string name_;
  const std::size_t memory_bytes_;
  const bool principals_;
  std::map<Bucket, std::unique_ptr<RunSorter>> sorters_;
};

/// Gathers what the tasks of one derivation wrote.
class Gathering {
 public:
  void Take(Bucket bucket, BucketWriter* writer) {
    std::lock_guard<std::mutex> lock(mu_);
    for (NewFile& file : writer->TakeFiles()) derived_.files.push_back(std::move(file));
    derived_.totals[bucket].Merge(writer->totals());
  }
  void Count(RecordType type, const MergeCounts& counts) {
    std::lock_guard<std::mutex> lock(mu_);
    MergeCounts& all = derived_.stats[static_cast<std::size_t>(type)];
    all.added += counts.added;
    all.replaced += counts.replaced;
    all.kept += counts.kept;
    all.unchanged += counts.unchanged;
  }
  Derived& derived() { return derived_; }

 private:
  std::mutex mu_;
  Derived derived_;
};

/// Writes the index buckets that several collectors have keys for.
Status WriteIndexes(std::vector<std::unique_ptr<IndexCollector>>* collectors, const MergeLimits& limits,
                    Gathering* gathering) {
  std::vector<std::function<Status()>> tasks;
  for (const BucketInfo& info : kBuckets) {
    if (!info.index) continue;
    std::vector<RunSorter*> sorters;
    for (auto& collector : *collectors) {
      const auto found = collector->sorters().find(info.bucket);
      if (found != collector->sorters().end()) sorters.push_back(found->second.get());
    }
    if (sorters.empty()) continue;
    tasks.push_back([&limits, gathering, bucket = info.bucket, sorters]() -> Status {
      std::vector<std::unique_ptr<TableCursor>> runs;
      for (RunSorter* sorter : sorters) {
        VELLUM_ASSIGN_OR_RETURN(auto run, sorter->Finish());
        runs.push_back(std::move(run));
      }
      const auto cursor = MergeRuns(std::move(runs));
      BucketWriter writer(limits.scratch, bucket, 0, limits.file_bytes, limits.files);
      for (cursor->Seek({}); cursor->valid(); cursor->Next()) VELLUM_TRY(writer.Put(cursor->key(), {}));
      VELLUM_TRY(cursor->status());
      VELLUM_TRY(writer.Finish());
      gathering->Take(bucket, &writer);
      return {};
    });
  }
  return RunTasks(std::move(tasks), limits.threads);
}

/// Several sources of one bucket side by side: shows, key by key, which sources have the key.
class SideBySide {
 public:
  explicit SideBySide(std::vector<std::unique_ptr<TableCursor>> cursors)
      : cursors_(std::move(cursors)), order_(&cursors_, Tournament::Ties::kEarlierFirst) {
    for (std::size_t rank = 0; rank < cursors_.size(); ++rank) NoteEnd(rank);
    order_.Restart();
    Gather();
  }

  /// Ranks that stand on the present key, ascending. Empty at the end.
  const std::vector<std::size_t>& ranks() const { return at_; }
  std::string_view key() const { return order_.key(at_.front()); }
  std::string_view value(std::size_t rank) const { return cursors_[rank]->value(); }

  void Next() {
    for (const std::size_t rank : at_) {
      cursors_[rank]->Next();
      NoteEnd(rank);
      order_.Moved(rank);
    }
    Gather();
  }
  const Status& status() const { return status_; }

 private:
  void NoteEnd(std::size_t rank) {
    if (cursors_[rank] && !cursors_[rank]->valid() && status_.ok()) status_ = cursors_[rank]->status();
  }

  void Gather() {
    at_.clear();
    if (!status_.ok() || order_.winner() == Tournament::kNone) return;
    at_.push_back(order_.winner());
    if (!order_.tied()) return;
    const std::string_view key = order_.key(at_.front());
    for (std::size_t rank = at_.front(); rank != Tournament::kNone && order_.key(rank) == key; rank = order_.winner()) {
      if (rank != at_.front()) at_.push_back(rank);
      order_.LeaveOut(rank);
    }
  }

  const std::vector<std::unique_ptr<TableCursor>> cursors_;
  Tournament order_;
  std::vector<std::size_t> at_;
  Status status_;
};

/// The rank whose record stays: strictly newest stamp, the earlier source on a tie.
std::size_t Winner(const SideBySide& sources) {
  std::size_t winner = sources.ranks().front();
  if (sources.ranks().size() == 1) return winner;
  Stamp newest = ValueStamp(sources.value(winner));
  for (const std::size_t rank : sources.ranks()) {
    const Stamp stamp = ValueStamp(sources.value(rank));
    if (stamp > newest) {
      winner = rank;
      newest = stamp;
    }
  }
  return winner;
}

/// What one identity's outcome means for the destination, whose rank is 0.
void Count(const SideBySide& sources, std::size_t winner, MergeCounts* counts) {
  const auto& ranks = sources.ranks();
  if (ranks.front() != 0) {
    ++counts->added;
    return;
  }
  if (ranks.size() == 1) return;
  if (winner != 0) {
    ++counts->replaced;
    return;
  }
  // The best of the sources against the destination's: the same bytes, or another record that lost.
  std::size_t best = ranks[1];
  for (const std::size_t rank : ranks) {
    if (rank != 0 && ValueStamp(sources.value(rank)) > ValueStamp(sources.value(best))) best = rank;
  }
  ++(sources.value(best) == sources.value(0) ? counts->unchanged : counts->kept);
}

using Generations = std::vector<std::shared_ptr<const Generation>>;

/// A bucket, or the part of it between two keys, that one task writes.
struct Part {
  BucketInfo bucket;
  std::uint32_t number = 0;
  std::string lower;
  std::string upper;
};

/// Large buckets are cut into parts, which several threads can write at once.
std::vector<Part> PartsOf(const Generations& sources, const BucketInfo& bucket, const MergeLimits& limits) {
  constexpr std::size_t kPartsPerThread = 2;  // so that threads end at about the same time
  std::uint64_t records = 0;
  std::vector<std::shared_ptr<const storage::TableDirectory>> directories;
  for (const auto& source : sources) {
    if (!source) continue;
    const auto found = source->info().totals.find(bucket.bucket);
    if (found == source->info().totals.end() || found->second.records == 0) continue;
    records += found->second.records;
    directories.push_back(source->tables().shared_from_this());
  }
  const std::string prefix = BucketPrefix(bucket.bucket);
  const std::size_t wanted = std::min<std::size_t>(records / std::max<std::uint64_t>(1, limits.part_records) + 1,
                                                   static_cast<std::size_t>(limits.threads) * kPartsPerThread);
  std::vector<std::string> cuts;
  if (limits.threads > 1 && bucket.merged) cuts = storage::TableDirectory::Cuts(directories, prefix, wanted);
  std::vector<Part> parts;
  std::string lower = prefix;
  for (std::string& cut : cuts) {
    parts.push_back({bucket, static_cast<std::uint32_t>(parts.size()), std::exchange(lower, cut), cut});
  }
  parts.push_back({bucket, static_cast<std::uint32_t>(parts.size()), lower, PrefixSuccessor(prefix).value_or(std::string())});
  return parts;
}

std::vector<std::unique_ptr<TableCursor>> ScanAll(const Generations& sources, const Part& part) {
  std::vector<std::unique_ptr<TableCursor>> cursors;
  for (std::size_t rank = 0; rank < sources.size(); ++rank) {
    cursors.push_back(nullptr);
    if (!sources[rank] || !(part.bucket.merged || rank == 0)) continue;
    const auto totals = sources[rank]->info().totals.find(part.bucket.bucket);
    if (totals == sources[rank]->info().totals.end() || totals->second.records == 0) continue;
    cursors.back() = sources[rank]->tables().NewCursor(part.lower, part.upper, /*scan=*/true);
    cursors.back()->Seek(part.lower);
  }
  return cursors;
}

Status MergeRecordPart(const Generations& sources, const Part& part, const MergeLimits& limits, Pulse* pulse,
                       IndexCollector* indexes, Gathering* gathering) {
  SideBySide merged(ScanAll(sources, part));
  BucketWriter writer(limits.scratch, part.bucket.bucket, 0, limits.file_bytes, limits.files);
  writer.set_part(part.number);
  MergeCounts counts;
  std::uint64_t since = 0;
  for (; !merged.ranks().empty(); merged.Next()) {
    const std::size_t winner = Winner(merged);
    Count(merged, winner, &counts);
    const std::string_view value = merged.value(winner);
    VELLUM_TRY(writer.Put(merged.key(), value));
    VELLUM_TRY(indexes->Add(merged.key(), value));
    VELLUM_TRY(pulse->Tick(&since));
  }
  VELLUM_TRY(merged.status());
  VELLUM_TRY(writer.Finish());
  gathering->Take(part.bucket.bucket, &writer);
  gathering->Count(BucketType(part.bucket.bucket), counts);
  return pulse->Flush(&since);
}

/// An index that follows from the identity: absence never deletes, so the union of the sources' entries is what the
/// survivors imply.
Status UniteIndexPart(const Generations& sources, const Part& part, const MergeLimits& limits, Pulse* pulse,
                      Gathering* gathering) {
  SideBySide merged(ScanAll(sources, part));
  BucketWriter writer(limits.scratch, part.bucket.bucket, 0, limits.file_bytes, limits.files);
  writer.set_part(part.number);
  std::uint64_t since = 0;
  for (; !merged.ranks().empty(); merged.Next()) {
    VELLUM_TRY(writer.Put(merged.key(), {}));
    VELLUM_TRY(pulse->Tick(&since));
  }
  VELLUM_TRY(merged.status());
  VELLUM_TRY(writer.Finish());
  gathering->Take(part.bucket.bucket, &writer);
  return {};
}

}  // namespace

Result<Derived> MergeGenerations(const Generations& sources, const MergeLimits& limits) {
  Gathering gathering;
  Pulse pulse(limits);
  std::vector<std::unique_ptr<IndexCollector>> collectors;
  std::vector<std::function<Status()>> tasks;
  // The largest buckets first, so that the others fill the time of the other threads.
  std::vector<Part> parts;
  for (const bool index : {false, true}) {
    for (auto info = kBuckets.rbegin(); info != kBuckets.rend(); ++info) {
      if (info->index != index || (index && info->from_value)) continue;
      for (Part& part : PartsOf(sources, *info, limits)) parts.push_back(std::move(part));
    }
  }
  for (const Part& part : parts) {
    if (part.bucket.index) {
      tasks.push_back([&, &part = part] { return UniteIndexPart(sources, part, limits, &pulse, &gathering); });
      continue;
    }
    collectors.push_back(std::make_unique<IndexCollector>(limits, part.bucket.bucket, limits.memory_bytes / 8,
                                                          /*principals=*/false, part.number));
    tasks.push_back([&, &part = part, indexes = collectors.back().get()] {
      return MergeRecordPart(sources, part, limits, &pulse, indexes, &gathering);
    });
  }
  VELLUM_TRY(RunTasks(std::move(tasks), limits.threads));
  VELLUM_TRY(WriteIndexes(&collectors, limits, &gathering));
  return std::move(gathering.derived());
}

Result<Derived> SealSorted(SortedRecords records, const MergeLimits& limits) {
  Gathering gathering;
  Pulse pulse(limits);
  std::vector<std::unique_ptr<IndexCollector>> collectors;
  std::vector<std::function<Status()>> tasks;
  const bool principals_sorted = records.grants_by_principal != nullptr;
  for (int type = kRecordTypes - 1; type >= 0; --type) {
    TableCursor* const cursor = records.records[static_cast<std::size_t>(type)].get();
    if (cursor == nullptr) continue;
    const Bucket bucket = RecordBucket(static_cast<RecordType>(type));
    collectors.push_back(
        std::make_unique<IndexCollector>(limits, bucket, limits.memory_bytes / 4, !principals_sorted));
    tasks.push_back([&, cursor, bucket, indexes = collectors.back().get()]() -> Status {
      BucketWriter writer(limits.scratch, bucket, 0, limits.file_bytes, limits.files);
      std::uint64_t since = 0;
      for (cursor->Seek({}); cursor->valid(); cursor->Next()) {
        VELLUM_TRY(writer.Put(cursor->key(), cursor->value()));
        VELLUM_TRY(indexes->Add(cursor->key(), cursor->value()));
        VELLUM_TRY(pulse.Tick(&since));
      }
      VELLUM_TRY(cursor->status());
      VELLUM_TRY(writer.Finish());
      gathering.Take(bucket, &writer);
      return pulse.Flush(&since);
    });
  }
  if (principals_sorted) {
    tasks.push_back([&, cursor = records.grants_by_principal.get()]() -> Status {
      BucketWriter writer(limits.scratch, Bucket::kGrantByPrincipal, 0, limits.file_bytes, limits.files);
      std::uint64_t since = 0;
      for (cursor->Seek({}); cursor->valid(); cursor->Next()) {
        VELLUM_TRY(writer.Put(cursor->key(), {}));
        VELLUM_TRY(pulse.Tick(&since));
      }
      VELLUM_TRY(cursor->status());
      VELLUM_TRY(writer.Finish());
      gathering.Take(Bucket::kGrantByPrincipal, &writer);
      return {};
    });
  }
  VELLUM_TRY(RunTasks(std::move(tasks), limits.threads));
  VELLUM_TRY(WriteIndexes(&collectors, limits, &gathering));
  return std::move(gathering.derived());
}

}  // namespace vellum::sync
