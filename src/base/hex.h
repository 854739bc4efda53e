#pragma once

#include <string>
#include <string_view>

namespace vellum {

/// Two lower-case digits for each byte.
std::string Hex(std::string_view bytes);

}  // namespace vellum
