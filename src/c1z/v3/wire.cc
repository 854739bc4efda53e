#include "c1z/v3/wire.h"

#include <cstring>

namespace vellum::c1z::v3 {
namespace {

/// The length of the character at `at`; 0 if there is none.
std::size_t CharacterSize(const unsigned char* at, std::size_t left) {
  const auto continues = [at, left](std::size_t i) { return i < left && (at[i] & 0xC0) == 0x80; };
  const unsigned char first = at[0];
  if (first < 0x80) return 1;
  if (first < 0xC2) return 0;
  if (first < 0xE0) return continues(1) ? 2 : 0;
  if (first < 0xF0) {
    if (!continues(1) || !continues(2)) return 0;
    if (first == 0xE0 && at[1] < 0xA0) return 0;
    if (first == 0xED && at[1] >= 0xA0) return 0;
    return 3;
  }
  if (first > 0xF4 || !continues(1) || !continues(2) || !continues(3)) return 0;
  if (first == 0xF0 && at[1] < 0x90) return 0;
  if (first == 0xF4 && at[1] >= 0x90) return 0;
  return 4;
}

}  // namespace

bool IsUtf8(std::string_view text) {
  const auto* at = reinterpret_cast<const unsigned char*>(text.data());
  std::size_t left = text.size();
  while (left > 0) {
    while (left >= 8) {
      std::uint64_t eight;
      std::memcpy(&eight, at, 8);
      if ((eight & 0x8080808080808080u) != 0) break;
      at += 8;
      left -= 8;
    }
    if (left == 0) break;
    const std::size_t size = CharacterSize(at, left);
    if (size == 0) return false;
    at += size;
    left -= size;
  }
  return true;
}

}  // namespace vellum::c1z::v3
