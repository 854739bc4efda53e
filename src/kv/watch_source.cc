#include <algorithm>
#include <utility>

#include "kv/view.h"
#include "kv/watch_hub.h"

namespace vellum::kv {
namespace {

/// The store as the hub sees it: whatever view is current.
WatchHub::Source SourceOf(std::function<std::shared_ptr<const View>()> current_view) {
  WatchHub::Source source;
  source.position = [current_view] {
    const std::shared_ptr<const View> view = current_view();
    return WatchHub::Position{view->revision(), view->compacted()};
  };
  source.read = [current_view](const EventQuery& query, WatchHub::Position* position) {
    const std::shared_ptr<const View> view = current_view();
    EventQuery bounded = query;
    bounded.to = std::min(query.to, view->revision());
    auto outcome = ReadEvents(*view, bounded);
    *position = {view->revision(), view->compacted()};
    return outcome;
  };
  return source;
}

}  // namespace

WatchHub::WatchHub(Options options, std::function<std::shared_ptr<const View>()> current_view)
    : WatchHub(std::move(options), SourceOf(std::move(current_view))) {}

}  // namespace vellum::kv
