// Range requests, with the order of evaluation and the quirks of etcd.
#include <algorithm>
#include <compare>
#include <limits>
#include <optional>
#include <utility>

#include "kv/scan.h"
#include "kv/view.h"

namespace vellum::kv {
namespace {

/// What is done with the keys of an interval, worked out once per request.
struct Plan {
  bool filtered = false;
  bool by_key = true;       ///< The answer is in key order, ascending: nothing has to be sorted.
  bool descending = false;
  SortTarget target = SortTarget::kKey;
  std::int64_t limit = 0;   ///< 0: none.
  /// Without an explicit order and without filters etcd fetches limit + 1 keys *by key* and sorts those: asking for the
  /// smallest by another target does not give the smallest.
  bool first_by_key = false;
  bool copy_values = true;

  static Result<Plan> Make(const RangeRequest& request) {
    if (request.sort_order > SortOrder::kDescend || request.sort_target > SortTarget::kValue) {
      return InvalidArgument("invalid sort option", Reason::kInvalidSort);
    }
    Plan plan;
    plan.filtered = request.min_mod_revision != 0 || request.max_mod_revision != 0 ||
                    request.min_create_revision != 0 || request.max_create_revision != 0;
    plan.target = request.sort_target;
    plan.descending = request.sort_order == SortOrder::kDescend;
    plan.by_key = plan.target == SortTarget::kKey && !plan.descending;
    plan.limit = std::max<std::int64_t>(request.limit, 0);
    const bool default_order =
        request.sort_order == SortOrder::kNone || (plan.target == SortTarget::kKey && !plan.descending);
    plan.first_by_key = default_order && !plan.filtered && plan.limit > 0;
    plan.copy_values = !request.keys_only || plan.target == SortTarget::kValue;
    return plan;
  }
};

bool Passes(const RangeRequest& request, const Record& record) {
  if (request.max_mod_revision != 0 && record.mod > request.max_mod_revision) return false;
  if (request.min_mod_revision != 0 && record.mod < request.min_mod_revision) return false;
  if (request.max_create_revision != 0 && record.create > request.max_create_revision) return false;
  if (request.min_create_revision != 0 && record.create < request.min_create_revision) return false;
  return true;
}

/// Orders by the target; descending: the other way round. What is equal there stays in the order of the keys, as in etcd, whose
/// sort keeps the order of equal ones up to twelve.
class Before {
 public:
  explicit Before(const Plan& plan) : target_(plan.target), descending_(plan.descending) {}
  bool operator()(const KeyValue& left, const KeyValue& right) const {
    if (const std::strong_ordering order = Compare(left, right); order != 0) return descending_ ? order > 0 : order < 0;
    return left.key < right.key;
  }

 private:
  std::strong_ordering Compare(const KeyValue& a, const KeyValue& b) const {
    switch (target_) {
      case SortTarget::kKey: return a.key <=> b.key;
      case SortTarget::kVersion: return a.version <=> b.version;
      case SortTarget::kCreate: return a.create_revision <=> b.create_revision;
      case SortTarget::kMod: return a.mod_revision <=> b.mod_revision;
      case SortTarget::kValue: return a.value <=> b.value;
    }
    return std::strong_ordering::equal;
  }

  const SortTarget target_;
  const bool descending_;
};

/// Takes keys in order and keeps what the answer may need: never much more than twice the limit, if there is one.
class Collector {
 public:
  Collector(const RangeRequest& request, const Plan& plan) : request_(request), plan_(plan) {}

  /// False: no further key can change the answer.
  bool Take(std::string_view key, const Record& record) {
    ++seen_;
    if (plan_.filtered && !Passes(request_, record)) return true;
    ++matched_;
    const bool full = plan_.limit > 0 && matched_ > plan_.limit;
    if (full && plan_.by_key) return Stop(key);
    Keep(key, record);
    if (full && plan_.first_by_key) return Stop(key);
    if (plan_.limit > 0 && kvs_.size() >= trim_at_) Trim();
    return true;
  }

