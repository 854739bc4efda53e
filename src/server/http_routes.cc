#include "server/http_routes.h"

#include <algorithm>
#include <optional>
#include <utility>

#include "base/bytes.h"
#include "server/log_output.h"
#include "server/version.h"

namespace vellum::server {
namespace {

int HexDigit(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return -1;
}

std::string Decode(std::string_view text) {
  std::string out;
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (text[i] == '+') {
      out += ' ';
    } else if (text[i] == '%' && i + 2 < text.size() && HexDigit(text[i + 1]) >= 0 && HexDigit(text[i + 2]) >= 0) {
      out += static_cast<char>(HexDigit(text[i + 1]) * 16 + HexDigit(text[i + 2]));
      i += 2;
    } else {
      out += text[i];
    }
  }
  return out;
}

bool Contains(const std::vector<std::string>& values, std::string_view value) {
  return std::find(values.begin(), values.end(), value) != values.end();
}

std::string_view AlarmName(kv::AlarmType alarm) {
  switch (alarm) {
    case kv::AlarmType::kNoSpace: return "NOSPACE";
    case kv::AlarmType::kCorrupt: return "CORRUPT";
    case kv::AlarmType::kNone: break;
  }
  return "UNKNOWN";
}

wire::HttpResponse Plain(int status, std::string body) {
  wire::HttpResponse response;
  response.status = status;
  response.body = std::move(body);
  // As with etcd, errors are not to be guessed at by browsers.
  if (status != 200) response.headers.emplace_back("x-content-type-options", "nosniff");
  return response;
}

wire::HttpResponse NotFoundPage() { return Plain(404, "404 page not found\n"); }

}  // namespace

std::vector<std::string> QueryValues(std::string_view query, std::string_view name) {
  std::vector<std::string> values;
  while (!query.empty()) {
    const std::size_t end = query.find('&');
    const std::string_view part = query.substr(0, end);
    query = end == std::string_view::npos ? std::string_view() : query.substr(end + 1);
    const std::size_t equals = part.find('=');
    if (Decode(part.substr(0, equals)) != name) continue;
    values.push_back(equals == std::string_view::npos ? "" : Decode(part.substr(equals + 1)));
  }
  return values;
}

bool HasQuery(std::string_view query, std::string_view name) { return !QueryValues(query, name).empty(); }

std::string_view HttpRoutes::Name(Check check) {
  switch (check) {
    case Check::kDataCorruption: return "data_corruption";
    case Check::kSerializableRead: return "serializable_read";
    case Check::kLinearizableRead: return "linearizable_read";
    case Check::kNonLearner: return "non_learner";
  }
  return "";
}

HttpRoutes::HttpRoutes(Options options)
    : options_(std::move(options)),
      health_success_(
          options_.metrics->AddCounter("etcd_server_health_success", "The total number of successful health checks")),
      health_failures_(
          options_.metrics->AddCounter("etcd_server_health_failures", "The total number of failed health checks")),
      livez_(MakeProbe("livez", {Check::kSerializableRead})),
      readyz_(MakeProbe(
          "readyz", {Check::kDataCorruption, Check::kSerializableRead, Check::kLinearizableRead, Check::kNonLearner})) {
}

HttpRoutes::Probe HttpRoutes::MakeProbe(std::string_view type, std::vector<Check> checks) {
  Probe probe{type, std::move(checks), {}};
  for (const Check check : probe.checks) {
    MetricLabels labels{{"type", std::string(type)}, {"name", std::string(Name(check))}};
    CheckMetrics metrics{};
    metrics.healthy =
        &options_.metrics->AddGauge("etcd_server_healthcheck", "The result of each kind of healthcheck.", labels);
    const auto counter = [&](const char* status) {
      labels["status"] = status;
      return &options_.metrics->AddCounter("etcd_server_healthchecks_total",
                                           "The total number of each kind of healthcheck.", labels);
    };
    metrics.success = counter("success");
    metrics.error = counter("error");
    probe.metrics.emplace(check, metrics);
  }
  return probe;
}

Status HttpRoutes::Run(Check check) {
  switch (check) {
    case Check::kDataCorruption: {
      const std::vector<kv::AlarmType> alarms = options_.health->Alarms();
      if (std::find(alarms.begin(), alarms.end(), kv::AlarmType::kCorrupt) == alarms.end()) return {};
      return DataLoss("alarm activated: CORRUPT");
    }
    case Check::kSerializableRead:
    case Check::kLinearizableRead:
      return options_.health->CheckRead(check == Check::kSerializableRead).WithContext("range error");
    case Check::kNonLearner: return {};  // A store of one member is never a learner.
  }
  return {};
}

