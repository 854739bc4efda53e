#include "sync/stamp_text.h"

#include <chrono>
#include <cstdio>

namespace vellum::sync {
namespace {

constexpr std::uint64_t kNanosPerSecond = 1'000'000'000;
constexpr std::uint64_t kSecondsMax = UINT64_MAX / kNanosPerSecond - 1;

/// Exactly `digits` decimal digits off the front.
std::optional<unsigned> TakeDigits(std::string_view* text, std::size_t digits) {
  if (text->size() < digits) return std::nullopt;
  unsigned number = 0;
  for (std::size_t i = 0; i < digits; ++i) {
    const char c = (*text)[i];
    if (c < '0' || c > '9') return std::nullopt;
    number = number * 10 + static_cast<unsigned>(c - '0');
  }
  text->remove_prefix(digits);
  return number;
}

bool Take(std::string_view* text, char wanted) {
  if (text->empty() || text->front() != wanted) return false;
  text->remove_prefix(1);
  return true;
}

std::optional<std::uint64_t> TakeFraction(std::string_view* text) {
  if (!Take(text, '.')) return 0;
  std::uint64_t nanos = 0;
  std::uint64_t unit = kNanosPerSecond / 10;
  std::size_t digits = 0;
  while (!text->empty() && text->front() >= '0' && text->front() <= '9') {
    nanos += unit * static_cast<unsigned>(text->front() - '0');
    unit /= 10;
    ++digits;
    text->remove_prefix(1);
  }
  return digits == 0 ? std::nullopt : std::optional(nanos);
}

}  // namespace

std::optional<std::int64_t> DaysSince1970(int year, unsigned month, unsigned day) {
  const std::chrono::year_month_day date{std::chrono::year(year), std::chrono::month(month), std::chrono::day(day)};
  if (!date.ok()) return std::nullopt;
  return std::chrono::sys_days(date).time_since_epoch().count();
}

std::string FormatRfc3339(Stamp stamp) {
  const auto seconds = std::chrono::sys_seconds(std::chrono::seconds(stamp / kNanosPerSecond));
  const auto days = std::chrono::floor<std::chrono::days>(seconds);
  const std::chrono::year_month_day date(days);
  const std::chrono::hh_mm_ss time(seconds - days);
  char text[64];
  std::snprintf(text, sizeof text, "%04d-%02u-%02uT%02d:%02d:%02d", static_cast<int>(date.year()),
                static_cast<unsigned>(date.month()), static_cast<unsigned>(date.day()),
                static_cast<int>(time.hours().count()), static_cast<int>(time.minutes().count()),
                static_cast<int>(time.seconds().count()));
  std::string formatted = text;
  if (const std::uint64_t nanos = stamp % kNanosPerSecond; nanos != 0) {
    std::snprintf(text, sizeof text, ".%09llu", static_cast<unsigned long long>(nanos));
    formatted += text;
    while (formatted.back() == '0') formatted.pop_back();
  }
  return formatted + "Z";
}

std::optional<Stamp> ParseRfc3339(std::string_view text) {
  const auto year = TakeDigits(&text, 4);
  if (!year || !Take(&text, '-')) return std::nullopt;
  const auto month = TakeDigits(&text, 2);
  if (!month || !Take(&text, '-')) return std::nullopt;
  const auto day = TakeDigits(&text, 2);
  if (!day || !(Take(&text, 'T') || Take(&text, 't') || Take(&text, ' '))) return std::nullopt;
  const auto hour = TakeDigits(&text, 2);
  if (!hour || *hour > 23 || !Take(&text, ':')) return std::nullopt;
  const auto minute = TakeDigits(&text, 2);
  if (!minute || *minute > 59 || !Take(&text, ':')) return std::nullopt;
  const auto second = TakeDigits(&text, 2);
  if (!second || *second > 60) return std::nullopt;
  const auto nanos = TakeFraction(&text);
  if (!nanos) return std::nullopt;
  std::int64_t offset_s = 0;
  if (!Take(&text, 'Z') && !Take(&text, 'z')) {
    const bool east = Take(&text, '+');
    if (!east && !Take(&text, '-')) return std::nullopt;
    const auto offset_hour = TakeDigits(&text, 2);
    if (!offset_hour || *offset_hour > 23 || !Take(&text, ':')) return std::nullopt;
    const auto offset_minute = TakeDigits(&text, 2);
    if (!offset_minute || *offset_minute > 59) return std::nullopt;
    offset_s = static_cast<std::int64_t>(*offset_hour * 3600 + *offset_minute * 60) * (east ? 1 : -1);
  }
  const auto days = DaysSince1970(static_cast<int>(*year), *month, *day);
  if (!days || !text.empty()) return std::nullopt;
  const std::int64_t seconds = *days * 86400 + *hour * 3600 + *minute * 60 + *second - offset_s;
  if (seconds < 0 || static_cast<std::uint64_t>(seconds) > kSecondsMax) return std::nullopt;
  return static_cast<std::uint64_t>(seconds) * kNanosPerSecond + *nanos;
}

}  // namespace vellum::sync
