#pragma once

#include <chrono>
#include <string>
#include <string_view>
#include <unordered_map>

#include "base/log.h"
#include "base/metrics.h"
#include "wire/service.h"

namespace vellum::server {

/// Looks at every finished call: logs the slow ones, keeps etcd's histograms of the long ones (hashes, defragmentation)
/// and, if asked for, one per method. Streams last as long as their clients want, so only calls with one answer are
/// looked at. Nothing of a request's content is logged.
class CallObserver {
 public:
  struct Options {
    std::chrono::nanoseconds slow_from{0};  ///< 0: none is slow.
    bool histograms = false;                ///< grpc_server_handling_seconds.
    Metrics* metrics = nullptr;
    Logger logger = Logger();
  };
  /// The table must be complete, and must outlive this object, as must the metrics.
  CallObserver(Options options, const wire::ServiceTable* table);

  /// For wire::ServerOptions::on_call_done. Thread-safe.
  void OnCallDone(std::string_view method, Code code, double seconds) const;

 private:
  struct Hash {
    using is_transparent = void;
    std::size_t operator()(std::string_view text) const { return std::hash<std::string_view>{}(text); }
  };

  struct Unary {
    Histogram* by_method = nullptr;  ///< Null without histograms.
    Histogram* by_name = nullptr;    ///< One that etcd has for this method alone; null for most.
  };

  const Options options_;
  std::unordered_map<std::string, Unary, Hash, std::equal_to<>> unary_;
};

}  // namespace vellum::server
