#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "vellum/status.h"
#include "wire/server.h"

namespace vellum::server {

/// An address to listen on, as etcd writes it: "http://host:port", "unix:///path" or "unix://relative-path".
/// kInvalidArgument for what is no such thing; kFailedPrecondition for https and unixs, because serving plain text
/// where TLS was asked for would be a lie.
Result<wire::Endpoint> ParseListenUrl(std::string_view url, bool metrics_only);

/// What clients are told to dial where nobody said: the addresses that were bound, "localhost" standing for a wildcard.
/// `bound` as wire::Server::addresses() gives it, beside the endpoints it was bound for.
std::vector<std::string> DeriveAdvertised(const std::vector<wire::Endpoint>& endpoints,
                                          const std::vector<std::string>& bound);

/// True for an endpoint that takes connections on every address of the machine.
bool IsWildcard(const wire::Endpoint& endpoint);

}  // namespace vellum::server
