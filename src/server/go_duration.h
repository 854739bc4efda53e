#pragma once

#include <chrono>
#include <string>
#include <string_view>

#include "vellum/status.h"

namespace vellum::server {

/// A duration as etcd's flags write it: "300ms", "1h30m", "-1.5s", "0". Units: ns, us, ms, s, m, h. kInvalidArgument
/// for anything else, and beyond about 292 years.
Result<std::chrono::nanoseconds> ParseGoDuration(std::string_view text);

/// The shortest text that ParseGoDuration reads back: "2h", "1h30m", "100ms", "0s".
std::string FormatGoDuration(std::chrono::nanoseconds duration);

}  // namespace vellum::server
