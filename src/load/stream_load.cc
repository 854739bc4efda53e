#include "load/stream_load.h"

#include <algorithm>
#include <utility>

namespace vellum::load {
namespace {

constexpr std::uint64_t kPutTag = ~std::uint64_t{0};
constexpr std::chrono::milliseconds kIdleWait{100};
// Without a single event for so long, the rest is given up.
constexpr std::chrono::seconds kPatience{20};
constexpr std::int64_t kWatchedKey = 0;

}  // namespace

WatchLoad::WatchLoad(const Plan& plan) : plan_(plan), maker_(plan), meter_("watch", plan.server_pid), seen_(plan.clients) {}

void WatchLoad::OnMessage(std::uint64_t tag, std::string_view message) {
  if (tag == kPutTag) return;
  std::int64_t watcher = 0;
  std::int64_t events = 0;
  bool created = false;
  bool canceled = false;
  FieldReader reader(message);
  while (const auto field = reader.Next()) {
    switch (field->number) {
      case 2: watcher = static_cast<std::int64_t>(field->value); break;
      case 3: created = field->value != 0; break;
      case 4: canceled = field->value != 0; break;
      case 11: ++events; break;
      default: break;
    }
  }
  if (canceled) failure_ = Aborted("the server cancelled a watcher");
  if (created) ++created_;
  if (events > 0) Events(tag, watcher, events);
}

void WatchLoad::Events(std::uint64_t stream, std::int64_t watcher, std::int64_t events) {
  std::vector<std::int64_t>& seen = seen_[stream];
  const auto index = static_cast<std::size_t>(std::max<std::int64_t>(0, watcher));
  if (index > plan_.watchers) {
    failure_ = Internal("a watcher with the unexpected id " + std::to_string(watcher));
    return;
  }
  if (index >= seen.size()) seen.resize(index + 1);
  now_ = SteadyClock::now();
  for (std::int64_t i = 0; i < events; ++i) {
    const auto put = static_cast<std::size_t>(seen[index]++);
    if (put < due_.size()) meter_.Count(now_ - due_[put]);
  }
  delivered_ += events;
}

void WatchLoad::OnEnd(std::uint64_t tag, const Status& status) {
  if (tag == kPutTag) {
    --open_puts_;
    if (!status.ok()) failure_ = status;
  } else {
    failure_ = status.ok() ? Unavailable("the server ended a watch stream") : status;
  }
}

Status WatchLoad::CreateWatchers() {
  const std::string request = maker_.WatchCreate(kWatchedKey);
  std::vector<wire::CallDriver::CallId> streams;
  for (std::uint32_t i = 0; i < plan_.watchers; ++i) {
    const std::uint32_t stream = i % plan_.clients;
    if (stream == streams.size()) {
      streams.push_back(driver_->Start(stream % plan_.connections, kWatchPath, request, /*last=*/false, stream));
    } else {
      driver_->Send(streams[stream], request);
    }
  }
  const TimePoint give_up = SteadyClock::now() + kPatience;
  while (created_ < plan_.watchers && failure_.ok()) {
    if (SteadyClock::now() > give_up) return DeadlineExceeded("the server does not create all watchers");
    VELLUM_TRY(driver_->Poll(kIdleWait));
  }
  return failure_;
}

Status WatchLoad::Put(TimePoint start, std::int64_t puts) {
  const double rate = plan_.rate > 0 ? plan_.rate : 200;
  for (std::int64_t i = 0; i < puts && failure_.ok(); ++i) {
    const auto since = std::chrono::duration<double>(static_cast<double>(i) / rate);
    const TimePoint due = start + std::chrono::duration_cast<SteadyClock::duration>(since);
    for (TimePoint now = SteadyClock::now(); now < due && failure_.ok(); now = SteadyClock::now()) {
      VELLUM_TRY(driver_->Poll(std::min<SteadyClock::duration>(due - now, kIdleWait)));
    }
    due_.push_back(due);
    ++open_puts_;
    driver_->Start(plan_.connections, kPutPath, maker_.Put(kWatchedKey), /*last=*/true, kPutTag);
  }
  return failure_;
}

Result<Report> WatchLoad::Run() {
  VELLUM_ASSIGN_OR_RETURN(driver_, wire::CallDriver::Connect(plan_.endpoint, plan_.connections + 1, this));
  VELLUM_TRY(CreateWatchers());
  const double rate = plan_.rate > 0 ? plan_.rate : 200;
  const double seconds = std::chrono::duration<double>(plan_.time).count();
  const auto puts = plan_.operations > 0 ? plan_.operations : std::max<std::int64_t>(1, static_cast<std::int64_t>(rate * seconds));
  const std::int64_t wanted = puts * plan_.watchers;
  const TimePoint start = SteadyClock::now();
  meter_.Start(start);
  VELLUM_TRY(Put(start, puts));
  now_ = SteadyClock::now();
  while ((delivered_ < wanted || open_puts_ > 0) && failure_.ok() && SteadyClock::now() < now_ + kPatience) {
    VELLUM_TRY(driver_->Poll(kIdleWait));
  }
  VELLUM_TRY(failure_);
  meter_.Stop(SteadyClock::now());
  report_.phases.push_back(meter_.Finish());
  report_.phases.back().failed = wanted - delivered_;
  if (delivered_ != wanted) {
    report_.first_failure = std::to_string(delivered_) + " of " + std::to_string(wanted) + " events arrived";
  }
  return std::move(report_);
}

KeepAliveLoad::KeepAliveLoad(const Plan& plan)
    : plan_(plan), maker_(plan), meter_("keepalive", plan.server_pid), callers_(plan.clients) {}

void KeepAliveLoad::OnMessage(std::uint64_t tag, std::string_view message) {
  Caller& caller = callers_[tag];
  if (caller.streams) return Renewed(&caller, message);
  caller.lease = NumberField(message, 2);
}

void KeepAliveLoad::Renewed(Caller* caller, std::string_view answer) {
  if (NumberField(answer, 3) <= 0) failure_ = NotFound("a lease ended although it is kept alive");
  --active_;
  if (!measuring_) return;
  const TimePoint now = SteadyClock::now();
  meter_.Count(now - caller->begun);
  const bool more = plan_.operations > 0 ? begun_ < plan_.operations : now < end_;
  if (!more) return;
  ++begun_;
  ++active_;
  caller->begun = now;
  driver_->Send(caller->call, caller->request);
}

void KeepAliveLoad::OnEnd(std::uint64_t tag, const Status& status) {
  if (!status.ok()) {
    failure_ = status;
  } else if (callers_[tag].streams) {
    failure_ = Unavailable("the server ended a stream of keep-alives");
  }
  --active_;
}

Result<Report> KeepAliveLoad::Run() {
  VELLUM_ASSIGN_OR_RETURN(driver_, wire::CallDriver::Connect(plan_.endpoint, plan_.connections, this));
  const auto finish = [this]() -> Status {
    while (active_ > 0 && failure_.ok()) VELLUM_TRY(driver_->Poll(kIdleWait));
    return failure_;
  };
  const std::string grant = maker_.LeaseGrant();
  for (std::uint32_t i = 0; i < plan_.clients; ++i, ++active_) {
    driver_->Start(i % plan_.connections, kLeaseGrantPath, grant, /*last=*/true, i);
  }
  VELLUM_TRY(finish());
  for (std::uint32_t i = 0; i < plan_.clients; ++i, ++active_) {
    Caller& caller = callers_[i];
    caller.request = maker_.KeepAlive(caller.lease);
    caller.streams = true;
    caller.call = driver_->Start(i % plan_.connections, kLeaseKeepAlivePath, caller.request, /*last=*/false, i);
  }
  VELLUM_TRY(finish());

  measuring_ = true;
  const TimePoint start = SteadyClock::now();
  end_ = start + plan_.time;
  meter_.Start(start);
  for (Caller& caller : callers_) {
    if (plan_.operations > 0 && begun_ >= plan_.operations) break;
    ++begun_;
    ++active_;
    caller.begun = start;
    driver_->Send(caller.call, caller.request);
  }
  VELLUM_TRY(finish());
  meter_.Stop(SteadyClock::now());
  report_.phases.push_back(meter_.Finish());
  return std::move(report_);
}

}  // namespace vellum::load
