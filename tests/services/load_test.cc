// Load on a server of this process: every workload does what it says, and what fails is counted.
#include "load/load.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <string>
#include <vector>

#include "services/service_test.h"

namespace vellum {
namespace {

using load::Plan;
using load::Report;
using load::Workload;

class LoadTest : public ServiceTest {
 protected:
  Plan PlanOf(Workload workload, std::int64_t operations) {
    Plan plan;
    plan.endpoint = address();
    plan.workload = workload;
    plan.connections = 2;
    plan.clients = 8;
    plan.operations = operations;
    plan.keys = 40;
    plan.limit = 10;
    plan.watchers = 20;
    return plan;
  }
  /// Runs a plan in which nothing may fail.
  Report RunWell(const Plan& plan) {
    Result<Report> report = load::Run(plan);
    EXPECT_TRUE(report.ok()) << report.error().ToString();
    if (!report.ok()) return {};
    EXPECT_EQ(report->first_failure, "");
    for (const load::Phase& phase : report->phases) EXPECT_EQ(phase.failed, 0) << phase.name;
    return *std::move(report);
  }
  RangeResponse All() {
    RangeRequest request;
    request.key = std::string(1, '\0');
    request.range_end = std::string(1, '\0');
    Result<RangeResponse> response = client().Range(request);
    EXPECT_TRUE(response.ok());
    return response.ok() ? *std::move(response) : RangeResponse();
  }
};

TEST_F(LoadTest, FillWritesEveryKeyOnce) {
  Plan plan = PlanOf(Workload::kFill, 0);
  plan.keys = 1001;
  plan.txn_puts = 100;
  const Report report = RunWell(plan);
  ASSERT_EQ(report.phases.size(), 1u);
  EXPECT_EQ(report.phases[0].operations, 1001);
  const RangeResponse all = All();
  ASSERT_EQ(all.kvs.size(), 1001u);
  EXPECT_EQ(all.kvs.front().key, "00000000");
  EXPECT_EQ(all.kvs.back().key, "00001000");
  for (const KeyValue& kv : all.kvs) {
    EXPECT_EQ(kv.version, 1);
    EXPECT_EQ(kv.value.size(), 256u);
  }
  EXPECT_EQ(all.revision, 1 + 11);  // a transaction is a revision
}

TEST_F(LoadTest, EveryUnaryWorkloadMakesItsCalls) {
  RunWell(PlanOf(Workload::kFill, 0));
  for (const Workload workload : {Workload::kPut, Workload::kGet, Workload::kPage, Workload::kCount, Workload::kTxn, Workload::kCas}) {
    const Revision before = All().revision;
    const Report report = RunWell(PlanOf(workload, 100));
    ASSERT_EQ(report.phases.size(), 1u);
    const load::Phase& phase = report.phases[0];
    EXPECT_EQ(phase.operations, 100) << phase.name;
    EXPECT_GT(phase.latencies.p50, 0) << phase.name;
    EXPECT_LE(phase.latencies.p50, phase.latencies.p99) << phase.name;
    EXPECT_LE(phase.latencies.p999, phase.latencies.max) << phase.name;
    const bool writes = workload == Workload::kPut || workload == Workload::kTxn || workload == Workload::kCas;
    EXPECT_EQ(All().revision > before, writes) << phase.name;
  }
}

TEST_F(LoadTest, CompareAndSetLearnsAndThenWritesEachTime) {
  RunWell(PlanOf(Workload::kFill, 0));
  Plan plan = PlanOf(Workload::kCas, 2000);
  RunWell(plan);
  // At most one transaction for each of the keys only learns; the warm-up's eight count for nothing.
  EXPECT_GE(All().revision, 1 + 1 + 2000 - 40);
  EXPECT_LE(All().revision, 1 + 1 + 2008);
}

TEST_F(LoadTest, WatchersGetEveryEvent) {
  Plan plan = PlanOf(Workload::kWatch, 30);
  plan.rate = 2000;
  const Report report = RunWell(plan);
  ASSERT_EQ(report.phases.size(), 1u);
  EXPECT_EQ(report.phases[0].operations, 30 * 20);
}

TEST_F(LoadTest, LeasesAreKeptAlive) {
  const Report report = RunWell(PlanOf(Workload::kKeepAlive, 200));
  ASSERT_EQ(report.phases.size(), 1u);
  EXPECT_EQ(report.phases[0].operations, 200);
}

TEST_F(LoadTest, ARateIsKeptAndItsCallsCounted) {
  Plan plan = PlanOf(Workload::kPut, 100);
  plan.rate = 1000;
  const Report report = RunWell(plan);
  ASSERT_EQ(report.phases.size(), 1u);
  EXPECT_EQ(report.phases[0].operations, 100);
  EXPECT_GE(report.phases[0].seconds, 0.098);  // the hundredth is due after 99 ms
}

TEST_F(LoadTest, ACompactionAmongPutsHasThreePhases) {
  RunWell(PlanOf(Workload::kFill, 0));
  RunWell(PlanOf(Workload::kPut, 200));
  const Revision before = All().revision;
  Plan plan = PlanOf(Workload::kCompact, 0);
  plan.rate = 500;
  plan.time = std::chrono::milliseconds(50);
  plan.physical = true;
  const Report report = RunWell(plan);
  ASSERT_EQ(report.phases.size(), 3u);
  EXPECT_EQ(report.phases[0].name, "before");
  EXPECT_NEAR(static_cast<double>(report.phases[0].operations), 25, 2);
  EXPECT_EQ(report.phases[2].name, "after");
  EXPECT_TRUE(report.compact_seconds.has_value());
  EXPECT_GE(engine().GetInfo().compacted, before);
}

TEST_F(LoadTest, WhatTheServerTookIsReported) {
  Plan plan = PlanOf(Workload::kPut, 100);
  plan.server_pid = ::getpid();
  const Report report = RunWell(plan);
  ASSERT_TRUE(report.phases.at(0).server_cpu_us.has_value());
  ASSERT_TRUE(report.server_mib.has_value());
  EXPECT_GT(*report.server_mib, 1);
  EXPECT_GE(*report.server_peak_mib, *report.server_mib);
}

TEST_F(LoadTest, FailuresAreCountedAndTheFirstIsNamed) {
  Plan plan = PlanOf(Workload::kPut, 50);
  plan.value_bytes = 1'800'000;  // above the limit of a request, below that of a message
  const Result<Report> report = load::Run(plan);
  ASSERT_TRUE(report.ok());
  EXPECT_EQ(report->phases.at(0).operations, 0);
  EXPECT_EQ(report->phases.at(0).failed, 50);
  EXPECT_NE(report->first_failure.find("request is too large"), std::string::npos) << report->first_failure;
}

TEST_F(LoadTest, ImpossiblePlansAreRefused) {
  Plan plan = PlanOf(Workload::kCas, 10);
  plan.keys = 4;
  EXPECT_EQ(load::Run(plan).error().code(), Code::kInvalidArgument);
  plan = PlanOf(Workload::kPut, 0);
  EXPECT_EQ(load::Run(plan).error().code(), Code::kInvalidArgument);
  plan = PlanOf(Workload::kPut, 10);
  plan.endpoint = "not an address";
  EXPECT_EQ(load::Run(plan).error().code(), Code::kInvalidArgument);
}

TEST_F(LoadTest, ReadyWhenServedAndNotWhenNobodyListens) {
  EXPECT_TRUE(load::WaitUntilReady(address(), kPatience).ok());
  const Plan plan = PlanOf(Workload::kPut, 10);
  Stop();
  const auto waited = load::WaitUntilReady(plan.endpoint, std::chrono::milliseconds(20));
  EXPECT_FALSE(waited.ok());
  EXPECT_EQ(load::Run(plan).error().code(), Code::kUnavailable);
  Start();
}

}  // namespace
}  // namespace vellum
