#pragma once

#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/log.h"
#include "base/metrics.h"
#include "base/worker_pool.h"
#include "kv/command.h"
#include "vellum/status.h"
#include "wire/service.h"

namespace vellum::server {

/// What the health checks ask of the store. Called on the pool's threads; may block.
class HealthSource {
 public:
  virtual ~HealthSource() = default;
  virtual std::vector<kv::AlarmType> Alarms() = 0;
  /// Reads one key, from local state or with the guarantee of being current. Fails too when the store cannot be written
  /// any more: only a restart helps then, which is what those who ask want to know.
  virtual Status CheckRead(bool serializable) = 0;
};

/// The HTTP side of the process: /health, /livez, /readyz, /version and /metrics, in etcd's shapes.
class HttpRoutes {
 public:
  struct Options {
    HealthSource* health = nullptr;
    Metrics* metrics = nullptr;
    WorkerPool* pool = nullptr;  ///< Where checks and scrapes run.
    Logger logger = Logger();
  };
  /// What `options` points at must outlive this object; the pool must be stopped before this object goes.
  explicit HttpRoutes(Options options);

  /// For wire::ServiceTable::SetHttp. Never blocks.
  void Handle(wire::HttpRequest request, wire::HttpReply reply);

 private:
  enum class Check { kDataCorruption, kSerializableRead, kLinearizableRead, kNonLearner };
  struct CheckMetrics {
    Gauge* healthy;
    Counter* success;
    Counter* error;
  };
  struct Probe {
    std::string_view type;  // "livez" or "readyz"
    std::vector<Check> checks;
    std::map<Check, CheckMetrics> metrics;
  };

  static std::string_view Name(Check check);
  Probe MakeProbe(std::string_view type, std::vector<Check> checks);
  Status Run(Check check);
  wire::HttpResponse Health(std::string_view query);
  wire::HttpResponse Answer(const Probe& probe, const std::vector<Check>& checks, std::string_view query);
  wire::HttpResponse Respond(const wire::HttpRequest& request);

  const Options options_;
  Counter& health_success_;
  Counter& health_failures_;
  const Probe livez_;
  const Probe readyz_;
};

/// The values of `name` in a query string, decoded.
std::vector<std::string> QueryValues(std::string_view query, std::string_view name);
bool HasQuery(std::string_view query, std::string_view name);

}  // namespace vellum::server
