#include "kv/history_filter.h"

#include <utility>

#include "kv/schema.h"

namespace vellum::kv {
namespace {

class HistoryFilter final : public storage::RecordFilter {
 public:
  HistoryFilter(Revision compacted, Counter* counter) : compacted_(compacted), counter_(counter) {}
  ~HistoryFilter() override {
    if (counter_ != nullptr && dropped_ > 0) counter_->Increment(static_cast<double>(dropped_));
  }

  bool ShouldDrop(std::string_view, std::string_view value) const override {
    const std::optional<Revision> end = HistoryRecordEnd(value);
    const bool drop = end && *end <= compacted_;
    if (drop) ++dropped_;
    return drop;
  }

 private:
  const Revision compacted_;
  Counter* const counter_;
  /// One filter serves one thread: what it counts is told once, at its end.
  mutable std::uint64_t dropped_ = 0;
};

}  // namespace

storage::RecordFilterFactory HistoryFilterFactory(std::shared_ptr<const CompactionMark> mark, Counter* dropped) {
  return [mark = std::move(mark), dropped]() -> std::unique_ptr<storage::RecordFilter> {
    const Revision compacted = mark->filter.load(std::memory_order_acquire);
    if (compacted <= 0) return nullptr;
    return std::make_unique<HistoryFilter>(compacted, dropped);
  };
}

}  // namespace vellum::kv
