#include "cli/bench_verb.h"

#include <CLI/CLI.hpp>

#include <chrono>
#include <cstdio>
#include <nlohmann/json.hpp>
#include <string>
#include <utility>
#include <vector>

#include "cli/output.h"
#include "load/load.h"

namespace vellum::cli {
namespace {

using load::Workload;
using Json = nlohmann::ordered_json;

constexpr int kDone = 0;
constexpr int kSomeFailed = 1;
constexpr int kFailed = 2;

constexpr std::pair<const char*, Workload> kWorkloads[] = {
    {"fill", Workload::kFill},   {"put", Workload::kPut},     {"get", Workload::kGet},
    {"page", Workload::kPage},   {"count", Workload::kCount}, {"txn", Workload::kTxn},
    {"cas", Workload::kCas},     {"watch", Workload::kWatch}, {"keepalive", Workload::kKeepAlive},
    {"compact", Workload::kCompact},
};
constexpr char kReady[] = "ready";

constexpr char kHelp[] = "Put load on a server, this one or any other that speaks etcd v3, and say what it took";

constexpr char kFooter[] =
    "Workloads:\n"
    "  fill       every key, in transactions of --txn-puts puts\n"
    "  put        random keys get random values\n"
    "  get        random keys are read; --serializable: not linearizably\n"
    "  page       --limit keys from a random one on, or with --from-start the first ones\n"
    "  count      how many keys there are\n"
    "  txn        in turn: read two keys; compare, read one, write two\n"
    "  cas        Kubernetes' update: put if the key is unchanged, else get\n"
    "  watch      --watchers of one key on --clients streams, puts at --rate (200/s); per event delivered\n"
    "  keepalive  every client renews a lease of its own over a stream of its own\n"
    "  compact    one compaction at the present revision; with --rate, puts before, while and after it runs\n"
    "  ready      waits until a linearizable read is answered, at most --seconds\n"
    "\n"
    "Keys are \"00000000\", \"00000001\" and so on. What is there already stays, and is overwritten by workloads that write.\n"
    "With --rate, a call's latency counts from when it was due, not from when there was a client free to make it.\n"
    "\n"
    "Examples:\n"
    "  vellum bench put --connections 100 --clients 1000 --operations 200000\n"
    "  vellum bench fill --keys 1000000 --clients 20 && vellum bench page --keys 1000000 --seconds 5\n"
    "  vellum bench put --rate 500 --seconds 30 --connections 10 --clients 100\n"
    "  vellum bench compact --physical --rate 500 --seconds 10 --connections 10 --clients 100 --keys 100000\n"
    "  vellum bench get --endpoint 10.0.0.7:2379 -o json\n"
    "  vellum bench put --server-pid $(pidof etcd)";

std::string Fixed(double value, int digits) {
  char text[32];
  std::snprintf(text, sizeof(text), "%.*f", digits, value);
  return text;
}

// A latency in microseconds as people read it.
std::string Latency(double micros) {
  if (micros < 1000) return Fixed(micros, 0) + " us";
  return micros < 1'000'000 ? Fixed(micros / 1000, micros < 10'000 ? 2 : 1) + " ms" : Fixed(micros / 1'000'000, 2) + " s";
}

Json PhaseJson(const load::Phase& phase) {
  Json json = {{"phase", phase.name},
               {"operations", phase.operations},
               {"failed", phase.failed},
               {"seconds", phase.seconds},
               {"per_second", phase.seconds > 0 ? static_cast<double>(phase.operations) / phase.seconds : 0},
               {"p50_us", phase.latencies.p50},
               {"p90_us", phase.latencies.p90},
               {"p99_us", phase.latencies.p99},
               {"p999_us", phase.latencies.p999},
               {"max_us", phase.latencies.max},
               {"own_cpu_us", phase.own_cpu_us}};
  if (phase.server_cpu_us) json["server_cpu_us"] = *phase.server_cpu_us;
  return json;
}

void PrintJson(const load::Report& report) {
  Json json = {{"phases", Json::array()}};
  for (const load::Phase& phase : report.phases) json["phases"].push_back(PhaseJson(phase));
  if (report.compact_seconds) json["compact_seconds"] = *report.compact_seconds;
  if (report.server_mib) json["server_mib"] = *report.server_mib;
  if (report.server_peak_mib) json["server_peak_mib"] = *report.server_peak_mib;
  if (!report.first_failure.empty()) json["first_failure"] = report.first_failure;
  std::printf("%s\n", json.dump(-1, ' ', false, Json::error_handler_t::replace).c_str());
}

void PrintText(const load::Report& report) {
  const bool server = !report.phases.empty() && report.phases.front().server_cpu_us.has_value();
  std::vector<std::vector<std::string>> rows{
      {"PHASE", "OPERATIONS", "FAILED", "SECONDS", "PER SECOND", "P50", "P90", "P99", "P99.9", "MAX", "OWN CPU/OP"}};
  if (server) rows.front().emplace_back("SERVER CPU/OP");
  for (const load::Phase& phase : report.phases) {
    const load::Latencies& at = phase.latencies;
    rows.push_back({phase.name, std::to_string(phase.operations), std::to_string(phase.failed), Fixed(phase.seconds, 2),
                    Fixed(phase.seconds > 0 ? static_cast<double>(phase.operations) / phase.seconds : 0, 0),
                    Latency(at.p50), Latency(at.p90), Latency(at.p99), Latency(at.p999), Latency(at.max),
                    Fixed(phase.own_cpu_us, 1) + " us"});
    if (server) rows.back().push_back(Fixed(phase.server_cpu_us.value_or(0), 1) + " us");
  }
  std::fputs(Columns(rows).c_str(), stdout);
  if (report.compact_seconds) std::printf("the compaction took %s\n", Latency(*report.compact_seconds * 1e6).c_str());
  if (report.server_mib) {
    std::printf("the server's memory: %.0f MiB, at most %.0f MiB so far\n", *report.server_mib,
                report.server_peak_mib.value_or(0));
  }
  if (!report.first_failure.empty()) std::printf("the first failure: %s\n", report.first_failure.c_str());
}

}  // namespace

struct BenchVerb::Impl {
  CLI::App* verb = nullptr;
  std::string workload;
  std::string output = "text";
  double seconds = 5;
  load::Plan plan;

