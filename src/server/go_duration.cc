#include "server/go_duration.h"

#include <array>
#include <limits>
#include <optional>

#include "base/bytes.h"

namespace vellum::server {
namespace {

struct Unit {
  std::string_view name;
  std::int64_t nanoseconds;
};
// Longer names first where one is the beginning of another.
constexpr std::array<Unit, 8> kUnits{{{"ns", 1},
                                      {"us", 1'000},
                                      {"\xC2\xB5s", 1'000},
                                      {"\xCE\xBCs", 1'000},
                                      {"ms", 1'000'000},
                                      {"s", 1'000'000'000},
                                      {"m", 60'000'000'000},
                                      {"h", 3'600'000'000'000}}};
constexpr std::int64_t kMax = std::numeric_limits<std::int64_t>::max();

bool IsDigit(char c) { return c >= '0' && c <= '9'; }

// Takes one number with its unit off the front. Nullopt: malformed or too large.
std::optional<std::int64_t> TakePart(std::string_view* text) {
  std::int64_t whole = 0;
  std::size_t at = 0;
  for (; at < text->size() && IsDigit((*text)[at]); ++at) {
    const int digit = (*text)[at] - '0';
    if (whole > (kMax - digit) / 10) return std::nullopt;
    whole = whole * 10 + digit;
  }
  std::size_t digits = at;
  double fraction = 0;
  if (at < text->size() && (*text)[at] == '.') {
    double scale = 0.1;
    for (++at; at < text->size() && IsDigit((*text)[at]); ++at, ++digits, scale /= 10)
      fraction += scale * ((*text)[at] - '0');
  }
  if (digits == 0) return std::nullopt;
  text->remove_prefix(at);
  for (const Unit& unit : kUnits) {
    if (!text->starts_with(unit.name)) continue;
    text->remove_prefix(unit.name.size());
    if (whole > kMax / unit.nanoseconds) return std::nullopt;
    const std::int64_t base = whole * unit.nanoseconds;
    // Rounded, so that 0.1 written in binary does not lose a nanosecond.
    const auto rest = static_cast<std::int64_t>(fraction * static_cast<double>(unit.nanoseconds) + 0.5);
    if (base > kMax - rest) return std::nullopt;
    return base + rest;
  }
  return std::nullopt;
}

}  // namespace

Result<std::chrono::nanoseconds> ParseGoDuration(std::string_view text) {
  const auto invalid = [text] {
    return InvalidArgument("invalid duration \"" + Printable(text) +
                           "\" (a number with a unit, such as 300ms, 5s or 1h30m)");
  };
  std::string_view rest = text;
  bool negative = false;
  if (!rest.empty() && (rest.front() == '-' || rest.front() == '+')) {
    negative = rest.front() == '-';
    rest.remove_prefix(1);
  }
  if (rest == "0") return std::chrono::nanoseconds(0);
  if (rest.empty()) return invalid();
  std::int64_t sum = 0;
  while (!rest.empty()) {
    const std::optional<std::int64_t> part = TakePart(&rest);
    if (!part || *part > kMax - sum) return invalid();
    sum += *part;
  }
  return std::chrono::nanoseconds(negative ? -sum : sum);
}

std::string FormatGoDuration(std::chrono::nanoseconds duration) {
  if (duration.count() == 0) return "0s";
  std::string text = duration.count() < 0 ? "-" : "";
  // Negated as unsigned, so that the smallest value does not overflow.
  auto left = static_cast<std::uint64_t>(duration.count());
  if (duration.count() < 0) left = 0 - left;
  for (const std::string_view name : {"h", "m", "s", "ms", "us", "ns"}) {
    for (const Unit& unit : kUnits) {
      if (unit.name != name) continue;
      const auto size = static_cast<std::uint64_t>(unit.nanoseconds);
      if (left >= size) text += std::to_string(left / size) + std::string(name);
      left %= size;
    }
  }
  return text;
}

}  // namespace vellum::server
