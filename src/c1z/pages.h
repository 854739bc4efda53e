#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "c1z/page_value.h"
#include "vellum/status.h"

/// The pages of a SQLite database that is a private file: read and checked without SQLite, and patched in place where
/// the length of a value stays. Included inside this room only.
namespace vellum::c1z {

/// A row of a table or an entry of an index. Views are valid during the call that hands it out.
struct PageRecord {
  std::int64_t row_id = 0;  ///< Tables.
  std::vector<PageValue> values;
};

/// The file. Everything in it is hostile: what does not fit is kInvalidArgument with the page's number, never a crash.
/// Not thread-safe.
class DatabasePages {
 public:
  /// kInvalidArgument also for databases that are not UTF-8 or that vacuum themselves.
  static Result<std::unique_ptr<DatabasePages>> Open(const std::string& path);
  ~DatabasePages();
  DatabasePages(const DatabasePages&) = delete;
  DatabasePages& operator=(const DatabasePages&) = delete;

  enum class Tree : std::uint8_t { kTable, kIndex };
  using Visit = std::function<Status(const PageRecord&)>;
  /// Everything in the tree at `root`, in its order. `replaced` is the number of a value whose bytes are overwritten
  /// with `replacement` after `visit` has seen them, wherever it is text of that length; -1 for none. Every page is
  /// entered once in the life of this object: a second time is damage.
  Status Walk(std::uint32_t root, Tree tree, int replaced, std::string_view replacement, const Visit& visit);

  /// After every tree was walked: whether the pages that were not entered are the free ones and no others.
  Status CheckFreePages();

  /// Says in the header that the database keeps a rollback journal, so that nobody looks for a log beside it.
  void LeaveWalMode();

 private:
  struct Impl;
  explicit DatabasePages(std::unique_ptr<Impl> impl);
  const std::unique_ptr<Impl> impl_;
};

}  // namespace vellum::c1z
