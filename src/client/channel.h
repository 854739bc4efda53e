#pragma once

#include <cstddef>
#include <memory>
#include <string>
#include <string_view>

#include "vellum/status.h"

namespace grpc {
class Channel;
}

/// Connections, as all clients of this room make them.
namespace vellum::client {

/// What gRPC C++ calls an endpoint: "127.0.0.1:2379", "http://host:port" or "unix:/path". kInvalidArgument for TLS.
Result<std::string> ToTarget(std::string_view endpoint);

/// A connection of its own to `target`, which nothing else shares and no proxy sees. Connects when it is first used.
std::shared_ptr<grpc::Channel> OpenChannel(const std::string& target, std::size_t receive_bytes_max);

}  // namespace vellum::client