  std::int64_t seen() const { return seen_; }
  bool stopped() const { return !last_key_.empty(); }
  /// Where the keys begin that were not seen.
  std::string rest_begin() const { return last_key_ + '\0'; }

  void Finish(RangeResponse* response) {
    if (!plan_.by_key) Trim();
    response->kvs = std::move(kvs_);
    response->more = plan_.limit > 0 && matched_ > plan_.limit;
    if (!request_.keys_only || !plan_.copy_values) return;
    for (KeyValue& kv : response->kvs) std::string().swap(kv.value);
  }

 private:
  bool Stop(std::string_view key) {
    last_key_.assign(key);
    return false;
  }

  void Keep(std::string_view key, const Record& record) {
    KeyValue& kv = kvs_.emplace_back();
    kv.key.assign(key);
    kv.create_revision = record.create;
    kv.mod_revision = record.mod;
    kv.version = record.version;
    kv.lease = record.lease;
    if (plan_.copy_values) kv.value.assign(record.value);
  }

  /// Sorts, and cuts to the limit.
  void Trim() {
    const auto limit = static_cast<std::size_t>(plan_.limit);
    if (plan_.limit > 0 && kvs_.size() > limit) {
      std::partial_sort(kvs_.begin(), kvs_.begin() + plan_.limit, kvs_.end(), Before(plan_));
      kvs_.resize(limit);
    } else if (plan_.target == SortTarget::kKey) {
      // Sorted already, or the other way round.
      if (!std::is_sorted(kvs_.begin(), kvs_.end(), Before(plan_))) std::reverse(kvs_.begin(), kvs_.end());
    } else {
      std::sort(kvs_.begin(), kvs_.end(), Before(plan_));
    }
  }

  static std::size_t TrimAt(std::int64_t limit) {
    constexpr std::int64_t kSlack = 1024;
    if (limit > std::numeric_limits<std::int64_t>::max() / 2 - kSlack) return std::numeric_limits<std::size_t>::max();
    return static_cast<std::size_t>(2 * limit + kSlack);
  }

  const RangeRequest& request_;
  const Plan& plan_;
  const std::size_t trim_at_ = TrimAt(plan_.limit);
  std::vector<KeyValue> kvs_;
  std::int64_t seen_ = 0;
  std::int64_t matched_ = 0;
  std::string last_key_;
};

/// Where keys come from: a view at its own revision, ...
struct ViewSource {
  const View& view;
  bool memory_only = false;  ///< Get only: kUnavailable where the disk would have to be read.

  template <typename Found>
  Result<bool> Get(std::string_view key, Found&& found) const {
    storage::PinnedValue value;
    Record record;
    VELLUM_ASSIGN_OR_RETURN(const bool exists, GetLatest(view, key, &value, &record, memory_only));
    if (exists) found(record);
    return exists;
  }
  template <typename Visit>
  Status Scan(const KeyInterval& interval, Visit&& visit) const {
    return ScanLatest(view, interval, visit);
  }
  Result<std::int64_t> Count(const KeyInterval& interval) const { return CountLatest(view, interval); }
};

/// ... a view at an older one, ...
struct PastSource {
  const View& view;
  Revision revision;
  const CancelFlag* cancel;

  template <typename Found>
  Result<bool> Get(std::string_view key, Found&& found) const {
    return GetPast(view, revision, key, found);
  }
  template <typename Visit>
  Status Scan(const KeyInterval& interval, Visit&& visit) const {
    return ScanPast(view, revision, interval, visit);
  }
  Result<std::int64_t> Count(const KeyInterval& interval) const {
    return CountPast(view, revision, interval, cancel);
  }
};

/// ... or what a running command sees.
struct GivenSource {
  const LatestSource& source;