wire::HttpResponse HttpRoutes::Health(std::string_view query) {
  const std::vector<std::string> excluded = QueryValues(query, "exclude");
  std::string reason;
  for (const kv::AlarmType alarm : options_.health->Alarms()) {
    if (!reason.empty() || Contains(excluded, AlarmName(alarm))) continue;
    reason = "ALARM " + std::string(AlarmName(alarm));
  }
  if (reason.empty()) {
    const std::vector<std::string> serializable = QueryValues(query, "serializable");
    const bool local = !serializable.empty() && serializable.front() == "true";
    if (const Status status = options_.health->CheckRead(local); !status.ok()) {
      reason = "RANGE ERROR:" + status.message();
    }
  }
  const std::string body =
      "{\"health\":\"" + std::string(reason.empty() ? "true" : "false") + "\",\"reason\":" + JsonString(reason) + "}";
  if (reason.empty()) {
    health_success_.Increment();
    return Plain(200, body);
  }
  health_failures_.Increment();
  VELLUM_LOG(options_.logger, kWarn, "/health error", {{"output", body}, {"status-code", 503}});
  return Plain(503, body + "\n");
}

wire::HttpResponse HttpRoutes::Answer(const Probe& probe, const std::vector<Check>& checks, std::string_view query) {
  const std::vector<std::string> excluded = QueryValues(query, "exclude");
  std::string report;
  bool failed = false;
  for (const Check check : checks) {
    const std::string name(Name(check));
    if (Contains(excluded, name)) continue;
    const Status status = Run(check);
    const CheckMetrics& metrics = probe.metrics.at(check);
    metrics.healthy->Set(status.ok() ? 1 : 0);
    (status.ok() ? metrics.success : metrics.error)->Increment();
    report += status.ok() ? "[+]" + name + " ok\n" : "[-]" + name + " failed: " + status.message() + "\n";
    failed = failed || !status.ok();
  }
  if (!failed) return Plain(200, (HasQuery(query, "verbose") ? report : "") + "ok\n");
  VELLUM_LOG(options_.logger, kWarn, "health check failed",
             {{"path", "/" + std::string(probe.type)}, {"reason", report}});
  return Plain(503, report + "\n");
}

wire::HttpResponse HttpRoutes::Respond(const wire::HttpRequest& request) {
  if (request.path == "/health") return Health(request.query);
  if (request.path == "/metrics") {
    wire::HttpResponse response;
    response.content_type = "text/plain; version=0.0.4; charset=utf-8";
    response.body = options_.metrics->Expose();
    return response;
  }
  if (request.path == "/version") {
    wire::HttpResponse response;
    response.content_type = "application/json";
    response.body = "{\"etcdserver\":\"" + std::string(kEtcdVersion) + "\",\"etcdcluster\":\"" +
                    std::string(kEtcdClusterVersion) + "\",\"storage\":\"" + std::string(kEtcdStorageVersion) + "\"}";
    return response;
  }
  for (const Probe* probe : {&livez_, &readyz_}) {
    const std::string root = "/" + std::string(probe->type);
    if (request.path == root) return Answer(*probe, probe->checks, request.query);
    if (!request.path.starts_with(root + "/")) continue;
    for (const Check check : probe->checks) {
      if (request.path.substr(root.size() + 1) == Name(check)) return Answer(*probe, {check}, request.query);
    }
  }
  return NotFoundPage();
}

void HttpRoutes::Handle(wire::HttpRequest request, wire::HttpReply reply) {
  const std::string first = request.path.substr(0, request.path.find('/', 1));
  const bool probe = first == "/livez" || first == "/readyz";
  const bool exact = request.path == "/health" || request.path == "/version" || request.path == "/metrics";
  if (!probe && !exact) return reply(NotFoundPage());
  // etcd's health checks take nothing but GET.
  const bool head = request.method == "HEAD" && (request.path == "/version" || request.path == "/metrics");
  if (request.method != "GET" && !head) {
    wire::HttpResponse response = Plain(405, "Method Not Allowed\n");
    response.headers.emplace_back("allow", "GET");
    return reply(std::move(response));
  }
  // std::function wants something that can be copied.
  auto shared = std::make_shared<wire::HttpReply>(std::move(reply));
  const Status accepted =
      options_.pool->Submit([this, shared, request = std::move(request)] { (*shared)(Respond(request)); });
  if (!accepted.ok()) (*shared)(Plain(503, accepted.message() + "\n"));
}

}  // namespace vellum::server
