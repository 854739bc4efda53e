#pragma once

#include <cstddef>
#include <cstdint>
#include <future>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "c1z/file.h"
#include "storage/tables.h"
#include "sync/memory_run.h"
#include "vellum/status.h"

namespace vellum::c1z {

/// Keys in a file, one run after the other, each ascending: of a key only what differs from the one before it.
class RunFile {
 public:
  struct Run {
    std::uint64_t begin = 0;
    std::uint64_t end = 0;
  };

  /// `beside`: the file lies in its directory, without a name, as soon as there is more than fits in memory.
  explicit RunFile(std::string beside) : beside_(std::move(beside)) {}

  void Begin();
  Status Add(std::string_view key);
  void End();
  /// Whether Begin was called and nothing ended it.
  bool open() const { return open_; }
  std::string_view last() const { return last_; }
  const std::vector<Run>& runs() const { return runs_; }
  /// Reads what Add wrote. This must outlive the cursor, and nothing may be added meanwhile.
  std::unique_ptr<storage::TableCursor> Read(std::size_t run, std::size_t buffer_bytes) const;

 private:
  class Cursor;
  Status ReadAt(std::uint64_t offset, char* to, std::size_t size) const;

  const std::string beside_;
  std::unique_ptr<File> file_;
  std::uint64_t written_ = 0;  ///< In the file; behind it comes `tail_`.
  std::string tail_;
  std::string last_;
  bool open_ = false;
  std::vector<Run> runs_;
};

/// Sorts distinct keys in bounded memory. What comes in ascending order goes straight into one run; the rest is sorted
/// a piece at a time, on a thread of its own, and merged at the end. Not thread-safe.
class KeySorter {
 public:
  struct Options {
    std::string beside;                   ///< Scratch files lie in its directory.
    std::size_t memory_bytes = 8u << 20;  ///< Of the keys that are being gathered, and as many that are being sorted.
    std::size_t merge_bytes = 8u << 20;   ///< For reading all runs at once.
  };

  explicit KeySorter(Options options);
  ~KeySorter();
  KeySorter(const KeySorter&) = delete;
  KeySorter& operator=(const KeySorter&) = delete;

  Status Add(std::string_view key);
  /// Whether Finish has to sort keys first.
  bool sorts() const { return filling_->size() > 0; }
  /// Ends adding: all keys, ascending. The cursor stands on the first one, and this must outlive it.
  Result<std::unique_ptr<storage::TableCursor>> Finish();

 private:
  Status Spill();
  Status Wait();

  const Options options_;
  RunFile ascending_;
  RunFile sorted_;  ///< Written by `spilling_` alone while it runs.
  std::unique_ptr<sync::MemoryRun> filling_;
  std::future<Status> spilling_;
};

}  // namespace vellum::c1z
