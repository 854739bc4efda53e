#include "sync/run_sorter.h"

#include <algorithm>
#include <cstring>
#include <future>
#include <limits>

namespace vellum::sync {
namespace {

/// One run in memory: bytes in blocks, and what is needed to sort them.
class MemoryRun {
 public:
  /// What an entry costs beside its bytes.
  static constexpr std::size_t kEntryOverhead = 32;

  void Add(std::string_view key, std::string_view value) {
    char* const bytes = Allocate(key.size() + value.size());
    std::memcpy(bytes, key.data(), key.size());
    if (!value.empty()) std::memcpy(bytes + key.size(), value.data(), value.size());
    entries_.push_back({Prefix(key), bytes, static_cast<std::uint32_t>(key.size()),
                        static_cast<std::uint32_t>(value.size()), static_cast<std::uint32_t>(entries_.size())});
  }

  /// Sorts by key and drops all but the last put of each.
  void Sort() {
    std::sort(entries_.begin(), entries_.end(), [](const Entry& a, const Entry& b) {
      const int order = a.Compare(b);
      return order != 0 ? order < 0 : a.sequence > b.sequence;
    });
    entries_.erase(std::unique(entries_.begin(), entries_.end(),
                               [](const Entry& a, const Entry& b) { return a.Compare(b) == 0; }),
                   entries_.end());
  }

  std::size_t size() const { return entries_.size(); }
  std::size_t bytes() const { return bytes_ + entries_.size() * kEntryOverhead; }
  std::string_view key(std::size_t i) const { return entries_[i].key(); }
  std::string_view value(std::size_t i) const { return entries_[i].value(); }

  std::size_t LowerBound(std::string_view key) const {
    const auto at = std::lower_bound(entries_.begin(), entries_.end(), key,
                                     [](const Entry& entry, std::string_view wanted) { return entry.key() < wanted; });
    return static_cast<std::size_t>(at - entries_.begin());
  }

 private:
  struct Entry {
    std::uint64_t prefix;  ///< First bytes of the key behind its bucket byte: decides most comparisons.
    const char* bytes;
    std::uint32_t key_size;
    std::uint32_t value_size;
    std::uint32_t sequence;

    std::string_view key() const { return {bytes, key_size}; }
    std::string_view value() const { return {bytes + key_size, value_size}; }
    int Compare(const Entry& other) const {
      if (prefix != other.prefix) return prefix < other.prefix ? -1 : 1;
      return key().compare(other.key());
    }
  };

  static std::uint64_t Prefix(std::string_view key) {
    std::uint64_t prefix = 0;
    for (std::size_t i = 0; i < 8; ++i) {
      prefix = (prefix << 8) | (i < key.size() ? static_cast<std::uint8_t>(key[i]) : 0u);
    }
    return prefix;
  }

  char* Allocate(std::size_t size) {
    bytes_ += size;
    if (size > left_) {
      const std::size_t block = std::max(size, kBlockBytes);
      blocks_.push_back(std::make_unique_for_overwrite<char[]>(block));
      at_ = blocks_.back().get();
      left_ = block;
    }
    char* const bytes = at_;
    at_ += size;
    left_ -= size;
    return bytes;
  }

  static constexpr std::size_t kBlockBytes = 1u << 20;
  std::vector<std::unique_ptr<char[]>> blocks_;
  char* at_ = nullptr;
  std::size_t left_ = 0;
  std::size_t bytes_ = 0;
  std::vector<Entry> entries_;
};

class MemoryCursor final : public storage::TableCursor {
 public:
  explicit MemoryCursor(std::unique_ptr<MemoryRun> run) : run_(std::move(run)) {}
  void Seek(std::string_view key) override { at_ = run_->LowerBound(key); }
  void Next() override { ++at_; }
  bool valid() const override { return at_ < run_->size(); }
  std::string_view key() const override { return run_->key(at_); }
  std::string_view value() const override { return run_->value(at_); }
  Status status() const override { return {}; }

 private:
  const std::unique_ptr<MemoryRun> run_;
  std::size_t at_ = 0;
};

/// Smallest key first; of equal keys the latest run's is shown and the others are skipped.
class MergingCursor final : public storage::TableCursor {
 public:
  explicit MergingCursor(std::vector<std::unique_ptr<storage::TableCursor>> runs) : runs_(std::move(runs)) {}

  void Seek(std::string_view key) override {
    heap_.clear();
    status_ = Status();
    for (std::size_t rank = 0; rank < runs_.size(); ++rank) {
      runs_[rank]->Seek(key);
      if (StandsOnRecord(rank)) heap_.push_back(rank);
    }
    std::make_heap(heap_.begin(), heap_.end(), Later{&runs_});
    TakeFirst();
  }

  void Next() override {
    // The others that stand on the same key lose.
    while (!heap_.empty() && runs_[heap_.front()]->key() == runs_[current_]->key()) Advance(PopHeap());
    Advance(current_);
    TakeFirst();
  }

  bool valid() const override { return current_ != kNone && status_.ok(); }
  std::string_view key() const override { return runs_[current_]->key(); }
  std::string_view value() const override { return runs_[current_]->value(); }
  Status status() const override { return status_; }

