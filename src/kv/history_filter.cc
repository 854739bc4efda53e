#include "kv/history_filter.h"

#include <utility>

#include "kv/schema.h"

namespace vellum::kv {
namespace {

class HistoryFilter final : public storage::RecordFilter {
 public:
  explicit HistoryFilter(Revision compacted) : compacted_(compacted) {}
  bool ShouldDrop(std::string_view, std::string_view value) const override {
    const std::optional<Revision> end = HistoryRecordEnd(value);
    return end && *end <= compacted_;
  }

 private:
  const Revision compacted_;
};

}  // namespace

storage::RecordFilterFactory HistoryFilterFactory(std::shared_ptr<const CompactionMark> mark) {
  return [mark = std::move(mark)]() -> std::unique_ptr<storage::RecordFilter> {
    const Revision compacted = mark->filter.load(std::memory_order_acquire);
    if (compacted <= 0) return nullptr;
    return std::make_unique<HistoryFilter>(compacted);
  };
}

}  // namespace vellum::kv
