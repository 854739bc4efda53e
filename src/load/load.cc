#include "load/load.h"

#include <poll.h>

#include <algorithm>
#include <utility>

#include "load/meter.h"
#include "load/requests.h"
#include "load/stream_load.h"
#include "load/unary_load.h"
#include "wire/call_driver.h"

namespace vellum::load {
namespace {

Status CheckPlan(const Plan& plan) {
  const bool fills = plan.workload == Workload::kFill;
  const bool compacts = plan.workload == Workload::kCompact;
  if (plan.connections == 0 || plan.clients == 0) return InvalidArgument("a load needs a connection and a client");
  if (plan.keys < 1 || plan.keys > 100'000'000) {
    return InvalidArgument("keys: " + std::to_string(plan.keys) + " is not in 1 to 100000000, which have eight digits");
  }
  if (plan.workload == Workload::kCas && plan.keys < plan.clients) {
    return InvalidArgument("cas needs a key for every client: " + std::to_string(plan.keys) + " keys, " +
                           std::to_string(plan.clients) + " clients");
  }
  if (plan.workload == Workload::kWatch && plan.watchers < plan.clients) {
    return InvalidArgument("watch needs a watcher for every stream: " + std::to_string(plan.watchers) + " watchers, " +
                           std::to_string(plan.clients) + " streams");
  }
  if (plan.txn_puts < 1) return InvalidArgument("a transaction of fill needs a put");
  const bool ends = plan.operations > 0 || plan.time.count() > 0;
  if (!fills && !(compacts && plan.rate <= 0) && !ends) return InvalidArgument("a load needs a number of operations or a time");
  if (compacts && plan.rate > 0 && plan.operations > 0) {
    return InvalidArgument("puts around a compaction go by time, not by number");
  }
  return {};
}

/// One read of one key, and whether it was answered.
class Probe final : public wire::CallListener {
 public:
  void OnMessage(std::uint64_t, std::string_view) override {}
  void OnEnd(std::uint64_t, const Status& status) override {
    over_ = true;
    status_ = status;
  }

  Status Ask(const std::string& endpoint, TimePoint until) {
    VELLUM_ASSIGN_OR_RETURN(const auto driver, wire::CallDriver::Connect(endpoint, 1, this));
    Plan plan;
    driver->Start(0, kRangePath, RequestMaker(plan).Get(0), /*last=*/true, 0);
    over_ = false;
    while (!over_) {
      const TimePoint now = SteadyClock::now();
      if (now >= until) return DeadlineExceeded("no answer from " + endpoint);
      VELLUM_TRY(driver->Poll(until - now));
    }
    return status_;
  }

 private:
  bool over_ = false;
  Status status_;
};

}  // namespace

Result<Report> Run(const Plan& plan) {
  VELLUM_TRY(CheckPlan(plan));
  const auto run = [](auto load) { return load->Run(); };
  Result<Report> report = plan.workload == Workload::kWatch       ? run(std::make_unique<WatchLoad>(plan))
                          : plan.workload == Workload::kKeepAlive ? run(std::make_unique<KeepAliveLoad>(plan))
                                                                  : run(std::make_unique<UnaryLoad>(plan));
  if (report.ok() && plan.server_pid != 0) {
    report->server_mib = ProcessMib(plan.server_pid, "VmRSS");
    report->server_peak_mib = ProcessMib(plan.server_pid, "VmHWM");
  }
  return report;
}

Result<TimePoint> WaitUntilReady(const std::string& endpoint, std::chrono::nanoseconds patience) {
  const TimePoint until = SteadyClock::now() + patience;
  for (;;) {
    const Status answered = Probe().Ask(endpoint, until);
    const TimePoint now = SteadyClock::now();
    if (answered.ok()) return now;
    if (answered.code() == Code::kInvalidArgument) return answered;
    if (now >= until) return Status(answered).WithContext("the server did not become ready");
    // Nobody listens yet, or who does is not ready.
    ::poll(nullptr, 0, 2);
  }
}

}  // namespace vellum::load