 private:
  static constexpr std::size_t kNone = std::numeric_limits<std::size_t>::max();

  struct Later {
    const std::vector<std::unique_ptr<storage::TableCursor>>* runs;
    bool operator()(std::size_t a, std::size_t b) const {
      const int order = (*runs)[a]->key().compare((*runs)[b]->key());
      return order != 0 ? order > 0 : a < b;
    }
  };

  /// False at the end of a run, and when it failed: then the whole merge ends with its error.
  bool StandsOnRecord(std::size_t rank) {
    if (runs_[rank]->valid()) return true;
    if (status_.ok()) status_ = runs_[rank]->status();
    return false;
  }

  std::size_t PopHeap() {
    std::pop_heap(heap_.begin(), heap_.end(), Later{&runs_});
    const std::size_t rank = heap_.back();
    heap_.pop_back();
    return rank;
  }

  void Advance(std::size_t rank) {
    runs_[rank]->Next();
    if (!StandsOnRecord(rank)) return;
    heap_.push_back(rank);
    std::push_heap(heap_.begin(), heap_.end(), Later{&runs_});
  }

  void TakeFirst() { current_ = heap_.empty() ? kNone : PopHeap(); }

  const std::vector<std::unique_ptr<storage::TableCursor>> runs_;
  std::vector<std::size_t> heap_;  ///< Of runs that stand on a record, but for current_.
  std::size_t current_ = kNone;
  Status status_;
};

}  // namespace

std::unique_ptr<storage::TableCursor> MergeRuns(std::vector<std::unique_ptr<storage::TableCursor>> runs) {
  if (runs.size() == 1) return std::move(runs.front());
  return std::make_unique<MergingCursor>(std::move(runs));
}

struct RunSorter::Impl {
  Options options;
  std::unique_ptr<MemoryRun> filling = std::make_unique<MemoryRun>();
  std::future<Status> spilling;
  Status failed;
  std::vector<std::string> runs;
  std::uint64_t added = 0;

  std::string NewPath() const { return options.directory + "/" + options.prefix + "-" + std::to_string(runs.size()) + ".run"; }

  static Status Spill(std::unique_ptr<MemoryRun> run, const std::string& path,
                      const std::shared_ptr<storage::FileSystem>& files) {
    run->Sort();
    storage::TableOptions table;
    table.bloom_filter = false;
    VELLUM_ASSIGN_OR_RETURN(const auto writer, storage::TableWriter::Create(path, table, files));
    for (std::size_t i = 0; i < run->size(); ++i) VELLUM_TRY(writer->Put(run->key(i), run->value(i)));
    return writer->Finish().error();
  }

  /// Fails for good once a spill has failed: its keys are gone, so nothing that comes later would be complete.
  Status WaitForSpill() {
    if (spilling.valid() && failed.ok()) failed = spilling.get();
    return failed;
  }

  Status StartSpill() {
    VELLUM_TRY(WaitForSpill());
    const std::string path = NewPath();
    runs.push_back(path);
    spilling = std::async(std::launch::async, &Impl::Spill, std::exchange(filling, std::make_unique<MemoryRun>()), path,
                          options.files);
    return {};
  }
};

RunSorter::RunSorter(Options options) : impl_(std::make_unique<Impl>()) { impl_->options = std::move(options); }

RunSorter::~RunSorter() {
  impl_->WaitForSpill().IgnoreError("what was spilled is thrown away with the directory");
}

Status RunSorter::Add(std::string_view key, std::string_view value) {
  if (key.size() + value.size() > std::numeric_limits<std::uint32_t>::max()) {
    return InvalidArgument("a record of " + std::to_string(key.size() + value.size()) + " bytes cannot be sorted");
  }
  impl_->filling->Add(key, value);
  ++impl_->added;
  return impl_->filling->bytes() * 2 > impl_->options.memory_bytes ? impl_->StartSpill() : Status();
}

std::uint64_t RunSorter::added() const { return impl_->added; }

Status RunSorter::Flush() {
  if (impl_->filling->size() > 0) VELLUM_TRY(impl_->StartSpill());
  return impl_->WaitForSpill();
}

Status RunSorter::Adopt(const std::string& path) {
  if (impl_->added > 0) return FailedPrecondition("a run is adopted before anything is added");
  impl_->runs.push_back(path);
  return {};
}

const std::vector<std::string>& RunSorter::runs() const { return impl_->runs; }

Result<std::unique_ptr<storage::TableCursor>> RunSorter::Finish() {
  VELLUM_TRY(impl_->WaitForSpill());
  std::vector<std::unique_ptr<storage::TableCursor>> runs;
  for (const std::string& path : impl_->runs) {
    VELLUM_ASSIGN_OR_RETURN(auto run, storage::OpenTable(path, impl_->options.files));
    runs.push_back(std::move(run));
  }
  impl_->filling->Sort();
  runs.push_back(std::make_unique<MemoryCursor>(std::exchange(impl_->filling, std::make_unique<MemoryRun>())));
  return MergeRuns(std::move(runs));
}

}  // namespace vellum::sync
