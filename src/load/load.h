#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "vellum/status.h"

/// Load for any etcd v3 server, and what it costs there: one thread, many callers, few connections.
namespace vellum::load {

enum class Workload : std::uint8_t {
  kFill,       ///< Transactions of `txn_puts` puts until every key exists, in scattered order.
  kPut,        ///< A random key gets a random value.
  kGet,        ///< A random key is read.
  kPage,       ///< `limit` keys from a random one on.
  kCount,      ///< How many keys there are.
  kTxn,        ///< In turn a transaction that reads two keys, and one that compares, reads one key and writes two.
  kCas,        ///< Kubernetes' update: if the key is unchanged put, else get. Each caller has keys of its own.
  kWatch,      ///< Puts at `rate` to one key that `watchers` watch.
  kKeepAlive,  ///< Each caller renews a lease of its own over a stream of its own.
  kCompact,    ///< One compaction at the current revision; with a `rate`, puts go on before, while and after it runs.
};

struct Plan {
  std::string endpoint;  ///< "127.0.0.1:2379"
  Workload workload = Workload::kPut;
  std::uint32_t connections = 1;
  std::uint32_t clients = 1;        ///< Callers, each of which waits for its answer; of kWatch: streams.
  std::int64_t operations = 0;      ///< The run ends with so many, or
  std::chrono::nanoseconds time{};  ///< after this long; of kCompact: the time before and after. One of both must be set.
  double rate = 0;                  ///< Calls a second whatever the server does; 0: as fast as it answers.
  std::int64_t keys = 10'000;       ///< Different keys: "00000000", "00000001", ...
  std::size_t value_bytes = 256;
  std::int64_t limit = 1000;
  std::int64_t txn_puts = 100;
  std::uint32_t watchers = 1000;
  bool serializable = false;
  bool from_start = false;          ///< kPage: the first page of everything instead of one from a random key on.
  bool physical = false;            ///< kCompact: wait until the space is back.
  std::uint64_t seed = 1;
  std::int64_t server_pid = 0;      ///< A server on this machine whose processor time and memory are to be reported.
};

/// In microseconds. From when a call was begun or, with a rate, from when it was due, until its answer was here; of kWatch,
/// until a watcher had the event.
struct Latencies {
  double p50 = 0;
  double p90 = 0;
  double p99 = 0;
  double p999 = 0;
  double max = 0;
};

/// What one stretch of time brought.
struct Phase {
  std::string name;             ///< "before", "during" and "after" of kCompact; else the workload's.
  std::int64_t operations = 0;  ///< Of kWatch: events delivered; of kFill: keys.
  std::int64_t failed = 0;      ///< Not among the operations.
  double seconds = 0;
  Latencies latencies;
  std::optional<double> server_cpu_us;  ///< Per operation, user and system, with a server_pid.
  double own_cpu_us = 0;                ///< The same of this process.
};

struct Report {
  std::vector<Phase> phases;
  std::string first_failure;            ///< Of any call, if one failed.
  std::optional<double> compact_seconds;
  std::optional<double> server_mib;     ///< Resident at the end.
  std::optional<double> server_peak_mib;
};

/// Runs the plan. Not OK: the server cannot be reached, or the plan is impossible; calls that fail are counted instead.
Result<Report> Run(const Plan& plan);

/// Waits until the server answers a linearizable read, at most `patience`. When it did, on the monotonic clock.
Result<std::chrono::steady_clock::time_point> WaitUntilReady(const std::string& endpoint, std::chrono::nanoseconds patience);

}  // namespace vellum::load
