#include "server/call_observer.h"

#include <utility>

#include "server/go_duration.h"

namespace vellum::server {
namespace {

struct NamedHistogram {
  std::string_view method;
  const char* name;
  const char* help;
  double first_bucket;
  int buckets;
};
constexpr NamedHistogram kNamed[] = {
    {"/etcdserverpb.Maintenance/Hash", "etcd_mvcc_hash_duration_seconds",
     "The latency distribution of storage hash operation.", 0.01, 15},
    {"/etcdserverpb.Maintenance/HashKV", "etcd_mvcc_hash_rev_duration_seconds",
     "The latency distribution of storage hash by revision operation.", 0.01, 15},
    {"/etcdserverpb.Maintenance/Defragment", "etcd_disk_backend_defrag_duration_seconds",
     "The latency distribution of backend defragmentation.", 0.1, 13},
};

}  // namespace

CallObserver::CallObserver(Options options, const wire::ServiceTable* table) : options_(std::move(options)) {
  for (const std::string& path : table->Methods()) {
    if (!table->FindMethod(path)->unary) continue;
    Unary unary;
    for (const NamedHistogram& named : kNamed) {
      if (named.method != path) continue;
      unary.by_name = &options_.metrics->AddHistogram(named.name, named.help,
                                                      ExponentialBuckets(named.first_bucket, 2, named.buckets));
    }
    if (options_.histograms) {
      const std::size_t slash = path.rfind('/');
      unary.by_method = &options_.metrics->AddHistogram(
          "grpc_server_handling_seconds",
          "Histogram of response latency (seconds) of gRPC that had been application-level handled by the server.",
          {.005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10},
          {{"grpc_type", "unary"},
           {"grpc_service", path.substr(1, slash - 1)},
           {"grpc_method", path.substr(slash + 1)}});
    }
    unary_.emplace(path, unary);
  }
}

void CallObserver::OnCallDone(std::string_view method, Code code, double seconds) const {
  const auto known = unary_.find(method);
  if (known == unary_.end()) return;
  for (Histogram* const histogram : {known->second.by_method, known->second.by_name}) {
    if (histogram != nullptr) histogram->Observe(seconds);
  }
  const std::chrono::duration<double> took(seconds);
  if (options_.slow_from.count() == 0 || took < options_.slow_from) return;
  VELLUM_LOG(options_.logger, kWarn, "request took too long",
             {{"method", method},
              {"took", FormatGoDuration(std::chrono::round<std::chrono::microseconds>(took))},
              {"expected-duration", FormatGoDuration(options_.slow_from)},
              {"code", CodeName(code)}});
}

}  // namespace vellum::server
