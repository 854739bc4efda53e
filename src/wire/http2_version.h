#pragma once

#include <string>

namespace vellum::wire {

/// The version of nghttp2 that this process runs with: "1.52.0".
std::string Http2Version();

}  // namespace vellum::wire
