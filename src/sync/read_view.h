#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "storage/tables.h"
#include "sync/buckets.h"
#include "sync/generation.h"
#include "sync/run_sorter.h"
#include "vellum/status.h"

/// What questions are answered from: the records of one sync as of a moment, sealed or still being written.
namespace vellum::sync {

class Store;
class Staging;

/// Immutable, thread-safe, shared by pointer by all who read it: a switch, a sweep or a later put does not disturb it.
class ReadView {
 public:
  virtual ~ReadView() = default;

  /// Names what is read, in page tokens: a generation's id, or "open:" and the id of what a writer fills.
  virtual const GenerationId& id() const = 0;
  /// False: the index does not exist here, although records would have entries in it. Record buckets always exist.
  virtual bool has(Bucket bucket) const = 0;
  /// Everything with the prefix, which begins with a bucket's byte, in key order. Position it with Seek. kAll: all of it will
  /// be read, so read ahead and leave the cache to others.
  enum class Reach : std::uint8_t { kSome, kAll };
  virtual std::unique_ptr<storage::TableCursor> Prefix(std::string_view prefix, Reach reach) const = 0;
  virtual Result<std::optional<std::string>> Get(std::string_view key) const = 0;
  /// Grants that wait for expansion. From the counts where there are any; reads every grant of an open sync.
  virtual Result<std::uint64_t> CountPendingExpansions() const = 0;
  /// Entitlements that grants name by an id of their own making although the sync has no such record; null: not known, so
  /// that whoever must not miss them looks at every resource. See Generation::Strays.
  virtual Result<std::shared_ptr<const StrayEntitlements>> Strays() const = 0;
  /// What is read, if it is a sealed generation; null otherwise.
  virtual std::shared_ptr<const Generation> generation() const = 0;
};

std::shared_ptr<const ReadView> ViewOf(std::shared_ptr<const Generation> generation);
/// `runs` are record buckets and the by-principal index.
std::shared_ptr<const ReadView> ViewOfRuns(const GenerationId& staging,
                                           std::map<Bucket, std::shared_ptr<const SortedRuns>> runs);

/// What a sync has now: its present generation or the named one of its history; or, while it is being written, what its
/// writer has put so far (a writer of this process) or up to its last checkpoint (nobody writes it).
/// kNotFound: no such sync, or a generation that is not of its history. kFailedPrecondition: open, and nothing to read.
Result<std::shared_ptr<const ReadView>> OpenView(const Store& store, std::string_view sync_id,
                                                 const std::optional<GenerationId>& generation);

/// Looks records up by key, best in ascending order: blocks that were looked at last are used again. Not thread-safe.
class RecordLookup {
 public:
  /// `view` must outlive it.
  RecordLookup(const ReadView& view, Bucket bucket) : view_(view), bucket_(bucket) {}
  /// nullopt: no such record. The value is valid until the next call.
  Result<std::optional<std::string_view>> Find(std::string_view key);

  /// Looks all of them up, which costs less than one after the other; at most kManyMax. found(i) is then the i-th one's value,
  /// until the next call.
  static constexpr std::size_t kManyMax = 32;
  void FindMany(const std::vector<std::string_view>& keys);
  Result<std::optional<std::string_view>> found(std::size_t place) const;

 private:
  const ReadView& view_;
  const Bucket bucket_;
  std::unique_ptr<storage::TableCursor> cursor_;  ///< From the first Find on.
  storage::TableValues values_;
  std::vector<Result<std::optional<std::string>>> copies_;  ///< Instead, where there are no tables.
};

}  // namespace vellum::sync