  template <typename Found>
  Result<bool> Get(std::string_view key, Found&& found) const {
    return source.Get(key, found);
  }
  template <typename Visit>
  Status Scan(const KeyInterval& interval, Visit&& visit) const {
    return source.Scan(interval, visit);
  }
  Result<std::int64_t> Count(const KeyInterval& interval) const { return source.Count(interval); }
};

/// Whether the keys behind a limit are counted.
enum class Rest : std::uint8_t { kCounted, kLeftOut };

template <typename Source>
Result<RangeResponse> Run(const Source& source, Revision current, const RangeRequest& request, const CancelFlag* cancel,
                          Rest rest = Rest::kCounted) {
  VELLUM_ASSIGN_OR_RETURN(const Plan plan, Plan::Make(request));
  RangeResponse response;
  response.revision = current;
  Collector collector(request, plan);
  if (request.range_end.empty()) {
    VELLUM_ASSIGN_OR_RETURN(const bool found, source.Get(request.key, [&](const Record& record) {
      if (!request.count_only) collector.Take(request.key, record);
    }));
    response.count = found ? 1 : 0;
    collector.Finish(&response);
    return response;
  }
  const auto interval = KeyInterval::FromRequest(request.key, request.range_end);
  if (interval.empty()) return response;
  if (request.count_only) {
    VELLUM_ASSIGN_OR_RETURN(response.count, source.Count(interval));
    return response;
  }
  CancelPoll poll(cancel);
  bool cancelled = false;
  VELLUM_TRY(source.Scan(interval, [&](std::string_view key, const Record& record) {
    cancelled = poll.Cancelled();
    return !cancelled && collector.Take(key, record);
  }));
  if (cancelled) return Cancelled("range was cancelled");
  response.count = collector.seen();
  if (collector.stopped() && rest == Rest::kCounted) {
    VELLUM_ASSIGN_OR_RETURN(const std::int64_t unseen, source.Count({collector.rest_begin(), interval.end}));
    response.count += unseen;
  }
  collector.Finish(&response);
  return response;
}

/// A revision that is not the newest: the view's own, or an older one.
Result<RangeResponse> ReadBefore(const View& view, Revision revision, Revision current, const RangeRequest& request,
                                 const CancelFlag* cancel, Rest rest) {
  if (revision > current) return FutureRevisionError();
  if (revision < view.compacted()) return CompactedError();
  if (revision == view.revision()) return Run(ViewSource{view}, current, request, cancel, rest);
  if (revision > view.revision()) {
    return Internal("revision " + std::to_string(revision) + " is read through a view of revision " +
                    std::to_string(view.revision()));
  }
  auto response = Run(PastSource{view, revision, cancel}, current, request, cancel, rest);
  // The compaction filter looks at no snapshot: what was just read may have been losing records under way.
  if (revision < view.compacted()) return CompactedError();
  return response;
}

Result<RangeResponse> ReadThrough(const View& view, const RangeRequest& request, const CancelFlag* cancel, Rest rest) {
  if (request.revision <= 0 || request.revision == view.revision()) {
    return Run(ViewSource{view}, view.revision(), request, cancel, rest);
  }
  return ReadBefore(view, request.revision, view.revision(), request, cancel, rest);
}

}  // namespace

Result<RangeResponse> ReadRange(const LatestSource& latest, const View& view, Revision current,
                                const RangeRequest& request, const CancelFlag* cancel) {
  if (request.revision <= 0 || request.revision == current) {
    return Run(GivenSource{latest}, current, request, cancel);
  }
  return ReadBefore(view, request.revision, current, request, cancel, Rest::kCounted);
}

Result<RangeResponse> ReadRange(const View& view, const RangeRequest& request, const CancelFlag* cancel) {
  return ReadThrough(view, request, cancel, Rest::kCounted);
}

Result<RangeResponse> ReadRangePart(const View& view, const RangeRequest& request, const CancelFlag* cancel) {
  return ReadThrough(view, request, cancel, Rest::kLeftOut);
}

Result<std::optional<RangeResponse>> ReadKeyFromMemory(const View& view, const RangeRequest& request) {
  using Nothing = std::optional<RangeResponse>;
  if (!request.range_end.empty()) return Nothing();
  if (request.revision > 0 && request.revision != view.revision()) return Nothing();
  auto response = Run(ViewSource{view, /*memory_only=*/true}, view.revision(), request, nullptr);
  if (response.ok()) return Nothing(*std::move(response));
  if (response.error().code() == Code::kUnavailable) return Nothing();
  return std::move(response).error();
}

}  // namespace vellum::kv
