// The load of the named workloads, against any etcd v3 server: vellum_load --endpoint=127.0.0.1:2379 --workload=put ...
// Prints one line of JSON: operations, seconds, operations per second, and the latencies' percentiles in microseconds.
#include <CLI/CLI.hpp>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdio>
#include <functional>
#include <memory>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "client/client.h"

namespace {

using vellum::client::Client;
using SteadyClock = std::chrono::steady_clock;

struct Plan {
  std::string endpoint;
  std::string workload;
  int connections = 1;
  int clients = 1;  // threads, dealt out over the connections
  long operations = 10'000;
  std::size_t value_bytes = 256;
  long keys = 10'000;
};

std::string Key(long number) {
  char text[32];
  std::snprintf(text, sizeof text, "key/%012ld", number);
  return text;
}

// One operation of a workload; `number` is unique over the run.
using Operation = std::function<vellum::Status(Client&, long number)>;

template <typename T>
vellum::Status Outcome(vellum::Result<T> result) {
  return result.ok() ? vellum::Status() : std::move(result).error();
}

Operation PutOperation(const Plan& plan) {
  return [&plan, value = std::string(plan.value_bytes, 'v')](Client& client, long number) {
    vellum::PutRequest request;
    request.key = Key(number % plan.keys);
    request.value = value;
    return Outcome(client.Put(request));
  };
}

Operation TxnOperation(const Plan& plan) {
  return [&plan, value = std::string(plan.value_bytes, 'v')](Client& client, long number) {
    vellum::TxnRequest request;
    for (int i = 0; i < 8; ++i) {
      vellum::PutRequest put;
      put.key = Key((number * 8 + i) % plan.keys);
      put.value = value;
      request.success.push_back({put});
    }
    return Outcome(client.Txn(request));
  };
}

Operation ReadOperation(const Plan& plan, std::int64_t limit, bool count_only) {
  return [&plan, limit, count_only](Client& client, long number) {
    vellum::RangeRequest request;
    request.key = Key(number % plan.keys);
    if (limit != 1) request.range_end = "key0";
    request.limit = limit;
    request.count_only = count_only;
    return Outcome(client.Range(request));
  };
}

Operation MakeOperation(const Plan& plan) {
  if (plan.workload == "put") return PutOperation(plan);
  if (plan.workload == "txn") return TxnOperation(plan);
  if (plan.workload == "get") return ReadOperation(plan, 1, false);
  if (plan.workload == "page") return ReadOperation(plan, 100, false);
  if (plan.workload == "count") return ReadOperation(plan, 0, true);
  return [](Client& client, long) { return Outcome(client.LeaseKeepAliveOnce(1)); };
}

struct Outcomes {
  std::vector<double> microseconds;
  long failed = 0;
  double seconds = 0;
};

vellum::Result<Outcomes> Run(const Plan& plan, const Operation& operation) {
  std::vector<std::unique_ptr<Client>> connections;
  for (int i = 0; i < plan.connections; ++i) {
    VELLUM_ASSIGN_OR_RETURN(auto client, Client::Connect({.endpoints = {plan.endpoint}}));
    connections.push_back(std::move(client));
  }
  std::atomic<long> next{0};
  std::atomic<long> failed{0};
  std::vector<std::vector<double>> latencies(static_cast<std::size_t>(plan.clients));
  std::vector<std::thread> threads;
  const auto start = SteadyClock::now();
  for (std::size_t i = 0; i < latencies.size(); ++i) {
    threads.emplace_back([&, i] {
      Client& client = *connections[i % connections.size()];
      for (long number = next++; number < plan.operations; number = next++) {
        const auto begin = SteadyClock::now();
        if (!operation(client, number).ok()) ++failed;
        latencies[i].push_back(std::chrono::duration<double, std::micro>(SteadyClock::now() - begin).count());
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  Outcomes outcomes;
  outcomes.seconds = std::chrono::duration<double>(SteadyClock::now() - start).count();
  outcomes.failed = failed;
  for (const auto& some : latencies) outcomes.microseconds.insert(outcomes.microseconds.end(), some.begin(), some.end());
  std::sort(outcomes.microseconds.begin(), outcomes.microseconds.end());
  return outcomes;
}

double Percentile(const std::vector<double>& sorted, double share) {
  if (sorted.empty()) return 0;
  return sorted[std::min(sorted.size() - 1, static_cast<std::size_t>(share * static_cast<double>(sorted.size())))];
}

}  // namespace

int main(int argc, char** argv) {
  Plan plan;
  CLI::App app{"The load of one workload", "vellum_load"};
  app.add_option("--endpoint", plan.endpoint, "host:port")->required();
  app.add_option("--workload", plan.workload, "What each operation is")
      ->required()
      ->check(CLI::IsMember({"put", "txn", "get", "page", "count", "keepalive"}));
  app.add_option("--connections", plan.connections, "Connections")->check(CLI::Range(1, 10'000));
  app.add_option("--clients", plan.clients, "Callers, each waiting for its answer before the next call")->check(CLI::Range(1, 10'000));
  app.add_option("--operations", plan.operations, "How many in all");
  app.add_option("--value-bytes", plan.value_bytes, "Size of a value in bytes");
  app.add_option("--keys", plan.keys, "Different keys")->check(CLI::Range(1L, 1'000'000'000L));
  CLI11_PARSE(app, argc, argv);

  const auto outcomes = Run(plan, MakeOperation(plan));
  if (!outcomes.ok()) {
    std::fprintf(stderr, "%s\n", outcomes.error().ToString().c_str());
    return 1;
  }
  const auto& sorted = outcomes->microseconds;
  std::printf("{\"operations\":%zu,\"failed\":%ld,\"seconds\":%.3f,\"per_second\":%.1f,\"p50_us\":%.0f,\"p99_us\":%.0f,\"max_us\":%.0f}\n",
              sorted.size(), outcomes->failed, outcomes->seconds, static_cast<double>(sorted.size()) / outcomes->seconds,
              Percentile(sorted, 0.5), Percentile(sorted, 0.99), sorted.empty() ? 0.0 : sorted.back());
  return outcomes->failed == 0 ? 0 : 1;
}
