#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "sync/operations.h"

namespace vellum::cli {

/// Follows long work: a counting line on standard error if that is a terminal, nothing otherwise. Ctrl-C cancels the work; a
/// second one ends the program. One at a time.
class Progress {
 public:
  explicit Progress(std::string what);
  ~Progress();
  Progress(const Progress&) = delete;
  Progress& operator=(const Progress&) = delete;
  const sync::Work& work() const { return work_; }
  double seconds() const;

 private:
  void Show(std::uint64_t records);
  const std::string what_;
  const bool shown_;
  const std::chrono::steady_clock::time_point began_ = std::chrono::steady_clock::now();
  std::atomic<std::int64_t> last_ms_{0};
  std::atomic<bool> printed_{false};
  sync::Work work_;
};

/// How records and listings are printed.
enum class Format : std::uint8_t { kTable, kJson, kJsonl, kCsv };

/// Prints rows under titles: as columns, as one JSON array of objects, as one object a line, or as CSV (RFC 4180). Rows are
/// printed as they come, but for tables, which wait for the widest cell (the first 1,000 rows decide).
class RowPrinter {
 public:
  struct Column {
    std::string name;
    bool number = false;  ///< Unquoted in JSON.
  };
  RowPrinter(Format format, std::vector<Column> columns);
  /// Flushes what waits and closes the JSON array.
  ~RowPrinter();
  RowPrinter(const RowPrinter&) = delete;
  RowPrinter& operator=(const RowPrinter&) = delete;
  void Row(std::vector<std::string> cells);

 private:
  std::vector<std::string> Titles() const;
  void FlushTable();
  const Format format_;
  const std::vector<Column> columns_;
  std::vector<std::vector<std::string>> waiting_;
  bool any_ = false;
  bool titled_ = false;
};

}  // namespace vellum::cli
