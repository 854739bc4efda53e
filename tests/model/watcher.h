#pragma once

#include <chrono>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/mutex.h"
#include "kv/engine.h"
#include "kv/watch_hub.h"
#include "model/reference.h"

namespace vellum::model {

/// One watch over an interval that is held against the reference, across reopening: nothing missing, nothing twice,
/// nothing out of order.
class Watcher {
 public:
  /// Wants everything from `start` on.
  Watcher(std::string key, std::string range_end, Revision start)
      : key_(std::move(key)), range_end_(std::move(range_end)), next_(start) {}

  /// Begins (again) where it stopped.
  void Attach(kv::Engine* engine);
  /// Waits until everything up to the reference's revision has come, compares, and remembers where to go on. Where it was
  /// overtaken by a compaction it goes on from there. Failures are the test's.
  void Verify(const Reference& reference);
  /// After this nothing more comes; Attach may follow.
  void Detach();

 private:
  struct Box;
  std::vector<Event> Expected(const Reference& reference, Revision to) const;

  const std::string key_;
  const std::string range_end_;
  Revision next_;
  kv::Engine* engine_ = nullptr;
  kv::WatchHub::StreamId stream_ = 0;
  std::shared_ptr<Box> box_;
};

}  // namespace vellum::model
