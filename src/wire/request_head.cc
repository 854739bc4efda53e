#include "wire/request_head.h"

#include <nghttp2/nghttp2.h>

#include <algorithm>
#include <array>

namespace vellum::wire {
namespace {

const std::uint8_t* Raw(std::string_view text) { return reinterpret_cast<const std::uint8_t*>(text.data()); }

// Fields that speak about one HTTP/1.1 connection have no place in HTTP/2.
bool IsConnectionSpecific(std::string_view name) {
  static constexpr std::array<std::string_view, 5> kNames = {"connection", "keep-alive", "proxy-connection",
                                                             "transfer-encoding", "upgrade"};
  return std::find(kNames.begin(), kNames.end(), name) != kNames.end();
}

bool IsHttpToken(std::string_view method) {
  return !method.empty() && nghttp2_check_method(Raw(method), method.size()) != 0;
}

}  // namespace

bool RequestHead::Add(std::string_view name, std::string_view value) {
  bytes_ += name.size() + value.size() + 32;
  if (too_large()) return true;
  if (name.empty() || nghttp2_check_header_value(Raw(value), value.size()) == 0) return false;
  if (name[0] == ':') return AddPseudo(name, value);
  regular_seen_ = true;
  if (nghttp2_check_header_name(Raw(name), name.size()) == 0 || IsConnectionSpecific(name)) return false;
  return AddField(name, value);
}

bool RequestHead::AddPseudo(std::string_view name, std::string_view value) {
  if (regular_seen_) return false;
  if (name == ":method") {
    if (!method.empty() || !IsHttpToken(value)) return false;
    method = value;
    return true;
  }
  if (name == ":path") {
    if (!path.empty() || value.empty() || (value[0] != '/' && value != "*")) return false;
    const std::size_t mark = value.find('?');
    path = value.substr(0, mark);
    if (mark != std::string_view::npos) query = value.substr(mark + 1);
    return true;
  }
  if (name == ":scheme") return !std::exchange(scheme_seen_, true);
  if (name == ":authority") {
    if (std::exchange(authority_seen_, true)) return false;
    fields.emplace_back("host", value);
    return true;
  }
  return false;
}

bool RequestHead::AddField(std::string_view name, std::string_view value) {
  if (name == "te") return true;
  if (name == "content-type") {
    content_type = value;
    content = ClassifyContentType(value);
    if (content == ContentType::kGrpc) return true;
  } else if (name == "content-length") {
    std::uint64_t length = 0;
    if (content_length || value.empty() || value.size() > 18) return false;
    for (const char c : value) {
      if (c < '0' || c > '9') return false;
      length = length * 10 + static_cast<std::uint64_t>(c - '0');
    }
    content_length = length;
  } else if (name == "host" && authority_seen_) {
    return true;  // :authority goes before it
  } else if (name.starts_with("grpc-")) {
    if (name == "grpc-timeout") {
      timeout = value;
      return true;
    }
    if (name == "grpc-encoding") {
      encoding = value;
      return true;
    }
    if (name == "grpc-accept-encoding") return true;
  }
  fields.emplace_back(name, value);
  return true;
}

bool RequestHead::Complete() { return too_large() || (!method.empty() && !path.empty() && scheme_seen_); }

}  // namespace vellum::wire
