#pragma once

#include <cstdint>
#include <deque>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "load/load.h"
#include "load/meter.h"
#include "load/requests.h"
#include "wire/call_driver.h"

namespace vellum::load {

/// Callers that make one call after the other, all the workloads but watches and leases. Closed loop, or open with a rate: then
/// a call that is due waits for a free caller, and its latency runs meanwhile.
class UnaryLoad final : public wire::CallListener {
 public:
  explicit UnaryLoad(const Plan& plan);
  Result<Report> Run();

  void OnMessage(std::uint64_t tag, std::string_view message) override;
  void OnEnd(std::uint64_t tag, const Status& status) override;

 private:
  struct Caller {
    bool measured = false;
    std::size_t phase = 0;
    TimePoint due;
    std::int64_t puts = 1;  ///< What the call counts for.
    std::int64_t key = 0;   ///< kCas: which of its keys,
    std::vector<std::int64_t> revisions;  ///< and when each was changed last.
  };

  Status WarmUp();
  Status RunClosed();
  Status RunOpen(bool until_time);
  Status RunCompaction();
  bool MayBegin(TimePoint now) const;
  void Begin(std::uint32_t caller, TimePoint due, bool measured);
  std::string MakeRequest(Caller* caller, std::uint32_t number, const char** path);
  void BeginDue(TimePoint now);
  void NextPhase(std::string name, TimePoint now);
  Result<Report> Finish();

  const Plan& plan_;
  RequestMaker maker_;
  std::unique_ptr<wire::CallDriver> driver_;
  std::vector<Caller> callers_;
  std::vector<std::uint32_t> idle_;
  std::size_t active_ = 0;

  std::vector<Meter> phases_;
  bool running_ = false;       // calls that end make room for others
  std::int64_t begun_ = 0;
  std::int64_t operations_ = 0;  // 0: no limit
  TimePoint end_;
  // Open loop.
  bool open_ = false;
  TimePoint first_due_;
  std::int64_t due_count_ = 0;
  std::deque<TimePoint> backlog_;
  // kCompact.
  enum class Compaction : std::uint8_t { kNone, kAsksRevision, kRuns, kDone };
  Compaction compaction_ = Compaction::kNone;
  std::int64_t revision_ = 0;
  TimePoint compaction_start_;
  Report report_;
};

}  // namespace vellum::load
