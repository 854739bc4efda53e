#pragma once

#include <array>
#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "sync/merge.h"
#include "sync/record.h"
#include "sync/run_sorter.h"

namespace vellum::sync {

/// A sync that is being written: takes records in any order, keeps them as sorted runs in a directory of its own, and
/// becomes tables when it is sealed. Nothing is read while writing, and nothing synced between checkpoints.
///
/// Not thread-safe.
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

  const std::string& token() const { return token_; }
  /// Records put, repeated identities included.
  std::uint64_t records() const;

  /// Ends writing: one merge of the runs, with all indexes. `limits.scratch` may be the same directory. Once only, also if
  /// it fails: kFailedPrecondition after that, because the runs in memory are gone. A checkpoint can be resumed.
  Result<Derived> Seal(const MergeLimits& limits);

 private:
  explicit Staging(Options options);
  RunSorter* Sorter(Bucket bucket);

  const Options options_;
  std::map<Bucket, std::unique_ptr<RunSorter>> sorters_;
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
