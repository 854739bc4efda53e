#pragma once

#include <array>
#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/mutex.h"
#include "sync/merge.h"
#include "sync/read_view.h"
#include "sync/record.h"
#include "sync/run_sorter.h"

namespace vellum::sync {

/// A sync that is being written: takes records in any order, keeps them as sorted runs in a directory of its own, and
/// becomes tables when it is sealed. Nothing is read while writing, and nothing synced between checkpoints.
///
/// Each lane is written by one thread at a time; Snapshot may be called from any other meanwhile.
class Staging final : public RecordSink {
 public:
  struct Options {
    std::string directory;                  ///< Exists; belongs to this object until it is gone.
    std::size_t memory_bytes = 160u << 20;  ///< For runs that are not yet in files, of all lanes.
    FileSystemPtr files = nullptr;          ///< Null: the machine's.
    /// Of threads that put at once, each into its own. Of equal identities the last put of the highest lane wins.
    std::size_t lanes = 1;
  };

  /// Starts empty: `directory` must not hold a checkpoint.
  static Result<std::unique_ptr<Staging>> Create(Options options);
  /// Goes on from the last checkpoint; what was put after it is gone. kNotFound without one, kDataLoss for a damaged one.
  static Result<std::unique_ptr<Staging>> Resume(Options options);
  /// What the last checkpoint in `directory` kept, without taking it over: nothing is changed. Errors as Resume's.
  static Result<std::shared_ptr<const ReadView>> ReadCheckpoint(const std::string& directory, const GenerationId& id,
                                                                const FileSystemPtr& files = nullptr);
  ~Staging() override;

  /// kInvalidArgument for a record that lacks its identity or is too large; nothing changes then.
  Status Put(const RecordView& record) override;
  /// The same into a lane; Put is into lane 0. Threads may put into different lanes at once.
  Status PutInLane(std::size_t lane, const RecordView& record) {
    return lane == 0 ? Put(record) : further_[lane - 1]->Put(record);
  }

  /// Makes everything put so far, and `token` (at most kTokenBytesMax), survive power loss before it returns.
  /// kFailedPrecondition with several lanes.
  Status Checkpoint(std::string_view token);
  static constexpr std::size_t kTokenBytesMax = 16u << 20;

  /// What was put so far, under the name `id`. Later puts do not change it, nor does sealing.
  /// kUnavailable while it is being sealed.
  Result<std::shared_ptr<const ReadView>> Snapshot(const GenerationId& id);

  const std::string& token() const { return token_; }
  /// Records put, repeated identities included.
  std::uint64_t records() const;

  /// Ends writing: one merge of the runs, with all indexes. `limits.scratch` may be the same directory. Once only, also if
  /// it fails: kFailedPrecondition after that, because the runs in memory are gone. A checkpoint can be resumed.
  Result<Derived> Seal(const MergeLimits& limits);

 private:
  explicit Staging(Options options);
  RunSorter* Sorter(Bucket bucket) VELLUM_REQUIRES(mu_);

  const Options options_;
  Mutex mu_;
  std::map<Bucket, std::unique_ptr<RunSorter>> sorters_ VELLUM_GUARDED_BY(mu_);
  bool sealing_ VELLUM_GUARDED_BY(mu_) = false;
  std::vector<std::unique_ptr<Staging>> further_;  ///< Lanes from 1 on.
  std::string run_prefix_;                         ///< Of run files' names: lanes share the directory.
  std::string token_;
  std::uint64_t records_ = 0;
  bool ended_ = false;
  std::string key_;    // reused between puts
  std::string value_;
  std::string index_key_;
};

}  // namespace vellum::sync