  int Fail(const Status& status) const {
    std::fprintf(stderr, "vellum: %s\n", status.message().c_str());
    return kFailed;
  }
  int WaitUntilReady() const;
  int Run();
};

int BenchVerb::Impl::WaitUntilReady() const {
  const auto start = std::chrono::steady_clock::now();
  const auto patience = std::chrono::duration_cast<std::chrono::nanoseconds>(std::chrono::duration<double>(seconds));
  const auto ready = load::WaitUntilReady(plan.endpoint, patience);
  if (!ready.ok()) return Fail(ready.error());
  const double waited = std::chrono::duration<double>(*ready - start).count();
  // The monotonic clock is the whole machine's, so whoever started the server can tell how long that took.
  const double at = std::chrono::duration<double>(ready->time_since_epoch()).count();
  if (output == "json") {
    std::printf("%s\n", Json{{"waited_seconds", waited}, {"ready_at_monotonic", at}}.dump().c_str());
  } else {
    std::printf("ready after %s\n", Latency(waited * 1e6).c_str());
  }
  return kDone;
}

int BenchVerb::Impl::Run() {
  if (workload == kReady) return WaitUntilReady();
  for (const auto& [name, value] : kWorkloads) {
    if (workload == name) plan.workload = value;
  }
  if (plan.operations == 0) {
    plan.time = std::chrono::duration_cast<std::chrono::nanoseconds>(std::chrono::duration<double>(seconds));
  }
  const Result<load::Report> report = load::Run(plan);
  if (!report.ok()) return Fail(report.error());
  output == "json" ? PrintJson(*report) : PrintText(*report);
  return report->first_failure.empty() ? kDone : kSomeFailed;
}

BenchVerb::BenchVerb(CLI::App* app) : impl_(std::make_unique<Impl>()) {
  load::Plan& plan = impl_->plan;
  plan.endpoint = "127.0.0.1:2379";
  CLI::App* const verb = impl_->verb = app->add_subcommand("bench", kHelp);
  verb->footer(kFooter);
  std::vector<std::string> names{kReady};
  for (const auto& [name, value] : kWorkloads) names.emplace_back(name);
  verb->add_option("WORKLOAD", impl_->workload, "What the calls are; see below")->required()->check(CLI::IsMember(names));
  verb->add_option("--endpoint,--endpoints", plan.endpoint, "Where the server is (127.0.0.1:2379)")->envname("VELLUM_ENDPOINT");
  verb->add_option("--connections", plan.connections, "Connections (1)")->check(CLI::Range(1, 10'000));
  verb->add_option("--clients", plan.clients, "Callers, dealt out over the connections; streams of watch (1)")
      ->check(CLI::Range(1, 100'000));
  CLI::Option* const seconds = verb->add_option("--seconds", impl_->seconds, "How long; of compact, before and after it (5)")
                                   ->check(CLI::Range(0.001, 86'400.0));
  verb->add_option("--operations", plan.operations, "How many calls instead; of watch, puts")
      ->check(CLI::Range(std::int64_t{1}, std::int64_t{1'000'000'000}))
      ->excludes(seconds);
  verb->add_option("--rate", plan.rate, "Calls a second, whatever the server does (as fast as it answers)")
      ->check(CLI::Range(0.001, 1e7));
  verb->add_option("--keys", plan.keys, "Different keys (10000)")->check(CLI::Range(std::int64_t{1}, std::int64_t{100'000'000}));
  verb->add_option("--value-bytes", plan.value_bytes, "Size of a value (256)")->check(CLI::Range(0, 1 << 20));
  verb->add_option("--limit", plan.limit, "Keys of a page (1000)")->check(CLI::Range(std::int64_t{1}, std::int64_t{1'000'000}));
  verb->add_option("--txn-puts", plan.txn_puts, "Puts in one transaction of fill (100)")
      ->check(CLI::Range(std::int64_t{1}, std::int64_t{10'000}));
  verb->add_option("--watchers", plan.watchers, "Watchers (1000)")->check(CLI::Range(1, 1'000'000));
  verb->add_flag("--serializable", plan.serializable, "Reads need not be current");
  verb->add_flag("--from-start", plan.from_start, "The page is the first one of all keys");
  verb->add_flag("--physical", plan.physical, "The compaction is over when its space is back");
  verb->add_option("--seed", plan.seed, "Of everything that is random (1)");
  verb->add_option("--server-pid", plan.server_pid, "A server on this machine: report its processor time and memory")
      ->check(CLI::PositiveNumber);
  verb->add_option("-o,--output", impl_->output, "text or json")->check(CLI::IsMember({"text", "json"}));
}

BenchVerb::~BenchVerb() = default;

std::optional<int> BenchVerb::Run(const std::vector<std::string>& endpoints) {
  if (!impl_->verb->parsed()) return std::nullopt;
  if (!endpoints.empty()) impl_->plan.endpoint = endpoints.front();
  return impl_->Run();
}

}  // namespace vellum::cli
