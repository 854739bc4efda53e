#pragma once

#include <cstdint>
#include <memory>
#include <string_view>
#include <vector>

#include "load/load.h"
#include "load/meter.h"
#include "load/requests.h"
#include "wire/call_driver.h"

namespace vellum::load {

/// Puts at a fixed rate to one key, and many watchers of it, dealt out over streams, these over connections. The puts have a
/// connection of their own. An operation is an event at a watcher; its latency runs from when its put was due.
class WatchLoad final : public wire::CallListener {
 public:
  explicit WatchLoad(const Plan& plan);
  Result<Report> Run();

  void OnMessage(std::uint64_t tag, std::string_view message) override;
  void OnEnd(std::uint64_t tag, const Status& status) override;

 private:
  Status CreateWatchers();
  Status Put(TimePoint start, std::int64_t puts);
  void Events(std::uint64_t stream, std::int64_t watcher, std::int64_t events);

  const Plan& plan_;
  RequestMaker maker_;
  std::unique_ptr<wire::CallDriver> driver_;
  Meter meter_;
  std::vector<TimePoint> due_;                     // of every put
  std::vector<std::vector<std::int64_t>> seen_;    // by stream and watcher: events delivered so far
  std::int64_t created_ = 0;
  std::int64_t delivered_ = 0;
  std::int64_t open_puts_ = 0;
  TimePoint now_;
  Report report_;
  Status failure_;
};

/// Callers that renew a lease of their own over a stream of their own, each as soon as the last renewal is answered.
class KeepAliveLoad final : public wire::CallListener {
 public:
  explicit KeepAliveLoad(const Plan& plan);
  Result<Report> Run();

  void OnMessage(std::uint64_t tag, std::string_view message) override;
  void OnEnd(std::uint64_t tag, const Status& status) override;

 private:
  struct Caller {
    std::int64_t lease = 0;
    std::string request;
    wire::CallDriver::CallId call;
    bool streams = false;
    TimePoint begun;
  };
  void Renewed(Caller* caller, std::string_view answer);

  const Plan& plan_;
  RequestMaker maker_;
  std::unique_ptr<wire::CallDriver> driver_;
  Meter meter_;
  std::vector<Caller> callers_;
  bool measuring_ = false;
  std::int64_t begun_ = 0;
  std::size_t active_ = 0;
  TimePoint end_;
  Report report_;
  Status failure_;
};

}  // namespace vellum::load
