#pragma once

#include <string>
#include <string_view>

namespace vellum::sync {

/// The SHA-256 of `bytes`, in hexadecimal.
std::string Sha256Hex(std::string_view bytes);

}  // namespace vellum::sync
