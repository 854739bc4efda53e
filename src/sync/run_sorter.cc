#include "sync/run_sorter.h"

#include <future>
#include <limits>

#include "base/aside.h"
#include "sync/memory_run.h"
#include "sync/tournament.h"

namespace vellum::sync {
namespace {

/// How many entries ahead their bytes are fetched.
constexpr std::size_t kAhead = 4;

class MemoryCursor final : public storage::TableCursor {
 public:
  explicit MemoryCursor(std::shared_ptr<const MemoryRun> run) : run_(std::move(run)) {}
  void Seek(std::string_view key) override { at_ = run_->LowerBound(key); }
  void Next() override { run_->Expect(++at_ + kAhead); }
  bool valid() const override { return at_ < run_->size(); }
  std::string_view key() const override { return run_->key(at_); }
  std::string_view value() const override { return run_->value(at_); }
  Status status() const override { return {}; }

 private:
  const std::shared_ptr<const MemoryRun> run_;
  std::size_t at_ = 0;
};

/// Smallest key first; of equal keys the latest run's is shown and the others are skipped.
class MergingCursor final : public storage::TableCursor {
 public:
  explicit MergingCursor(std::vector<std::unique_ptr<storage::TableCursor>> runs)
      : runs_(std::move(runs)), order_(&runs_, Tournament::Ties::kLaterFirst) {}

  void Seek(std::string_view key) override {
    status_ = Status();
    for (std::size_t rank = 0; rank < runs_.size(); ++rank) {
      runs_[rank]->Seek(key);
      NoteEnd(rank);
    }
    order_.Restart();
    current_ = order_.winner();
  }

  void Next() override {
    if (order_.tied()) {
      // The others that stand on the same key lose. The key is that of a cursor that stands still meanwhile.
      const std::string_view key = order_.key(current_);
      order_.LeaveOut(current_);
      for (std::size_t rank = order_.winner(); rank != Tournament::kNone && order_.key(rank) == key; rank = order_.winner()) {
        Advance(rank);
      }
    }
    Advance(current_);
    current_ = order_.winner();
  }

  bool valid() const override { return current_ != Tournament::kNone && status_.ok(); }
  std::string_view key() const override { return order_.key(current_); }
  std::string_view value() const override { return runs_[current_]->value(); }
  Status status() const override { return status_; }

 private:
  void Advance(std::size_t rank) {
    runs_[rank]->Next();
    NoteEnd(rank);
    order_.Moved(rank);
  }
  /// A run that ends because it failed ends the whole merge with its error.
  void NoteEnd(std::size_t rank) {
    if (!runs_[rank]->valid() && status_.ok()) status_ = runs_[rank]->status();
  }

  const std::vector<std::unique_ptr<storage::TableCursor>> runs_;
  Tournament order_;
  std::size_t current_ = Tournament::kNone;
  Status status_;
};

}  // namespace

std::unique_ptr<storage::TableCursor> MergeRuns(std::vector<std::unique_ptr<storage::TableCursor>> runs) {
  if (runs.size() == 1) return std::move(runs.front());
  return std::make_unique<MergingCursor>(std::move(runs));
}

namespace {

class FrozenRuns final : public SortedRuns {
 public:
  FrozenRuns(std::vector<std::shared_ptr<const storage::StandaloneTable>> files, std::shared_ptr<const MemoryRun> memory)
      : files_(std::move(files)), memory_(std::move(memory)) {}

  std::unique_ptr<storage::TableCursor> NewCursor() const override {
    std::vector<std::unique_ptr<storage::TableCursor>> runs;
    for (const auto& file : files_) runs.push_back(file->NewCursor());
    if (memory_ || runs.empty()) {
      runs.push_back(std::make_unique<MemoryCursor>(memory_ ? memory_ : std::make_shared<const MemoryRun>()));
    }
    return MergeRuns(std::move(runs));
  }

 private:
  const std::vector<std::shared_ptr<const storage::StandaloneTable>> files_;
  const std::shared_ptr<const MemoryRun> memory_;
};

Result<std::vector<std::shared_ptr<const storage::StandaloneTable>>> OpenFiles(const std::vector<std::string>& paths,
                                                                                 const std::shared_ptr<storage::FileSystem>& system) {
  std::vector<std::shared_ptr<const storage::StandaloneTable>> files;
  for (const std::string& path : paths) {
    VELLUM_ASSIGN_OR_RETURN(auto file, storage::StandaloneTable::Open(path, system));
    files.push_back(std::move(file));
  }
  return files;
}

}  // namespace

namespace {

class UnitedRuns final : public SortedRuns {
 public:
  explicit UnitedRuns(std::vector<std::shared_ptr<const SortedRuns>> runs) : runs_(std::move(runs)) {}
  std::unique_ptr<storage::TableCursor> NewCursor() const override {
    std::vector<std::unique_ptr<storage::TableCursor>> cursors;
    for (const auto& each : runs_) cursors.push_back(each->NewCursor());
    return MergeRuns(std::move(cursors));
  }

 private:
  const std::vector<std::shared_ptr<const SortedRuns>> runs_;
};

}  // namespace

std::shared_ptr<const SortedRuns> UniteRuns(std::vector<std::shared_ptr<const SortedRuns>> runs) {
  if (runs.size() == 1) return std::move(runs.front());
  return std::make_shared<UnitedRuns>(std::move(runs));
}

Result<std::shared_ptr<const SortedRuns>> OpenRuns(const std::vector<std::string>& paths, const std::shared_ptr<storage::FileSystem>& system) {
  VELLUM_ASSIGN_OR_RETURN(auto files, OpenFiles(paths, system));
  return std::shared_ptr<const SortedRuns>(std::make_shared<FrozenRuns>(std::move(files), nullptr));
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
    for (std::size_t i = 0; i < run->size(); ++i) {
      run->Expect(i + kAhead);
      VELLUM_TRY(writer->Put(run->key(i), run->value(i)));
    }
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
    spilling = DoAside([run = std::exchange(filling, std::make_unique<MemoryRun>()), path, files = options.files]() mutable {
      return Spill(std::move(run), path, files);
    });
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

Result<RunSorter::Freeze> RunSorter::Snapshot() {
  VELLUM_TRY(impl_->WaitForSpill());
  // Opened here, because the owner may seal and remove them the next moment.
  VELLUM_ASSIGN_OR_RETURN(auto files, OpenFiles(impl_->runs, impl_->options.files));
  auto memory = std::make_shared<MemoryRun>(*impl_->filling);
  return Freeze([files = std::move(files), memory]() -> Result<std::shared_ptr<const SortedRuns>> {
    memory->Sort();
    return std::shared_ptr<const SortedRuns>(std::make_shared<FrozenRuns>(files, memory));
  });
}

Result<std::unique_ptr<storage::TableCursor>> RunSorter::Finish() {
  VELLUM_TRY(impl_->WaitForSpill());
  std::vector<std::unique_ptr<storage::TableCursor>> runs;
  for (const std::string& path : impl_->runs) {
    VELLUM_ASSIGN_OR_RETURN(auto run, storage::OpenTable(path, impl_->options.files));
    runs.push_back(std::move(run));
  }
  impl_->filling->Sort();
  runs.push_back(std::make_unique<MemoryCursor>(
      std::shared_ptr<const MemoryRun>(std::exchange(impl_->filling, std::make_unique<MemoryRun>()))));
  return MergeRuns(std::move(runs));
}

}  // namespace vellum::sync
