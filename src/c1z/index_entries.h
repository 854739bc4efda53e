#pragma once

#include <cstdint>
#include <functional>
#include <future>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "c1z/database_schema.h"
#include "c1z/key_sorter.h"
#include "c1z/page_value.h"
#include "c1z/page_writer.h"
#include "vellum/status.h"

namespace vellum::c1z {

/// The entries of a database's indexes, gathered from rows and handed out in their order. A thread of its own makes and
/// sorts them while the caller goes on with the rows, and reads ahead while the caller goes on with the entries; memory
/// is bounded. Not thread-safe. Included inside this room only.
class IndexEntries {
 public:
  /// `schema` must outlive this. `sorting` is each index's.
  IndexEntries(const DatabaseSchema* schema, const KeySorter::Options& sorting);
  ~IndexEntries();
  IndexEntries(const IndexEntries&) = delete;
  IndexEntries& operator=(const IndexEntries&) = delete;

  /// Copies what indexes need. Fails if what was added earlier could not be sorted.
  Status Add(std::size_t table, std::int64_t row_id, const std::vector<PageValue>& values);
  /// No more rows.
  Status EndRows();

  /// Told of each entry of a unique index that more than one row has: which index, the entry's values, how many rows.
  /// Views are valid during the call, which comes from another thread, one at a time.
  using OnRepeat = std::function<void(const IndexSchema&, const std::vector<PageValue>&, std::uint64_t)>;
  using Visit = std::function<Status(std::string_view record)>;
  /// After EndRows, once for each index: its entries as records, ascending. Gives their memory back.
  Status ForEach(std::size_t index, const OnRepeat& on_repeat, const Visit& visit);

 private:
  struct Index;
  struct Rows;
  class Producer;

  Status Hand();
  Status Wait();
  Status AddKeys(const Rows& rows);

  const DatabaseSchema& schema_;
  std::vector<std::unique_ptr<Index>> indexes_;
  std::vector<std::vector<std::size_t>> of_table_;  ///< Its indexes.
  std::vector<std::vector<std::uint8_t>> wanted_;   ///< By table and column: whether an index has its bytes.
  std::unique_ptr<Rows> filling_;
  std::unique_ptr<Rows> sorting_;  ///< `working_` alone reads it.
  std::future<Status> working_;
};

/// Values of index entries as bytes, in an order that is SQLite's: NULL, integers, text, blobs.
void AppendKeyValue(std::string* key, const PageValue& value);
/// The values of a key that holds nothing else. Views into it, or into `unescaped`. False for anything else.
bool ParseKeyValues(std::string_view key, std::vector<PageValue>* values, std::string* unescaped);

}  // namespace vellum::c1z
