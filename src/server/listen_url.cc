#include "server/listen_url.h"

#include <charconv>

#include "base/bytes.h"

namespace vellum::server {
namespace {

Status Invalid(std::string_view url, std::string_view why) {
  return InvalidArgument("invalid listen URL \"" + Printable(url, 256) + "\": " + std::string(why));
}

}  // namespace

Result<wire::Endpoint> ParseListenUrl(std::string_view url, bool metrics_only) {
  const std::size_t separator = url.find("://");
  if (separator == std::string_view::npos) return Invalid(url, "it must begin with http:// or unix://");
  const std::string_view scheme = url.substr(0, separator);
  std::string_view rest = url.substr(separator + 3);
  wire::Endpoint endpoint;
  endpoint.metrics_only = metrics_only;
  if (scheme == "https" || scheme == "unixs") {
    return FailedPrecondition("listen URL \"" + Printable(url, 256) +
                              "\" asks for TLS, which this version of Vellum does not serve; use http:// or unix://");
  }
  if (scheme == "unix") {
    // A socket's address has room for 107 bytes of path.
    if (rest.empty() || rest.size() > 107) return Invalid(url, "a socket path has 1 to 107 bytes");
    if (rest.find('\0') != std::string_view::npos) return Invalid(url, "a socket path has no zero byte");
    endpoint.kind = wire::Endpoint::Kind::kUnix;
    endpoint.path = std::string(rest);
    return endpoint;
  }
  if (scheme != "http") return Invalid(url, "the scheme must be http or unix");
  if (!rest.empty() && rest.back() == '/') rest.remove_suffix(1);
  if (rest.find_first_of("/?#@") != std::string_view::npos)
    return Invalid(url, "only host and port may follow the scheme");
  const std::size_t colon = rest.rfind(':');
  if (colon == std::string_view::npos || (rest.back() == ']')) return Invalid(url, "the port is missing");
  std::string_view host = rest.substr(0, colon);
  if (host.starts_with('[') && host.ends_with(']')) {
    host = host.substr(1, host.size() - 2);
  } else if (host.find(':') != std::string_view::npos) {
    return Invalid(url, "an IPv6 address stands in brackets");
  }
  const std::string_view digits = rest.substr(colon + 1);
  const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), endpoint.port);
  if (error != std::errc() || end != digits.data() + digits.size()) return Invalid(url, "the port must be 0 to 65535");
  endpoint.host = std::string(host);
  return endpoint;
}

bool IsWildcard(const wire::Endpoint& endpoint) {
  return endpoint.kind == wire::Endpoint::Kind::kTcp &&
         (endpoint.host.empty() || endpoint.host == "0.0.0.0" || endpoint.host == "::");
}

std::vector<std::string> DeriveAdvertised(const std::vector<wire::Endpoint>& endpoints,
                                          const std::vector<std::string>& bound) {
  std::vector<std::string> urls;
  for (std::size_t i = 0; i < endpoints.size() && i < bound.size(); ++i) {
    if (endpoints[i].metrics_only) continue;
    if (endpoints[i].kind == wire::Endpoint::Kind::kUnix) {
      urls.push_back("unix://" + endpoints[i].path);
    } else if (IsWildcard(endpoints[i])) {
      const std::size_t colon = bound[i].rfind(':');
      urls.push_back("http://localhost" + (colon == std::string::npos ? "" : bound[i].substr(colon)));
    } else {
      urls.push_back("http://" + bound[i]);
    }
  }
  return urls;
}

}  // namespace vellum::server
