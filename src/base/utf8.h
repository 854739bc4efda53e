#pragma once

#include <cstddef>
#include <string_view>

namespace vellum {

/// The bytes of the UTF-8 character at the front of `text`, which is not empty; 0 if there is none. As Unicode defines it:
/// shortest forms only, no surrogates, nothing beyond U+10FFFF.
std::size_t Utf8Length(std::string_view text);

/// Whether all of the text is such characters. ASCII is passed over eight bytes at a time.
bool IsUtf8(std::string_view text);

}  // namespace vellum
