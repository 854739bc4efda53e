#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "sync/record.h"

namespace vellum::sync {

/// "2026-03-01T08:00:00.004000004Z": UTC, up to nine digits of fraction, trailing zeros left out.
std::string FormatRfc3339(Stamp stamp);
/// Any offset; nullopt for malformed text and for instants before 1970 or beyond 64 bits of nanoseconds.
std::optional<Stamp> ParseRfc3339(std::string_view text);

/// Days since 1970-01-01 of a date of the proleptic Gregorian calendar (algorithm: Howard Hinnant's days_from_civil, in
/// <chrono>). nullopt for a date that does not exist.
std::optional<std::int64_t> DaysSince1970(int year, unsigned month, unsigned day);

}  // namespace vellum::sync
