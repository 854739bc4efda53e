#pragma once

#include <string>
#include <string_view>

namespace vellum {

/// RFC 4648, section 4: the standard alphabet, padded.
std::string Base64Encode(std::string_view bytes);

}  // namespace vellum
