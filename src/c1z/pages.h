#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "c1z/page_value.h"
#include "vellum/status.h"

/// The pages of a SQLite database that is a private file: read and checked without SQLite. Included inside this room
/// only.
namespace vellum::c1z {

/// A row of a table or an entry of an index. Views are valid during the call that hands it out.
struct PageRecord {
  std::int64_t row_id = 0;  ///< Tables.
  std::vector<PageValue> values;
  std::string_view bytes;  ///< The record as it is stored; the views of `values` lie in it.
};

/// The values of a record that is in one piece: views into it. False if they do not fill it: fewer bytes or more.
bool ParseRecord(std::string_view record, std::vector<PageValue>* values);

/// The file, which must not change meanwhile. Everything in it is hostile: what does not fit is kInvalidArgument with
/// the page's number, never a crash. It is mapped, a part of it at a time. Not thread-safe.
class DatabasePages {
 public:
  /// kInvalidArgument also for databases that are not UTF-8 or that vacuum themselves.
  static Result<std::unique_ptr<DatabasePages>> Open(const std::string& path);
  ~DatabasePages();
  DatabasePages(const DatabasePages&) = delete;
  DatabasePages& operator=(const DatabasePages&) = delete;

  enum class Tree : std::uint8_t { kTable, kIndex };
  using Visit = std::function<Status(const PageRecord&)>;
  /// Everything in the tree at `root`, in its order. Every page is entered once in the life of this object: a second
  /// time is damage.
  Status Walk(std::uint32_t root, Tree tree, const Visit& visit);

  /// After every tree was walked: whether the pages that were not entered are the free ones and no others.
  Status CheckFreePages();

  std::uint32_t page_bytes() const;
  /// Numbers of the header that mean nothing to SQLite and stay with the database.
  std::uint32_t user_version() const;
  std::uint32_t application_id() const;

 private:
  struct Impl;
  explicit DatabasePages(std::unique_ptr<Impl> impl);
  const std::unique_ptr<Impl> impl_;
};

}  // namespace vellum::c1z
