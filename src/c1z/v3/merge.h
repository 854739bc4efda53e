#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <vector>

#include "c1z/v3/scan.h"
#include "c1z/v3/version.h"

namespace vellum::c1z::v3 {

/// Range deletions as pieces that do not overlap, each with its highest sequence number, for a walk in key order.
class DeletedRanges {
 public:
  void Add(std::string start, std::string end, std::uint64_t sequence);
  /// Ends adding. Cost: n log n.
  void Build();
  /// The highest sequence number of the deletions that cover `key`; 0: none. Keys must come in ascending order.
  std::uint64_t Covering(std::string_view key);
  std::size_t added() const { return added_.size(); }
  /// What one costs in memory, beside twice its keys.
  static constexpr std::size_t kBytesEach = 320;

 private:
  struct Range {
    std::string start;
    std::string end;
    std::uint64_t sequence = 0;
  };
  std::vector<Range> added_;
  std::vector<Range> pieces_;
  std::size_t at_ = 0;
};

/// A database's tables, opened when they are first needed. Thread-safe.
class TableSet {
 public:
  TableSet(const Checkpoint* checkpoint, const Database* database, std::uint64_t block_bytes_max, Budget* budget)
      : checkpoint_(checkpoint), database_(database), block_bytes_max_(block_bytes_max), budget_(budget) {}

  Result<std::shared_ptr<const Table>> Open(const TableMeta& meta);
  const Database& database() const { return *database_; }
  const Checkpoint& checkpoint() const { return *checkpoint_; }
  Budget* budget() const { return budget_; }

 private:
  const Checkpoint* const checkpoint_;
  const Database* const database_;
  const std::uint64_t block_bytes_max_;
  Budget* const budget_;
  std::mutex mu_;
  std::map<std::size_t, std::shared_ptr<const Table>> open_;  ///< By file; under mu_.
};

/// Keys that cut [from, until) into `parts` of about as many stored bytes, ascending; fewer, or none, where there is little to cut.
Result<std::vector<std::string>> FindCuts(TableSet* tables, const std::string& from, const std::string& until, std::size_t parts);

/// The newest state of the keys in a range, in order: all tables of all levels merged, the highest sequence number of each
/// key, without what is deleted. Tables are read one block at a time, and only while the walk is within their bounds.
class MergedScan {
 public:
  /// Keys with from <= key < until; an empty `until` is no bound. `tables` must outlive the scan.
  static Result<std::unique_ptr<MergedScan>> Start(TableSet* tables, std::string from, std::string until);

  /// False at the end.
  Result<bool> Next();
  std::string_view key() const { return current_->key(); }      ///< Valid until the next move, as the value is.
  std::string_view value() const { return current_->value(); }

 private:
  MergedScan(TableSet* tables, std::string from, std::string until)
      : tables_(tables), from_(std::move(from)), until_(std::move(until)), charge_(tables->budget()) {}
  Status CollectDeletions();
  /// Opens the tables that begin at or before the smallest key of those that are open.
  Status Admit();
  /// Moves a scan to its next key and puts it back among the others, or drops it at its end.
  Status Advance(std::unique_ptr<TableScan> scan);
  std::unique_ptr<TableScan> Pop();

  TableSet* const tables_;
  const std::string from_;
  const std::string until_;
  std::vector<const TableMeta*> waiting_;  ///< By smallest key, the last first.
  std::vector<std::unique_ptr<TableScan>> heap_;
  std::unique_ptr<TableScan> current_;
  DeletedRanges deleted_;
  Charge charge_;  ///< For the deletions.
};

}  // namespace vellum::c1z::v3
