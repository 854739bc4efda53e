#include "client/channel.h"

#include <grpcpp/grpcpp.h>

#include <algorithm>

namespace vellum::client {

Result<std::string> ToTarget(std::string_view endpoint) {
  if (endpoint.starts_with("https://") || endpoint.starts_with("unixs:")) {
    return InvalidArgument("endpoint " + std::string(endpoint) + " wants TLS, which this client does not have");
  }
  if (endpoint.starts_with("unix:")) return std::string(endpoint);
  if (endpoint.starts_with("http://")) endpoint.remove_prefix(7);
  while (endpoint.ends_with('/')) endpoint.remove_suffix(1);
  if (endpoint.empty()) return InvalidArgument("an endpoint is empty");
  return "dns:///" + std::string(endpoint);
}

std::shared_ptr<grpc::Channel> OpenChannel(const std::string& target, std::size_t receive_bytes_max) {
  grpc::ChannelArguments arguments;
  arguments.SetMaxReceiveMessageSize(static_cast<int>(std::min<std::size_t>(receive_bytes_max, 2'147'483'647)));
  arguments.SetMaxSendMessageSize(-1);
  arguments.SetInt(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1);
  arguments.SetInt(GRPC_ARG_ENABLE_HTTP_PROXY, 0);
  return grpc::CreateCustomChannel(target, grpc::InsecureChannelCredentials(), arguments);
}

}  // namespace vellum::client
