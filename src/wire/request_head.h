#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "wire/grpc.h"
#include "wire/service.h"

namespace vellum::wire {

/// The headers of one HTTP/2 request, taken in one by one. The library's own checks are off, because they refuse
/// authorities that etcd's clients do send ("#initially=[host1;host2]"); what matters of them is checked here.
class RequestHead {
 public:
  explicit RequestHead(std::size_t bytes_max) : bytes_max_(bytes_max) {}

  /// Takes one field. False if the request is malformed and its stream is to be reset.
  bool Add(std::string_view name, std::string_view value);
  /// After the last field. False if a pseudo-header is missing.
  bool Complete();

  /// True once the fields are more than bytes_max; what exceeds it is not kept.
  bool too_large() const { return bytes_ > bytes_max_; }
  /// As SETTINGS_MAX_HEADER_LIST_SIZE counts: names, values and 32 per field. Goes on counting beyond the limit.
  std::size_t bytes() const { return bytes_; }

  std::string method;
  std::string path;   ///< Without the query.
  std::string query;  ///< Without the '?'.
  std::string content_type;
  ContentType content = ContentType::kNone;
  std::string timeout;   ///< grpc-timeout, as it came; empty: none.
  std::string encoding;  ///< grpc-encoding, as it came; empty: identity.
  std::optional<std::uint64_t> content_length;
  /// The rest, without te, gRPC's own fields and, for gRPC, content-type; :authority appears as "host".
  Metadata fields;

 private:
  bool AddPseudo(std::string_view name, std::string_view value);
  bool AddField(std::string_view name, std::string_view value);

  const std::size_t bytes_max_;
  std::size_t bytes_ = 0;
  bool regular_seen_ = false;
  bool scheme_seen_ = false;
  bool authority_seen_ = false;
};

}  // namespace vellum::wire
